/**
 * KafkaWriter: primitive types of the Kafka protocol into fragments: what is written goes into a buffer of its own, and record
 * batches that lie in shared pages are spliced in between without a copy.
 *
 * Limits   the writer's own bytes: fragments beside them count towards `bytes` only. A classic text has TEXT_BYTES_MAX: what is longer,
 *          an error text that quotes a request, is cut off
 */
import { utf8Encode, writeSafeInt64 } from '../../base/bytes.ts'

const FIRST_BYTES = 256
/** Of a text whose length is an int16. */
export const TEXT_BYTES_MAX = 32_767

/** Record batches that lie somewhere: the wire has them one after the other. */
export interface Splice {
  readonly bytes: number
  readonly fragments: readonly Uint8Array[]
}

/** The end of the last whole character of UTF-8 that ends at `end` or before it. */
function cutOf(text: Uint8Array, end: number): number {
  let at = end
  while ((text[at]! & 0xc0) === 0x80) at--
  return at
}

export class KafkaWriter {
  #buffer = new Uint8Array(FIRST_BYTES)
  #view = new DataView(this.#buffer.buffer)
  #at = 0
  /** What has been cut off before #from. */
  #fragments: Uint8Array[] = []
  #from = 0
  #splicedBytes = 0

  /** All bytes so far. */
  get bytes(): number {
    return this.#at + this.#splicedBytes
  }

  bool(value: boolean): void {
    // Not in one expression: the buffer may be another one once there is room.
    const at = this.#room(1)
    this.#buffer[at] = value ? 1 : 0
  }

  int8(value: number): void {
    const at = this.#room(1)
    this.#view.setInt8(at, value)
  }

  int16(value: number): void {
    const at = this.#room(2)
    this.#view.setInt16(at, value)
  }

  uint16(value: number): void {
    const at = this.#room(2)
    this.#view.setUint16(at, value)
  }

  int32(value: number): void {
    const at = this.#room(4)
    this.#view.setInt32(at, value)
  }

  float64(value: number): void {
    const at = this.#room(8)
    this.#view.setFloat64(at, value)
  }

  int64(value: number): void {
    const at = this.#room(8)
    writeSafeInt64(this.#view, at, value)
  }

  /** From 32 hex digits; '' is the zero id. */
  uuid(hex: string): void {
    const at = this.#room(16)
    for (let index = 0; index < 16; index++)
      this.#buffer[at + index] = hex === '' ? 0 : Number.parseInt(hex.slice(index * 2, index * 2 + 2), 16)
  }

  uvarint(value: number): void {
    let rest = value >>> 0
    while (rest >= 0x80) {
      this.int8((rest & 0x7f) | 0x80)
      rest >>>= 7
    }
    this.int8(rest)
  }

  length(kind: 'int16' | 'int32' | 'compact', length: number): void {
    if (kind === 'compact') this.uvarint(length + 1)
    else if (kind === 'int16') this.int16(length)
    else this.int32(length)
  }

  text(kind: 'int16' | 'compact', text: string): void {
    const { length } = text
    // Most are ASCII: their length is known before they are encoded.
    let isAscii = length < 128
    for (let index = 0; isAscii && index < length; index++) isAscii = text.charCodeAt(index) < 0x80
    if (!isAscii) {
      const all = utf8Encode(text)
      const bytes = kind === 'int16' && all.length > TEXT_BYTES_MAX ? all.subarray(0, cutOf(all, TEXT_BYTES_MAX)) : all
      this.length(kind, bytes.length)
      this.raw(bytes)
      return
    }
    this.length(kind, length)
    const at = this.#room(length)
    for (let index = 0; index < length; index++) this.#buffer[at + index] = text.charCodeAt(index)
  }

  raw(bytes: Uint8Array): void {
    const at = this.#room(bytes.length)
    this.#buffer.set(bytes, at)
  }

  /** What `write` writes, its length first. No splices in it: those of tagged fields are none of the protocol's. */
  tagged(write: (writer: KafkaWriter) => void): void {
    const inner = new KafkaWriter()
    write(inner)
    this.uvarint(inner.#at)
    this.raw(inner.#buffer.subarray(0, inner.#at))
  }

  /** The fragments follow; they are not copied. */
  splice({ bytes, fragments }: Splice): void {
    if (this.#at > this.#from) this.#fragments.push(this.#buffer.subarray(this.#from, this.#at))
    this.#from = this.#at
    for (const fragment of fragments) this.#fragments.push(fragment)
    this.#splicedBytes += bytes
  }

  /** All of it, and its length first: int32, which does not count itself. The caller wrote four bytes for it. */
  finish(): Uint8Array[] {
    const length = this.bytes - 4
    const last = this.#buffer.subarray(this.#from, this.#at)
    const head = this.#fragments[0] ?? last
    new DataView(head.buffer, head.byteOffset).setInt32(0, length)
    if (last.length > 0) this.#fragments.push(last)
    return this.#fragments
  }

  #room(bytes: number): number {
    const at = this.#at
    if (at + bytes > this.#buffer.length) this.#grow(at + bytes)
    this.#at = at + bytes
    return at
  }

  #grow(bytes: number): void {
    // Fragments already cut off keep the old buffer: only what is behind them moves on, at the same place.
    const grown = new Uint8Array(Math.max(bytes, this.#buffer.length * 2))
    grown.set(this.#buffer.subarray(this.#from, this.#at), this.#from)
    this.#buffer = grown
    this.#view = new DataView(grown.buffer)
  }
}
