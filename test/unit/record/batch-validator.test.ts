import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32c } from '../../../src/base/crc32c.ts'
import { VarintCursor } from '../../../src/base/varint.ts'
import type { ErrorCode } from '../../../src/model/errors.ts'
import {
  ATTRIBUTES_AT,
  BASE_OFFSET_AT,
  BASE_SEQUENCE_AT,
  BASE_TIMESTAMP_AT,
  BATCH_LENGTH_AT,
  CRC_AT,
  CRC_FROM,
  LAST_OFFSET_DELTA_AT,
  MAGIC_AT,
  MAX_TIMESTAMP_AT,
  PRODUCER_EPOCH_AT,
  PRODUCER_ID_AT,
  RECORDS_AT,
  RECORDS_COUNT_AT,
} from '../../../src/record/batch-layout.ts'
import { type BatchLimits, checkBatch } from '../../../src/record/batch-validator.ts'
import { BatchWriter } from '../../../src/record/batch-writer.ts'
import { nodeCodecs } from '../../../src/record/node-codecs.ts'

const CLIENT: BatchLimits = { batchBytesMax: 10_000, origin: 'client' }
const LOG: BatchLimits = { batchBytesMax: 10_000, origin: 'log' }

function sound(): Uint8Array {
  const writer = new BatchWriter()
  writer.append('key', 'value', [{ key: 'h', value: null }], 1000)
  writer.append(null, 'second', null, 1001)
  writer.append(
    'third',
    null,
    [
      { key: 'a', value: 'b' },
      { key: '', value: '' },
    ],
    900,
  )
  return writer.finish().slice()
}

/** A sound batch with a change, hashed again, so that only the change can be at fault. */
function changed(change: (data: DataView, bytes: Uint8Array) => void): Uint8Array {
  const bytes = sound()
  change(new DataView(bytes.buffer), bytes)
  return rehashed(bytes)
}

function rehashed(bytes: Uint8Array): Uint8Array {
  new DataView(bytes.buffer).setUint32(CRC_AT, crc32c(bytes.subarray(CRC_FROM)))
  return bytes
}

interface Case {
  readonly name: string
  readonly bytes: Uint8Array
  readonly client: ErrorCode | 'sound'
  readonly log: ErrorCode | 'sound'
  readonly says?: RegExp
}

const cut = sound().subarray(0, -1)
const flipped = sound()
flipped[70]! ^= 1

