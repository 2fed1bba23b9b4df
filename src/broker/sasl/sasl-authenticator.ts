/**
 * SaslAuthenticator: who a client of the Kafka door is: its exchanges, on the users of the cluster and the tokens of this broker.
 *
 * Owns        nothing: users are the store's, tokens the authenticator's
 * Thread      main; passwords of PLAIN are hashed in Node's pool (password-hasher.ts)
 * Invariants  SA1 an unknown user is answered with the same salt each time, on every broker, and PLAIN hashes for it as for one that is
 *                 known. What can be seen still: a user with other rounds than the default's has those
 *             SA2 a principal comes from a proof or a password that was compared, never from a name alone
 * Ordering    open() before the first exchange
 * Rules       PLAIN with the user name `token`: the password is one of auth.tokens, as on the other doors; the cluster's secret is none.
 *             A user with both mechanisms is checked against SCRAM-SHA-256
 * Not here    which connection must authenticate, and how long it may take: the listener's
 */
import { assert } from '../../base/assert.ts'
import { utf8Encode } from '../../base/bytes.ts'
import type { UserStore } from '../../coordination/user-store.ts'
import {
  type FoundCredential,
  HASH_OF,
  type PasswordVerdict,
  type SaslCrypto,
  type SaslPorts,
} from '../../kafka/sasl/sasl-ports.ts'
import { SaslSession } from '../../kafka/sasl/sasl-session.ts'
import { scramKeysOf } from '../../kafka/sasl/scram.ts'
import { SCRAM_ITERATIONS_DEFAULT, SCRAM_SALT_BYTES } from '../../model/limits.ts'
import {
  type SaslMechanism,
  SCRAM_MECHANISMS,
  type ScramCredential,
  type ScramMechanism,
  TOKEN_USER_NAME,
} from '../../model/users.ts'
import type { Authenticator } from '../authenticate.ts'
import { type Principal, userPrincipal } from '../authorise.ts'
import type { PasswordHasher } from './password-hasher.ts'

export interface SaslAuthenticatorOptions {
  /** In force: BrokerConfig.kafka.sasl. */
  readonly mechanisms: readonly SaslMechanism[]
  readonly users: UserStore
  readonly tokens: Pick<Authenticator, 'tokenHolderOf'>
  readonly crypto: SaslCrypto
  readonly hasher: PasswordHasher
}

export class SaslAuthenticator implements SaslPorts<Principal> {
  readonly crypto: SaslCrypto
  /** What SaslHandshake tells; empty: everybody is anonymous. */
  readonly mechanisms: readonly SaslMechanism[]
  readonly #options: SaslAuthenticatorOptions

  constructor(options: SaslAuthenticatorOptions) {
    this.crypto = options.crypto
    this.mechanisms = options.mechanisms
    this.#options = options
  }

  /** Nobody is served who has not said who they are. */
  get isRequired(): boolean {
    return this.mechanisms.length > 0
  }

  /** Resolves once the users are here: before that nobody can authenticate. */
  open(): Promise<void> {
    return this.#options.users.open()
  }

  /** Begins an exchange; undefined: the mechanism is not in force (UNSUPPORTED_SASL_MECHANISM). */
  begin(mechanism: string): SaslSession<Principal> | undefined {
    const known = this.mechanisms.find((one) => one === mechanism)
    return known === undefined ? undefined : new SaslSession<Principal>(known, this)
  }

  credentialOf(user: string, mechanism: ScramMechanism): FoundCredential<Principal> {
    const credential = this.#options.users.get(user)?.credentials.get(mechanism)
    return credential === undefined
      ? { credential: this.#madeUp(user, mechanism), principal: undefined }
      : { credential, principal: userPrincipal(user) }
  }

  async verifyPassword(user: string, password: string): Promise<PasswordVerdict<Principal>> {
    if (user === TOKEN_USER_NAME) {
      const principal = this.#options.tokens.tokenHolderOf(password)
      return principal === undefined ? { kind: 'wrong' } : { kind: 'right', principal }
    }
    const credentials = this.#options.users.get(user)?.credentials
    const mechanism = SCRAM_MECHANISMS.find((one) => credentials?.has(one)) ?? SCRAM_MECHANISMS[0]
    const { credential, principal } = this.credentialOf(user, mechanism)
    const { salt, iterations, storedKey } = credential
    const salted = await this.#options.hasher.hash({ password, mechanism, salt, iterations })
    if (salted === undefined) return { kind: 'busy' }
    const isRight = this.crypto.isEqual(scramKeysOf(mechanism, salted, this.crypto).storedKey, storedKey)
    return isRight && principal !== undefined ? { kind: 'right', principal } : { kind: 'wrong' }
  }

  /** Of a user that there is not, or not with this mechanism: no password belongs to it. */
  #madeUp(user: string, mechanism: ScramMechanism): ScramCredential {
    const { secret } = this.#options.users
    assert(secret !== '', 'an exchange began before the users were here')
    const key = utf8Encode(secret)
    const made = (what: string) => this.crypto.hmac(HASH_OF[mechanism], key, utf8Encode(`${what} ${mechanism} ${user}`))
    const salt = made('salt').subarray(0, SCRAM_SALT_BYTES)
    return { salt, iterations: SCRAM_ITERATIONS_DEFAULT, storedKey: made('stored key'), serverKey: made('server key') }
  }
}
