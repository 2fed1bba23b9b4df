/**
 * The end of a recovery: the checkpoint that makes it final.
 *
 * Invariants  W1 until finishRecovery() is durable the files of older starts stay, so a crash at any point begins anew
 *             W2 afterwards journals, checkpoints and synced ends of older starts are gone: they could only do harm
 * Not here    what is recovered: data-dir-recovery.ts, which a start over a new data dir does not load
 */
import type { FileSystem } from '../io/file-system.ts'
import { type CheckpointLine, writeCheckpoint } from './checkpoint-file.ts'
import { STATE_FOLDER } from './data-dir.ts'
import { TEMPORARY_SUFFIX } from './durable-file.ts'
import type { PartitionRecovery } from './log-recovery.ts'
import { parseStateFileName } from './state-files.ts'

/** Makes the recovery final: one checkpoint for all partitions, then the files of older starts go. */
export function finishRecovery(
  files: FileSystem,
  options: { readonly dataDir: string; readonly incarnation: number; readonly results: readonly PartitionRecovery[] },
): void {
  const { dataDir, incarnation, results } = options
  const folder = `${dataDir}/${STATE_FOLDER}`
  files.makeFolder(folder)
  files.syncFolder(dataDir)
  const lines = results.filter((result) => result.recovered !== null).map(lineOf)
  writeCheckpoint(files, folder, { incarnation, shard: -1, journalSequence: 0, lines })
  for (const name of files.list(folder)) {
    const parsed = parseStateFileName(name)
    const isOld = parsed !== undefined && parsed.incarnation < incarnation
    if (isOld || name.endsWith(TEMPORARY_SUFFIX)) files.remove(`${folder}/${name}`)
  }
  files.syncFolder(folder)
}

function lineOf(result: PartitionRecovery): CheckpointLine {
  const { bounds, recovered } = result
  const { topicId, partition } = bounds
  // A damaged partition keeps the bounds it was judged by, so that the next start judges it the same.
  if (recovered === null || recovered.damaged !== null)
    return {
      ...{ topicId, partition, damaged: true, logStartOffset: Math.max(0, bounds.logStartOffset) },
      ...{ recoveryPoint: Math.min(bounds.recoveryPoint, bounds.syncedEnd), syncedEndOffset: bounds.syncedEnd },
      producerSnapshotOffset: bounds.producerSnapshotOffset,
    }
  return {
    ...{ topicId, partition, logStartOffset: recovered.logStartOffset, recoveryPoint: recovered.recoveryPoint },
    producerSnapshotOffset: recovered.producerSnapshotOffset,
  }
}
