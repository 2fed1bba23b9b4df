/**
 * add-partitions-to-txn: the first partition begins the transaction; its timeout runs from there, whatever is added later.
 *
 * Rule  what is there already is added again without a record: the gateway registers the producer anew at those partitions. `isKnown` asks
 *       for no more than that (as verifyOnly does in KIP-890): a batch that comes too late begins no transaction
 * Rule  a txn-offset-commit of a classic producer adds nothing: Kafka's clients add the group's partition before it (AddOffsetsToTxn), in
 *       the same epoch for every transaction. One that comes late must not begin the next: INVALID_TXN_STATE
 */
import { TRANSACTION_PARTITIONS_MAX } from '../model/limits.ts'
import { countPartitions, isSubset, type PartitionSet, uniteSets } from '../model/partition-set.ts'
import { refuse } from '../model/refusal.ts'
import { concurrent, fence } from './producer-epochs.ts'
import {
  type AddPartitionsRequest,
  type PartitionsAdded,
  refusedDecision,
  type TransactionDecision,
} from './requests.ts'
import { change, NO_RECORDS, type TransactionContext } from './transaction-context.ts'
import { isPreparing, State, type TransactionFacts } from './transaction-state.ts'

const ADDED: TransactionDecision<PartitionsAdded> = {
  records: NO_RECORDS,
  markers: undefined,
  reply: { kind: 'added' },
}

export function decideAddPartitions(
  context: TransactionContext,
  request: AddPartitionsRequest,
  nowMs: number,
): TransactionDecision<PartitionsAdded> {
  const { transactionalId, partitions, isKnown = false, isOffsetCommit = false } = request
  const entry = context.state.entries.get(transactionalId)
  const fenced = fence(entry, request)
  if (fenced !== undefined || entry === undefined) return refusedDecision(fenced!)
  const { facts } = entry
  if (isPreparing(facts)) return refusedDecision(concurrent(entry))
  const isOngoing = facts.state === State.ONGOING
  if (isKnown || (isOffsetCommit && facts.isClassic)) return checkIsIn(facts, partitions)
  if (isSubset(partitions, facts.partitions)) return ADDED
  const all = uniteSets(facts.partitions, partitions)
  const count = countPartitions(all)
  if (count > TRANSACTION_PARTITIONS_MAX)
    return refusedDecision(
      refuse('INVALID_REQUEST', `a transaction of ${count} partitions, the most is ${TRANSACTION_PARTITIONS_MAX}`),
    )
  const startMs = isOngoing ? facts.startMs : context.wallClock.nowMs()
  const records = change(context, transactionalId, { ...facts, state: State.ONGOING, startMs, partitions: all })
  if (!isOngoing) context.timers.start(entry, nowMs + facts.timeoutMs)
  return { records, markers: undefined, reply: ADDED.reply }
}

function checkIsIn(facts: TransactionFacts, partitions: PartitionSet): TransactionDecision<PartitionsAdded> {
  if (facts.state === State.ONGOING && isSubset(partitions, facts.partitions)) return ADDED
  return refusedDecision(refuse('INVALID_TXN_STATE', 'the partition is part of no open transaction of this producer'))
}
