/** A lease's deadline: from when a keep-alive was sent, never later than the store's view. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KeptLease } from '../../../src/coordination/kept-lease.ts'
import { TestClock } from '../../../src/in-process/test-clock.ts'

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const TTL_MS = 3_000
const HELD_MS = 2_850

interface Asked {
  readonly atMs: number
  readonly timeoutMs: number
  readonly resolve: (isKept: boolean) => void
  readonly reject: (error: Error) => void
}

function hold() {
  const clock = new TestClock(0)
  const asked: Asked[] = []
  const told = { lost: 0, ended: 0, revoked: 0 }
  const lease = new KeptLease({
    leaseId: '1',
    ttlMs: TTL_MS,
    sentMs: 0,
    nowMs: () => clock.monotonicMs(),
    after: (delayMs, task) => clock.after(delayMs, task),
    keepAlive: (timeoutMs) =>
      new Promise((resolve, reject) => asked.push({ atMs: clock.monotonicMs(), timeoutMs, resolve, reject })),
    revoke: async () => void told.revoked++,
    onEnd: () => void told.ended++,
  })
  lease.onLost(() => told.lost++)
  return { clock, lease, asked, told }
}

test('the deadline counts from when the keep-alive was sent, however long its answer took', async () => {
  const { clock, lease, asked } = hold()
  assert.equal(lease.deadlineMs(), HELD_MS)
  await clock.advance(1_900, settle)
  assert.deepEqual(
    asked.map(({ atMs, timeoutMs }) => [atMs, timeoutMs]),
    [[1_000, 1_000]],
  )
  assert.equal(lease.deadlineMs(), HELD_MS)
  asked[0]!.resolve(true)
  await settle()
  assert.equal(lease.deadlineMs(), 1_000 + HELD_MS)
  await clock.advance(100, settle)
  assert.equal(asked[1]!.atMs, 2_000)
})

test('without an answer it is lost at the deadline, once; a later answer changes nothing', async () => {
  const { clock, lease, asked, told } = hold()
  await clock.advance(HELD_MS - 1, settle)
  assert.deepEqual(told, { lost: 0, ended: 0, revoked: 0 })
  await clock.advance(1, settle)
  assert.deepEqual(told, { lost: 1, ended: 1, revoked: 0 })
  asked[0]!.resolve(true)
  await clock.advance(60_000, settle)
  assert.equal(lease.deadlineMs(), Number.NEGATIVE_INFINITY)
  assert.equal(asked.length, 1)
  await lease.revoke()
  assert.deepEqual(told, { lost: 1, ended: 1, revoked: 0 })
})

test('a keep-alive that fails is tried again soon', async () => {
  const { clock, lease, asked } = hold()
  await clock.advance(1_000, settle)
  asked[0]!.reject(new Error('no'))
  await clock.advance(150, settle)
  assert.equal(asked[1]!.atMs, 1_150)
  asked[1]!.resolve(true)
  await settle()
  assert.equal(lease.deadlineMs(), 1_150 + HELD_MS)
})

test('the store says that it is gone: lost at once', async () => {
  const { clock, asked, told } = hold()
  await clock.advance(1_000, settle)
  asked[0]!.resolve(false)
  await settle()
  assert.deepEqual(told, { lost: 1, ended: 1, revoked: 0 })
})

test('a process that stood still past its deadline does not keep the lease alive again', async () => {
  let nowMs = 0
  const tasks: (() => void)[] = []
  let asked = 0
  let lost = 0
  const lease = new KeptLease({
    leaseId: '1',
    ttlMs: TTL_MS,
    sentMs: 0,
    nowMs: () => nowMs,
    after: (_, task) => {
      tasks.push(task)
      return () => {}
    },
    keepAlive: async () => ++asked > 0,
    revoke: async () => {},
    onEnd: () => {},
  })
  lease.onLost(() => lost++)
  nowMs = 10_000
  // The timer of the keep-alive first, as may be.
  for (const task of tasks.reverse()) task()
  await settle()
  assert.deepEqual([asked, lost], [0, 1])
})

test('revoked or abandoned: nobody is told that it is lost', async () => {
  for (const end of ['revoke', 'abandon'] as const) {
    const { clock, lease, told } = hold()
    await lease[end]()
    await clock.advance(60_000, settle)
    assert.deepEqual(told, { lost: 0, ended: 1, revoked: end === 'revoke' ? 1 : 0 })
    assert.equal(lease.deadlineMs(), Number.NEGATIVE_INFINITY)
  }
})
