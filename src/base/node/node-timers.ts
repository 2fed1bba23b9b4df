/** The real timers of a Node process that keep nothing alive, behind the port of broker/timers.ts. */

export const nodeTimers = {
  every(periodMs: number, task: () => void): () => void {
    const timer = setInterval(task, periodMs)
    timer.unref()
    return () => clearInterval(timer)
  },
  after(delayMs: number, task: () => void): () => void {
    const timer = setTimeout(task, delayMs)
    timer.unref()
    return () => clearTimeout(timer)
  },
  soon(task: () => void): void {
    setImmediate(task)
  },
}

/** The same, and what waits for them keeps the process alive: while it starts there is nothing else that does. */
export const waitingTimers = {
  ...nodeTimers,
  after(delayMs: number, task: () => void): () => void {
    const timer = setTimeout(task, delayMs)
    return () => clearTimeout(timer)
  },
}
