/**
 * agent-stepper: one agent as its thread would run it, but stepped from outside: it sleeps after an idle turn until its signal is
 * rung or its deadline is there, and never looks around by itself in between.
 *
 * Invariants  the signal's sequence is read before the turn: what is rung during a turn is not slept over (AR1)
 *             close() is called exactly once, also when doWork or deadlineMs throws (AR2)
 * Failure     an exception out of the agent closes it and is told to onEnded; nothing is thrown on
 */
import type { Agent } from './agent.ts'

export interface AgentStepperOptions {
  readonly agent: Agent
  readonly signal: { sequence(): number }
  /** The agent has ended, by itself or by `error`. */
  readonly onEnded: (error: unknown) => void
}

export class AgentStepper {
  readonly name: string
  readonly #agent: Agent
  readonly #signal: { sequence(): number }
  readonly #onEnded: (error: unknown) => void
  #isAsleep = false
  #hasEnded = false
  #sequence = 0
  #wakeMs = 0

  constructor(options: AgentStepperOptions) {
    this.name = options.agent.name
    this.#agent = options.agent
    this.#signal = options.signal
    this.#onEnded = options.onEnded
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** One turn, unless it sleeps; how much was done, 0 = it sleeps, or has ended. */
  step(nowMs: number): number {
    if (this.#hasEnded) return 0
    const sequence = this.#signal.sequence()
    if (this.#isAsleep && sequence === this.#sequence && nowMs < this.#wakeMs) return 0
    this.#sequence = sequence
    this.#isAsleep = false
    try {
      const work = this.#agent.doWork()
      if (this.#agent.isDone) {
        this.#end(undefined)
        return 1
      }
      if (work > 0) return work
      this.#wakeMs = this.#agent.deadlineMs()
      this.#isAsleep = true
      return 0
    } catch (error) {
      this.#end(error)
      return 1
    }
  }

  /** Looks again at the next step, whatever was rung: a callback of its thread's event loop has come. */
  wake(): void {
    this.#isAsleep = false
  }

  /** Monotonic ms at which it has something to do; Infinity = only when it is rung. */
  deadlineMs(): number {
    if (this.#hasEnded) return Number.POSITIVE_INFINITY
    return this.#isAsleep ? this.#wakeMs : Number.NEGATIVE_INFINITY
  }

  #end(error: unknown): void {
    this.#hasEnded = true
    this.#agent.close()
    this.#onEnded(error)
  }
}
