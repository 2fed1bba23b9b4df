/**
 * Scrubber: goes over the closed segments of a shard in small pieces, for ever, and compares every batch with its checksum:
 * cold data that rots is found before somebody needs it.
 *
 * Owns        which segment is looked at, how far; the header of the batch under way and its checksum so far, no bytes besides
 * Thread      the shard's loop, which may not read cold data: nextRead() says what to read, the disk thread reads,
 *             onRead() takes the bytes; each call is bounded by one piece
 * Invariants  S1 at most one read is under way                             checked in: onRead(), skip()
 *             S2 a round reads every byte of its segments once: a batch may lie in any number of pieces
 *             S3 no round begins before the period of the one before is over: a segment that was closed during a round is read
 *                in the next one, at most two periods after it was closed
 * Limits      pieceBytes a read, READ_GAP_MS_MIN / 2 apart at least; the pace follows from what there is and periodMs
 * Failure     a finding names segment, position and offset, and ends the look into its segment. Whoever reads tells a segment
 *             that went meanwhile (retention) from one that is shorter than it was: skip(), or onRead() with what there is
 */
import { assert } from '../base/assert.ts'
import { crc32c } from '../base/crc32c.ts'
import { BATCH_HEADER_BYTES, batchBytesAt, CRC_FROM, MAGIC } from '../record/batch-layout.ts'
import { BatchView } from '../record/batch-view.ts'
import { WALK_BATCH_BYTES_MAX } from './batch-walk.ts'

/** Every closed byte is read once in this time: a week. */
export const SCRUB_PERIOD_MS = 7 * 86_400_000
export const SCRUB_PIECE_BYTES = 256 * 1024
/** Even an enormous log is read no faster, an empty one asked no more often. */
const READ_GAP_MS_MIN = 5
const READ_GAP_MS_MAX = 60_000

/** A closed segment, as the shard lists them when a round begins. */
export interface ScrubSegment {
  /** Names this generation of the segment: another one after its bytes may have changed. */
  readonly key: number
  readonly baseOffset: number
  readonly nextOffset: number
  readonly bytes: number
}

export interface ScrubRead<S extends ScrubSegment = ScrubSegment> {
  readonly segment: S
  readonly filePosition: number
  readonly bytes: number
}

export interface ScrubFinding<S extends ScrubSegment = ScrubSegment> {
  readonly segment: S
  /** Where the batch begins that is not what was written. */
  readonly filePosition: number
  /** First offset that cannot be trusted. */
  readonly fromOffset: number
  readonly text: string
}

export interface ScrubberOptions<S extends ScrubSegment> {
  /** The closed segments of now: asked when a round begins. */
  readonly segments: () => readonly S[]
  readonly pieceBytes?: number
  readonly periodMs?: number
}

export class Scrubber<S extends ScrubSegment = ScrubSegment> {
  readonly #segments: () => readonly S[]
  readonly #pieceBytes: number
  readonly #periodMs: number
  #round: readonly S[] = []
  #index = 0
  #filePosition = 0
  #isReading = false
  #dueMs = Number.NEGATIVE_INFINITY
  #gapMs = READ_GAP_MS_MAX
  #roundEndMs = Number.NEGATIVE_INFINITY

  // The batch under way: it goes on from piece to piece.
  readonly #header = new Uint8Array(BATCH_HEADER_BYTES)
  readonly #batch = new BatchView()
  #headerBytes = 0
  #batchPosition = 0
  #batchBytes = 0
  #batchLeft = 0
  #crc = 0
  /** What the next batch must begin with. */
  #offset = 0
  readonly counts = { rounds: 0, segments: 0, bytes: 0, findings: 0 }

  constructor(options: ScrubberOptions<S>) {
    this.#segments = options.segments
    this.#pieceBytes = options.pieceBytes ?? SCRUB_PIECE_BYTES
    this.#periodMs = options.periodMs ?? SCRUB_PERIOD_MS
  }

  /** Monotonic time of the next read; none while one is under way. */
  get dueMs(): number {
    return this.#isReading ? Number.POSITIVE_INFINITY : this.#dueMs
  }

