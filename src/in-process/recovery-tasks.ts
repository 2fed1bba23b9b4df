/** RecoveryTasks: the recovery of a data dir in tasks of plain data, as DataDirTasks. Not loaded where there is nothing to recover. */
import type { FileSystem } from '../io/file-system.ts'
import * as dataDirModule from '../log/data-dir.ts'
import * as recovery from '../log/data-dir-recovery.ts'
import { replayJournals } from '../log/journal-replay.ts'
import type { PartitionRecovery } from '../log/log-recovery.ts'
import { planRecovery } from '../log/recovery-plan.ts'
import { SyncList } from '../log/sync-list.ts'
import type { DataDir } from './data-dir-tasks.ts'

/** Syncs what a recovery wrote. */
export type SyncAll = (files: FileSystem, list: SyncList) => Promise<void>

export class RecoveryTasks {
  readonly #files: FileSystem
  readonly #syncAll: SyncAll

  constructor(files: FileSystem, syncAll: SyncAll) {
    this.#files = files
    this.#syncAll = syncAll
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
}
