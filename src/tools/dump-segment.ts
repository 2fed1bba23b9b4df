/**
 * dumpSegment: what lies in a segment file, as JSON lines: `millrace dump SEGMENT`; a `.txnindex` too (`"aborted-index"`, `"aborted"`).
 *
 * One line a batch (`"type":"batch"`), then its records (`"record"`) or marker (`"marker"`); damage is a line of its own (`"damage"`)
 * that says where and what, and where the next sound batch was found; an end that nothing follows is a `"tail"`,
 * unless it is a whole batch by its own length: that is damage too.
 * Keys, values and header values are text, or {"base64": …} when they are not UTF-8.
 *
 * Thread   a process of its own; reads the file once, never writes
 * Limits   holds WINDOW_BYTES of the file, or one batch if that is larger; looks for the next sound batch through the whole rest
 * Failure  StorageError of the file system (no such file, unreadable); damage is output, and counted in the summary
 */
import { assert } from '../base/assert.ts'
import { utf8DecodeStrict } from '../base/bytes.ts'
import { type Fd, type FileSystem, StorageError } from '../io/file-system.ts'
import { AbortedIndex } from '../log/aborted-index.ts'
import { readWholeFile } from '../log/checked-file.ts'
import { isMillraceError } from '../model/errors.ts'
import { BATCH_BYTES_MAX } from '../model/limits.ts'
import { BATCH_HEADER_BYTES, BATCH_PREFIX_BYTES, batchBytesAt, MAGIC, MAGIC_AT } from '../record/batch-layout.ts'
import { BatchReader } from '../record/batch-reader.ts'
import { type BatchFault, type BatchLimits, checkBatch } from '../record/batch-validator.ts'
import { BatchView } from '../record/batch-view.ts'
import { type Codecs, codecNameOf } from '../record/compression.ts'
import { readMarker } from '../record/control-batch.ts'

export interface DumpOptions {
  readonly files: FileSystem
  readonly path: string
  readonly codecs: Codecs
  /** Given one line of JSON at a time, without its line end. */
  readonly write: (line: string) => void
  /** Leave out the records: one line a batch. */
  readonly batchesOnly?: boolean
}

export interface DumpSummary {
  readonly batches: number
  readonly records: number
  /** Places that are damaged; 0 = the file is sound. */
  readonly damages: number
  /** Bytes at the end that are no whole batch and have none behind them: what recovery would cut. */
  readonly tailBytes: number
}

const LIMITS: BatchLimits = { batchBytesMax: BATCH_BYTES_MAX, origin: 'log' }
const WINDOW_BYTES = 2 * BATCH_BYTES_MAX

/** Writes the lines of the segment at `path`. */
export function dumpSegment(options: DumpOptions): DumpSummary {
  if (options.path.endsWith('.txnindex')) return dumpAbortedIndex(options)
  const fd = options.files.open(options.path, 'read')
  try {
    return new SegmentDump(options, fd).run()
  } finally {
    options.files.close(fd)
  }
}

/** One line for the file, one for each aborted transaction whose marker lies in its segment. */
function dumpAbortedIndex({ files, path, write }: DumpOptions): DumpSummary {
  const bytes = readWholeFile(files, path)
  if (bytes === undefined) throw new StorageError('ENOENT', `${path} does not exist`)
  const answer = AbortedIndex.decode(bytes)
  const summary = { batches: 0, records: 0, damages: 0, tailBytes: 0 }
  if (answer.kind !== 'present') {
    const text = answer.kind === 'unreadable' ? answer.reason : 'it is empty'
    write(JSON.stringify({ type: 'damage', filePosition: 0, code: 'ECORRUPT', text }))
    return { ...summary, damages: 1 }
  }
  const { index, meta } = answer.value
  write(JSON.stringify({ type: 'aborted-index', ...meta, stableOffset: index.stableOffset, count: index.count }))
  for (const entry of index.entries) write(JSON.stringify({ type: 'aborted', ...entry }))
  return summary
}

