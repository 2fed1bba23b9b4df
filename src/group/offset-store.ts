/**
 * Committed offsets: commit, fetch, delete.
 *
 * Fencing   a member commits under its current epoch only (STALE_MEMBER_EPOCH), and only what no other member owns: what it
 *           gave up may be its next owner's already, and a late commit would send that one's offset back.
 *           Without members anybody may commit (memberId '', memberEpoch -1). Of classic groups: classic-commits.ts
 * Pending   what a transaction commits counts when its marker comes (pending-offsets.ts); fencing is the same. The shell asks the
 *           partition first whether the producer may write there
 * Offsets   belong to the group, whatever its kind, and to the topic's id: a topic made anew under an old name has none
 * Limits    GROUP_OFFSETS_MAX, OFFSET_METADATA_BYTES_MAX, COORDINATOR_GROUPS_MAX; those of a whole commit are commit-checks.ts's
 */
import { utf8Bytes } from '../base/utf8-write.ts'
import type { ErrorCode } from '../model/errors.ts'
import type { TopicId } from '../model/ids.ts'
import { GROUP_OFFSETS_MAX, OFFSET_METADATA_BYTES_MAX } from '../model/limits.ts'
import { checkClassicCommit } from './classic-commits.ts'
import { CONSUMER_TYPE } from './classic-subscriptions.ts'
import { checkCommit, checkPendingCount } from './commit-checks.ts'
import { GroupChanges } from './group-changes.ts'
import type { GroupContext } from './group-context.ts'
import type { PendingRecord } from './group-records.ts'
import { checkGroupCount } from './group-room.ts'
import type { Group, Member } from './group-state.ts'
import { OffsetLook } from './offset-look.ts'
import { offsetPage } from './offset-pages.ts'
import { checkGroupId, checkInstance, checkNames, resolveTopic, unknownMember } from './request-checks.ts'
import {
  type CommitPartition,
  type CommitTopic,
  type Decision,
  type FetchedTopic,
  type GroupRefusal,
  isRefusal,
  type NamedTopic,
  type OffsetCommitReply,
  type OffsetCommitRequest,
  type OffsetDeleteReply,
  type OffsetDeleteRequest,
  type OffsetFetchReply,
  type OffsetFetchRequest,
  type PartitionOutcome,
  refuse,
  refusedDecision,
  type TopicOutcomes,
  type TxnOffsetCommitRequest,
} from './requests.ts'
import { mayBeSubscribed, subscribedTopicsOfAll } from './target-assignment.ts'
import type { TopicEntry } from './topic-directory.ts'

export function decideOffsetCommit(
  context: GroupContext,
  request: OffsetCommitRequest,
  nowMs: number,
): Decision<OffsetCommitReply> {
  const group = context.state.groups.get(request.groupId)
  const committer = checkCommitter(context, group, request, { isTransactional: false, nowMs })
  if (committer !== undefined && isRefusal(committer)) return refusedDecision(committer)
  const fault = checkCommit(context, request)
  if (fault !== undefined) return refusedDecision(fault)
  const changes = new GroupChanges(context.state)
  const emit = (record: PendingRecord): void => changes.emit(record)
  const topics = request.topics.map((topic) => commitTopic(context, request.groupId, committer, topic, emit))
  return { records: changes.records, notices: changes.notices, reply: { kind: 'committed', topics } }
}

export function decideTxnOffsetCommit(
  context: GroupContext,
  request: TxnOffsetCommitRequest,
  nowMs: number,
): Decision<OffsetCommitReply> {
  const { groupId, producerId, producerEpoch } = request
  const group = context.state.groups.get(groupId)
  const committer = checkCommitter(context, group, request, { isTransactional: true, nowMs })
  if (committer !== undefined && isRefusal(committer)) return refusedDecision(committer)
  const fault = checkCommit(context, request) ?? checkPendingCount(context, request)
  if (fault !== undefined) return refusedDecision(fault)
  const transaction = { producerId, producerEpoch }
  const changes = new GroupChanges(context.state)
  const emit = (record: PendingRecord): void => changes.emitPending(record, transaction)
  const topics = request.topics.map((topic) => commitTopic(context, groupId, committer, topic, emit))
  return { records: changes.records, transaction, notices: changes.notices, reply: { kind: 'committed', topics } }
}

