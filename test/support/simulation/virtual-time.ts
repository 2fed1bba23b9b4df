/**
 * VirtualTime: one seeded scheduler for a whole system in one thread. Everything that waits does so through it: clocks
 * read it, timers are its events, agents are stepped by it, simulated sockets deliver through it.
 *
 * Determinism  events due at one instant run in an order drawn from the seed; between two events all promise callbacks run
 *              (nothing here touches real IO, so their order is fixed); a trace hash tells two runs apart
 * Limits       stepsMax events a run: a system that never rests is a failure, not a hang
 */

import type { Clock } from '../../../src/base/clock.ts'
import { SeededPrng } from '../../../src/base/prng.ts'

export interface VirtualTimer {
  readonly atMs: number
  readonly run: () => void
  readonly label: string
  /** Drawn: breaks ties of one instant. */
  readonly order: number
  cancelled: boolean
}

export interface SteppedAgent {
  readonly name: string
  /** Work done; 0 = idle. */
  step(): number
  /** Monotonic ms of its next timer. */
  deadlineMs(): number
  /** True: a step may settle promises, so their callbacks run before the next event. */
  readonly settlesPromises?: boolean
}

/** Lets every pending promise callback run: a macrotask of the real loop comes after all of them. */
function drainMicrotasks(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

function isBefore(left: VirtualTimer, right: VirtualTimer): boolean {
  return left.atMs < right.atMs || (left.atMs === right.atMs && left.order < right.order)
}

/** A binary heap; cancelled timers stay until they come up. */
class TimerHeap {
  readonly #timers: VirtualTimer[] = []

  /** The earliest that is not cancelled. */
  top(): VirtualTimer | undefined {
    while (this.#timers.length > 0 && this.#timers[0]!.cancelled) this.pop()
    return this.#timers[0]
  }

  push(timer: VirtualTimer): void {
    const heap = this.#timers
    let at = heap.length
    heap.push(timer)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(timer, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = timer
  }

  pop(): void {
    const heap = this.#timers
    const last = heap.pop()!
    if (heap.length === 0) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
      if (!isBefore(heap[child]!, last)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
  }
}

export class VirtualTime implements Clock {
  readonly prng: SeededPrng
  /** Wall time at virtual time zero. */
  wallOffsetMs = 1_750_000_000_000
  #nowMs = 0
  readonly #timers = new TimerHeap()
  #agents: readonly SteppedAgent[] = []
  #hash = 0x811c9dc5
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
    return this.#hash >>> 0
  }

  /** Puts `text` into the trace (FNV-1a): what a run decided, not only when. */
  trace(text: string): void {
    let hash = this.#hash
    for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
    this.#hash = hash
  }

  /** Calls `run` once, `delayMs` from now. */
  after(delayMs: number, label: string, run: () => void): VirtualTimer {
    const atMs = this.#nowMs + Math.max(0, delayMs)
    const timer: VirtualTimer = { atMs, run, label, order: this.prng.uint32(), cancelled: false }
    this.#timers.push(timer)
    return timer
  }

  cancel(timer: VirtualTimer): void {
    timer.cancelled = true
  }

  addAgent(agent: SteppedAgent): void {
    this.#agents = [...this.#agents, agent]
  }

  removeAgent(gone: SteppedAgent): void {
    this.#agents = this.#agents.filter((agent) => agent !== gone)
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
      const outcome = this.#step(limitMs)
      if (outcome === 'limit') return until()
      if (outcome === 'settle') await drainMicrotasks()
    }
    return until()
  }

  /** One event: a busy agent or a due timer, drawn by the seed; else time moves on. */
  #step(limitMs: number): 'settle' | 'silent' | 'limit' {
    this.#steps++
    const timer = this.#timers.top()
    const isDue = timer !== undefined && timer.atMs <= this.#nowMs
    // Agents and due timers take turns in an order that the seed draws; an idle turn of all agents means rest.
    if (!isDue || this.prng.below(2) === 0) {
      const agent = this.#stepAgents()
      if (agent !== undefined) return agent.settlesPromises === false ? 'silent' : 'settle'
    }
    if (!isDue) return this.#advance(timer, limitMs)
    this.#timers.pop()
    this.#note(timer.label)
    timer.run()
    return 'settle'
  }

  #stepAgents(): SteppedAgent | undefined {
    const agents = this.#agents
    const first = agents.length === 0 ? 0 : this.prng.below(agents.length)
    for (let count = 0; count < agents.length; count++) {
      const agent = agents[(first + count) % agents.length]!
      if (agent.step() === 0) continue
      this.#note(agent.name)
      return agent
    }
    return undefined
  }

  #advance(timer: VirtualTimer | undefined, limitMs: number): 'silent' | 'limit' {
    let nextMs = timer?.atMs ?? Number.POSITIVE_INFINITY
    for (const agent of this.#agents) nextMs = Math.min(nextMs, agent.deadlineMs())
    // An agent whose deadline has passed although it just said that it is idle would stop the clock: nudge it on.
    nextMs = Math.max(nextMs, this.#nowMs + 0.01)
    if (nextMs > limitMs) {
      this.#nowMs = Math.max(this.#nowMs, limitMs)
      return 'limit'
    }
    this.#nowMs = nextMs
    return 'silent'
  }

  #note(label: string): void {
    this.trace(label)
    this.#hash = Math.imul(this.#hash ^ Math.floor(this.#nowMs * 1000), 0x01000193)
  }
}
