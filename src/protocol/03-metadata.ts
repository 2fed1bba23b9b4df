/**
 * metadata (3): brokers, topics, their configuration, and who leads which partition.
 *
 * Versions  1
 * Request   topics: names, or null for all that the caller may see; an empty list asks for brokers only
 * Reply     a topic that is not known has its error in its own row. partitions[i] is partition i
 */
import type { TopicId } from '../model/ids.ts'
import { BROKER_PARTITIONS_MAX, OFFSET_MAX, TOPIC_PARTITIONS_MAX } from '../model/limits.ts'
import { Api, makeCodec } from './api.ts'
import { INT32_MAX } from './fields.ts'

const TOPICS_MAX = BROKER_PARTITIONS_MAX
const BROKERS_MAX = 10_000
const CONFIG_KEYS_MAX = 100
/** Longer than a valid name, so that a bad name is answered by its own error. */
const NAME_LENGTH_MAX = 1024

export interface MetadataRequest {
  readonly topics: readonly string[] | null
}

export interface MetadataBroker {
  readonly nodeId: number
  readonly url: string
}

export interface MetadataPartition {
  /** -1 = no leader now. */
  readonly leaderNodeId: number
  readonly leaderEpoch: number
  /** Why it does not serve, or null. */
  readonly offline: string | null
}

export interface MetadataTopic {
  readonly errorNumber: number
  readonly errorText: string
  readonly name: string
  /** Empty when the topic is not known. */
  readonly topicId: TopicId | ''
  readonly config: Readonly<Record<string, string>>
  readonly partitions: readonly MetadataPartition[]
}

export interface MetadataReply {
  readonly clusterId: string
  readonly brokers: readonly MetadataBroker[]
  readonly controllerId: number
  readonly topics: readonly MetadataTopic[]
}

export const metadata = makeCodec<MetadataRequest, MetadataReply>({
  api: Api.METADATA,
  name: 'metadata',
  writeRequest: (request) => [request.topics],
  readRequest: (fields) => ({ topics: fields.textsOrNull('topics', TOPICS_MAX, NAME_LENGTH_MAX) }),
  writeReply: (reply) => [
    reply.clusterId,
    reply.brokers.map((broker) => [broker.nodeId, broker.url]),
    reply.controllerId,
    reply.topics.map((topic) => [
      topic.errorNumber,
      topic.errorText,
      topic.name,
      topic.topicId,
      topic.config,
      topic.partitions.map((partition) => [partition.leaderNodeId, partition.leaderEpoch, partition.offline]),
    ]),
  ],
  readReply: (fields) => ({
    clusterId: fields.text('clusterId'),
    brokers: fields.list('brokers', BROKERS_MAX, (broker) => ({
      nodeId: broker.integer('nodeId', 0, OFFSET_MAX),
      url: broker.text('url'),
    })),
    controllerId: fields.integer('controllerId', -1, OFFSET_MAX),
    topics: fields.list('topics', TOPICS_MAX, (topic) => ({
      errorNumber: topic.integer('errorNumber', -INT32_MAX, INT32_MAX),
      errorText: topic.text('errorText'),
      name: topic.text('name', NAME_LENGTH_MAX),
      topicId: topic.text('topicId', 32) as TopicId | '',
      config: topic.textMap('config', CONFIG_KEYS_MAX),
      partitions: topic.list('partitions', TOPIC_PARTITIONS_MAX, (partition) => ({
        leaderNodeId: partition.integer('leaderNodeId', -1, OFFSET_MAX),
        leaderEpoch: partition.integer('leaderEpoch', -1, INT32_MAX),
        offline: partition.textOrNull('offline'),
      })),
    })),
  }),
})
