/** A group coordinator, its members and their misfortunes in virtual time; what names seeds and time: seed-loop.ts. */
import { test } from 'node:test'
import { GROUP_EVENTS, runGroupSeed } from '../support/group-simulation/group-run.ts'
import { runSeeds, type Simulation } from '../support/seed-loop.ts'

const GROUPS: Simulation = {
  ...{ prefix: 'group ', only: ' --only groups', run: runGroupSeed },
  // The rest of the suite's budget is for the whole broker.
  ...{ budgetMs: 40_000, share: 0.1 },
  ...{ seedsForReach: 300, reachNames: GROUP_EVENTS },
}

test('groups under every misfortune keep their promises', () => runSeeds(GROUPS))
