/** A coordinator, members of Kafka's classic protocol and their misfortunes in virtual time; what names seeds and time: seed-loop.ts. */
import { test } from 'node:test'
import { CLASSIC_EVENTS, runClassicSeed } from '../support/group-simulation/classic-run.ts'
import { runSeeds, type Simulation } from '../support/seed-loop.ts'

const CLASSIC: Simulation = {
  ...{ prefix: 'classic ', only: ' --only classic', run: runClassicSeed },
  ...{ budgetMs: 40_000, share: 0.1 },
  ...{ seedsForReach: 300, reachNames: CLASSIC_EVENTS },
}

test('classic groups under every misfortune keep their promises', () => runSeeds(CLASSIC))
