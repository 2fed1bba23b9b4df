/**
 * SteppedThread: runs an Agent in virtual time the way agent-runner runs it on a thread: it sleeps after an idle turn until its signal
 * is rung or its deadline comes. It never looks around by itself, so a wake-up that nobody rings is a run that gets stuck.
 */
import type { Agent } from '../../../src/agent/agent.ts'
import type { SteppedAgent, VirtualTime } from './virtual-time.ts'

export interface SteppedThreadOptions {
  readonly agent: Agent
  readonly signal: { sequence(): number }
  readonly time: VirtualTime
  /** How long a turn that did something takes, ms. */
  readonly turnMs: () => number
  /** An exception out of the agent: the thread has ended. */
  readonly onError: (error: unknown) => void
}

export class SteppedThread implements SteppedAgent {
  readonly name: string
  readonly settlesPromises = false
  readonly #options: SteppedThreadOptions
  #isAsleep = false
  #hasEnded = false
  #sequence = -1
  #busyUntilMs = 0
  #wakeMs = 0

  constructor(options: SteppedThreadOptions) {
    this.name = options.agent.name
    this.#options = options
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  step(): number {
    const { agent, signal, time, turnMs } = this.#options
    const nowMs = time.monotonicMs()
    if (this.#hasEnded || nowMs < this.#busyUntilMs) return 0
    const sequence = signal.sequence()
    if (this.#isAsleep && sequence === this.#sequence && nowMs < this.#wakeMs) return 0
    this.#sequence = sequence
    this.#isAsleep = false
    try {
      const work = agent.doWork()
      if (agent.isDone) {
        this.#end()
        return 1
      }
      if (work > 0) {
        this.#busyUntilMs = nowMs + turnMs()
        return work
      }
      this.#isAsleep = true
      this.#wakeMs = agent.deadlineMs()
      return 0
    } catch (error) {
      this.#end()
      this.#options.onError(error)
      return 1
    }
  }

  deadlineMs(): number {
    if (this.#hasEnded) return Number.POSITIVE_INFINITY
    return this.#isAsleep ? this.#wakeMs : this.#busyUntilMs
  }

  #end(): void {
    this.#hasEnded = true
    this.#options.agent.close()
  }
}
