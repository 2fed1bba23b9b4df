/** The look-alike scalars of the system, each with a brand of its own, and the checks that make them. */
import type { Brand } from '../base/brand.ts'

/** A record's place in a partition: a safe integer, int64 on the wire. */
export type Offset = Brand<number, 'Offset'>
/** A byte's place in a file. */
export type FilePosition = Brand<number, 'FilePosition'>
/** A topic's UUID: 32 lower-case hex digits, no dashes; folders and keys are made from it, never from the name. */
export type TopicId = Brand<string, 'TopicId'>
/** Counts the leaders of a partition; fences old ones. */
export type LeaderEpoch = Brand<number, 'LeaderEpoch'>
/** One start of a broker process; grows with each start of the same node. */
export type Incarnation = Brand<number, 'Incarnation'>
/** Index of a shard, 0 … shards − 1. */
export type ShardIndex = Brand<number, 'ShardIndex'>
/** A partition's handle between gateway and shards of one process: dense, given by the gateway, reused after a delete. */
export type PartitionRef = Brand<number, 'PartitionRef'>

export const NO_OFFSET = -1 as Offset
export const NO_LEADER_EPOCH = -1 as LeaderEpoch
export const NO_PRODUCER_ID = -1

const TOPIC_ID = /^[0-9a-f]{32}$/
const TOPIC_NAME = /^[a-zA-Z0-9._-]{1,249}$/

export function isTopicId(text: string): text is TopicId {
  return TOPIC_ID.test(text)
}

/** Names are `[a-zA-Z0-9._-]{1,249}`, not `.` or `..` (Kafka's rule). */
export function isTopicName(text: unknown): text is string {
  return typeof text === 'string' && TOPIC_NAME.test(text) && text !== '.' && text !== '..'
}

/** Folder of a partition below the data dir: `<topic-id>-<partition>`. */
export function partitionFolder(topicId: TopicId, partition: number): string {
  return `${topicId}-${partition}`
}

/** Splits a folder name made by partitionFolder; undefined for any other name. */
export function parsePartitionFolder(name: string): { topicId: TopicId; partition: number } | undefined {
  const match = /^([0-9a-f]{32})-(0|[1-9][0-9]{0,5})$/.exec(name)
  if (match === null) return undefined
  return { topicId: match[1] as TopicId, partition: Number(match[2]) }
}
