/**
 * DeleteAcls (31): removes the access rules that filters find.
 *
 * Versions  1–3, flexible from 2
 * Response  for each filter what it removed
 */
import { KafkaApi } from '../codec/api.ts'
import { array, int8, int16, int32, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const deleteAcls = new KafkaApi({
  key: KafkaKey.DELETE_ACLS,
  name: 'DeleteAcls',
  versions: [1, 3],
  flexibleSince: 2,
  request: struct({
    filters: array(
      struct({
        resourceTypeFilter: int8,
        resourceNameFilter: string.nullable(),
        patternTypeFilter: int8.or(3),
        principalFilter: string.nullable(),
        hostFilter: string.nullable(),
        operation: int8,
        permissionType: int8,
      }),
    ),
  }),
  response: struct({
    throttleTimeMs: int32.or(0),
    filterResults: array(
      struct({
        errorCode: int16,
        errorMessage: string.nullable().or(null),
        matchingAcls: array(
          struct({
            errorCode: int16,
            errorMessage: string.nullable().or(null),
            resourceType: int8,
            resourceName: string,
            patternType: int8.or(3),
            principal: string,
            host: string,
            operation: int8,
            permissionType: int8,
          }),
        ),
      }),
    ),
  }),
})
