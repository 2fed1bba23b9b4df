/** CreatePartitions (37): v0–3. */
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
