/**
 * txn-offset-commit (28): how far a group has handled partitions, as part of a transaction: pending until it ends.
 *
 * Versions  1
 * Order     the gateway has the group's offsets partition added to the transaction, then the group's coordinator appends the offsets
 * Reply     topics and partitions in the request's order, each with an error of its own, as offset-commit has
 * Failure   of the whole: those of add-partitions-to-txn, then those of offset-commit (fencing by member epoch), and
 *           OVERLOADED where open transactions have more pending than the coordinator keeps
 */
import { OFFSET_MAX, REQUEST_PARTITIONS_MAX } from '../model/limits.ts'
import type { ProducerIdentity } from '../model/producer-identity.ts'
import type { OffsetCommitReply, OffsetCommitRequest } from './08-offset-commit.ts'
import { readCommitTopic, writeCommitTopic } from './08-offset-commit.ts'
import { GIVEN_EPOCH_MAX, TRANSACTIONAL_ID_LENGTH_MAX } from './22-init-producer-id.ts'
import { Api, makeCodec } from './api.ts'
import { INT32_MAX } from './fields.ts'
import { GROUP_TEXT_LENGTH_MAX, readTopicResults, writeTopicResults } from './group-fields.ts'

export interface TxnOffsetCommitRequest extends OffsetCommitRequest, ProducerIdentity {
  readonly transactionalId: string
}

export const txnOffsetCommit = makeCodec<TxnOffsetCommitRequest, OffsetCommitReply>({
  api: Api.TXN_OFFSET_COMMIT,
  name: 'txn-offset-commit',
  writeRequest: (request) => [
    request.groupId,
    request.transactionalId,
    request.producerId,
    request.producerEpoch,
    request.memberId,
    request.memberEpoch,
    request.instanceId,
    request.topics.map(writeCommitTopic),
  ],
  readRequest: (fields) => ({
    groupId: fields.text('groupId', GROUP_TEXT_LENGTH_MAX),
    transactionalId: fields.text('transactionalId', TRANSACTIONAL_ID_LENGTH_MAX),
    producerId: fields.integer('producerId', 0, OFFSET_MAX),
    producerEpoch: fields.integer('producerEpoch', 0, GIVEN_EPOCH_MAX),
    memberId: fields.text('memberId', GROUP_TEXT_LENGTH_MAX),
    memberEpoch: fields.integer('memberEpoch', -1, INT32_MAX),
    instanceId: fields.textOrNull('instanceId', GROUP_TEXT_LENGTH_MAX),
    topics: fields.list('topics', REQUEST_PARTITIONS_MAX, readCommitTopic),
  }),
  writeReply: (reply) => [writeTopicResults(reply.topics)],
  readReply: (fields) => ({ topics: readTopicResults(fields, 'topics') }),
})
