/**
 * Repair: mends what verify finds in a stopped data dir, also below the recovery points, where no start looks; and says what is lost.
 *
 * Thread      a process of its own (`millrace verify --repair`), or a test; blocks
 * Invariants  LR1 no sound batch is cut before a copy of it lies in quarantine/, and damaged partitions are the only ones that lose anything
 *             LR2 in a cluster a damaged replica is not cut: its line says that more was acknowledged than it has, so that every start finds it
 *             damaged, and it is set aside whole and begins anew from its leader, when there is one
 *             LR3 an end that was not in order stays one: repair is not the stop that syncs what a broker under fsync: interval had not synced.
 *             Nor is it in order where a replica of a cluster was cut: what is left counts as what others may have more of
 * Ordering    a start: lock, incarnation, journals replayed, partitions recovered, damaged ones cut at the first damage, one checkpoint
 * Failure     StorageError, DataDirError (in use, unreadable identity)
 *
 * | damage                                     | data dir of a broker alone           | of a cluster                      | with isLossAccepted   |
 * | ------------------------------------------ | ------------------------------------ | --------------------------------- | --------------------- |
 * | a start finds it: the partition is offline | cut: what is before it serves again  | begins anew from its leader       | cut, serves as it is  |
 * | below the recovery point: it serves        | left as it is: a cut would lose more | begins anew from its leader       | cut, serves as it is  |
 * | a leader epoch, outside its checksum       | written again from leader-epochs     | the same                          | the same              |
 * | below the log start                        | none: nobody asks for it             | the same                          | the same              |
 */
import type { FileSystem } from '../io/file-system.ts'
import { partitionFolder } from '../model/ids.ts'
import { PARTITION_LEADER_EPOCH_AT } from '../record/batch-layout.ts'
import { setSuffixAside } from './damaged-suffix.ts'
import {
  closeDataDirCleanly,
  DataDirError,
  LOCK_FILE,
  openDataDir,
  type PreviousRun,
  readIdentity,
} from './data-dir.ts'
import { partitionsToRecover } from './data-dir-recovery.ts'
import { removeIfPresent, writeFully } from './durable-file.ts'
import { finishRecovery } from './finish-recovery.ts'
import { FolderReplay } from './folder-replay.ts'
import { replayJournals } from './journal-replay.ts'
import { type PartitionRecovery, recoverPartition } from './log-recovery.ts'
import { DataDirVerify, type VerifyOptions } from './log-verify.ts'
import { type PartitionBounds, planRecovery, type RecoveryPlan, unknownBounds } from './recovery-plan.ts'
import type { Finding } from './segment-check.ts'
import { SyncList } from './sync-list.ts'

export interface RepairOptions extends VerifyOptions {
  readonly nodeId: number
  /** What is cut counts as lost, and what is left as all there is: for partitions that no other broker has. */
  readonly isLossAccepted?: boolean
}

/** A partition that was damaged, with what it lost. Offsets [fromOffset, toOffset); -1 = not known. */
export interface RepairedPartition {
  readonly folder: string
  readonly reason: string
  readonly fromOffset: number
  readonly toOffset: number
  /** Where the cut bytes lie, below the data dir; null = there was nothing to copy. */
  readonly setAside: string | null
  /** It does not serve what is left: it begins anew from its leader. */
  readonly isRefetched: boolean
}

export interface RepairReport {
  readonly repaired: readonly RepairedPartition[]
  readonly notes: readonly string[]
}

/** Recovers the data dir, and mends what is damaged: the table above. */
export function repairDataDir(files: FileSystem, options: RepairOptions): RepairReport {
  const { dataDir, probe, nodeId, isLossAccepted = false } = options
  const identity = readIdentity(files, dataDir)
  if (identity === undefined) throw new DataDirError('NOT_A_DATA_DIR', `'${dataDir}' is no data dir`)
  const opened = openDataDir(files, { path: dataDir, nodeId, newClusterId: '', probe })
  const { incarnation } = opened.identity
  const { previousRun } = opened
  const plan = planRecovery(files, { dataDir, incarnation })
  const syncs = new SyncList()
  replayJournals(files, plan, syncs)
  syncs.run(files)
  const repair: Repair = { plan, previousRun, isOfCluster: identity.directoryId !== '', isLossAccepted }
  const results: PartitionRecovery[] = []
  const repaired: RepairedPartition[] = []
  const notes = [...plan.notes]
  for (const bounds of partitionsToRecover(files, plan)) {
    const one = repairPartition(files, repair, bounds)
    results.push(one.result)
    if (one.repaired !== undefined) repaired.push(one.repaired)
    notes.push(...one.mended)
    for (const note of one.result.notes) notes.push(`${one.result.folder}: ${note}`)
  }
  finishRecovery(files, { dataDir, incarnation, results })
  // A leader that has less than the others would have them set aside what they have more.
  const isCutReplica = repair.isOfCluster && repaired.some(({ isRefetched }) => !isRefetched)
  if (previousRun === 'clean' && !isCutReplica) closeDataDirCleanly(files, opened)
  else files.remove(`${dataDir}/${LOCK_FILE}`)
  return { repaired, notes }
}

interface Repair {
  readonly plan: RecoveryPlan
  readonly previousRun: PreviousRun
  readonly isOfCluster: boolean
  readonly isLossAccepted: boolean
}

