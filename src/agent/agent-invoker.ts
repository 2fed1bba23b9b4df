/**
 * agent-invoker: steps agents in the caller's thread, for tests and the simulator: in their order, each one turn, round by round.
 *
 * Limits      turnsMax bounds a run: agents that never idle are a defect of the test, told as an error
 * Failure     an exception out of an agent closes all of them and is thrown on
 */
import type { Agent } from './agent.ts'

export class AgentInvoker {
  readonly #agents: readonly Agent[]
  #isClosed = false

  constructor(agents: readonly Agent[]) {
    this.#agents = agents
  }

  /** One turn of each agent that is not done; how much was done in all. */
  turn(): number {
    let work = 0
    try {
      for (const agent of this.#agents) if (!agent.isDone) work += agent.doWork()
    } catch (error) {
      this.close()
      throw error
    }
    return work
  }

  /** Turns until all are idle in one round; how many rounds did something. Throws after `roundsMax` busy rounds. */
  runUntilIdle(roundsMax = 10_000): number {
    for (let round = 0; round < roundsMax; round++) if (this.turn() === 0) return round
    throw new Error(
      `agents ${this.#agents.map((agent) => agent.name).join(', ')} were not idle after ${roundsMax} rounds`,
    )
  }

  /** The earliest deadline of the agents that are not done: how far a virtual clock may move at once; Infinity = none. */
  deadlineMs(): number {
    let earliestMs = Number.POSITIVE_INFINITY
    for (const agent of this.#agents) if (!agent.isDone) earliestMs = Math.min(earliestMs, agent.deadlineMs())
    return earliestMs
  }

  get isDone(): boolean {
    return this.#agents.every((agent) => agent.isDone)
  }

  /** Closes every agent once. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const agent of this.#agents) agent.close()
  }
}
