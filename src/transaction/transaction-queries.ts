/**
 * What is told of transactional ids: which there are, and what one is doing. Nothing is decided.
 *
 * Limits  LISTED_MAX ids, DESCRIBED_PARTITIONS_MAX partitions in one answer: well below a frame of the smallest reply ring. A page looks at
 *         every id once: some milliseconds for the most that a coordinator may have
 */
import { smallestAfter } from '../base/smallest-after.ts'
import { countPartitions } from '../model/partition-set.ts'
import { type Refusal, refuse } from '../model/refusal.ts'
import {
  TRANSACTION_STATE_NAMES,
  type TransactionFilter,
  type TransactionPage,
  type TransactionQuery,
  type TransactionsPage,
} from '../model/transaction-query.ts'
import { someOf } from './marker-delivery.ts'
import type { TransactionContext } from './transaction-context.ts'
import type { TransactionFacts } from './transaction-state.ts'

/** Of 255 bytes each, and what stands beside them. */
const LISTED_MAX = 500
const DESCRIBED_PARTITIONS_MAX = 1_000

export function answerQuery(
  context: TransactionContext,
  query: TransactionQuery,
): TransactionsPage | TransactionPage | Refusal {
  return query.kind === 'list' ? list(context, query.filter, query.after) : describe(context, query)
}

function list({ state, wallClock }: TransactionContext, filter: TransactionFilter, after: string): TransactionsPage {
  const { entries } = state
  const wallMs = wallClock.nowMs()
  const isWanted = (id: string): boolean => passes(entries.get(id)!.facts, filter, wallMs)
  const ids = smallestAfter(entries.keys(), { after, countMax: LISTED_MAX, isWanted })
  return {
    transactions: ids.map((transactionalId) => {
      const { facts } = entries.get(transactionalId)!
      return { transactionalId, producerId: facts.producerId, state: TRANSACTION_STATE_NAMES[facts.state]! }
    }),
    nextAfter: ids.length < LISTED_MAX ? null : ids.at(-1)!,
  }
}

function passes(facts: TransactionFacts, filter: TransactionFilter, wallMs: number): boolean {
  const { states, producerIds, longerThanMs } = filter
  if (states.length > 0 && !states.includes(TRANSACTION_STATE_NAMES[facts.state]!)) return false
  if (producerIds.length > 0 && !producerIds.includes(facts.producerId)) return false
  return longerThanMs < 0 || (facts.startMs >= 0 && wallMs - facts.startMs > longerThanMs)
}

function describe(
  { state }: TransactionContext,
  { transactionalId, from }: Extract<TransactionQuery, { kind: 'describe' }>,
): TransactionPage | Refusal {
  const entry = state.entries.get(transactionalId)
  if (entry === undefined) return refuse('TRANSACTIONAL_ID_NOT_FOUND')
  const { producerId, producerEpoch, timeoutMs, startMs, updateMs, partitions } = entry.facts
  return {
    ...{ producerId, producerEpoch, state: TRANSACTION_STATE_NAMES[entry.facts.state]!, timeoutMs },
    ...{ startTimeMs: startMs, updateMs, partitionCount: countPartitions(partitions) },
    partitions: someOf(partitions, from, DESCRIBED_PARTITIONS_MAX),
  }
}
