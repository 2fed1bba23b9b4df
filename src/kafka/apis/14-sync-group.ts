/** SyncGroup (14): v0–5. */
import { KafkaApi } from '../codec/api.ts'
import { array, bytes, int16, int32, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const syncGroup = new KafkaApi({
  key: KafkaKey.SYNC_GROUP,
  name: 'SyncGroup',
  versions: [0, 5],
  flexibleSince: 4,
  request: struct({
    groupId: string,
    generationId: int32,
    memberId: string,
    groupInstanceId: string.nullable().since(3),
    protocolType: string.nullable().since(5),
    protocolName: string.nullable().since(5),
    assignments: array(struct({ memberId: string, assignment: bytes })),
  }),
  response: struct({
    throttleTimeMs: int32.since(1).or(0),
    errorCode: int16,
    protocolType: string.nullable().since(5),
    protocolName: string.nullable().since(5),
    assignment: bytes,
  }),
})
