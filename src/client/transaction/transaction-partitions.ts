/**
 * TransactionPartitions: which partitions the transaction that is open has been told to write to. Senders ask it before a batch leaves.
 *
 * Invariants  T1 a batch leaves only for a partition that the coordinator has added                checked in: admit()
 *             T2 nothing leaves between transactions: there is no identity then                   checked in: admit()
 * Coalescing  partitions that become known in one turn of the event loop, or while a request is out, are added by one request
 * Limits      TRANSACTION_PARTITIONS_MAX partitions; ADDED_AGAIN_MAX times a partition is added anew
 * Failure     what the coordinator refuses is told by onFailed, once: the transaction can only be aborted
 */

import { MillraceError } from '../../model/errors.ts'
import type { TopicId } from '../../model/ids.ts'
import { REQUEST_PARTITIONS_MAX, TRANSACTION_PARTITIONS_MAX } from '../../model/limits.ts'
import type { ProducerIdentity, TransactionPartition } from '../../protocol/index.ts'
import { asMillraceError } from '../as-millrace-error.ts'
import type { TransactionGate } from '../produce-sender.ts'

/** Asks the coordinator; the signal fires when the transaction ends. */
export type AddPartitions = (
  producer: ProducerIdentity,
  partitions: readonly TransactionPartition[],
  signal: AbortSignal,
) => Promise<void>

export interface TransactionEvents {
  /** Batches that waited for their partition may leave. */
  onAdded(): void
  /** Nothing of the transaction can be committed any more. Answers the error as it is told. */
  onFailed(error: MillraceError): MillraceError
}

interface Place extends TransactionPartition {
  isAdded: boolean
  /** How often its leader has said that it does not know of the transaction. */
  addedAgain: number
}

/** A leader that has lost what the coordinator told it is told again; one that keeps losing it is broken. */
const ADDED_AGAIN_MAX = 3

export class TransactionPartitions implements TransactionGate {
  readonly #add: AddPartitions
  readonly #events: TransactionEvents
  #producer: ProducerIdentity | undefined
  #places = new Map<TopicId, Map<number, Place>>()
  #size = 0
  #wanted: Place[] = []
  #end = new AbortController()
  #isScheduled = false
  #isAsking = false
  #hasAsked = false

  constructor(add: AddPartitions, events: TransactionEvents) {
    this.#add = add
    this.#events = events
  }

  /** The coordinator may know of the transaction: it is to be told of its end. */
  get hasAsked(): boolean {
    return this.#hasAsked
  }

  begin(producer: ProducerIdentity): void {
    this.#producer = producer
    this.#places = new Map()
    this.#size = 0
    this.#wanted = []
    this.#hasAsked = false
    this.#isAsking = false
    this.#end = new AbortController()
  }

  /** Nothing leaves any more. */
  end(): void {
    this.#producer = undefined
    this.#end.abort()
  }

  /** Whose batches for the partition are; undefined = not yet, or none may leave any more. */
  admit(topicId: TopicId, partition: number): ProducerIdentity | undefined {
    if (this.#producer === undefined) return undefined
    const place = this.#places.get(topicId)?.get(partition)
    if (place?.isAdded === true) return this.#producer
    if (place === undefined) this.#want(topicId, partition)
    return undefined
  }

  addAgain(topicId: TopicId, partition: number): boolean {
    const place = this.#places.get(topicId)?.get(partition)
    if (place === undefined || this.#producer === undefined) return false
    if (!place.isAdded) return true // is on its way: batches that were sent together are refused together
    if (++place.addedAgain > ADDED_AGAIN_MAX) return false
    place.isAdded = false
    this.#wanted.push(place)
    this.#schedule()
    return true
  }

  /** Something else than partitions is asked of the coordinator. */
  asks(): void {
    this.#hasAsked = true
  }

  /** By the broker's word, or for its silence: what its program gives up is not told here. */
  failed(error: MillraceError): MillraceError {
    return this.#producer === undefined ? error : this.#events.onFailed(error)
  }

  #want(topicId: TopicId, partition: number): void {
    if (this.#size >= TRANSACTION_PARTITIONS_MAX) {
      const most = `a transaction may write to ${TRANSACTION_PARTITIONS_MAX} partitions; commit more often`
      this.failed(new MillraceError('INVALID_ARGUMENT', most))
      return
    }
    let partitions = this.#places.get(topicId)
    if (partitions === undefined) {
      partitions = new Map()
      this.#places.set(topicId, partitions)
    }
    const place = { topicId, partition, isAdded: false, addedAgain: 0 }
    partitions.set(partition, place)
    this.#size++
    this.#wanted.push(place)
    this.#schedule()
  }

  /** After the pumps of this turn: what they all want goes together. */
  #schedule(): void {
    if (this.#isScheduled || this.#isAsking) return
    this.#isScheduled = true
    queueMicrotask(() => {
      this.#isScheduled = false
      if (!this.#isAsking) void this.#ask(this.#end.signal)
    })
  }

  async #ask(signal: AbortSignal): Promise<void> {
    while (this.#producer !== undefined && !signal.aborted && this.#wanted.length > 0) {
      const places = this.#wanted.splice(0, REQUEST_PARTITIONS_MAX)
      this.#isAsking = true
      this.#hasAsked = true
      try {
        await this.#add(
          this.#producer,
          places.map(({ topicId, partition }) => ({ topicId, partition })),
          signal,
        )
      } catch (error) {
        if (!signal.aborted) this.failed(asMillraceError(error))
        break
      }
      if (signal.aborted) break
      for (const place of places) place.isAdded = true
      this.#events.onAdded()
    }
    if (!signal.aborted) this.#isAsking = false
  }
}
