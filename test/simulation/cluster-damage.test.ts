/** A whole cluster in which the disk of one broker at a time is damaged; what names seeds and time: seed-loop.ts. */
import { test } from 'node:test'
import '../../src/base/node/native-crc32c.ts'
import { DAMAGE_EVENTS } from '../support/cluster-simulation/cluster-reach.ts'
import { runDamageSeed } from '../support/cluster-simulation/cluster-run.ts'
import { runSeeds } from '../support/seed-loop.ts'

test('a cluster loses nothing to a damaged disk, and the damaged replicas become like the others', () =>
  runSeeds({
    ...{ prefix: 'damage ', only: ' --only cluster-damage', run: runDamageSeed },
    ...{ budgetMs: 60_000, share: 1 / 6 },
    // The same stretch each time, until some hundred seeds in a row found nothing. New ones are sought by command.
    fromSeed: 1000,
    ...{ seedsForReach: 300, reachNames: DAMAGE_EVENTS },
  }))
