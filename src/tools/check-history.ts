/**
 * checkHistory: judges what clients did and saw (history.ts). Names are those of Jepsen's Kafka workload.
 *
 *   lost-write            acknowledged, and not where it should be: a final reader passed its offset, or read the whole
 *                         partition, without it
 *   unseen                acknowledged, and no reader got as far: says nothing yet, a longer history would
 *   duplicate             one value at two offsets
 *   inconsistent-offsets  two values at one offset
 *   phantom               a value read that nobody sent
 *   failed-visible        a value read whose send answered that it did not happen
 *   nonmonotonic-poll     a reader's next poll goes back (int-: within one poll)
 *   poll-skip             a reader's next poll jumps over an offset that is known to hold a record (int-: within one poll)
 *   nonmonotonic-send     a producer's later send stands before its earlier one (int-: within one send). Later is what was begun
 *                         later: answers may come in another order
 *
 * Not here    aborted-read, precommitted-read: with transactions
 * Limits      memory grows with the history: about 200 bytes a record
 */
import type { AssignOperation, HistoryOperation, PollOperation, SendOperation } from './history.ts'

export type AnomalyKind =
  | 'lost-write'
  | 'unseen'
  | 'duplicate'
  | 'inconsistent-offsets'
  | 'phantom'
  | 'failed-visible'
  | 'nonmonotonic-poll'
  | 'int-nonmonotonic-poll'
  | 'poll-skip'
  | 'int-poll-skip'
  | 'nonmonotonic-send'
  | 'int-nonmonotonic-send'

export interface Anomaly {
  readonly kind: AnomalyKind
  /** Whether the history is wrong, or only incomplete (`unseen`). */
  readonly fatal: boolean
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly text: string
  /** Line of the operation at which it shows. */
  readonly line: number
}

export interface HistoryVerdict {
  readonly valid: boolean
  readonly anomalies: readonly Anomaly[]
  readonly sends: number
  readonly acknowledged: number
  readonly failed: number
  readonly unknown: number
  readonly polled: number
}

type SendOutcome = 'open' | 'ok' | 'fail' | 'info'

interface SentValue {
  outcome: SendOutcome
  readonly process: number
  readonly topic: string
  partition: number
  offset: number
  line: number
  /** Line at which the send began. */
  readonly beganAt: number
}

interface Place {
  readonly value: string
  readonly line: number
}

/** What is known of one partition. */
class PartitionEvidence {
  /** offset -> the value seen or acknowledged there */
  readonly values = new Map<number, Place>()
  /** offsets that some reader returned */
  readonly polled = new Set<number>()
  polledMax = -1
  /** The highest offset that a final reader got to. */
  finalMax = -1
  hasFinalRead = false

  readonly topic: string
  readonly partition: number

  constructor(topic: string, partition: number) {
    this.topic = topic
    this.partition = partition
  }
}

export function checkHistory(operations: Iterable<HistoryOperation>): HistoryVerdict {
  const checker = new HistoryChecker()
  for (const operation of operations) checker.add(operation)
  return checker.verdict()
}

/** The same, fed one operation at a time. */
export class HistoryChecker {
  /** In the order in which the sends began. */
  readonly #sent = new Map<string, SentValue>()
  readonly #partitions = new Map<string, PartitionEvidence>()
  /** process and partition -> the next offset its reader expects */
  readonly #positions = new Map<string, number>()
  /** polls and where each stood before, for skips that only later evidence shows */
  readonly #steps: { place: PartitionEvidence; from: number; to: number; line: number; internal: boolean }[] = []
  readonly #anomalies: Anomaly[] = []
  #polledCount = 0

  add(operation: HistoryOperation): void {
    if (operation.f === 'send') this.#addSend(operation)
    else if (operation.f === 'poll') this.#addPoll(operation)
    else this.#addAssign(operation)
  }

  verdict(): HistoryVerdict {
    this.#checkOrigins()
    this.#checkSkips()
    this.#checkDuplicates()
    this.#checkAcknowledged()
    this.#checkSendOrder()
    const outcomes = { open: 0, ok: 0, fail: 0, info: 0 }
    for (const sent of this.#sent.values()) outcomes[sent.outcome]++
    return {
      valid: !this.#anomalies.some((anomaly) => anomaly.fatal),
      anomalies: this.#anomalies,
      sends: this.#sent.size,
      acknowledged: outcomes.ok,
      failed: outcomes.fail,
      unknown: outcomes.info + outcomes.open,
      polled: this.#polledCount,
    }
  }

  #addSend(operation: SendOperation): void {
    const { process, line, type } = operation
    for (const { topic, partition, value, offset } of operation.records) {
      let sent = this.#sent.get(value)
      if (sent === undefined || type === 'invoke') {
        sent = { outcome: 'open', process, topic, partition, offset: -1, line, beganAt: line }
        this.#sent.set(value, sent)
      }
      if (type === 'invoke') continue
      sent.outcome = type
      sent.line = line
      sent.partition = partition
      if (type !== 'ok' || offset === undefined) continue
      sent.offset = offset
      this.#note(this.#partition({ topic, partition }), offset, value, line)
    }
  }

