/** JoinGroup (11): v0–9. */
import { KafkaApi } from '../codec/api.ts'
import { array, bool, bytes, int16, int32, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const joinGroup = new KafkaApi({
  key: KafkaKey.JOIN_GROUP,
  name: 'JoinGroup',
  versions: [0, 9],
  flexibleSince: 6,
  request: struct({
    groupId: string,
    sessionTimeoutMs: int32,
    rebalanceTimeoutMs: int32.since(1).or(-1),
    memberId: string,
    groupInstanceId: string.nullable().since(5),
    protocolType: string,
    protocols: array(struct({ name: string, metadata: bytes })),
    reason: string.nullable().since(8),
  }),
  response: struct({
    throttleTimeMs: int32.since(2).or(0),
    errorCode: int16,
    generationId: int32.or(-1),
    protocolType: string.nullable().since(7),
    protocolName: string.nullable(7),
    leader: string,
    skipAssignment: bool.since(9),
    memberId: string,
    members: array(struct({ memberId: string, groupInstanceId: string.nullable().since(5), metadata: bytes })),
  }),
})
