/**
 * checkHistory: judges what clients did and saw (history.ts): sends and polls here, the rest in the files named below. What can
 * be wrong is listed in anomaly.ts.
 *
 * Order       what is later is what was begun later: answers of one producer's sends may come in another order
 * Skips       a read_committed reader may jump over records of transactions that did not commit, a read_uncommitted one over none
 * Delegates   transactions -> transaction-table, check-transactions, dependency-cycle; groups -> group-commits;
 *             consume-transform-produce -> pipeline-results
 * Limits      memory grows with the history: about 350 bytes a record. Time is linear but for sorting each partition's offsets
 * Failure     HistoryError naming the line, when lines cannot follow each other so
 */
import { type Anomaly, type AnomalyKind, AnomalyList } from './anomaly.ts'
import { checkCommittedRead, checkCycles, checkWhole } from './check-transactions.ts'
import { GroupCommits } from './group-commits.ts'
import {
  type AssignOperation,
  type DrainedOperation,
  HistoryError,
  type HistoryOperation,
  type PollOperation,
  type SendOperation,
  type TransactionOperation,
} from './history.ts'
import {
  HistoryEvidence,
  type PartitionEvidence,
  type Place,
  type SentValue,
  type TransactionEvidence,
  type TransactionFate,
} from './history-evidence.ts'
import { checkResults } from './pipeline-results.ts'
import { TransactionTable } from './transaction-table.ts'

export interface HistoryVerdict {
  readonly valid: boolean
  readonly anomalies: readonly Anomaly[]
  /** How many of each kind there are. */
  readonly counts: Partial<Record<AnomalyKind, number>>
  readonly sends: number
  readonly acknowledged: number
  readonly failed: number
  readonly unknown: number
  readonly polled: number
  readonly transactions: Record<TransactionFate, number>
}

export interface CheckOptions {
  /**
   * Count the order of writes in partitions as dependencies between transactions: for systems whose transactions exclude each
   * other's writes, which Kafka's do not. Default false.
   */
  readonly isWriteOrderCounted?: boolean
}

/** A reader went from where it stood to a higher offset. */
interface Step {
  readonly place: PartitionEvidence
  readonly from: number
  readonly to: number
  readonly line: number
  readonly isInternal: boolean
  readonly isCommitted: boolean
}

export function checkHistory(operations: Iterable<HistoryOperation>, options?: CheckOptions): HistoryVerdict {
  const checker = new HistoryChecker(options)
  for (const operation of operations) checker.add(operation)
  return checker.verdict()
}

/** The same, fed one operation at a time. */
export class HistoryChecker {
  readonly #options: CheckOptions
  readonly #evidence = new HistoryEvidence()
  readonly #transactions = new TransactionTable()
  /** process -> partition -> the next offset its reader expects */
  readonly #positions = new Map<number, Map<PartitionEvidence, number>>()
  /** For skips that only later evidence shows. */
  readonly #steps: Step[] = []
  readonly #drains: DrainedOperation[] = []
  readonly #anomalies = new AnomalyList()
  readonly #groupCommits = new GroupCommits(this.#anomalies)
  #polledCount = 0

  constructor(options: CheckOptions = {}) {
    this.#options = options
  }

  add(operation: HistoryOperation): void {
    const { f } = operation
    if (f === 'send') this.#addSend(operation)
    else if (f === 'poll') this.#addPoll(operation)
    else if (f === 'assign') this.#addAssign(operation)
    else if (f === 'commitOffsets') this.#groupCommits.add(operation, this.#transactions)
    else if (f === 'drained') this.#drains.push(operation)
    else this.#addTransaction(operation)
  }

