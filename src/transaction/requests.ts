/**
 * What a coordinator is asked and what it answers: plain types; the worker maps the wire's onto them.
 *
 * Decision  the records are in the state already. The shell appends them as one batch; when they are durable it sends the reply
 *           and has the markers written. No records: not before those of earlier decisions that this one may build on
 */
import type { TopicId } from '../model/ids.ts'
import type { PartitionSet } from '../model/partition-set.ts'
import type { ProducerIdentity } from '../model/producer-identity.ts'
import type { Refusal } from '../model/refusal.ts'
import type { EncodedRecord } from '../record/record-table.ts'

export interface TopicPartition {
  readonly topicId: TopicId
  readonly partition: number
}

/** Markers of one transaction: one for each partition. */
export interface MarkersToWrite extends ProducerIdentity {
  readonly transactionalId: string
  readonly coordinatorEpoch: number
  readonly isCommit: boolean
  readonly isClassic: boolean
  readonly partitions: readonly TopicPartition[]
}

/** What became of MarkersToWrite. */
export interface MarkersDone extends ProducerIdentity {
  readonly transactionalId: string
  /** Those that have their marker, or are gone. */
  readonly done: readonly TopicPartition[]
  /** Why the first of the others failed; '' = none did. */
  readonly fault: string
}

export interface TransactionDecision<Reply> {
  readonly records: readonly EncodedRecord[]
  readonly markers: MarkersToWrite | undefined
  /** CONCURRENT_TRANSACTIONS: it may be asked again when the transactional id is complete (see TransactionProgress). */
  readonly reply: Reply | Refusal
}

/** What a deadline or the end of markers led to; there is nobody to answer. */
export interface TransactionProgress {
  readonly transactionalId: string
  readonly records: readonly EncodedRecord[]
  readonly markers: MarkersToWrite | undefined
  /** It waits for nothing any more: requests that found it being ended may be asked again. */
  readonly isComplete: boolean
  /** What an operator should know; for the log. */
  readonly notices: readonly string[]
}

export interface InitProducerRequest extends ProducerIdentity {
  readonly transactionalId: string
  readonly timeoutMs: number
  /** One that nobody has had. */
  readonly freshProducerId: number
  /** Its transactions do not bump its epoch (X8). */
  readonly isClassic: boolean
  // producerId and producerEpoch: who asks for a new epoch of its own; -1 both = somebody new, who fences.
}

export interface AddPartitionsRequest extends ProducerIdentity {
  readonly transactionalId: string
  readonly partitions: PartitionSet
  /** Nothing is added: they are part of the open transaction, or INVALID_TXN_STATE. */
  readonly isKnown?: boolean
  /** A txn-offset-commit asks: of a classic producer the partitions must be in the transaction already (X8). */
  readonly isOffsetCommit?: boolean
}

export interface EndTransactionRequest extends ProducerIdentity {
  readonly transactionalId: string
  readonly isCommit: boolean
  /** One that nobody has had, or -1 where it cannot be needed. */
  readonly freshProducerId: number
}

/** The partitions are in the transaction. */
export interface PartitionsAdded {
  readonly kind: 'added'
}

/** Of the producer from now on. */
export interface ProducerReply extends ProducerIdentity {
  readonly kind: 'producer'
}

/** A decision that says no. */
export function refusedDecision(reply: Refusal): TransactionDecision<never> {
  return { records: [], markers: undefined, reply }
}
