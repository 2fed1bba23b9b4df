/**
 * FrameBuffers: memory for frames that come in several pieces, used again and again: a buffer of a megabyte for each frame of a busy
 * producer would be a garbage collection for each few of them.
 *
 * Limits    POOLED_BYTES_MAX are kept, of buffers up to POOLED_BUFFER_BYTES_MAX each; what is beyond goes to the garbage collector
 * Memory    a buffer is its taker's until it is given back, once
 * Sizes     powers of two: frames of about the same size find each other's buffers. Made to measure, those that were a few bytes too
 *           short filled the pool, and every further frame was garbage
 */
const POOLED_BYTES_MAX = 32 * 1024 * 1024
const POOLED_BUFFER_BYTES_MAX = 8 * 1024 * 1024
export const FRAME_BUFFER_BYTES_MIN = 16 * 1024

export class FrameBuffers {
  readonly #free: Uint8Array[] = []
  #freeBytes = 0

  get freeBytes(): number {
    return this.#freeBytes
  }

  /**
   * For a frame that will have `wanted` bytes, of which `needed` have come: one with room for all where there is one that is free, else a
   * new one that is less than twice as large as what came, or FRAME_BUFFER_BYTES_MIN. A length that is only claimed costs nothing.
   */
  take(wanted: number, needed: number): Uint8Array {
    const index = this.#free.findIndex((buffer) => buffer.length >= wanted)
    if (index === -1)
      return new Uint8Array(Math.min(powerOfTwoFrom(wanted), Math.max(FRAME_BUFFER_BYTES_MIN, powerOfTwoFrom(needed))))
    const [buffer] = this.#free.splice(index, 1)
    this.#freeBytes -= buffer!.length
    return buffer!
  }

  give(buffer: Uint8Array): void {
    if (buffer.length > POOLED_BUFFER_BYTES_MAX || this.#freeBytes + buffer.length > POOLED_BYTES_MAX) return
    this.#free.push(buffer)
    this.#freeBytes += buffer.length
  }
}

function powerOfTwoFrom(bytes: number): number {
  return 2 ** Math.ceil(Math.log2(bytes))
}
