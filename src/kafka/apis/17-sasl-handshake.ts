/** SaslHandshake (17): v0–1. */
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
