/**
 * IncrementalAlterConfigs (44): changes single keys of the configuration of resources (KIP-339).
 *
 * Versions  0–1, flexible from 1
 * Request   operations 0 set, 1 delete, 2 append to a list, 3 take from a list
 */
import { KafkaApi } from '../codec/api.ts'
import { array, bool, int8, int16, int32, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const incrementalAlterConfigs = new KafkaApi({
  key: KafkaKey.INCREMENTAL_ALTER_CONFIGS,
  name: 'IncrementalAlterConfigs',
  versions: [0, 1],
  flexibleSince: 1,
  request: struct({
    resources: array(
      struct({
        resourceType: int8,
        resourceName: string,
        configs: array(struct({ name: string, configOperation: int8, value: string.nullable() })),
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
