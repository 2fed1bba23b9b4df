import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Agent } from '../../../src/agent/agent.ts'
import { AgentInvoker } from '../../../src/agent/agent-invoker.ts'
import { LoopTurns, pauseWhileWaiting, runAgent } from '../../../src/agent/agent-runner.ts'
import { systemClock } from '../../../src/base/node/system-clock.ts'

import { createSignals, Doorbell, RingSignal } from '../../../src/ring/ring-signal.ts'

/** Works `turns` times, then idles; done after `idleTurns` idle ones. */
class CountingAgent implements Agent {
  readonly name = 'counting'
  closed = 0
  #turns: number
  #idleTurns: number
  readonly #deadlineMs: number
  constructor(options: { turns: number; idleTurns: number; deadlineMs?: number }) {
    this.#turns = options.turns
    this.#idleTurns = options.idleTurns
    this.#deadlineMs = options.deadlineMs ?? Number.POSITIVE_INFINITY
  }
  get isDone(): boolean {
    return this.#idleTurns === 0
  }
  doWork(): number {
    if (this.#turns > 0) return this.#turns--
    this.#idleTurns--
    return 0
  }
  deadlineMs(): number {
    return this.#deadlineMs
  }
  close(): void {
    this.closed++
  }
}

function harness(nowMs = 100) {
  const waits: { sequence: number; timeoutMs: number }[] = []
  let sequence = 0
  return {
    waits,
    options: {
      clock: { nowMs: () => 0, monotonicMs: () => nowMs },
      signal: {
        sequence: () => sequence++,
        wait: (seen: number, timeoutMs: number) => void waits.push({ sequence: seen, timeoutMs }),
      },
    },
  }
}

describe('runAgent', () => {
  test('waits only after an idle turn, with the sequence from before it, up to the deadline', async () => {
    const { waits, options } = harness()
    const agent = new CountingAgent({ turns: 2, idleTurns: 2, deadlineMs: 130 })
    await runAgent(agent, options)
    assert.deepEqual(waits, [{ sequence: 2, timeoutMs: 30 }])
    assert.equal(agent.closed, 1)
  })

  test('bounds a wait without deadline, and does not wait for one that has passed', async () => {
    const bounded = harness()
    await runAgent(new CountingAgent({ turns: 0, idleTurns: 2 }), { ...bounded.options, waitMsMax: 50 })
    assert.deepEqual(bounded.waits, [{ sequence: 0, timeoutMs: 50 }])
    const late = harness()
    await runAgent(new CountingAgent({ turns: 0, idleTurns: 3, deadlineMs: 99 }), late.options)
    assert.deepEqual(late.waits, [])
  })

  test('closes once and throws on what the agent throws', async () => {
    const agent = new CountingAgent({ turns: 1, idleTurns: 1 })
    agent.doWork = () => {
      throw new Error('broken')
    }
    await assert.rejects(runAgent(agent, harness().options), /broken/)
    assert.equal(agent.closed, 1)
  })
})

test('calls of codecs are followed by turns of the event loop, in which other code of the thread runs', async () => {
  const turns = new LoopTurns()
  let immediates = 0
  let seenBetween = 0
  const next = () => {
    immediates++
    if (immediates < 100) setImmediate(next)
  }
  setImmediate(next)
  const agent = new CountingAgent({ turns: 320, idleTurns: 2 })
  const work = agent.doWork.bind(agent)
  agent.doWork = () => {
    turns.count(1)
    seenBetween = immediates
    return work()
  }
  await runAgent(agent, { ...harness().options, pause: turns.pause })
  assert.ok(seenBetween >= 9 && seenBetween <= 11, `${seenBetween} turns`)
})

describe('pauseWhileWaiting', () => {
  /** Waits for `left` callbacks of the event loop; counts its turns while it does. */
  class CallbackAgent extends CountingAgent {
    isWaiting = true
    onReady: (() => void) | undefined
    looks = 0
    override doWork(): number {
      this.looks++
      return super.doWork()
    }
    answer(): void {
      this.isWaiting = false
      this.onReady?.()
    }
  }

  test('the event loop runs until the callback comes, and the agent looks around when it is rung', async () => {
    const memory = createSignals()
    const signal = new RingSignal(memory)
    const agent = new CallbackAgent({ turns: 3, idleTurns: 100 })
    const pause = pauseWhileWaiting(agent, {
      clock: systemClock,
      makeBell: (onRing) => new Doorbell(memory, onRing),
    })
    const looks: number[] = []
    // Each step waits for the one before: on a busy machine timers that were set together come together.
    const whenLooked = (times: number, then: () => void): void => {
      if (agent.looks < times) setTimeout(whenLooked, 1, times, then)
      else setTimeout(then, 20)
    }
    whenLooked(4, () => {
      looks.push(agent.looks)
      signal.ring()
      whenLooked(agent.looks + 1, () => {
        looks.push(agent.looks)
        agent.answer()
      })
    })
    await runAgent(agent, { clock: systemClock, signal, pause, waitMsMax: 1 })
    const [beforeRing, afterRing] = looks
    assert.ok(beforeRing! >= 4 && beforeRing! <= 6, `${beforeRing} looks before it was rung`)
    assert.ok(afterRing! > beforeRing! && afterRing! <= beforeRing! + 2, `${afterRing} looks after it was rung`)
    assert.equal(agent.closed, 1)
    // The thread may sleep again: whoever rings finds the flag as wait() leaves it.
    assert.equal(new Int32Array(memory)[1], 0)
  })
})

describe('AgentInvoker', () => {
  test('steps all until idle, answers the earliest deadline, closes once', () => {
    const agents = [
      new CountingAgent({ turns: 3, idleTurns: 9, deadlineMs: 7 }),
      new CountingAgent({ turns: 1, idleTurns: 9, deadlineMs: 5 }),
    ]
    const invoker = new AgentInvoker(agents)
    assert.equal(invoker.runUntilIdle(), 3)
    assert.equal(invoker.deadlineMs(), 5)
    assert.equal(invoker.isDone, false)
    invoker.close()
    invoker.close()
    assert.deepEqual(
      agents.map((agent) => agent.closed),
      [1, 1],
    )
  })

  test('does not run for ever, and closes all when one throws', () => {
    const busy = new CountingAgent({ turns: 1000, idleTurns: 1 })
    assert.throws(() => new AgentInvoker([busy]).runUntilIdle(10), /counting were not idle after 10 rounds/)
    const broken = new CountingAgent({ turns: 1, idleTurns: 1 })
    broken.doWork = () => {
      throw new Error('broken')
    }
    assert.throws(() => new AgentInvoker([busy, broken]).turn(), /broken/)
    assert.deepEqual([busy.closed, broken.closed], [1, 1])
  })
})