const cases: Case[] = [
  { name: 'a sound batch', bytes: sound(), client: 'sound', log: 'sound' },
  {
    name: 'nothing',
    bytes: new Uint8Array(0),
    client: 'CORRUPT_MESSAGE',
    log: 'CORRUPT_MESSAGE',
    says: /0 bytes are left/,
  },
  {
    name: 'eleven bytes',
    bytes: sound().subarray(0, 11),
    client: 'CORRUPT_MESSAGE',
    log: 'CORRUPT_MESSAGE',
    says: /11 bytes/,
  },
  {
    name: 'a header without records',
    bytes: sound().subarray(0, 61),
    client: 'CORRUPT_MESSAGE',
    log: 'CORRUPT_MESSAGE',
    says: /61 are left/,
  },
  {
    name: 'a byte missing',
    bytes: cut,
    client: 'CORRUPT_MESSAGE',
    log: 'CORRUPT_MESSAGE',
    says: new RegExp(`${cut.length + 1} bytes, ${cut.length} are left`),
  },
  {
    name: 'a negative length',
    bytes: changed((data) => data.setInt32(BATCH_LENGTH_AT, -1)),
    client: 'CORRUPT_MESSAGE',
    log: 'CORRUPT_MESSAGE',
    says: /length|shorter/,
  },
  {
    name: 'a length below the header',
    bytes: changed((data) => data.setInt32(BATCH_LENGTH_AT, 48)),
    client: 'CORRUPT_MESSAGE',
    log: 'CORRUPT_MESSAGE',
    says: /shorter than its header/,
  },
  {
    name: 'a length near 2 GiB',
    bytes: changed((data) => data.setInt32(BATCH_LENGTH_AT, 0x7fffffff)),
    client: 'MESSAGE_TOO_LARGE',
    log: 'MESSAGE_TOO_LARGE',
    says: /2147483659/,
  },
  {
    name: 'magic 0',
    bytes: changed((data) => data.setInt8(MAGIC_AT, 0)),
    client: 'UNSUPPORTED_FOR_MESSAGE_FORMAT',
    log: 'UNSUPPORTED_FOR_MESSAGE_FORMAT',
    says: /old message format 0/,
  },
  {
    name: 'magic 1',
    bytes: changed((data) => data.setInt8(MAGIC_AT, 1)),
    client: 'UNSUPPORTED_FOR_MESSAGE_FORMAT',
    log: 'UNSUPPORTED_FOR_MESSAGE_FORMAT',
    says: /old message format 1/,
  },
  {
    name: 'magic 3',
    bytes: changed((data) => data.setInt8(MAGIC_AT, 3)),
    client: 'CORRUPT_MESSAGE',
    log: 'CORRUPT_MESSAGE',
    says: /magic of the batch is 3/,
  },
  { name: 'a flipped bit', bytes: flipped, client: 'CORRUPT_MESSAGE', log: 'CORRUPT_MESSAGE', says: /checksum/ },
  {
    name: 'no records',
    bytes: changed((data) => {
      data.setInt32(RECORDS_COUNT_AT, 0)
      data.setInt32(LAST_OFFSET_DELTA_AT, -1)
    }),
    client: 'INVALID_RECORD',
    log: 'INVALID_RECORD',
    says: /delta of the batch is -1/,
  },
  {
    name: 'a count below the records',
    bytes: changed((data) => {
      data.setInt32(RECORDS_COUNT_AT, 2)
      data.setInt32(LAST_OFFSET_DELTA_AT, 1)
    }),
    client: 'INVALID_RECORD',
    log: 'INVALID_RECORD',
    says: /bytes follow the last of 2/,
  },
  {
    name: 'a count above the records',
    bytes: changed((data) => {
      data.setInt32(RECORDS_COUNT_AT, 4)
      data.setInt32(LAST_OFFSET_DELTA_AT, 3)
    }),
    client: 'INVALID_RECORD',
    log: 'INVALID_RECORD',
    says: /record 3 of 4/,
  },
  {
    name: 'a huge count',
    bytes: changed((data) => {
      data.setInt32(RECORDS_COUNT_AT, 0x7fffffff)
      data.setInt32(LAST_OFFSET_DELTA_AT, 0x7ffffffe)
    }),
    client: 'INVALID_RECORD',
    log: 'INVALID_RECORD',
  },
  {
    name: 'a negative count',
    bytes: changed((data) => data.setInt32(RECORDS_COUNT_AT, -3)),
    client: 'INVALID_RECORD',
    log: 'INVALID_RECORD',
    says: /-3 records/,
  },
  {
    name: 'a count that is not last delta + 1',
    bytes: changed((data) => data.setInt32(LAST_OFFSET_DELTA_AT, 9)),
    client: 'INVALID_RECORD',
    log: 'sound',
    says: /3 records, its last offset delta 9/,
  },
  {
    name: 'an unknown attribute bit',
    bytes: changed((data) => data.setInt16(ATTRIBUTES_AT, 0x80)),
    client: 'INVALID_RECORD',
    log: 'INVALID_RECORD',
    says: /0x00000080/,
  },
  {
    name: 'codec 5',
    bytes: changed((data) => data.setInt16(ATTRIBUTES_AT, 5)),
    client: 'UNSUPPORTED_COMPRESSION_TYPE',
    log: 'UNSUPPORTED_COMPRESSION_TYPE',
    says: /codec 5/,
  },
  {
    name: 'a control batch',
    bytes: changed((data) => data.setInt16(ATTRIBUTES_AT, 0x20)),
    client: 'INVALID_RECORD',
    log: 'sound',
    says: /control/,
  },
  {
    name: 'a delete horizon',
    bytes: changed((data) => data.setInt16(ATTRIBUTES_AT, 0x40)),
    client: 'INVALID_RECORD',
    log: 'sound',
    says: /delete horizon/,
  },
  {
    name: 'the append time',
    bytes: changed((data) => data.setInt16(ATTRIBUTES_AT, 0x08)),
    client: 'INVALID_TIMESTAMP',
    log: 'sound',
  },
  {
    name: 'a transaction without a producer',
    bytes: changed((data) => data.setInt16(ATTRIBUTES_AT, 0x10)),
    client: 'INVALID_RECORD',
    log: 'sound',
    says: /no producer id/,
  },
  {
    name: 'a producer without a sequence',
    bytes: changed((data) => data.setBigInt64(PRODUCER_ID_AT, 4n)),
    client: 'INVALID_RECORD',
    log: 'sound',
    says: /producer 4 has epoch -1/,
  },
  {
    name: 'no producer with epoch and sequence 0, as kafkajs sends it',
    bytes: changed((data) => {
      data.setInt16(PRODUCER_EPOCH_AT, 0)
      data.setInt32(BASE_SEQUENCE_AT, 0)
    }),
    client: 'sound',
    log: 'sound',
  },
  {
    name: 'producer id -2',
    bytes: changed((data) => data.setBigInt64(PRODUCER_ID_AT, -2n)),
    client: 'INVALID_RECORD',
    log: 'INVALID_RECORD',
    says: /-2/,
  },
  {
    name: 'a timestamp beyond the safe integers',
    bytes: changed((data) => data.setBigInt64(MAX_TIMESTAMP_AT, 2n ** 60n)),
    client: 'INVALID_TIMESTAMP',
    log: 'INVALID_TIMESTAMP',
  },
  {
    name: 'a base timestamp beyond the safe integers',
    bytes: changed((data) => data.setBigInt64(BASE_TIMESTAMP_AT, 2n ** 60n)),
    client: 'INVALID_TIMESTAMP',
    log: 'INVALID_TIMESTAMP',
  },
  {
    name: 'a negative base offset, which the leader overwrites',
    bytes: changed((data) => data.setBigInt64(BASE_OFFSET_AT, -9n)),
    client: 'sound',
    log: 'CORRUPT_MESSAGE',
    says: /base offset/,
  },
  {
    name: 'a byte after the last record',
    bytes: trailing(),
    client: 'INVALID_RECORD',
    log: 'INVALID_RECORD',
    says: /1 bytes follow/,
  },
]

