/**
 * Journal replay: writes the bytes that only a journal made durable back where they belong, before anything is scanned.
 *
 * Thread      recovery, once, before the partitions; blocks
 * Invariants  J5 replay is idempotent: a crash in the middle of recovery is followed by the same replay
 *             J6 what a truncation, a delete or an older incarnation superseded is not written, nor what lies below the recovery point
 *             J7 the names that the plan was read from are durable before anything is changed by it: a kill between the rename of a checkpoint
 *                and the sync of its folder leaves one that a power cut would take back    checked in: test/crash/power-cut.test.ts
 * Ordering    all journals replayed -> the touched files and folders synced (sync-list.ts) -> partitions scanned -> journals removed
 *             (finishRecovery), so no journal goes while something depends on it
 * Failure     a gap is the torn end of the journal, unless a later entry says that the gap was synced: then it is damage, told
 *             in `notes`, and what can be read is still written; the partitions' own bounds tell who lost something
 */
import type { Fd, FileSystem } from '../io/file-system.ts'
import { partitionFolder } from '../model/ids.ts'
import { BatchView } from '../record/batch-view.ts'
import { readCleanEnd } from './cleaner-checkpoint.ts'
import { STATE_FOLDER } from './data-dir.ts'
import { readWholeFile, writeFully } from './durable-file.ts'
import {
  decodeJournalFileHeader,
  type JournalEntry,
  type JournalFileHeader,
  JournalKind,
  readJournalEntries,
} from './journal-format.ts'
import {
  boundsByFolder,
  type JournalToReplay,
  type PartitionBounds,
  type RecoveryPlan,
  unknownBounds,
} from './recovery-plan.ts'
import { segmentFileName } from './segment.ts'
import type { SyncList } from './sync-list.ts'

const JOURNAL_FILE_BYTES_MAX = 1024 * 1024 * 1024

export interface JournalReplay {
  readonly entries: number
  readonly bytes: number
  /** Folders of partitions that an entry was written to. */
  readonly folders: readonly string[]
  /** Folders whose partition a journal says is deleted. */
  readonly deleted: readonly string[]
  /** Entries that were synced and cannot be read. */
  readonly damagedEntries: number
}

interface FoundEntry {
  readonly entry: JournalEntry
  readonly file: Uint8Array
}

/** Replays every journal of the plan and raises the plan's bounds by what the entries say; `syncs` takes what was written. */
export function replayJournals(files: FileSystem, plan: RecoveryPlan, syncs: SyncList): JournalReplay {
  const state = `${plan.dataDir}/${STATE_FOLDER}`
  if (files.stat(state).kind === 'folder') files.syncFolder(state)
  const writer = new ReplayWriter(files, plan)
  let damagedEntries = 0
  for (const journal of plan.journals) {
    const found = readJournal(files, journal, plan)
    const counted = chooseEntries(found, journal, plan.notes)
    damagedEntries += counted.damaged
    writer.take(counted.entries, journal.incarnation)
  }
  writer.finish(syncs)
  if (damagedEntries > 0) plan.journalIsDamaged = true
  return {
    entries: writer.entries,
    bytes: writer.bytes,
    folders: writer.folders,
    deleted: writer.deleted,
    damagedEntries,
  }
}

export interface OffsetRange {
  readonly from: number
  readonly to: number
}

export interface InspectedJournals {
  /** Those that count. */
  readonly entries: number
  readonly damagedEntries: number
  /** By folder: offsets whose batches the next start writes back. */
  readonly held: ReadonlyMap<string, readonly OffsetRange[]>
}

/** What the journals hold, without writing anything: faults become notes of the plan. */
export function inspectJournals(files: FileSystem, plan: RecoveryPlan): InspectedJournals {
  let entries = 0
  let damagedEntries = 0
  const held = new Map<string, OffsetRange[]>()
  const bounds = boundsByFolder(plan)
  for (const journal of plan.journals) {
    const counted = chooseEntries(readJournal(files, journal, plan), journal, plan.notes)
    entries += counted.entries.length
    damagedEntries += counted.damaged
    for (const { entry } of counted.entries) {
      const folder = partitionFolder(entry.topicId, entry.partition)
      if (journal.incarnation >= (bounds.get(folder)?.incarnation ?? 0))
        held.set(folder, heldAfter(held.get(folder) ?? [], entry))
    }
  }
  return { entries, damagedEntries, held }
}

function heldAfter(held: readonly OffsetRange[], entry: JournalEntry): OffsetRange[] {
  const { kind, baseOffset, nextOffset, payloadIsSound } = entry
  if (kind === JournalKind.DELETE) return []
  const below = held
    .filter(({ from }) => from < baseOffset)
    .map(({ from, to }) => ({ from, to: Math.min(to, baseOffset) }))
  if (kind === JournalKind.TRUNCATE) return below
  if (kind !== JournalKind.BATCHES || !payloadIsSound) return [...held]
  const last = below[below.length - 1]
  if (last?.to !== baseOffset) return [...below, { from: baseOffset, to: nextOffset }]
  return [...below.slice(0, -1), { from: last.from, to: nextOffset }]
}

