/**
 * RingLayout: where a ring's control words and frames lie in its SharedArrayBuffer.
 *
 * Owns        the layout constants, createRing
 * Invariants  RL1 capacityBytes is a power of two, so an index is `position & (capacityBytes - 1)`
 *             RL2 positions are int32 modulo 2^32 and multiples of 8; 2^32 is a multiple of the capacity, so the index stays
 *                 continuous when a position wraps
 *             RL3 a frame never crosses the end of the data area; what is left there is a padding frame
 * Limits      RING_CAPACITY_BYTES_MIN … MAX; payloadBytesMaxOf(capacityBytes)
 * Not here    who may read or write which word when (ring-writer.ts, ring-reader.ts)
 */
import { assert } from '../base/assert.ts'

// Ring memory: three control lines, then the data area. Lines are 128 bytes apart, because processors fetch pairs of 64.
// |  at | size | field
// |   0 |    4 | tail, i32: position after the last published frame   written by the writer, read by the reader
// | 128 |    4 | head, i32: position after the last released frame    written by the reader, read by the writer
// | 256 |    4 | wantsRoom, i32: 1 = the writer was told "full"       set by the writer, cleared by the reader
// | 384 |      | data, capacityBytes
const CACHE_LINE_BYTES = 128
const TAIL_AT = 0
const HEAD_AT = TAIL_AT + CACHE_LINE_BYTES
const WANTS_ROOM_AT = HEAD_AT + CACHE_LINE_BYTES
export const RING_DATA_AT = WANTS_ROOM_AT + CACHE_LINE_BYTES
assert(RING_DATA_AT === 384, 'ring layout changed: mend the table')

export const TAIL_WORD = TAIL_AT >> 2
export const HEAD_WORD = HEAD_AT >> 2
export const WANTS_ROOM_WORD = WANTS_ROOM_AT >> 2

// Frame: header, payload, zero to seven bytes up to the next multiple of 8. The payload is 8-byte aligned.
// | at | size | field
// |  0 |    4 | payloadBytes, i32
// |  4 |    4 | type, i32; 0 = padding
// |  8 |      | payload
export const FRAME_HEADER_BYTES = 8
export const FRAME_ALIGN_BYTES = 8
export const PADDING_TYPE = 0

export const RING_CAPACITY_BYTES_MIN = 64
/** Distances between positions must stay positive int32. */
export const RING_CAPACITY_BYTES_MAX = 2 ** 30

/** Bytes of the ring that a frame with `payloadBytes` takes, without padding before it. */
export function frameBytesOf(payloadBytes: number): number {
  return (payloadBytes + FRAME_HEADER_BYTES + (FRAME_ALIGN_BYTES - 1)) & -FRAME_ALIGN_BYTES
}

/** Bytes in use up to which data frames are taken; the last quarter is for control frames. */
export function dataLimitBytesOf(capacityBytes: number): number {
  return (capacityBytes >> 2) * 3
}

/**
 * The largest payload of a frame. Any such frame, data or control, fits an empty ring wherever its tail stands:
 * let C be the capacity, F the frame's bytes and P the padding before it. There is padding only when fewer than F bytes are
 * left before the end, and all are multiples of 8, so P <= F - 8. With F <= 3/8 C the claim takes P + F <= 2F - 8 < 3/4 C,
 * which is what data may use. A larger frame would be refused for ever at some tails, however empty the ring is.
 */
export function payloadBytesMaxOf(capacityBytes: number): number {
  return (capacityBytes >> 3) * 3 - FRAME_HEADER_BYTES
}

/** The smallest capacity whose frames may carry `payloadBytes`. */
export function ringCapacityFor(payloadBytes: number): number {
  assert(
    payloadBytes <= payloadBytesMaxOf(RING_CAPACITY_BYTES_MAX),
    `no ring carries payloads of ${payloadBytes} bytes`,
  )
  let capacityBytes = RING_CAPACITY_BYTES_MIN
  while (payloadBytesMaxOf(capacityBytes) < payloadBytes) capacityBytes *= 2
  return capacityBytes
}

export interface RingOptions {
  /** Power of two, RING_CAPACITY_BYTES_MIN … MAX. */
  readonly capacityBytes: number
  /** Where head and tail start, a multiple of 8 (int32, or its unsigned twin). Tests start near the wrap; default 0. */
  readonly initialPosition?: number
}

/** The memory of an empty ring. Throws InvariantError when the options are not a ring's. */
export function createRing(options: RingOptions): SharedArrayBuffer {
  const { capacityBytes, initialPosition = 0 } = options
  checkCapacity(capacityBytes)
  assert(
    initialPosition % FRAME_ALIGN_BYTES === 0,
    `ring initialPosition must be a multiple of 8, is ${initialPosition}`,
  )
  const memory = new SharedArrayBuffer(RING_DATA_AT + capacityBytes)
  const words = new Int32Array(memory)
  words[TAIL_WORD] = initialPosition | 0
  words[HEAD_WORD] = initialPosition | 0
  return memory
}

/** The capacity of a ring's memory, checked. */
export function ringCapacityOf(memory: SharedArrayBuffer): number {
  const capacityBytes = memory.byteLength - RING_DATA_AT
  checkCapacity(capacityBytes)
  return capacityBytes
}

function checkCapacity(capacityBytes: number): void {
  assert(
    Number.isInteger(capacityBytes) &&
      capacityBytes >= RING_CAPACITY_BYTES_MIN &&
      capacityBytes <= RING_CAPACITY_BYTES_MAX &&
      (capacityBytes & (capacityBytes - 1)) === 0,
    `ring capacity must be a power of two in [${RING_CAPACITY_BYTES_MIN}, ${RING_CAPACITY_BYTES_MAX}], is ${capacityBytes}`,
  )
}
