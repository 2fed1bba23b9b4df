/** A whole cluster whose power goes at once, again and again, under acks=all and transactions; what names seeds and time: seed-loop.ts. */
import { test } from 'node:test'
import '../../src/base/node/native-crc32c.ts'
import { POWER_EVENTS } from '../support/cluster-simulation/cluster-reach.ts'
import { runPowerCutSeed } from '../support/cluster-simulation/cluster-run.ts'
import { runSeeds } from '../support/seed-loop.ts'

test('a cluster without power, all of it at once, keeps what it acknowledged', () =>
  runSeeds({
    ...{ prefix: 'power ', only: ' --only cluster-power', run: runPowerCutSeed },
    ...{ budgetMs: 60_000, share: 1 / 6 },
    // The same stretch each time, until some hundred seeds in a row found nothing. New ones are sought by command.
    fromSeed: 1,
    ...{ seedsForReach: 300, reachNames: POWER_EVENTS },
  }))
