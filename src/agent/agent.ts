/**
 * Agent: a piece of work that is stepped. A thread is one way to step it (agent-runner), a test or the simulator another
 * (agent-invoker). Nothing in doWork waits for the device or for another thread.
 */

export interface Agent {
  readonly name: string
  /** One turn. Answers how much was done: 0 = idle, the runner may wait until `deadlineMs()` or a signal. */
  doWork(): number
  /** Monotonic time (ms) of the next timer, or Infinity. Asked only after an idle turn. */
  deadlineMs(): number
  /** True once the agent has ended by itself (shutdown asked for and done): the runner stops stepping it. */
  readonly isDone: boolean
  /** Called once when the runner stops, also after an error; releases what is held. Never throws. */
  close(): void
}
