/**
 * SteppedThread: runs an Agent in virtual time the way agent-runner runs it on a thread: it sleeps after an idle turn until its signal
 * is rung or its deadline comes. It never looks around by itself, so a wake-up that nobody rings is a run that gets stuck.
 */
import type { Agent } from '../../../src/agent/agent.ts'
import { AgentStepper } from '../../../src/agent/agent-stepper.ts'
import type { SteppedAgent, VirtualTime } from './virtual-time.ts'

export interface SteppedThreadOptions {
  readonly agent: Agent
  readonly signal: { sequence(): number }
  readonly time: VirtualTime
  /** How long a turn that did something takes, ms. */
  readonly turnMs: () => number
  /** The thread has ended, by itself or by an exception out of the agent. */
  readonly onEnded: (error: unknown) => void
}

export class SteppedThread implements SteppedAgent {
  readonly name: string
  readonly settlesPromises = false
  readonly #stepper: AgentStepper
  readonly #time: VirtualTime
  readonly #turnMs: () => number
  #busyUntilMs = 0

  constructor({ agent, signal, time, turnMs, onEnded }: SteppedThreadOptions) {
    this.name = agent.name
    this.#stepper = new AgentStepper({ agent, signal, onEnded })
    this.#time = time
    this.#turnMs = turnMs
  }

  step(): number {
    const nowMs = this.#time.monotonicMs()
    if (nowMs < this.#busyUntilMs) return 0
    const work = this.#stepper.step(nowMs)
    if (work > 0 && !this.#stepper.hasEnded) this.#busyUntilMs = nowMs + this.#turnMs()
    return work
  }

  deadlineMs(): number {
    return this.#stepper.hasEnded ? Number.POSITIVE_INFINITY : Math.max(this.#busyUntilMs, this.#stepper.deadlineMs())
  }
}
