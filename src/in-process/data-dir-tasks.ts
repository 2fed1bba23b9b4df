/**
 * DataDirTasks: what blocks on the device around a start and a stop, but for recovery: the data dir's lock and identity, the end of a
 * recovery, the clean marker. Plain data in, plain data out, so that a pool can run them (workers/storage-task.ts), or the caller's
 * thread (local-storage-tasks.ts).
 */
import type { FileSystem } from '../io/file-system.ts'
import * as dataDirModule from '../log/data-dir.ts'
import { finishRecovery } from '../log/finish-recovery.ts'
import type { PartitionRecovery } from '../log/log-recovery.ts'
import { giveUpReserve, keepReserve } from '../log/space-reserve.ts'

export type DataDir = dataDirModule.DataDir

export interface DataDirTasksOptions {
  readonly files: FileSystem
  readonly probe: () => dataDirModule.ProcessProbe
}

export class DataDirTasks {
  readonly #files: FileSystem
  readonly #probe: DataDirTasksOptions['probe']

  constructor(options: DataDirTasksOptions) {
    this.#files = options.files
    this.#probe = options.probe
  }

  openDataDir(options: Omit<dataDirModule.OpenDataDirOptions, 'probe'>): DataDir {
    const files = this.#files
    const probe = this.#probe()
    if (dataDirModule.lockHolder(files, options.path, probe) === undefined) giveUpReserve(files, options.path)
    return dataDirModule.openDataDir(files, { ...options, probe })
  }

  finishRecovery(task: { dataDir: DataDir; results: readonly PartitionRecovery[] }): void {
    const { dataDir, results } = task
    const { incarnation } = dataDir.identity
    finishRecovery(this.#files, { dataDir: dataDir.path, incarnation, results })
    keepReserve(this.#files, dataDir.path)
  }

  setAside({ dataDir, folder }: { dataDir: DataDir; folder: string }): string | null {
    const { path, identity } = dataDir
    if (this.#files.stat(`${path}/${folder}`).kind === 'absent') return null
    return dataDirModule.quarantineFolder(this.#files, { path, incarnation: identity.incarnation }, folder)
  }

  closeDataDir(task: { dataDir: DataDir; isClean: boolean }): void {
    const { dataDir, isClean } = task
    keepReserve(this.#files, dataDir.path)
    if (isClean) dataDirModule.closeDataDirCleanly(this.#files, dataDir)
    // Without a marker the next start scans; only the lock goes, so that it may be a start of this very process.
    else this.#files.remove(`${dataDir.path}/${dataDirModule.LOCK_FILE}`)
  }
}
