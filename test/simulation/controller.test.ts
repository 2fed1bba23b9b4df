/** Controllers, brokers and the store between them, and their misfortunes in virtual time; what names seeds and time: seed-loop.ts. */
import { test } from 'node:test'
import { CONTROLLER_EVENTS, runControllerSeed } from '../support/controller-simulation/controller-run.ts'
import { runSeeds, type Simulation } from '../support/seed-loop.ts'

const CONTROLLERS: Simulation = {
  ...{ prefix: 'controller ', only: ' --only controller', run: runControllerSeed },
  ...{ budgetMs: 40_000, share: 0.1 },
  ...{ seedsForReach: 150, reachNames: CONTROLLER_EVENTS },
}

test('controllers and brokers under every misfortune lose nothing that was acknowledged', () => runSeeds(CONTROLLERS))
