/**
 * VirtualTime: one seeded scheduler for a whole system in one thread. Everything that waits does so through it: clocks
 * read it, timers are its events, agents are stepped by it, simulated sockets deliver through it.
 *
 * Determinism  events due at one instant run in an order drawn from the seed; between two events all promise callbacks run
 *              (nothing here touches real IO, so their order is fixed); a trace hash tells two runs apart
 * Limits       stepsMax events a run: a system that never rests is a failure, not a hang
 */

import type { Clock } from '../../../src/base/clock.ts'
import { plainCrc32c } from '../../../src/base/crc32c.ts'
import { SeededPrng } from '../../../src/base/prng.ts'

export interface VirtualTimer {
  readonly atMs: number
  readonly run: () => void
  readonly label: string
  cancelled: boolean
}

export interface SteppedAgent {
  readonly name: string
  /** Work done; 0 = idle. */
  step(): number
  /** Monotonic ms of its next timer. */
  deadlineMs(): number
}

/** Lets every pending promise callback run: a macrotask of the real loop comes after all of them. */
function drainMicrotasks(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

export class VirtualTime implements Clock {
  readonly prng: SeededPrng
  /** Wall time at virtual time zero. */
  wallOffsetMs = 1_750_000_000_000
  #nowMs = 0
  readonly #timers = new Set<VirtualTimer>()
  readonly #agents = new Map<string, SteppedAgent>()
  #hash = 0
  #steps = 0
  #stopped = false

  constructor(seed: number) {
    this.prng = new SeededPrng(seed)
  }

  nowMs(): number {
    return Math.floor(this.wallOffsetMs + this.#nowMs)
  }

  monotonicMs(): number {
    return this.#nowMs
  }

  get steps(): number {
    return this.#steps
  }

  /** Tells two runs of one seed apart: every event's label and time went into it. */
  get traceHash(): number {
    return this.#hash
  }

  /** Puts `text` into the trace: what a run decided, not only when. */
  trace(text: string): void {
    this.#hash = plainCrc32c(new TextEncoder().encode(text), this.#hash)
  }

  /** Calls `run` once, `delayMs` from now. */
  after(delayMs: number, label: string, run: () => void): VirtualTimer {
    const timer: VirtualTimer = { atMs: this.#nowMs + Math.max(0, delayMs), run, label, cancelled: false }
    this.#timers.add(timer)
    return timer
  }

  cancel(timer: VirtualTimer): void {
    timer.cancelled = true
    this.#timers.delete(timer)
  }

  addAgent(agent: SteppedAgent): void {
    this.#agents.set(agent.name, agent)
  }

  removeAgent(name: string): void {
    this.#agents.delete(name)
  }

  stop(): void {
    this.#stopped = true
  }

  /**
   * Runs events until `until()` holds, or virtual time passes `timeoutMs` from now (answers false).
   * Throws when `stepsMax` events did not get there.
   */
  async runUntil(until: () => boolean, timeoutMs: number, stepsMax = 5_000_000): Promise<boolean> {
    const limitMs = this.#nowMs + timeoutMs
    const startSteps = this.#steps
    this.#stopped = false
    await drainMicrotasks()
    while (!until() && !this.#stopped) {
      if (this.#steps - startSteps > stepsMax)
        throw new Error(`no rest after ${stepsMax} events at virtual ${this.#nowMs} ms`)
      if (!(await this.#step(limitMs))) return until()
    }
    return until()
  }

  /** One event: a busy agent or a due timer, drawn by the seed; else time moves on. False when the limit is reached. */
  async #step(limitMs: number): Promise<boolean> {
    this.#steps++
    const due = [...this.#timers].filter((timer) => timer.atMs <= this.#nowMs)
    const agents = [...this.#agents.values()]
    const choices = due.length + agents.length
    // Agents and due timers take turns in an order that the seed draws; an idle turn of all agents means rest.
    if (due.length > 0 && (agents.length === 0 || this.prng.below(choices) < due.length)) {
      const timer = due[this.prng.below(due.length)]!
      this.#timers.delete(timer)
      this.#note(timer.label)
      timer.run()
      await drainMicrotasks()
      return true
    }
    if (this.#stepAgents(agents)) {
      await drainMicrotasks()
      return true
    }
    if (due.length > 0) return true
    return this.#advance(agents, limitMs)
  }

  #stepAgents(agents: SteppedAgent[]): boolean {
    const first = agents.length === 0 ? 0 : this.prng.below(agents.length)
    for (let count = 0; count < agents.length; count++) {
      const agent = agents[(first + count) % agents.length]!
      if (agent.step() > 0) {
        this.#note(agent.name)
        return true
      }
    }
    return false
  }

  #advance(agents: SteppedAgent[], limitMs: number): boolean {
    let nextMs = Number.POSITIVE_INFINITY
    for (const timer of this.#timers) nextMs = Math.min(nextMs, timer.atMs)
    for (const agent of agents) nextMs = Math.min(nextMs, agent.deadlineMs())
    // An agent whose deadline has passed although it just said that it is idle would stop the clock: nudge it on.
    nextMs = Math.max(nextMs, this.#nowMs + 0.05)
    if (nextMs > limitMs) {
      this.#nowMs = Math.max(this.#nowMs, limitMs)
      return false
    }
    this.#nowMs = nextMs
    return true
  }

  #note(label: string): void {
    this.trace(`${label}@${this.#nowMs.toFixed(3)}`)
  }
}