  verdict(): HistoryVerdict {
    const transactions = [...this.#transactions.all.values()]
    this.#checkOrigins()
    const skips = this.#findSkips()
    for (const transaction of transactions) checkWhole(this.#anomalies, this.#evidence, transaction)
    this.#reportSkips(skips)
    this.#checkDuplicates()
    this.#checkAcknowledged()
    this.#checkSendOrder()
    const isWriteOrderCounted = this.#options.isWriteOrderCounted === true
    checkCycles(this.#anomalies, this.#evidence, { transactions, isWriteOrderCounted })
    checkResults(this.#anomalies, this.#evidence, this.#drains)
    return this.#summary(transactions)
  }

  #summary(transactions: readonly TransactionEvidence[]): HistoryVerdict {
    const outcomes = { open: 0, ok: 0, fail: 0, info: 0 }
    for (const sent of this.#evidence.sent.values()) outcomes[sent.outcome]++
    const fates = { committed: 0, aborted: 0, unknown: 0, open: 0 }
    for (const { fate } of transactions) fates[fate]++
    const anomalies = this.#anomalies.all
    return {
      valid: !anomalies.some((anomaly) => anomaly.fatal),
      anomalies,
      counts: this.#anomalies.countByKind(),
      sends: this.#evidence.sent.size,
      acknowledged: outcomes.ok,
      failed: outcomes.fail,
      unknown: outcomes.info + outcomes.open,
      polled: this.#polledCount,
      transactions: fates,
    }
  }

  #addTransaction(operation: TransactionOperation): void {
    const transaction = this.#transactions.add(operation)
    if (operation.f !== 'commit') return
    if (operation.type === 'invoke') this.#groupCommits.askTransaction(transaction, operation.line)
    else this.#groupCommits.answerTransaction(transaction, operation.line)
  }

  #addSend(operation: SendOperation): void {
    const { line, type } = operation
    for (const record of operation.records) {
      const { topic, partition, value, offset } = record
      let sent = this.#evidence.sent.get(value)
      if (sent === undefined || type === 'invoke') sent = this.#begin(operation, record, sent)
      if (type === 'invoke') continue
      if (operation.txn !== undefined && operation.txn !== sent.transaction?.id)
        throw new HistoryError(
          line,
          `'${value}' was not sent in transaction '${operation.txn}' in line ${sent.beganAt}`,
        )
      sent.outcome = type
      sent.line = line
      sent.partition = partition
      if (type !== 'ok' || offset === undefined) continue
      sent.offset = offset
      this.#note(this.#evidence.partition({ topic, partition }), offset, { value, line })
    }
  }

  #begin(
    { txn, process, line, type }: SendOperation,
    { topic, partition, value, from }: SendOperation['records'][number],
    before: SentValue | undefined,
  ): SentValue {
    const transaction = txn === undefined ? undefined : this.#transactions.at({ txn, f: 'send', line })
    if (transaction !== undefined && type !== 'invoke')
      throw new HistoryError(line, `'send' of '${value}' in transaction '${txn}' is answered and was not asked for`)
    if (before !== undefined && (before.transaction ?? transaction) !== undefined)
      throw new HistoryError(line, `'${value}' was sent in line ${before.beganAt}: values name records, and are unique`)
    // One literal, no spread: there is one for each record.
    const sent: SentValue = {
      value,
      outcome: 'open',
      process,
      topic,
      partition,
      offset: -1,
      line,
      beganAt: line,
      transaction,
      from,
      place: undefined,
      passedAt: 0,
    }
    this.#evidence.sent.set(value, sent)
    transaction?.records.push(sent)
    return sent
  }

  /** At the end only: of sends that were open at the same time the later may be answered first. */
  #checkSendOrder(): void {
    /** partition -> process -> its last acknowledged send */
    const last = new Map<PartitionEvidence, Map<number, SentValue>>()
    for (const [value, sent] of this.#evidence.sent) {
      if (sent.outcome !== 'ok' || sent.offset < 0) continue
      const partition = this.#evidence.partition(sent)
      let ofPartition = last.get(partition)
      if (ofPartition === undefined) last.set(partition, (ofPartition = new Map()))
      const before = ofPartition.get(sent.process)
      ofPartition.set(sent.process, sent)
      if (before === undefined || sent.offset > before.offset) continue
      const kind = before.beganAt === sent.beganAt ? 'int-nonmonotonic-send' : 'nonmonotonic-send'
      const text = `process ${sent.process} sent '${value}' after what stands at ${before.offset}`
      this.#anomalies.report(kind, sent, text)
    }
  }

