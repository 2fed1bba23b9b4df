/** The clock that a test moves. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TestClock } from '../../../src/in-process/test-clock.ts'

const settle = () => Promise.resolve()

test('an advance runs what is due, in order of time, at its time', async () => {
  const clock = new TestClock(1_000_000)
  const seen: [string, number][] = []
  const note = (name: string) => () => seen.push([name, clock.monotonicMs()])
  clock.after(30, note('c'))
  clock.after(10, note('a'))
  clock.startTimer(10, note('client'))
  clock.after(10, note('b'))
  clock.after(10.5, note('half'))
  clock.after(31, note('late'))
  const cancel = clock.after(20, note('cancelled'))
  cancel()
  clock.startTimer(5, note('given up')).cancel()
  await clock.advance(30, settle)
  assert.deepEqual(seen, [
    ['a', 10],
    ['b', 10],
    ['client', 10],
    ['half', 10.5],
    ['c', 30],
  ])
  assert.deepEqual([clock.monotonicMs(), clock.nowMs(), clock.nextInMs], [30, 1_000_030, 1])
})

test('what a task sets anew within the advance runs within it, too', async () => {
  const clock = new TestClock(0)
  const seen: number[] = []
  const again = (left: number) => {
    seen.push(clock.monotonicMs())
    if (left > 0) clock.after(7, () => again(left - 1))
  }
  clock.after(7, () => again(9))
  await clock.advance(50, settle)
  assert.deepEqual(seen, [7, 14, 21, 28, 35, 42, 49])
  const stop = clock.every(10, () => seen.push(clock.monotonicMs()))
  await clock.advance(25, settle)
  stop()
  await clock.advance(100, settle)
  assert.deepEqual(
    seen.slice(7),
    [56, 60, 63, 70, 70].sort((left, right) => left - right),
  )
})

test('a long advance takes a bounded number of steps, and a period that passed often is noticed once a step', async () => {
  const clock = new TestClock(0)
  let periods = 0
  let settles = 0
  clock.every(1, () => periods++)
  await clock.advance(30 * 86_400_000, async () => {
    settles++
  })
  assert.ok(periods > 1_000 && periods <= 2_001, `${periods}`)
  assert.ok(settles <= 2_002)
  assert.equal(clock.monotonicMs(), 30 * 86_400_000)
})

test('two advances at once are a mistake', async () => {
  const clock = new TestClock(0)
  clock.after(1, () => {})
  const first = clock.advance(10, () => new Promise((resolve) => setImmediate(resolve)))
  await assert.rejects(clock.advance(10, settle), /already/)
  await first
})
