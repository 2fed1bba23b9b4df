/** Heartbeat (12): v0–4. */
import { KafkaApi } from '../codec/api.ts'
import { int16, int32, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const heartbeat = new KafkaApi({
  key: KafkaKey.HEARTBEAT,
  name: 'Heartbeat',
  versions: [0, 4],
  flexibleSince: 4,
  request: struct({
    groupId: string,
    generationId: int32,
    memberId: string,
    groupInstanceId: string.nullable().since(3),
  }),
  response: struct({ throttleTimeMs: int32.since(1).or(0), errorCode: int16 }),
})