  #addAssign(operation: AssignOperation): void {
    if (operation.type !== 'ok') return
    const positions = operation.positions.map((at) => [this.#evidence.partition(at), at.offset] as const)
    this.#positions.set(operation.process, new Map(positions))
  }

  #addPoll(operation: PollOperation): void {
    const { type, records, line, txn, final } = operation
    if (type !== 'ok') return
    const isCommitted = operation.isolation !== 'read_uncommitted'
    const transaction = txn === undefined ? undefined : this.#transactions.at({ txn, f: 'poll', line })
    if (transaction !== undefined && !isCommitted) transaction.readsUncommitted = true
    const seenHere = new Set<PartitionEvidence>()
    for (const { topic, partition, value, offset = -1 } of records) {
      const place = this.#evidence.partition({ topic, partition })
      this.#polledCount++
      this.#move(operation, { place, offset, isCommitted, seenHere })
      const known = this.#note(place, offset, { value, line })
      if (known.readAt === 0) known.readAt = line
      if (isCommitted && known.committedReadAt === 0) known.committedReadAt = line
      if (isCommitted) transaction?.reads.push(value)
      if (final) this.#noteFinal(place, isCommitted)
    }
    // A final poll that answers nothing says that its reader stands at the end of what it was assigned.
    if (final && records.length === 0)
      for (const place of this.#evidence.partitions) this.#noteFinal(place, isCommitted)
  }

  #noteFinal(place: PartitionEvidence, isCommitted: boolean): void {
    place.hasFinalRead = true
    if (isCommitted) place.hasFinalCommittedRead = true
  }

