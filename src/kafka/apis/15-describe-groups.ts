/**
 * DescribeGroups (15): state and members of groups.
 *
 * Versions  0–6, flexible from 5. v3 has authorised operations, v4 static members, v6 an error text
 * Response  a group that is not there is Dead without an error before v6, GROUP_ID_NOT_FOUND from then on. clientHost is written '/address'
 * Traps     metadata and assignments are the clients' bytes, '' and no bytes while the group is not Stable
 */
import { KafkaApi } from '../codec/api.ts'
import { array, bool, bytes, int16, int32, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const describeGroups = new KafkaApi({
  key: KafkaKey.DESCRIBE_GROUPS,
  name: 'DescribeGroups',
  versions: [0, 6],
  flexibleSince: 5,
  request: struct({ groups: array(string), includeAuthorizedOperations: bool.since(3) }),
  response: struct({
    throttleTimeMs: int32.since(1).or(0),
    groups: array(
      struct({
        errorCode: int16,
        errorMessage: string.nullable().since(6).or(null),
        groupId: string,
        groupState: string,
        protocolType: string,
        protocolData: string,
        members: array(
          struct({
            memberId: string,
            groupInstanceId: string.nullable().since(4),
            clientId: string,
            clientHost: string,
            memberMetadata: bytes,
            memberAssignment: bytes,
          }),
        ),
        authorizedOperations: int32.since(3).or(-2147483648),
      }),
    ),
  }),
})
