/** The native protocol in one import: frame, table, and the codec of each request. */
export * from './00-produce.ts'
export * from './01-fetch.ts'
export * from './02-list-offsets.ts'
export * from './03-metadata.ts'
export * from './08-offset-commit.ts'
export * from './09-offset-fetch.ts'
export * from './10-find-coordinator.ts'
export * from './16-list-groups.ts'
export * from './18-hello.ts'
export * from './19-create-topic.ts'
export * from './20-delete-topic.ts'
export * from './21-trim.ts'
export * from './22-init-producer-id.ts'
export * from './24-add-partitions-to-txn.ts'
export * from './26-end-txn.ts'
export * from './28-txn-offset-commit.ts'
export * from './37-add-partitions.ts'
export * from './42-delete-groups.ts'
export * from './44-alter-topic-config.ts'
export * from './47-offset-delete.ts'
export * from './60-describe-cluster.ts'
export * from './68-group-heartbeat.ts'
export * from './69-group-describe.ts'
export * from './1000-credit.ts'
export * from './1001-session-extend.ts'
export * from './1002-group-changed.ts'
export * from './api.ts'
export * from './frame.ts'
export {
  type NamedTopic,
  type PartitionResult,
  peekGroupId,
  type TopicPartitions,
  type TopicResults,
} from './group-fields.ts'
export { allPages, type PageReply, type PageRequest } from './pages.ts'
export { GIVEN_EPOCH_MAX } from './producer-fields.ts'
