/**
 * Recovery of one partition: from whatever a crash left to a sound folder, or to "damaged, because".
 *
 * Thread      the Piscina pool, many partitions a task (plain data in and out), or inline in a simulator; blocks
 * Invariants  V1 nothing below a lower bound (checkpoint, synced end) is ever cut; a damaged partition is left as it is
 *             V2 the recovered log is a prefix of what was written, and its indexes, epochs and producers are those of a replay
 *             V3 idempotent: after a crash in the middle, or a second time, it gives the same
 * Ordering    journals replayed (journal-replay.ts) -> swaps of a compaction finished (segment-swap.ts) -> list -> walk from the recovery point -> judge -> cut -> write indexes and
 *             snapshot -> sync all of it (sync-list.ts) -> the recovery's checkpoint (data-dir-recovery.ts)
 *
 * The first batch that is not sound, at offset e of position p:
 * | e below a lower bound | sound batches behind it | previous run ended by   | verdict                                      |
 * | --------------------- | ----------------------- | ----------------------- | -------------------------------------------- |
 * | yes                   | -                       | -                       | damaged                                      |
 * | no                    | no                      | -                       | torn tail: cut at p                          |
 * | no                    | yes                     | the process died        | damaged: the page cache keeps the order      |
 * | no                    | yes, within unsyncedMax | the machine went down   | unsynced writes out of order: the suffix is  |
 * |                       |                         |                         | copied to quarantine/, then cut at p         |
 * | no                    | yes, further, or the    | the machine went down   | damaged                                      |
 * |                       | checkpoints are lost or |                         |                                              |
 * |                       | a journal is damaged    |                         |                                              |
 */
import type { FileSystem } from '../io/file-system.ts'
import { partitionFolder } from '../model/ids.ts'
import { NOTHING_ABORTED } from './aborted-index.ts'
import { AFTER_NOTHING, findSoundBatchBehind, setSuffixAside } from './damaged-suffix.ts'
import { FolderReplay } from './folder-replay.ts'
import type { LeaderEpochEntry, RecoveredPartition, RecoveredSegment } from './recovered-partition.ts'
import type { PartitionBounds } from './recovery-plan.ts'
import { finishSwaps } from './segment-swap.ts'
import type { SyncList } from './sync-list.ts'

/** Bytes of one log that may be written and not synced when the machine goes down: far more than two groups. */
export const UNSYNCED_BYTES_MAX_DEFAULT = 256 * 1024 * 1024

export interface PartitionRecoveryOptions {
  readonly dataDir: string
  /** Of the start that recovers: names what is set aside. */
  readonly incarnation: number
  readonly bounds: PartitionBounds
  /** How the previous run ended: DataDir.previousRun. */
  readonly previousRun: 'none' | 'clean' | 'process-died' | 'machine-died'
  readonly unsyncedBytesMax?: number
  readonly readBytes?: number
  /** Takes what is to be synced before finishRecovery(). */
  readonly syncs: SyncList
}

export interface PartitionRecovery {
  readonly folder: string
  /** null: there is no folder, nothing says that there should be one, and the log begins at 0. */
  readonly recovered: RecoveredPartition | null
  /** A lower bound of what was acknowledged: survives in the recovery's checkpoint while the partition is damaged. */
  readonly bounds: PartitionBounds
  readonly scannedBytes: number
  /** Bytes cut from the end, whole later segments included. */
  readonly cutBytes: number
  /** Where a cut suffix that held sound batches was copied to, below the data dir. */
  readonly setAside: string | null
  readonly notes: readonly string[]
}

/** Recovers one partition. Throws StorageError only: every state of the files has an answer. */
export function recoverPartition(files: FileSystem, options: PartitionRecoveryOptions): PartitionRecovery {
  const { dataDir, bounds } = options
  const folder = partitionFolder(bounds.topicId, bounds.partition)
  const path = `${dataDir}/${folder}`
  if (files.stat(path).kind === 'absent') return withoutFolder(files, folder, options)
  const notes: string[] = []
  finishSwaps(files, path, { notes, syncs: options.syncs })
  const replay = new FolderReplay(files, { path, bounds, readBytes: options.readBytes, syncs: options.syncs })
  replay.notes.push(...notes)
  replay.run()
  const base = { folder, bounds, scannedBytes: replay.scannedBytes, notes: replay.notes }
  const verdict = judge(files, replay, options)
  if (verdict.kind === 'damaged') {
    const recovered = resultOf(replay, bounds, verdict.reason)
    return { ...base, recovered, cutBytes: 0, setAside: null }
  }
  let cutBytes = 0
  let setAside: string | null = null
  if (verdict.kind === 'cut') {
    if (verdict.holdsBatches) setAside = setSuffixAside(files, { ...options, folder, replay })
    cutBytes = replay.cut()
    replay.notes.push(
      `cut at offset ${replay.nextOffset}: ${cutBytes} bytes, ${verdict.reason}${setAside === null ? '' : `; a copy is in ${setAside}`}`,
    )
  }
  replay.settle()
  return { ...base, recovered: resultOf(replay, bounds, null), cutBytes, setAside }
}

