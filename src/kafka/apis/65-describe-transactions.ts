/**
 * DescribeTransactions (65): state and partitions of transactions (KIP-664); asked of their coordinator.
 *
 * Versions  0, flexible
 * Failure   TRANSACTIONAL_ID_NOT_FOUND
 */
import { KafkaApi } from '../codec/api.ts'
import { array, int16, int32, int64, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const describeTransactions = new KafkaApi({
  key: KafkaKey.DESCRIBE_TRANSACTIONS,
  name: 'DescribeTransactions',
  versions: [0, 0],
  flexibleSince: 0,
  request: struct({ transactionalIds: array(string) }),
  response: struct({
    throttleTimeMs: int32.or(0),
    transactionStates: array(
      struct({
        errorCode: int16,
        transactionalId: string,
        transactionState: string,
        transactionTimeoutMs: int32,
        transactionStartTimeMs: int64,
        producerId: int64,
        producerEpoch: int16,
        topics: array(struct({ topic: string, partitions: array(int32) })),
      }),
    ),
  }),
})
