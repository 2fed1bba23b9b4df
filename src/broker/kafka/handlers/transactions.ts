/**
 * InitProducerId (22, v0–5), AddPartitionsToTxn (24, v0–3), AddOffsetsToTxn (25, v0–4), EndTxn (26, v0–4), TxnOffsetCommit (28, v0–4): to the
 * same coordinators as native producers; under the classic rule, that a producer keeps its epoch (src/transaction, X8), which is what the
 * versions served here mean.
 */
import { initProducerId } from '../../../kafka/apis/22-init-producer-id.ts'
import { addPartitionsToTxn } from '../../../kafka/apis/24-add-partitions-to-txn.ts'
import { addOffsetsToTxn } from '../../../kafka/apis/25-add-offsets-to-txn.ts'
import { endTxn } from '../../../kafka/apis/26-end-txn.ts'
import { txnOffsetCommit } from '../../../kafka/apis/28-txn-offset-commit.ts'
import { MillraceError } from '../../../model/errors.ts'
import type { TopicId } from '../../../model/ids.ts'
import { CLUSTER, type Resource } from '../../authorise.ts'
import { coldHandler } from '../kafka-handler.ts'
import { commitRows, commitTopicsOf } from './offsets.ts'

/** Of a topic that there is not: unlike any. */
const NO_TOPIC = '' as TopicId

export const initProducerIdHandler = coldHandler(initProducerId, async (call) => {
  const { gateway, request } = call
  const { transactionalId, transactionTimeoutMs, producerId, producerEpoch } = request
  try {
    if (transactionalId === null) {
      call.demand(CLUSTER)
      return { errorCode: 0, producerId: await gateway.nextProducerId(), producerEpoch: 0 }
    }
    call.demand({ kind: 'transactional-id', transactionalId })
    if (transactionalId === '') throw new MillraceError('INVALID_REQUEST', 'an empty transactional id')
    const identity = { producerId, producerEpoch }
    const reply = await gateway.transactions.initProducer({
      ...{ transactionalId, transactionTimeoutMs, isClassic: true, ...identity },
    })
    return { errorCode: 0, producerId: reply.producerId, producerEpoch: reply.producerEpoch }
  } catch (error) {
    return { ...call.fault(error), producerId: -1, producerEpoch: -1 }
  }
})

export const addPartitionsToTxnHandler = coldHandler(addPartitionsToTxn, async (call) => {
  const { gateway, request } = call
  const transactionalId = request.v3AndBelowTransactionalId
  const topics = request.v3AndBelowTopics
  const rows = (codeOf: (index: number) => number) => {
    let next = 0
    return topics.map(({ name, partitions }) => ({
      name,
      resultsByPartition: partitions.map((partitionIndex) => ({
        ...{ partitionIndex, partitionErrorCode: codeOf(next++) },
      })),
    }))
  }
  try {
    call.demand(
      { kind: 'transactional-id', transactionalId },
      ...topics.map(({ name }): Resource => ({ kind: 'topic', name })),
    )
    const reply = await gateway.transactions.addPartitions({
      transactionalId,
      producerId: request.v3AndBelowProducerId,
      producerEpoch: request.v3AndBelowProducerEpoch,
      partitions: topics.flatMap(({ name, partitions }) => {
        const topicId = gateway.router.byName(name)?.record.topicId ?? NO_TOPIC
        return partitions.map((partition) => ({ topicId, partition }))
      }),
    })
    return { resultsByTopicV3AndBelow: rows((index) => call.codeOf(reply.partitions[index]!.errorNumber)) }
  } catch (error) {
    const { errorCode } = call.fault(error)
    return { resultsByTopicV3AndBelow: rows(() => errorCode) }
  }
})

export const addOffsetsToTxnHandler = coldHandler(addOffsetsToTxn, async (call) => {
  const { transactionalId, producerId, producerEpoch, groupId } = call.request
  try {
    call.demand({ kind: 'transactional-id', transactionalId }, { kind: 'group', groupId })
    await call.gateway.transactions.addOffsets({ transactionalId, producerId, producerEpoch, groupId })
    return { errorCode: 0 }
  } catch (error) {
    return call.fault(error)
  }
})

export const endTxnHandler = coldHandler(endTxn, async (call) => {
  const { transactionalId, producerId, producerEpoch, committed: isCommit } = call.request
  try {
    call.demand({ kind: 'transactional-id', transactionalId })
    await call.gateway.transactions.end({ transactionalId, producerId, producerEpoch, isCommit })
    return { errorCode: 0 }
  } catch (error) {
    return call.fault(error)
  }
})

export const txnOffsetCommitHandler = coldHandler(txnOffsetCommit, async (call) => {
  const { request, gateway, connection } = call
  const { transactionalId, groupId, producerId, producerEpoch, memberId, topics } = request
  try {
    call.demand({ kind: 'group', groupId }, { kind: 'transactional-id', transactionalId })
    const reply = await gateway.transactions.commitOffsets(
      {
        ...{ transactionalId, groupId, producerId, producerEpoch, memberId, instanceId: request.groupInstanceId },
        ...{ memberEpoch: Math.max(-1, request.generationIdOrMemberEpoch), topics: commitTopicsOf(topics) },
      },
      connection.caller,
    )
    return {
      topics: commitRows(topics, (topic, index) => call.codeOf(reply.topics[topic]!.partitions[index]!.errorNumber)),
    }
  } catch (error) {
    const { errorCode } = call.fault(error)
    return { topics: commitRows(topics, () => errorCode) }
  }
})
