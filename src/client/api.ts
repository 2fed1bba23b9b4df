/** What both makes of the client (Node and browser) export. */

export { type ErrorCode, isMillraceError, MillraceError } from '../model/errors.ts'
export type { ClusterDescription } from '../protocol/index.ts'
export type { CodecName } from '../record/compression.ts'
export type {
  AlterTopicOptions,
  CreatedTopic,
  CreateTopicOptions,
  PartitionDescription,
  TopicDescription,
  TopicSummary,
  TrimOptions,
} from './admin.ts'
export { Admin, TopicAdmin } from './admin.ts'
export { type BrokerInfo, Client } from './client.ts'
export type { ClientOptions } from './client-options.ts'
export type { ClientRuntime, Timer } from './client-runtime.ts'
export { Consumer, type ConsumerPosition, type ConsumerStats } from './consumer.ts'
export type { ConsumerOptions } from './consumer-options.ts'
export type { PartitionOffset } from './positions.ts'
export { Producer, type ProducerRecord, type ProducerStats, type Receipt, type SendOptions } from './producer.ts'
export type { Acks, FailedBatch, ProducerOptions, StoredBatch } from './producer-options.ts'
export type { Partitioner } from './record-router.ts'
export type { ConsumedBatch, ConsumedRecord, Position, RecordCursor, TopicLike } from './record-types.ts'

/** A topic as a value, to be named in one place. */
export function topic(name: string): { readonly name: string } {
  return { name }
}
