/**
 * Housekeeper: what a partition needs now and then: retention, forgetting silent producers. A follower's log starts where its leader's does,
 * so that one's retention alone decides. One partition a step, all of them
 * once a period.
 *
 * Thread   the shard
 * Effects  retention condemns whole segments; their files go after the next checkpoint (crash-safe at every step)
 */
import type { Clock } from '../base/clock.ts'
import { advanceLogStart } from '../partition/partition-state.ts'
import type { PartitionAgent } from './partition-agent.ts'
import type { PartitionTable } from './partition-table.ts'

export interface HousekeeperOptions {
  readonly clock: Clock
  readonly partitions: PartitionTable
  readonly periodMs: number
  readonly producerExpiryMs: number
  readonly onCondemned: (partition: PartitionAgent, text: string) => void
}

export class Housekeeper {
  readonly #options: HousekeeperOptions
  #nextMs: number
  #round: PartitionAgent[] = []

  constructor(options: HousekeeperOptions) {
    this.#options = options
    this.#nextMs = options.clock.monotonicMs() + options.periodMs
  }

  get nextDeadlineMs(): number {
    return this.#round.length > 0 ? Number.NEGATIVE_INFINITY : this.#nextMs
  }

  /** Looks after one partition; true when there was one. */
  step(nowMs: number): boolean {
    if (this.#round.length === 0) {
      if (nowMs < this.#nextMs) return false
      this.#nextMs = nowMs + this.#options.periodMs
      this.#round = [...this.#options.partitions]
    }
    const partition = this.#round.pop()
    if (partition === undefined) return false
    const { role, replicas } = partition.state
    const isServing = role === 'leader' || (role === 'follower' && replicas !== undefined)
    if (isServing && !partition.isClosed && !partition.isEnding) this.#lookAfter(partition)
    return true
  }

  #lookAfter(partition: PartitionAgent): void {
    const { clock, producerExpiryMs, onCondemned } = this.#options
    const { log, state } = partition
    const wallMs = clock.nowMs()
    partition.pruneFiles()
    log.expireProducers(wallMs - producerExpiryMs)
    if (state.role !== 'leader') return
    const decision = log.applyRetention({ nowMs: wallMs, highWatermark: state.highWatermark })
    if (decision.segments === 0) return
    advanceLogStart(state, log.logStartOffset)
    onCondemned(
      partition,
      `${decision.segments} segments go by ${decision.reason}; log starts at ${state.logStartOffset}`,
    )
  }
}
