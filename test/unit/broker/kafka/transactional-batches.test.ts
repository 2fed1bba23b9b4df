/** What a Kafka client is told when its transactional batch comes to a leader that has not heard of the transaction. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  answerUnknown,
  isUnknown,
  type TransactionalPart,
} from '../../../../src/broker/kafka/handlers/transactional-batches.ts'
import type { KafkaContext } from '../../../../src/broker/kafka/kafka-handler.ts'
import { type ErrorCode, errorCodeOf, errorNumberOf, MillraceError } from '../../../../src/model/errors.ts'
import type { ProduceReplyPart } from '../../../../src/protocol/index.ts'
import { topicIdOf } from '../../../support/group-fixture.ts'

const identity = { transactionalId: 't', producerId: 7, producerEpoch: 3 }
const part: TransactionalPart = { identity, topicId: topicIdOf(1), partition: 2 }

function replyOf(code: ErrorCode | undefined): ProduceReplyPart {
  return {
    ...{ errorNumber: code === undefined ? 0 : errorNumberOf(code), errorText: 'the shard said so', baseOffset: -1 },
    ...{ logAppendTimeMs: -1, logStartOffset: -1, durability: 0, leaderEpoch: 4 },
  }
}

/** What the client is told where the partition said INVALID_TXN_STATE and the coordinator throws `said`. */
async function told(said: unknown): Promise<string> {
  const asked: unknown[] = []
  const gateway = {
    transactions: {
      registerAgain: async (...wish: unknown[]) => {
        asked.push(wish)
        if (said !== undefined) throw said
      },
    },
    logger: { error: () => {} },
  } as unknown as KafkaContext
  const replies = [replyOf(undefined), replyOf('INVALID_TXN_STATE'), replyOf('INVALID_TXN_STATE')]
  const parts = [part, part, undefined]
  assert.ok(isUnknown(replies, parts))
  const answers = await answerUnknown(gateway, replies, parts)
  assert.deepEqual(asked, [[identity, { topicId: topicIdOf(1), partition: 2 }]])
  assert.deepEqual([answers[0], answers[2]], [replies[0], replies[2]], 'the others are as they were')
  return errorCodeOf(answers[1]!.errorNumber)
}

test('a batch of a transaction that its coordinator knows is to be sent again', async () => {
  assert.equal(await told(undefined), 'NOT_ENOUGH_REPLICAS')
  assert.equal(await told(new MillraceError('COORDINATOR_NOT_AVAILABLE')), 'NOT_ENOUGH_REPLICAS')
  assert.equal(await told(new MillraceError('CONCURRENT_TRANSACTIONS')), 'NOT_ENOUGH_REPLICAS')
})

test('one of no transaction is refused as it was, a fenced producer hears of it', async () => {
  assert.equal(await told(new MillraceError('INVALID_TXN_STATE')), 'INVALID_TXN_STATE')
  assert.equal(await told(new MillraceError('INVALID_PRODUCER_ID_MAPPING')), 'INVALID_TXN_STATE')
  assert.equal(await told(new MillraceError('PRODUCER_FENCED')), 'PRODUCER_FENCED')
  assert.equal(await told(new Error('anything')), 'INVALID_TXN_STATE')
})

test('nothing is asked where nothing is unknown', () => {
  assert.ok(!isUnknown([replyOf(undefined), replyOf('NOT_LEADER_OR_FOLLOWER')], [part, part]))
  assert.ok(!isUnknown([replyOf('INVALID_TXN_STATE')], [undefined]))
})
