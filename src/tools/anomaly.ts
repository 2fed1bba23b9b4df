/**
 * Anomaly: what can be wrong with a history, by name. Names are those of Jepsen's Kafka workload where it has one.
 *
 * Limits    grows with what is wrong
 */

/** kind -> what it means, in one line */
export const ANOMALIES = {
  'lost-write': 'acknowledged, and a final reader passed its place, or read its whole partition, without it',
  unseen: 'acknowledged, and no reader got as far: says nothing yet, a longer history would',
  duplicate: 'one value at two offsets',
  'inconsistent-offsets': 'two values at one offset',
  phantom: 'a value read that nobody sent',
  'failed-visible': 'a value read whose send answered that it did not happen',
  'nonmonotonic-poll': "a reader's next poll goes back",
  'int-nonmonotonic-poll': 'a reader goes back within one poll',
  'poll-skip': "a reader's next poll jumps over an offset that holds a record it should see",
  'int-poll-skip': 'a reader jumps over such an offset within one poll',
  'nonmonotonic-send': "a producer's later send stands before its earlier one",
  'int-nonmonotonic-send': 'the records of one send stand in another order',
  'aborted-read': 'a read_committed reader got a record of a transaction that aborted (G1a)',
  'precommitted-read': 'a read_committed reader got a record before the commit of its transaction was asked for',
  'torn-transaction': 'some records of a transaction were read as committed, and others are not where they should be',
  'write-read-cycle': 'committed transactions read each other in a circle (G1c)',
  'duplicate-result': 'two committed results of one record in one topic',
  'missing-result': 'a drained pipeline has no committed result of a record',
  'nonmonotonic-commit': "a group's committed offset goes back, and that was not meant",
} as const

export type AnomalyKind = keyof typeof ANOMALIES

export interface Anomaly {
  readonly kind: AnomalyKind
  /** Whether the history is wrong, or only incomplete (`unseen`). */
  readonly fatal: boolean
  readonly topic: string
  readonly partition: number
  /** -1 where it is not known. */
  readonly offset: number
  readonly text: string
  /** Line of the operation at which it shows. */
  readonly line: number
}

export interface AnomalyPlace {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly line: number
}

export class AnomalyList {
  readonly all: Anomaly[] = []

  report(kind: AnomalyKind, { topic, partition, offset, line }: AnomalyPlace, text: string): void {
    this.all.push({ kind, fatal: kind !== 'unseen', topic, partition, offset, text, line })
  }

  countByKind(): Partial<Record<AnomalyKind, number>> {
    const counts: Partial<Record<AnomalyKind, number>> = {}
    for (const { kind } of this.all) counts[kind] = (counts[kind] ?? 0) + 1
    return counts
  }
}
