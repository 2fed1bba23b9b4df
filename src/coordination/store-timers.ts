/** StoreTimers: the port through which a store that lives elsewhere waits; real in the composition root, stepped in tests. */

export interface StoreTimers {
  /** Runs `task` once, in `delayMs`; never keeps the process alive. Answers how to cancel it. */
  after(delayMs: number, task: () => void): () => void
  /** The same, and keeps the process alive: somebody waits for it. */
  startTimer(delayMs: number, task: () => void): { cancel(): void }
}
