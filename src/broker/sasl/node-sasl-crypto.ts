/** The hashes of SASL, by Node. */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { SaslCrypto } from '../../kafka/sasl/sasl-ports.ts'

/** 192 bits, in base64 without padding. */
const NONCE_BYTES = 24

export const nodeSaslCrypto: SaslCrypto = {
  hash: (name, data) => createHash(name).update(data).digest(),
  hmac: (name, key, data) => createHmac(name, key).update(data).digest(),
  isEqual: (left, right) => left.length === right.length && timingSafeEqual(left, right),
  newNonce: () => randomBytes(NONCE_BYTES).toString('base64'),
}
