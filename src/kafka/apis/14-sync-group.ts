/**
 * SyncGroup (14): the leader of a classic group hands in the assignments, every member gets its own.
 *
 * Versions  0–5, flexible from 4. v3 has static members, v5 the protocol that the member takes part in
 * Response  the assignment is never null: a member without one has no bytes
 * Traps     it waits for the leader, and with it all that comes after it on its connection
 */
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
