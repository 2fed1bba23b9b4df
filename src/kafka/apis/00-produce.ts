/**
 * Produce (0): appends a record batch to each of some partitions.
 *
 * Versions  3–11, told as 0–11, flexible from 9: older librdkafka compresses nothing where Produce 0 is missing from the table, and sends 3 or later
 *           all the same (KAFKA-18659). v5 tells the log start offset, v8 an error text, v10 the new leader and where it is (KIP-951)
 * Request   one batch of magic 2 for each partition, base offset 0; acks 0 has no response at all
 * Records   a view of the frame. Batches that are not idempotent have producer id -1 and, by client, any epoch and sequence
 * Later     12 and 13 are those of transactions without AddPartitionsToTxn (KIP-890) and of topic ids: clients take their presence for it
 */
import { KafkaApi } from '../codec/api.ts'
import { array, int16, int32, int64, records, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const produce = new KafkaApi({
  key: KafkaKey.PRODUCE,
  name: 'Produce',
  versions: [3, 11],
  advertisedMin: 0,
  flexibleSince: 9,
  request: struct({
    transactionalId: string.nullable(),
    acks: int16,
    timeoutMs: int32,
    topicData: array(
      struct({ name: string, partitionData: array(struct({ index: int32, records: records.nullable() })) }),
    ),
  }),
  response: struct({
    responses: array(
      struct({
        name: string,
        partitionResponses: array(
          struct({
            index: int32,
            errorCode: int16,
            baseOffset: int64,
            logAppendTimeMs: int64.or(-1),
            logStartOffset: int64.since(5).or(-1),
            recordErrors: array(struct({ batchIndex: int32, batchIndexErrorMessage: string.nullable() })).since(8),
            errorMessage: string.nullable().since(8).or(null),
            currentLeader: struct({ leaderId: int32.or(-1), leaderEpoch: int32.or(-1) })
              .since(10)
              .tag(0),
          }),
        ),
      }),
    ),
    throttleTimeMs: int32.or(0),
    nodeEndpoints: array(struct({ nodeId: int32, host: string, port: int32, rack: string.nullable() }))
      .since(10)
      .tag(0),
  }),
})
