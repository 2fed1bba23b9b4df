/** The loop that steps agents on the caller's event loop. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Agent } from '../../../src/agent/agent.ts'
import { systemClock } from '../../../src/base/node/system-clock.ts'
import { AgentLoop } from '../../../src/in-process/agent-loop.ts'
import { TestClock } from '../../../src/in-process/test-clock.ts'
import { createSignals, RingSignal } from '../../../src/ring/ring-signal.ts'

const turn = () => new Promise((resolve) => setImmediate(resolve))

class Worker implements Agent {
  readonly name = 'worker'
  isDone = false
  steps = 0
  work = 0
  atMs = Number.POSITIVE_INFINITY
  closed = 0
  fault: Error | undefined
  doWork(): number {
    this.steps++
    if (this.fault !== undefined) throw this.fault
    if (this.work === 0) return 0
    this.work--
    return 1
  }
  deadlineMs(): number {
    return this.atMs
  }
  close(): void {
    this.closed++
  }
}

function makeLoop() {
  const clock = new TestClock(0)
  const loop = new AgentLoop({ clock, timers: clock })
  const settle = async () => {
    while (!loop.isIdle) await turn()
  }
  return { clock, loop, settle }
}

test('an agent is stepped while it works, sleeps when idle, and wakes by its signal, its deadline, or wake()', async () => {
  const { clock, loop, settle } = makeLoop()
  const signal = new RingSignal(createSignals())
  const agent = new Worker()
  agent.work = 100
  const wake = loop.addAgent(agent, signal, () => {})
  await settle()
  assert.deepEqual([agent.work, agent.steps], [0, 101])
  loop.wake()
  await settle()
  assert.equal(agent.steps, 101, 'nobody rang')
  signal.ring()
  loop.wake()
  await settle()
  assert.equal(agent.steps, 102)
  wake()
  await settle()
  assert.equal(agent.steps, 103)
  agent.atMs = 500
  wake()
  await settle()
  await clock.advance(499, settle)
  assert.equal(agent.steps, 104)
  agent.atMs = Number.POSITIVE_INFINITY
  await clock.advance(1, settle)
  assert.equal(agent.steps, 105)
})

test('tasks run in order, in later turns, a bounded number before the caller’s own events', async () => {
  const { loop, settle } = makeLoop()
  const seen: number[] = []
  for (let index = 0; index < 1_000; index++) loop.soon(() => seen.push(index))
  assert.deepEqual(seen, [])
  await turn()
  assert.ok(seen.length > 0 && seen.length < 1_000, `${seen.length} tasks in one turn`)
  await settle()
  assert.deepEqual(
    seen,
    Array.from({ length: 1_000 }, (_, index) => index),
  )
})

test('an agent that throws has ended, is closed once and told of; the others go on', async () => {
  const { loop, settle } = makeLoop()
  const [broken, whole] = [new Worker(), new Worker()]
  const ends: unknown[] = []
  loop.addAgent(broken, new RingSignal(createSignals()), (error) => ends.push(error))
  const wake = loop.addAgent(whole, new RingSignal(createSignals()), (error) => ends.push(error))
  await settle()
  broken.fault = new Error('broken')
  loop.forgetAgents()
  loop.addAgent(broken, new RingSignal(createSignals()), (error) => ends.push(error))
  await settle()
  assert.deepEqual([ends, broken.closed], [[broken.fault], 1])
  wake()
  whole.isDone = true
  loop.addAgent(whole, new RingSignal(createSignals()), (error) => ends.push(error))
  await settle()
  assert.deepEqual([ends.length, ends[1], whole.closed], [2, undefined, 1])
})

test('an agent that polls is looked at in real time, though the clock stands', async () => {
  const { loop } = makeLoop()
  const agent = new Worker()
  agent.atMs = 0
  loop.addAgent(agent, new RingSignal(createSignals()), () => {})
  const startMs = systemClock.monotonicMs()
  while (agent.steps < 5) {
    assert.ok(systemClock.monotonicMs() - startMs < 10_000, 'it was looked at once only')
    await turn()
  }
  assert.equal(loop.isIdle, false)
  loop.close()
  assert.equal(loop.isIdle, true)
})

test('a closed loop does nothing more', async () => {
  const { loop } = makeLoop()
  const agent = new Worker()
  agent.work = 1_000_000
  loop.addAgent(agent, new RingSignal(createSignals()), () => {})
  await turn()
  const { steps } = agent
  let hasRun = false
  loop.soon(() => {
    hasRun = true
  })
  loop.close()
  loop.soon(() => {
    hasRun = true
  })
  for (let turns = 0; turns < 3; turns++) await turn()
  assert.deepEqual([agent.steps, hasRun], [steps, false])
})
