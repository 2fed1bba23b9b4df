/**
 * Fields of the records of the broker's own topics as bytes, big-endian: group/format.md §2.
 *
 * Limits   a text or a list of topics: 65,534; partitions of a topic, bytes: what the bytes left can hold
 * Failure  a reader tells by `fault` and then answers empty values: the bytes come from a log whose checksums held, but are
 *          looked at all the same
 */
import { assert } from '../base/assert.ts'
import { bytesOfHex, hexOf, readSafeInt64, utf8DecodeStrict, writeSafeInt64 } from '../base/bytes.ts'
import { utf8Bytes, utf8Write } from '../base/utf8-write.ts'
import type { TopicId } from '../model/ids.ts'
import { NO_PARTITIONS, type PartitionSet } from '../model/partition-set.ts'

/** How a field's bytes look: group/format.md §2. */
export type FieldType = 'u8' | 'bool' | 'i32' | 'i64' | 'text' | 'text?' | 'text[]' | 'bytes' | 'topicId' | 'partitions'

const TOPIC_ID_BYTES = 16
/** Length of a text that is null. */
const NULL_TEXT = 0xffff
const COUNT_MAX = NULL_TEXT - 1
const FIRST_CAPACITY_BYTES = 1024
const NO_BYTES = new Uint8Array(0)

export class FieldWriter {
  #bytes = new Uint8Array(FIRST_CAPACITY_BYTES)
  #view = new DataView(this.#bytes.buffer)
  #at = 0

  /** Starts a key or value with its number or version. */
  begin(u16: number): void {
    this.#at = 0
    this.#u16(u16)
  }

  end(): Uint8Array {
    return this.#bytes.slice(0, this.#at)
  }

  write(type: FieldType, value: unknown): void {
    switch (type) {
      case 'u8':
      case 'bool':
        this.#reserve(1)
        this.#view.setUint8(this.#at, Number(value))
        this.#at += 1
        return
      case 'i32':
        this.#i32(value as number)
        return
      case 'i64':
        this.#reserve(8)
        writeSafeInt64(this.#view, this.#at, value as number)
        this.#at += 8
        return
      case 'text':
        this.#text(value as string)
        return
      case 'text?':
        if (value === null) this.#u16(NULL_TEXT)
        else this.#text(value as string)
        return
      case 'text[]':
        this.#texts(value as readonly string[])
        return
      case 'bytes':
        this.#blob(value as Uint8Array)
        return
      case 'topicId':
        this.#topicId(value as TopicId)
        return
      case 'partitions':
        this.#partitions(value as PartitionSet)
        return
    }
  }

  #u16(value: number): void {
    this.#reserve(2)
    this.#view.setUint16(this.#at, value)
    this.#at += 2
  }

  #i32(value: number): void {
    this.#reserve(4)
    this.#view.setInt32(this.#at, value)
    this.#at += 4
  }

  #text(text: string): void {
    const bytes = utf8Bytes(text)
    assert(bytes <= COUNT_MAX, 'a text of a record is too long')
    this.#u16(bytes)
    this.#reserve(text.length * 3)
    this.#at += utf8Write(this.#bytes, this.#at, text)
  }

  #texts(texts: readonly string[]): void {
    assert(texts.length <= COUNT_MAX, 'a list of a record is too long')
    this.#u16(texts.length)
    for (const text of texts) this.#text(text)
  }

  #blob(bytes: Uint8Array): void {
    this.#i32(bytes.length)
    this.#reserve(bytes.length)
    this.#bytes.set(bytes, this.#at)
    this.#at += bytes.length
  }

  #topicId(topicId: TopicId): void {
    this.#reserve(TOPIC_ID_BYTES)
    this.#bytes.set(bytesOfHex(topicId), this.#at)
    this.#at += TOPIC_ID_BYTES
  }

  #partitions(set: PartitionSet): void {
    this.#i32(set.size)
    for (const [topicId, partitions] of set) {
      this.#topicId(topicId)
      this.#i32(partitions.length)
      this.#reserve(partitions.length * 4)
      for (const partition of partitions) this.#i32(partition)
    }
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#at + bytes))
    larger.set(this.#bytes.subarray(0, this.#at))
    this.#bytes = larger
    this.#view = new DataView(larger.buffer)
  }
}

