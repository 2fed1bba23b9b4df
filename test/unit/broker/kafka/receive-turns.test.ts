import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ConnectionPool } from '../../../../src/broker/connection.ts'
import { type Receiver, ReceiveTurns } from '../../../../src/broker/kafka/receive-turns.ts'

function setUp() {
  const pool = { pendingReceiveBytes: 0, receiveBytesMax: 100 } as ConnectionPool
  const turns = new ReceiveTurns(pool)
  const went: string[] = []
  const receiver = (name: string): Receiver => {
    const self: Receiver = {
      go() {
        if (turns.mayRead(self)) went.push(name)
      },
      waitForRoom: () => {},
    }
    return self
  }
  return { pool, turns, went, receiver }
}

test('below the limit everybody reads on; past it one finishes its frame after the other', () => {
  const { pool, turns, went, receiver } = setUp()
  const [first, second, third] = [receiver('first'), receiver('second'), receiver('third')]
  for (const each of [first, second, third]) assert.ok(turns.mayRead(each))
  pool.pendingReceiveBytes = 101
  assert.ok(turns.mayRead(first))
  assert.ok(!turns.mayRead(second))
  assert.ok(!turns.mayRead(third))
  assert.ok(turns.mayRead(first), 'it keeps its turn')
  turns.end(first)
  assert.deepEqual(went, ['second'], 'the one that waited longest is next')
  turns.end(second)
  assert.deepEqual(went, ['second', 'third'])
  assert.ok(!turns.mayRead(first))
})

test('one that ends while it waits is passed over; with room again all read on', () => {
  const { pool, turns, went, receiver } = setUp()
  const [first, second, third] = [receiver('first'), receiver('second'), receiver('third')]
  pool.pendingReceiveBytes = 101
  assert.ok(turns.mayRead(first))
  for (const each of [second, third]) assert.ok(!turns.mayRead(each))
  turns.end(second)
  turns.end(first)
  assert.deepEqual(went, ['third'])
  pool.pendingReceiveBytes = 100
  for (const each of [first, second, third]) assert.ok(turns.mayRead(each))
})
