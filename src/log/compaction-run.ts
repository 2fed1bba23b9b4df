/**
 * CompactionRun: one compaction of one partition, over files that nobody writes to: notes where each key was written last, then
 * writes the segments again without what is superseded. Changes nothing that anybody reads: new segments lie under temporary names.
 *
 * Owns        the key table, one read and one write buffer, one output at a time
 * Thread      a thread of the Piscina pool, in steps (a generator), so that whoever runs it may rest in between; blocks on the device
 * Invariants  CR1 of each key the record with the highest offset stays; a record without a key stays
 *             CR2 a tombstone goes only once an earlier run, swapped whole, has removed all that it stands for: it lies below the clean
 *                 end that run left, and its delete horizon has passed
 *             CR3 the last data batch of each producer stays, empty if need be, unless a marker has fenced its epoch; so does its last marker
 *             CR4 records of an aborted transaction go, and stand for nothing; its marker stays until no batch of it was left by an earlier
 *                 run and delete.retention.ms have passed since it was written, and its entry of the aborted index stays as long
 *             CR5 offsets have no gap, and a leader epoch begins where it began
 * Limits      memoryBytesMax for the keys: when they do not fit, the run goes as far as they reach, and the next one goes on there
 * Failure     a segment that is not sound, a record that cannot be read, no room: it throws, what it wrote is taken away
 * Not here    when (compaction.ts), the swap (log-compaction.ts)
 */
import { type FileSystem, StorageError } from '../io/file-system.ts'
import { PARTITION_PRODUCERS_MAX } from '../model/limits.ts'
import { BatchFilter, deleteHorizonMs, type FilteredRecord } from '../record/batch-filter.ts'
import type { BatchView } from '../record/batch-view.ts'
import type { Codecs } from '../record/compression.ts'
import { readMarker } from '../record/control-batch.ts'
import { isFiller } from '../record/filler-batch.ts'
import { AbortedIndex } from './aborted-index.ts'
import { AbortedLookup } from './aborted-lookup.ts'
import { BatchWalk } from './batch-walk.ts'
import { KeyOffsets } from './key-offsets.ts'
import { parseSegmentFileName, RELATIVE_OFFSET_MAX, readIndexes, segmentFileName } from './segment.ts'
import { SegmentOutput } from './segment-output.ts'
import { removeCleaned } from './segment-swap.ts'

/** What is to be rewritten; plain data. */
export interface CompactionTask {
  /** The partition's folder. */
  readonly folder: string
  /** The segments that begin within [fromOffset, toOffset) are rewritten; the last of them ends at toOffset. */
  readonly fromOffset: number
  readonly toOffset: number
  /** Below it no key has two records. */
  readonly cleanEnd: number
  readonly segmentBytes: number
  readonly deleteRetentionMs: number
  /** Wall time of the run. */
  readonly nowMs: number
  /** For the table of keys. */
  readonly memoryBytesMax: number
  /** Marker of the first transaction that was ever aborted: segments that end past it have an aborted index; -1 = none. */
  readonly firstAborted: number
  /** All that overlap the range: four numbers each, the fields of AbortedEntry in their order; by first offset. */
  readonly aborted: readonly number[]
}

/** What the pool is told; plain data. */
export interface SeededCompactionTask extends CompactionTask {
  /** Four words by chance: the key of the hash. */
  readonly seed: readonly number[]
}

/** One new segment, synced, under its temporary name. */
export interface CompactedSegment {
  readonly baseOffset: number
  readonly nextOffset: number
  readonly bytes: number
  readonly maxTimestampMs: number
  readonly createdMs: number
}

export interface CompactionResult {
  /** Once all of `segments` are swapped, below this no key has two records. */
  readonly cleanEnd: number
  /** Those that differ from what they were made of; the others stay as they are. */
  readonly segments: readonly CompactedSegment[]
  readonly keys: number
  readonly readBytes: number
  /** Bytes of the segments to be replaced, and of those that replace them. */
  readonly replacedBytes: number
  readonly writtenBytes: number
}

export interface CompactionRunOptions {
  readonly codecs: Codecs
  /** Four words by chance. */
  readonly seed: readonly number[]
}

interface LastBatches {
  /** Of its last batch with records; -1 = none, or a marker has fenced its epoch since. */
  dataOffset: number
  dataEpoch: number
  markerOffset: number
}

