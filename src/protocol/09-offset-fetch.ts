/**
 * offset-fetch (9): the committed offsets of a group.
 *
 * Versions  1
 * Request   topics: whose offsets, or null for all that the group has. A member that gives its memberId and memberEpoch is
 *           fenced by them; anybody else sends '' and -1. requireStable: not while a transaction's offsets are pending
 *           cursor: pages.ts
 * Reply     a partition without a committed offset has offset -1; that is no error, an unknown group likewise
 * Failure   INVALID_GROUP_ID, UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH; per partition UNSTABLE_OFFSET_COMMIT
 * Limits    REQUEST_PARTITIONS_MAX
 */
import { GROUP_OFFSETS_MAX, OFFSET_MAX } from '../model/limits.ts'
import { Api, makeCodec } from './api.ts'
import { INT32_MAX } from './fields.ts'
import {
  GROUP_TEXT_LENGTH_MAX,
  type NamedTopic,
  type PartitionResult,
  readError,
  readNamedTopic,
  readTopicPartitionsOrNull,
  type TopicPartitions,
  writeTopicPartitions,
} from './group-fields.ts'
import { type PageReply, type PageRequest, readCursor } from './pages.ts'

export interface OffsetFetchRequest extends PageRequest {
  readonly groupId: string
  readonly memberId: string
  readonly memberEpoch: number
  readonly requireStable: boolean
  readonly topics: readonly TopicPartitions[] | null
}

export interface OffsetFetchPartition extends PartitionResult {
  /** -1 = none. */
  readonly offset: number
  readonly leaderEpoch: number
  readonly metadata: string
  /** When it was committed, by the broker's clock; -1 = never. */
  readonly commitTimestampMs: number
}

export interface OffsetFetchTopic extends NamedTopic {
  readonly partitions: readonly OffsetFetchPartition[]
}

export interface OffsetFetchReply extends PageReply {
  /** A topic that is cut in two is in two pages. */
  readonly topics: readonly OffsetFetchTopic[]
}

export const offsetFetch = makeCodec<OffsetFetchRequest, OffsetFetchReply>({
  api: Api.OFFSET_FETCH,
  name: 'offset-fetch',
  writeRequest: (request) => [
    request.groupId,
    request.memberId,
    request.memberEpoch,
    request.requireStable,
    request.topics === null ? null : writeTopicPartitions(request.topics),
    request.cursor ?? null,
  ],
  readRequest: (fields) => ({
    groupId: fields.text('groupId', GROUP_TEXT_LENGTH_MAX),
    memberId: fields.text('memberId', GROUP_TEXT_LENGTH_MAX),
    memberEpoch: fields.integer('memberEpoch', -1, INT32_MAX),
    requireStable: fields.boolean('requireStable'),
    topics: readTopicPartitionsOrNull(fields, 'topics'),
    cursor: readCursor(fields, 'cursor'),
  }),
  writeReply: (reply) => [
    reply.topics.map((topic) => [
      topic.topicId,
      topic.topic,
      topic.partitions.map((part) => [
        part.partition,
        part.errorNumber,
        part.errorText,
        part.offset,
        part.leaderEpoch,
        part.metadata,
        part.commitTimestampMs,
      ]),
    ]),
    reply.nextCursor,
  ],
  readReply: (fields) => ({
    topics: fields.list('topics', GROUP_OFFSETS_MAX, (topic) => ({
      ...readNamedTopic(topic),
      partitions: topic.list('partitions', GROUP_OFFSETS_MAX, (part) => ({
        partition: part.integer('partition', 0, INT32_MAX),
        ...readError(part),
        offset: part.offset('offset', -1),
        leaderEpoch: part.integer('leaderEpoch', -1, INT32_MAX),
        metadata: part.text('metadata'),
        commitTimestampMs: part.integer('commitTimestampMs', -1, OFFSET_MAX),
      })),
    })),
    nextCursor: readCursor(fields, 'nextCursor'),
  }),
})
