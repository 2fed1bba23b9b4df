/** What a run of chaos is asked to do, as it is handed from the test to the program in the laboratory. */

/** Whose the producers and consumers of a run are. */
export type ChaosClients = 'native' | 'kafkajs'

export interface ChaosPlan {
  readonly seed: number
  readonly clients: ChaosClients
  /** Names of FAULTS and FAILOVERS, done over and over in this order. */
  readonly faults: readonly string[]
  /** No fault begins after it. Every fault is done once, however long that takes, unless `isCut`. */
  readonly budgetMs: number
  readonly isCut: boolean
  readonly holdMs: number
  /** Of FAILOVERS. */
  readonly runs: number
  readonly leaseTtlMs: number
  readonly etcdProgram: string
  readonly recordsPerSecond: number
  /** A group makes a result of each record, exactly once, all the time. */
  readonly isPipelined: boolean
}

/** A tool is missing that a fault of the plan needs. */
export const EXIT_UNAVAILABLE = 3

export function parsePlan(text: string | undefined): ChaosPlan {
  return JSON.parse(text ?? '') as ChaosPlan
}
