/**
 * WorkerPool: the threads of the shards: for each one its own and its disk thread, started with their channel, watched to the end.
 *
 * Thread    main; sees 'error' and 'exit' of the threads
 * Failure   a thread that ends without being asked ends its shard: onFailed, once per shard, and the other thread of the pair is
 *           stopped. A shard is not started again: what it had appended and not yet said is for recovery to find out
 * Not here  what the threads run (workers/), what a failed shard means (gateway.ts)
 */
import { Worker } from 'node:worker_threads'

export interface WorkerPoolOptions {
  readonly shards: number
  readonly shardEntry: URL
  readonly diskEntry: URL
  /** Both threads of a shard get the same. */
  readonly workerDataOf: (shard: number) => unknown
  readonly onFailed: (shard: number, reason: string) => void
}

interface Pair {
  readonly shard: number
  readonly threads: readonly Worker[]
  isFailed: boolean
}

export class WorkerPool {
  readonly #pairs: Pair[] = []
  readonly #onFailed: WorkerPoolOptions['onFailed']
  #isStopping = false

  constructor(options: WorkerPoolOptions) {
    this.#onFailed = options.onFailed
    for (let shard = 0; shard < options.shards; shard++) {
      const workerData = options.workerDataOf(shard)
      const start = (entry: URL, name: string) => new Worker(entry, { workerData, name: `${name}-${shard}` })
      const threads = [start(options.shardEntry, 'shard'), start(options.diskEntry, 'disk')]
      const pair: Pair = { shard, threads, isFailed: false }
      this.#pairs.push(pair)
      threads.forEach((thread, index) => {
        this.#watch(pair, thread, index === 0 ? 'the shard thread' : 'the disk thread')
      })
    }
  }

  /** Resolves when all threads run. */
  async online(): Promise<void> {
    const waits = this.#pairs.flatMap(({ threads }) =>
      threads.map(
        (thread) => new Promise<void>((resolve) => thread.once('online', resolve).once('exit', () => resolve())),
      ),
    )
    await Promise.all(waits)
  }

  #watch(pair: Pair, thread: Worker, name: string): void {
    thread.on('error', (error) => this.#fail(pair, `${name} ended: ${error instanceof Error ? error.message : error}`))
    thread.on('exit', (code) => {
      if (!this.#isStopping) this.#fail(pair, `${name} exited with code ${code}`)
    })
  }

  #fail(pair: Pair, reason: string): void {
    if (pair.isFailed) return
    pair.isFailed = true
    if (!this.#isStopping) this.#onFailed(pair.shard, reason)
    for (const thread of pair.threads) void thread.terminate()
  }

  /** The shards were asked to end: their threads may. */
  expectExit(): void {
    this.#isStopping = true
  }

  /** Waits for threads that end by themselves up to `timeout`, then stops the others. */
  async close(timeout: Promise<void>): Promise<void> {
    this.#isStopping = true
    const exits = this.#pairs.flatMap(({ threads }) =>
      threads.map((thread) =>
        thread.threadId === -1
          ? Promise.resolve()
          : new Promise<void>((resolve) => thread.once('exit', () => resolve())),
      ),
    )
    await Promise.race([Promise.all(exits), timeout])
    await Promise.all(this.#pairs.flatMap(({ threads }) => threads.map((thread) => thread.terminate())))
  }
}
