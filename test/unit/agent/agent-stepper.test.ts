/** One agent stepped from outside, as its thread would run it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Agent } from '../../../src/agent/agent.ts'
import { AgentStepper } from '../../../src/agent/agent-stepper.ts'
import { createSignals, RingSignal } from '../../../src/ring/ring-signal.ts'

class ScriptedAgent implements Agent {
  readonly name = 'scripted'
  isDone = false
  turns = 0
  closed = 0
  onTurn: () => number = () => 0
  atMs = Number.POSITIVE_INFINITY
  doWork(): number {
    this.turns++
    return this.onTurn()
  }
  deadlineMs(): number {
    return this.atMs
  }
  close(): void {
    this.closed++
  }
}

function makeStepper() {
  const agent = new ScriptedAgent()
  const signal = new RingSignal(createSignals())
  const ends: unknown[] = []
  const stepper = new AgentStepper({ agent, signal, onEnded: (error) => ends.push(error) })
  return { agent, signal, ends, stepper }
}

test('it sleeps after an idle turn until its signal or its deadline', () => {
  const { agent, signal, stepper } = makeStepper()
  assert.equal(stepper.deadlineMs(), Number.NEGATIVE_INFINITY)
  agent.atMs = 50
  for (let step = 0; step < 3; step++) assert.equal(stepper.step(0), 0)
  assert.deepEqual([agent.turns, stepper.deadlineMs()], [1, 50])
  stepper.step(50)
  assert.equal(agent.turns, 2)
  agent.atMs = Number.POSITIVE_INFINITY
  stepper.step(50)
  assert.equal(agent.turns, 3)
  stepper.step(1_000)
  assert.equal(agent.turns, 3)
  signal.ring()
  stepper.step(1_000)
  assert.equal(agent.turns, 4)
  stepper.wake()
  stepper.step(1_000)
  assert.equal(agent.turns, 5)
})

test('what is rung during a turn is not slept over', () => {
  const { agent, signal, stepper } = makeStepper()
  agent.onTurn = () => {
    if (agent.turns === 1) signal.ring()
    return 0
  }
  stepper.step(0)
  stepper.step(0)
  stepper.step(0)
  assert.equal(agent.turns, 2)
})

test('it ends once: done by itself, or by an exception, out of the deadline too', () => {
  const byItself = makeStepper()
  byItself.agent.onTurn = () => {
    byItself.agent.isDone = true
    return 0
  }
  assert.equal(byItself.stepper.step(0), 1)
  assert.equal(byItself.stepper.step(0), 0)
  assert.deepEqual([byItself.ends, byItself.agent.closed, byItself.agent.turns], [[undefined], 1, 1])
  for (const where of ['doWork', 'deadlineMs'] as const) {
    const { agent, ends, stepper } = makeStepper()
    const fault = new Error(where)
    agent[where] = () => {
      throw fault
    }
    stepper.step(0)
    stepper.step(0)
    assert.deepEqual([ends, agent.closed, stepper.hasEnded, stepper.deadlineMs()], [[fault], 1, true, Infinity])
  }
})
