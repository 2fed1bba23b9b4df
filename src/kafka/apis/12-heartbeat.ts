/**
 * Heartbeat (12): a member of a classic group lives.
 *
 * Versions  0–4, flexible from 4. v3 has static members
 * Response  REBALANCE_IN_PROGRESS is how a member learns that it is to join again; its session is prolonged all the same
 */
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
