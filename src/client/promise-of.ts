/**
 * promiseOf(): what to wait for of what the application's code answered. Promises are known by their `then`, not by their class: query
 * builders, promise libraries and other realms have classes of their own.
 */

/** A promise of what `answer` will be; undefined = there is nothing to wait for. Throws what reading `then` throws. */
export function promiseOf(answer: unknown): Promise<unknown> | undefined {
  if (answer === null || (typeof answer !== 'object' && typeof answer !== 'function')) return undefined
  return 'then' in answer && typeof answer.then === 'function' ? Promise.resolve(answer) : undefined
}
