/** TransactionContext: what the decisions of one coordinator share: state, timers, limits, ports; and how a decision changes it. */
import type { Clock } from '../base/clock.ts'
import type { EncodedRecord } from '../record/record-table.ts'
import type { TransactionConfig } from './transaction-config.ts'
import { encodeTransaction } from './transaction-records.ts'
import { applyTransaction, type TransactionFacts, type TransactionState } from './transaction-state.ts'
import type { TransactionTimers } from './transaction-timers.ts'

/** What came of transactions; a shard's coordinators share one. */
export interface TransactionCounters {
  committed: number
  aborted: number
  /** Of these those whose time was over. */
  timeouts: number
}

export function newTransactionCounters(): TransactionCounters {
  return { committed: 0, aborted: 0, timeouts: 0 }
}

export interface TransactionContext {
  readonly state: TransactionState
  readonly timers: TransactionTimers
  readonly config: TransactionConfig
  /** Wall time for what is stored; timers are given the monotonic time. */
  readonly wallClock: Pick<Clock, 'nowMs'>
  /** Leader epoch of the coordinator's partition: goes with every marker (X9). */
  readonly coordinatorEpoch: number
  readonly counters: TransactionCounters
}

export const NO_RECORDS: readonly never[] = []

/** Stamps and applies what was decided, by the same applyTransaction() that a replay uses; answers the record to append. */
export function change(
  { state, wallClock }: TransactionContext,
  transactionalId: string,
  facts: Omit<TransactionFacts, 'updateMs'> | null,
): EncodedRecord[] {
  const record = { transactionalId, value: facts === null ? null : { ...facts, updateMs: wallClock.nowMs() } }
  applyTransaction(state, record)
  return [encodeTransaction(record)]
}
