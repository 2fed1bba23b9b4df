/**
 * LeaveGroup (13): members leave a classic group.
 *
 * Versions  0–5, flexible from 4. v0 to v2 name one member, v3 a list with an error for each, v5 a reason
 * Request   an instance id without a member id is an administrator who removes a static member
 */
import { KafkaApi } from '../codec/api.ts'
import { array, int16, int32, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const leaveGroup = new KafkaApi({
  key: KafkaKey.LEAVE_GROUP,
  name: 'LeaveGroup',
  versions: [0, 5],
  flexibleSince: 4,
  request: struct({
    groupId: string,
    memberId: string.until(2),
    members: array(
      struct({ memberId: string, groupInstanceId: string.nullable(), reason: string.nullable().since(5) }),
    ).since(3),
  }),
  response: struct({
    throttleTimeMs: int32.since(1).or(0),
    errorCode: int16,
    members: array(struct({ memberId: string, groupInstanceId: string.nullable(), errorCode: int16 })).since(3),
  }),
})
