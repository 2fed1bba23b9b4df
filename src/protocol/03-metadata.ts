/**
 * metadata (3): brokers, topics, their configuration, and who leads which partition.
 *
 * Versions  1
 * Request   topics: names, or null for all that the caller may see; an empty list asks for brokers only
 * Reply     a topic that is not known has its error in its own row. partitions[i] is partition i. Brokers before clusters end their rows
 *           earlier: no rack is null, no replicas and no in-sync replicas are the leader alone; no drainFrom and no revision are -1
 */
import type { TopicId } from '../model/ids.ts'
import { BROKER_PARTITIONS_MAX, OFFSET_MAX, TOPIC_PARTITIONS_MAX } from '../model/limits.ts'
import { Api, makeCodec } from './api.ts'
import { type Fields, INT32_MAX } from './fields.ts'

const TOPICS_MAX = BROKER_PARTITIONS_MAX
const BROKERS_MAX = 10_000
const CONFIG_KEYS_MAX = 100
const REPLICAS_MAX = 1_000
const RACK_LENGTH_MAX = 1024
/** Longer than a valid name, so that a bad name is answered by its own error. */
const NAME_LENGTH_MAX = 1024

export interface MetadataRequest {
  readonly topics: readonly string[] | null
}

export interface MetadataBroker {
  readonly nodeId: number
  readonly url: string
  /** Where it stands, or null when nobody said. */
  readonly rack: string | null
}

export interface MetadataPartition {
  /** -1 = no leader now. */
  readonly leaderNodeId: number
  readonly leaderEpoch: number
  /** Why it does not serve, or null. */
  readonly offline: string | null
  /** Node ids, the preferred leader first. */
  readonly replicas: readonly number[]
  /** Those of `replicas` that hold all that was acknowledged to acks=all. */
  readonly inSync: readonly number[]
}

export interface MetadataTopic {
  readonly errorNumber: number
  readonly errorText: string
  readonly name: string
  /** Empty when the topic is not known. */
  readonly topicId: TopicId | ''
  readonly config: Readonly<Record<string, string>>
  readonly partitions: readonly MetadataPartition[]
  /** From this partition on it takes no new records; -1 = all do. */
  readonly drainFrom: number
  /** Grows with each change of its configuration or number of partitions: of two replies the newer one. -1 = not known. */
  readonly revision: number
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
    reply.brokers.map((broker) => [broker.nodeId, broker.url, broker.rack]),
    reply.controllerId,
    reply.topics.map((topic) => [
      topic.errorNumber,
      topic.errorText,
      topic.name,
      topic.topicId,
      topic.config,
      topic.partitions.map(writePartition),
      topic.drainFrom,
      topic.revision,
    ]),
  ],
  readReply: (fields) => ({
    clusterId: fields.text('clusterId'),
    brokers: fields.list('brokers', BROKERS_MAX, (broker) => ({
      nodeId: broker.integer('nodeId', 0, OFFSET_MAX),
      url: broker.text('url'),
      rack: broker.textOrNull('rack', RACK_LENGTH_MAX),
    })),
    controllerId: fields.integer('controllerId', -1, OFFSET_MAX),
    topics: fields.list('topics', TOPICS_MAX, (topic) => ({
      errorNumber: topic.integer('errorNumber', -INT32_MAX, INT32_MAX),
      errorText: topic.text('errorText'),
      name: topic.text('name', NAME_LENGTH_MAX),
      topicId: topic.text('topicId', 32) as TopicId | '',
      config: topic.textMap('config', CONFIG_KEYS_MAX),
      partitions: topic.list('partitions', TOPIC_PARTITIONS_MAX, readPartition),
      drainFrom: topic.integerOr('drainFrom', -1, TOPIC_PARTITIONS_MAX, -1),
      revision: topic.integerOr('revision', -1, OFFSET_MAX, -1),
    })),
  }),
})

function writePartition(partition: MetadataPartition): unknown[] {
  const { leaderNodeId, leaderEpoch, offline, replicas, inSync } = partition
  return [leaderNodeId, leaderEpoch, offline, replicas, inSync]
}

function readPartition(fields: Fields): MetadataPartition {
  const leaderNodeId = fields.integer('leaderNodeId', -1, OFFSET_MAX)
  const leaderEpoch = fields.integer('leaderEpoch', -1, INT32_MAX)
  const offline = fields.textOrNull('offline')
  const alone = leaderNodeId === -1 ? [] : [leaderNodeId]
  return {
    ...{ leaderNodeId, leaderEpoch, offline },
    replicas: fields.integersOrMissing('replicas', REPLICAS_MAX, 0, OFFSET_MAX) ?? alone,
    inSync: fields.integersOrMissing('inSync', REPLICAS_MAX, 0, OFFSET_MAX) ?? alone,
  }
}
