/**
 * FrameAssembler: frames of a byte stream: int32 length, big-endian, which does not count itself, and so many bytes.
 *
 * Memory      a frame that lies whole in what the socket gave is a view of it; one that does not is put together in a buffer that is used
 *             again (frame-buffers.ts): its taker says when it is done with it. A chunk of which nothing is needed
 *             any more is not kept, and told
 * Limits      frameBytesMax; 'too-large' for more, or for a length below 0: the stream cannot be read on
 */
import { EMPTY_BYTES, joinBytes } from '../../base/bytes.ts'
import { FrameBuffers } from './frame-buffers.ts'

const LENGTH_BYTES = 4

export type NextFrame =
  | {
      readonly kind: 'frame'
      readonly payload: Uint8Array
      /** The payload lies in it: to be given back when nobody looks at the payload any more. Undefined: nobody else will use its memory. */
      readonly buffer: Uint8Array | undefined
    }
  /** It has not come yet. */
  | { readonly kind: 'none' }
  | { readonly kind: 'too-large'; readonly bytes: number }

const NONE: NextFrame = { kind: 'none' }

export class FrameAssembler {
  frameBytesMax: number
  readonly #buffers: FrameBuffers
  readonly #onSpent: (chunk: Uint8Array) => void
  /** Not looked at yet: [#at, end) of the last chunk. */
  #chunk: Uint8Array = EMPTY_BYTES
  #at = 0
  /** The beginning of a frame whose rest has not come: [0, #heldBytes). */
  #buffer: Uint8Array | undefined
  #heldBytes = 0
  /** Of a length that is cut in two: its bytes so far. */
  #length = 0
  #lengthBytes = 0
  #frameBytes = -1

  constructor(
    frameBytesMax: number,
    buffers: FrameBuffers = new FrameBuffers(),
    onSpent: (chunk: Uint8Array) => void = () => {},
  ) {
    this.frameBytesMax = frameBytesMax
    this.#buffers = buffers
    this.#onSpent = onSpent
  }

  /** Bytes that came and were not given away as a frame yet. */
  get pendingBytes(): number {
    return this.#heldBytes + this.#chunk.length - this.#at
  }

  /** What came may hold a further frame. */
  get hasMore(): boolean {
    return this.#at < this.#chunk.length
  }

  /** The next bytes of the stream; the array is the assembler's from now on. */
  push(chunk: Uint8Array): void {
    this.#chunk = this.hasMore ? joinBytes([this.#chunk.subarray(this.#at), chunk]) : chunk
    this.#at = 0
  }

  /** The next frame; whoever asks is done with those before it that are views. */
  next(): NextFrame {
    if (this.#frameBytes < 0 && !this.#readLength()) return this.#spend()
    const bytes = this.#frameBytes
    if (bytes > this.frameBytesMax) return { kind: 'too-large', bytes }
    const at = this.#at
    const piece = this.#chunk.subarray(at, at + bytes - this.#heldBytes)
    this.#at = at + piece.length
    if (this.#heldBytes + piece.length < bytes) {
      this.#hold(piece)
      return this.#spend()
    }
    this.#frameBytes = -1
    if (this.#buffer === undefined) return { kind: 'frame', payload: piece, buffer: undefined }
    this.#hold(piece, bytes)
    const buffer = this.#buffer
    this.#buffer = undefined
    this.#heldBytes = 0
    return { kind: 'frame', payload: buffer.subarray(0, bytes), buffer }
  }

  /** The stream is over: a frame that was on its way never comes. */
  end(): void {
    if (this.#buffer !== undefined) this.#buffers.give(this.#buffer)
    this.#buffer = undefined
    this.#heldBytes = 0
    this.#chunk = EMPTY_BYTES
    this.#at = 0
  }

  /** All of the chunk has been given away, or copied: an idle connection does not keep the last one that came. */
  #spend(): NextFrame {
    const chunk = this.#chunk
    this.#chunk = EMPTY_BYTES
    this.#at = 0
    if (chunk.length > 0) this.#onSpent(chunk)
    return NONE
  }

  #hold(piece: Uint8Array, wanted = this.#frameBytes): void {
    if (piece.length === 0) return
    const needed = this.#heldBytes + piece.length
    const before = this.#buffer
    if (before === undefined || before.length < needed) {
      const buffer = this.#buffers.take(wanted, needed)
      if (before !== undefined) {
        buffer.set(before.subarray(0, this.#heldBytes))
        this.#buffers.give(before)
      }
      this.#buffer = buffer
    }
    this.#buffer!.set(piece, this.#heldBytes)
    this.#heldBytes = needed
  }

  #readLength(): boolean {
    while (this.#lengthBytes < LENGTH_BYTES && this.#at < this.#chunk.length) {
      this.#length = (this.#length << 8) | this.#chunk[this.#at++]!
      this.#lengthBytes++
    }
    if (this.#lengthBytes < LENGTH_BYTES) return false
    // A negative one stands for what no limit allows.
    this.#frameBytes = this.#length >>> 0
    this.#length = 0
    this.#lengthBytes = 0
    return true
  }
}
