/**
 * RecentBatches: where the last batches of a partition begin, exactly: readers at the tail and the high watermark need no
 * look at the file.
 *
 * Owns        a ring of (base offset, file position), nothing until the first batch; grows with use, given back when idle.
 *             A position counts in the segment that holds the offset, so a roll changes nothing here
 * Limits      RECENT_BATCHES_MAX (192 KiB, only for a partition that takes thousands of batches between two syncs)
 */

export const RECENT_BATCHES_MAX = 16_384
const RECENT_BATCHES_FIRST = 32

export class RecentBatches {
  #baseOffsets = new Float64Array(0)
  #filePositions = new Uint32Array(0)
  /** Batches noted so far less those truncated; index = number & mask. */
  #end = 0
  #count = 0

  note(baseOffset: number, filePosition: number): void {
    const length = this.#baseOffsets.length
    if (this.#count === length && length < RECENT_BATCHES_MAX) this.#grow()
    const mask = this.#baseOffsets.length - 1
    this.#baseOffsets[this.#end & mask] = baseOffset
    this.#filePositions[this.#end & mask] = filePosition
    this.#end = (this.#end + 1) & 0x3fff_ffff
    if (this.#count <= mask) this.#count++
  }

  /** File position of the batch that holds `offset` (which is below the log end); -1 = it is older than what is kept. */
  filePositionOf(offset: number): number {
    if (this.#count === 0) return -1
    const mask = this.#baseOffsets.length - 1
    const first = this.#end - this.#count
    let low = 0
    let high = this.#count
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#baseOffsets[(first + middle) & mask]! <= offset) low = middle + 1
      else high = middle
    }
    return low === 0 ? -1 : this.#filePositions[(first + low - 1) & mask]!
  }

  /** Forgets batches that begin at or past `offset`. */
  truncateTo(offset: number): void {
    const mask = this.#baseOffsets.length - 1
    while (this.#count > 0 && this.#baseOffsets[(this.#end - 1) & mask]! >= offset) {
      this.#end = (this.#end - 1) & 0x3fff_ffff
      this.#count--
    }
  }

  /** Forgets batches that begin before `offset`. */
  forgetBefore(offset: number): void {
    const mask = this.#baseOffsets.length - 1
    while (this.#count > 0 && this.#baseOffsets[(this.#end - this.#count) & mask]! < offset) this.#count--
  }

  #grow(): void {
    const length = Math.max(RECENT_BATCHES_FIRST, this.#baseOffsets.length * 2)
    const baseOffsets = new Float64Array(length)
    const filePositions = new Uint32Array(length)
    const mask = this.#baseOffsets.length - 1
    for (let index = 0; index < this.#count; index++) {
      const from = (this.#end - this.#count + index) & mask
      baseOffsets[index] = this.#baseOffsets[from]!
      filePositions[index] = this.#filePositions[from]!
    }
    this.#baseOffsets = baseOffsets
    this.#filePositions = filePositions
    this.#end = this.#count
  }
}
