/**
 * Pipeline results: in a history of consume-transform-produce, every record has one committed result in each topic, no more;
 * and none is without, where the history says that the pipeline has drained.
 *
 * A result is a record with `from`. One whose outcome nobody knows counts when it was read, counts not when a final reader did
 * not get it, and otherwise nothing is said of its record.
 */
import type { AnomalyList } from './anomaly.ts'
import type { DrainedOperation } from './history.ts'
import type { HistoryEvidence, SentValue } from './history-evidence.ts'

/** Of one topic, by the value that they are results of. */
interface Results {
  readonly present: Map<string, SentValue>
  readonly undecided: Set<string>
}

export function checkResults(
  anomalies: AnomalyList,
  evidence: HistoryEvidence,
  drains: readonly DrainedOperation[],
): void {
  const byTopic = new Map<string, Results>()
  for (const sent of evidence.sent.values()) {
    if (sent.from === undefined) continue
    let results = byTopic.get(sent.topic)
    if (results === undefined) byTopic.set(sent.topic, (results = { present: new Map(), undecided: new Set() }))
    addResult(anomalies, results, { sent, from: sent.from, presence: evidence.presenceOf(sent) })
  }
  for (const drained of drains) {
    const results = byTopic.get(drained.output)
    for (const input of evidence.sent.values()) {
      if (input.topic !== drained.input || input.beganAt > drained.line) continue
      if (evidence.presenceOf(input) !== 'present') continue
      if (results?.present.has(input.value) || results?.undecided.has(input.value)) continue
      const { topic, partition, offset } = input
      const text = `'${input.value}' has no committed result in '${drained.output}'`
      anomalies.report('missing-result', { topic, partition, offset, line: drained.line }, text)
    }
  }
}

function addResult(
  anomalies: AnomalyList,
  { present, undecided }: Results,
  { sent, from, presence }: { sent: SentValue; from: string; presence: 'present' | 'absent' | 'undecided' },
): void {
  if (presence === 'undecided') undecided.add(from)
  if (presence !== 'present') return
  const first = present.get(from)
  if (first === undefined) {
    present.set(from, sent)
    return
  }
  const { topic, partition, offset, line } = sent
  const text = `'${sent.value}' ${origin(sent)} is a result of '${from}', as is '${first.value}' ${origin(first)}`
  anomalies.report('duplicate-result', { topic, partition, offset, line }, text)
}

function origin({ transaction, line }: SentValue): string {
  return transaction === undefined ? `of line ${line}` : `of transaction '${transaction.id}'`
}
