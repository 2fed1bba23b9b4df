/** What both makes of the client (Node and browser) export. */

export { type ErrorCode, isMillraceError, MillraceError } from '../model/errors.ts'
export type {
  ClusterDescription,
  LeftPartition,
  PartitionByName,
  PartitionMove,
  PlannedMove,
} from '../protocol/index.ts'
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
export {
  type BrokerInfo,
  Client,
  type ClientStats,
  type ConnectTarget,
  type LocalBroker,
  type ProducerOf,
  type TransactionalProducerOf,
} from './client.ts'
export type {
  ClientEvents,
  ConsumerEvents,
  GroupEvents,
  ProducerEvents,
  TransactionalProducerEvents,
} from './client-events.ts'
export type { ClientOptions, ClientProfileName, Duration } from './client-options.ts'
export type { ClientRuntime, Timer } from './client-runtime.ts'
export {
  type ChangedPartitions,
  ClusterAdmin,
  type ClusterCallOptions,
  type MoveOptions,
  type MovePlan,
  type ReassignmentWish,
} from './cluster-admin.ts'
export { Consumer, type ConsumerPosition, type ConsumerStats } from './consumer.ts'
export type { ConsumerOptions } from './consumer-options.ts'
export { DecodeError } from './decode-error.ts'
export type { ListenerError, ListenOptions } from './events.ts'
export { DEAD_LETTER_HEADERS } from './group/dead-letter.ts'
export { Group } from './group/group.ts'
export {
  GroupAdmin,
  type GroupDescription,
  type GroupMember,
  type GroupOffset,
  type ListGroupsOptions,
  type SeekGroupOptions,
  type SoughtOffset,
} from './group/group-admin.ts'
export type {
  ExactlyOnceGroupOptions,
  GroupOptions,
  HandlerContext,
  PartitionsHook,
  RetryOptions,
  RunOptions,
  TopicPartition,
  TopicPattern,
  TransactionOptions,
} from './group/group-options.ts'
export type { Handler } from './group/group-runner.ts'
export type { GroupPosition, GroupStats } from './group/group-stats.ts'
export type { HandlerTransaction, TransactionContext } from './group/handler-transaction.ts'
export type { CommittedPosition } from './group/offset-committer.ts'
export type { PartitionOffset } from './positions.ts'
export { Producer, type ProducerStats, type Receipt, type SendOptions } from './producer.ts'
export type {
  Acks,
  FailedBatch,
  ProducerOptions,
  Semantics,
  StoredBatch,
  TransactionalProducerOptions,
} from './producer-options.ts'
export type { ProducerRecord } from './producer-record.ts'
export type { DecodeErrorPolicy } from './record-decoder.ts'
export type { Partitioner, PartitionFunction } from './record-router.ts'
export type {
  ConsumedBatch,
  ConsumedRecord,
  DecodedRecord,
  Position,
  RecordCursor,
  RecordOf,
  UndecodedRecord,
} from './record-types.ts'
export { type Bytes, bytes, json, type Serde, string } from './serde.ts'
export type { StandardSchema } from './standard-schema.ts'
export { type PlainTopic, type TopicLike, type TopicOptions, type TypedTopic, topic } from './topic.ts'
export { type RecordFor, Transaction } from './transaction/transaction.ts'
export type { CommittingGroup, HandledRecord } from './transaction/transaction-offsets.ts'
export { TransactionalProducer, type TransactionalProducerStats } from './transaction/transactional-producer.ts'
export {
  type ScramMechanism,
  UserAdmin,
  type UserCallOptions,
  type UserDescription,
  type UserWish,
} from './user-admin.ts'
