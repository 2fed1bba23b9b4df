/**
 * alter-replicas (45): where replicas lie and who leads, changed on request: decided by the controller, whichever broker is asked.
 *
 * Versions  1
 * Request   kind says what is asked:
 *           reassign         `wishes`: these partitions get these replicas, the preferred leader first
 *           rebalance        as few moves as make the cluster even
 *           decommission     `nodeId` gets nothing new, and its replicas go to others, some at a time
 *           recommission     `nodeId` takes replicas again
 *           cancel           moves of `partitions` are taken back; null = all that go on
 *           elect-preferred  `partitions` are led by their preferred replicas again; null = all
 *           elect-unclean    `partitions` that have no leader get one, though it may lack records; null = all that have none
 *           dryRun of the first three: the plan is only shown
 * Reply     moves: the plan, as it is carried out; changed: partitions of cancel and the elections that were changed; left: what should
 *           change and did not, and why
 * Failure   INVALID_REQUEST where the broker is alone or the node is not known; INVALID_REPLICA_ASSIGNMENT; UNKNOWN_TOPIC_OR_PARTITION;
 *           INVALID_UPDATE_VERSION: changed meanwhile, ask again; BROKER_NOT_AVAILABLE: no controller
 */
import type { TopicId } from '../model/ids.ts'
import { BROKER_PARTITIONS_MAX, OFFSET_MAX, TOPIC_PARTITIONS_MAX } from '../model/limits.ts'
import { TOPIC_NAME_LENGTH_MAX } from './19-create-topic.ts'
import { Api, makeCodec } from './api.ts'
import type { Fields } from './fields.ts'

/** Replicas of a partition: as many as a cluster may have brokers. */
const REPLICAS_MAX = 1_000

const KINDS = [
  'reassign',
  'rebalance',
  'decommission',
  'recommission',
  'cancel',
  'elect-preferred',
  'elect-unclean',
] as const
export type AlterReplicasKind = (typeof KINDS)[number]

export interface ReplicaWish {
  readonly topic: string
  readonly partition: number
  /** Node ids, the preferred leader first. */
  readonly replicas: readonly number[]
}

export interface PartitionByName {
  readonly topic: string
  readonly partition: number
}

export interface AlterReplicasRequest {
  readonly kind: AlterReplicasKind
  /** Of decommission and recommission; -1 otherwise. */
  readonly nodeId: number
  /** Of reassign. */
  readonly wishes: readonly ReplicaWish[]
  /** Of cancel and the elections; null = all. */
  readonly partitions: readonly PartitionByName[] | null
  readonly dryRun: boolean
}

export interface PlannedMove extends PartitionByName {
  readonly topicId: TopicId
  readonly from: readonly number[]
  readonly to: readonly number[]
}

export interface LeftPartition extends PartitionByName {
  readonly reason: string
}

export interface AlterReplicasReply {
  readonly moves: readonly PlannedMove[]
  readonly changed: readonly PartitionByName[]
  readonly left: readonly LeftPartition[]
}

export const alterReplicas = makeCodec<AlterReplicasRequest, AlterReplicasReply>({
  api: Api.ALTER_REPLICAS,
  name: 'alter-replicas',
  writeRequest: ({ kind, nodeId, wishes, partitions, dryRun }) => [
    ...[KINDS.indexOf(kind), nodeId],
    wishes.map(({ topic, partition, replicas }) => [topic, partition, replicas]),
    ...[partitions?.map(namesOf) ?? null, dryRun],
  ],
  readRequest: (fields) => ({
    kind: KINDS[fields.integer('kind', 0, KINDS.length - 1)]!,
    nodeId: fields.integer('nodeId', -1, OFFSET_MAX),
    wishes: fields.list('wishes', BROKER_PARTITIONS_MAX, (wish) => ({
      ...readName(wish),
      replicas: readReplicas(wish, 'replicas'),
    })),
    partitions: fields.listOrNull('partitions', BROKER_PARTITIONS_MAX, readName),
    dryRun: fields.boolean('dryRun'),
  }),
  writeReply: ({ moves, changed, left }) => [
    moves.map(({ topicId, topic, partition, from, to }) => [topicId, topic, partition, from, to]),
    changed.map(namesOf),
    left.map(({ topic, partition, reason }) => [topic, partition, reason]),
  ],
  readReply: (fields) => ({
    moves: fields.list('moves', BROKER_PARTITIONS_MAX, (move) => ({
      topicId: move.topicId('topicId'),
      ...readName(move),
      from: readReplicas(move, 'from'),
      to: readReplicas(move, 'to'),
    })),
    changed: fields.list('changed', BROKER_PARTITIONS_MAX, readName),
    left: fields.list('left', BROKER_PARTITIONS_MAX, (one) => ({ ...readName(one), reason: one.text('reason') })),
  }),
})

function namesOf({ topic, partition }: PartitionByName): unknown[] {
  return [topic, partition]
}

function readName(fields: Fields): PartitionByName {
  return {
    topic: fields.text('topic', TOPIC_NAME_LENGTH_MAX),
    partition: fields.integer('partition', 0, TOPIC_PARTITIONS_MAX - 1),
  }
}

function readReplicas(fields: Fields, name: string): number[] {
  return fields.integers(name, REPLICAS_MAX, 0, OFFSET_MAX)
}
