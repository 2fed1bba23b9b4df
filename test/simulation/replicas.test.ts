/** Three replicas of a partition and their misfortunes; what names seeds and time: seed-loop.ts. */
import { test } from 'node:test'
import '../../src/base/node/native-crc32c.ts'
import { REPLICA_EVENTS, runReplicaSeed } from '../support/replica-simulation/replica-run.ts'
import { checkSeed, runSeeds, type Simulation } from '../support/seed-loop.ts'

const REPLICAS: Simulation = {
  ...{ prefix: 'replica ', only: ' --only replicas', run: runReplicaSeed },
  // The rest of the suite's budget is for the whole broker.
  ...{ budgetMs: 40_000, share: 0.1 },
  ...{ seedsForReach: 100, reachNames: REPLICA_EVENTS },
}

test('replicas under every misfortune lose nothing that was acknowledged, and end equal', () => runSeeds(REPLICAS))

test('what once went wrong: a deposed leader’s record at the log start, and logs that begin anew while their broker dies', async () => {
  for (const seed of [500_028, 600_458, 984_425_961]) await checkSeed(REPLICAS, seed)
})
