/** A group coordinator, its members and their misfortunes in virtual time; what names seeds and time: seed-loop.ts. */
import { test } from 'node:test'
import { GROUP_EVENTS, runGroupSeed } from '../support/group-simulation/group-run.ts'
import { checkSeed, runSeeds, type Simulation } from '../support/seed-loop.ts'

const GROUPS: Simulation = {
  ...{ prefix: 'group ', only: ' --only groups', run: runGroupSeed },
  // The rest of the suite's budget is for the whole broker.
  ...{ budgetMs: 40_000, share: 0.1 },
  ...{ seedsForReach: 300, reachNames: GROUP_EVENTS },
}

/** They found something once: a member had longer to give up partitions than its rebalance timeout. */
const TELLING_SEEDS = [915025415, 915031767]

test('seeds that found something', async () => {
  for (const seed of TELLING_SEEDS) await checkSeed(GROUPS, seed)
})

test('groups under every misfortune keep their promises', () => runSeeds(GROUPS))
