/**
 * FrameAssembler: frames of a byte stream: int32 length, big-endian, which does not count itself, and so many bytes.
 *
 * Memory      a frame that lies whole in what the socket gave is a view of it; one that does not is put together once, when its last
 *             byte is there. Until then only bytes that came are held: a length that is claimed costs nothing. Small pieces are copied
 *             together: an array for each byte that comes by itself would cost a hundred times what it holds
 * Limits      frameBytesMax; 'too-large' for more, or for a length below 0: the stream cannot be read on
 */
import { EMPTY_BYTES, joinBytes } from '../../base/bytes.ts'

const LENGTH_BYTES = 4
/** Smaller ones are copied into blocks. */
const PIECE_BYTES_MIN = 1_024
const BLOCK_BYTES = 8_192

export type NextFrame =
  | { readonly kind: 'frame'; readonly payload: Uint8Array }
  /** It has not come yet. */
  | { readonly kind: 'none' }
  | { readonly kind: 'too-large'; readonly bytes: number }

const NONE: NextFrame = { kind: 'none' }

export class FrameAssembler {
  frameBytesMax: number
  /** Not looked at yet: [#at, end) of the last chunk. */
  #chunk: Uint8Array = EMPTY_BYTES
  #at = 0
  /** The beginning of a frame whose rest has not come. */
  #pieces: Uint8Array[] = []
  #pieceBytes = 0
  /** Small pieces behind #pieces: [0, #blockBytes) of it. */
  #block: Uint8Array | undefined
  #blockBytes = 0
  /** Of a length that is cut in two: what there is of it, as a number. */
  #length = 0
  #lengthBytes = 0
  #frameBytes = -1

  constructor(frameBytesMax: number) {
    this.frameBytesMax = frameBytesMax
  }

  /** Bytes that came and were not given away as a frame yet. */
  get pendingBytes(): number {
    return this.#pieceBytes + this.#chunk.length - this.#at
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

  next(): NextFrame {
    if (this.#frameBytes < 0 && !this.#readLength()) return NONE
    const bytes = this.#frameBytes
    if (bytes > this.frameBytesMax || bytes < 0) return { kind: 'too-large', bytes }
    const chunk = this.#chunk
    const at = this.#at
    const missing = bytes - this.#pieceBytes
    if (chunk.length - at < missing) {
      if (at < chunk.length) this.#hold(chunk.subarray(at))
      this.#chunk = EMPTY_BYTES
      this.#at = 0
      return NONE
    }
    const rest = chunk.subarray(at, at + missing)
    this.#at = at + missing
    this.#frameBytes = -1
    if (this.#pieceBytes === 0) return { kind: 'frame', payload: rest }
    this.#endBlock()
    const payload = joinBytes([...this.#pieces, rest])
    this.#pieces = []
    this.#pieceBytes = 0
    return { kind: 'frame', payload }
  }

  #hold(piece: Uint8Array): void {
    this.#pieceBytes += piece.length
    if (this.#block !== undefined && this.#blockBytes + piece.length > BLOCK_BYTES) this.#endBlock()
    if (piece.length >= PIECE_BYTES_MIN) {
      this.#endBlock()
      this.#pieces.push(piece)
      return
    }
    this.#block ??= new Uint8Array(BLOCK_BYTES)
    this.#block.set(piece, this.#blockBytes)
    this.#blockBytes += piece.length
  }

  /** What the block has is a piece like the others. */
  #endBlock(): void {
    if (this.#block === undefined) return
    this.#pieces.push(this.#block.subarray(0, this.#blockBytes))
    this.#block = undefined
    this.#blockBytes = 0
  }

  #readLength(): boolean {
    for (; this.#lengthBytes < LENGTH_BYTES && this.#at < this.#chunk.length; this.#lengthBytes++)
      this.#length = (this.#length << 8) | this.#chunk[this.#at++]!
    if (this.#lengthBytes < LENGTH_BYTES) {
      // All of it has been given away: an idle connection does not keep the last chunk that came.
      this.#chunk = EMPTY_BYTES
      this.#at = 0
      return false
    }
    // A negative one stands for what no limit allows.
    this.#frameBytes = this.#length >>> 0
    this.#length = 0
    this.#lengthBytes = 0
    return true
  }
}
