/**
 * Hostile bytes at the codec of the Kafka protocol alone: messages of every API and version, broken anywhere. Each is refused as what it is,
 * a KafkaFormatError that names a field, or it is a value that is written and read again as the same one.
 *
 *   npm run test:fuzz -- --only frame-kafka-codec [--frames 1000000] [--seconds 60] [--seed N]
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { joinBytes } from '../../src/base/bytes.ts'
import { SeededPrng } from '../../src/base/prng.ts'
import { KAFKA_APIS } from '../../src/kafka/apis/index.ts'
import type { KafkaApi } from '../../src/kafka/codec/api.ts'
import type { Field } from '../../src/kafka/codec/fields.ts'
import { KafkaFormatError, KafkaReader } from '../../src/kafka/codec/reader.ts'
import { budgetMs, environmentNumber, freshSeed, withinBudget } from '../support/budget.ts'
import { seededBytes, seededValue } from '../support/kafka-values.ts'

const APIS = KAFKA_APIS as unknown as readonly KafkaApi[]
/** Length, key, version, correlation id, a client id that is null. */
const HEADER_BYTES = 14
/** A message of a few hundred bytes takes no longer, whatever it claims. */
const DECODE_MS_MAX = 1_000

test('hostile bytes at the Kafka codec', { timeout: 24 * 3_600_000 }, () => {
  const seed = freshSeed()
  const prng = new SeededPrng(seed)
  const asked = process.env.MILLRACE_FUZZ_COUNT === undefined ? undefined : environmentNumber('MILLRACE_FUZZ_COUNT', 0)
  const limitMs = budgetMs(2_000)
  const startedMs = performance.now()
  let done = 0
  let refused = 0
  try {
    for (; withinBudget({ startedMs, done, asked, budgetMs: limitMs }); done++) {
      const api = APIS[prng.below(APIS.length)]!
      const version = api.versionMin + prng.below(api.versionMax - api.versionMin + 1)
      const isRequest = prng.below(3) > 0
      if (!survives(api, version, isRequest, prng)) refused++
    }
  } catch (error) {
    console.log(`repeat: npm run test:fuzz -- --only frame-kafka-codec --seed ${seed}`)
    throw error
  }
  console.log(`kafka codec fuzz: reached ${done} messages, ${refused} refused; seed ${seed}`)
})

/** Whether the broken message was one all the same. */
function survives(api: KafkaApi, version: number, isRequest: boolean, prng: SeededPrng): boolean {
  const field = isRequest ? api.request : api.response
  const encoding = api.encodingOf(version)
  const tags = encoding.isFlexible ? 1 : 0
  const encode = (value: unknown): Uint8Array => {
    const header = { correlationId: 7, clientId: null }
    const frame = joinBytes(
      isRequest ? api.encodeRequest(version, header, value) : api.encodeResponse(version, 7, value),
    )
    return isRequest ? frame.subarray(HEADER_BYTES + tags) : frame.subarray(4)
  }
  const decode = (bytes: Uint8Array): unknown =>
    isRequest ? api.decodeRequest(version, new KafkaReader(bytes)) : api.decodeResponse(version, bytes).response
  const broken = breakUp(encode(seededValue(field, encoding, prng)), prng)
  const startedMs = performance.now()
  let value: unknown
  try {
    value = decode(broken)
  } catch (error) {
    assert.ok(error instanceof KafkaFormatError, `${api.name} v${version}: ${error}`)
    assert.match(error.message, /^[\w ]*: .+ at byte \d+ of \d+$/)
    return false
  } finally {
    assert.ok(performance.now() - startedMs < DECODE_MS_MAX, `${api.name} v${version}`)
  }
  assert.deepEqual(decode(encode(asWritten(field, value))), value, `${api.name} v${version}`)
  return true
}

function breakUp(whole: Uint8Array, prng: SeededPrng): Uint8Array {
  const copy = whole.slice()
  if (copy.length === 0) return seededBytes(prng, 3)
  for (let flips = prng.below(4); flips > 0; flips--) copy[prng.below(copy.length)]! ^= 1 << prng.below(8)
  const at = prng.below(copy.length)
  switch (prng.below(6)) {
    case 0:
      return copy.subarray(0, at)
    case 1:
      return joinBytes([copy.subarray(0, at), seededBytes(prng, 12), copy.subarray(at)])
    case 2:
      return joinBytes([copy.subarray(0, at), Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x0f), copy.subarray(at)])
    default:
      return copy
  }
}

/** What was read, as it is written: records are spliced in. */
function asWritten(field: Field<unknown, unknown, boolean>, value: unknown): unknown {
  const { form } = field
  if (value === null) return null
  if (form.kind === 'records') return { bytes: (value as Uint8Array).length, fragments: [value] }
  if (form.kind === 'array') return (value as unknown[]).map((element) => asWritten(form.element, element))
  if (form.kind !== 'struct') return value
  return Object.fromEntries(
    Object.entries(value as object).map(([name, member]) => [name, asWritten(form.shape[name]!, member)]),
  )
}
