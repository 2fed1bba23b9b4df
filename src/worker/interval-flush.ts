/**
 * IntervalFlush: fsync: interval. Partitions are synced flush.ms after the first byte that waits for it; nobody waits for that.
 *
 * Thread      the shard
 * Limits      PARTITIONS_PER_STEP a sync, so that commit groups of other topics get in between
 */
import { DeadlineHeap } from '../base/deadline-heap.ts'
import type { Fd } from '../io/file-system.ts'
import type { SyncedEndsFile } from '../log/synced-ends-file.ts'
import type { Offset } from '../model/ids.ts'
import { advanceSyncedEnd } from '../partition/partition-state.ts'
import type { FlushTimer, PartitionAgent } from './partition-agent.ts'
import type { SyncJob } from './sync-scheduler.ts'
import { writeBounds } from './synced-bounds.ts'

/** About as many files as one message to the disk thread holds: they are synced several at a time. */
const PARTITIONS_PER_STEP = 16

export interface IntervalFlushOptions {
  readonly partitionsMax: number
  readonly syncedEnds: SyncedEndsFile
  readonly onSynced: (partition: PartitionAgent) => void
}

interface Member {
  readonly partition: PartitionAgent
  readonly endOffset: Offset
  readonly appendedBytes: number
}

export class IntervalFlush implements SyncJob {
  readonly #options: IntervalFlushOptions
  readonly #timers: DeadlineHeap<FlushTimer>
  #members: Member[] = []

  constructor(options: IntervalFlushOptions) {
    this.#options = options
    this.#timers = new DeadlineHeap(options.partitionsMax)
  }

  get nextDeadlineMs(): number {
    return this.#timers.nextDeadlineMs
  }

  onWritten(partition: PartitionAgent, nowMs: number): void {
    const timer = partition.flushTimer
    if (timer.heapIndex !== -1) return
    timer.deadlineMs = nowMs + partition.state.config.flushMs
    this.#timers.offer(timer)
  }

  forget(partition: PartitionAgent): void {
    this.#timers.remove(partition.flushTimer)
  }

  hasWork(nowMs: number): boolean {
    return this.#timers.nextDeadlineMs <= nowMs
  }

  begin(fds: Fd[], nowMs: number): void {
    while (this.#members.length < PARTITIONS_PER_STEP) {
      const timer = this.#timers.takeExpired(nowMs)
      if (timer === undefined) break
      const { partition } = timer
      partition.isSyncing = true
      const endOffset = partition.log.beginSync(fds)
      this.#members.push({ partition, endOffset, appendedBytes: partition.state.appendedBytes })
    }
  }

  complete(): void {
    const members = this.#members
    this.#members = []
    for (const { partition, endOffset, appendedBytes } of members) {
      partition.isSyncing = false
      partition.log.completeSync(endOffset)
      advanceSyncedEnd(partition.state, endOffset, appendedBytes)
      this.#options.syncedEnds.set(partition.syncedSlot, endOffset)
    }
    writeBounds(this.#options.syncedEnds)
    for (const { partition } of members) this.#options.onSynced(partition)
  }
}
