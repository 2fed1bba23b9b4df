import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { hexOf, joinBytes } from '../../../../src/base/bytes.ts'
import { KAFKA_APIS } from '../../../../src/kafka/apis/index.ts'
import { KafkaApi, REQUEST_HEADER_BYTES, readClientId, readRequestHeader } from '../../../../src/kafka/codec/api.ts'
import { int32, struct } from '../../../../src/kafka/codec/fields.ts'
import { KafkaFormatError, KafkaReader } from '../../../../src/kafka/codec/reader.ts'
import { KafkaKey } from '../../../../src/kafka/keys.ts'
import { arbitraryOf, readBack } from '../../../support/kafka-values.ts'

const APIS = KAFKA_APIS as unknown as readonly KafkaApi[]
const RUNS = 15

/** Every API in every version that is served. */
function* served(): Generator<{ readonly api: KafkaApi; readonly version: number; readonly name: string }> {
  for (const api of APIS)
    for (let version = api.versionMin; version <= api.versionMax; version++)
      yield { api, version, name: `${api.name} v${version}` }
}

test('every key has one API, its versions are a range, and the list is sorted like the keys', () => {
  assert.deepEqual(
    APIS.map(({ key }) => key),
    [...Object.values(KafkaKey)]
      .sort((left, right) => left - right)
      .filter((key) => APIS.some((api) => api.key === key)),
  )
  assert.deepEqual(new Set(APIS.map(({ key }) => key)), new Set(Object.values(KafkaKey)))
  for (const { name, versionMin, versionMax, advertisedMin, flexibleSince } of APIS) {
    assert.ok(0 <= advertisedMin && advertisedMin <= versionMin && versionMin <= versionMax, name)
    assert.ok(flexibleSince === Infinity || flexibleSince <= versionMax, name)
  }
})

test('requests: what is written is read, in every version', () => {
  for (const { api, version, name } of served())
    fc.assert(
      fc.property(
        arbitraryOf(api.request, api.encodingOf(version)),
        fc.integer(),
        fc.option(fc.string({ unit: 'grapheme', maxLength: 20 })),
        (value, correlationId, clientId) => {
          const frame = joinBytes(api.encodeRequest(version, { correlationId, clientId }, value))
          const reader = new KafkaReader(frame.subarray(4))
          assert.deepEqual(readRequestHeader(reader), { key: api.key, version, correlationId }, name)
          assert.equal(readClientId(reader, version >= api.flexibleSince), clientId ?? '')
          assert.deepEqual(
            api.decodeRequest(version, reader),
            readBack(api.request, api.encodingOf(version), value),
            name,
          )
          assert.equal(reader.left, 0, name)
        },
      ),
      { numRuns: RUNS },
    )
})

test('responses: what is written is read, in every version', () => {
  for (const { api, version, name } of served())
    fc.assert(
      fc.property(arbitraryOf(api.response, api.encodingOf(version)), fc.integer(), (value, correlationId) => {
        const frame = joinBytes(api.encodeResponse(version, correlationId, value))
        const response = readBack(api.response, api.encodingOf(version), value)
        assert.deepEqual(api.decodeResponse(version, frame.subarray(4)), { correlationId, response }, name)
      }),
      { numRuns: RUNS },
    )
})

test('a request that ends early is refused at every byte, and the error names a field; bytes behind it are left', () => {
  for (const { api, version, name } of served()) {
    const [value] = fc.sample(arbitraryOf(api.request, api.encodingOf(version)), { numRuns: 1, seed: version })
    const frame = joinBytes(api.encodeRequest(version, { correlationId: 1, clientId: 'c' }, value))
    const isFlexible = version >= api.flexibleSince
    const read = (payload: Uint8Array): void => {
      const reader = new KafkaReader(payload)
      readRequestHeader(reader)
      readClientId(reader, isFlexible)
      api.decodeRequest(version, reader)
    }
    const refuses = (payload: Uint8Array): void => {
      assert.throws(
        () => read(payload),
        (error: Error) => {
          assert.ok(error instanceof KafkaFormatError, `${name}: ${error}`)
          assert.match(error.message, /^[\w ]+: .+ at byte \d+ of \d+$/)
          return true
        },
      )
    }
    read(frame.subarray(4))
    for (let end = 4; end < frame.length; end++) refuses(frame.subarray(4, end))
    read(joinBytes([frame.subarray(4), Uint8Array.of(0, 0, 0)]))
  }
})

test('headers: v1, v2 with tags in flexible versions; the client id is classic in both', () => {
  const api = new KafkaApi({
    ...{ key: 77, name: 'Try', versions: [0, 1], flexibleSince: 1 },
    request: struct({ number: int32 }),
    response: struct({ number: int32 }),
  })
  const header = { correlationId: -2, clientId: 'me' }
  const request = (version: number) => hexOf(joinBytes(api.encodeRequest(version, header, { number: 9 })))
  assert.equal(request(0), '00000010 004d 0000 fffffffe 0002 6d65 00000009'.replaceAll(' ', ''))
  assert.equal(request(1), '00000012 004d 0001 fffffffe 0002 6d65 00 00000009 00'.replaceAll(' ', ''))
  const response = (version: number) => hexOf(joinBytes(api.encodeResponse(version, -2, { number: 9 })))
  assert.equal(response(0), '00000008 fffffffe 00000009'.replaceAll(' ', ''))
  assert.equal(response(1), '0000000a fffffffe 00 00000009 00'.replaceAll(' ', ''))
  assert.equal(REQUEST_HEADER_BYTES, 8)
})

test('the header of a response to ApiVersions has no tags in any version', () => {
  const api = APIS.find(({ key }) => key === KafkaKey.API_VERSIONS)!
  const frame = joinBytes(api.encodeResponse(3, 7, { errorCode: 0, apiKeys: [] }))
  assert.equal(hexOf(frame), '0000000c 00000007 0000 01 00000000 00'.replaceAll(' ', ''))
})

test('unknown tags of a header are passed over; a client id that lies is refused', () => {
  const client = (hex: string, isFlexible: boolean) =>
    readClientId(new KafkaReader(Buffer.from(hex.replaceAll(' ', ''), 'hex')), isFlexible)
  assert.equal(client('0001 61 02 00 00 05 02 aabb', true), 'a')
  assert.equal(client('ffff 00', true), '')
  assert.equal(client('ffff', false), '')
  assert.throws(() => client('fffe', false), /client id: a length of -2/)
  assert.throws(() => client('0005 61', false), /client id: 5 bytes are needed, 1 are left/)
  assert.throws(() => client('0000 05', true), /tagged fields: 5 elements in 0 bytes/)
  assert.throws(() => client('0000 01 00 7f', true), /tagged fields: 127 bytes are needed, 0 are left/)
})
