/** StorageTasks in the caller's thread: a start reads, and a stop writes, before anything else of this thread gets its turn. */
import type { KnownPartition, OpenedDataDir, Recovery, StorageTasks } from '../broker/storage-tasks.ts'
import type { SeededCompactionTask } from '../log/compaction-run.ts'
import { partitionFolder } from '../model/ids.ts'
import { type DataDir, DataDirTasks, type DataDirTasksOptions } from './data-dir-tasks.ts'
import type { SyncAll } from './recovery-tasks.ts'

interface Opened extends OpenedDataDir {
  readonly dataDir: DataDir
}

export class LocalStorageTasks implements StorageTasks {
  readonly #options: DataDirTasksOptions & { readonly syncAll: SyncAll }
  readonly #tasks: DataDirTasks
  readonly #running = new Set<Promise<unknown>>()
  #isClosed = false

  constructor(options: DataDirTasksOptions & { readonly syncAll: SyncAll }) {
    this.#options = options
    this.#tasks = new DataDirTasks(options)
  }

  async open(options: Parameters<StorageTasks['open']>[0]): Promise<Opened> {
    const dataDir = this.#tasks.openDataDir(options)
    const { path, created, previousRun } = dataDir
    const { clusterId, incarnation, directoryId } = dataDir.identity
    return { dataDir, path, clusterId, incarnation, isNew: created, previousRun, directoryId }
  }

  async recover(opened: OpenedDataDir, known: readonly KnownPartition[]): Promise<Recovery> {
    const { dataDir, isNew } = opened as Opened
    if (isNew) {
      this.#tasks.finishRecovery({ dataDir, results: [] })
      return { recovered: new Map(), notes: [] }
    }
    const { RecoveryTasks } = await import('./recovery-tasks.ts')
    const tasks = new RecoveryTasks(this.#options.files, this.#options.syncAll)
    const { path, previousRun } = dataDir
    const { incarnation } = dataDir.identity
    const knownFolders = new Set(known.map(({ topicId, partition }) => partitionFolder(topicId, partition)))
    const { adopted, partitions, notes } = await tasks.prepareRecovery({ dataDir, knownFolders })
    const rest = await tasks.recoverPartitions({ dataDir: path, incarnation, previousRun, partitions })
    const results = [...adopted, ...rest]
    this.#tasks.finishRecovery({ dataDir, results })
    const recovered = new Map<string, unknown>()
    for (const { folder, recovered: found } of results) if (found !== null) recovered.set(folder, found)
    return { recovered, notes: [...notes, ...results.flatMap(notesOf)] }
  }

  async setAside(opened: OpenedDataDir, folder: string): Promise<string | null> {
    return this.#tasks.setAside({ dataDir: (opened as Opened).dataDir, folder })
  }

  async compact(task: unknown): Promise<unknown> {
    const run = this.#compact(task as SeededCompactionTask)
    this.#running.add(run)
    try {
      return await run
    } finally {
      this.#running.delete(run)
    }
  }

  async #compact({ seed, ...task }: SeededCompactionTask): Promise<unknown> {
    const [{ compactionSteps }, { nodeCodecs }] = await Promise.all([
      import('../log/compaction-run.ts'),
      import('../record/node-codecs.ts'),
    ])
    const steps = compactionSteps(this.#options.files, task, { codecs: nodeCodecs(), seed })
    try {
      for (let step = steps.next(); ; step = steps.next()) {
        if (step.done === true) return step.value
        if (this.#isClosed) throw new Error('the broker is stopping')
        // Everything else of this thread gets its turn in between.
        await new Promise<void>((resolve) => setImmediate(resolve))
      }
    } finally {
      // A run that is not at its end takes away what it has written.
      steps.return(undefined as never)
    }
  }

  async close(opened: OpenedDataDir, isClean: boolean): Promise<void> {
    this.#isClosed = true
    await Promise.allSettled(this.#running)
    this.#tasks.closeDataDir({ dataDir: (opened as Opened).dataDir, isClean })
  }

  async destroy(): Promise<void> {}
}

function notesOf(result: { readonly folder: string; readonly notes: readonly string[] }): string[] {
  return result.notes.map((line) => `${result.folder}: ${line}`)
}
