/**
 * What Kafka's consumers say to each other in a classic group, as far as the broker looks at it: topics of a subscription, partitions of an
 * assignment (ConsumerProtocolSubscription and -Assignment, versions 0 to 3). To everything else the bytes are the members' own.
 *
 * Failure  undefined for bytes that do not read so: somebody else's, or of a version that begins otherwise
 * Limits   MEMBER_TOPICS_MAX topics, REQUEST_PARTITIONS_MAX partitions: more reads as undefined
 */
import { utf8DecodeStrict } from '../base/bytes.ts'
import { isTopicName } from '../model/ids.ts'
import { MEMBER_TOPICS_MAX, REQUEST_PARTITIONS_MAX } from '../model/limits.ts'

export interface EmbeddedPartitions {
  readonly topic: string
  readonly partitions: readonly number[]
}

/** Topics that a subscription names. */
export function topicsOfSubscription(bytes: Uint8Array): string[] | undefined {
  const reader = new Reader(bytes)
  if (reader.i16() < 0) return undefined
  const count = reader.i32()
  if (count < 0 || count > MEMBER_TOPICS_MAX) return undefined
  const topics: string[] = []
  for (let index = 0; index < count && !reader.isBad; index++) topics.push(reader.topic())
  return reader.isBad ? undefined : topics
}

/** Partitions that an assignment gives. Of no bytes: none. */
export function partitionsOfAssignment(bytes: Uint8Array): EmbeddedPartitions[] | undefined {
  if (bytes.length === 0) return []
  const reader = new Reader(bytes)
  if (reader.i16() < 0) return undefined
  const count = reader.i32()
  if (count < 0 || count > MEMBER_TOPICS_MAX) return undefined
  const rows: EmbeddedPartitions[] = []
  let left = REQUEST_PARTITIONS_MAX
  for (let index = 0; index < count && !reader.isBad; index++) {
    const topic = reader.topic()
    const partitionCount = reader.i32()
    if (partitionCount < 0 || (left -= partitionCount) < 0) return undefined
    const partitions: number[] = []
    for (let next = 0; next < partitionCount && !reader.isBad; next++) partitions.push(reader.i32())
    if (partitions.some((partition) => partition < 0)) return undefined
    rows.push({ topic, partitions })
  }
  return reader.isBad ? undefined : rows
}

class Reader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0
  isBad = false

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  i16(): number {
    return this.#has(2) ? this.#view.getInt16((this.#at += 2) - 2) : -1
  }

  i32(): number {
    return this.#has(4) ? this.#view.getInt32((this.#at += 4) - 4) : -1
  }

  topic(): string {
    const length = this.i16()
    if (length < 0 || !this.#has(length)) return this.#fail()
    const name = utf8DecodeStrict(this.#bytes.subarray(this.#at, (this.#at += length)))
    return name !== undefined && isTopicName(name) ? name : this.#fail()
  }

  #has(bytes: number): boolean {
    if (this.#at + bytes > this.#bytes.length) this.isBad = true
    return !this.isBad
  }

  #fail(): string {
    this.isBad = true
    return ''
  }
}
