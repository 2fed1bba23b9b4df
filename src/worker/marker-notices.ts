/**
 * MarkerNotices: markers that coordinators of this shard want written, on their way to the gateway: of one turn together, and again next
 * turn where the outbox has no room.
 *
 * Thread  the shard
 * Limits  NOTICE_WEIGHT_MAX: a notice fits a frame of the smallest reply ring; of a transactional id one attempt waits: a later one takes
 *         its place, for it is made when the one before counts as lost
 */
import type { PartitionRef } from '../model/ids.ts'
import type { MarkersToWrite } from '../transaction/index.ts'
import type { NoticeSender } from './notice-sender.ts'

/** Weight 1 is a partition, about 60 bytes; ids and the rest of a row weigh ROW_WEIGHT. */
const NOTICE_WEIGHT_MAX = 1_400
const ROW_WEIGHT = 8

export class MarkerNotices {
  readonly #notices: NoticeSender
  /** Coordinator's partition -> transactional id -> attempt. */
  readonly #waiting = new Map<PartitionRef, Map<string, MarkersToWrite>>()

  constructor(notices: NoticeSender) {
    this.#notices = notices
  }

  get isEmpty(): boolean {
    return this.#waiting.size === 0
  }

  /** `partitionRef` is the coordinator's. */
  add(partitionRef: PartitionRef, markers: MarkersToWrite): void {
    let waiting = this.#waiting.get(partitionRef)
    if (waiting === undefined) this.#waiting.set(partitionRef, (waiting = new Map()))
    waiting.set(markers.transactionalId, markers)
  }

  /** The coordinator is no more. */
  forget(partitionRef: PartitionRef): void {
    this.#waiting.delete(partitionRef)
  }

  /** Answers how many notices left. */
  send(): number {
    let sent = 0
    for (const [partitionRef, waiting] of this.#waiting) {
      const all = [...waiting.values()]
      for (let from = 0; from < all.length; ) {
        const rows = all.slice(from, endOfNotice(all, from))
        if (!this.#notices.send({ kind: 'write-markers', partitionRef, rows })) break
        for (const { transactionalId } of rows) waiting.delete(transactionalId)
        from += rows.length
        sent++
      }
      if (waiting.size === 0) this.#waiting.delete(partitionRef)
    }
    return sent
  }
}

function endOfNotice(rows: readonly MarkersToWrite[], from: number): number {
  let weight = 0
  let end = from
  for (; end < rows.length; end++) {
    weight += rows[end]!.partitions.length + ROW_WEIGHT
    if (end > from && weight > NOTICE_WEIGHT_MAX) break
  }
  return end
}
