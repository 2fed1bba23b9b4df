/** Who a token belongs to, and which browsers may connect. Compares in constant time. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { ANONYMOUS, BROKER, type Principal, TOKEN_HOLDER } from './authorise.ts'

export interface AuthenticatorOptions {
  readonly tokens: readonly string[]
  readonly origins: readonly string[]
  /** What brokers of a cluster show each other; left out by a broker alone: then nobody is one. */
  readonly clusterSecret?: string | undefined
}

export class Authenticator {
  readonly #tokenHashes: readonly Buffer[]
  readonly #origins: ReadonlySet<string>

  readonly #secretHash: Buffer | undefined

  constructor(options: AuthenticatorOptions) {
    this.#tokenHashes = options.tokens.map(hashOf)
    this.#secretHash = options.clusterSecret === undefined ? undefined : hashOf(options.clusterSecret)
    this.#origins = new Set(options.origins)
  }

  get needsToken(): boolean {
    return this.#tokenHashes.length > 0
  }

  /** The principal of a token; undefined when it is not a valid one, or none was given and one is needed. */
  principalOf(token: string | null): Principal | undefined {
    if (token === null || token === '') return this.needsToken ? undefined : ANONYMOUS
    const hash = hashOf(token)
    if (this.#secretHash !== undefined && timingSafeEqual(this.#secretHash, hash)) return BROKER
    return this.needsToken ? this.#holderOf(hash) : ANONYMOUS
  }

  /** The same of the tokens alone: without any, or with the cluster's secret, nobody. */
  tokenHolderOf(token: string): Principal | undefined {
    return this.#holderOf(hashOf(token))
  }

  #holderOf(hash: Buffer): Principal | undefined {
    let isKnown = false
    // All of them, whatever is found: the time tells nothing.
    for (const known of this.#tokenHashes) if (timingSafeEqual(known, hash)) isKnown = true
    return isKnown ? TOKEN_HOLDER : undefined
  }

  /** Of an Authorization header; null when there is none of kind Bearer. */
  static tokenOf(authorization: string): string | null {
    const match = /^Bearer +(\S+)$/i.exec(authorization)
    return match?.[1] ?? null
  }

  /** Programs send no Origin; browsers always do. */
  isOriginAllowed(origin: string): boolean {
    return origin === '' || this.#origins.has(origin)
  }
}

function hashOf(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
