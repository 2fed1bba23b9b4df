/**
 * StorageTasks in a Piscina pool: the main thread never waits for the device.
 *
 * Thread    main; the tasks run in pool threads (workers/storage-task.ts), plain data in and out
 * Not here  what the tasks do: the data dir is opaque here, it only travels from one task to the next
 */
import { availableParallelism } from 'node:os'
import { Piscina } from 'piscina'
import { type Incarnation, partitionFolder } from '../model/ids.ts'
import type { KnownPartition, OpenedDataDir, Recovery, StorageTasks } from './storage-tasks.ts'

/** What workers/storage-task.ts answers, as far as it is looked at here. */
interface DataDir {
  readonly path: string
  readonly identity: { readonly clusterId: string; readonly incarnation: Incarnation; readonly directoryId: string }
  readonly created: boolean
  readonly previousRun: string
}

interface RecoveryPlan {
  readonly adopted: readonly PartitionRecovery[]
  readonly partitions: readonly unknown[]
  readonly notes: readonly string[]
}

interface PartitionRecovery {
  readonly folder: string
  readonly recovered: unknown
  readonly notes: readonly string[]
}

/** Partitions recovered by one task at most: few enough for small messages. */
const PARTITIONS_PER_TASK = 64
/** Tasks for each thread when partitions are few: they are of very different length. */
const TASKS_PER_THREAD = 4
const IDLE_MS = 1_000
/** Who is served goes first where there are fewer cores than threads: this thread's niceness above the process'. */
const COMPACTION_NICE = 10

interface Opened extends OpenedDataDir {
  readonly dataDir: DataDir
}

export class PoolStorageTasks implements StorageTasks {
  readonly #pool: Piscina
  /** A pool of its own, of one thread: a recovery does not wait for it, and the system runs it last. */
  readonly #compactions: Piscina
  readonly #stopping = new AbortController()
  readonly #running = new Set<Promise<unknown>>()

  /** `entry`: the module whose exports are the tasks. */
  constructor(entry: URL) {
    const maxThreads = Math.max(1, Math.min(8, availableParallelism()))
    const common = { filename: entry.href, minThreads: 0, idleTimeout: IDLE_MS }
    this.#pool = new Piscina({ ...common, maxThreads })
    this.#compactions = new Piscina({ ...common, maxThreads: 1, niceIncrement: COMPACTION_NICE })
  }

  async open(options: Parameters<StorageTasks['open']>[0]): Promise<Opened> {
    const dataDir = await this.#run<DataDir>('openDataDir', options)
    const { clusterId, incarnation, directoryId } = dataDir.identity
    const { path, created, previousRun } = dataDir
    return { dataDir, path, clusterId, incarnation, isNew: created, previousRun, directoryId }
  }

  async recover(opened: OpenedDataDir, known: readonly KnownPartition[]): Promise<Recovery> {
    const { dataDir } = opened as Opened
    const knownFolders = new Set(known.map(({ topicId, partition }) => partitionFolder(topicId, partition)))
    const plan = await this.#run<RecoveryPlan>('prepareRecovery', { dataDir, knownFolders })
    const { identity, path, previousRun } = dataDir
    const chunks: Promise<PartitionRecovery[]>[] = []
    const share = Math.ceil(plan.partitions.length / (this.#pool.maxThreads * TASKS_PER_THREAD))
    const perTask = Math.min(PARTITIONS_PER_TASK, Math.max(1, share))
    for (let from = 0; from < plan.partitions.length; from += perTask)
      chunks.push(
        this.#run('recoverPartitions', {
          ...{ dataDir: path, incarnation: identity.incarnation, previousRun },
          partitions: plan.partitions.slice(from, from + perTask),
        }),
      )
    const results = [...plan.adopted, ...(await Promise.all(chunks)).flat()]
    await this.#run('finishRecovery', { dataDir, results })
    const recovered = new Map<string, unknown>()
    for (const result of results) if (result.recovered !== null) recovered.set(result.folder, result.recovered)
    const notes = results.flatMap(({ folder, notes: lines }) => lines.map((line) => `${folder}: ${line}`))
    return { recovered, notes: [...plan.notes, ...notes] }
  }

  setAside(opened: OpenedDataDir, folder: string): Promise<string | null> {
    return this.#run('setAside', { dataDir: (opened as Opened).dataDir, folder })
  }

  async compact(task: unknown): Promise<unknown> {
    const run = this.#compactions.run(task, { name: 'compact', signal: this.#stopping.signal })
    this.#running.add(run)
    try {
      return await run
    } finally {
      this.#running.delete(run)
    }
  }

  async close(opened: OpenedDataDir, isClean: boolean): Promise<void> {
    // Nothing writes into the data dir once the lock is given back. What is left of it the next start removes.
    this.#stopping.abort()
    await Promise.allSettled([...this.#running, this.#compactions.destroy()])
    await this.#run('closeDataDir', { dataDir: (opened as Opened).dataDir, isClean })
  }

  async destroy(): Promise<void> {
    this.#stopping.abort()
    await Promise.allSettled([...this.#running, this.#compactions.destroy(), this.#pool.destroy()])
  }

  #run<T>(name: string, task: unknown): Promise<T> {
    return this.#pool.run(task, { name }) as Promise<T>
  }
}
