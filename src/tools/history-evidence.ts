/**
 * HistoryEvidence: what a history says of values, partitions and transactions, gathered line by line, judged by check-history and what it
 * is made of.
 *
 * Limits    one SentValue and one Place a record; offsets are sorted once, at the verdict
 */
import { HistoryError, type HistoryPosition } from './history.ts'

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

export type TransactionFate = 'committed' | 'aborted' | 'unknown' | 'open'

export interface GroupPosition extends HistoryPosition {
  readonly group: string
}

type Ending = 'commit' | 'abort'

/**
 * What is known of one transaction.
 *
 *   fate       committed   the commit answered ok; or nobody knows, and a read_committed reader got a record of it
 *              aborted     the abort answered ok; or it was to be aborted and no commit was asked for; or every commit failed
 *              unknown     a commit without an answer, or with `info`, and nothing read
 *              open        neither commit nor abort was asked for
 */
export class TransactionEvidence {
  readonly id: string
  readonly beganAt: number
  /** In the order in which they were sent. */
  readonly records: SentValue[] = []
  /** Values that its read_committed polls got. */
  readonly reads: string[] = []
  /** It saw what was not committed: its reads promise nothing. */
  readsUncommitted = false
  /** group and partition -> what it commits for the group */
  readonly offsets = new Map<string, GroupPosition>()
  isBeginOpen: boolean
  /** Lines of the first commit asked for, of the answers that decided; 0 = none. */
  commitAt = 0
  committedAt = 0
  abortedAt = 0
  /** A read_committed reader got a record of it after its commit was asked for. */
  isSeen = false
  isTorn = false
  #open: { readonly f: Ending; readonly line: number } | undefined
  #abortAt = 0
  /** Line of a commit's answer that nothing was committed, while no other is asked for. */
  #commitFailedAt = 0
  #commitDoubtAt = 0
  #abortDoubtAt = 0

  constructor(id: string, line: number, isBeginOpen: boolean) {
    this.id = id
    this.beganAt = line
    this.isBeginOpen = isBeginOpen
  }

  get fate(): TransactionFate {
    if (this.committedAt > 0) return 'committed'
    if (this.abortedAt > 0) return 'aborted'
    if (this.commitAt === 0) return this.#abortAt > 0 ? 'aborted' : 'open'
    // A commit that failed after one in doubt says nothing of the first.
    if (this.#commitFailedAt > 0 && this.#commitDoubtAt === 0) return 'aborted'
    return this.isSeen ? 'committed' : 'unknown'
  }

  /** Line at which it shows that it was not committed. */
  get notCommittedAt(): number {
    return this.abortedAt || this.#commitFailedAt || this.#abortAt
  }

  /** Why nothing more may happen in it, undefined while something may. */
  get endedBy(): string | undefined {
    if (this.committedAt > 0) return `was committed in line ${this.committedAt}`
    if (this.#open !== undefined) return `has its ${this.#open.f} open since line ${this.#open.line}`
    if (this.abortedAt > 0) return `was aborted in line ${this.abortedAt}`
    const doubtAt = this.#commitDoubtAt || this.#abortDoubtAt
    return doubtAt > 0 ? `has been in doubt since line ${doubtAt}` : undefined
  }

  /** A commit or an abort is asked for. It may be asked for again when nobody knows what came of the last. */
  ask(f: Ending, line: number): void {
    const isOver = this.committedAt > 0 || this.abortedAt > 0 || this.#open !== undefined
    if (isOver) throw new HistoryError(line, `'${f}' of transaction '${this.id}', which ${this.endedBy}`)
    this.#open = { f, line }
    if (f === 'abort') this.#abortAt = line
    else {
      this.#commitFailedAt = 0
      if (this.commitAt === 0) this.commitAt = line
    }
  }

  answer({
    f,
    type,
    line,
  }: {
    readonly f: Ending
    readonly type: 'ok' | 'fail' | 'info'
    readonly line: number
  }): void {
    if (this.#open?.f !== f)
      throw new HistoryError(line, `'${f}' of transaction '${this.id}' is answered and was not asked for`)
    this.#open = undefined
    if (f === 'commit') {
      if (type === 'ok') this.committedAt = line
      else if (type === 'fail') this.#commitFailedAt = line
      else this.#commitDoubtAt = line
    } else if (type === 'ok') this.abortedAt = line
    else if (type === 'fail') this.#abortAt = 0
    else this.#abortDoubtAt = line
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
