/**
 * DeleteGroups (42): removes groups without members, and their offsets.
 *
 * Versions  0–2, flexible from 2
 */
import { KafkaApi } from '../codec/api.ts'
import { array, int16, int32, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const deleteGroups = new KafkaApi({
  key: KafkaKey.DELETE_GROUPS,
  name: 'DeleteGroups',
  versions: [0, 2],
  flexibleSince: 2,
  request: struct({ groupsNames: array(string) }),
  response: struct({ throttleTimeMs: int32.or(0), results: array(struct({ groupId: string, errorCode: int16 })) }),
})
