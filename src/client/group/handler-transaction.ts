/** HandlerTransaction: what a handler of an exactly-once group sends through. When it ends is run()'s to decide, so that is not here. */
import type { Receipt, SendOptions } from '../producer.ts'
import type { ConsumedRecord } from '../record-types.ts'
import type { TopicLike } from '../topic.ts'
import type { RecordFor, Transaction } from '../transaction/transaction.ts'
import type { HandlerContext } from './group-options.ts'

/** What a handler of an exactly-once group is told beside the record. The signal fires when its transaction can only be aborted. */
export interface TransactionContext extends HandlerContext {
  /** What is sent through it is committed together with the record's offset, or not at all. */
  readonly transaction: HandlerTransaction
}

/** What the handler of `record` sent has been refused by itself (too large, cannot be encoded, …), which dooms the transaction. */
export type RefusalListener = (record: ConsumedRecord, error: unknown, attempts: number) => void

export class HandlerTransaction {
  readonly #transaction: Transaction
  readonly #onRefused: RefusalListener
  readonly #record: ConsumedRecord
  readonly #attempt: number

  constructor(transaction: Transaction, onRefused: RefusalListener, record: ConsumedRecord, attempt: number) {
    this.#transaction = transaction
    this.#onRefused = onRefused
    this.#record = record
    this.#attempt = attempt
  }

  get transactionalId(): string {
    return this.#transaction.transactionalId
  }

  /** False: something of it has failed, so it will be aborted and its records handled again. */
  get isOpen(): boolean {
    return this.#transaction.isOpen
  }

  /**
   * Sends a record as part of the transaction; need not be awaited. What fails aborts the transaction; what is refused for itself
   * counts as the handler's failure, as if it had awaited it.
   */
  send<Topic extends TopicLike>(topic: Topic, record: RecordFor<Topic>, options?: SendOptions): Promise<Receipt> {
    const receipt = this.#transaction.send(topic, record, options)
    receipt.catch((error: unknown) => this.#failed(error))
    return receipt
  }

  /** As producer.enqueue(): false = no room; wait for ready(topic). */
  enqueue<Topic extends TopicLike>(topic: Topic, record: RecordFor<Topic>): boolean {
    try {
      return this.#transaction.enqueue(topic, record)
    } catch (error) {
      this.#failed(error)
      throw error
    }
  }

  #failed(error: unknown): void {
    const { refused } = this.#transaction
    if (refused !== undefined && refused === error) this.#onRefused(this.#record, error, this.#attempt)
  }

  ready(topic: TopicLike, options: SendOptions = {}): Promise<void> {
    return this.#transaction.ready(topic, options)
  }
}
