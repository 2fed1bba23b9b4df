/** Waiting for what another process does. */

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** Asks until the answer is neither undefined nor false; throws, naming what it waited for, after `timeoutMs`. Answers the answer. */
export async function until<T>(
  what: string,
  timeoutMs: number,
  ask: () => Promise<T | undefined | false> | T | undefined | false,
): Promise<T> {
  const untilMs = performance.now() + timeoutMs
  for (;;) {
    const answer = await ask()
    if (answer !== undefined && answer !== false) return answer
    if (performance.now() > untilMs) throw new Error(`no ${what} within ${timeoutMs} ms`)
    await sleep(20)
  }
}
