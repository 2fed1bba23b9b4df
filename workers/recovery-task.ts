/** Pool task: recovers a whole data dir that this process has opened (log/data-dir-recovery). Plain data in and out. */
import '../src/base/node/native-crc32c.ts'
import { NodeFileSystem } from '../src/io/node-file-system.ts'
import type { DataDir } from '../src/log/data-dir.ts'
import { recoverDataDir } from '../src/log/data-dir-recovery.ts'
import type { RecoveredPartition } from '../src/log/recovered-partition.ts'
import { partitionFolder } from '../src/model/ids.ts'

export interface RecoveryTask {
  readonly dataDir: DataDir
}

export interface RecoveryTaskAnswer {
  /** [folder name, what OPEN_PARTITIONS is given]; a partition without a folder has no entry. */
  readonly recovered: readonly (readonly [folder: string, recovered: RecoveredPartition])[]
  readonly notes: readonly string[]
}

export default function runRecoveryTask({ dataDir }: RecoveryTask): RecoveryTaskAnswer {
  const { path, identity, previousRun } = dataDir
  const options = { dataDir: path, incarnation: identity.incarnation, previousRun }
  const { plan, results } = recoverDataDir(new NodeFileSystem(), options)
  const recovered: (readonly [string, RecoveredPartition])[] = []
  for (const result of results) {
    const folder = partitionFolder(result.bounds.topicId, result.bounds.partition)
    if (result.recovered !== null) recovered.push([folder, result.recovered])
  }
  return { recovered, notes: plan.notes }
}
