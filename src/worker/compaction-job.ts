/**
 * CompactionJob: has the compacted partitions of a shard rewritten by the pool when that is due, and swaps what comes back.
 *
 *   idle -> every compactionCheckMs each partition is looked at, one a step; one that is due is asked for: a notice to the gateway,
 *   which runs the task in the pool -> COMPACTED comes in the request ring -> the new segments get their names -> two checkpoints: the
 *   first makes the names durable, behind it the old segments go, the second makes that durable
 *
 * Thread      the shard; a step reads no segment and waits for nothing
 * Limits      one compaction under way in the shard; the table of keys takes compactionMemoryBytes in the pool
 * Failure     a notice that finds no room, a task that fails: told, and looked at again a period later. An answer for a partition that
 *             is closed is dropped
 * Not here    what is due, and the swap: log/log-compaction.ts
 */
import type { Clock } from '../base/clock.ts'
import type { Prng } from '../base/prng.ts'
import { isCompacted } from '../log/compaction.ts'
import type { CompactionResult } from '../log/compaction-run.ts'
import { ISOLATION_READ_COMMITTED, readableEnd } from '../partition/partition-fetch.ts'
import type { CompactedBody } from '../ring/control-messages.ts'
import type { Checkpointer } from './checkpointer.ts'
import type { NoticeSender } from './notice-sender.ts'
import type { PartitionAgent } from './partition-agent.ts'
import type { PartitionTable } from './partition-table.ts'

export interface CompactionJobOptions {
  readonly clock: Clock
  readonly prng: Prng
  readonly partitions: PartitionTable
  readonly checkpointer: Checkpointer
  readonly notices: NoticeSender
  readonly periodMs: number
  readonly memoryBytesMax: number
}

export class CompactionJob {
  /** Since the start of the shard. */
  runs = 0
  failures = 0
  reclaimedBytes = 0
  milliseconds = 0
  readonly #options: CompactionJobOptions
  #nextMs: number
  #round: PartitionAgent[] = []
  #asked: { readonly partition: PartitionAgent; readonly startMs: number } | undefined

  constructor(options: CompactionJobOptions) {
    this.#options = options
    this.#nextMs = options.clock.monotonicMs() + options.periodMs
  }

  get isRunning(): boolean {
    return this.#asked !== undefined
  }

  /** An answer wakes the shard. */
  get nextDeadlineMs(): number {
    if (this.#asked !== undefined) return Number.POSITIVE_INFINITY
    return this.#round.length > 0 ? Number.NEGATIVE_INFINITY : this.#nextMs
  }

  /** Looks at one partition; true when there was one. */
  step(nowMs: number): boolean {
    if (this.#asked !== undefined) return false
    if (this.#round.length === 0) {
      if (nowMs < this.#nextMs) return false
      this.#nextMs = nowMs + this.#options.periodMs
      this.#round = [...this.#options.partitions].filter(({ state }) => isCompacted(state.config))
    }
    const partition = this.#round.pop()
    if (partition === undefined) return false
    const { role, replicas } = partition.state
    // Each replica compacts what it has, by itself.
    const isServing = role === 'leader' || (role === 'follower' && replicas !== undefined)
    const isFree = !partition.isClosed && !partition.isEnding && !partition.isTouched && !partition.isCutting
    if (isServing && isFree) this.#ask(partition, nowMs)
    return true
  }

  /** The pool's answer. */
  onCompacted(body: CompactedBody): void {
    const asked = this.#asked
    if (asked?.partition.state.partitionRef !== body.partitionRef) return
    this.#asked = undefined
    const { partition, startMs } = asked
    const { clock, notices, checkpointer } = this.#options
    if (partition.isClosed || partition.state.role === 'offline') return
    this.milliseconds += clock.monotonicMs() - startMs
    if (body.fault !== null) {
      this.failures++
      partition.log.endCompaction(undefined)
      notices.log('warn', `${partition.topicId}-${partition.partition} was not compacted: ${body.fault}`)
      return
    }
    const result = body.result as CompactionResult
    this.runs++
    this.reclaimedBytes += Math.max(0, result.replacedBytes - result.writtenBytes)
    notices.log('debug', textOf(partition, result))
    if (partition.log.endCompaction(result)) checkpointer.ask(() => checkpointer.ask())
  }

  #ask(partition: PartitionAgent, nowMs: number): void {
    const { clock, prng, notices, memoryBytesMax } = this.#options
    const { state, log } = partition
    const stableEnd = readableEnd(state, ISOLATION_READ_COMMITTED)
    const task = log.beginCompaction({ nowMs: clock.nowMs(), stableEnd, memoryBytesMax })
    if (task === undefined) return
    const seed = [prng.uint32(), prng.uint32(), prng.uint32(), prng.uint32()]
    const isSent = notices.send({ kind: 'compact', partitionRef: state.partitionRef, task: { ...task, seed } })
    if (isSent) this.#asked = { partition, startMs: nowMs }
    else log.endCompaction(undefined)
  }
}

function textOf(partition: PartitionAgent, result: CompactionResult): string {
  const { segments, replacedBytes, writtenBytes, cleanEnd, keys } = result
  return `${partition.topicId}-${partition.partition} is compacted up to offset ${cleanEnd}: ${keys} keys, ${replacedBytes} bytes became ${writtenBytes} in ${segments.length} segments`
}
