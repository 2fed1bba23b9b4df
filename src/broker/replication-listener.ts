/** Who is told what shards have to say about replication; nobody, where the broker is alone. */
import type { Notice } from '../ring/control-messages.ts'
import type { ReplicaSyncedRow } from '../ring/replica-codec.ts'
import type { ShardLink } from './shard-link.ts'

export interface ReplicationListener {
  onReplicaSynced(link: ShardLink, rows: readonly ReplicaSyncedRow[]): void
  onInSyncWish(link: ShardLink, wish: Extract<Notice, { kind: 'in-sync-wish' }>): void
}
