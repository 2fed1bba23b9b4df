/**
 * GroupCommits: whether the committed offsets of groups go back.
 *
 * A commit may not be lower than one that was done before it was asked for; commits that overlap may come in any order. One
 * in a transaction is asked for and done with the transaction's commit. `seek: true` goes back on purpose: what overlaps it
 * or comes after it is measured by nothing older. Of unknown outcomes nothing is said.
 *
 * Limits    a floor for each group and partition
 */
import type { AnomalyList } from './anomaly.ts'
import { type CommitOffsetsOperation, HistoryError } from './history.ts'
import type { GroupPosition, TransactionEvidence } from './history-evidence.ts'
import type { TransactionTable } from './transaction-table.ts'

/** The highest offset that is known to be committed since the last seek. */
interface Floor {
  offset: number
  line: number
  /** Goes up with every seek asked for and every one done. */
  seeks: number
}

/** A commit that was asked for: the floors as they stood then. */
interface AskedCommit {
  readonly positions: readonly GroupPosition[]
  readonly floors: readonly Floor[]
  readonly isSeek: boolean
  readonly line: number
}

export class GroupCommits {
  readonly #anomalies: AnomalyList
  readonly #floors = new Map<string, Floor>()
  /** process, group and transaction -> a commit without an answer */
  readonly #open = new Map<string, AskedCommit>()
  readonly #ofTransactions = new Map<TransactionEvidence, AskedCommit>()

  constructor(anomalies: AnomalyList) {
    this.#anomalies = anomalies
  }

  add(operation: CommitOffsetsOperation, transactions: TransactionTable): void {
    const { process, group, txn, line, type } = operation
    const key = JSON.stringify([process, group, txn])
    const open = this.#open.get(key)
    if (type === 'invoke') {
      if (open !== undefined)
        throw new HistoryError(line, `'commitOffsets' of group '${group}' is open since line ${open.line}`)
      if (txn !== undefined) transactions.at({ txn, f: 'commitOffsets', line })
      const positions = operation.positions.map((position) => ({ ...position, group }))
      this.#open.set(key, this.#ask(positions, operation.seek, line))
      return
    }
    if (open === undefined)
      throw new HistoryError(line, `'commitOffsets' of group '${group}' is answered and was not asked for`)
    this.#open.delete(key)
    if (type !== 'ok') return
    if (txn === undefined) this.#finish(open, line)
    else {
      const { offsets } = transactions.at({ txn, f: 'commitOffsets', line })
      for (const position of open.positions) offsets.set(floorKey(position), position)
    }
  }

  /** The transaction's commit is asked for. */
  askTransaction(transaction: TransactionEvidence, line: number): void {
    if (transaction.offsets.size > 0)
      this.#ofTransactions.set(transaction, this.#ask([...transaction.offsets.values()], false, line))
  }

  /** The transaction's commit is answered. */
  answerTransaction(transaction: TransactionEvidence, line: number): void {
    const asked = this.#ofTransactions.get(transaction)
    if (asked === undefined) return
    this.#ofTransactions.delete(transaction)
    if (transaction.committedAt > 0) this.#finish(asked, line)
  }

  #ask(positions: readonly GroupPosition[], isSeek: boolean, line: number): AskedCommit {
    const floors = positions.map((position) => {
      const floor = this.#floor(position)
      if (isSeek) {
        floor.seeks++
        floor.offset = Math.min(floor.offset, position.offset)
      }
      return { ...floor }
    })
    return { positions, floors, isSeek, line }
  }

  #finish({ positions, floors, isSeek }: AskedCommit, line: number): void {
    for (const [index, position] of positions.entries()) {
      const then = floors[index]!
      const floor = this.#floor(position)
      const { group, offset } = position
      if (isSeek) Object.assign(floor, { offset, line, seeks: floor.seeks + 1 })
      else if (offset < then.offset) {
        const text = `group '${group}' committed ${offset} after ${then.offset} in line ${then.line}`
        this.#anomalies.report('nonmonotonic-commit', { ...position, line }, text)
      } else if (floor.seeks === then.seeks && offset > floor.offset) Object.assign(floor, { offset, line })
    }
  }

  #floor(position: GroupPosition): Floor {
    const key = floorKey(position)
    const known = this.#floors.get(key)
    if (known !== undefined) return known
    const floor = { offset: -1, line: 0, seeks: 0 }
    this.#floors.set(key, floor)
    return floor
  }
}

function floorKey({ group, topic, partition }: GroupPosition): string {
  return JSON.stringify([group, topic, partition])
}
