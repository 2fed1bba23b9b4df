/**
 * SyncScheduler: one sync at a time: which of the shard's jobs goes to the disk thread next.
 *
 * Thread      the shard
 * Ordering    commit groups first, but after a group one step of a job in the background goes first if one waits: groups are
 *             not delayed by more than that step, and checkpoints end even under full load
 * Why one     a log has one sync under way at most (log/partition-log), and the device has one queue anyway
 * Failure     a failed sync ends all (R3): nothing is ever begun again
 */
import type { Fd } from '../io/file-system.ts'
import type { DiskProxy, SyncListener } from './disk-proxy.ts'

/** Something that syncs in steps. */
export interface SyncJob {
  hasWork(nowMs: number): boolean
  /** Begins a step: pushes what is to be synced (nothing: it is synced already). */
  begin(fds: Fd[], nowMs: number): void
  /** What begin() pushed is durable. */
  complete(): void
}

export interface SyncSchedulerOptions {
  readonly disk: DiskProxy
  readonly group: SyncJob
  readonly background: readonly SyncJob[]
  readonly onFailed: (reason: string) => void
}

export class SyncScheduler implements SyncListener {
  readonly #options: SyncSchedulerOptions
  readonly #fds: Fd[] = []
  #current: SyncJob | undefined
  #wasGroup = false
  #nextBackground = 0
  #hasFailed = false
  syncs = 0
  syncMicroseconds = 0

  constructor(options: SyncSchedulerOptions) {
    this.#options = options
  }

  get isIdle(): boolean {
    return this.#current === undefined
  }

  /** Begins the next sync unless one is under way; answers how many steps were taken. */
  step(nowMs: number): number {
    let steps = 0
    while (this.#current === undefined && !this.#hasFailed) {
      const job = this.#choose(nowMs)
      if (job === undefined) break
      steps++
      this.#fds.length = 0
      job.begin(this.#fds, nowMs)
      if (this.#fds.length === 0) job.complete()
      else {
        this.#current = job
        this.#options.disk.sync(this.#fds, this, { isLong: job !== this.#options.group })
      }
    }
    return steps
  }

  onSynced(microseconds: number): void {
    const job = this.#current!
    this.#current = undefined
    this.syncs++
    this.syncMicroseconds += microseconds
    if (!this.#hasFailed) job.complete()
  }

  onSyncFailed(reason: string): void {
    this.#current = undefined
    this.stop()
    this.#options.onFailed(reason)
  }

  /** Nothing is begun any more. */
  stop(): void {
    this.#hasFailed = true
  }

  #choose(nowMs: number): SyncJob | undefined {
    const { group, background } = this.#options
    const hasGroup = group.hasWork(nowMs)
    if (hasGroup && !this.#wasGroup) {
      this.#wasGroup = true
      return group
    }
    for (let tried = 0; tried < background.length; tried++) {
      const job = background[(this.#nextBackground + tried) % background.length]!
      if (!job.hasWork(nowMs)) continue
      this.#nextBackground = (this.#nextBackground + tried + 1) % background.length
      this.#wasGroup = false
      return job
    }
    this.#wasGroup = hasGroup
    return hasGroup ? group : undefined
  }
}