interface Source {
  readonly baseOffset: number
  readonly nextOffset: number
  readonly bytes: number
  readonly createdMs: number
}

/** Bytes after which a step ends. */
const STEP_BYTES = 256 * 1024

/** Runs a compaction to its end. */
export function runCompaction(
  files: FileSystem,
  task: CompactionTask,
  options: CompactionRunOptions,
): CompactionResult {
  const steps = compactionSteps(files, task, options)
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
  }
}

/** Each step answers the bytes it has read. */
export function compactionSteps(
  files: FileSystem,
  task: CompactionTask,
  options: CompactionRunOptions,
): Generator<number, CompactionResult, void> {
  return new CompactionRun(files, task, options).steps()
}

class CompactionRun {
  readonly #files: FileSystem
  readonly #task: CompactionTask
  readonly #keys: KeyOffsets
  readonly #filter: BatchFilter
  readonly #walk: BatchWalk
  readonly #buffer = SegmentOutput.newBuffer()
  readonly #aborted: AbortedLookup
  /** What each producer wrote last; undefined: too many to tell, all are kept. */
  #lastBatches: Map<number, LastBatches> | undefined = new Map()
  /** Producers whose transaction still has a batch where the second pass is. */
  readonly #unended = new Set<number>()
  /** End of what the key table holds. */
  #mappedEnd: number
  #isFull = false
  readonly #done: CompactedSegment[] = []
  #output: SegmentOutput | undefined
  /** Segments that went into the output, their bytes, and whether it differs from them. */
  #sources = 0
  #sourceBytes = 0
  #isChanged = false
  #readBytes = 0
  #replacedBytes = 0
  #batchHorizonMs = -1

  constructor(files: FileSystem, task: CompactionTask, options: CompactionRunOptions) {
    this.#files = files
    this.#task = task
    this.#keys = new KeyOffsets({ memoryBytesMax: task.memoryBytesMax, seed: options.seed })
    this.#filter = new BatchFilter({ codecs: options.codecs })
    this.#walk = new BatchWalk(files)
    this.#mappedEnd = Math.max(task.cleanEnd, task.fromOffset)
    this.#aborted = new AbortedLookup(task.aborted)
  }

