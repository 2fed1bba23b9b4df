/** SaslAuthenticate (36): v0–2. */
import { KafkaApi } from '../codec/api.ts'
import { bytes, int16, int64, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const saslAuthenticate = new KafkaApi({
  key: KafkaKey.SASL_AUTHENTICATE,
  name: 'SaslAuthenticate',
  versions: [0, 2],
  flexibleSince: 2,
  request: struct({ authBytes: bytes }),
  response: struct({
    errorCode: int16,
    errorMessage: string.nullable().or(null),
    authBytes: bytes,
    sessionLifetimeMs: int64.since(1),
  }),
})
