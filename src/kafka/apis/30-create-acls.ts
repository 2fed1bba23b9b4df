/**
 * CreateAcls (30): adds access rules.
 *
 * Versions  1–3, flexible from 2
 * Response  a result for each, in the request's order
 */
import { KafkaApi } from '../codec/api.ts'
import { array, int8, int16, int32, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const createAcls = new KafkaApi({
  key: KafkaKey.CREATE_ACLS,
  name: 'CreateAcls',
  versions: [1, 3],
  flexibleSince: 2,
  request: struct({
    creations: array(
      struct({
        resourceType: int8,
        resourceName: string,
        resourcePatternType: int8.or(3),
        principal: string,
        host: string,
        operation: int8,
        permissionType: int8,
      }),
    ),
  }),
  response: struct({
    throttleTimeMs: int32.or(0),
    results: array(struct({ errorCode: int16, errorMessage: string.nullable().or(null) })),
  }),
})