/** Every valid entry of both halves, by sequence. */
function readJournal(files: FileSystem, journal: JournalToReplay, plan: RecoveryPlan): FoundEntry[] {
  const halves: { name: string; bytes: Uint8Array; header: JournalFileHeader | string }[] = []
  for (const name of journal.names) {
    const file = readWholeFile(files, `${plan.dataDir}/${STATE_FOLDER}/${name}`, JOURNAL_FILE_BYTES_MAX)
    if (file.kind === 'unreadable') plan.notes.push(`journal ${name} cannot be read: ${file.reason}`)
    if (file.kind === 'present') halves.push({ name, bytes: file.bytes, header: decodeJournalFileHeader(file.bytes) })
  }
  // Both halves have the same key: one sound header reads both.
  const sound = halves.find(
    (half) =>
      typeof half.header !== 'string' &&
      half.header.incarnation === journal.incarnation &&
      half.header.shard === journal.shard,
  )
  for (const half of halves)
    if (typeof half.header === 'string') plan.notes.push(`journal ${half.name}: ${half.header}`)
  if (sound === undefined || typeof sound.header === 'string') return []
  const found: FoundEntry[] = []
  for (const half of halves)
    for (const entry of readJournalEntries(half.bytes, sound.header.key)) found.push({ entry, file: half.bytes })
  return found.sort((left, right) => left.entry.sequence - right.entry.sequence)
}

/**
 * Those that count, in order. From `fromSequence` on without a gap; past a gap only when a later entry proves that the
 * missing one was synced.
 */
function chooseEntries(
  found: readonly FoundEntry[],
  journal: JournalToReplay,
  notes: string[],
): { entries: FoundEntry[]; damaged: number } {
  const from = journal.fromSequence >= 0 ? journal.fromSequence : startOfNewestRun(found)
  const candidates = found.filter(({ entry }) => entry.sequence >= from)
  const syncedBelow = candidates.reduce((max, { entry }) => Math.max(max, entry.syncedSequence), 0)
  const entries: FoundEntry[] = []
  let expected = from
  let damaged = 0
  for (const candidate of candidates) {
    const { entry } = candidate
    if (entry.sequence < expected) continue
    if (entry.sequence > expected) {
      if (expected >= syncedBelow) break
      damaged += Math.min(entry.sequence, syncedBelow) - expected
      if (entry.sequence >= syncedBelow) break
    }
    if (!entry.payloadIsSound && entry.sequence >= syncedBelow) break
    if (!entry.payloadIsSound) damaged++
    entries.push(candidate)
    expected = entry.sequence + 1
  }
  if (damaged > 0)
    notes.push(
      `journal ${journal.incarnation}-${journal.shard}: ${damaged} synced entries cannot be read; partitions with a hole where they belong are damaged`,
    )
  return { entries, damaged }
}

function startOfNewestRun(found: readonly FoundEntry[]): number {
  let start = 0
  for (let index = 0; index < found.length; index++) {
    const sequence = found[index]!.entry.sequence
    if (index === 0 || sequence > found[index - 1]!.entry.sequence + 1) start = sequence
  }
  return start
}

/** Applies entries in order; keeps few descriptors open. */
class ReplayWriter {
  entries = 0
  bytes = 0
  readonly #files: FileSystem
  readonly #plan: RecoveryPlan
  readonly #bounds: Map<string, PartitionBounds>
  readonly #folders = new Set<string>()
  readonly #deleted = new Set<string>()
  readonly #made = new Set<string>()
  readonly #touched = new Set<string>()
  readonly #cleanEnds = new Map<string, number>()
  #path = ''
  #fd: Fd = -1

  constructor(files: FileSystem, plan: RecoveryPlan) {
    this.#files = files
    this.#plan = plan
    this.#bounds = boundsByFolder(plan)
  }

