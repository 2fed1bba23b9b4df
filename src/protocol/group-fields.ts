/**
 * Fields that several requests of consumer groups share: topics with partitions, and results per partition.
 *
 * Requests name a topic by its id, by its name (the id is '') or by both, which must then belong together. Replies have both;
 * the name is '' when the topic was deleted.
 */
import { utf8DecodeStrict } from '../base/bytes.ts'
import { isTopicId, type TopicId } from '../model/ids.ts'
import { REQUEST_PARTITIONS_MAX } from '../model/limits.ts'
import { TOPIC_NAME_LENGTH_MAX } from './19-create-topic.ts'
import { type Fields, INT32_MAX } from './fields.ts'

/** Longer than a valid id, so that a bad one is answered by its own error. */
export const GROUP_TEXT_LENGTH_MAX = 1024

const FIX_ARRAY = 0x90
const ARRAY_16 = 0xdc
const FIX_STRING = 0xa0
const STRING_8 = 0xd9

/**
 * The group id, which comes first in the header of every request about one group, without a look at the rest; undefined where it is
 * not written in one of the short ways, or is none.
 */
export function peekGroupId(header: Uint8Array): string | undefined {
  let at = 1
  if (header[0] === ARRAY_16) at = 3
  else if (header[0] === undefined || (header[0] & 0xf0) !== FIX_ARRAY) return undefined
  const marker = header[at++]
  let bytes: number | undefined
  if (marker !== undefined && (marker & 0xe0) === FIX_STRING) bytes = marker & 0x1f
  else if (marker === STRING_8) bytes = header[at++]
  if (bytes === undefined || at + bytes > header.length) return undefined
  return utf8DecodeStrict(header.subarray(at, at + bytes))
}

/** A topic as requests and replies of groups name it. */
export interface NamedTopic {
  readonly topicId: TopicId | ''
  readonly topic: string
}

export interface TopicPartitions extends NamedTopic {
  readonly partitions: readonly number[]
}

export interface PartitionResult {
  readonly partition: number
  readonly errorNumber: number
  readonly errorText: string
}

export interface TopicResults extends NamedTopic {
  readonly partitions: readonly PartitionResult[]
}

export function readNamedTopic(fields: Fields): NamedTopic {
  return {
    topicId: fields.textWhere('topicId', "a topic id of 32 hex digits, or ''", isTopicIdOrEmpty) as TopicId | '',
    topic: fields.text('topic', TOPIC_NAME_LENGTH_MAX),
  }
}

export function writeTopicPartitions(topics: readonly TopicPartitions[]): unknown[] {
  return topics.map((topic) => [topic.topicId, topic.topic, topic.partitions])
}

export function readTopicPartitions(fields: Fields, name: string): TopicPartitions[] {
  return fields.list(name, REQUEST_PARTITIONS_MAX, readOneTopicPartitions)
}

/** A null or missing list is null. */
export function readTopicPartitionsOrNull(fields: Fields, name: string): TopicPartitions[] | null {
  return fields.listOrNull(name, REQUEST_PARTITIONS_MAX, readOneTopicPartitions)
}

function readOneTopicPartitions(topic: Fields): TopicPartitions {
  return {
    ...readNamedTopic(topic),
    partitions: topic.integers('partitions', REQUEST_PARTITIONS_MAX, 0, INT32_MAX),
  }
}

export function writeTopicResults(topics: readonly TopicResults[]): unknown[] {
  return topics.map((topic) => [
    topic.topicId,
    topic.topic,
    topic.partitions.map((part) => [part.partition, part.errorNumber, part.errorText]),
  ])
}

export function readTopicResults(fields: Fields, name: string): TopicResults[] {
  return fields.list(name, REQUEST_PARTITIONS_MAX, (topic) => ({
    ...readNamedTopic(topic),
    partitions: topic.list('partitions', REQUEST_PARTITIONS_MAX, (part) => ({
      partition: part.integer('partition', 0, INT32_MAX),
      ...readError(part),
    })),
  }))
}

export function readError(fields: Fields): { errorNumber: number; errorText: string } {
  return {
    errorNumber: fields.integer('errorNumber', -INT32_MAX, INT32_MAX),
    errorText: fields.text('errorText'),
  }
}

function isTopicIdOrEmpty(text: string): boolean {
  return text === '' || isTopicId(text)
}
