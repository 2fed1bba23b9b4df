/**
 * DeleteRecords (21): drops what is before an offset; asked of the leader.
 *
 * Versions  0–2, flexible from 2
 * Request   offset -1 is the high watermark
 * Response  the log start offset that there is now
 */
import { KafkaApi } from '../codec/api.ts'
import { array, int16, int32, int64, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const deleteRecords = new KafkaApi({
  key: KafkaKey.DELETE_RECORDS,
  name: 'DeleteRecords',
  versions: [0, 2],
  flexibleSince: 2,
  request: struct({
    topics: array(struct({ name: string, partitions: array(struct({ partitionIndex: int32, offset: int64 })) })),
    timeoutMs: int32,
  }),
  response: struct({
    throttleTimeMs: int32.or(0),
    topics: array(
      struct({
        name: string,
        partitions: array(struct({ partitionIndex: int32, lowWatermark: int64, errorCode: int16 })),
      }),
    ),
  }),
})
