/** Users in memory, and who authenticates against them. */
import { randomBytes } from 'node:crypto'
import { systemClock } from '../../src/base/node/system-clock.ts'
import { Authenticator } from '../../src/broker/authenticate.ts'
import { nodeSaslCrypto } from '../../src/broker/sasl/node-sasl-crypto.ts'
import { PasswordHasher } from '../../src/broker/sasl/password-hasher.ts'
import { SaslAuthenticator } from '../../src/broker/sasl/sasl-authenticator.ts'
import { Users } from '../../src/broker/sasl/users.ts'
import { MemoryMetadataStore } from '../../src/coordination/memory-metadata-store.ts'
import type { MetadataStore } from '../../src/coordination/metadata-store.ts'
import { UserStore } from '../../src/coordination/user-store.ts'
import { systemTime } from '../../src/in-process/time-source.ts'
import { SASL_MECHANISMS, type SaslMechanism } from '../../src/model/users.ts'

export interface SaslFixtureOptions {
  readonly mechanisms?: readonly SaslMechanism[]
  readonly tokens?: readonly string[]
  readonly clusterSecret?: string
  readonly hasher?: PasswordHasher
  readonly store?: MetadataStore
}

export function saslFixture(options: SaslFixtureOptions = {}) {
  const { mechanisms = SASL_MECHANISMS, tokens = [], hasher = new PasswordHasher() } = options
  const metadata = options.store ?? new MemoryMetadataStore(systemClock)
  const newId = () => randomBytes(16).toString('hex')
  const store = new UserStore({ store: metadata, timers: systemTime, newId })
  const crypto = nodeSaslCrypto
  const users = new Users({ store, crypto, hasher, newSalt: () => randomBytes(16) })
  const authenticator = new Authenticator({ tokens, origins: [], clusterSecret: options.clusterSecret })
  const sasl = new SaslAuthenticator({ mechanisms, users: store, tokens: authenticator, crypto, hasher })
  return { metadata, store, users, authenticator, sasl }
}