  /** At the end only: of sends that were open at the same time the later may be answered first. */
  #checkSendOrder(): void {
    /** process and partition -> its last acknowledged send */
    const last = new Map<string, SentValue>()
    for (const [value, sent] of this.#sent) {
      if (sent.outcome !== 'ok' || sent.offset < 0) continue
      const key = `${sent.process} ${sent.topic} ${sent.partition}`
      const before = last.get(key)
      last.set(key, sent)
      if (before === undefined || sent.offset > before.offset) continue
      const kind = before.beganAt === sent.beganAt ? 'int-nonmonotonic-send' : 'nonmonotonic-send'
      const text = `process ${sent.process} sent '${value}' after what stands at ${before.offset}`
      this.#report(kind, this.#partition(sent), sent.offset, sent.line, text)
    }
  }

  #addAssign(operation: AssignOperation): void {
    if (operation.type !== 'ok') return
    const prefix = `${operation.process} `
    for (const key of this.#positions.keys()) if (key.startsWith(prefix)) this.#positions.delete(key)
    for (const position of operation.positions)
      this.#positions.set(`${prefix}${position.topic} ${position.partition}`, position.offset)
  }

  #addPoll(operation: PollOperation): void {
    if (operation.type !== 'ok') return
    const seenHere = new Set<string>()
    for (const record of operation.records) {
      const offset = record.offset as number
      const place = this.#partition(record)
      this.#polledCount++
      this.#note(place, offset, record.value, operation.line)
      const key = `${operation.process} ${record.topic} ${record.partition}`
      const expected = this.#positions.get(key)
      const internal = seenHere.has(key)
      if (expected !== undefined && offset < expected) {
        this.#report(
          internal ? 'int-nonmonotonic-poll' : 'nonmonotonic-poll',
          place,
          offset,
          operation.line,
          `process ${operation.process} was at ${expected}`,
        )
      } else if (expected !== undefined && offset > expected) {
        this.#steps.push({ place, from: expected, to: offset, line: operation.line, internal })
      }
      this.#positions.set(key, offset + 1)
      seenHere.add(key)
      place.polled.add(offset)
      place.polledMax = Math.max(place.polledMax, offset)
      if (operation.final) {
        place.finalMax = Math.max(place.finalMax, offset)
        place.hasFinalRead = true
      }
    }
    // A final poll that answers nothing says that its reader stands at the end of what it was assigned.
    if (operation.final && operation.records.length === 0)
      for (const place of this.#partitions.values()) place.hasFinalRead = true
  }

  /** At the end only: a send's outcome may come after its record was read. */
  #checkOrigins(): void {
    for (const place of this.#partitions.values()) {
      for (const offset of place.polled) {
        const read = place.values.get(offset) as Place
        const sent = this.#sent.get(read.value)
        if (sent === undefined) this.#report('phantom', place, offset, read.line, `'${read.value}' was never sent`)
        else if (sent.outcome === 'fail')
          this.#report('failed-visible', place, offset, read.line, `'${read.value}' was answered as not sent`)
      }
    }
  }

  #note(place: PartitionEvidence, offset: number, value: string, line: number): void {
    const known = place.values.get(offset)
    if (known === undefined) place.values.set(offset, { value, line })
    else if (known.value !== value)
      this.#report(
        'inconsistent-offsets',
        place,
        offset,
        line,
        `'${value}' here, '${known.value}' in line ${known.line}`,
      )
  }

  #checkSkips(): void {
    for (const step of this.#steps) {
      for (let offset = step.from; offset < step.to; offset++) {
        const skipped = step.place.values.get(offset)
        if (skipped === undefined) continue
        this.#report(
          step.internal ? 'int-poll-skip' : 'poll-skip',
          step.place,
          offset,
          step.line,
          `a reader went from ${step.from} to ${step.to} over '${skipped.value}'`,
        )
        break
      }
    }
  }

  #checkDuplicates(): void {
    for (const place of this.#partitions.values()) {
      const first = new Map<string, number>()
      for (const [offset, { value, line }] of place.values) {
        const other = first.get(value)
        if (other === undefined) first.set(value, offset)
        else this.#report('duplicate', place, offset, line, `'${value}' stands at ${other} too`)
      }
    }
  }

  #checkAcknowledged(): void {
    for (const [value, sent] of this.#sent) {
      if (sent.outcome !== 'ok' || sent.offset < 0) continue
      const place = this.#partition(sent)
      if (place.polled.has(sent.offset)) continue
      const passed = sent.offset < place.finalMax || place.hasFinalRead
      if (passed)
        this.#report(
          'lost-write',
          place,
          sent.offset,
          sent.line,
          `'${value}' was acknowledged and a final reader did not get it`,
        )
      else this.#report('unseen', place, sent.offset, sent.line, `'${value}' was acknowledged; no reader got as far`)
    }
  }

  #partition(at: { readonly topic: string; readonly partition: number }): PartitionEvidence {
    const key = `${at.topic} ${at.partition}`
    const known = this.#partitions.get(key)
    if (known !== undefined) return known
    const place = new PartitionEvidence(at.topic, at.partition)
    this.#partitions.set(key, place)
    return place
  }

  #report(kind: AnomalyKind, place: PartitionEvidence, offset: number, line: number, text: string): void {
    this.#anomalies.push({
      kind,
      fatal: kind !== 'unseen',
      topic: place.topic,
      partition: place.partition,
      offset,
      text,
      line,
    })
  }
}
