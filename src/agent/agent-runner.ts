/**
 * agent-runner: steps an agent on the current thread until it is done, sleeping between idle turns.
 *
 * Thread      a worker: it sleeps in the signal's wait, so nothing else of this thread's event loop runs meanwhile; where the agent
 *             needs the event loop, `pause` says so
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
  /** Asked after each turn, and told whether it did something: what the agent needs the event loop for; undefined = nothing. */
  readonly pause?: (worked: boolean) => Promise<void> | undefined
}

/** Runs the agent to its end, without a turn of the event loop but in a pause. Rejects with what the agent throws, after closing it. */
export async function runAgent(agent: Agent, options: AgentRunnerOptions): Promise<void> {
  const { signal, clock, waitMsMax = AGENT_WAIT_MS_MAX, pause } = options
  try {
    while (!agent.isDone) {
      const sequence = signal.sequence()
      const worked = agent.doWork() > 0
      const pausing = pause?.(worked)
      if (pausing !== undefined) await pausing
      else if (!worked && !agent.isDone) {
        const waitMs = Math.min(agent.deadlineMs() - clock.monotonicMs(), waitMsMax)
        if (waitMs > 0) signal.wait(sequence, waitMs)
      }
    }
  } finally {
    agent.close()
  }
}

/** An agent that waits for a callback of its thread's event loop now and then, and works on meanwhile. */
export interface WaitingAgent extends Agent {
  readonly isWaiting: boolean
  /** Called when it waits no more. */
  onReady: (() => void) | undefined
}

/** Tells a thread that must not sleep that its signal was rung; Doorbell is one. */
export interface WaitBell {
  /** One call of its listener after the next ring, or soon if it was rung since the last call. */
  arm(): void
  /** No call from here on, and the thread may sleep again. */
  disarm(): void
}

/**
 * Pauses while the agent waits: one turn of the event loop after a turn of work, and after an idle one until the callback came, the
 * signal was rung, or the agent's deadline is there. `makeBell` makes the bell that listens to the agent's signal.
 */
export function pauseWhileWaiting(
  agent: WaitingAgent,
  options: { readonly clock: Clock; readonly makeBell: (onRing: () => void) => WaitBell },
): (worked: boolean) => Promise<void> | undefined {
  let wake = (): void => {}
  const bell = options.makeBell(() => wake())
  return (worked) => {
    if (!agent.isWaiting) return undefined
    return new Promise<void>((resolve) => {
      if (worked) {
        setImmediate(resolve)
        return
      }
      const waitMs = agent.deadlineMs() - options.clock.monotonicMs()
      const timer = waitMs < AGENT_WAIT_MS_MAX ? setTimeout(() => wake(), Math.max(0, waitMs)) : undefined
      wake = () => {
        clearTimeout(timer)
        bell.disarm()
        resolve()
      }
      agent.onReady = wake
      bell.arm()
    })
  }
}

/** Calls of codecs, and bytes they made, between two turns of the event loop: those may be freed in the next turn at the earliest. */
const CALLS_A_TURN = 32
const BYTES_A_TURN = 8 * 1024 * 1024

/**
 * Native code gives the memory it has handed out back in turns of the event loop, and nowhere else: a thread that never had one would
 * keep every batch that it ever unpacked. Counts calls, and pauses for one turn after some.
 */
export class LoopTurns {
  #calls = 0
  #bytes = 0

  count(bytes: number): void {
    this.#calls++
    this.#bytes += bytes
  }

  readonly pause = (): Promise<void> | undefined => {
    if (this.#calls < CALLS_A_TURN && this.#bytes < BYTES_A_TURN) return undefined
    this.#calls = 0
    this.#bytes = 0
    return new Promise((resolve) => setImmediate(resolve))
  }
}
