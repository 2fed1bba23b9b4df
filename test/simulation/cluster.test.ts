/** Three or five whole brokers, their store, clients and every misfortune we know; what names seeds and time: seed-loop.ts. */
import { test } from 'node:test'
import '../../src/base/node/native-crc32c.ts'
import { CLUSTER_EVENTS } from '../support/cluster-simulation/cluster-reach.ts'
import { runClusterSeed } from '../support/cluster-simulation/cluster-run.ts'
import { runSeeds } from '../support/seed-loop.ts'

test('a cluster under every misfortune keeps its promises', () =>
  runSeeds({
    ...{ prefix: 'cluster ', only: ' --only cluster.test', run: runClusterSeed },
    ...{ budgetMs: 40_000, share: 1 },
    // The same stretch each time: it guards what was mended. New seeds are sought by command, as long as they still find something.
    fromSeed: 100,
    ...{ seedsForReach: 1_000, reachNames: CLUSTER_EVENTS },
  }))
