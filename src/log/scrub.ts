/**
 * Scrubber: goes over the closed segments of a shard in small pieces, for ever, and compares every batch with its checksum:
 * cold data that rots is found before somebody needs it.
 *
 * Owns        which segment is looked at, how far; a buffer of one piece
 * Thread      the shard's loop, which may not read cold data: nextRead() says what to read, the disk thread reads,
 *             onRead() takes the bytes; each call is bounded by one piece
 * Invariants  at most one read is under way; every closed segment that lives for a period is looked at once in it
 * Limits      pieceBytes a read; bytes a second follow from what there is and SCRUB_PERIOD_MS
 * Failure     a finding names segment, position and offsets; the shard reports it (notice) and, if replicas exist, fetches again.
 *             A segment that goes meanwhile (retention) is skipped: the reader answers fewer bytes
 */
import { BATCH_HEADER_BYTES, batchBytesAt, MAGIC } from '../record/batch-layout.ts'
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
  /** Anything the shard needs to find descriptor and partition again. */
  readonly key: number
  readonly baseOffset: number
  readonly nextOffset: number
  readonly bytes: number
}

export interface ScrubRead {
  readonly segment: ScrubSegment
  readonly filePosition: number
  readonly bytes: number
}

export interface ScrubFinding {
  readonly segment: ScrubSegment
  readonly filePosition: number
  /** First offset that cannot be trusted. */
  readonly fromOffset: number
  readonly text: string
}

export class Scrubber {
  readonly #segments: () => readonly ScrubSegment[]
  readonly #pieceBytes: number
  readonly #periodMs: number
  readonly #batch = new BatchView()
  #round: readonly ScrubSegment[] = []
  #index = 0
  #filePosition = 0
  #offset = 0
  #readBytes: number
  #dueMs = 0
  #gapMs = READ_GAP_MS_MAX
  #roundStartMs = 0
  #isReading = false
  readonly counts = { rounds: 0, segments: 0, bytes: 0, findings: 0 }

  constructor(options: {
    /** The closed segments of now: asked when a round begins. */
    readonly segments: () => readonly ScrubSegment[]
    readonly pieceBytes?: number
    readonly periodMs?: number
  }) {
    this.#segments = options.segments
    this.#pieceBytes = options.pieceBytes ?? SCRUB_PIECE_BYTES
    this.#periodMs = options.periodMs ?? SCRUB_PERIOD_MS
    this.#readBytes = this.#pieceBytes
  }

  /** Monotonic time of the next read. */
  get dueMs(): number {
    return this.#dueMs
  }

  /** What to read now; undefined: nothing is due, or a read is under way. */
  nextRead(nowMs: number): ScrubRead | undefined {
    if (this.#isReading || nowMs < this.#dueMs) return undefined
    if (this.#index >= this.#round.length && !this.#beginRound(nowMs)) return undefined
    const segment = this.#round[this.#index]!
    if (this.#filePosition === 0) this.#offset = segment.baseOffset
    this.#isReading = true
    const bytes = Math.min(this.#readBytes, segment.bytes - this.#filePosition)
    return { segment, filePosition: this.#filePosition, bytes }
  }

  /** Takes the bytes of the last nextRead(); fewer than asked: the segment is gone, or shorter than it was. */
  onRead(bytes: Uint8Array, nowMs: number): ScrubFinding | undefined {
    this.#isReading = false
    this.#dueMs = nowMs + this.#gapMs
    const segment = this.#round[this.#index]!
    const wanted = Math.min(this.#readBytes, segment.bytes - this.#filePosition)
    if (bytes.length < wanted) {
      this.#nextSegment()
      return undefined
    }
    this.counts.bytes += bytes.length
    return this.#look(segment, bytes)
  }

  /** The last read could not be made (the segment is gone): skips it. */
  onUnreadable(nowMs: number): void {
    this.#isReading = false
    this.#dueMs = nowMs + this.#gapMs
    this.#nextSegment()
  }

  #beginRound(nowMs: number): boolean {
    const isFirst = this.#round.length === 0 && this.counts.rounds === 0
    // A round that ended early waits for its period to end.
    const earliest = this.#roundStartMs + this.#periodMs
    if (!isFirst && nowMs < earliest) {
      this.#dueMs = Math.min(earliest, nowMs + READ_GAP_MS_MAX)
      return false
    }
    this.#round = this.#segments().filter((segment) => segment.bytes > 0)
    this.#index = 0
    this.#filePosition = 0
    this.#roundStartMs = nowMs
    this.counts.rounds++
    let pieces = 0
    for (const segment of this.#round) pieces += Math.ceil(segment.bytes / this.#pieceBytes)
    this.#gapMs = Math.min(READ_GAP_MS_MAX, Math.max(READ_GAP_MS_MIN, this.#periodMs / Math.max(1, pieces)))
    if (pieces === 0) this.#dueMs = nowMs + READ_GAP_MS_MAX
    return pieces > 0
  }

  #look(segment: ScrubSegment, bytes: Uint8Array): ScrubFinding | undefined {
    let at = 0
    while (at < bytes.length) {
      const fault = this.#faultAt(segment, bytes, at)
      if (fault === 'more') break
      if (fault !== undefined) {
        const finding = { segment, filePosition: this.#filePosition + at, fromOffset: this.#offset, text: fault }
        this.counts.findings++
        this.#nextSegment()
        return finding
      }
      this.#offset = this.#batch.nextOffset
      at = this.#batch.end
    }
    this.#filePosition += at
    // A batch larger than a piece: read it whole next.
    this.#readBytes = at === 0 ? Math.min(this.#readBytes * 2, WALK_BATCH_BYTES_MAX) : this.#pieceBytes
    if (this.#filePosition >= segment.bytes) this.#nextSegment()
    return undefined
  }

  /** 'more': the batch goes on behind the piece. */
  #faultAt(segment: ScrubSegment, bytes: Uint8Array, at: number): string | 'more' | undefined {
    const leftInFile = segment.bytes - this.#filePosition - at
    if (bytes.length - at < BATCH_HEADER_BYTES)
      return leftInFile > bytes.length - at ? 'more' : 'the segment ends within the header of a batch'
    const batchBytes = batchBytesAt(bytes, at, bytes.length)
    if (batchBytes < 0 || batchBytes > WALK_BATCH_BYTES_MAX) return 'the length of the batch is not sane'
    if (batchBytes > leftInFile) return `the batch says it has ${batchBytes} bytes, ${leftInFile} are left`
    if (at + batchBytes > bytes.length) return 'more'
    const batch = this.#batch.reset(bytes, at)
    if (batch.magic !== MAGIC) return `the magic of the batch is ${batch.magic}, not ${MAGIC}`
    if (batch.computeCrc() !== batch.crc) return 'the checksum of the batch does not fit'
    if (!(batch.baseOffset >= this.#offset && batch.nextOffset <= segment.nextOffset))
      return `the batch begins at offset ${batch.baseOffset}, ${this.#offset} or more was due, below ${segment.nextOffset}`
    return undefined
  }

  #nextSegment(): void {
    this.#index++
    this.#filePosition = 0
    this.#readBytes = this.#pieceBytes
    this.counts.segments++
  }
}
