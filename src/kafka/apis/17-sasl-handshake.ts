/**
 * SaslHandshake (17): how the client will say who it is.
 *
 * Versions  0–1, none is flexible
 * Response  the mechanisms there are, also with UNSUPPORTED_SASL_MECHANISM
 * Traps     librdkafka looks for version 0; after it tokens come without a Kafka header, after version 1 by SaslAuthenticate (KIP-152)
 */
import { KafkaApi } from '../codec/api.ts'
import { array, int16, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const saslHandshake = new KafkaApi({
  key: KafkaKey.SASL_HANDSHAKE,
  name: 'SaslHandshake',
  versions: [0, 1],
  request: struct({ mechanism: string }),
  response: struct({ errorCode: int16, mechanisms: array(string) }),
})
