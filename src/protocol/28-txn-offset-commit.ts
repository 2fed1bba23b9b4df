/**
 * txn-offset-commit (28): how far a group has handled partitions, as part of a transaction: pending until it ends.
 *
 * Versions  1
 * Order     the gateway has the group's offsets partition added to the transaction, then the group's coordinator appends the offsets
 * Reply     topics and partitions in the request's order, each with an error of its own, as offset-commit has
 * Failure   of the whole: those of add-partitions-to-txn, then those of offset-commit (fencing by member epoch), and
 *           OVERLOADED where open transactions have more pending than the coordinator keeps
 */
import { type OffsetCommitReply, type OffsetCommitRequest, readCommit, writeCommit } from './08-offset-commit.ts'
import { Api, makeCodec } from './api.ts'
import { GROUP_TEXT_LENGTH_MAX, readTopicResults, writeTopicResults } from './group-fields.ts'
import { readTransactional, type TransactionalIdentity, writeTransactional } from './producer-fields.ts'

export interface TxnOffsetCommitRequest extends OffsetCommitRequest, TransactionalIdentity {}

export const txnOffsetCommit = makeCodec<TxnOffsetCommitRequest, OffsetCommitReply>({
  api: Api.TXN_OFFSET_COMMIT,
  name: 'txn-offset-commit',
  writeRequest: (request) => [request.groupId, ...writeTransactional(request), ...writeCommit(request)],
  readRequest: (fields) => ({
    groupId: fields.text('groupId', GROUP_TEXT_LENGTH_MAX),
    ...readTransactional(fields),
    ...readCommit(fields),
  }),
  writeReply: (reply) => [writeTopicResults(reply.topics)],
  readReply: (fields) => ({ topics: readTopicResults(fields, 'topics') }),
})
