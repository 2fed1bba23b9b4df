/** Timers: the port through which coordination waits: those of the main thread in a broker, virtual time in tests. */

export interface Timers {
  /** Runs `task` once, in `delayMs`; keeps the process alive only while it starts. Answers how to cancel it. */
  after(delayMs: number, task: () => void): () => void
}
