/**
 * DescribeClientQuotas (48): the quotas that a filter finds (KIP-546).
 *
 * Versions  0–1, flexible from 1
 * Request   matchType 0 exactly, 1 the default entity, 2 any
 */
import { KafkaApi } from '../codec/api.ts'
import { array, bool, float64, int8, int16, int32, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const describeClientQuotas = new KafkaApi({
  key: KafkaKey.DESCRIBE_CLIENT_QUOTAS,
  name: 'DescribeClientQuotas',
  versions: [0, 1],
  flexibleSince: 1,
  request: struct({
    components: array(struct({ entityType: string, matchType: int8, match: string.nullable() })),
    strict: bool,
  }),
  response: struct({
    throttleTimeMs: int32.or(0),
    errorCode: int16,
    errorMessage: string.nullable().or(null),
    entries: array(
      struct({
        entity: array(struct({ entityType: string, entityName: string.nullable() })),
        values: array(struct({ key: string, value: float64 })),
      }),
    ).nullable(),
  }),
})
