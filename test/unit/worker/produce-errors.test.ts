/** What a shard answers to batches that a client may not send: the names that Kafka has for it (src/partition/README.md). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ErrorCode } from '../../../src/model/errors.ts'
import type { TopicConfig } from '../../../src/model/topic-config.ts'
import {
  ATTRIBUTES_AT,
  BASE_SEQUENCE_AT,
  CONTROL_BIT,
  CRC_AT,
  LAST_OFFSET_DELTA_AT,
  LOG_APPEND_TIME_BIT,
  MAGIC_AT,
  PRODUCER_EPOCH_AT,
  RECORDS_COUNT_AT,
} from '../../../src/record/batch-layout.ts'
import { BatchView } from '../../../src/record/batch-view.ts'
import { BatchWriter } from '../../../src/record/batch-writer.ts'
import { makeBatch } from '../../support/log-fixture.ts'
import { ShardFixture } from '../../support/shard-fixture.ts'

const NEXT_YEAR_MS = 365 * 86_400_000
const PRODUCER = { producerId: 5, producerEpoch: 1, baseSequence: 0 }

/** The batch with a change that its checksum knows of. */
function changed(batch: Uint8Array, change: (view: DataView) => void): Uint8Array {
  const data = new DataView(batch.buffer, batch.byteOffset)
  change(data)
  data.setUint32(CRC_AT, new BatchView().reset(batch, 0).computeCrc())
  return batch
}

function transactional(): Uint8Array {
  const writer = new BatchWriter({})
  writer.append(null, new Uint8Array(1), null, 1_000)
  return writer.finish({ ...PRODUCER, transactional: true }).slice()
}

interface Case {
  readonly what: string
  readonly error: ErrorCode
  readonly batch: (shard: ShardFixture) => Uint8Array
  readonly config?: Partial<TopicConfig>
}

const LARGEST = makeBatch({ valueBytes: 2_000 })

const CASES: readonly Case[] = [
  { what: 'nothing', error: 'INVALID_RECORD', batch: () => new Uint8Array(0) },
  {
    ...{ what: 'a wrong checksum', error: 'CORRUPT_MESSAGE' },
    batch: () => {
      const batch = makeBatch()
      batch[batch.length - 1]! ^= 1
      return batch
    },
  },
  { what: 'half a batch', error: 'CORRUPT_MESSAGE', batch: () => makeBatch().subarray(0, 40) },
  {
    ...{ what: 'the old message format', error: 'UNSUPPORTED_FOR_MESSAGE_FORMAT' },
    batch: () => changed(makeBatch(), (view) => view.setInt8(MAGIC_AT, 1)),
  },
  {
    ...{ what: 'a control batch', error: 'INVALID_RECORD' },
    batch: () => changed(makeBatch(PRODUCER), (view) => view.setInt16(ATTRIBUTES_AT, CONTROL_BIT)),
  },
  {
    ...{ what: 'a sequence below 0', error: 'INVALID_RECORD' },
    batch: () => changed(makeBatch(PRODUCER), (view) => view.setInt32(BASE_SEQUENCE_AT, -1)),
  },
  {
    ...{ what: 'an epoch below 0', error: 'INVALID_RECORD' },
    batch: () => changed(makeBatch(PRODUCER), (view) => view.setInt16(PRODUCER_EPOCH_AT, -1)),
  },
  {
    ...{ what: 'fewer records than offsets', error: 'INVALID_RECORD' },
    batch: () => changed(makeBatch({ records: 2 }), (view) => view.setInt32(LAST_OFFSET_DELTA_AT, 2)),
  },
  {
    ...{ what: 'fewer records than it says', error: 'INVALID_RECORD' },
    batch: () =>
      changed(makeBatch({ records: 2 }), (view) => {
        view.setInt32(LAST_OFFSET_DELTA_AT, 2)
        view.setInt32(RECORDS_COUNT_AT, 3)
      }),
  },
  {
    ...{ what: 'no record', error: 'INVALID_RECORD' },
    batch: () =>
      changed(makeBatch(), (view) => {
        view.setInt32(LAST_OFFSET_DELTA_AT, -1)
        view.setInt32(RECORDS_COUNT_AT, 0)
      }),
  },
  {
    ...{ what: 'a record without a key, compacted', error: 'INVALID_RECORD', config: { cleanupPolicy: 'compact' } },
    batch: () => makeBatch(),
  },
  {
    ...{ what: 'one byte more than max.message.bytes', error: 'MESSAGE_TOO_LARGE' },
    ...{ config: { maxMessageBytes: LARGEST.length - 1 }, batch: () => LARGEST.slice() },
  },
  {
    ...{ what: 'as many bytes as max.message.bytes', error: 'NONE' },
    ...{ config: { maxMessageBytes: LARGEST.length }, batch: () => LARGEST.slice() },
  },
  {
    ...{ what: 'the append time', error: 'INVALID_TIMESTAMP' },
    batch: () => changed(makeBatch(), (view) => view.setInt16(ATTRIBUTES_AT, LOG_APPEND_TIME_BIT)),
  },
  {
    ...{ what: 'a time too far ahead', error: 'INVALID_TIMESTAMP', config: { timestampAfterMaxMs: 1_000 } },
    batch: ({ clock }) => makeBatch({ timestampMs: clock.nowMs() + 1_001 }),
  },
  {
    ...{ what: 'a time as far ahead as it may be', error: 'NONE', config: { timestampAfterMaxMs: 1_000 } },
    batch: ({ clock }) => makeBatch({ timestampMs: clock.nowMs() + 1_000 }),
  },
  {
    ...{ what: "a time ahead that is the broker's to set", error: 'NONE' },
    config: { timestampAfterMaxMs: 1_000, timestampType: 'LogAppendTime' },
    batch: ({ clock }) => makeBatch({ timestampMs: clock.nowMs() + 5_000 }),
  },
  {
    ...{ what: 'a time ahead without a bound', error: 'NONE' },
    batch: ({ clock }) => makeBatch({ timestampMs: clock.nowMs() + NEXT_YEAR_MS }),
  },
  {
    ...{ what: 'an older epoch', error: 'INVALID_PRODUCER_EPOCH' },
    batch: (shard) => {
      shard.produce(makeBatch(PRODUCER))
      return makeBatch({ ...PRODUCER, producerEpoch: 0, baseSequence: 1 })
    },
  },
  {
    ...{ what: 'a gap in the sequence', error: 'OUT_OF_ORDER_SEQUENCE_NUMBER' },
    batch: (shard) => {
      shard.produce(makeBatch(PRODUCER))
      return makeBatch({ ...PRODUCER, baseSequence: 2 })
    },
  },
  { what: 'a transaction that nobody registered', error: 'INVALID_TXN_STATE', batch: transactional },
]

for (const { what, error, batch, config } of CASES)
  test(`${what}: ${error}`, () => {
    const shard = new ShardFixture()
    shard.open(1, config)
    const answer = shard.produce(batch(shard))
    assert.equal(answer.error, error, answer.text)
    if (error !== 'NONE') assert.ok(answer.baseOffset === -1)
  })

test('the same batch again is answered as the first time, at an offset that the client may have put into it', () => {
  const shard = new ShardFixture()
  shard.open()
  const of = (baseOffset: number): Uint8Array => {
    const batch = makeBatch({ ...PRODUCER, records: 2 })
    new DataView(batch.buffer, batch.byteOffset).setBigInt64(0, BigInt(baseOffset))
    return batch
  }
  shard.produce(makeBatch())
  assert.deepEqual([shard.produce(of(0)).baseOffset, shard.produce(of(77)).baseOffset], [1, 1])
})
