/**
 * group-describe (69): groups with their members, who has which partitions and who is to have them.
 *
 * Versions  1
 * Request   cursor (pages.ts): of one group only, whose members come in pages; each has the whole of the group's own fields
 * Reply     one entry per group of the request, in its order; GROUP_ID_NOT_FOUND, INVALID_GROUP_ID in its own row.
 *           state: Empty, Assigning, Reconciling, Stable, Dead; a member that shows what a classic one has leaves the rest empty
 * Limits    REQUEST_GROUPS_MAX, GROUP_MEMBERS_MAX; without a cursor a reply larger than a frame is an error
 */
import { GROUP_MEMBERS_MAX, MEMBER_TOPICS_MAX, REQUEST_GROUPS_MAX } from '../model/limits.ts'
import { TOPIC_NAME_LENGTH_MAX } from './19-create-topic.ts'
import { Api, makeCodec } from './api.ts'
import { type Fields, INT32_MAX } from './fields.ts'
import {
  GROUP_TEXT_LENGTH_MAX,
  readError,
  readTopicPartitions,
  type TopicPartitions,
  writeTopicPartitions,
} from './group-fields.ts'
import { type PageReply, type PageRequest, readCursor } from './pages.ts'

export interface GroupDescribeRequest extends PageRequest {
  readonly groupIds: readonly string[]
}

export interface DescribedMember {
  readonly memberId: string
  readonly instanceId: string | null
  readonly rackId: string | null
  readonly memberEpoch: number
  readonly clientId: string
  readonly clientHost: string
  readonly subscribedTopics: readonly string[]
  readonly subscribedPattern: string | null
  readonly sessionTimeoutMs: number
  readonly rebalanceTimeoutMs: number
  /** What it may read now. */
  readonly assignment: readonly TopicPartitions[]
  /** What it is to read when all are reconciled. */
  readonly targetAssignment: readonly TopicPartitions[]
}

export interface DescribedGroup {
  readonly errorNumber: number
  readonly errorText: string
  readonly groupId: string
  readonly kind: string
  readonly state: string
  readonly groupEpoch: number
  readonly assignmentEpoch: number
  readonly assignor: string
  readonly members: readonly DescribedMember[]
}

export interface GroupDescribeReply extends PageReply {
  readonly groups: readonly DescribedGroup[]
}

export const groupDescribe = makeCodec<GroupDescribeRequest, GroupDescribeReply>({
  api: Api.GROUP_DESCRIBE,
  name: 'group-describe',
  writeRequest: (request) => [request.groupIds, request.cursor ?? null],
  readRequest: (fields) => ({
    groupIds: fields.texts('groupIds', REQUEST_GROUPS_MAX, GROUP_TEXT_LENGTH_MAX),
    cursor: readCursor(fields, 'cursor'),
  }),
  writeReply: (reply) => [
    reply.groups.map((group) => [
      group.errorNumber,
      group.errorText,
      group.groupId,
      group.kind,
      group.state,
      group.groupEpoch,
      group.assignmentEpoch,
      group.assignor,
      group.members.map(writeMember),
    ]),
    reply.nextCursor,
  ],
  readReply: (fields) => ({
    groups: fields.list('groups', REQUEST_GROUPS_MAX, (group) => ({
      ...readError(group),
      groupId: group.text('groupId', GROUP_TEXT_LENGTH_MAX),
      kind: group.text('kind', GROUP_TEXT_LENGTH_MAX),
      state: group.text('state', GROUP_TEXT_LENGTH_MAX),
      groupEpoch: group.integer('groupEpoch', -1, INT32_MAX),
      assignmentEpoch: group.integer('assignmentEpoch', -1, INT32_MAX),
      assignor: group.text('assignor', GROUP_TEXT_LENGTH_MAX),
      members: group.list('members', GROUP_MEMBERS_MAX, readMember),
    })),
    nextCursor: readCursor(fields, 'nextCursor'),
  }),
})

/** The group whose pages these are, with the members of all of them; it may have ended meanwhile: the first page tells what it was. */
export function joinDescribed(pages: readonly GroupDescribeReply[]): DescribedGroup | undefined {
  const group = pages[0]?.groups[0]
  if (group === undefined) return undefined
  return { ...group, members: pages.flatMap((page) => page.groups[0]?.members ?? []) }
}

function writeMember(member: DescribedMember): unknown[] {
  return [
    member.memberId,
    member.instanceId,
    member.rackId,
    member.memberEpoch,
    member.clientId,
    member.clientHost,
    member.subscribedTopics,
    member.subscribedPattern,
    member.sessionTimeoutMs,
    member.rebalanceTimeoutMs,
    writeTopicPartitions(member.assignment),
    writeTopicPartitions(member.targetAssignment),
  ]
}

function readMember(member: Fields): DescribedMember {
  return {
    memberId: member.text('memberId', GROUP_TEXT_LENGTH_MAX),
    instanceId: member.textOrNull('instanceId', GROUP_TEXT_LENGTH_MAX),
    rackId: member.textOrNull('rackId', GROUP_TEXT_LENGTH_MAX),
    memberEpoch: member.integer('memberEpoch', -2, INT32_MAX),
    clientId: member.text('clientId', GROUP_TEXT_LENGTH_MAX),
    clientHost: member.text('clientHost', GROUP_TEXT_LENGTH_MAX),
    subscribedTopics: member.texts('subscribedTopics', MEMBER_TOPICS_MAX, TOPIC_NAME_LENGTH_MAX),
    subscribedPattern: member.textOrNull('subscribedPattern'),
    sessionTimeoutMs: member.integer('sessionTimeoutMs', 0, INT32_MAX),
    rebalanceTimeoutMs: member.integer('rebalanceTimeoutMs', 0, INT32_MAX),
    assignment: readTopicPartitions(member, 'assignment'),
    targetAssignment: readTopicPartitions(member, 'targetAssignment'),
  }
}
