/** A transaction coordinator, partitions, producers and their misfortunes in virtual time; what names seeds and time: seed-loop.ts. */
import { test } from 'node:test'
import { runSeeds } from '../support/seed-loop.ts'
import { runTransactionSeed, TRANSACTION_EVENTS } from '../support/transaction-simulation/transaction-run.ts'

test('transactions under every misfortune are whole or not there', () =>
  runSeeds({
    ...{ prefix: 'transaction ', only: ' --only transactions', run: runTransactionSeed },
    // The rest of the suite's budget is for the whole broker.
    ...{ budgetMs: 40_000, share: 0.1 },
    ...{ seedsForReach: 300, reachNames: TRANSACTION_EVENTS },
  }))
