/**
 * What is asked about transactional ids without changing them: some of them by what they do, or one with its partitions. A coordinator
 * answers in pages, so that no answer outgrows a reply frame; its broker puts them together.
 */
import type { TopicId } from './ids.ts'

/** Kafka's names, in the order of the stored numbers (transaction/transaction-state.ts). */
export const TRANSACTION_STATE_NAMES = [
  'Empty',
  'Ongoing',
  'PrepareCommit',
  'PrepareAbort',
  'CompleteCommit',
  'CompleteAbort',
] as const
export type TransactionStateName = (typeof TRANSACTION_STATE_NAMES)[number]

/** Those that pass every part of it. */
export interface TransactionFilter {
  /** Names of states; empty = all, one that is none passes nobody. */
  readonly states: readonly string[]
  /** Empty = all. */
  readonly producerIds: readonly number[]
  /** A transaction is open, or being ended, for longer; -1 = all. */
  readonly longerThanMs: number
}

export type TransactionQuery =
  | { readonly kind: 'list'; readonly filter: TransactionFilter /** '' = from the first. */; readonly after: string }
  | {
      readonly kind: 'describe'
      readonly transactionalId: string /** Partitions to step over. */
      readonly from: number
    }

export interface ListedTransaction {
  readonly transactionalId: string
  readonly producerId: number
  readonly state: TransactionStateName
}

export interface TransactionsPage {
  readonly transactions: readonly ListedTransaction[]
  /** What the next page begins after; null = there is no more. */
  readonly nextAfter: string | null
}

export interface TransactionSummary {
  readonly producerId: number
  readonly producerEpoch: number
  readonly state: TransactionStateName
  readonly timeoutMs: number
  /** Wall time at which its transaction began; -1 = none. */
  readonly startTimeMs: number
}

export interface TransactionPage extends TransactionSummary {
  /** When this was decided: pages of another time are of another state. */
  readonly updateMs: number
  /** Of all its partitions. */
  readonly partitionCount: number
  readonly partitions: readonly { readonly topicId: TopicId; readonly partition: number }[]
}
