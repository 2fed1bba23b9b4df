/**
 * KafkaApi: one request of the Kafka protocol: its key, the versions that are served, what request and response look like; and the
 * headers before them.
 *
 * Headers   request: v1, and v2 (tagged fields) in flexible versions; the client id is a classic string in both.
 *           response: v0, and v1 in flexible versions, but ApiVersions, which is always v0 (KIP-511)
 */
import type { Encoding, Field, Plan, Read, Write } from './fields.ts'
import { KafkaReader } from './reader.ts'
import { KafkaWriter } from './writer.ts'

export interface KafkaApiOptions<Request extends AnyStruct, Response extends AnyStruct> {
  readonly key: number
  /** As in the protocol guide. */
  readonly name: string
  /** Served, both included. */
  readonly versions: readonly [number, number]
  /** Told to clients in the place of versions[0], where they want to see an old one that they do not use (KAFKA-18659). */
  readonly advertisedMin?: number
  /** The first flexible version (KIP-482); left out: none is. */
  readonly flexibleSince?: number
  readonly request: Request
  readonly response: Response
}

type AnyStruct = Field<unknown, unknown, boolean>

const API_VERSIONS_KEY = 18

export class KafkaApi<Request extends AnyStruct = AnyStruct, Response extends AnyStruct = AnyStruct> {
  readonly key: number
  readonly name: string
  readonly versionMin: number
  readonly versionMax: number
  readonly advertisedMin: number
  readonly flexibleSince: number
  readonly request: Request
  readonly response: Response
  readonly #requestPlans = new Map<number, Plan<unknown, unknown>>()
  readonly #responsePlans = new Map<number, Plan<unknown, unknown>>()

  constructor(options: KafkaApiOptions<Request, Response>) {
    this.key = options.key
    this.name = options.name
    this.versionMin = options.versions[0]
    this.versionMax = options.versions[1]
    this.advertisedMin = options.advertisedMin ?? this.versionMin
    this.flexibleSince = options.flexibleSince ?? Infinity
    this.request = options.request
    this.response = options.response
  }

  serves(version: number): boolean {
    return version >= this.versionMin && version <= this.versionMax
  }

  encodingOf(version: number): Encoding {
    return { version, isFlexible: version >= this.flexibleSince }
  }

  /**
   * The request behind its header; bytes behind it are left, as by Kafka: librdkafka 2.12 asks for all topics (Metadata v9 and later)
   * with three too many. Throws KafkaFormatError.
   */
  decodeRequest(version: number, reader: KafkaReader): Read<Request> {
    return this.#plan(this.#requestPlans, this.request, version).read(reader) as Read<Request>
  }

  /** A whole frame, its length first, as fragments: their own bytes, and the records that were given to it. */
  encodeResponse(version: number, correlationId: number, response: Write<Response>): Uint8Array[] {
    const writer = new KafkaWriter()
    writer.int32(0)
    writer.int32(correlationId)
    if (version >= this.flexibleSince && this.key !== API_VERSIONS_KEY) writer.uvarint(0)
    this.#plan(this.#responsePlans, this.response, version).write(writer, response)
    return writer.finish()
  }

  /** A whole frame of a client's: tests and tools have the other end. */
  encodeRequest(
    version: number,
    header: { readonly correlationId: number; readonly clientId: string | null },
    request: Write<Request>,
  ): Uint8Array[] {
    const writer = new KafkaWriter()
    writer.int32(0)
    writer.int16(this.key)
    writer.int16(version)
    writer.int32(header.correlationId)
    if (header.clientId === null) writer.int16(-1)
    else writer.text('int16', header.clientId)
    if (version >= this.flexibleSince) writer.uvarint(0)
    this.#plan(this.#requestPlans, this.request, version).write(writer, request)
    return writer.finish()
  }

  /** The payload of a frame as a client reads it. */
  decodeResponse(version: number, payload: Uint8Array): { correlationId: number; response: Read<Response> } {
    const reader = new KafkaReader(payload)
    const correlationId = reader.int32()
    if (version >= this.flexibleSince && this.key !== API_VERSIONS_KEY) skipTags(reader)
    const response = this.#plan(this.#responsePlans, this.response, version).read(reader) as Read<Response>
    if (reader.left > 0) reader.fail(`${reader.left} bytes behind the response`)
    return { correlationId, response }
  }

  #plan(plans: Map<number, Plan<unknown, unknown>>, field: AnyStruct, version: number): Plan<unknown, unknown> {
    let plan = plans.get(version)
    if (plan === undefined) plans.set(version, (plan = field.plan(this.encodingOf(version))))
    return plan
  }
}

/** What is before every request; whether it has tagged fields, and what follows, its API says. */
export interface RequestHeader {
  readonly key: number
  readonly version: number
  readonly correlationId: number
}

/** Bytes of key, version and correlation id. */
export const REQUEST_HEADER_BYTES = 8

export function readRequestHeader(reader: KafkaReader): RequestHeader {
  reader.field = 'request header'
  return { key: reader.int16(), version: reader.int16(), correlationId: reader.int32() }
}

/** The rest of the header: the client id, '' for null, and the tagged fields of a flexible version. */
export function readClientId(reader: KafkaReader, isFlexible: boolean): string {
  reader.field = 'client id'
  const length = reader.length('int16')
  const clientId = length < 0 ? '' : reader.text(length)
  if (isFlexible) skipTags(reader)
  return clientId
}

function skipTags(reader: KafkaReader): void {
  reader.field = 'tagged fields'
  const count = reader.count(reader.uvarint(), 2)
  for (let index = 0; index < count; index++) {
    reader.uvarint()
    reader.take(reader.uvarint())
  }
}
