/**
 * add-partitions-to-txn (24): the transaction will write to these partitions. The first one begins it.
 *
 * Versions  1
 * Request   isOffsetCommit (missing: false): a broker asks for a txn-offset-commit that came to it, with the group's partition. Of a classic
 *           producer that must be in the open transaction already
 * Reply     a result per partition of the request, in its order. One that fails (UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION,
 *           INVALID_TOPIC_EXCEPTION) fails the rest with OPERATION_NOT_ATTEMPTED: none was added then
 * Failure   of the whole: INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS, COORDINATOR_NOT_AVAILABLE;
 *           INVALID_TXN_STATE with isKnown or isOffsetCommit
 * Again     is no fault: partitions that were added are registered anew at their leaders. With isKnown only that: a partition that the open
 *           transaction does not have is INVALID_TXN_STATE, and nothing begins
 * Limits    REQUEST_PARTITIONS_MAX, TRANSACTION_PARTITIONS_MAX
 */
import type { TopicId } from '../model/ids.ts'
import { REQUEST_PARTITIONS_MAX } from '../model/limits.ts'
import { Api, makeCodec } from './api.ts'
import { INT32_MAX } from './fields.ts'
import { readTransactional, type TransactionalIdentity, writeTransactional } from './producer-fields.ts'

export interface TransactionPartition {
  readonly topicId: TopicId
  readonly partition: number
}

export interface AddPartitionsToTxnRequest extends TransactionalIdentity {
  readonly partitions: readonly TransactionPartition[]
  /** They are part of it already, as the sender believes. Default false. */
  readonly isKnown?: boolean
  readonly isOffsetCommit?: boolean
}

export interface AddPartitionsToTxnReply {
  readonly partitions: readonly { readonly errorNumber: number; readonly errorText: string }[]
}

export const addPartitionsToTxn = makeCodec<AddPartitionsToTxnRequest, AddPartitionsToTxnReply>({
  api: Api.ADD_PARTITIONS_TO_TXN,
  name: 'add-partitions-to-txn',
  writeRequest: (request) => [
    ...writeTransactional(request),
    request.partitions.map((part) => [part.topicId, part.partition]),
    ...(request.isKnown === true || request.isOffsetCommit === true
      ? [request.isKnown ?? false, request.isOffsetCommit ?? false]
      : []),
  ],
  readRequest: (fields) => ({
    ...readTransactional(fields),
    partitions: fields.list('partitions', REQUEST_PARTITIONS_MAX, (part) => ({
      topicId: part.topicId('topicId'),
      partition: part.integer('partition', 0, INT32_MAX),
    })),
    ...(fields.booleanOr('isKnown', false) && { isKnown: true }),
    ...(fields.booleanOr('isOffsetCommit', false) && { isOffsetCommit: true }),
  }),
  writeReply: (reply) => [reply.partitions.map((part) => [part.errorNumber, part.errorText])],
  readReply: (fields) => ({
    partitions: fields.list('partitions', REQUEST_PARTITIONS_MAX, (part) => ({
      errorNumber: part.integer('errorNumber', -INT32_MAX, INT32_MAX),
      errorText: part.text('errorText'),
    })),
  }),
})
