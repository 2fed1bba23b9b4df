/**
 * Scram: the server's side of SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677), and the keys that a salted password makes.
 *
 *   first -> client-first: challenge (server-first) -> client-final: done (server-final), or failed
 *
 * Invariants  SC1 done only where the hash of (proof XOR HMAC(stored key, auth message)) is the stored key of a user that exists
 *             SC2 the auth message has the nonce of this exchange, so no proof of another one is right in it
 *             SC3 an unknown user takes every step that a known one takes, with the same salt each time
 * Failure     WRONG_TEXT for who somebody is; a text of its own for a message that is not well formed
 * Not here    the password: whoever knows it derives what is kept (PBKDF2), see src/broker/sasl
 */
import { bytesEqual, utf8Encode } from '../../base/bytes.ts'
import type { ScramMechanism } from '../../model/users.ts'
import {
  type FoundCredential,
  failed,
  HASH_OF,
  type HashName,
  type SaslCrypto,
  type SaslMachine,
  type SaslPorts,
  type SaslStep,
  WRONG_TEXT,
} from './sasl-ports.ts'
import {
  type ClientFinal,
  type ClientFirst,
  readClientFinal,
  readClientFirst,
  writeServerFinal,
  writeServerFirst,
} from './scram-messages.ts'

const CLIENT_KEY = utf8Encode('Client Key')
const SERVER_KEY = utf8Encode('Server Key')

export interface ScramKeys {
  readonly storedKey: Uint8Array
  readonly serverKey: Uint8Array
}

/** What is kept of a salted password (RFC 5802 §3): from it nobody can authenticate. */
export function scramKeysOf(mechanism: ScramMechanism, saltedPassword: Uint8Array, crypto: SaslCrypto): ScramKeys {
  const hash = HASH_OF[mechanism]
  const clientKey = crypto.hmac(hash, saltedPassword, CLIENT_KEY)
  return { storedKey: crypto.hash(hash, clientKey), serverKey: crypto.hmac(hash, saltedPassword, SERVER_KEY) }
}

interface Challenged<Principal> {
  readonly first: ClientFirst
  readonly found: FoundCredential<Principal>
  readonly nonce: string
  readonly serverFirst: string
}

export class ScramMachine<Principal> implements SaslMachine<Principal> {
  readonly #mechanism: ScramMechanism
  readonly #hash: HashName
  readonly #ports: SaslPorts<Principal>
  #challenged: Challenged<Principal> | undefined

  constructor(mechanism: ScramMechanism, ports: SaslPorts<Principal>) {
    this.#mechanism = mechanism
    this.#hash = HASH_OF[mechanism]
    this.#ports = ports
  }

  step(message: Uint8Array): SaslStep<Principal> {
    return this.#challenged === undefined ? this.#challenge(message) : this.#finish(message, this.#challenged)
  }

  #challenge(message: Uint8Array): SaslStep<Principal> {
    const first = readClientFirst(message)
    if ('fault' in first) return this.#malformed(first.fault)
    if (first.authzid !== undefined && first.authzid !== first.user)
      return this.#malformed('nobody may act as another user (authzid)')
    const found = this.#ports.credentialOf(first.user, this.#mechanism)
    const nonce = first.nonce + this.#ports.crypto.newNonce()
    const serverFirst = writeServerFirst(nonce, found.credential.salt, found.credential.iterations)
    this.#challenged = { first, found, nonce, serverFirst }
    return { kind: 'challenge', bytes: utf8Encode(serverFirst) }
  }

  #finish(message: Uint8Array, { first, found, nonce, serverFirst }: Challenged<Principal>): SaslStep<Principal> {
    const final = readClientFinal(message)
    if ('fault' in final) return this.#malformed(final.fault)
    // librdkafka before 2.6.1 writes its own nonce once more before the whole of it; the proof is then of that text, and none the weaker.
    if (final.nonce !== nonce && final.nonce !== first.nonce + nonce)
      return this.#malformed('the nonce is not the one of this exchange')
    if (!bytesEqual(final.channelBinding, utf8Encode(first.gs2Header)))
      return this.#malformed('the channel binding (c=) is not what the first message said')
    const authMessage = utf8Encode(`${first.bare},${serverFirst},${final.withoutProof}`)
    const isProven = this.#isProven(final, found.credential.storedKey, authMessage)
    const signature = this.#ports.crypto.hmac(this.#hash, found.credential.serverKey, authMessage)
    if (!isProven || found.principal === undefined) return failed(WRONG_TEXT)
    return { kind: 'done', bytes: writeServerFinal(signature), principal: found.principal }
  }

  #isProven({ proof }: ClientFinal, storedKey: Uint8Array, authMessage: Uint8Array): boolean {
    const { crypto } = this.#ports
    if (proof.length !== storedKey.length) return false
    const signature = crypto.hmac(this.#hash, storedKey, authMessage)
    const clientKey = proof.map((byte, index) => byte ^ signature[index]!)
    return crypto.isEqual(crypto.hash(this.#hash, clientKey), storedKey)
  }

  #malformed(fault: string): SaslStep<Principal> {
    return failed(`${this.#mechanism}: ${fault}`)
  }
}
