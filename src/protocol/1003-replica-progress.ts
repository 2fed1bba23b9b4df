/**
 * replica-progress (1003): a follower's broker to the leader's, one-way: how far replicas have synced.
 *
 * Versions  1
 * Rule      a row of another leader epoch, or of an incarnation that is not the sender's, means nothing any more; ends only grow within
 *           one epoch and incarnation. A message that is lost is made up for by the next one
 * Access    brokers only
 * Limits    REQUEST_PARTITIONS_MAX rows
 */
import type { TopicId } from '../model/ids.ts'
import { OFFSET_MAX, REQUEST_PARTITIONS_MAX } from '../model/limits.ts'
import { Api } from './api.ts'
import { Fields, INT32_MAX } from './fields.ts'
import { pack } from './msgpack.ts'

export interface ReplicaProgressRow {
  readonly topicId: TopicId
  readonly partition: number
  readonly leaderEpoch: number
  readonly syncedEndOffset: number
}

export interface ReplicaProgressMessage {
  readonly nodeId: number
  readonly incarnation: number
  readonly rows: readonly ReplicaProgressRow[]
}

export const replicaProgress = {
  api: Api.REPLICA_PROGRESS,
  name: 'replica-progress',
  encode: (message: ReplicaProgressMessage): Uint8Array =>
    pack([
      message.nodeId,
      message.incarnation,
      message.rows.map((row) => [row.topicId, row.partition, row.leaderEpoch, row.syncedEndOffset]),
    ]),
  decode: (header: Uint8Array): ReplicaProgressMessage => {
    const fields = Fields.ofHeader(header, 'replica-progress')
    return {
      nodeId: fields.integer('nodeId', 0, OFFSET_MAX),
      incarnation: fields.integer('incarnation', 0, OFFSET_MAX),
      rows: fields.list('rows', REQUEST_PARTITIONS_MAX, (row) => ({
        topicId: row.topicId('topicId'),
        partition: row.integer('partition', 0, INT32_MAX),
        leaderEpoch: row.integer('leaderEpoch', 0, INT32_MAX),
        syncedEndOffset: row.offset('syncedEndOffset'),
      })),
    }
  },
} as const
