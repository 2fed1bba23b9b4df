/** Who a token belongs to, and which browsers may connect. Compares in constant time. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { ANONYMOUS, type Principal, TOKEN_HOLDER } from './authorise.ts'

export class Authenticator {
  readonly #tokenHashes: readonly Buffer[]
  readonly #origins: ReadonlySet<string>

  constructor(options: { readonly tokens: readonly string[]; readonly origins: readonly string[] }) {
    this.#tokenHashes = options.tokens.map(hashOf)
    this.#origins = new Set(options.origins)
  }

  get needsToken(): boolean {
    return this.#tokenHashes.length > 0
  }

  /** The principal of a token; undefined when it is not a valid one, or none was given and one is needed. */
  principalOf(token: string | null): Principal | undefined {
    if (!this.needsToken) return ANONYMOUS
    if (token === null || token === '') return undefined
    const hash = hashOf(token)
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
