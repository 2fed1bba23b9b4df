/**
 * JoinGroup (11): a member of a classic group joins, or joins again; answered when all have.
 *
 * Versions  0–9, flexible from 6. v1 has a rebalance timeout (before: the session timeout), v4 the second call of a new member, v5 static members, v7
 *           the protocol's type, v8 a reason, v9 tells a leader to leave assignments as they are
 * Response  members only to the leader
 * Traps     protocolName null is '' before v7. From v4 on one who comes without a member id is told one with MEMBER_ID_REQUIRED, and comes back (KIP-394).
 *           librdkafka looks for version 0
 */
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
