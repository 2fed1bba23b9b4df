/** ParkedRequests: by id as they came, by time, and no more than they may. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PartitionRef } from '../../../src/model/ids.ts'
import { PARKED_MS, ParkedRequests } from '../../../src/worker/parked-requests.ts'

function request(requestId: number, headerBytes = 10) {
  return { requestId, body: { partitionRef: 0 as PartitionRef, header: new Uint8Array(headerBytes) } }
}

const idsOf = (requests: readonly { requestId: number }[]): number[] => requests.map(({ requestId }) => requestId)

test('those of an id come back as they came, and only once', () => {
  const parked = new ParkedRequests<string, ReturnType<typeof request>['body']>()
  for (const [id, number] of [
    ['a', 1],
    ['b', 2],
    ['a', 3],
  ] as const)
    assert.ok(parked.offer('owner', id, request(number), 0))
  assert.ok(parked.offer('another', 'a', request(4), 0))
  assert.deepEqual(idsOf(parked.take('owner', 'a')), [1, 3])
  assert.deepEqual(parked.take('owner', 'a'), [])
  assert.deepEqual(idsOf(parked.takeAll('another')), [4])
  assert.equal(parked.count, 1)
  assert.equal(parked.takeExpired(PARKED_MS)?.requestId, 2)
  assert.equal(parked.takeExpired(PARKED_MS), undefined)
  assert.equal(parked.nextDeadlineMs, Number.POSITIVE_INFINITY)
})

test('the time of a request runs from when it was parked first', () => {
  const parked = new ParkedRequests<string, ReturnType<typeof request>['body']>()
  const one = request(1)
  parked.offer('owner', 'a', one, 0)
  assert.equal(parked.nextDeadlineMs, PARKED_MS)
  parked.take('owner', 'a')
  assert.ok(parked.offer('owner', 'a', one, PARKED_MS - 1))
  assert.equal(parked.takeExpired(PARKED_MS - 1), undefined)
  assert.equal(parked.takeExpired(PARKED_MS), one)
  assert.ok(!parked.offer('owner', 'a', one, PARKED_MS))
})

test('bounded in number and in bytes', () => {
  const parked = new ParkedRequests<string, ReturnType<typeof request>['body']>()
  let count = 0
  while (parked.offer('owner', `${count}`, request(count), 0)) count++
  assert.equal(count, 10_000)
  assert.equal(parked.takeAll('owner').length, count)
  const large = new ParkedRequests<string, ReturnType<typeof request>['body']>()
  let taken = 0
  while (large.offer('owner', 'a', request(taken, 1024 * 1024), 0)) taken++
  assert.equal(taken, 16)
})