  get folders(): string[] {
    return [...this.#folders]
  }

  get deleted(): string[] {
    return [...this.#deleted]
  }

  take(found: readonly FoundEntry[], incarnation: number): void {
    const ends = this.#endsOf(found)
    for (let index = 0; index < found.length; index++) {
      const { entry, file } = found[index]!
      const folder = partitionFolder(entry.topicId, entry.partition)
      const bounds = this.#boundsOf(folder, entry)
      if (incarnation < bounds.incarnation) continue
      this.#applyToBounds(bounds, entry, folder)
      if (entry.kind !== JournalKind.BATCHES || !entry.payloadIsSound) continue
      // Compaction may have moved what lies below: there the journal has nothing to say any more.
      if (entry.nextOffset <= Math.max(bounds.recoveryPoint, this.#cleanEndOf(folder))) continue
      const payloadBytes = bytesBelow(entry, file, ends[index]!)
      if (payloadBytes > 0) this.#write(folder, entry, file.subarray(entry.payloadAt, entry.payloadAt + payloadBytes))
    }
  }

  /** Of the partition's cleaner checkpoint: counts where the checkpoint that names the recovery point was lost. */
  #cleanEndOf(folder: string): number {
    let end = this.#cleanEnds.get(folder)
    if (end === undefined)
      this.#cleanEnds.set(folder, (end = readCleanEnd(this.#files, `${this.#plan.dataDir}/${folder}`)))
    return end
  }

  /** For each entry the offset below which it is still to be written: later truncations and deletes supersede the rest. */
  #endsOf(found: readonly FoundEntry[]): number[] {
    const endOf = new Map<string, number>()
    const ends: number[] = []
    for (let index = found.length - 1; index >= 0; index--) {
      const { entry } = found[index]!
      const folder = partitionFolder(entry.topicId, entry.partition)
      const end = endOf.get(folder) ?? Number.POSITIVE_INFINITY
      ends[index] = end
      if (entry.kind === JournalKind.TRUNCATE) endOf.set(folder, Math.min(end, entry.baseOffset))
      else if (entry.kind === JournalKind.DELETE) endOf.set(folder, -1)
    }
    return ends
  }

  #boundsOf(folder: string, entry: JournalEntry): PartitionBounds {
    let bounds = this.#bounds.get(folder)
    if (bounds === undefined) {
      bounds = unknownBounds(entry.topicId, entry.partition, this.#plan.unnamedLogStart)
      this.#bounds.set(folder, bounds)
      this.#plan.partitions.push(bounds)
    }
    return bounds
  }

  #applyToBounds(bounds: PartitionBounds, entry: JournalEntry, folder: string): void {
    this.#deleted.delete(folder)
    if (entry.kind === JournalKind.DELETE) {
      this.#cleanEnds.set(folder, 0)
      Object.assign(bounds, unknownBounds(entry.topicId, entry.partition, -1))
      this.#deleted.add(folder)
      return
    }
    if (entry.kind === JournalKind.TRUNCATE) {
      this.#cleanEnds.set(folder, Math.min(this.#cleanEndOf(folder), entry.baseOffset))
      bounds.syncedEnd = Math.min(bounds.syncedEnd, entry.baseOffset)
      bounds.recoveryPoint = Math.min(bounds.recoveryPoint, entry.baseOffset)
      // The snapshot that the checkpoint names is of what was cut: the newest before that will do.
      bounds.producerSnapshotOffset = Math.min(bounds.producerSnapshotOffset, entry.baseOffset)
      return
    }
    if (entry.kind === JournalKind.LOG_START) bounds.logStartOffset = Math.max(bounds.logStartOffset, entry.baseOffset)
    bounds.syncedEnd = Math.max(bounds.syncedEnd, entry.syncedEndOffset)
    // A synced entry whose payload is lost must be in the segment, or the partition is damaged.
    if (entry.kind === JournalKind.BATCHES && !entry.payloadIsSound)
      bounds.syncedEnd = Math.max(bounds.syncedEnd, entry.nextOffset)
  }

  #write(folder: string, entry: JournalEntry, payload: Uint8Array): void {
    const { dataDir } = this.#plan
    if (!this.#made.has(folder)) {
      this.#files.makeFolder(`${dataDir}/${folder}`)
      this.#made.add(folder)
    }
    const path = `${dataDir}/${folder}/${segmentFileName(entry.segmentBaseOffset, '.log')}`
    if (path !== this.#path) {
      this.#close()
      this.#fd = this.#files.open(path, 'create')
      this.#path = path
      this.#touched.add(path)
    }
    writeFully(this.#files, this.#fd, [payload], entry.filePosition)
    this.#folders.add(folder)
    this.entries++
    this.bytes += payload.length
  }

  /** Lists what was written, names included. */
  finish(syncs: SyncList): void {
    this.#close()
    for (const path of this.#touched) syncs.addFile(path)
    for (const folder of this.#folders) syncs.addFolder(`${this.#plan.dataDir}/${folder}`)
    if (this.#folders.size > 0) syncs.addFolder(this.#plan.dataDir)
  }

  #close(): void {
    if (this.#fd === -1) return
    this.#files.close(this.#fd)
    this.#fd = -1
    this.#path = ''
  }
}

/** Bytes of the entry's leading batches that begin below `endOffset`. */
function bytesBelow(entry: JournalEntry, file: Uint8Array, endOffset: number): number {
  if (entry.nextOffset <= endOffset) return entry.payloadBytes
  const batch = new BatchView()
  const end = entry.payloadAt + entry.payloadBytes
  let at = entry.payloadAt
  while (at < end && batch.reset(file, at).baseOffset < endOffset) at = batch.end
  return at - entry.payloadAt
}
