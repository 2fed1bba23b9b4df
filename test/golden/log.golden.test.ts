/**
 * Golden files of a partition's folder: annotated hex that must be read, and written, to the byte; and no changed bit of one
 * is believed. Nothing writes these files: a change that breaks one breaks the data of users.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { bytesOfHex, hexOf } from '../../src/base/bytes.ts'
import { AbortedIndex, NOTHING_ABORTED } from '../../src/log/aborted-index.ts'
import { decodeCleanerCheckpoint, encodeCleanerCheckpoint } from '../../src/log/cleaner-checkpoint.ts'
import { decodeLeaderEpochs, encodeLeaderEpochs } from '../../src/log/leader-epoch-cache.ts'
import { OffsetIndex } from '../../src/log/offset-index.ts'
import { ProducerState } from '../../src/log/producer-state.ts'
import { TimeIndex } from '../../src/log/time-index.ts'

/** Bytes of an annotated file: everything after a # is comment. Tests run from dist/; the files stay in test/. */
function golden(name: string): Uint8Array {
  const text = readFileSync(new URL(`../../../test/golden/log/${name}.hex`, import.meta.url), 'utf8')
  return bytesOfHex(text.replaceAll(/#.*/g, '').replaceAll(/\s/g, ''))
}

/** Every single changed bit and every shorter file is refused. */
function checkDamage(bytes: Uint8Array, decode: (bytes: Uint8Array) => { readonly kind: string }): void {
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const damaged = bytes.slice()
    damaged[bit >> 3]! ^= 1 << (bit & 7)
    assert.equal(decode(damaged).kind, 'unreadable', `bit ${bit & 7} of byte ${bit >> 3} turned`)
  }
  for (let length = 0; length < bytes.length; length++) {
    assert.equal(decode(bytes.subarray(0, length)).kind, 'unreadable', `cut to ${length} bytes`)
  }
  assert.equal(decode(new Uint8Array([...bytes, 0])).kind, 'unreadable', 'a byte too many')
}

test('offset index', () => {
  const bytes = golden('offset-index')
  const read = OffsetIndex.decode(bytes)
  assert.ok(read.kind === 'present')
  const { index, meta } = read.value
  assert.deepEqual(meta, { baseOffset: 1000, coveredBytes: 40_000, createdMs: 1_700_000_000_000 })
  assert.equal(index.filePositionAt(index.floor(39)), 0)
  assert.equal(index.filePositionAt(index.floor(40)), 20_000)
  assert.equal(index.filePositionAt(index.floor(90)), 36_384)
  assert.equal(hexOf(index.encode(meta)), hexOf(bytes))
  const written = new OffsetIndex()
  written.note(0, 0)
  written.note(40, 20_000)
  written.note(41, 30_000)
  written.note(90, 36_384)
  assert.equal(hexOf(written.encode(meta)), hexOf(bytes))
  checkDamage(bytes, OffsetIndex.decode)
})

test('time index', () => {
  const bytes = golden('time-index')
  const read = TimeIndex.decode(bytes)
  assert.ok(read.kind === 'present')
  const { index, meta } = read.value
  assert.deepEqual(meta, { baseOffset: 1000, coveredBytes: 40_000, maxTimestampMs: 8000 })
  assert.equal(index.startOf(7000), 0)
  assert.equal(index.startOf(7001), 50)
  assert.equal(index.startOf(9000), 90)
  assert.equal(hexOf(index.encode(meta)), hexOf(bytes))
  checkDamage(bytes, TimeIndex.decode)
})

test('cleaner checkpoint', () => {
  const bytes = golden('cleaner-checkpoint')
  assert.deepEqual(decodeCleanerCheckpoint(bytes), { kind: 'present', value: 1006 })
  assert.equal(hexOf(encodeCleanerCheckpoint(1006)), hexOf(bytes))
  checkDamage(bytes, decodeCleanerCheckpoint)
})

const PRODUCER_7 = {
  ...{ producerId: 7, epoch: 2, coordinatorEpoch: -1, transactionFirst: -1 },
  batches: [{ lastSequence: 0, baseOffset: 1000, lastOffset: 1001 }],
}
const PRODUCER_8 = {
  ...{ producerId: 8, epoch: 0, coordinatorEpoch: 3, transactionFirst: 1003 },
  batches: [
    { lastSequence: 0, baseOffset: 1002, lastOffset: 1002 },
    { lastSequence: 3, baseOffset: 1003, lastOffset: 1005 },
  ],
}

test('producer snapshot', () => {
  const bytes = golden('producer-snapshot')
  const read = ProducerState.decode(bytes)
  assert.ok(read.kind === 'present')
  assert.equal(read.value.endOffset, 1006)
  assert.deepEqual(read.value.aborted, { first: 900, last: 990 })
  assert.deepEqual(read.value.open, [[8, 1003]])
  assert.deepEqual(read.value.state.describe(), [PRODUCER_7, PRODUCER_8])
  assert.equal(hexOf(read.value.state.encode(1006, { first: 900, last: 990 })), hexOf(bytes))
  checkDamage(bytes, (damaged) => ProducerState.decode(damaged))
})

test('producer snapshot of version 1: no transaction is open, none was aborted', () => {
  const read = ProducerState.decode(golden('producer-snapshot-1'))
  assert.ok(read.kind === 'present')
  assert.deepEqual(read.value.aborted, NOTHING_ABORTED)
  assert.deepEqual(read.value.state.describe(), [
    PRODUCER_7,
    { ...PRODUCER_8, coordinatorEpoch: -1, transactionFirst: -1 },
  ])
  checkDamage(golden('producer-snapshot-1'), (damaged) => ProducerState.decode(damaged))
})

test('aborted index', () => {
  const bytes = golden('aborted-index')
  const read = AbortedIndex.decode(bytes)
  assert.ok(read.kind === 'present')
  const { index, meta } = read.value
  assert.deepEqual(meta, { baseOffset: 1000, coveredEnd: 1020, coveredBytes: 2000 })
  assert.equal(index.stableOffset, 1015)
  assert.deepEqual(index.entries, [
    { producerId: 7, firstOffset: 990, lastOffset: 1004, lastStableOffset: 1002 },
    { producerId: 8, firstOffset: 1002, lastOffset: 1010, lastStableOffset: 1011 },
  ])
  assert.equal(hexOf(index.encode(meta)), hexOf(bytes))
  checkDamage(bytes, AbortedIndex.decode)
})

test('leader epochs: a torn last entry is not there yet, anything else damaged is unreadable', () => {
  const bytes = golden('leader-epochs')
  const entries: [number, number][] = [
    [0, 0],
    [3, 1000],
  ]
  assert.deepEqual(decodeLeaderEpochs(bytes), { kind: 'present', value: { entries, wholeBytes: 40 } })
  assert.equal(hexOf(encodeLeaderEpochs(entries)), hexOf(bytes))
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const damaged = bytes.slice()
    damaged[bit >> 3]! ^= 1 << (bit & 7)
    const read = decodeLeaderEpochs(damaged)
    if (bit >> 3 < 24) assert.equal(read.kind, 'unreadable', `byte ${bit >> 3}`)
    else assert.deepEqual(read, { kind: 'present', value: { entries: [[0, 0]], wholeBytes: 24 } }, `byte ${bit >> 3}`)
  }
  for (let length = 24; length < 40; length++) {
    const read = decodeLeaderEpochs(bytes.subarray(0, length))
    assert.deepEqual(read, { kind: 'present', value: { entries: [[0, 0]], wholeBytes: 24 } })
  }
})
