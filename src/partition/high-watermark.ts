/**
 * The high watermark: what is safe, and so what may be read and acknowledged to acks=all.
 *
 *   fsync     high watermark
 *   group     min(syncedEndOffset over the replicas that count, this one included)
 *   interval  min(logEndOffset over the replicas that count, this one included)
 *
 * Those that count: the in-sync set of the store and one that is being proposed, and whoever has caught up and is about to join
 * (replica-set.ts). One of them under another incarnation than the one that is heard holds it where it is.
 * It stands while fewer than min.insync.replicas are in sync by the store, and never falls within an epoch: a topic that changes from
 * interval to group keeps the one it has until the synced end catches up (invariants I4, I5).
 */
import type { Offset } from '../model/ids.ts'
import { checkWatermarks, type PartitionState } from './partition-state.ts'

const NOTHING_SAFE = -1 as Offset

/** In-sync replicas by the store, this one included. */
export function inSyncCount(state: PartitionState): number {
  return state.replicas?.inSync.length ?? 1
}

/** How many have to be in sync: no more than the partition has replicas, whatever its topic asks for. */
export function minInSync({ config, replicas }: PartitionState): number {
  return replicas === undefined ? config.minInsyncReplicas : Math.min(config.minInsyncReplicas, replicas.settledCount)
}

/** The lowest end that every replica that counts has reached, by the topic's fsync policy; below the log start where one is unknown. */
export function safeEndOffset(state: PartitionState): Offset {
  const synced = state.config.fsync === 'group'
  let lowest = synced ? state.syncedEndOffset : state.logEndOffset
  if (state.replicas === undefined) return lowest
  for (const remote of state.replicas.remotes) {
    if (remote.counts === 'no') continue
    if (remote.counts === 'unheard') return NOTHING_SAFE
    const end = synced ? remote.syncedEndOffset : remote.logEndOffset
    if (end < lowest) lowest = end
  }
  return lowest
}

/** Moves the high watermark up to what is safe; true when it moved. */
export function advanceHighWatermark(state: PartitionState): boolean {
  if (state.role !== 'leader') return false
  if (inSyncCount(state) < minInSync(state)) return false
  const safeEnd = safeEndOffset(state)
  if (safeEnd <= state.highWatermark) return false
  state.highWatermark = safeEnd
  state.transactions.decideBelow(safeEnd)
  // Between the two counted places the byte count is the lower one's: a fetch may then wake later, never in vain for ever.
  state.visibleBytes =
    safeEnd === state.logEndOffset ? state.appendedBytes : Math.max(state.visibleBytes, state.syncedBytes)
  checkWatermarks(state)
  return true
}

/**
 * Last stable offset, the end for read_committed: below it every transaction is decided, its marker below the high watermark. A trim may
 * have passed where an open one began; it is never below the log start. A leader whose high watermark has not reached what it found in
 * its log knows nothing of the transactions that ended there: for so long nothing is stable.
 */
export function lastStableOffset(state: PartitionState): Offset {
  if (state.highWatermark < state.undecidedBelow) return state.logStartOffset
  const firstUnstable = state.transactions.firstUnstableOffset(state.highWatermark)
  if (firstUnstable >= state.highWatermark) return state.highWatermark
  return Math.max(firstUnstable, state.logStartOffset) as Offset
}
