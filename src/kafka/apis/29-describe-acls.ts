/**
 * DescribeAcls (29): the access rules that a filter finds.
 *
 * Versions  1–3, flexible from 2
 * Request   types 1 any, and 2 match of a pattern; a null name, principal or host fits all
 */
import { KafkaApi } from '../codec/api.ts'
import { array, int8, int16, int32, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const describeAcls = new KafkaApi({
  key: KafkaKey.DESCRIBE_ACLS,
  name: 'DescribeAcls',
  versions: [1, 3],
  flexibleSince: 2,
  request: struct({
    resourceTypeFilter: int8,
    resourceNameFilter: string.nullable(),
    patternTypeFilter: int8.or(3),
    principalFilter: string.nullable(),
    hostFilter: string.nullable(),
    operation: int8,
    permissionType: int8,
  }),
  response: struct({
    throttleTimeMs: int32.or(0),
    errorCode: int16,
    errorMessage: string.nullable().or(null),
    resources: array(
      struct({
        resourceType: int8,
        resourceName: string,
        patternType: int8.or(3),
        acls: array(struct({ principal: string, host: string, operation: int8, permissionType: int8 })),
      }),
    ),
  }),
})
