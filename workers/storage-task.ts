/**
 * Pool entry for what blocks on the device around a start and a stop. Each function is one task: plain data in, plain data out; what
 * they do is src/in-process/data-dir-tasks.ts.
 */
import '../src/base/node/native-crc32c.ts'
import { systemProcessProbe } from '../src/base/node/process-probe.ts'
import { type DataDir, DataDirTasks } from '../src/in-process/data-dir-tasks.ts'
import { NodeFileSystem } from '../src/io/node-file-system.ts'
import { syncAll } from '../src/io/node-parallel-sync.ts'
import type { RecoverPartitionsTask } from '../src/log/data-dir-recovery.ts'
import type { PartitionRecovery } from '../src/log/log-recovery.ts'

const tasks = new DataDirTasks({ files: new NodeFileSystem(), probe: systemProcessProbe, syncAll })

export const openDataDir = (options: { path: string; nodeId: number; newClusterId: string }): DataDir =>
  tasks.openDataDir(options)

export const prepareRecovery = (task: { dataDir: DataDir; knownFolders: ReadonlySet<string> }) =>
  tasks.prepareRecovery(task)

export const recoverPartitions = (task: RecoverPartitionsTask): Promise<PartitionRecovery[]> =>
  tasks.recoverPartitions(task)

export const finishRecovery = (task: { dataDir: DataDir; results: PartitionRecovery[] }): void =>
  tasks.finishRecovery(task)

export const closeDataDir = (task: { dataDir: DataDir; isClean: boolean }): void => tasks.closeDataDir(task)