  /** The reader's position: it may not go back, and what it jumps over is looked at when all is known. */
  #move(
    { process, line }: PollOperation,
    to: { place: PartitionEvidence; offset: number; isCommitted: boolean; seenHere: Set<PartitionEvidence> },
  ): void {
    const { place, offset, isCommitted, seenHere } = to
    const { topic, partition } = place
    let positions = this.#positions.get(process)
    if (positions === undefined) this.#positions.set(process, (positions = new Map()))
    const expected = positions.get(place)
    const isInternal = seenHere.has(place)
    if (expected !== undefined && offset < expected) {
      const kind = isInternal ? 'int-nonmonotonic-poll' : 'nonmonotonic-poll'
      this.#anomalies.report(kind, { topic, partition, offset, line }, `process ${process} was at ${expected}`)
    } else if (expected !== undefined && offset > expected)
      this.#steps.push({ place, from: expected, to: offset, line, isInternal, isCommitted })
    positions.set(place, offset + 1)
    seenHere.add(place)
  }

  /** At the end only: a send's outcome may come after its record was read. Tells every sent value where it stands. */
  #checkOrigins(): void {
    for (const partition of this.#evidence.partitions) {
      for (const [offset, place] of partition.values) {
        const { value, readAt } = place
        const sent = this.#evidence.sent.get(value)
        if (sent !== undefined) this.#locate(sent, partition, { offset, place })
        if (readAt === 0) continue
        const at = { topic: partition.topic, partition: partition.partition, offset, line: readAt }
        if (sent === undefined) this.#anomalies.report('phantom', at, `'${value}' was never sent`)
        else if (sent.outcome === 'fail')
          this.#anomalies.report('failed-visible', at, `'${value}' was answered as not sent`)
        else checkCommittedRead(this.#anomalies, sent, { place, offset })
      }
    }
  }

  #locate(sent: SentValue, partition: PartitionEvidence, { offset, place }: { offset: number; place: Place }): void {
    if (sent.topic !== partition.topic) return
    // An acknowledgement says where it stands; what was read is asked where there is none.
    if (sent.place !== undefined || (sent.offset >= 0 && sent.offset !== offset)) return
    if (sent.offset >= 0 && sent.partition !== partition.partition) return
    sent.place = place
    if (sent.outcome === 'ok' && sent.transaction === undefined) return
    sent.offset = offset
    sent.partition = partition.partition
  }

  #note(partition: PartitionEvidence, offset: number, { value, line }: { value: string; line: number }): Place {
    const known = partition.values.get(offset)
    if (known === undefined) {
      const place = { value, line, readAt: 0, committedReadAt: 0 }
      partition.values.set(offset, place)
      return place
    }
    if (known.value !== value) {
      const at = { topic: partition.topic, partition: partition.partition, offset, line }
      this.#anomalies.report('inconsistent-offsets', at, `'${value}' here, '${known.value}' in line ${known.line}`)
    }
    return known
  }

  /** For each step the known offsets that its reader should have stopped at. */
  #findSkips(): { step: Step; offsets: number[] }[] {
    const skips: { step: Step; offsets: number[] }[] = []
    for (const step of this.#steps) {
      const offsets: number[] = []
      for (const offset of step.place.offsetsBetween(step.from, step.to)) {
        const sent = this.#evidence.sent.get(step.place.values.get(offset)!.value)
        if (step.isCommitted && sent?.transaction !== undefined) {
          if (sent.transaction.fate !== 'committed') continue
          if (sent.passedAt === 0) sent.passedAt = step.line
        }
        offsets.push(offset)
      }
      if (offsets.length > 0) skips.push({ step, offsets })
    }
    return skips
  }

  /** One a step; what is missing of a torn transaction is told there. */
  #reportSkips(skips: readonly { step: Step; offsets: number[] }[]): void {
    for (const { step, offsets } of skips) {
      const { place, from, to, line, isInternal } = step
      const offset = offsets.find((each) => !this.#isTorn(this.#evidence.sent.get(place.values.get(each)!.value)))
      if (offset === undefined) continue
      const at = { topic: place.topic, partition: place.partition, offset, line }
      const text = `a reader went from ${from} to ${to} over '${place.values.get(offset)!.value}'`
      this.#anomalies.report(isInternal ? 'int-poll-skip' : 'poll-skip', at, text)
    }
  }

  #isTorn(sent: SentValue | undefined): boolean {
    return sent?.transaction?.isTorn === true && this.#evidence.isLost(sent)
  }

  #checkDuplicates(): void {
    for (const { topic, partition, values } of this.#evidence.partitions) {
      const first = new Map<string, number>()
      for (const [offset, { value, line }] of values) {
        const other = first.get(value)
        if (other === undefined) first.set(value, offset)
        else
          this.#anomalies.report('duplicate', { topic, partition, offset, line }, `'${value}' stands at ${other} too`)
      }
    }
  }

  #checkAcknowledged(): void {
    for (const sent of this.#evidence.sent.values()) {
      if (sent.outcome !== 'ok' || this.#isTorn(sent)) continue
      const { value, transaction } = sent
      const partition = this.#evidence.partition(sent)
      if (transaction !== undefined && transaction.fate !== 'committed') continue
      const readAt = transaction === undefined ? partition.values.get(sent.offset)?.readAt : sent.place?.readAt
      const isRead = (readAt ?? 0) > 0 || (transaction === undefined && sent.offset < 0)
      const isLost = partition.hasFinalRead && (transaction === undefined ? !isRead : this.#evidence.isLost(sent))
      if (isLost) {
        const of = transaction === undefined ? 'was acknowledged' : `of committed transaction '${transaction.id}'`
        this.#anomalies.report('lost-write', sent, `'${value}' ${of} and a final reader did not get it`)
      } else if (!isRead && sent.passedAt === 0)
        this.#anomalies.report('unseen', sent, `'${value}' was acknowledged; no reader got as far`)
    }
  }
}
