/**
 * ListGroups (16): the groups that this broker coordinates; clients ask every broker.
 *
 * Versions  0–5, flexible from 3. v4 filters by state and tells it, v5 by type ('classic', 'consumer')
 * Request   an empty filter is none
 */
import { KafkaApi } from '../codec/api.ts'
import { array, int16, int32, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const listGroups = new KafkaApi({
  key: KafkaKey.LIST_GROUPS,
  name: 'ListGroups',
  versions: [0, 5],
  flexibleSince: 3,
  request: struct({ statesFilter: array(string).since(4), typesFilter: array(string).since(5) }),
  response: struct({
    throttleTimeMs: int32.since(1).or(0),
    errorCode: int16,
    groups: array(
      struct({ groupId: string, protocolType: string, groupState: string.since(4), groupType: string.since(5) }),
    ),
  }),
})