class SegmentDump {
  readonly #options: DumpOptions
  readonly #fd: Fd
  readonly #fileBytes: number
  readonly #window: Uint8Array
  readonly #view = new BatchView()
  readonly #reader: BatchReader
  #windowFrom = 0
  #windowBytes = 0
  #offsetMin: number
  #leaderEpochMin = -1
  #batches = 0
  #records = 0
  #damages = 0

  constructor(options: DumpOptions, fd: Fd) {
    this.#options = options
    this.#fd = fd
    this.#fileBytes = options.files.sizeOf(fd)
    this.#window = new Uint8Array(Math.min(WINDOW_BYTES, this.#fileBytes))
    this.#reader = new BatchReader({ codecs: options.codecs, checkCrc: false })
    this.#offsetMin = baseOffsetOfName(options.path)
  }

  run(): DumpSummary {
    let at = 0
    while (at < this.#fileBytes) {
      const fault = this.#faultAt(at)
      if (fault === undefined) {
        at += this.#dumpBatch(at)
        continue
      }
      const next = this.#findBatch(at + 1)
      if (next === undefined && this.#isWhole(at)) {
        this.#damages++
        this.#line({ type: 'damage', filePosition: at, ...fault, nextBatchAt: null, bytes: this.#fileBytes - at })
        at = this.#fileBytes
        break
      }
      if (next === undefined) {
        this.#dumpTail(at, fault)
        break
      }
      this.#damages++
      this.#line({ type: 'damage', filePosition: at, ...fault, nextBatchAt: next, bytes: next - at })
      at = next
    }
    const tailBytes = this.#fileBytes - at
    return { batches: this.#batches, records: this.#records, damages: this.#damages, tailBytes }
  }

  /** What is wrong with the batch at a place of the file, also with its place among the others. */
  #faultAt(at: number): BatchFault | undefined {
    const bytes = this.#load(at)
    const fault = checkBatch(bytes, 0, bytes.length, LIMITS)
    if (fault !== undefined) return fault
    const { baseOffset, leaderEpoch } = this.#view.reset(bytes)
    if (baseOffset < this.#offsetMin)
      return {
        code: 'CORRUPT_MESSAGE',
        text: `the batch has base offset ${baseOffset}; ${this.#offsetMin} or more was due`,
      }
    if (leaderEpoch < this.#leaderEpochMin)
      return {
        code: 'CORRUPT_MESSAGE',
        text: `the batch has leader epoch ${leaderEpoch}, after one with ${this.#leaderEpochMin}`,
      }
    return undefined
  }

  /** First place from `from` on where a sound batch begins. */
  #findBatch(from: number): number | undefined {
    for (let at = from; at + BATCH_HEADER_BYTES <= this.#fileBytes; at++) {
      const bytes = this.#load(at, BATCH_HEADER_BYTES)
      if (bytes[MAGIC_AT] !== MAGIC) continue
      const total = batchBytesAt(bytes, 0, BATCH_PREFIX_BYTES)
      if (total < 0 || total > Math.min(BATCH_BYTES_MAX, this.#fileBytes - at)) continue
      if (this.#faultAt(at) === undefined) return at
    }
    return undefined
  }

  /** Writes the lines of the sound batch at `at`; answers its bytes. */
  #dumpBatch(at: number): number {
    const bytes = this.#load(at)
    const batch = this.#view.reset(bytes)
    const sizeInBytes = batch.sizeInBytes
    this.#batches++
    this.#offsetMin = batch.nextOffset
    this.#leaderEpochMin = batch.leaderEpoch
    this.#line({
      type: 'batch',
      filePosition: at,
      bytes: sizeInBytes,
      baseOffset: batch.baseOffset,
      lastOffset: batch.lastOffset,
      recordsCount: batch.recordsCount,
      leaderEpoch: batch.leaderEpoch,
      codec: codecNameOf(batch.codec),
      timestampType: batch.timestampType,
      baseTimestamp: batch.baseTimestamp,
      maxTimestamp: batch.maxTimestamp,
      producerId: batch.producerId,
      producerEpoch: batch.producerEpoch,
      baseSequence: batch.baseSequence,
      isTransactional: batch.isTransactional,
      isControl: batch.isControl,
      crc: `0x${batch.crc.toString(16).padStart(8, '0')}`,
    })
    if (this.#options.batchesOnly === true) this.#records += batch.recordsCount
    else if (batch.isControl) this.#dumpMarker(batch)
    else this.#dumpRecords(bytes.subarray(0, sizeInBytes), at)
    return sizeInBytes
  }

  #dumpMarker(batch: BatchView): void {
    const marker = readMarker(batch)
    this.#records++
    this.#line({
      type: 'marker',
      offset: batch.baseOffset,
      timestampMs: batch.baseTimestamp,
      marker: marker?.type ?? 'unknown',
      coordinatorEpoch: marker?.coordinatorEpoch ?? null,
    })
  }

  #dumpRecords(bytes: Uint8Array, at: number): void {
    const reader = this.#reader.reset(bytes)
    try {
      while (reader.next()) {
        this.#records++
        this.#line({
          type: 'record',
          offset: reader.offset,
          timestampMs: reader.timestampMs,
          key: jsonOf(reader.key),
          value: jsonOf(reader.value),
          headers: reader.headers.map((header) => ({ key: header.key, value: jsonOf(header.value) })),
        })
      }
    } catch (error) {
      // The checksum is right and the packed records are not: the producer wrote them so.
      if (!isMillraceError(error)) throw error
      this.#damages++
      this.#line({ type: 'damage', filePosition: at, code: error.code, text: error.message })
    }
  }

  #dumpTail(at: number, fault: BatchFault): void {
    const bytes = this.#fileBytes - at
    // Fewer zeros than a prefix may be the beginning of a batch: its base offset.
    if (bytes >= BATCH_PREFIX_BYTES && this.#isZero(at))
      this.#line({ type: 'tail', filePosition: at, bytes, text: 'zeros to the end: never written' })
    else this.#line({ type: 'tail', filePosition: at, bytes, ...fault })
  }

  /** A batch of the current format, all of whose declared bytes are there: what is wrong with it is no torn write's work. */
  #isWhole(at: number): boolean {
    const bytes = this.#load(at, BATCH_HEADER_BYTES)
    if (bytes.length < BATCH_HEADER_BYTES || bytes[MAGIC_AT] !== MAGIC) return false
    const total = batchBytesAt(bytes, 0, BATCH_PREFIX_BYTES)
    return total >= BATCH_HEADER_BYTES && total <= this.#fileBytes - at
  }

  #isZero(from: number): boolean {
    for (let at = from; at < this.#fileBytes; ) {
      const bytes = this.#load(at)
      for (let index = 0; index < bytes.length; index++) if (bytes[index] !== 0) return false
      at += bytes.length
    }
    return true
  }

  /** The bytes from `at` on: to the end of the file, or at least `bytes` of them. A view of the window, valid until the next call. */
  #load(at: number, bytes = BATCH_BYTES_MAX): Uint8Array {
    const wanted = Math.min(bytes, this.#fileBytes - at)
    const windowEnd = this.#windowFrom + this.#windowBytes
    if (at < this.#windowFrom || at + wanted > windowEnd) {
      this.#windowFrom = at
      this.#windowBytes = 0
      const end = Math.min(this.#window.length, this.#fileBytes - at)
      while (this.#windowBytes < end) {
        const rest = this.#window.subarray(this.#windowBytes, end)
        const count = this.#options.files.read(this.#fd, rest, at + this.#windowBytes)
        if (count === 0) break
        this.#windowBytes += count
      }
    }
    const loaded = this.#window.subarray(at - this.#windowFrom, this.#windowBytes)
    assert(loaded.length > 0, 'the segment file became shorter while it was read')
    return loaded
  }

  #line(entry: Readonly<Record<string, unknown>>): void {
    this.#options.write(JSON.stringify(entry))
  }
}

/** A segment is named after the first offset it may hold; 0 for any other name. */
function baseOffsetOfName(path: string): number {
  const match = /(?:^|[\\/])(\d{20})\.log$/.exec(path)
  return match === null ? 0 : Number(match[1])
}

function jsonOf(bytes: Uint8Array | null): string | { base64: string } | null {
  if (bytes === null) return null
  return utf8DecodeStrict(bytes) ?? { base64: Buffer.from(bytes).toString('base64') }
}
