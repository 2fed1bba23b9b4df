/**
 * DescribeUserScramCredentials (50): which SCRAM credentials users have (KIP-554); never a secret.
 *
 * Versions  0, flexible
 * Request   users null or empty = all
 */
import { KafkaApi } from '../codec/api.ts'
import { array, int8, int16, int32, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const describeUserScramCredentials = new KafkaApi({
  key: KafkaKey.DESCRIBE_USER_SCRAM_CREDENTIALS,
  name: 'DescribeUserScramCredentials',
  versions: [0, 0],
  flexibleSince: 0,
  request: struct({ users: array(struct({ name: string })).nullable() }),
  response: struct({
    throttleTimeMs: int32.or(0),
    errorCode: int16,
    errorMessage: string.nullable().or(null),
    results: array(
      struct({
        user: string,
        errorCode: int16,
        errorMessage: string.nullable().or(null),
        credentialInfos: array(struct({ mechanism: int8, iterations: int32 })),
      }),
    ),
  }),
})
