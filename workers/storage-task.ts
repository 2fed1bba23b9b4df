/**
 * Pool entry for what blocks on the device: around a start and a stop, and compaction. Each function is one task: plain data in, plain data out; what
 * they do is src/in-process/data-dir-tasks.ts and recovery-tasks.ts.
 */
import '../src/base/node/native-crc32c.ts'
import { systemProcessProbe } from '../src/base/node/process-probe.ts'
import { type DataDir, DataDirTasks } from '../src/in-process/data-dir-tasks.ts'
import { RecoveryTasks } from '../src/in-process/recovery-tasks.ts'
import { NodeFileSystem } from '../src/io/node-file-system.ts'
import { syncAll } from '../src/io/node-parallel-sync.ts'
import { type CompactionResult, runCompaction, type SeededCompactionTask } from '../src/log/compaction-run.ts'
import type { RecoverPartitionsTask } from '../src/log/data-dir-recovery.ts'
import type { PartitionRecovery } from '../src/log/log-recovery.ts'
import { nodeCodecs } from '../src/record/node-codecs.ts'

const files = new NodeFileSystem()
const tasks = new DataDirTasks({ files, probe: systemProcessProbe })
const recovery = new RecoveryTasks(files, syncAll)

export const openDataDir = (options: Parameters<DataDirTasks['openDataDir']>[0]): DataDir => tasks.openDataDir(options)

export const prepareRecovery = (task: { dataDir: DataDir; knownFolders: ReadonlySet<string> }) =>
  recovery.prepareRecovery(task)

export const recoverPartitions = (task: RecoverPartitionsTask): Promise<PartitionRecovery[]> =>
  recovery.recoverPartitions(task)

export const setAside = (task: { dataDir: DataDir; folder: string }): string | null => tasks.setAside(task)

export const finishRecovery = (task: { dataDir: DataDir; results: PartitionRecovery[] }): void =>
  tasks.finishRecovery(task)

export const compact = (task: SeededCompactionTask): CompactionResult =>
  runCompaction(files, task, { codecs: nodeCodecs(), seed: task.seed })

export const closeDataDir = (task: { dataDir: DataDir; isClean: boolean }): void => tasks.closeDataDir(task)
