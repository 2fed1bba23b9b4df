/** One broker, several clients and every misfortune we know, in one thread and in virtual time; what names seeds and time: seed-loop.ts. */
import { test } from 'node:test'
import '../../src/base/node/native-crc32c.ts'
import { runSeeds } from '../support/seed-loop.ts'
import { runSeed } from '../support/simulation/one-broker-run.ts'
import { REACH_NAMES } from '../support/simulation/reach.ts'

test('one broker under every misfortune keeps its promises', () =>
  runSeeds({
    ...{ prefix: '', only: '', run: runSeed },
    ...{ budgetMs: 20_000, share: 1 },
    // The rarest comes about once in 150.
    ...{ seedsForReach: 2000, reachNames: REACH_NAMES },
  }))
