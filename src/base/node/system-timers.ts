/** The real timers of a Node process, behind the small shape that everything else asks for. */

/** Runs `task` once, `delayMs` from now. */
export function startTimer(delayMs: number, task: () => void): { cancel(): void } {
  const timer = setTimeout(task, delayMs)
  return { cancel: () => clearTimeout(timer) }
}
