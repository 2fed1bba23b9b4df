/**
 * KafkaReader: primitive types of the Kafka protocol from untrusted bytes (Kafka protocol guide, "Protocol Primitive Types"; KIP-482).
 *
 * Limits    a count is checked against the bytes left before anything is allocated for it, and all arrays of a message together have
 *           MESSAGE_ELEMENTS_MAX elements: a short frame cannot make a large heap
 * Failure   KafkaFormatError names the field and the place; there is no way to answer a request that cannot be read
 * Memory    bytes and records are views of the frame
 */
import { EMPTY_BYTES, hexOf, readSafeInt64, utf8DecodeStrict } from '../../base/bytes.ts'

/** Elements of all arrays of one message. */
export const MESSAGE_ELEMENTS_MAX = 50_000

export class KafkaFormatError extends Error {
  override readonly name = 'KafkaFormatError'
}

export class KafkaReader {
  readonly bytes: Uint8Array
  at: number
  end: number
  /** What is being read, for the text of an error. */
  field = ''
  readonly #view: DataView
  #elements = 0

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.bytes = bytes
    this.at = at
    this.end = end
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** The same, at the same place, over memory of its own. */
  owned(): KafkaReader {
    return new KafkaReader(this.bytes.slice(), this.at, this.end)
  }

  get left(): number {
    return this.end - this.at
  }

  fail(what: string): never {
    throw new KafkaFormatError(`${this.field}: ${what} at byte ${this.at} of ${this.end}`)
  }

  /** Passes over `count` bytes; answers where they begin. */
  take(count: number): number {
    const { at } = this
    if (count > this.end - at) this.fail(`${count} bytes are needed, ${this.end - at} are left`)
    this.at = at + count
    return at
  }

  bool(): boolean {
    return this.bytes[this.take(1)] !== 0
  }

  int8(): number {
    return this.#view.getInt8(this.take(1))
  }

  int16(): number {
    return this.#view.getInt16(this.take(2))
  }

  uint16(): number {
    return this.#view.getUint16(this.take(2))
  }

  int32(): number {
    return this.#view.getInt32(this.take(4))
  }

  float64(): number {
    return this.#view.getFloat64(this.take(8))
  }

  int64(): number {
    const value = readSafeInt64(this.#view, this.take(8))
    if (Number.isNaN(value)) this.fail('an int64 beyond 2^53')
    return value
  }

  /** As 32 hex digits. */
  uuid(): string {
    const at = this.take(16)
    return hexOf(this.bytes.subarray(at, at + 16))
  }

  /** 7 bits a byte, least significant first; at most 32 bits. */
  uvarint(): number {
    let value = 0
    for (let shift = 0; shift <= 28; shift += 7) {
      const byte = this.bytes[this.take(1)]!
      if (shift === 28 && byte > 0x0f) this.fail('a varint of more than 32 bits')
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value >>> 0
    }
    return this.fail('a varint of more than 5 bytes')
  }

  /** A length before a text, bytes, or an array; -1 = null. */
  length(kind: 'int16' | 'int32' | 'compact'): number {
    const length = kind === 'compact' ? this.uvarint() - 1 : kind === 'int16' ? this.int16() : this.int32()
    if (length < -1) this.fail(`a length of ${length}`)
    return length
  }

  text(length: number): string {
    const at = this.take(length)
    if (length === 0) return ''
    const text = utf8DecodeStrict(this.bytes.subarray(at, at + length))
    return text ?? this.fail('a text that is not UTF-8')
  }

  slice(length: number): Uint8Array {
    if (length === 0) return EMPTY_BYTES
    const at = this.take(length)
    return this.bytes.subarray(at, at + length)
  }

  /** The count of an array whose elements have at least so many bytes: no more of them than there can be. */
  count(length: number, elementBytesMin: number): number {
    if (length * elementBytesMin > this.left) this.fail(`${length} elements in ${this.left} bytes`)
    this.#elements += length
    if (this.#elements > MESSAGE_ELEMENTS_MAX) this.fail(`more than ${MESSAGE_ELEMENTS_MAX} elements in a message`)
    return length
  }
}
