/**
 * RingReader: the consuming end of a ring: step over published frames, give their space back when they are done with.
 *
 * Owns        the head word, the bytes of the ring in [head, tail)
 * Thread      one, for the ring's whole life
 * Invariants  RR1 0 <= tail - position and each frame ends at or before the tail   checked in: next()
 *             RR2 [head, position): stepped over and not yet released; the writer does not touch these bytes
 * Ordering    tail load (acquires the frames) -> header and payload, plain -> head store (RELEASE) -> wantsRoom
 * Failure     a frame that breaks RR1 is a broken invariant: throws InvariantError
 */
import { InvariantError } from '../base/assert.ts'
import {
  FRAME_HEADER_BYTES,
  frameBytesOf,
  HEAD_WORD,
  PADDING_TYPE,
  RING_DATA_AT,
  ringCapacityOf,
  TAIL_WORD,
  WANTS_ROOM_WORD,
} from './ring-layout.ts'

const DATA_WORD = RING_DATA_AT >> 2
const HEADER_BYTES = FRAME_HEADER_BYTES

export class RingReader {
  /** The whole data area; `at` is an index in it. */
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly capacityBytes: number
  /** The frame that next() stepped to: its type, its payload at [at, at + length) of `bytes`. Valid until release(). */
  type = 0
  at = 0
  length = 0

  readonly #words: Int32Array
  readonly #mask: number
  /** After the last frame stepped over. */
  #position: number
  /** What the writer sees, as last stored. */
  #released: number
  /** The tail as last loaded; the true one is the same or further on. */
  #tail: number

  constructor(memory: SharedArrayBuffer) {
    this.capacityBytes = ringCapacityOf(memory)
    this.bytes = new Uint8Array(memory, RING_DATA_AT)
    this.view = new DataView(memory, RING_DATA_AT)
    this.#words = new Int32Array(memory)
    this.#mask = this.capacityBytes - 1
    this.#released = Atomics.load(this.#words, HEAD_WORD)
    this.#position = this.#released
    this.#tail = Atomics.load(this.#words, TAIL_WORD)
  }

  /** Steps to the next published frame and sets `type`, `at`, `length`; false = there is none, the three keep their values. */
  next(): boolean {
    if (this.#position === this.#tail && !this.#findFrames()) return false
    let index = this.#position & this.#mask
    if (this.#words[DATA_WORD + (index >> 2) + 1] === PADDING_TYPE) {
      // RW2: the writer publishes a padding frame together with the frame behind it, which lies at index 0.
      this.#position = (this.#position + (this.capacityBytes - index)) | 0
      index = 0
    }
    const length = this.#words[DATA_WORD + (index >> 2)]!
    const type = this.#words[DATA_WORD + (index >> 2) + 1]!
    const after = (this.#position + frameBytesOf(length)) | 0
    if (length < 0 || type === PADDING_TYPE || ((this.#tail - after) | 0) < 0) this.#refuse(type, length)
    this.type = type
    this.at = index + HEADER_BYTES
    this.length = length
    this.#position = after
    return true
  }

  /**
   * Gives back the space of every frame stepped over so far: their bytes must not be looked at any more.
   * True = the writer has found the ring full since: ring its signal, it waits for room.
   */
  release(): boolean {
    if (this.#position === this.#released) return false
    this.#released = this.#position
    // RELEASE: pairs with the head loads in RingWriter; nothing below may touch the frames before it.
    Atomics.store(this.#words, HEAD_WORD, this.#position)
    // Pairs with ASK in RingWriter.#findRoom. The load first: the exchange would take the line from the writer each time.
    if (Atomics.load(this.#words, WANTS_ROOM_WORD) === 0) return false
    return Atomics.exchange(this.#words, WANTS_ROOM_WORD, 0) !== 0
  }

  /** Whether next() would answer false now. */
  isEmpty(): boolean {
    return this.#position === this.#tail && !this.#findFrames()
  }

  /** Bytes published and not yet stepped over, padding included. A gauge. */
  pendingBytes(): number {
    this.#tail = Atomics.load(this.#words, TAIL_WORD)
    return (this.#tail - this.#position) | 0
  }

  /** Bytes stepped over and not yet released. A gauge. */
  heldBytes(): number {
    return (this.#position - this.#released) | 0
  }

  #findFrames(): boolean {
    // Pairs with PUBLISH in RingWriter.publish: every byte before this tail is written.
    this.#tail = Atomics.load(this.#words, TAIL_WORD)
    return this.#position !== this.#tail
  }

  #refuse(type: number, length: number): never {
    throw new InvariantError(
      `ring frame at position ${this.#position}: type ${type}, ${length} bytes, but the tail is ${this.#tail}`,
    )
  }
}
