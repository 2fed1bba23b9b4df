/**
 * StagedBatches: the batches of one turn for one partition, between stage() and writeStaged(): their bytes, which lie
 * elsewhere, and where each will go.
 *
 * Owns     flat arrays that are reused from turn to turn; no object per batch
 * Limits   the shard stages at most so many bytes a turn
 */

const BASE_OFFSET = 0
const NEXT_OFFSET = 1
const FILE_POSITION = 2
const MAX_TIMESTAMP = 3
/** Wall time if the batch begins a segment, else -1. */
const BEGINS_MS = 4
const STRIDE = 5

export class StagedBatches {
  readonly #bytes: Uint8Array[] = []
  readonly #facts: number[] = []
  /** Offset after the last staged batch. */
  endOffset = 0
  /** The segment the next batch goes to, as if all were written: base offset (-1 = none yet), bytes, time of its begin. */
  segmentBase = -1
  segmentBytes = 0
  segmentCreatedMs = 0
  #beginsMs = -1

  get count(): number {
    return this.#bytes.length
  }

  /** Before the first batch: where the log ends now. */
  begin(endOffset: number, segmentBase: number, segmentBytes: number, segmentCreatedMs: number): void {
    this.endOffset = endOffset
    this.segmentBase = segmentBase
    this.segmentBytes = segmentBytes
    this.segmentCreatedMs = segmentCreatedMs
  }

  /** The next batch begins a segment. */
  beginSegment(baseOffset: number, nowMs: number): void {
    this.segmentBase = baseOffset
    this.segmentBytes = 0
    this.segmentCreatedMs = nowMs
    this.#beginsMs = nowMs
  }

  add(bytes: Uint8Array, baseOffset: number, nextOffset: number, maxTimestampMs: number): void {
    this.#bytes.push(bytes)
    this.#facts.push(baseOffset, nextOffset, this.segmentBytes, maxTimestampMs, this.#beginsMs)
    this.#beginsMs = -1
    this.segmentBytes += bytes.length
    this.endOffset = nextOffset
  }

  clear(): void {
    this.#bytes.length = 0
    this.#facts.length = 0
  }

  baseOffset(index: number): number {
    return this.#facts[index * STRIDE + BASE_OFFSET]!
  }

  nextOffset(index: number): number {
    return this.#facts[index * STRIDE + NEXT_OFFSET]!
  }

  filePosition(index: number): number {
    return this.#facts[index * STRIDE + FILE_POSITION]!
  }

  maxTimestampMs(index: number): number {
    return this.#facts[index * STRIDE + MAX_TIMESTAMP]!
  }

  createdMs(index: number): number {
    return this.#facts[index * STRIDE + BEGINS_MS]!
  }

  beginsSegment(index: number): boolean {
    return this.#facts[index * STRIDE + BEGINS_MS]! >= 0
  }

  batchBytes(index: number): number {
    return this.#bytes[index]!.length
  }

  /** End of the run of batches from `from` on that go to one segment. */
  runEnd(from: number): number {
    let index = from + 1
    while (index < this.count && !this.beginsSegment(index)) index++
    return index
  }

  runBytes(from: number, to: number): number {
    return this.filePosition(to - 1) + this.batchBytes(to - 1) - this.filePosition(from)
  }

  buffers(from: number, to: number): readonly Uint8Array[] {
    return from === 0 && to === this.count ? this.#bytes : this.#bytes.slice(from, to)
  }
}
