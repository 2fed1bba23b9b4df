/** Classic groups as they are shown: as Kafka's DescribeGroups has it, and as the groups to whose members the broker assigns. */
import { type ClassicGroup, type ClassicMember, metadataOf, NO_BYTES } from './classic-state.ts'
import { CONSUMER_TYPE } from './classic-subscriptions.ts'
import { partitionsOfAssignment, topicsOfSubscription } from './embedded-protocol.ts'
import type { GroupContext } from './group-context.ts'
import { type Group, stateNameOf } from './group-state.ts'
import { checkGroupId } from './request-checks.ts'
import {
  type DescribedClassicGroup,
  type DescribedGroup,
  type DescribedMember,
  refuse,
  type TopicPartitions,
} from './requests.ts'
import type { TopicDirectory } from './topic-directory.ts'

export function protocolTypeOf({ kind, classic }: Group): string {
  if (kind === 'consumer') return CONSUMER_TYPE
  return classic?.protocolType ?? ''
}

export function describeClassicGroups({ state }: GroupContext, groupIds: readonly string[]): DescribedClassicGroup[] {
  return groupIds.map((groupId) => describeOne(groupId, state.groups.get(groupId)))
}

function describeOne(groupId: string, group: Group | undefined): DescribedClassicGroup {
  const fault = checkGroupId(groupId)
  if (fault !== undefined || group === undefined) {
    const { error, text } = fault ?? refuse('GROUP_ID_NOT_FOUND', `there is no group '${groupId}'`)
    return { groupId, error, text, state: 'Dead', protocolType: '', protocolData: '', members: [] }
  }
  const { classic } = group
  const row = {
    ...{ groupId, error: 'NONE' as const, text: '' },
    state: stateNameOf(group),
    protocolType: protocolTypeOf(group),
  }
  if (classic === undefined) {
    const members = [...group.members.values()].map(({ memberId, metadata: { instanceId, clientId, clientHost } }) => ({
      ...{ memberId, instanceId, clientId, clientHost, metadata: NO_BYTES, assignment: NO_BYTES },
    }))
    return { ...row, protocolData: group.assignor, members }
  }
  const isStable = classic.state === 'Stable'
  const members = [...classic.members.values()].map((member) => {
    const { memberId, instanceId, clientId, clientHost } = member
    const metadata = isStable ? metadataOf(member, classic.protocolName) : NO_BYTES
    return { memberId, instanceId, clientId, clientHost, metadata, assignment: isStable ? member.assignment : NO_BYTES }
  })
  return { ...row, protocolData: isStable ? (classic.protocolName ?? '') : '', members }
}

/** The generation, in the words of the other kind. */
export function epochsOf({
  generationId,
  protocolName,
}: ClassicGroup): Pick<DescribedGroup, 'groupEpoch' | 'assignmentEpoch' | 'assignor'> {
  return { groupEpoch: generationId, assignmentEpoch: generationId, assignor: protocolName ?? '' }
}

/** What its bytes say, where they are a consumer's: else it reads nothing that the broker knows of. */
export function describeAsMember(directory: TopicDirectory, classic: ClassicGroup, memberId: string): DescribedMember {
  const member = classic.members.get(memberId)!
  const { instanceId, clientId, clientHost, sessionTimeoutMs, rebalanceTimeoutMs } = member
  const isConsumer = classic.protocolType === CONSUMER_TYPE
  const assignment = isConsumer ? assignmentOf(directory, member) : []
  const subscribed = isConsumer ? topicsOfSubscription(subscriptionOf(classic, member)) : undefined
  return {
    ...{ memberId, instanceId, rackId: null, memberEpoch: classic.generationId, clientId, clientHost },
    ...{ subscribedTopics: subscribed ?? [], subscribedPattern: null, sessionTimeoutMs, rebalanceTimeoutMs },
    ...{ assignment, targetAssignment: assignment },
  }
}

/** Before a protocol is chosen: what it says with the first of its own. */
function subscriptionOf({ protocolName }: ClassicGroup, member: ClassicMember): Uint8Array {
  return metadataOf(member, protocolName ?? member.protocols[0]?.name ?? null)
}

function assignmentOf(directory: TopicDirectory, { assignment }: ClassicMember): TopicPartitions[] {
  const rows = partitionsOfAssignment(assignment) ?? []
  return rows.map(({ topic, partitions }) => ({ topicId: directory.byName(topic)?.topicId ?? '', topic, partitions }))
}
