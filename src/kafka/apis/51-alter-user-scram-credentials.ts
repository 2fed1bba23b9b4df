/**
 * AlterUserScramCredentials (51): sets and removes SCRAM credentials (KIP-554).
 *
 * Versions  0, flexible
 * Request   the password comes salted and hashed by the client; mechanism 1 SCRAM-SHA-256, 2 SCRAM-SHA-512
 */
import { KafkaApi } from '../codec/api.ts'
import { array, bytes, int8, int16, int32, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const alterUserScramCredentials = new KafkaApi({
  key: KafkaKey.ALTER_USER_SCRAM_CREDENTIALS,
  name: 'AlterUserScramCredentials',
  versions: [0, 0],
  flexibleSince: 0,
  request: struct({
    deletions: array(struct({ name: string, mechanism: int8 })),
    upsertions: array(struct({ name: string, mechanism: int8, iterations: int32, salt: bytes, saltedPassword: bytes })),
  }),
  response: struct({
    throttleTimeMs: int32.or(0),
    results: array(struct({ user: string, errorCode: int16, errorMessage: string.nullable().or(null) })),
  }),
})