/** The member that commits, undefined for somebody who is none and may, or why not. */
function checkCommitter(
  context: GroupContext,
  group: Group | undefined,
  request: OffsetCommitRequest,
  how: { readonly isTransactional: boolean; readonly nowMs: number },
): Member | GroupRefusal | undefined {
  const { groupId, memberId, memberEpoch } = request
  const fault = checkGroupId(groupId)
  if (fault !== undefined) return fault
  if (group?.classic !== undefined) return checkClassicCommit(context, group, request, how)
  const hasMembers = group !== undefined && group.members.size > 0
  if (memberEpoch >= 0 || (hasMembers && memberId !== '')) return checkMember(group, request)
  if (hasMembers)
    return refuse('UNKNOWN_MEMBER_ID', `group '${groupId}' has members: only they may commit while it does`)
  return checkGroupCount(context.state, groupId)
}

interface OfMember {
  readonly groupId: string
  readonly memberId: string
  readonly memberEpoch: number
}

function checkMember(
  group: Group | undefined,
  request: OfMember & { readonly instanceId?: string | null },
): Member | GroupRefusal {
  const { groupId, memberId, memberEpoch } = request
  if (group === undefined) return refuse('GROUP_ID_NOT_FOUND', `there is no group '${groupId}'`)
  const fault = checkNames({ memberId }) ?? checkInstance(group, memberId, request.instanceId ?? null)
  if (fault !== undefined) return fault
  const member = group.members.get(memberId)
  if (member === undefined) return unknownMember(groupId, memberId)
  if (memberEpoch === member.current.memberEpoch) return member
  const at = `which is at ${member.current.memberEpoch}`
  return refuse('STALE_MEMBER_EPOCH', `epoch ${memberEpoch} of member ${memberId}, ${at}: send a heartbeat first`)
}

function commitTopic(
  context: GroupContext,
  groupId: string,
  committer: Member | undefined,
  named: CommitTopic,
  emit: (record: PendingRecord) => void,
): TopicOutcomes {
  const topic = resolveTopic(context.directory, named)
  if (isRefusal(topic)) return outcomesOf(named, named.partitions, () => topic)
  const commitTimestampMs = context.wallClock.nowMs()
  return outcomesOf(topicName(topic), named.partitions, (part) => {
    const group = context.state.groups.get(groupId)
    const fault = checkPart(group, topic, committer, part) ?? checkCount(context, groupId, topic, part)
    if (fault !== undefined) return fault
    const { partition, offset, leaderEpoch, metadata } = part
    const value = { offset, leaderEpoch, metadata, commitTimestampMs }
    emit({ type: 'offset', groupId, topicId: topic.topicId, partition, value })
    return undefined
  })
}

function checkPart(
  group: Group | undefined,
  { topicId, name, partitionCount }: TopicEntry,
  committer: Member | undefined,
  { partition, metadata }: CommitPartition,
): GroupRefusal | undefined {
  if (partition >= partitionCount)
    return refuse('UNKNOWN_TOPIC_OR_PARTITION', `topic '${name}' has ${partitionCount} partitions, no ${partition}`)
  if (metadata.length * 3 > OFFSET_METADATA_BYTES_MAX) {
    const bytes = utf8Bytes(metadata)
    if (bytes > OFFSET_METADATA_BYTES_MAX)
      return refuse('OFFSET_METADATA_TOO_LARGE', `metadata of ${bytes} bytes, the most is ${OFFSET_METADATA_BYTES_MAX}`)
  }
  if (group === undefined) return undefined
  const owner = committer === undefined ? undefined : group.owners.get(topicId)?.get(partition)
  if (owner !== undefined && owner !== committer)
    return refuse('STALE_MEMBER_EPOCH', `partition ${partition} of '${name}' belongs to member ${owner.memberId} now`)
  return undefined
}

/** Pending ones included. */
function checkCount(
  { state }: GroupContext,
  groupId: string,
  { topicId }: TopicEntry,
  { partition }: CommitPartition,
): GroupRefusal | undefined {
  const group = state.groups.get(groupId)
  const count = (group?.offsetCount ?? 0) + state.pending.countOf(groupId)
  if (count < GROUP_OFFSETS_MAX || group?.offsets.get(topicId)?.has(partition) === true) return undefined
  return refuse('INVALID_COMMIT_OFFSET_SIZE', `the group has ${GROUP_OFFSETS_MAX} offsets, the most allowed`)
}

