/**
 * offset-commit (8): stores how far a group has handled partitions; it is durable when the reply comes.
 *
 * Versions  1
 * Request   a member commits with its memberId and memberEpoch; without members (memberId '', memberEpoch -1) anybody may
 * Reply     topics and partitions in the request's order, each with an error of its own: UNKNOWN_TOPIC_OR_PARTITION,
 *           INCONSISTENT_TOPIC_ID, OFFSET_METADATA_TOO_LARGE, INVALID_COMMIT_OFFSET_SIZE, STALE_MEMBER_EPOCH where another
 *           member owns the partition now
 * Failure   of the whole: INVALID_GROUP_ID, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, STALE_MEMBER_EPOCH, GROUP_ID_NOT_FOUND,
 *           INVALID_REQUEST (a partition twice), INVALID_COMMIT_OFFSET_SIZE (more than a batch of the group's log holds)
 * Limits    REQUEST_PARTITIONS_MAX, OFFSET_METADATA_BYTES_MAX
 */
import { REQUEST_PARTITIONS_MAX } from '../model/limits.ts'
import { Api, makeCodec } from './api.ts'
import { type Fields, INT32_MAX } from './fields.ts'
import {
  GROUP_TEXT_LENGTH_MAX,
  type NamedTopic,
  readNamedTopic,
  readTopicResults,
  type TopicResults,
  writeTopicResults,
} from './group-fields.ts'

export interface OffsetCommitPartition {
  readonly partition: number
  /** The next offset to read. */
  readonly offset: number
  /** Of the last record that was read, or -1. */
  readonly leaderEpoch: number
  readonly metadata: string
}

export interface OffsetCommitTopic extends NamedTopic {
  readonly partitions: readonly OffsetCommitPartition[]
}

export interface OffsetCommitRequest {
  readonly groupId: string
  readonly memberId: string
  /** -1 = not a member. */
  readonly memberEpoch: number
  readonly instanceId: string | null
  readonly topics: readonly OffsetCommitTopic[]
}

export interface OffsetCommitReply {
  readonly topics: readonly TopicResults[]
}

export const offsetCommit = makeCodec<OffsetCommitRequest, OffsetCommitReply>({
  api: Api.OFFSET_COMMIT,
  name: 'offset-commit',
  writeRequest: (request) => [request.groupId, ...writeCommit(request)],
  readRequest: (fields) => ({
    groupId: fields.text('groupId', GROUP_TEXT_LENGTH_MAX),
    ...readCommit(fields),
  }),
  writeReply: (reply) => [writeTopicResults(reply.topics)],
  readReply: (fields) => ({ topics: readTopicResults(fields, 'topics') }),
})

/** Who commits, and what: as in txn-offset-commit. */
export function writeCommit(request: OffsetCommitRequest): unknown[] {
  return [request.memberId, request.memberEpoch, request.instanceId, request.topics.map(writeCommitTopic)]
}

export function readCommit(fields: Fields): Omit<OffsetCommitRequest, 'groupId'> {
  return {
    memberId: fields.text('memberId', GROUP_TEXT_LENGTH_MAX),
    memberEpoch: fields.integer('memberEpoch', -1, INT32_MAX),
    instanceId: fields.textOrNull('instanceId', GROUP_TEXT_LENGTH_MAX),
    topics: fields.list('topics', REQUEST_PARTITIONS_MAX, readCommitTopic),
  }
}

function writeCommitTopic({ topicId, topic, partitions }: OffsetCommitTopic): unknown[] {
  return [topicId, topic, partitions.map((part) => [part.partition, part.offset, part.leaderEpoch, part.metadata])]
}

function readCommitTopic(fields: Fields): OffsetCommitTopic {
  return {
    ...readNamedTopic(fields),
    partitions: fields.list('partitions', REQUEST_PARTITIONS_MAX, (part) => ({
      partition: part.integer('partition', 0, INT32_MAX),
      offset: part.offset('offset'),
      leaderEpoch: part.integer('leaderEpoch', -1, INT32_MAX),
      metadata: part.text('metadata'),
    })),
  }
}
