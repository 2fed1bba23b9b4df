/**
 * TransactionWatch: how many transactions are open on this shard, and for how long one has held back what read_committed may read.
 *
 * Thread  the shard, as often as stats are sent
 * Rule    of each partition the earliest open transaction counts from the look that first found it the earliest: a restart begins
 *         anew, and a look may come late by the time between two
 */
import type { PartitionAgent } from './partition-agent.ts'

interface Holder {
  readonly firstOffset: number
  readonly sinceMs: number
}

export class TransactionWatch {
  #holders = new Map<PartitionAgent, Holder>()
  open = 0
  /** The longest that an open transaction has been its partition's earliest; 0 where none is open. */
  oldestMs = 0

  look(partitions: Iterable<PartitionAgent>, nowMs: number): void {
    const holders = new Map<PartitionAgent, Holder>()
    this.open = 0
    this.oldestMs = 0
    for (const partition of partitions) {
      const { transactions } = partition.log
      if (transactions.count === 0) continue
      this.open += transactions.count
      const firstOffset = transactions.firstOpenOffset
      const before = this.#holders.get(partition)
      const holder = before?.firstOffset === firstOffset ? before : { firstOffset, sinceMs: nowMs }
      holders.set(partition, holder)
      this.oldestMs = Math.max(this.oldestMs, nowMs - holder.sinceMs)
    }
    this.#holders = holders
  }
}
