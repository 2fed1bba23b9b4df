/** What a follower appends: every flipped bit is noticed, and so is a batch that does not belong where the log ends. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BatchView } from '../../../src/record/batch-view.ts'
import { writeFiller } from '../../../src/record/filler-batch.ts'
import { checkReplicated } from '../../../src/replication/batch-check.ts'
import { makeBatch } from '../../support/log-fixture.ts'

const place = { nextOffset: 7, isEmpty: false, lastEpoch: 2, leaderEpoch: 4 }

function stamped(baseOffset: number, leaderEpoch: number, records = 3): Uint8Array {
  const bytes = makeBatch({ records })
  new BatchView().reset(bytes).stamp(baseOffset, leaderEpoch)
  return bytes
}

function check(bytes: Uint8Array, end = bytes.length, at = place): string {
  const answer = checkReplicated(new BatchView(), { bytes, at: 0, end }, at)
  return answer.kind === 'refused' ? answer.error : answer.kind
}

test("a sound batch at the log end, of any epoch from the last one to the leader's", () => {
  for (const epoch of [2, 3, 4]) assert.equal(check(stamped(7, epoch)), 'sound')
  assert.equal(check(stamped(7, 1)), 'FENCED_LEADER_EPOCH')
  assert.equal(check(stamped(7, 5)), 'FENCED_LEADER_EPOCH')
})

test('one that begins elsewhere', () => {
  for (const offset of [0, 4, 6, 8]) assert.equal(check(stamped(offset, 3)), 'OFFSET_OUT_OF_RANGE')
  const filler = (baseOffset: number, nextOffset: number) => writeFiller({ baseOffset, nextOffset, leaderEpoch: 3 })
  assert.equal(check(filler(5, 9)), 'begins-before')
  assert.equal(check(filler(7, 9)), 'sound')
  assert.equal(check(filler(5, 7)), 'OFFSET_OUT_OF_RANGE')
  assert.equal(check(filler(8, 9)), 'OFFSET_OUT_OF_RANGE')
})

test('an empty log takes the batch that its start lies in, and no other that begins before it', () => {
  const empty = { ...place, isEmpty: true }
  for (const [offset, verdict] of [
    [5, 'sound'],
    [6, 'sound'],
    [7, 'sound'],
    [4, 'OFFSET_OUT_OF_RANGE'],
  ] as const) {
    const bytes = stamped(offset, 3)
    assert.equal(check(bytes, bytes.length, empty), verdict)
  }
})

test('one that is cut or changed: no flipped bit passes but those of the base offset, which are compared', () => {
  const batch = stamped(7, 3)
  for (let end = 0; end < batch.length; end++) assert.equal(check(batch, end), 'CORRUPT_MESSAGE')
  for (let bit = 0; bit < batch.length * 8; bit++) {
    const changed = batch.slice()
    changed[bit >> 3]! ^= 1 << (bit & 7)
    // The epoch lies outside the checksum: 3 becomes 2 and is as good.
    if (bit >> 3 === 15 && changed[15] === 2) continue
    assert.notEqual(check(changed), 'sound', `bit ${bit}`)
  }
})
