/** HandlerTransaction: what a handler of an exactly-once group sends through. When it ends is run()'s to decide, so that is not here. */
import type { Receipt, SendOptions } from '../producer.ts'
import type { TopicLike } from '../topic.ts'
import type { RecordFor, Transaction } from '../transaction/transaction.ts'
import type { HandlerContext } from './group-options.ts'

/** What a handler of an exactly-once group is told beside the record. The signal fires when its transaction can only be aborted. */
export interface TransactionContext extends HandlerContext {
  /** What is sent through it is committed together with the record's offset, or not at all. */
  readonly transaction: HandlerTransaction
}

export class HandlerTransaction {
  readonly #transaction: Transaction

  constructor(transaction: Transaction) {
    this.#transaction = transaction
  }

  get transactionalId(): string {
    return this.#transaction.transactionalId
  }

  /** False: something of it has failed, so it will be aborted and its records handled again. */
  get isOpen(): boolean {
    return this.#transaction.isOpen
  }

  /** Sends a record as part of the transaction; need not be awaited. What fails aborts the transaction. */
  send<Topic extends TopicLike>(topic: Topic, record: RecordFor<Topic>, options?: SendOptions): Promise<Receipt> {
    return this.#transaction.send(topic, record, options)
  }

  /** As producer.enqueue(): false = no room; wait for ready(topic). */
  enqueue<Topic extends TopicLike>(topic: Topic, record: RecordFor<Topic>): boolean {
    return this.#transaction.enqueue(topic, record)
  }

  ready(topic: TopicLike, options: SendOptions = {}): Promise<void> {
    return this.#transaction.ready(topic, options)
  }
}
