/**
 * RingWriter: the producing end of a ring: claim space, fill it, publish.
 *
 * Owns        the tail word, the bytes of the ring in [tail, head + capacity)
 * Thread      one, for the ring's whole life
 * Invariants  RW1 0 <= claimed - head <= capacityBytes (distances by subtraction, modulo 2^32)   checked in: claim()
 *             RW2 a padding frame is claimed together with the frame behind it, so it is never the last one published
 * Ordering    head load (acquires the space) -> header and payload, plain -> tail store (PUBLISH)
 * Limits      frameBytesMax; data sees ¾ of the capacity, control all of it
 * Failure     full: -1 and `stalls` + 1; the reader's next release() then answers true, so that it rings this side
 * Not here    waking the reader (ring-signal.ts)
 */
import { Buffer } from 'node:buffer'
import { assert } from '../base/assert.ts'
import {
  dataLimitBytesOf,
  FRAME_HEADER_BYTES,
  frameBytesOf,
  HEAD_WORD,
  PADDING_TYPE,
  payloadBytesMaxOf,
  RING_DATA_AT,
  ringCapacityOf,
  TAIL_WORD,
  WANTS_ROOM_WORD,
} from './ring-layout.ts'

const DATA_WORD = RING_DATA_AT >> 2
const HEADER_BYTES = FRAME_HEADER_BYTES

/**
 * From this length on write() copies by fill(). TypedArray.set() copies into shared memory in atomic steps, byte by byte unless
 * source and target are aligned alike: 256 KiB take 74 µs, with fill(), a memcpy, 7 µs (Node 20).
 */
const FILL_BYTES_MIN = 512

/** `control` frames may use the whole ring, `data` frames leave its last quarter to them. */
export type FramePriority = 'data' | 'control'

export class RingWriter {
  /** The whole data area; claim() answers an index in it. */
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly capacityBytes: number
  /** The largest payload that claim() takes; any such frame fits an empty ring (payloadBytesMaxOf has the proof). */
  readonly frameBytesMax: number
  /** How often claim() answered full. */
  stalls = 0

  readonly #buffer: Buffer
  readonly #words: Int32Array
  readonly #mask: number
  readonly #dataLimitBytes: number
  /** What the reader sees, as last stored. */
  #published: number
  /** Published, and claimed since: where the next frame begins. */
  #claimed: number
  /** The head as last loaded; the true one is the same or further on. */
  #head: number

  constructor(memory: SharedArrayBuffer) {
    this.capacityBytes = ringCapacityOf(memory)
    this.frameBytesMax = payloadBytesMaxOf(this.capacityBytes)
    this.bytes = new Uint8Array(memory, RING_DATA_AT)
    this.view = new DataView(memory, RING_DATA_AT)
    this.#buffer = Buffer.from(memory, RING_DATA_AT)
    this.#words = new Int32Array(memory)
    this.#mask = this.capacityBytes - 1
    this.#dataLimitBytes = dataLimitBytesOf(this.capacityBytes)
    this.#published = Atomics.load(this.#words, TAIL_WORD)
    this.#claimed = this.#published
    this.#head = Atomics.load(this.#words, HEAD_WORD)
  }

  /**
   * Claims a frame: the index of its payload in `bytes`, 8-byte aligned and contiguous; -1 = full.
   * Type must not be 0. Throws InvariantError for a payload above frameBytesMax: the caller checks limits first.
   */
  claim(type: number, payloadBytes: number, priority: FramePriority): number {
    if (payloadBytes < 0 || payloadBytes > this.frameBytesMax || type === PADDING_TYPE) this.#refuse(type, payloadBytes)
    const index = this.#claimed & this.#mask
    const frameBytes = frameBytesOf(payloadBytes)
    const bytesToEnd = this.capacityBytes - index
    const paddingBytes = frameBytes <= bytesToEnd ? 0 : bytesToEnd
    const limitBytes = priority === 'control' ? this.capacityBytes : this.#dataLimitBytes
    const usedBytesMax = limitBytes - paddingBytes - frameBytes
    if (((this.#claimed - this.#head) | 0) > usedBytesMax && !this.#findRoom(usedBytesMax)) return -1

    let frameIndex = index
    if (paddingBytes > 0) {
      this.#words[DATA_WORD + (index >> 2)] = paddingBytes - HEADER_BYTES
      this.#words[DATA_WORD + (index >> 2) + 1] = PADDING_TYPE
      frameIndex = 0
    }
    this.#words[DATA_WORD + (frameIndex >> 2)] = payloadBytes
    this.#words[DATA_WORD + (frameIndex >> 2) + 1] = type
    this.#claimed = (this.#claimed + paddingBytes + frameBytes) | 0
    return frameIndex + HEADER_BYTES
  }

  /** Copies `source` into a claimed frame, from index `at` of `bytes` on: what set() does, faster for many bytes. */
  write(at: number, source: Uint8Array): void {
    if (source.length < FILL_BYTES_MIN) this.bytes.set(source, at)
    else this.#buffer.fill(source, at, at + source.length)
  }

  /** Whether a claim of this size succeeds now. Claims nothing; on false the reader is asked for room, as by claim(). */
  hasRoom(payloadBytes: number, priority: FramePriority): boolean {
    const frameBytes = frameBytesOf(payloadBytes)
    const bytesToEnd = this.capacityBytes - (this.#claimed & this.#mask)
    const paddingBytes = frameBytes <= bytesToEnd ? 0 : bytesToEnd
    const limitBytes = priority === 'control' ? this.capacityBytes : this.#dataLimitBytes
    const usedBytesMax = limitBytes - paddingBytes - frameBytes
    return ((this.#claimed - this.#head) | 0) <= usedBytesMax || this.#findRoom(usedBytesMax)
  }

  /** Makes every frame claimed since the last publish visible. Wakes nobody: ring the reader's signal afterwards. */
  publish(): void {
    if (this.#claimed === this.#published) return
    this.#published = this.#claimed
    // PUBLISH: pairs with the tail load in RingReader.#findFrames; nothing below may touch the frames before it.
    Atomics.store(this.#words, TAIL_WORD, this.#claimed)
  }

  /** Bytes claimed or published and not yet released by the reader, padding included. A gauge. */
  usedBytes(): number {
    this.#head = Atomics.load(this.#words, HEAD_WORD)
    return (this.#claimed - this.#head) | 0
  }

  /** True when frames are claimed that publish() has not shown yet. */
  get hasUnpublished(): boolean {
    return this.#claimed !== this.#published
  }

  /** Looks at the true head; when that is not enough, asks the reader to ring at its next release, and looks again. */
  #findRoom(usedBytesMax: number): boolean {
    // Pairs with the head store in RingReader.release: what the reader gave back it will not look at again.
    this.#head = Atomics.load(this.#words, HEAD_WORD)
    if (((this.#claimed - this.#head) | 0) <= usedBytesMax) return true
    // ASK: flag first, then the last look. The reader stores the head first, then looks at the flag: one of us sees the other.
    Atomics.store(this.#words, WANTS_ROOM_WORD, 1)
    this.#head = Atomics.load(this.#words, HEAD_WORD)
    if (((this.#claimed - this.#head) | 0) <= usedBytesMax) return true
    this.stalls++
    return false
  }

  #refuse(type: number, payloadBytes: number): never {
    assert(type !== PADDING_TYPE, 'ring frame of type 0: that is the padding frame')
    assert(false, `ring frame of type ${type}: payload of ${payloadBytes} bytes is not in [0, ${this.frameBytesMax}]`)
  }
}
