/** Budgets and seeds of randomised suites: how long they may run, how many rounds were asked for, what repeats a run. */

/** A number of the environment, or `fallback`; throws when it is there and is no number. */
export function environmentNumber(name: string, fallback: number): number {
  const text = process.env[name]
  if (text === undefined || text === '') return fallback
  const value = Number(text)
  if (!Number.isFinite(value)) throw new Error(`${name} is '${text}', which is not a number`)
  return value
}

/** MILLRACE_BUDGET_MS, or `fallbackMs`. */
export function budgetMs(fallbackMs: number): number {
  return environmentNumber('MILLRACE_BUDGET_MS', fallbackMs)
}

/** MILLRACE_SEED, or a fresh one. */
export function freshSeed(): number {
  return environmentNumber('MILLRACE_SEED', Math.floor(Math.random() * 2 ** 32))
}

/** True while a run that began at `startedMs` (performance.now) may go on: within its budget, or until `asked` rounds are done. */
export function withinBudget(options: {
  startedMs: number
  done: number
  asked: number | undefined
  budgetMs: number
}): boolean {
  if (options.asked !== undefined) return options.done < options.asked
  return performance.now() - options.startedMs < options.budgetMs
}
