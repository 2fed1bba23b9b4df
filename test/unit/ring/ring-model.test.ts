/**
 * Every interleaving of small programs over rings, signals, the doorbell and the page pool: no data race, no lost or
 * torn frame, no lost wake-up, no page handed out while lent. And the same search finds every mutant.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { explore, type Scenario } from './model/explorer.ts'
import { mutants } from './model/mutants.ts'
import {
  type PageProgram,
  pageScenario,
  type RingProgram,
  ringScenario,
  type SignalProgram,
  signalScenario,
} from './model/scenarios.ts'
import type { Mutant } from './model/stepped-source.ts'

const base: RingProgram = {
  capacityBytes: 64,
  initialPosition: 0,
  frames: [16, 8, 16, 4],
  priority: 'data',
  publishEvery: 1,
  releaseEvery: 1,
  withSignals: false,
}

// 16-byte payloads make 24-byte frames: the third does not fit before the end of 64 bytes, so there is padding, and data (48
// bytes) is full. Positions start so that they cross 2^31 (the sign) and 2^32 (zero) within the program.
const ringPrograms: readonly RingProgram[] = [
  base,
  { ...base, initialPosition: 2 ** 31 - 24, frames: [16, 16, 8, 16] },
  { ...base, initialPosition: 2 ** 31 - 40, frames: [16, 16, 16, 16], publishEvery: 2, releaseEvery: 3 },
  { ...base, initialPosition: 2 ** 32 - 40, publishEvery: 2, releaseEvery: 2 },
  { ...base, priority: 'control', frames: [0, 16, 16, 0, 16], initialPosition: 2 ** 32 - 24, publishEvery: 3 },
  { ...base, priority: 'control', capacityBytes: 128, frames: [40, 32, 40, 4], initialPosition: 2 ** 31 - 64 },
  // The last one fits beside what is held, but not with the padding that it needs.
  { ...base, priority: 'control', frames: [0, 16, 16, 8] },
]

const sleepingRingPrograms: readonly RingProgram[] = [
  { ...base, withSignals: true, frames: [16, 16, 4], publishEvery: 2 },
  // One release in all: whoever misses it sleeps for ever.
  { ...base, withSignals: true, frames: [16, 16, 4], publishEvery: 2, releaseEvery: 2 },
]

const signalPrograms: readonly SignalProgram[] = [
  { ringers: 1, rings: 2, listener: 'signal' },
  { ringers: 2, rings: 1, listener: 'signal' },
  { ringers: 2, rings: 1, listener: 'signal-with-timeout' },
  { ringers: 1, rings: 3, listener: 'signal-with-timeout' },
]

const doorbellPrograms: readonly SignalProgram[] = [
  { ringers: 1, rings: 3, listener: 'doorbell' },
  { ringers: 2, rings: 1, listener: 'doorbell' },
]

const pagePrograms: readonly PageProgram[] = [
  { pageCount: 1, loans: [[0], [0]] },
  { pageCount: 2, loans: [[0], [1]] },
  {
    pageCount: 2,
    loans: [
      [0, 1],
      [1, 0],
    ],
  },
  { pageCount: 1, loans: [[0, 0], [0]] },
]

const programs = {
  sleepingRing: sleepingRingPrograms.map(
    (program) => [program, (mutant?: Mutant) => ringScenario(program, mutant)] as const,
  ),
  ring: ringPrograms.map((program) => [program, (mutant?: Mutant) => ringScenario(program, mutant)] as const),
  signal: signalPrograms.map((program) => [program, (mutant?: Mutant) => signalScenario(program, mutant)] as const),
  doorbell: doorbellPrograms.map((program) => [program, (mutant?: Mutant) => signalScenario(program, mutant)] as const),
  pages: pagePrograms.map((program) => [program, (mutant?: Mutant) => pageScenario(program, mutant)] as const),
}

function failureOf(makeScenario: () => Scenario): string | undefined {
  return explore(makeScenario).failure
}

describe('in every interleaving', () => {
  for (const [kind, variants] of Object.entries(programs))
    for (const [program, scenario] of variants)
      test(`${kind} ${JSON.stringify(program)}`, () => {
        const exploration = explore(scenario())
        assert.equal(exploration.failure, undefined)
        assert.ok(exploration.executions > 10, `only ${exploration.executions} executions: the threads did not meet`)
      })
})

describe('the search finds', () => {
  for (const mutant of mutants)
    test(mutant.name, () => {
      let failure: string | undefined
      for (const [, scenario] of programs[mutant.program]) failure ??= failureOf(scenario(mutant))
      assert.match(failure ?? 'nothing', mutant.found)
    })
})
