/**
 * OffsetDelete (47): forgets committed offsets of a group.
 *
 * Versions  0, not flexible
 * Response  the error of the group is before the throttle time: as in no other response
 * Failure   GROUP_SUBSCRIBED_TO_TOPIC for a topic that a member reads
 */
import { KafkaApi } from '../codec/api.ts'
import { array, int16, int32, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const offsetDelete = new KafkaApi({
  key: KafkaKey.OFFSET_DELETE,
  name: 'OffsetDelete',
  versions: [0, 0],
  request: struct({
    groupId: string,
    topics: array(struct({ name: string, partitions: array(struct({ partitionIndex: int32 })) })),
  }),
  response: struct({
    errorCode: int16,
    throttleTimeMs: int32.or(0),
    topics: array(struct({ name: string, partitions: array(struct({ partitionIndex: int32, errorCode: int16 })) })),
  }),
})