  *steps(): Generator<number, CompactionResult, void> {
    const sources = this.#listSources()
    let isDone = false
    try {
      for (const source of sources) yield* this.#overBatches(source, (batch) => this.#note(batch))
      for (const source of sources) {
        this.#beginSource(source)
        yield* this.#overBatches(source, (batch) => this.#rewrite(batch))
      }
      this.#endOutput()
      this.#files.syncFolder(this.#task.folder)
      isDone = true
    } finally {
      if (!isDone) this.#discardAll()
    }
    let writtenBytes = 0
    for (const { bytes } of this.#done) writtenBytes += bytes
    return {
      ...{ cleanEnd: this.#mappedEnd, segments: this.#done, keys: this.#keys.count },
      ...{ readBytes: this.#readBytes, replacedBytes: this.#replacedBytes, writtenBytes },
    }
  }

  #listSources(): Source[] {
    const { folder, fromOffset, toOffset } = this.#task
    const baseOffsets: number[] = []
    for (const name of this.#files.list(folder)) {
      const parsed = parseSegmentFileName(name)
      if (parsed?.suffix === '.log' && parsed.baseOffset >= fromOffset && parsed.baseOffset < toOffset)
        baseOffsets.push(parsed.baseOffset)
    }
    baseOffsets.sort((left, right) => left - right)
    return baseOffsets.map((baseOffset, index) => this.#describe(baseOffset, baseOffsets[index + 1] ?? toOffset))
  }

  #describe(baseOffset: number, nextOffset: number): Source {
    const { folder } = this.#task
    const path = `${folder}/${segmentFileName(baseOffset, '.log')}`
    const stat = this.#files.stat(path)
    if (stat.kind !== 'file') throw new StorageError('ENOENT', `${path} has gone meanwhile`)
    const indexes = readIndexes(this.#files, folder, baseOffset, stat.bytes)
    const createdMs = indexes.kind === 'present' ? indexes.createdMs : Math.floor(stat.modifiedMs)
    return { baseOffset, nextOffset, bytes: stat.bytes, createdMs }
  }

  /** Shows every batch of the segment, its checksum checked. */
  *#overBatches(source: Source, visit: (batch: BatchView) => void): Generator<number, void, void> {
    const { folder } = this.#task
    const name = segmentFileName(source.baseOffset, '.log')
    const fd = this.#files.open(`${folder}/${name}`, 'read')
    const walk = this.#walk
    let told = 0
    try {
      const { baseOffset: offset, bytes: fileEnd } = source
      walk.begin(fd, { offset, leaderEpoch: -1, filePosition: 0, fileEnd, offsets: 'exact' })
      for (let step = walk.step('hashed'); step !== 'end'; step = walk.step('hashed')) {
        if (step === 'fault') throw new StorageError('ECORRUPT', `${name} at byte ${walk.filePosition}: ${walk.fault}`)
        visit(walk.batch)
        if (walk.filePosition - told < STEP_BYTES) continue
        yield walk.filePosition - told
        told = walk.filePosition
      }
    } finally {
      this.#files.close(fd)
    }
    this.#readBytes += source.bytes
    yield source.bytes - told
  }

  // First pass

  #note(batch: BatchView): void {
    if (batch.producerId >= 0) this.#noteProducer(batch)
    // Below the clean end each key has one record; past the end of the table's room none is looked at any more.
    if (batch.nextOffset <= this.#task.cleanEnd || batch.baseOffset > this.#mappedEnd) return
    if (batch.recordsCount > 0 && !batch.isControl && !this.#aborted.has(batch))
      this.#filter.visit(batch, this.#noteRecord)
    if (!this.#isFull) this.#mappedEnd = Math.max(this.#mappedEnd, batch.nextOffset)
  }

  #noteProducer(batch: BatchView): void {
    const { producerId, producerEpoch, baseOffset } = batch
    if (this.#lastBatches === undefined) return
    const last = this.#lastBatches.get(producerId)
    const entry = last ?? { dataOffset: -1, dataEpoch: -1, markerOffset: -1 }
    if (last === undefined) this.#lastBatches.set(producerId, entry)
    if (!batch.isControl) {
      entry.dataOffset = baseOffset
      entry.dataEpoch = producerEpoch
    } else {
      entry.markerOffset = baseOffset
      if (producerEpoch > entry.dataEpoch) entry.dataOffset = -1
    }
    if (this.#lastBatches.size > PARTITION_PRODUCERS_MAX) this.#lastBatches = undefined
  }

  readonly #noteRecord = (record: Readonly<FilteredRecord>): boolean => {
    if (this.#isFull) return false
    if (record.offset < this.#task.cleanEnd) return true
    if (record.keyBytes >= 0 && !this.#keys.put(record.bytes, record.keyAt, record.keyBytes, record.offset)) {
      this.#isFull = true
      this.#mappedEnd = Math.max(this.#mappedEnd, record.offset)
      return false
    }
    return true
  }

  // Second pass

  /** Small neighbours become one segment, as far as they fit. */
  #beginSource(source: Source): void {
    const { folder, segmentBytes } = this.#task
    const output = this.#output
    const fits =
      output !== undefined &&
      output.bytes + source.bytes <= segmentBytes &&
      source.nextOffset - 1 - output.segment.baseOffset <= RELATIVE_OFFSET_MAX
    if (!fits) {
      this.#endOutput()
      const { baseOffset, createdMs } = source
      this.#output = new SegmentOutput(this.#files, { folder, baseOffset, createdMs, buffer: this.#buffer })
    }
    // The newest of those it is made of: retention counts from it where records have no time.
    if (output !== undefined && fits) output.segment.createdMs = Math.max(output.segment.createdMs, source.createdMs)
    this.#sources++
    this.#sourceBytes += source.bytes
  }

  #rewrite(batch: BatchView): void {
    const output = this.#output!
    const whole = batch.bytes.subarray(batch.at, batch.end)
    if (batch.isControl) {
      this.#rewriteMarker(batch, whole)
      return
    }
    if (batch.isTransactional) this.#unended.add(batch.producerId)
    if (batch.recordsCount === 0) {
      if (isFiller(batch) || !this.#isLastOfProducer(batch)) this.#drop(batch)
      else output.write(whole)
      return
    }
    const outcome = batch.baseOffset >= this.#mappedEnd ? 'unchanged' : this.#filterBatch(batch)
    if (outcome === 'unchanged') {
      output.write(whole)
      return
    }
    this.#isChanged = true
    if (outcome === 'filtered') output.write(this.#filter.bytes)
    else if (this.#isLastOfProducer(batch)) output.write(this.#filter.empty(batch))
    else output.skipTo(batch.nextOffset, batch.leaderEpoch)
  }

  #rewriteMarker(batch: BatchView, whole: Uint8Array): void {
    const output = this.#output!
    const { nowMs, deleteRetentionMs } = this.#task
    const isNeeded = readMarker(batch) === undefined || this.#unended.delete(batch.producerId)
    const isPast = batch.maxTimestamp + deleteRetentionMs <= nowMs
    if (!isNeeded && isPast && batch.nextOffset <= this.#mappedEnd && !this.#isLastOfProducer(batch)) {
      this.#drop(batch)
      return
    }
    output.write(whole)
    const entry = this.#aborted.endedBy(batch.baseOffset)
    if (entry === undefined) return
    output.aborted ??= new AbortedIndex()
    output.aborted.add(entry)
  }

  #filterBatch(batch: BatchView): 'unchanged' | 'emptied' | 'filtered' {
    if (this.#aborted.has(batch)) return 'emptied'
    const { nowMs, deleteRetentionMs } = this.#task
    this.#batchHorizonMs = deleteHorizonMs(batch)
    // A batch that was not compacted past as a whole yet says so the next time.
    const isPast = batch.nextOffset <= this.#mappedEnd
    const horizonMs = isPast ? Math.min(nowMs + deleteRetentionMs, Number.MAX_SAFE_INTEGER) : -1
    return this.#filter.filter(batch, { keeps: this.#keeps, deleteHorizonMs: horizonMs })
  }

  readonly #keeps = (record: Readonly<FilteredRecord>): boolean => {
    if (record.keyBytes < 0) return true
    if (this.#keys.get(record.bytes, record.keyAt, record.keyBytes) > record.offset) return false
    const isExpired =
      record.isTombstone &&
      record.offset < this.#task.cleanEnd &&
      this.#batchHorizonMs >= 0 &&
      this.#batchHorizonMs <= this.#task.nowMs
    return !isExpired
  }

  #drop(batch: BatchView): void {
    const output = this.#output!
    // A filler alone stays as it is: it is news only where it joins another gap.
    const joins = output.skipTo(batch.nextOffset, batch.leaderEpoch)
    if (joins || !isFiller(batch)) this.#isChanged = true
  }

  #isLastOfProducer(batch: BatchView): boolean {
    if (batch.producerId < 0) return false
    if (this.#lastBatches === undefined) return true
    const last = this.#lastBatches.get(batch.producerId)
    return (batch.isControl ? last?.markerOffset : last?.dataOffset) === batch.baseOffset
  }

  #endOutput(): void {
    const output = this.#output
    if (output === undefined) return
    const isNews = this.#isChanged || this.#sources > 1
    if (isNews) {
      this.#endAborted(output)
      output.finish()
      const { baseOffset, nextOffset, bytes, maxTimestampMs, createdMs } = output.segment
      this.#done.push({ baseOffset, nextOffset, bytes, maxTimestampMs, createdMs })
      this.#replacedBytes += this.#sourceBytes
    } else output.discard()
    this.#output = undefined
    this.#sources = 0
    this.#sourceBytes = 0
    this.#isChanged = false
  }

  /** Its aborted index: a segment that ends past the first aborted transaction has one, be it empty. */
  #endAborted(output: SegmentOutput): void {
    const { firstAborted } = this.#task
    const { nextOffset } = output
    if (firstAborted < 0 || nextOffset <= firstAborted) return
    output.aborted ??= new AbortedIndex()
    output.aborted.stableOffset = this.#aborted.stableOffsetAt(nextOffset)
  }

  #discardAll(): void {
    const { folder } = this.#task
    try {
      this.#output?.discard()
      for (const { baseOffset } of this.#done) removeCleaned(this.#files, folder, baseOffset)
    } catch (error) {
      // The first fault is the one to tell; recovery takes away what is left.
      if (!(error instanceof StorageError)) throw error
    }
  }
}
