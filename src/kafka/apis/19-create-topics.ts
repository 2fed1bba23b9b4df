/**
 * CreateTopics (19): makes topics.
 *
 * Versions  2–7, flexible from 5. v5 tells what was made, with its configuration, v7 the topic's id
 * Request   -1 partitions or replicas are the broker's defaults, in every version: some clients send it before v4. With assignments both are -1
 * Response  no text without an error: clients take one for a failure. topicConfigErrorCode says why configs is null
 */
import { KafkaApi } from '../codec/api.ts'
import { array, bool, int8, int16, int32, string, struct, uuid } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const createTopics = new KafkaApi({
  key: KafkaKey.CREATE_TOPICS,
  name: 'CreateTopics',
  versions: [2, 7],
  flexibleSince: 5,
  request: struct({
    topics: array(
      struct({
        name: string,
        numPartitions: int32,
        replicationFactor: int16,
        assignments: array(struct({ partitionIndex: int32, brokerIds: array(int32) })),
        configs: array(struct({ name: string, value: string.nullable() })),
      }),
    ),
    timeoutMs: int32.or(60000),
    validateOnly: bool,
  }),
  response: struct({
    throttleTimeMs: int32.or(0),
    topics: array(
      struct({
        name: string,
        topicId: uuid.since(7),
        errorCode: int16,
        errorMessage: string.nullable().or(null),
        topicConfigErrorCode: int16.since(5).tag(0),
        numPartitions: int32.since(5).or(-1),
        replicationFactor: int16.since(5).or(-1),
        configs: array(
          struct({
            name: string,
            value: string.nullable(),
            readOnly: bool,
            configSource: int8.or(-1),
            isSensitive: bool,
          }),
        )
          .nullable()
          .since(5),
      }),
    ),
  }),
})