function withoutFolder(
  files: FileSystem,
  folder: string,
  { dataDir, bounds }: PartitionRecoveryOptions,
): PartitionRecovery {
  const base = { folder, bounds, scannedBytes: 0, cutBytes: 0, setAside: null, notes: [] }
  const start = Math.max(0, bounds.logStartOffset)
  const isMissing = bounds.syncedEnd > start
  if (!isMissing && start === 0) return { ...base, recovered: null }
  // Nothing missing and a start above 0: a replica that began empty at its leader's log start. Its first batch would have made the folder;
  // here finishRecovery() makes it durable.
  if (!isMissing) files.makeFolder(`${dataDir}/${folder}`)
  const recovered: RecoveredPartition = {
    ...{ logStartOffset: start, logEndOffset: start, recoveryPoint: start, segments: [], leaderEpochs: [] },
    ...{ producerSnapshotOffset: -1, openTransactions: [], aborted: NOTHING_ABORTED },
    damaged: isMissing
      ? `the folder ${folder} is missing, records up to offset ${bounds.syncedEnd} were acknowledged`
      : null,
  }
  return { ...base, recovered }
}

type Verdict =
  | { readonly kind: 'sound' }
  | { readonly kind: 'cut'; readonly reason: string; readonly holdsBatches: boolean }
  | { readonly kind: 'damaged'; readonly reason: string }

/** The table above. */
function judge(files: FileSystem, replay: FolderReplay, options: PartitionRecoveryOptions): Verdict {
  const { bounds } = options
  const place = replay.describePlace()
  if (replay.lowerFault !== null) return { kind: 'damaged', reason: replay.lowerFault }
  if (replay.nextOffset < bounds.syncedEnd)
    return {
      kind: 'damaged',
      reason: `the log ends at offset ${replay.nextOffset} ${place}, records up to ${bounds.syncedEnd} were acknowledged${replay.fault === null ? '' : `: ${replay.fault}`}`,
    }
  if (replay.fault === null) return { kind: 'sound' }
  const behind = findSoundBatchBehind(files, replay)
  if (behind === AFTER_NOTHING) return { kind: 'cut', reason: replay.fault, holdsBatches: false }
  const reason = `${replay.fault} ${place}, and ${behind.text}`
  const withinUnsynced = replay.suffixBytes() <= (options.unsyncedBytesMax ?? UNSYNCED_BYTES_MAX_DEFAULT)
  const mayBeDisorder =
    options.previousRun === 'machine-died' && bounds.logStartOffset >= 0 && bounds.journalIsDamaged !== true
  if (mayBeDisorder && withinUnsynced)
    return { kind: 'cut', reason: `unsynced writes reached the disk out of order: ${reason}`, holdsBatches: true }
  return { kind: 'damaged', reason }
}

function resultOf(replay: FolderReplay, bounds: PartitionBounds, damaged: string | null): RecoveredPartition {
  const segments: RecoveredSegment[] = replay.segments.map((segment) => ({
    baseOffset: segment.baseOffset,
    nextOffset: segment.nextOffset,
    bytes: segment.bytes,
    maxTimestampMs: segment.maxTimestampMs,
    createdMs: segment.createdMs,
  }))
  const leaderEpochs: readonly LeaderEpochEntry[] = replay.epochs.toEntries()
  const logEndOffset = replay.nextOffset
  const logStartOffset = Math.min(replay.logStartOffset, logEndOffset)
  return {
    ...{ logStartOffset, logEndOffset, segments, leaderEpochs, damaged },
    recoveryPoint: damaged === null ? logEndOffset : Math.min(bounds.recoveryPoint, logEndOffset),
    producerSnapshotOffset: replay.snapshotOffset,
    openTransactions: replay.producers.transactions.toEntries(),
    aborted: replay.aborted.marks,
  }
}
