/**
 * HistoryEvidence: what a history says of values and partitions, gathered line by line, judged by check-history and what it
 * is made of.
 *
 * Limits    one SentValue and one Place a record; offsets are sorted once, at the verdict
 */
import type { TransactionEvidence } from './transaction-evidence.ts'

export interface SentValue {
  readonly value: string
  outcome: 'open' | 'ok' | 'fail' | 'info'
  readonly process: number
  readonly topic: string
  partition: number
  /** -1 until it is known. */
  offset: number
  line: number
  /** Line at which the send began. */
  readonly beganAt: number
  readonly transaction: TransactionEvidence | undefined
  readonly from: string | undefined
  /** Where it was seen, known at the verdict. */
  place: Place | undefined
  /** Line at which a read_committed reader passed its offset without it; 0 = none did. */
  passedAt: number
}

/** A value at an offset, as acknowledged or read. */
export interface Place {
  readonly value: string
  /** Line that told of it first. */
  readonly line: number
  /** Lines of the first poll that got it, and of the first one with read_committed; 0 = none did. */
  readAt: number
  committedReadAt: number
}

/** What is known of one partition. */
export class PartitionEvidence {
  /** offset -> the value seen or acknowledged there */
  readonly values = new Map<number, Place>()
  hasFinalRead = false
  hasFinalCommittedRead = false
  #sortedOffsets: number[] | undefined

  readonly topic: string
  readonly partition: number

  constructor(topic: string, partition: number) {
    this.topic = topic
    this.partition = partition
  }

  /** At the verdict only. */
  sortedOffsets(): readonly number[] {
    this.#sortedOffsets ??= [...this.values.keys()].sort((left, right) => left - right)
    return this.#sortedOffsets
  }

  /** Known offsets in [from, to), ascending. At the verdict only: a gap may be wider than what is known. */
  *offsetsBetween(from: number, to: number): Iterable<number> {
    const offsets = this.sortedOffsets()
    let low = 0
    let high = offsets.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (offsets[middle]! < from) low = middle + 1
      else high = middle
    }
    for (let index = low; index < offsets.length && offsets[index]! < to; index++) yield offsets[index]!
  }
}

export class HistoryEvidence {
  /** In the order in which the sends began. */
  readonly sent = new Map<string, SentValue>()
  /** In the order in which they were heard of. */
  readonly partitions: PartitionEvidence[] = []
  readonly #topics = new Map<string, Map<number, PartitionEvidence>>()

  partition({ topic, partition }: { readonly topic: string; readonly partition: number }): PartitionEvidence {
    let partitions = this.#topics.get(topic)
    if (partitions === undefined) this.#topics.set(topic, (partitions = new Map()))
    const known = partitions.get(partition)
    if (known !== undefined) return known
    const place = new PartitionEvidence(topic, partition)
    partitions.set(partition, place)
    this.partitions.push(place)
    return place
  }

  /** Whether what was sent in a committed transaction is certainly not there for read_committed readers. */
  isLost(sent: SentValue): boolean {
    const { place, outcome } = sent
    if (outcome === 'fail' || (place?.committedReadAt ?? 0) > 0) return false
    const isStored = outcome === 'ok' || place !== undefined
    if (!isStored) return false
    if (sent.passedAt > 0) return true
    const { hasFinalRead, hasFinalCommittedRead } = this.partition(sent)
    return hasFinalCommittedRead || (hasFinalRead && (place?.readAt ?? 0) === 0)
  }

  /** Whether a record is there for read_committed readers, as far as the history tells. At the verdict only. */
  presenceOf(sent: SentValue): 'present' | 'absent' | 'undecided' {
    const { outcome, place, transaction } = sent
    if (outcome === 'fail') return 'absent'
    const fate = transaction?.fate ?? 'committed'
    if (fate === 'aborted' || fate === 'open') return 'absent'
    if (fate === 'committed' && (outcome === 'ok' || place !== undefined)) return 'present'
    return this.partition(sent).hasFinalCommittedRead ? 'absent' : 'undecided'
  }
}