function trailing(): Uint8Array {
  const bytes = new Uint8Array(sound().length + 1)
  bytes.set(sound())
  new DataView(bytes.buffer).setInt32(BATCH_LENGTH_AT, bytes.length - 12)
  return rehashed(bytes)
}

for (const { name, bytes, client, log, says } of cases) {
  test(`${name}: ${client} from a client, ${log} in a log`, () => {
    const fault = checkBatch(bytes, 0, bytes.length, CLIENT)
    assert.equal(fault?.code ?? 'sound', client, fault?.text)
    const logFault = checkBatch(bytes, 0, bytes.length, LOG)
    assert.equal(logFault?.code ?? 'sound', log, logFault?.text)
    if (says !== undefined) assert.match((fault ?? logFault)?.text ?? '', says)
  })
}

test('the limit is a whole batch', () => {
  const bytes = sound()
  assert.equal(checkBatch(bytes, 0, bytes.length, { ...CLIENT, batchBytesMax: bytes.length }), undefined)
  const fault = checkBatch(bytes, 0, bytes.length, { ...CLIENT, batchBytesMax: bytes.length - 1 })
  assert.equal(fault?.code, 'MESSAGE_TOO_LARGE')
})

test('a batch must end by `end`, not by the end of the memory', () => {
  const bytes = sound()
  assert.equal(checkBatch(bytes, 0, bytes.length - 1, CLIENT)?.code, 'CORRUPT_MESSAGE')
})

test('every change of one byte of a record to any value is refused, or leaves a record that is whole', () => {
  // Exhaustive over the varints of the first record: what the walk accepts must parse by an independent reading.
  const length = sound().length
  for (let at = RECORDS_AT; at < length; at++)
    for (let value = 0; value < 256; value++) {
      const bytes = changed((_, bytes) => {
        bytes[at] = value
      })
      assert.equal(checkBatch(bytes, 0, length, CLIENT) === undefined, parses(bytes), `byte ${at} = ${value}`)
    }
})

/** The slow and obvious reading of an uncompressed batch's records, as the independent half of the test above. */
function parses(bytes: Uint8Array): boolean {
  const cursor = new VarintCursor(bytes, RECORDS_AT, bytes.length)
  const count = new DataView(bytes.buffer).getInt32(RECORDS_COUNT_AT)
  for (let index = 0; index < count; index++) {
    const bodyBytes = cursor.varint()
    if (!cursor.ok || bodyBytes < 0 || bodyBytes > bytes.length - cursor.at) return false
    const body = new VarintCursor(bytes, cursor.at, cursor.at + bodyBytes)
    body.skip(1)
    body.varlong()
    if (body.varint() !== index) return false
    for (let part = 0; part < 2; part++) passNullable(body)
    const headers = body.varint()
    if (headers < 0) return false
    for (let header = 0; header < headers && body.ok; header++) {
      body.skip(body.varint())
      passNullable(body)
    }
    if (!body.ok || body.at !== body.end) return false
    cursor.skip(bodyBytes)
  }
  return cursor.ok && cursor.at === bytes.length
}

function passNullable(cursor: VarintCursor): void {
  const bytes = cursor.varint()
  if (bytes !== -1) cursor.skip(bytes)
}

test('the records of a compressed batch are not opened', () => {
  const writer = new BatchWriter({ codecs: nodeCodecs() })
  for (let index = 0; index < 50; index++) writer.append(null, 'again and again', null, 1)
  const bytes = writer.finish({ codec: 1 })
  bytes[bytes.length - 1]! ^= 0xff
  assert.equal(checkBatch(bytes, 0, bytes.length, CLIENT)?.code, 'CORRUPT_MESSAGE')
  new DataView(bytes.buffer).setUint32(CRC_AT, crc32c(bytes.subarray(CRC_FROM)))
  assert.equal(checkBatch(bytes, 0, bytes.length, CLIENT), undefined)
})
