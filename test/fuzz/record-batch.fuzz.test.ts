/**
 * Damaged and invented bytes through checkBatch and BatchReader: nothing is thrown but MillraceError, nothing hangs, nothing is
 * allocated that the bytes cannot justify, and what checkBatch calls sound is readable.
 *
 * Budget   MILLRACE_BUDGET_MS (3000), MILLRACE_FUZZ_COUNT inputs (no bound), MILLRACE_SEED (drawn)
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32c } from '../../src/base/crc32c.ts'
import { systemClock } from '../../src/base/node/system-clock.ts'
import { systemPrng } from '../../src/base/node/system-prng.ts'
import { SeededPrng } from '../../src/base/prng.ts'
import { isMillraceError } from '../../src/model/errors.ts'
import { ATTRIBUTES_AT, BATCH_LENGTH_AT, CRC_AT, CRC_FROM, RECORDS_AT } from '../../src/record/batch-layout.ts'
import { BatchReader } from '../../src/record/batch-reader.ts'
import { type BatchLimits, checkBatch } from '../../src/record/batch-validator.ts'
import { BatchView } from '../../src/record/batch-view.ts'
import { BatchWriter } from '../../src/record/batch-writer.ts'
import { readMarker, writeMarker } from '../../src/record/control-batch.ts'
import { nodeCodecs } from '../../src/record/node-codecs.ts'

const BUDGET_MS = Number(process.env.MILLRACE_BUDGET_MS ?? 3000)
const COUNT = Number(process.env.MILLRACE_FUZZ_COUNT ?? Number.POSITIVE_INFINITY)
const SEED = Number(process.env.MILLRACE_SEED ?? systemPrng().uint32())
const REPRODUCE = `MILLRACE_SEED=${SEED} node --test dist/test/fuzz/record-batch.fuzz.test.js`

const UNPACKED_BYTES_MAX = 256 * 1024
const RSS_GROWTH_BYTES_MAX = 256 * 1024 * 1024
/** Codecs free what they hold in turns of the event loop only, which every reader outside of this loop has. */
const INPUTS_A_TURN = 100
/** One input may not take longer; an honest one takes well under a millisecond, so this is a hang and not a slow machine. */
const INPUT_MS_MAX = 5000
const CLIENT: BatchLimits = { batchBytesMax: 64 * 1024, origin: 'client' }
const LOG: BatchLimits = { batchBytesMax: 64 * 1024, origin: 'log' }
const FAULTS = new Set([
  'CORRUPT_MESSAGE',
  'INVALID_RECORD',
  'INVALID_TIMESTAMP',
  'MESSAGE_TOO_LARGE',
  'UNSUPPORTED_COMPRESSION_TYPE',
  'UNSUPPORTED_FOR_MESSAGE_FORMAT',
])

const prng = new SeededPrng(SEED)
const codecs = nodeCodecs()
const writer = new BatchWriter({ codecs })
const checked = new BatchReader({ codecs, unpackedBytesMax: UNPACKED_BYTES_MAX })
const trusting = new BatchReader({ codecs, unpackedBytesMax: UNPACKED_BYTES_MAX, checkCrc: false })
const view = new BatchView()

const reached = { sound: 0, refused: 0, delivered: 0, thrown: 0 }

function randomBytes(lengthMax: number): Uint8Array {
  const bytes = new Uint8Array(prng.below(lengthMax + 1))
  for (let at = 0; at < bytes.length; at++) bytes[at] = prng.below(256)
  return bytes
}

function soundBatch(): Uint8Array {
  if (prng.below(20) === 0)
    return writeMarker({
      type: 'ABORT',
      producerId: prng.uint32(),
      producerEpoch: 1,
      coordinatorEpoch: 2,
      timestampMs: 3,
    })
  writer.reset()
  const records = 1 + prng.below(30)
  for (let index = 0; index < records; index++) {
    const key = prng.below(3) === 0 ? null : `key-${prng.below(10)}`
    const headers = prng.below(4) === 0 ? [{ key: 'h', value: randomBytes(8) }] : null
    writer.append(key, prng.below(5) === 0 ? null : `value ${'x'.repeat(prng.below(60))}`, headers, prng.below(2 ** 31))
  }
  return writer.finish({ codec: prng.below(5) }).slice()
}

/** A few changes of the kinds that break readers: bits, edges of integers, cuts, holes, repeats. */
function mutated(batch: Uint8Array): Uint8Array {
  let bytes = Uint8Array.from(batch)
  for (let changes = 1 + prng.below(4); changes > 0 && bytes.length > 0; changes--) {
    // Half of the changes fall on the header or the first records, where the lengths are.
    const at = prng.below(prng.below(2) === 0 ? Math.min(bytes.length, RECORDS_AT + 16) : bytes.length)
    const kind = prng.below(6)
    if (kind === 0) bytes[at]! ^= 1 << prng.below(8)
    else if (kind === 1) bytes[at] = [0, 1, 0x7f, 0x80, 0xff][prng.below(5)]!
    else if (kind === 2) bytes = bytes.subarray(0, at)
    else if (kind === 3) bytes.fill(prng.below(2) * 0xff, at, at + 1 + prng.below(8))
    else if (kind === 4) bytes.copyWithin(at, prng.below(bytes.length), prng.below(bytes.length))
    else bytes[at] = prng.below(256)
  }
  return bytes
}

