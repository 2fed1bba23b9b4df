/**
 * A transaction coordinator, partitions, producers and their misfortunes in virtual time: a seed is a run. MILLRACE_SEED replays one,
 * MILLRACE_FROM_SEED and MILLRACE_SEEDS name a stretch; a tenth of MILLRACE_BUDGET_MS bounds the time.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../src/base/node/system-clock.ts'
import { budgetMs, environmentNumber } from '../support/budget.ts'
import {
  runTransactionSeed,
  TRANSACTION_EVENTS,
  type TransactionOutcome,
} from '../support/transaction-simulation/transaction-run.ts'

const BUDGET_MS = 40_000
/** The rest of the suite's budget is for the whole broker. */
const BUDGET_SHARE = 0.1
/** Each so many seeds, and the first, run twice. */
const TWICE_EVERY = 50
/** After so many seeds everything must have come about. */
const SEEDS_FOR_REACH = 300
const LOG_LINES_SHOWN = 60

const isReplay = process.env.MILLRACE_SEED !== undefined && process.env.MILLRACE_SEED !== ''
const firstSeed = isReplay
  ? environmentNumber('MILLRACE_SEED', 0)
  : environmentNumber('MILLRACE_FROM_SEED', Math.floor(systemClock.nowMs() % 1_000_000_000))

function complaint({ seed, failure, log, virtualMs }: TransactionOutcome): string {
  return [
    `transaction seed ${seed} failed at virtual ${virtualMs} ms. Replay it: npm run test:sim -- --only transactions --seed ${seed}`,
    failure,
    ...log.slice(-LOG_LINES_SHOWN),
  ].join('\n')
}

test('transactions under every misfortune are whole or not there', () => {
  const seedsMax = isReplay ? 1 : environmentNumber('MILLRACE_SEEDS', Number.POSITIVE_INFINITY)
  const startMs = systemClock.monotonicMs()
  const untilMs = startMs + budgetMs(BUDGET_MS) * BUDGET_SHARE
  const reach = new Map<string, number>()
  let seeds = 0
  while (seeds < seedsMax && (seeds === 0 || systemClock.monotonicMs() < untilMs)) {
    const seed = firstSeed + seeds
    const outcome = runTransactionSeed(seed)
    if (outcome.failure !== undefined) assert.fail(complaint(outcome))
    if (seeds % TWICE_EVERY === 0) {
      const again = runTransactionSeed(seed)
      const text = `transaction seed ${seed} is not deterministic: npm run test:sim -- --only transactions --seed ${seed}`
      assert.deepEqual([again.traceHash, again.events], [outcome.traceHash, outcome.events], text)
    }
    for (const [name, count] of outcome.reach) reach.set(name, (reach.get(name) ?? 0) + count)
    seeds++
  }
  const seconds = (systemClock.monotonicMs() - startMs) / 1000
  const cut = Number.isFinite(seedsMax) && seeds < seedsMax ? `, cut by the budget: ${seedsMax} were asked for` : ''
  console.log(`transaction simulation: ${seeds} seeds from ${firstSeed} in ${seconds.toFixed(1)} s${cut}`)
  console.log(`reached: ${TRANSACTION_EVENTS.map((name) => `${name} ${reach.get(name) ?? 0}`).join(', ')}`)
  if (seeds < SEEDS_FOR_REACH) return
  const missed = TRANSACTION_EVENTS.filter((name) => (reach.get(name) ?? 0) === 0)
  assert.deepEqual(missed, [], `${seeds} seeds never got there`)
})
