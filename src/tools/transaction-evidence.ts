/**
 * TransactionEvidence: what a history says of its transactions, and in which order their lines may come.
 *
 *   fate       committed   the commit answered ok; or nobody knows, and a read_committed reader got a record of it
 *              aborted     the abort answered ok; or it was to be aborted and no commit was asked for; or every commit failed
 *              unknown     a commit without an answer, or with `info`, and nothing read
 *              open        neither commit nor abort was asked for
 *
 * Failure    HistoryError: an id that was not begun or was begun before, an answer to nothing, operations after the end
 */
import { nearest } from '../base/nearest.ts'
import { HistoryError, type HistoryPosition, type TransactionOperation } from './history.ts'
import type { SentValue } from './history-evidence.ts'

export type TransactionFate = 'committed' | 'aborted' | 'unknown' | 'open'

export interface GroupPosition extends HistoryPosition {
  readonly group: string
}

type Ending = 'commit' | 'abort'

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

export class TransactionTable {
  readonly all = new Map<string, TransactionEvidence>()

  /** begin, commit or abort. */
  add({ f, txn, type, line }: TransactionOperation): TransactionEvidence {
    if (f === 'begin') return this.#begin(txn, type, line)
    const transaction = this.#known(txn, line)
    if (type === 'invoke') transaction.ask(f, line)
    else transaction.answer({ f, type, line })
    return transaction
  }

  /** The transaction of an operation that belongs to it. */
  at({ txn, f, line }: { readonly txn: string; readonly f: string; readonly line: number }): TransactionEvidence {
    const transaction = this.#known(txn, line)
    if (transaction.endedBy !== undefined)
      throw new HistoryError(line, `'${f}' in transaction '${txn}', which ${transaction.endedBy}`)
    return transaction
  }

  #begin(id: string, type: TransactionOperation['type'], line: number): TransactionEvidence {
    const known = this.all.get(id)
    if (known === undefined) {
      const transaction = new TransactionEvidence(id, line, type === 'invoke')
      this.all.set(id, transaction)
      return transaction
    }
    if (type === 'invoke' || !known.isBeginOpen)
      throw new HistoryError(line, `transaction '${id}' was begun in line ${known.beganAt}: ids are unique`)
    known.isBeginOpen = false
    return known
  }

  #known(id: string, line: number): TransactionEvidence {
    const transaction = this.all.get(id)
    if (transaction !== undefined) return transaction
    const near = nearest(id, [...this.all.keys()])
    const hint = near === undefined ? '' : `; did you mean '${near}'?`
    throw new HistoryError(line, `no transaction '${id}' was begun${hint}`)
  }
}
