/**
 * Recovery of a whole data dir: plan, journals, partitions, and the checkpoint that ends it.
 *
 * Thread      the parts run where they are called: a start runs `planRecovery`, `replayJournals` and `finishRecovery` in one
 *             pool task each and `recoverPartitions` in many; recoverDataDir() runs all in turn (simulator, verify, small dirs)
 * Invariants  W1, W2: finish-recovery.ts
 * Ordering    open the data dir -> plan -> replay journals -> adopt what a clean stop catalogued -> recover the other partitions
 *             -> sync what they wrote -> finish -> shards open partitions
 */
import type { FileSystem } from '../io/file-system.ts'
import { partitionFolder } from '../model/ids.ts'
import { readCatalogue } from './catalogue-file.ts'
import {
  listDeletedFolders,
  listPartitionFolders,
  type PreviousRun,
  removeDeletedFolder,
  STATE_FOLDER,
} from './data-dir.ts'
import { finishRecovery } from './finish-recovery.ts'
import { type JournalReplay, replayJournals } from './journal-replay.ts'
import { type PartitionRecovery, type PartitionRecoveryOptions, recoverPartition } from './log-recovery.ts'
import type { RecoveredPartition } from './recovered-partition.ts'
import {
  boundsByFolder,
  type PartitionBounds,
  planRecovery,
  type RecoveryPlan,
  unknownBounds,
} from './recovery-plan.ts'
import { segmentFileName } from './segment.ts'
import { parseStateFileName } from './state-files.ts'
import { SyncList } from './sync-list.ts'

/** Input of one pool task: plain data. */
export interface RecoverPartitionsTask extends Omit<PartitionRecoveryOptions, 'bounds' | 'syncs'> {
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

/**
 * After a clean stop the shards' catalogues say what each log is: those partitions are not looked into, but for the size of the
 * last segment, which anybody who meddled with the folder would have changed. Answers them, and the rest. `replayed`: folders that
 * a journal was written to (none, after a clean stop).
 */
export function adoptCatalogued(
  files: FileSystem,
  options: {
    readonly dataDir: string
    readonly incarnation: number
    readonly previousRun: PreviousRun
    readonly plan: RecoveryPlan
    readonly replayed: readonly string[]
    readonly partitions: readonly PartitionBounds[]
  },
): { readonly adopted: PartitionRecovery[]; readonly rest: PartitionBounds[] } {
  const { dataDir, incarnation, previousRun, plan, partitions } = options
  if (previousRun !== 'clean' || plan.journalIsDamaged) return { adopted: [], rest: [...partitions] }
  const catalogued = readCatalogues(files, `${dataDir}/${STATE_FOLDER}`, { incarnation: incarnation - 1, plan })
  for (const folder of options.replayed) catalogued.delete(folder)
  const adopted: PartitionRecovery[] = []
  const rest: PartitionBounds[] = []
  for (const bounds of partitions) {
    const folder = partitionFolder(bounds.topicId, bounds.partition)
    const recovered = catalogued.get(folder)
    if (recovered === undefined || !fitsBounds(recovered, bounds, incarnation - 1)) rest.push(bounds)
    else if (!fitsFolder(files, `${dataDir}/${folder}`, recovered)) rest.push(bounds)
    else adopted.push({ folder, bounds, recovered, scannedBytes: 0, cutBytes: 0, setAside: null, notes: [] })
  }
  return { adopted, rest }
}

function readCatalogues(
  files: FileSystem,
  folder: string,
  from: { readonly incarnation: number; readonly plan: RecoveryPlan },
): Map<string, RecoveredPartition> {
  const found = new Map<string, RecoveredPartition>()
  for (const name of files.list(folder)) {
    const parsed = parseStateFileName(name)
    if (parsed?.kind !== 'catalogue' || parsed.incarnation !== from.incarnation) continue
    const answer = readCatalogue(files, `${folder}/${name}`)
    if (answer.kind === 'unreadable') from.plan.notes.push(`catalogue ${name} cannot be used: ${answer.reason}`)
    if (answer.kind !== 'present' || answer.incarnation !== from.incarnation) continue
    for (const { topicId, partition, recovered } of answer.entries)
      found.set(partitionFolder(topicId, partition), recovered)
  }
  return found
}

/** The checkpoint of the same stop says the same. */
function fitsBounds(recovered: RecoveredPartition, bounds: PartitionBounds, incarnation: number): boolean {
  return (
    bounds.incarnation === incarnation &&
    bounds.logStartOffset === recovered.logStartOffset &&
    bounds.recoveryPoint === recovered.logEndOffset &&
    bounds.syncedEnd <= recovered.logEndOffset &&
    bounds.producerSnapshotOffset === recovered.producerSnapshotOffset
  )
}

function fitsFolder(files: FileSystem, path: string, recovered: RecoveredPartition): boolean {
  const last = recovered.segments[recovered.segments.length - 1]
  if (last === undefined) return files.stat(path).kind === 'folder'
  const stat = files.stat(`${path}/${segmentFileName(last.baseOffset, '.log')}`)
  return stat.kind === 'file' && stat.bytes === last.bytes
}

/** `syncs` takes what must be synced before finishRecovery(). */
export function recoverPartitions(
  files: FileSystem,
  task: RecoverPartitionsTask,
  syncs: SyncList,
): PartitionRecovery[] {
  return task.partitions.map((bounds) => recoverPartition(files, { ...task, bounds, syncs }))
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
  const syncs = new SyncList()
  const journals = replayJournals(files, plan, syncs)
  syncs.run(files)
  for (const name of listDeletedFolders(files, options.dataDir)) removeDeletedFolder(files, options.dataDir, name)
  const partitions = partitionsToRecover(files, plan)
  const { adopted, rest } = adoptCatalogued(files, { ...options, plan, replayed: journals.folders, partitions })
  const results = [...adopted, ...recoverPartitions(files, { ...options, partitions: rest }, syncs)]
  syncs.run(files)
  finishRecovery(files, { ...options, results })
  return { plan, journals, results }
}
