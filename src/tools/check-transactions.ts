/**
 * What a history's transactions are judged by, at its verdict: what was read of them, whether they are whole, whether they
 * read each other in a circle.
 *
 * Cycles    B depends on A when B read what A wrote (wr), with a read_committed poll or as the `from` of what it sent. That A
 *           wrote before B in a partition (ww) counts only when asked for: transactions of Kafka's model do not exclude each
 *           other's writes, so a circle of ww alone (G0) is legal, and so is one of ww and wr: while A is open, having
 *           written before B in one partition, B commits, and A reads it in another. A circle of wr alone never is. (Jepsen's
 *           Kafka workload has the same switch, `--ww-deps`.)
 */
import type { AnomalyList } from './anomaly.ts'
import { type Dependency, findCycles } from './dependency-cycle.ts'
import type { HistoryEvidence, PartitionEvidence, Place, SentValue, TransactionEvidence } from './history-evidence.ts'

/** A record of a transaction that a read_committed reader got: may it have? */
export function checkCommittedRead(
  anomalies: AnomalyList,
  sent: SentValue,
  { place, offset }: { readonly place: Place; readonly offset: number },
): void {
  const transaction = sent.transaction
  if (transaction === undefined || place.committedReadAt === 0) return
  const at = { topic: sent.topic, partition: sent.partition, offset, line: place.committedReadAt }
  const what = `'${place.value}' of transaction '${transaction.id}'`
  const { commitAt, fate } = transaction
  if (fate === 'aborted')
    anomalies.report('aborted-read', at, `${what}, which was not committed: line ${transaction.notCommittedAt}`)
  else if (commitAt === 0)
    anomalies.report(
      'precommitted-read',
      at,
      `${what}, which nobody asked to commit; it began in line ${transaction.beganAt}`,
    )
  else if (commitAt > place.committedReadAt)
    anomalies.report('precommitted-read', at, `${what}, whose commit was asked for in line ${commitAt}`)
  else transaction.isSeen = true
}

/** All or nothing. */
export function checkWhole(anomalies: AnomalyList, evidence: HistoryEvidence, transaction: TransactionEvidence): void {
  if (!transaction.isSeen || transaction.fate !== 'committed') return
  const seen = transaction.records.find(({ place }) => (place?.committedReadAt ?? 0) > 0)
  const lost = transaction.records.filter((sent) => evidence.isLost(sent))
  const first = lost[0]
  if (seen === undefined || first === undefined) return
  transaction.isTorn = true
  const passed = first.passedAt > 0 ? `a reader passed it in line ${first.passedAt}` : 'a final reader did not get it'
  const more = lost.length > 1 ? `, and ${lost.length - 1} more` : ''
  const text = `transaction '${transaction.id}': ${placeText(seen)} was read in line ${seen.place!.committedReadAt}, ${placeText(first)} is missing (${passed})${more}`
  anomalies.report('torn-transaction', { ...placeOf(first), line: first.passedAt || first.line }, text)
}

interface TransactionDependency extends Dependency {
  readonly before: SentValue
  /** The record written behind it; undefined for a read. */
  readonly after: SentValue | undefined
}

export function checkCycles(
  anomalies: AnomalyList,
  evidence: HistoryEvidence,
  options: { readonly transactions: Iterable<TransactionEvidence>; readonly isWriteOrderCounted: boolean },
): void {
  const committed = [...options.transactions].filter(({ fate }) => fate === 'committed')
  const numbers = new Map(committed.map((transaction, number) => [transaction, number]))
  const dependencies = [...readDependencies(evidence, numbers)]
  if (options.isWriteOrderCounted)
    for (const partition of evidence.partitions)
      for (const dependency of writeDependencies(evidence, partition, numbers)) dependencies.push(dependency)
  for (const cycle of findCycles(committed.length, dependencies)) {
    const steps = cycle.map((step) => dependencyText(step, committed))
    const { before } = cycle[0]!
    const line = Math.max(...cycle.map(({ to }) => committed[to]!.committedAt || committed[to]!.commitAt))
    anomalies.report('write-read-cycle', { ...placeOf(before), line }, steps.join('; '))
  }
}

type Numbers = ReadonlyMap<TransactionEvidence, number>

/** One for each two transactions. */
function* readDependencies(evidence: HistoryEvidence, numbers: Numbers): Iterable<TransactionDependency> {
  for (const [reader, to] of numbers) {
    const known = new Set<number>([to])
    for (const value of valuesReadBy(reader)) {
      const before = evidence.sent.get(value)
      const from = before?.transaction === undefined ? undefined : numbers.get(before.transaction)
      if (before === undefined || from === undefined || known.has(from)) continue
      known.add(from)
      yield { from, to, isRead: true, before, after: undefined }
    }
  }
}

function* valuesReadBy(reader: TransactionEvidence): Iterable<string> {
  yield* reader.reads
  if (!reader.readsUncommitted) for (const { from } of reader.records) if (from !== undefined) yield from
}

/** From each record to the next one of another transaction: the order of all others follows. */
function* writeDependencies(
  evidence: HistoryEvidence,
  partition: PartitionEvidence,
  numbers: Numbers,
): Iterable<TransactionDependency> {
  let before: SentValue | undefined
  let from = -1
  for (const offset of partition.sortedOffsets()) {
    const after = evidence.sent.get(partition.values.get(offset)!.value)
    const to = after?.transaction === undefined ? undefined : numbers.get(after.transaction)
    if (after === undefined || to === undefined) continue
    if (before !== undefined && from !== to) yield { from, to, isRead: false, before, after }
    before = after
    from = to
  }
}

function dependencyText(step: TransactionDependency, committed: readonly TransactionEvidence[]): string {
  const [writer, other] = [committed[step.from]!.id, committed[step.to]!.id]
  if (step.after === undefined) return `'${other}' read ${placeText(step.before)} of '${writer}'`
  return `'${other}' wrote ${placeText(step.after)} behind ${placeText(step.before)} of '${writer}'`
}

function placeOf(sent: SentValue): { topic: string; partition: number; offset: number } {
  return { topic: sent.topic, partition: sent.partition, offset: sent.offset }
}

function placeText(sent: SentValue): string {
  const at = sent.offset < 0 ? '' : `@${sent.offset}`
  return `'${sent.value}' (${sent.topic}-${sent.partition}${at})`
}
