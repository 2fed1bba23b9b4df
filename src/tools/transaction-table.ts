/**
 * TransactionTable: the transactions of a history by id, and in which order their lines may come.
 *
 * Failure    HistoryError: an id that was not begun or was begun before, an answer to nothing, operations after the end
 */
import { nearest } from '../base/nearest.ts'
import { HistoryError, type TransactionOperation } from './history.ts'
import { TransactionEvidence } from './history-evidence.ts'

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
