/**
 * DescribeProducers (61): who writes to partitions (KIP-664); asked of the leader.
 *
 * Versions  0, flexible
 * Response  currentTxnStartOffset -1: no transaction is open. The epoch is an int32 here
 */
import { KafkaApi } from '../codec/api.ts'
import { array, int16, int32, int64, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const describeProducers = new KafkaApi({
  key: KafkaKey.DESCRIBE_PRODUCERS,
  name: 'DescribeProducers',
  versions: [0, 0],
  flexibleSince: 0,
  request: struct({ topics: array(struct({ name: string, partitionIndexes: array(int32) })) }),
  response: struct({
    throttleTimeMs: int32.or(0),
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            partitionIndex: int32,
            errorCode: int16,
            errorMessage: string.nullable().or(null),
            activeProducers: array(
              struct({
                producerId: int64,
                producerEpoch: int32,
                lastSequence: int32.or(-1),
                lastTimestamp: int64.or(-1),
                coordinatorEpoch: int32,
                currentTxnStartOffset: int64.or(-1),
              }),
            ),
          }),
        ),
      }),
    ),
  }),
})
