/**
 * list-moves (46): the partitions that are being moved, as the broker that is asked knows them.
 *
 * Versions  1
 * Reply     one row a partition that moves; none where the broker is alone. `replicas` are the old and the new ones: `adding` are
 *           fetching what is there, `removing` go when all of `adding` are in sync
 */
import { BROKER_PARTITIONS_MAX, OFFSET_MAX, TOPIC_PARTITIONS_MAX } from '../model/limits.ts'
import { TOPIC_NAME_LENGTH_MAX } from './19-create-topic.ts'
import { Api, makeCodec } from './api.ts'

const REPLICAS_MAX = 1_000

export type ListMovesRequest = Readonly<Record<never, never>>

export interface PartitionMove {
  readonly topic: string
  readonly partition: number
  /** The target's first, in its order, then those of `removing`. */
  readonly replicas: readonly number[]
  readonly adding: readonly number[]
  readonly removing: readonly number[]
  readonly inSync: readonly number[]
  /** -1 = none now. */
  readonly leader: number
}

export interface ListMovesReply {
  readonly moves: readonly PartitionMove[]
}

export const listMoves = makeCodec<ListMovesRequest, ListMovesReply>({
  api: Api.LIST_MOVES,
  name: 'list-moves',
  writeRequest: () => [],
  readRequest: () => ({}),
  writeReply: ({ moves }) => [
    moves.map(({ topic, partition, replicas, adding, removing, inSync, leader }) => [
      ...[topic, partition, replicas, adding, removing, inSync, leader],
    ]),
  ],
  readReply: (fields) => ({
    moves: fields.list('moves', BROKER_PARTITIONS_MAX, (move) => ({
      topic: move.text('topic', TOPIC_NAME_LENGTH_MAX),
      partition: move.integer('partition', 0, TOPIC_PARTITIONS_MAX - 1),
      replicas: move.integers('replicas', REPLICAS_MAX, 0, OFFSET_MAX),
      adding: move.integers('adding', REPLICAS_MAX, 0, OFFSET_MAX),
      removing: move.integers('removing', REPLICAS_MAX, 0, OFFSET_MAX),
      inSync: move.integers('inSync', REPLICAS_MAX, 0, OFFSET_MAX),
      leader: move.integer('leader', -1, OFFSET_MAX),
    })),
  }),
})
