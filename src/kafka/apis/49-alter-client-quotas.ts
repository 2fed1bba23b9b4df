/**
 * AlterClientQuotas (49): sets and removes quotas (KIP-546).
 *
 * Versions  0–1, flexible from 1
 * Request   entityName null is the default entity
 */
import { KafkaApi } from '../codec/api.ts'
import { array, bool, float64, int16, int32, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const alterClientQuotas = new KafkaApi({
  key: KafkaKey.ALTER_CLIENT_QUOTAS,
  name: 'AlterClientQuotas',
  versions: [0, 1],
  flexibleSince: 1,
  request: struct({
    entries: array(
      struct({
        entity: array(struct({ entityType: string, entityName: string.nullable() })),
        ops: array(struct({ key: string, value: float64, remove: bool })),
      }),
    ),
    validateOnly: bool,
  }),
  response: struct({
    throttleTimeMs: int32.or(0),
    entries: array(
      struct({
        errorCode: int16,
        errorMessage: string.nullable().or(null),
        entity: array(struct({ entityType: string, entityName: string.nullable() })),
      }),
    ),
  }),
})
