/**
 * CreatePartitions (37): gives topics more partitions.
 *
 * Versions  0–3, flexible from 2. v3 has the errors of quotas
 * Request   count is the new total, assignments are of those that are added
 * Response  every topic that was asked for: librdkafka takes an empty list for a failure, and sends version 0 in its older releases
 */
import { KafkaApi } from '../codec/api.ts'
import { array, bool, int16, int32, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const createPartitions = new KafkaApi({
  key: KafkaKey.CREATE_PARTITIONS,
  name: 'CreatePartitions',
  versions: [0, 3],
  flexibleSince: 2,
  request: struct({
    topics: array(
      struct({ name: string, count: int32, assignments: array(struct({ brokerIds: array(int32) })).nullable() }),
    ),
    timeoutMs: int32,
    validateOnly: bool,
  }),
  response: struct({
    throttleTimeMs: int32.or(0),
    results: array(struct({ name: string, errorCode: int16, errorMessage: string.nullable().or(null) })),
  }),
})