/** Length and checksum made true again, so that what lies behind them is reached. */
function repaired(bytes: Uint8Array): Uint8Array {
  if (bytes.length < RECORDS_AT) return bytes
  const whole = Uint8Array.from(bytes)
  const data = new DataView(whole.buffer)
  data.setInt32(BATCH_LENGTH_AT, whole.length - 12)
  data.setInt8(16, 2)
  if (prng.below(4) === 0) data.setInt16(ATTRIBUTES_AT, prng.below(128))
  data.setUint32(CRC_AT, crc32c(whole.subarray(CRC_FROM)))
  return whole
}

function input(): Uint8Array {
  const kind = prng.below(10)
  if (kind === 0) return randomBytes(400)
  const bytes = mutated(soundBatch())
  if (kind < 8) return repaired(bytes)
  const first = soundBatch()
  const second = repaired(bytes)
  const nextOffset = view.reset(first).nextOffset
  if (second.length >= RECORDS_AT) view.reset(second).stamp(nextOffset, 0)
  return Uint8Array.from([...first, ...second])
}

/** Reads all there is; answers whether it ended without a fault. */
function drain(reader: BatchReader, bytes: Uint8Array): boolean {
  reader.reset(bytes, prng.below(3))
  let last = -1
  try {
    while (reader.next()) {
      assert.ok(reader.offset > last, 'offsets rise')
      last = reader.offset
      assert.ok(reader.payloadBytes <= UNPACKED_BYTES_MAX, 'a record is not larger than what may be unpacked')
      assert.equal((reader.key?.length ?? 0) + (reader.value?.length ?? 0), reader.payloadBytes)
      for (const header of reader.headers) assert.ok(header.key.length >= 0)
      reached.delivered++
    }
    return true
  } catch (error) {
    if (!isMillraceError(error)) throw error
    reached.thrown++
    return false
  }
}

function tryInput(bytes: Uint8Array): void {
  for (const limits of [CLIENT, LOG]) {
    const fault = checkBatch(bytes, 0, bytes.length, limits)
    if (fault === undefined) reached.sound++
    else {
      reached.refused++
      assert.ok(FAULTS.has(fault.code), fault.code)
      assert.ok(fault.text.length > 10 && !fault.text.includes('undefined'), fault.text)
    }
    if (fault === undefined) checkSound(bytes)
  }
  drain(checked, bytes)
  drain(trusting, bytes)
}

/** What checkBatch calls sound, a reader must read, unless a codec refuses the packed records. */
function checkSound(bytes: Uint8Array): void {
  const end = view.reset(bytes).end
  assert.ok(end <= bytes.length)
  if (view.isControl) readMarker(view)
  const isPlain = view.codec === 0
  const stamped = Uint8Array.from(bytes.subarray(0, end))
  view.reset(stamped).stamp(5, 1)
  const whole = drain(checked, stamped)
  if (isPlain) assert.ok(whole, 'checkBatch takes a plain batch that BatchReader does not')
}

test(`damaged and invented batches (seed ${SEED})`, async (context) => {
  context.diagnostic(REPRODUCE)
  const rssBefore = process.memoryUsage().rss
  const from = systemClock.monotonicMs()
  let inputs = 0
  for (let now = from; inputs < COUNT && now - from < BUDGET_MS; inputs++) {
    const bytes = input()
    try {
      tryInput(bytes)
    } catch (error) {
      const hex = Buffer.from(bytes).toString('hex')
      const what = error instanceof Error ? error.message : String(error)
      throw new Error(`input ${inputs}: ${what}\n${hex}\nreproduce: ${REPRODUCE}`, { cause: error })
    }
    const after = systemClock.monotonicMs()
    assert.ok(after - now < INPUT_MS_MAX, `input ${inputs} took ${after - now} ms; reproduce: ${REPRODUCE}`)
    now = after
    if (inputs % INPUTS_A_TURN === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  const { rss } = process.memoryUsage()
  assert.ok(
    rss - rssBefore < RSS_GROWTH_BYTES_MAX,
    `the process grew from ${rssBefore} to ${rss} bytes; reproduce: ${REPRODUCE}`,
  )
  context.diagnostic(`${inputs} inputs, ${JSON.stringify(reached)}`)
  // A fuzz that only ever meets the first check proves nothing.
  if (inputs > 1000) for (const [what, count] of Object.entries(reached)) assert.ok(count > 0, `no input was ${what}`)
})
