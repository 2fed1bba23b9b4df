/**
 * One broker, several clients and every misfortune we know, in one thread and in virtual time: a seed is a run. MILLRACE_SEED replays one,
 * MILLRACE_FROM_SEED and MILLRACE_SEEDS name a stretch, MILLRACE_BUDGET_MS bounds the time.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import '../../src/base/node/native-crc32c.ts'
import { systemClock } from '../../src/base/node/system-clock.ts'
import { budgetMs, environmentNumber } from '../support/budget.ts'
import { runSeed, type SeedOutcome } from '../support/simulation/one-broker-run.ts'
import { REACH_NAMES, Reach } from '../support/simulation/reach.ts'

const BUDGET_MS = 20_000
/** Each so many seeds, and the first, run twice. */
const TWICE_EVERY = 50
/** After so many seeds everything must have been reached: the rarest comes about once in 150. */
const SEEDS_FOR_REACH = 2000
const LOG_LINES_SHOWN = 60

const isReplay = process.env.MILLRACE_SEED !== undefined && process.env.MILLRACE_SEED !== ''
const firstSeed = isReplay
  ? environmentNumber('MILLRACE_SEED', 0)
  : environmentNumber('MILLRACE_FROM_SEED', Math.floor(systemClock.nowMs() % 1_000_000_000))

function complaint(outcome: SeedOutcome): string {
  const { seed, failure, log, plan, virtualMs } = outcome
  return [
    `seed ${seed} failed at virtual ${virtualMs.toFixed(0)} ms. Replay it: npm run test:sim -- --seed ${seed}`,
    failure,
    `plan: ${JSON.stringify(plan)}`,
    ...log.slice(-LOG_LINES_SHOWN),
  ].join('\n')
}

test('one broker under every misfortune keeps its promises', async () => {
  const seedsMax = isReplay ? 1 : environmentNumber('MILLRACE_SEEDS', Number.POSITIVE_INFINITY)
  const startMs = systemClock.monotonicMs()
  const untilMs = startMs + budgetMs(BUDGET_MS)
  const reach = new Reach()
  let seeds = 0
  while (seeds < seedsMax && (seeds === 0 || systemClock.monotonicMs() < untilMs)) {
    const seed = firstSeed + seeds
    const outcome = await runSeed(seed)
    if (outcome.failure !== undefined) assert.fail(complaint(outcome))
    if (seeds % TWICE_EVERY === 0) {
      const again = await runSeed(seed)
      const text = `seed ${seed} is not deterministic: npm run test:sim -- --seed ${seed}`
      assert.deepEqual([again.traceHash, again.steps], [outcome.traceHash, outcome.steps], text)
    }
    reach.include(outcome.reach)
    seeds++
  }
  const seconds = (systemClock.monotonicMs() - startMs) / 1000
  const cut = Number.isFinite(seedsMax) && seeds < seedsMax ? `, cut by the budget: ${seedsMax} were asked for` : ''
  console.log(`simulation: ${seeds} seeds from ${firstSeed} in ${seconds.toFixed(1)} s${cut}`)
  console.log(`reached: ${reach}`)
  if (seeds < SEEDS_FOR_REACH) return
  const missed = REACH_NAMES.filter((name) => reach.of(name) === 0)
  assert.deepEqual(missed, [], `${seeds} seeds never got there`)
})
