/**
 * SaslPorts: what the machines of SASL need of the world around them. `Principal` is whatever the owner of a connection calls a user.
 *
 * Make  src/broker/sasl
 */
import type { ScramCredential, ScramMechanism } from '../../model/users.ts'

export type HashName = 'sha256' | 'sha512'

export const HASH_OF = { 'SCRAM-SHA-256': 'sha256', 'SCRAM-SHA-512': 'sha512' } as const satisfies Record<
  ScramMechanism,
  HashName
>

export interface SaslCrypto {
  hash(name: HashName, data: Uint8Array): Uint8Array
  hmac(name: HashName, key: Uint8Array, data: Uint8Array): Uint8Array
  /** Its time depends on the lengths alone. */
  isEqual(left: Uint8Array, right: Uint8Array): boolean
  /** The server's part of a nonce: printable ASCII without commas, not to be guessed, another each time. */
  newNonce(): string
}

export interface FoundCredential<Principal> {
  readonly credential: ScramCredential
  /** Undefined: there is no such user, or none with this mechanism; the credential is made up, and the same each time. */
  readonly principal: Principal | undefined
}

export type PasswordVerdict<Principal> =
  | { readonly kind: 'right'; readonly principal: Principal }
  | { readonly kind: 'wrong' }
  /** Too many are being checked: nothing was looked at. */
  | { readonly kind: 'busy' }

export interface SaslPorts<Principal> {
  readonly crypto: SaslCrypto
  credentialOf(user: string, mechanism: ScramMechanism): FoundCredential<Principal>
  /** Expensive: it hashes the password, away from the event loop. Never rejects. */
  verifyPassword(user: string, password: string): Promise<PasswordVerdict<Principal>>
}

/** What is done with a client's message. */
export type SaslStep<Principal> =
  | { readonly kind: 'challenge'; readonly bytes: Uint8Array }
  | { readonly kind: 'done'; readonly bytes: Uint8Array; readonly principal: Principal }
  /** For the client to read; the exchange is over. */
  | { readonly kind: 'failed'; readonly text: string }

export interface SaslMachine<Principal> {
  step(message: Uint8Array): SaslStep<Principal> | Promise<SaslStep<Principal>>
}

/** One text for all that is wrong with who somebody says they are. */
export const WRONG_TEXT = 'authentication failed: the user or the password is not right'

export function failed(text: string): { readonly kind: 'failed'; readonly text: string } {
  return { kind: 'failed', text }
}
