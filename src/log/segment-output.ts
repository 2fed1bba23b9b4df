/**
 * SegmentOutput: the segment a compaction writes: batches in, a synced file with its indexes out, under temporary names.
 *
 * Owns        one file, one buffer of OUTPUT_BYTES, the indexes of what was written, and the offsets that no batch holds any more: they
 *             become filler batches as soon as one follows
 * Invariants  SO1 the batches written are without a gap from the first offset to the last; a filler stands under one leader epoch
 * Ordering    write* -> finish (fsync of the log and of its aborted index, then the other index files) -> the folder's sync is the caller's
 * Failure     StorageError; discard() takes away what is there
 */
import { assert } from '../base/assert.ts'
import type { Fd, FileSystem } from '../io/file-system.ts'
import { BatchView } from '../record/batch-view.ts'
import { FILLER_OFFSETS_MAX, writeFiller } from '../record/filler-batch.ts'
import { type AbortedIndex, writeAbortedIndex } from './aborted-index.ts'
import { writeWholeFile } from './checked-file.ts'
import { writeFully } from './durable-file.ts'
import { SegmentIndexes } from './index-cache.ts'
import { INDEX_INTERVAL_BYTES } from './offset-index.ts'
import { Segment } from './segment.ts'
import { cleanedFileName, removeCleaned } from './segment-swap.ts'

const OUTPUT_BYTES = 256 * 1024

export class SegmentOutput {
  readonly segment: Segment
  /** Aborted transactions whose markers were written: undefined where none is to be told of. */
  aborted: AbortedIndex | undefined
  readonly #files: FileSystem
  readonly #folder: string
  #fd: Fd
  readonly #batch = new BatchView()
  readonly #buffer: Uint8Array
  #filled = 0
  /** Of the file, before what lies in the buffer. */
  #filePosition = 0
  #nextOffset: number
  #gapEnd = -1
  #gapEpoch = -1

  constructor(
    files: FileSystem,
    options: {
      readonly folder: string
      readonly baseOffset: number
      readonly createdMs: number
      readonly buffer: Uint8Array
    },
  ) {
    const { folder, baseOffset, createdMs, buffer } = options
    this.#files = files
    this.#folder = folder
    this.#buffer = buffer
    this.#nextOffset = baseOffset
    this.segment = new Segment({ baseOffset, key: 0, createdMs })
    this.segment.indexes = new SegmentIndexes()
    this.#fd = files.open(`${folder}/${cleanedFileName(baseOffset, '.log')}`, 'create')
    try {
      files.truncate(this.#fd, 0)
    } catch (error) {
      this.discard()
      throw error
    }
  }

  /** A buffer to hand in, for one output after the other. */
  static newBuffer(): Uint8Array {
    return new Uint8Array(OUTPUT_BYTES)
  }

  get nextOffset(): number {
    return this.#gapEnd < 0 ? this.#nextOffset : this.#gapEnd
  }

  /** Bytes as it would be if it ended here, fillers to come left out. */
  get bytes(): number {
    return this.segment.bytes
  }

  /** Appends a whole batch; its bytes are copied. */
  write(bytes: Uint8Array): void {
    this.#fillGap()
    this.#append(bytes)
  }

  /** No batch holds the offsets up to `nextOffset` any more. True: one filler stands for them and for those before. */
  skipTo(nextOffset: number, leaderEpoch: number): boolean {
    const joins =
      this.#gapEnd >= 0 && this.#gapEpoch === leaderEpoch && nextOffset - this.#nextOffset <= FILLER_OFFSETS_MAX
    if (!joins) this.#fillGap()
    assert(nextOffset > this.nextOffset, 'a gap ends past where it begins')
    this.#gapEnd = nextOffset
    this.#gapEpoch = leaderEpoch
    return joins
  }

  /** All is written: syncs the log and writes its indexes. */
  finish(): void {
    this.#fillGap()
    this.#flush()
    this.#files.fsync(this.#fd)
    this.#close()
    const { segment, aborted } = this
    if (aborted !== undefined) this.#writeAborted(segment, aborted)
    if (segment.bytes > INDEX_INTERVAL_BYTES) this.#writeIndexes(segment, segment.indexes!)
  }

  /** It is not wanted: takes its files away. */
  discard(): void {
    this.#close()
    removeCleaned(this.#files, this.#folder, this.segment.baseOffset)
  }

  #close(): void {
    if (this.#fd === -1) return
    const fd = this.#fd
    this.#fd = -1
    this.#files.close(fd)
  }

  /** Synced, as nothing says later that it is to be made again. */
  #writeAborted(segment: Segment, aborted: AbortedIndex): void {
    const path = `${this.#folder}/${cleanedFileName(segment.baseOffset, '.txnindex')}`
    const fd = writeAbortedIndex(this.#files, path, aborted, segment)
    try {
      this.#files.fsync(fd)
    } finally {
      this.#files.close(fd)
    }
  }

  #writeIndexes(segment: Segment, indexes: SegmentIndexes): void {
    const { baseOffset, bytes, createdMs, maxTimestampMs } = segment
    const meta = { baseOffset, coveredBytes: bytes }
    const index = indexes.offsets.encode({ ...meta, createdMs })
    const times = indexes.times.encode({ ...meta, maxTimestampMs })
    for (const [suffix, image] of [['.index', index] as const, ['.timeindex', times] as const])
      this.#files.close(writeWholeFile(this.#files, `${this.#folder}/${cleanedFileName(baseOffset, suffix)}`, image))
  }

  #fillGap(): void {
    if (this.#gapEnd < 0) return
    const end = this.#gapEnd
    this.#gapEnd = -1
    this.#append(writeFiller({ baseOffset: this.#nextOffset, nextOffset: end, leaderEpoch: this.#gapEpoch }))
  }

  #append(bytes: Uint8Array): void {
    const batch = this.#batch.reset(bytes)
    assert(batch.baseOffset === this.#nextOffset, `offset ${batch.baseOffset} is written at ${this.#nextOffset}`)
    if (this.#filled + bytes.length > this.#buffer.length) this.#flush()
    if (bytes.length > this.#buffer.length) {
      writeFully(this.#files, this.#fd, [bytes], this.#filePosition)
      this.#filePosition += bytes.length
    } else {
      this.#buffer.set(bytes, this.#filled)
      this.#filled += bytes.length
    }
    const { baseOffset, nextOffset, maxTimestamp: maxTimestampMs } = batch
    this.segment.note({ baseOffset, nextOffset, batchBytes: bytes.length, maxTimestampMs })
    this.#nextOffset = nextOffset
  }

  #flush(): void {
    if (this.#filled === 0) return
    writeFully(this.#files, this.#fd, [this.#buffer.subarray(0, this.#filled)], this.#filePosition)
    this.#filePosition += this.#filled
    this.#filled = 0
  }
}
