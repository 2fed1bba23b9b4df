/**
 * SaslAuthenticate (36): one message of the exchange by which a client says who it is.
 *
 * Versions  0–2, flexible from 2. v1 tells how long the session lasts (KIP-368), 0 = as long as the connection
 * Response  the broker's message; error texts are shown to people by some clients
 */
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
