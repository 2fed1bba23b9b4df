/**
 * AlterConfigs (33): sets the whole configuration of resources; keys that are not named go back to their defaults.
 *
 * Versions  0–2, flexible from 2
 * Traps     older clients know this one alone; newer ones use IncrementalAlterConfigs
 */
import { KafkaApi } from '../codec/api.ts'
import { array, bool, int8, int16, int32, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const alterConfigs = new KafkaApi({
  key: KafkaKey.ALTER_CONFIGS,
  name: 'AlterConfigs',
  versions: [0, 2],
  flexibleSince: 2,
  request: struct({
    resources: array(
      struct({
        resourceType: int8,
        resourceName: string,
        configs: array(struct({ name: string, value: string.nullable() })),
      }),
    ),
    validateOnly: bool,
  }),
  response: struct({
    throttleTimeMs: int32.or(0),
    responses: array(
      struct({ errorCode: int16, errorMessage: string.nullable().or(null), resourceType: int8, resourceName: string }),
    ),
  }),
})