  /** What to read now; undefined: nothing is due, or a read is under way. The answer belongs to onRead() or skip(). */
  nextRead(nowMs: number): ScrubRead<S> | undefined {
    if (nowMs < this.dueMs) return undefined
    if (this.#index >= this.#round.length && !this.#beginRound(nowMs)) return undefined
    const segment = this.#round[this.#index]!
    if (this.#filePosition === 0) this.#offset = segment.baseOffset
    this.#isReading = true
    return { segment, filePosition: this.#filePosition, bytes: this.#pieceOf(segment) }
  }

  /** Takes the bytes of the last nextRead(); fewer than asked: the segment is shorter than it was. */
  onRead(bytes: Uint8Array, nowMs: number): ScrubFinding<S> | undefined {
    const segment = this.#endRead(nowMs)
    this.counts.bytes += bytes.length
    const isShort = bytes.length < this.#pieceOf(segment)
    let fault = this.#look(segment, bytes)
    this.#filePosition += bytes.length
    const isEnd = this.#filePosition >= segment.bytes
    if (isShort) fault ??= `the file ends at ${this.#filePosition}, not at ${segment.bytes}`
    if (isEnd) fault ??= this.#endFault(segment)
    const finding =
      fault === undefined
        ? undefined
        : { segment, filePosition: this.#batchPosition, fromOffset: this.#offset, text: fault }
    if (finding !== undefined) this.counts.findings++
    if (finding !== undefined || isEnd) this.#nextSegment()
    return finding
  }

  /** The device failed: a finding, too. */
  onReadFailed(code: string, nowMs: number): ScrubFinding<S> {
    const segment = this.#endRead(nowMs)
    const { filePosition, fromOffset } = { filePosition: this.#filePosition, fromOffset: this.#offset }
    this.counts.findings++
    this.#nextSegment()
    return { segment, filePosition, fromOffset, text: `a read failed: ${code}` }
  }

  /** What nextRead() named is not there any more, or no longer looked after: goes on with the next segment. */
  skip(nowMs: number): void {
    this.#endRead(nowMs)
    this.#nextSegment()
  }

  /** The read could not be made now: nextRead() answers the same again at `retryMs`. */
  putOff(retryMs: number): void {
    this.#endRead(retryMs)
    this.#dueMs = retryMs
  }

  #pieceOf(segment: S): number {
    return Math.min(this.#pieceBytes, segment.bytes - this.#filePosition)
  }

  #endRead(nowMs: number): S {
    assert(this.#isReading, 'no read of the scrubber is under way')
    this.#isReading = false
    // A read that came late is made up for, at twice the pace at most.
    this.#dueMs = Math.max(this.#dueMs + this.#gapMs, nowMs + Math.floor(this.#gapMs / 2))
    return this.#round[this.#index]!
  }

  #beginRound(nowMs: number): boolean {
    const idleMs = Math.min(READ_GAP_MS_MAX, this.#periodMs)
    // A round that ended early waits for its period to end.
    if (nowMs < this.#roundEndMs) {
      this.#dueMs = Math.min(this.#roundEndMs, nowMs + idleMs)
      return false
    }
    this.#round = this.#segments().filter((segment) => segment.bytes > 0)
    this.#index = 0
    let pieces = 0
    for (const segment of this.#round) pieces += Math.ceil(segment.bytes / this.#pieceBytes)
    if (pieces === 0) {
      this.#dueMs = nowMs + idleMs
      return false
    }
    this.counts.rounds++
    this.#roundEndMs = nowMs + this.#periodMs
    this.#dueMs = nowMs
    this.#gapMs = Math.min(READ_GAP_MS_MAX, Math.max(READ_GAP_MS_MIN, Math.floor(this.#periodMs / pieces)))
    return true
  }

  /** Goes on with the batches of a piece; what is wrong with the first bad one. */
  #look(segment: S, bytes: Uint8Array): string | undefined {
    for (let at = 0; at < bytes.length; ) {
      if (this.#batchLeft === 0) {
        at += this.#takeHeader(bytes, at)
        if (this.#headerBytes < BATCH_HEADER_BYTES) return undefined
        const fault = this.#headerFault(segment)
        if (fault !== undefined) return fault
      } else {
        const count = Math.min(this.#batchLeft, bytes.length - at)
        this.#crc = crc32c(bytes.subarray(at, at + count), this.#crc)
        this.#batchLeft -= count
        at += count
      }
      if (this.#batchLeft > 0) continue
      if (this.#crc !== this.#batch.crc) return 'the checksum of the batch does not fit'
      this.#offset = this.#batch.nextOffset
      this.#batchPosition += this.#batchBytes
      this.#headerBytes = 0
    }
    return undefined
  }

  #takeHeader(bytes: Uint8Array, at: number): number {
    const count = Math.min(BATCH_HEADER_BYTES - this.#headerBytes, bytes.length - at)
    this.#header.set(bytes.subarray(at, at + count), this.#headerBytes)
    this.#headerBytes += count
    return count
  }

  #headerFault(segment: S): string | undefined {
    const header = this.#header
    const batchBytes = batchBytesAt(header, 0, header.length)
    if (batchBytes < 0 || batchBytes > WALK_BATCH_BYTES_MAX) return 'the length of the batch is not sane'
    const leftInFile = segment.bytes - this.#batchPosition
    if (batchBytes > leftInFile) return `the batch says it has ${batchBytes} bytes, ${leftInFile} are left`
    const batch = this.#batch.reset(header, 0)
    if (batch.magic !== MAGIC) return `the magic of the batch is ${batch.magic}, not ${MAGIC}`
    if (batch.baseOffset !== this.#offset)
      return `the batch begins with offset ${batch.baseOffset}, not ${this.#offset}`
    if (!(batch.nextOffset > batch.baseOffset && batch.nextOffset <= segment.nextOffset))
      return `the batch ends before offset ${batch.nextOffset}, the segment before ${segment.nextOffset}`
    this.#batchBytes = batchBytes
    this.#batchLeft = batchBytes - BATCH_HEADER_BYTES
    this.#crc = crc32c(header.subarray(CRC_FROM))
    return undefined
  }

  #endFault(segment: S): string | undefined {
    if (this.#headerBytes > 0) return 'the segment ends within a batch'
    return this.#offset === segment.nextOffset
      ? undefined
      : `the last batch ends before offset ${this.#offset}, the segment before ${segment.nextOffset}`
  }

  #nextSegment(): void {
    this.#index++
    this.#filePosition = 0
    this.#batchPosition = 0
    this.#headerBytes = 0
    this.#batchLeft = 0
    this.counts.segments++
  }
}
