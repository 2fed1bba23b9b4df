/**
 * Varints of the record format: 7 bits a byte, least significant group first, high bit = more; signed ones are zigzag.
 *
 * Limits   32-bit: 5 bytes; 64-bit: 10 bytes on the wire, values here are safe integers (|v| < 2^53)
 * Failure  a reader answers through VarintCursor.ok = false, never throws: input is untrusted
 */

/** Bytes that `value`, an int32, takes as a zigzag varint. */
export function varintBytes(value: number): number {
  const zigzag = ((value << 1) ^ (value >> 31)) >>> 0
  if (zigzag < 0x80) return 1
  if (zigzag < 0x4000) return 2
  if (zigzag < 0x200000) return 3
  return zigzag < 0x10000000 ? 4 : 5
}

/** Writes `value`, an int32, as a zigzag varint at `at`; returns the index after it. The caller has made sure of 5 bytes. */
export function writeVarint(target: Uint8Array, at: number, value: number): number {
  let zigzag = ((value << 1) ^ (value >> 31)) >>> 0
  let index = at
  while (zigzag >= 0x80) {
    target[index++] = (zigzag & 0x7f) | 0x80
    zigzag >>>= 7
  }
  target[index++] = zigzag
  return index
}

/** Bytes that `value`, a safe integer, takes as a zigzag varlong. */
export function varlongBytes(value: number): number {
  if (value >= -0x40000000 && value < 0x40000000) return varintBytes(value)
  let magnitude = value < 0 ? -(value + 1) : value
  let bytes = 1
  magnitude = Math.floor(magnitude / 64)
  while (magnitude > 0) {
    bytes++
    magnitude = Math.floor(magnitude / 128)
  }
  return bytes
}

/** Writes `value`, a safe integer, as a zigzag varlong at `at`; returns the index after it. */
export function writeVarlong(target: Uint8Array, at: number, value: number): number {
  if (value >= -0x40000000 && value < 0x40000000) return writeVarint(target, at, value)
  // zigzag(v) = 2|v| (v >= 0) or 2|v| - 1: beyond 2^53 for large v, so the first group is split off by hand.
  let magnitude = value < 0 ? -(value + 1) : value
  let index = at
  target[index++] = ((magnitude % 64) << 1) | (value < 0 ? 1 : 0) | 0x80
  magnitude = Math.floor(magnitude / 64)
  while (magnitude >= 0x80) {
    target[index++] = (magnitude % 128) | 0x80
    magnitude = Math.floor(magnitude / 128)
  }
  target[index++] = magnitude
  return index
}

/** Reads varints from [at, end) of one buffer; after a failed read `ok` is false and stays so. */
export class VarintCursor {
  bytes: Uint8Array
  at: number
  end: number
  ok = true

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  reset(bytes: Uint8Array, at: number, end: number): void {
    this.bytes = bytes
    this.at = at
    this.end = end
    this.ok = true
  }

  /** Zigzag varint, int32. */
  varint(): number {
    const at = this.at
    if (at < this.end) {
      const byte = this.bytes[at]!
      if (byte < 0x80) {
        this.at = at + 1
        return (byte >>> 1) ^ -(byte & 1)
      }
    }
    return this.#longVarint()
  }

  #longVarint(): number {
    let result = 0
    for (let shift = 0; shift <= 28; shift += 7) {
      if (this.at >= this.end) return this.#fail()
      const byte = this.bytes[this.at++]!
      if (shift === 28 && byte > 0x0f) return this.#fail()
      result |= (byte & 0x7f) << shift
      if (byte < 0x80) return (result >>> 1) ^ -(result & 1)
    }
    return this.#fail()
  }

  /** Zigzag varlong; a value that is not a safe integer is a failure. */
  varlong(): number {
    let low = 0
    let scale = 1
    let sign = 0
    for (let count = 0; count < 10; count++) {
      if (this.at >= this.end) return this.#fail()
      const byte = this.bytes[this.at++]!
      if (count === 0) {
        sign = byte & 1
        low = (byte & 0x7f) >>> 1
        scale = 64
      } else {
        low += (byte & 0x7f) * scale
        scale *= 128
      }
      if (byte < 0x80) {
        if (low > Number.MAX_SAFE_INTEGER) return this.#fail()
        return sign === 1 ? -low - 1 : low
      }
    }
    return this.#fail()
  }

  /** Passes over `count` bytes; a count that is negative or more than what is left is a failure. */
  skip(count: number): void {
    if (count < 0 || count > this.end - this.at) this.#fail()
    else this.at += count
  }

  #fail(): number {
    this.ok = false
    this.at = this.end
    return 0
  }
}