export function decideOffsetFetch(context: GroupContext, request: OffsetFetchRequest): Decision<OffsetFetchReply> {
  const { groupId, memberId, memberEpoch } = request
  const group = context.state.groups.get(groupId)
  const fault = checkGroupId(groupId)
  if (fault !== undefined) return refusedDecision(fault)
  // Kafka's classic members send their id without an epoch: nothing to fence by.
  const isFenced = memberEpoch >= 0 || (memberId !== '' && group?.kind === 'consumer' && group.members.size > 0)
  if (isFenced && group?.classic === undefined) {
    const member = checkMember(group, request)
    if (isRefusal(member)) return refusedDecision(member)
  }
  const { topics, cursor = null } = request
  const look = new OffsetLook(context, request)
  if (cursor !== null) return { records: [], notices: [], reply: offsetPage(look, topics, cursor) }
  const rows =
    topics === null ? allOffsets(look) : topics.map(({ partitions, ...named }) => fetchTopic(look, named, partitions))
  return { records: [], notices: [], reply: { kind: 'offsets', topics: rows, nextCursor: null } }
}

function allOffsets(look: OffsetLook): FetchedTopic[] {
  return [...look.topicIds()].map((topicId) => ({
    topicId,
    topic: look.context.directory.byId(topicId)?.name ?? '',
    partitions: look.partitionsOf(topicId).map((partition) => look.offset(topicId, partition)),
  }))
}

function fetchTopic(look: OffsetLook, named: NamedTopic, partitions: readonly number[]): FetchedTopic {
  const topic = resolveTopic(look.context.directory, named)
  // A topic that is not known has no offsets: no error, as in Kafka.
  const topicId = isRefusal(topic) ? undefined : topic.topicId
  return {
    ...(isRefusal(topic) ? named : topicName(topic)),
    partitions: partitions.map((partition) => look.offset(topicId, partition)),
  }
}

export function decideOffsetDelete(context: GroupContext, request: OffsetDeleteRequest): Decision<OffsetDeleteReply> {
  const { groupId } = request
  const group = context.state.groups.get(groupId)
  const fault = checkGroupId(groupId)
  if (fault !== undefined) return refusedDecision(fault)
  if (group === undefined) return refusedDecision(refuse('GROUP_ID_NOT_FOUND', `there is no group '${groupId}'`))
  const { classic } = group
  if (classic !== undefined && classic.state !== 'Empty' && classic.protocolType !== CONSUMER_TYPE)
    return refusedDecision(
      refuse('NON_EMPTY_GROUP', `group '${groupId}' has members of type '${classic.protocolType}'`),
    )
  const subscribed = subscribedTopicsOfAll(context, group)
  const changes = new GroupChanges(context.state)
  const topics = request.topics.map((named) => deleteTopicOffsets(context, changes, group, subscribed, named))
  return { records: changes.records, notices: changes.notices, reply: { kind: 'offsets-deleted', topics } }
}

function deleteTopicOffsets(
  context: GroupContext,
  changes: GroupChanges,
  group: Group,
  subscribed: ReadonlySet<TopicId> | 'unknown',
  named: NamedTopic & { readonly partitions: readonly number[] },
): TopicOutcomes {
  const parts = named.partitions.map((partition) => ({ partition }))
  const topic = resolveTopic(context.directory, named)
  if (isRefusal(topic)) return outcomesOf(named, parts, () => topic)
  const { topicId, name } = topic
  const fault = mayBeSubscribed(subscribed, topicId)
    ? refuse('GROUP_SUBSCRIBED_TO_TOPIC', `a member of the group subscribes to '${name}'`)
    : undefined
  return outcomesOf(topicName(topic), parts, ({ partition }) => {
    const isThere = group.offsets.get(topicId)?.has(partition) === true
    if (fault === undefined && (isThere || context.state.pending.has(group.groupId, topicId, partition)))
      changes.emit({ type: 'offset', groupId: group.groupId, topicId, partition, value: null })
    return fault
  })
}

function topicName({ topicId, name }: TopicEntry): NamedTopic {
  return { topicId, topic: name }
}

function outcomesOf<Part extends { readonly partition: number }>(
  { topicId, topic }: NamedTopic,
  parts: readonly Part[],
  handle: (part: Part) => { readonly error: ErrorCode; readonly text: string } | undefined,
): TopicOutcomes {
  return {
    topicId,
    topic,
    partitions: parts.map((part): PartitionOutcome => {
      const fault = handle(part)
      return { partition: part.partition, error: fault?.error ?? 'NONE', text: fault?.text ?? '' }
    }),
  }
}