/** `mended`: notes of what was made again; `repaired`: it was cut, or is to begin anew. */
function repairPartition(
  files: FileSystem,
  { plan, previousRun, isOfCluster, isLossAccepted }: Repair,
  bounds: PartitionBounds,
): { readonly result: PartitionRecovery; readonly mended: string[]; readonly repaired?: RepairedPartition } {
  const { dataDir, incarnation } = plan
  const findings = lookAt(files, plan, bounds)
  const mended = mendRebuildable(files, dataDir, findings)
  const syncs = new SyncList()
  const result = recoverPartition(files, { dataDir, incarnation, bounds, previousRun, syncs })
  syncs.run(files)
  const visible = result.recovered?.damaged ?? null
  const hidden = findings.find(({ kind }) => kind === 'damage')
  const reason = visible ?? (hidden && `${hidden.file}, byte ${hidden.filePosition}: ${hidden.text}`)
  if (reason === undefined || (visible === null && !isOfCluster && !isLossAccepted)) return { result, mended }
  const { folder } = result
  if (isOfCluster && !isLossAccepted) {
    const { fromOffset = result.recovered?.logEndOffset ?? 0, toOffset = -1 } = visible === null ? hidden! : {}
    const repaired = { folder, reason, fromOffset, toOffset, setAside: null, isRefetched: true }
    return { result: asDamaged(result, bounds, reason), mended, repaired }
  }
  const cut = cutAtDamage(files, { dataDir, incarnation, bounds })
  return { result: cut.result, mended, repaired: { folder, reason, ...cut.lost, isRefetched: false } }
}

/** Every byte of one partition, also of those that recovery believes. */
function lookAt(files: FileSystem, plan: RecoveryPlan, bounds: PartitionBounds): readonly Finding[] {
  const folder = partitionFolder(bounds.topicId, bounds.partition)
  if (files.stat(`${plan.dataDir}/${folder}`).kind !== 'folder') return []
  const verify = new DataDirVerify(files, { ...plan, partitions: [bounds] })
  verify.checkPartition(bounds)
  return verify.report.findings
}

/** An index that is readable and wrong would be believed below the recovery point, so it goes; epochs are written again. Answers notes. */
function mendRebuildable(files: FileSystem, dataDir: string, findings: readonly Finding[]): string[] {
  const notes: string[] = []
  for (const { kind, file, filePosition, text, leaderEpoch } of findings) {
    if (kind !== 'rebuildable') continue
    const path = `${dataDir}/${file}`
    if (!file.endsWith('.log')) removeIfPresent(files, path)
    else if (leaderEpoch !== undefined) {
      writeEpoch(files, path, { filePosition, leaderEpoch })
      notes.push(`${file}, byte ${filePosition}: ${text}: written again`)
    }
  }
  return notes
}

function writeEpoch(
  files: FileSystem,
  path: string,
  { filePosition, leaderEpoch }: { readonly filePosition: number; readonly leaderEpoch: number },
): void {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setInt32(0, leaderEpoch)
  const fd = files.open(path, 'write')
  try {
    writeFully(files, fd, [bytes], filePosition + PARTITION_LEADER_EPOCH_AT)
    files.fsync(fd)
  } finally {
    files.close(fd)
  }
}

/** It ends before what its line says was acknowledged: every start finds it so, until it is set aside for its leader's. */
function asDamaged(result: PartitionRecovery, bounds: PartitionBounds, reason: string): PartitionRecovery {
  const { recovered } = result
  const end = recovered?.logEndOffset ?? 0
  const syncedEnd = Math.max(bounds.syncedEnd, bounds.recoveryPoint, end + 1)
  return {
    ...result,
    bounds: { ...bounds, syncedEnd },
    recovered: recovered === null ? null : { ...recovered, damaged: reason },
  }
}

/** Keeps the log up to the first damage, wherever that is; a missing head moves the log start instead. */
function cutAtDamage(
  files: FileSystem,
  options: { readonly dataDir: string; readonly incarnation: number; readonly bounds: PartitionBounds },
): { result: PartitionRecovery; lost: { fromOffset: number; toOffset: number; setAside: string | null } } {
  const { dataDir, incarnation, bounds } = options
  const folder = partitionFolder(bounds.topicId, bounds.partition)
  const path = `${dataDir}/${folder}`
  files.makeFolder(path)
  const { topicId, partition } = bounds
  const unbounded = unknownBounds(topicId, partition, -1)
  const syncs = new SyncList()
  const replay = new FolderReplay(files, { path, bounds: unbounded, syncs })
  replay.run()
  const setAside = replay.fault === null ? null : setSuffixAside(files, { dataDir, folder, incarnation, replay })
  if (replay.fault !== null) replay.cut()
  replay.settle()
  syncs.run(files)
  files.syncFolder(dataDir)
  const result = keepLogStart(
    recoverPartition(files, { dataDir, incarnation, bounds: unbounded, previousRun: 'clean', syncs }),
    bounds,
  )
  syncs.run(files)
  const toOffset = bounds.syncedEnd > replay.nextOffset ? bounds.syncedEnd : -1
  return { result, lost: { fromOffset: replay.nextOffset, toOffset, setAside } }
}

/** What was trimmed stays trimmed, as far as the log still reaches. */
function keepLogStart(result: PartitionRecovery, bounds: PartitionBounds): PartitionRecovery {
  const { recovered } = result
  if (recovered === null) return result
  const logStartOffset = Math.min(Math.max(recovered.logStartOffset, bounds.logStartOffset), recovered.logEndOffset)
  return { ...result, recovered: { ...recovered, logStartOffset } }
}
