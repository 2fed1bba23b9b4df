/**
 * DataDirTasks: what blocks on the device around a start and a stop: the data dir's lock and identity, recovery, the clean marker.
 * Plain data in, plain data out, so that a pool can run them (workers/storage-task.ts), or the caller's thread (local-storage-tasks.ts).
 */
import type { FileSystem } from '../io/file-system.ts'
import * as dataDirModule from '../log/data-dir.ts'
import * as recovery from '../log/data-dir-recovery.ts'
import { replayJournals } from '../log/journal-replay.ts'
import type { PartitionRecovery } from '../log/log-recovery.ts'
import { planRecovery } from '../log/recovery-plan.ts'
import { giveUpReserve, keepReserve } from '../log/space-reserve.ts'
import { SyncList } from '../log/sync-list.ts'

export type DataDir = dataDirModule.DataDir

export interface DataDirTasksOptions {
  readonly files: FileSystem
  readonly probe: () => dataDirModule.ProcessProbe
  /** Syncs what a recovery wrote. */
  readonly syncAll: (files: FileSystem, list: SyncList) => Promise<void>
}

export class DataDirTasks {
  readonly #files: FileSystem
  readonly #probe: DataDirTasksOptions['probe']
  readonly #syncAll: DataDirTasksOptions['syncAll']

  constructor(options: DataDirTasksOptions) {
    this.#files = options.files
    this.#probe = options.probe
    this.#syncAll = options.syncAll
  }

  openDataDir(options: { path: string; nodeId: number; newClusterId: string }): DataDir {
    const files = this.#files
    const probe = this.#probe()
    if (dataDirModule.lockHolder(files, options.path, probe) === undefined) giveUpReserve(files, options.path)
    return dataDirModule.openDataDir(files, { ...options, probe })
  }

  /** Up to the partitions: sets unknown folders aside, replays journals. Answers what a clean stop left known, and what is to be recovered. */
  async prepareRecovery(task: { dataDir: DataDir; knownFolders: ReadonlySet<string> }) {
    const files = this.#files
    const { dataDir, knownFolders } = task
    const { path, identity } = dataDir
    const notes: string[] = []
    for (const folder of dataDirModule.listPartitionFolders(files, path)) {
      if (knownFolders.has(folder.name)) continue
      const target = dataDirModule.quarantineFolder(files, { path, incarnation: identity.incarnation }, folder.name)
      notes.push(`the folder ${folder.name} belongs to no topic: set aside as ${target}`)
    }
    const plan = planRecovery(files, { dataDir: path, incarnation: identity.incarnation })
    const syncs = new SyncList()
    const journals = replayJournals(files, plan, syncs)
    await this.#syncAll(files, syncs)
    for (const name of dataDirModule.listDeletedFolders(files, path))
      dataDirModule.removeDeletedFolder(files, path, name)
    const partitions = recovery
      .partitionsToRecover(files, plan)
      .filter(({ topicId, partition }) => knownFolders.has(`${topicId}-${partition}`))
    const { previousRun } = dataDir
    const { adopted, rest } = recovery.adoptCatalogued(files, {
      ...{
        dataDir: path,
        incarnation: identity.incarnation,
        previousRun,
        plan,
        partitions,
        replayed: journals.folders,
      },
    })
    return { adopted, partitions: rest, notes: [...notes, ...plan.notes] }
  }

  async recoverPartitions(task: recovery.RecoverPartitionsTask): Promise<PartitionRecovery[]> {
    const syncs = new SyncList()
    const results = recovery.recoverPartitions(this.#files, task, syncs)
    await this.#syncAll(this.#files, syncs)
    return results
  }

  finishRecovery(task: { dataDir: DataDir; results: readonly PartitionRecovery[] }): void {
    const { dataDir, results } = task
    const { incarnation } = dataDir.identity
    recovery.finishRecovery(this.#files, { dataDir: dataDir.path, incarnation, results })
    keepReserve(this.#files, dataDir.path)
  }

  closeDataDir(task: { dataDir: DataDir; isClean: boolean }): void {
    const { dataDir, isClean } = task
    keepReserve(this.#files, dataDir.path)
    if (isClean) dataDirModule.closeDataDirCleanly(this.#files, dataDir)
    // Without a marker the next start scans; only the lock goes, so that it may be a start of this very process.
    else this.#files.remove(`${dataDir.path}/${dataDirModule.LOCK_FILE}`)
  }
}
