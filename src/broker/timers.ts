/** Timers: the port through which the main thread waits; real in the composition root, stepped by hand in tests. */

export interface Timers {
  /** Runs `task` every `periodMs`; never keeps the process alive. Answers how to end it. */
  every(periodMs: number, task: () => void): () => void
  /** Runs `task` once, in `delayMs`; never keeps the process alive. Answers how to cancel it. */
  after(delayMs: number, task: () => void): () => void
  /** Runs `task` in the next turn of the event loop, after pending input and output. */
  soon(task: () => void): void
}
