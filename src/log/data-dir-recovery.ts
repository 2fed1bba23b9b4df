/**
 * Recovery of a whole data dir: plan, journals, partitions, and the checkpoint that ends it.
 *
 * Thread      the parts run where they are called: a start runs `planRecovery`, `replayJournals` and `finishRecovery` in one
 *             pool task each and `recoverPartitions` in many; recoverDataDir() runs all in turn (simulator, verify, small dirs)
 * Invariants  W1 until finishRecovery() is durable the files of older starts stay, so a crash at any point begins anew
 *             W2 afterwards journals, checkpoints and synced ends of older starts are gone: they could only do harm
 * Ordering    open the data dir -> plan -> replay journals -> recover partitions -> finish -> shards open partitions
 */
import type { FileSystem } from '../io/file-system.ts'
import { type CheckpointLine, writeCheckpoint } from './checkpoint-file.ts'
import {
  listDeletedFolders,
  listPartitionFolders,
  type PreviousRun,
  removeDeletedFolder,
  STATE_FOLDER,
} from './data-dir.ts'
import { TEMPORARY_SUFFIX } from './durable-file.ts'
import { type JournalReplay, replayJournals } from './journal-replay.ts'
import { type PartitionRecovery, type PartitionRecoveryOptions, recoverPartition } from './log-recovery.ts'
import {
  boundsByFolder,
  type PartitionBounds,
  planRecovery,
  type RecoveryPlan,
  unknownBounds,
} from './recovery-plan.ts'
import { parseStateFileName } from './state-files.ts'

/** Input of one pool task: plain data. */
export interface RecoverPartitionsTask extends Omit<PartitionRecoveryOptions, 'bounds'> {
  readonly partitions: readonly PartitionBounds[]
}

/** Every partition that has a folder or is named by a plan whose journals are replayed. */
export function partitionsToRecover(files: FileSystem, plan: RecoveryPlan): PartitionBounds[] {
  const bounds = boundsByFolder(plan)
  for (const folder of listPartitionFolders(files, plan.dataDir))
    if (!bounds.has(folder.name))
      bounds.set(folder.name, unknownBounds(folder.topicId, folder.partition, plan.unnamedLogStart))
  for (const one of bounds.values()) one.journalIsDamaged = plan.journalIsDamaged
  return [...bounds.values()]
}

export function recoverPartitions(files: FileSystem, task: RecoverPartitionsTask): PartitionRecovery[] {
  return task.partitions.map((bounds) => recoverPartition(files, { ...task, bounds }))
}

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

export interface DataDirRecovery {
  readonly plan: RecoveryPlan
  readonly journals: JournalReplay
  readonly results: readonly PartitionRecovery[]
}

/** All of it, in this thread. */
export function recoverDataDir(
  files: FileSystem,
  options: {
    readonly dataDir: string
    readonly incarnation: number
    readonly previousRun: PreviousRun
    readonly unsyncedBytesMax?: number
    readonly readBytes?: number
  },
): DataDirRecovery {
  const plan = planRecovery(files, options)
  const journals = replayJournals(files, plan)
  for (const name of listDeletedFolders(files, options.dataDir)) removeDeletedFolder(files, options.dataDir, name)
  const results = recoverPartitions(files, { ...options, partitions: partitionsToRecover(files, plan) })
  finishRecovery(files, { ...options, results })
  return { plan, journals, results }
}
