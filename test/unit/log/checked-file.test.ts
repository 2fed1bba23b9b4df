/** No changed bit of an index or a snapshot is believed: they are rebuilt from the log instead. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { OffsetIndex } from '../../../src/log/offset-index.ts'
import { ProducerState } from '../../../src/log/producer-state.ts'
import { TimeIndex } from '../../../src/log/time-index.ts'

const BATCH_BYTES = 20_000

function images(): Record<string, { bytes: Uint8Array; decode: (bytes: Uint8Array) => { kind: string } }> {
  const offsets = new OffsetIndex()
  const times = new TimeIndex()
  const producers = new ProducerState()
  for (let index = 0; index < 5; index++) {
    offsets.note(index, index * BATCH_BYTES)
    times.note(1_000 + index, index, index * BATCH_BYTES)
    const batch = { producerId: index, producerEpoch: 0, baseSequence: 0, lastOffsetDelta: 0, baseOffset: index }
    producers.replay({ ...batch, maxTimestamp: 1_000, isControl: false, isTransactional: false }, 1_000)
  }
  const meta = { baseOffset: 0, coveredBytes: 5 * BATCH_BYTES }
  return {
    'offset index': { bytes: offsets.encode({ ...meta, createdMs: 1 }), decode: (bytes) => OffsetIndex.decode(bytes) },
    'time index': {
      bytes: times.encode({ ...meta, maxTimestampMs: 1_004 }),
      decode: (bytes) => TimeIndex.decode(bytes),
    },
    'producer snapshot': { bytes: producers.encode(5), decode: (bytes) => ProducerState.decode(bytes) },
  }
}

for (const [name, { bytes, decode }] of Object.entries(images()))
  test(`${name}: no changed bit and no cut of it is believed`, () => {
    assert.equal(decode(bytes).kind, 'present')
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = bytes.slice()
      changed[bit >> 3]! ^= 1 << (bit & 7)
      assert.equal(decode(changed).kind, 'unreadable', `bit ${bit}`)
    }
    for (let end = 0; end < bytes.length; end++)
      assert.equal(decode(bytes.slice(0, end)).kind, 'unreadable', `${end} bytes`)
  })
