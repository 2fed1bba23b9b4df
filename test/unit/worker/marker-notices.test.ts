/** MarkerNotices: one attempt of a transactional id waits for room, the latest; of others none is lost. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PartitionRef } from '../../../src/model/ids.ts'
import type { Notice } from '../../../src/ring/control-messages.ts'
import type { MarkersToWrite } from '../../../src/transaction/index.ts'
import { MarkerNotices } from '../../../src/worker/marker-notices.ts'
import type { NoticeSender } from '../../../src/worker/notice-sender.ts'
import { topicIdOf } from '../../support/group-fixture.ts'

const REF = 3 as PartitionRef

function attempt(transactionalId: string, partitions: number): MarkersToWrite {
  return {
    ...{ transactionalId, producerId: 7, producerEpoch: 1, coordinatorEpoch: 0, isCommit: true, isClassic: false },
    partitions: Array.from({ length: partitions }, (_, partition) => ({ topicId: topicIdOf(1), partition })),
  }
}

function setUp() {
  const outbox = { room: Number.POSITIVE_INFINITY, sent: [] as [string, number][][] }
  const send = (notice: Notice): boolean => {
    assert.ok(notice.kind === 'write-markers' && notice.partitionRef === REF)
    if (outbox.sent.length >= outbox.room) return false
    outbox.sent.push(notice.rows.map(({ transactionalId, partitions }) => [transactionalId, partitions.length]))
    return true
  }
  return { outbox, notices: new MarkerNotices({ send } as unknown as NoticeSender) }
}

test('a later attempt takes the place of one that still waits', () => {
  const { outbox, notices } = setUp()
  outbox.room = 0
  notices.add(REF, attempt('a', 1))
  notices.add(REF, attempt('b', 1))
  assert.equal(notices.send(), 0)
  notices.add(REF, attempt('a', 2))
  outbox.room = 9
  assert.equal(notices.send(), 1)
  assert.deepEqual(outbox.sent, [
    [
      ['a', 2],
      ['b', 1],
    ],
  ])
  assert.equal(notices.isEmpty, true)
})

test('what has no room leaves later, in the order in which it came', () => {
  const { outbox, notices } = setUp()
  for (const id of ['a', 'b', 'c']) notices.add(REF, attempt(id, 1_000))
  outbox.room = 1
  assert.equal(notices.send(), 1)
  assert.equal(notices.isEmpty, false)
  outbox.room = 9
  assert.equal(notices.send(), 2)
  assert.deepEqual(outbox.sent, [[['a', 1_000]], [['b', 1_000]], [['c', 1_000]]])
  assert.equal(notices.isEmpty, true)
  notices.add(REF, attempt('d', 1))
  notices.forget(REF)
  assert.equal(notices.send(), 0)
})
