/**
 * Seed after seed of a simulation: a seed is a run. MILLRACE_SEED replays one, MILLRACE_FROM_SEED and MILLRACE_SEEDS name a stretch,
 * MILLRACE_BUDGET_MS bounds the time. A seed that failed is told with the command that replays it; each so many run twice, and must end
 * alike; after enough of them everything that can come about must have.
 */
import assert from 'node:assert/strict'
import { systemClock } from '../../src/base/node/system-clock.ts'
import { budgetMs, environmentNumber } from './budget.ts'

/** Each so many seeds, and the first, run twice. */
const TWICE_EVERY = 50
const LOG_LINES_SHOWN = 60

export interface SeedOutcome {
  readonly seed: number
  /** What was wrong; undefined = nothing. */
  readonly failure: string | undefined
  readonly virtualMs: number
  readonly events: number
  readonly traceHash: number
  /** Newest last. */
  readonly log: readonly string[]
  /** How often something came about. */
  readonly reach: ReadonlyMap<string, number>
  /** How the run was set up, where the seed alone does not tell a reader. */
  readonly plan?: unknown
}

export interface Simulation {
  /** 'group ': before the word seed or simulation. */
  readonly prefix: string
  /** Arguments of `npm run test:sim --` that choose this simulation. */
  readonly only: string
  /** Where MILLRACE_BUDGET_MS is not given. */
  readonly budgetMs: number
  /** Its share of the budget. */
  readonly share: number
  /** After so many seeds everything must have come about. */
  readonly seedsForReach: number
  readonly reachNames: readonly string[]
  /** Where MILLRACE_FROM_SEED is not given; undefined: the clock says. */
  readonly fromSeed?: number
  run(seed: number): SeedOutcome | Promise<SeedOutcome>
}

export async function runSeeds(simulation: Simulation): Promise<void> {
  const { prefix, reachNames, seedsForReach } = simulation
  const isReplay = process.env.MILLRACE_SEED !== undefined && process.env.MILLRACE_SEED !== ''
  const fromSeed = simulation.fromSeed ?? Math.floor(systemClock.nowMs() % 1_000_000_000)
  const firstSeed = isReplay ? environmentNumber('MILLRACE_SEED', 0) : environmentNumber('MILLRACE_FROM_SEED', fromSeed)
  const seedsMax = isReplay ? 1 : environmentNumber('MILLRACE_SEEDS', Number.POSITIVE_INFINITY)
  const startMs = systemClock.monotonicMs()
  const untilMs = startMs + budgetMs(simulation.budgetMs) * simulation.share
  const reach = new Map<string, number>()
  let seeds = 0
  while (seeds < seedsMax && (seeds === 0 || systemClock.monotonicMs() < untilMs)) {
    const seed = firstSeed + seeds
    const outcome = await checkSeed(simulation, seed)
    if (seeds % TWICE_EVERY === 0) {
      const again = await simulation.run(seed)
      const text = `${prefix}seed ${seed} is not deterministic: ${replayCommand(simulation, seed)}`
      assert.deepEqual([again.traceHash, again.events], [outcome.traceHash, outcome.events], text)
    }
    for (const [name, count] of outcome.reach) reach.set(name, (reach.get(name) ?? 0) + count)
    seeds++
  }
  const seconds = (systemClock.monotonicMs() - startMs) / 1000
  const cut = Number.isFinite(seedsMax) && seeds < seedsMax ? `, cut by the budget: ${seedsMax} were asked for` : ''
  console.log(`${prefix}simulation: ${seeds} seeds from ${firstSeed} in ${seconds.toFixed(1)} s${cut}`)
  console.log(`reached: ${reachNames.map((name) => `${name} ${reach.get(name) ?? 0}`).join(', ')}`)
  if (seeds < seedsForReach) return
  const missed = reachNames.filter((name) => (reach.get(name) ?? 0) === 0)
  assert.deepEqual(missed, [], `${seeds} seeds never got there`)
}

/** Runs one seed; fails with its story when something was wrong. */
export async function checkSeed(simulation: Simulation, seed: number): Promise<SeedOutcome> {
  const outcome = await simulation.run(seed)
  const { failure, log, plan, virtualMs } = outcome
  if (failure === undefined) return outcome
  const where = `${simulation.prefix}seed ${seed} failed at virtual ${virtualMs.toFixed(0)} ms`
  assert.fail(
    [
      `${where}. Replay it: ${replayCommand(simulation, seed)}`,
      failure,
      ...(plan === undefined ? [] : [`plan: ${JSON.stringify(plan)}`]),
      ...log.slice(-LOG_LINES_SHOWN),
    ].join('\n'),
  )
}

function replayCommand({ only }: Simulation, seed: number): string {
  return `npm run test:sim --${only} --seed ${seed}`
}