export class FieldReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0
  /** What is wrong with the bytes, once something is. */
  fault: string | undefined

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length
  }

  read(type: FieldType): unknown {
    switch (type) {
      case 'u8':
        return this.#u8()
      case 'bool':
        return this.#bool()
      case 'i32':
        return this.#i32()
      case 'i64':
        return this.#i64()
      case 'text':
        return this.#textOrNull() ?? this.#fail('a text that may not be null', '')
      case 'text?':
        return this.#textOrNull()
      case 'text[]':
        return this.#texts()
      case 'bytes':
        return this.#blob()
      case 'topicId':
        return this.#topicId()
      case 'partitions':
        return this.#partitions()
    }
  }

  u16(): number {
    return this.#has(2) ? this.#view.getUint16((this.#at += 2) - 2) : 0
  }

  #u8(): number {
    return this.#has(1) ? this.#view.getUint8((this.#at += 1) - 1) : 0
  }

  #bool(): boolean {
    const byte = this.#u8()
    return byte > 1 ? this.#fail('a byte that is neither 0 nor 1', false) : byte === 1
  }

  #i32(): number {
    return this.#has(4) ? this.#view.getInt32((this.#at += 4) - 4) : 0
  }

  #i64(): number {
    if (!this.#has(8)) return 0
    const value = readSafeInt64(this.#view, (this.#at += 8) - 8)
    return Number.isNaN(value) ? this.#fail('an integer that is not safe', 0) : value
  }

  #textOrNull(): string | null {
    const bytes = this.u16()
    if (bytes === NULL_TEXT) return null
    if (!this.#has(bytes)) return ''
    const text = utf8DecodeStrict(this.#bytes.subarray(this.#at, (this.#at += bytes)))
    return text ?? this.#fail('a text that is not UTF-8', '')
  }

  #texts(): string[] {
    const texts: string[] = []
    const count = this.u16()
    for (let index = 0; index < count && this.fault === undefined; index++) texts.push(this.read('text') as string)
    return texts
  }

  /** In memory of their own: what is read may be a view of something larger. */
  #blob(): Uint8Array {
    const count = this.#i32()
    if (count < 0) return this.#fail('bytes of a negative length', NO_BYTES)
    return this.#has(count) ? new Uint8Array(this.#bytes.subarray(this.#at, (this.#at += count))) : NO_BYTES
  }

  #topicId(): TopicId {
    if (!this.#has(TOPIC_ID_BYTES)) return '' as TopicId
    return hexOf(this.#bytes.subarray(this.#at, (this.#at += TOPIC_ID_BYTES))) as TopicId
  }

  #partitions(): PartitionSet {
    const count = this.#i32()
    if (count === 0) return NO_PARTITIONS
    const set = new Map<TopicId, number[]>()
    for (let index = 0; index < count && this.fault === undefined; index++) {
      const topicId = this.#topicId()
      const partitionCount = this.#i32()
      if (partitionCount < 0 || !this.#has(partitionCount * 4)) break
      const partitions: number[] = []
      for (let next = 0; next < partitionCount; next++) partitions.push(this.#i32())
      set.set(topicId, partitions)
    }
    return set
  }

  #has(bytes: number): boolean {
    if (this.fault === undefined && this.#at + bytes > this.#bytes.length)
      this.fault = `ends at byte ${this.#bytes.length}, ${bytes} more were expected at ${this.#at}`
    return this.fault === undefined
  }

  #fail<T>(fault: string, value: T): T {
    this.fault ??= `${fault} before byte ${this.#at}`
    return value
  }
}
