/**
 * DescribeConfigs (32): the configuration of topics, brokers and groups.
 *
 * Versions  1–4, flexible from 4. v3 has the type of a value and its documentation
 * Request   resource types 2 topic, 4 broker, 32 group; keys null, or in some clients empty, are all of them
 * Response  all keys with their defaults: tools read, change and write them back
 */
import { KafkaApi } from '../codec/api.ts'
import { array, bool, int8, int16, int32, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const describeConfigs = new KafkaApi({
  key: KafkaKey.DESCRIBE_CONFIGS,
  name: 'DescribeConfigs',
  versions: [1, 4],
  flexibleSince: 4,
  request: struct({
    resources: array(struct({ resourceType: int8, resourceName: string, configurationKeys: array(string).nullable() })),
    includeSynonyms: bool,
    includeDocumentation: bool.since(3),
  }),
  response: struct({
    throttleTimeMs: int32.or(0),
    results: array(
      struct({
        errorCode: int16,
        errorMessage: string.nullable().or(null),
        resourceType: int8,
        resourceName: string,
        configs: array(
          struct({
            name: string,
            value: string.nullable(),
            readOnly: bool,
            configSource: int8.or(-1),
            isSensitive: bool,
            synonyms: array(struct({ name: string, value: string.nullable(), source: int8 })),
            configType: int8.since(3),
            documentation: string.nullable().since(3),
          }),
        ),
      }),
    ),
  }),
})
