/**
 * agent-runner: steps an agent on the current thread until it is done, sleeping between idle turns.
 *
 * Thread      a worker: it sleeps in the signal's wait, so nothing else of this thread's event loop runs meanwhile
 * Invariants  AR1 the signal's sequence is read before the turn: what is rung during a turn is not slept over
 *             AR2 close() is called exactly once, also when doWork or deadlineMs throws
 * Limits      waitMsMax bounds a sleep, so that an agent whose deadline is far looks around now and then
 * Failure     an exception out of the agent closes it and is thrown on: the thread ends, main sees its exit
 */
import type { Clock } from '../base/clock.ts'
import type { Agent } from './agent.ts'

/** What the runner sleeps on; RingSignal is one. */
export interface WaitSignal {
  sequence(): number
  wait(sequence: number, timeoutMs: number): void
}

export const AGENT_WAIT_MS_MAX = 1000

export interface AgentRunnerOptions {
  readonly signal: WaitSignal
  readonly clock: Clock
  /** The longest sleep; default AGENT_WAIT_MS_MAX. */
  readonly waitMsMax?: number
}

/** Runs the agent to its end. Throws what the agent throws, after closing it. */
export function runAgent(agent: Agent, options: AgentRunnerOptions): void {
  const { signal, clock, waitMsMax = AGENT_WAIT_MS_MAX } = options
  try {
    while (!agent.isDone) {
      const sequence = signal.sequence()
      if (agent.doWork() > 0 || agent.isDone) continue
      const waitMs = Math.min(agent.deadlineMs() - clock.monotonicMs(), waitMsMax)
      if (waitMs > 0) signal.wait(sequence, waitMs)
    }
  } finally {
    agent.close()
  }
}

/** An agent that waits for callbacks of this thread's event loop now and then; until they came a turn does nothing. */
export interface WaitingAgent extends Agent {
  readonly isWaiting: boolean
  /** Called when it waits no more. */
  onReady: (() => void) | undefined
}

/** As runAgent(), and lets the event loop run while the agent waits for its callbacks. Resolves at its end. */
export async function runWaitingAgent(agent: WaitingAgent, options: AgentRunnerOptions): Promise<void> {
  const { signal, clock, waitMsMax = AGENT_WAIT_MS_MAX } = options
  try {
    while (!agent.isDone) {
      const sequence = signal.sequence()
      if (agent.doWork() > 0 || agent.isDone) {
        if (agent.isWaiting) await new Promise<void>((resolve) => (agent.onReady = resolve))
        continue
      }
      const waitMs = Math.min(agent.deadlineMs() - clock.monotonicMs(), waitMsMax)
      if (waitMs > 0) signal.wait(sequence, waitMs)
    }
  } finally {
    agent.close()
  }
}
