/**
 * Users: their names and SASL mechanisms, as all rooms know them: the metadata store, the native protocol, the Kafka door, the client.
 *
 * Numbers  of the SCRAM mechanisms are Kafka's (KIP-554), on both wires
 * Rules    a name is what SCRAM can carry: UTF-8 without control characters, 1 to USER_NAME_BYTES_MAX bytes. It is compared byte by byte,
 *          without SASLprep (RFC 4013), as Kafka does. TOKEN_USER_NAME is no user: behind it PLAIN carries a token of auth.tokens
 */
import { kindOf, utf8Encode } from '../base/bytes.ts'
import { USER_NAME_BYTES_MAX } from './limits.ts'

export const SCRAM_MECHANISMS = ['SCRAM-SHA-256', 'SCRAM-SHA-512'] as const
export type ScramMechanism = (typeof SCRAM_MECHANISMS)[number]

export const SASL_MECHANISMS = ['PLAIN', ...SCRAM_MECHANISMS] as const
export type SaslMechanism = (typeof SASL_MECHANISMS)[number]

export const SCRAM_NUMBERS = { 'SCRAM-SHA-256': 1, 'SCRAM-SHA-512': 2 } as const satisfies Record<
  ScramMechanism,
  number
>

/** Undefined for any other number. */
export function scramMechanismOf(number: number): ScramMechanism | undefined {
  return SCRAM_MECHANISMS.find((mechanism) => SCRAM_NUMBERS[mechanism] === number)
}

/** Of its hash: of a salted password, a stored key, a server key, a proof. */
export const SCRAM_KEY_BYTES = { 'SCRAM-SHA-256': 32, 'SCRAM-SHA-512': 64 } as const satisfies Record<
  ScramMechanism,
  number
>

/** What is kept of a password (RFC 5802 §3): with it nobody can authenticate. */
export interface ScramCredential {
  readonly salt: Uint8Array
  readonly iterations: number
  readonly storedKey: Uint8Array
  readonly serverKey: Uint8Array
}

/** The user name under which SASL/PLAIN carries a token. */
export const TOKEN_USER_NAME = 'token'

/** Control characters (RFC 4013 §2.3 forbids them too), and half a surrogate pair, which is no UTF-8. */
const FORBIDDEN = /\p{Cc}|\p{Cs}/u

/** What is wrong with the name of a user; undefined when nothing is. */
export function userNameFault(name: unknown): string | undefined {
  if (typeof name !== 'string') return `a user name is a text, not ${kindOf(name)}`
  if (name === '') return 'a user name is empty'
  // A text has at least as many bytes as characters: a long one is not encoded to be measured.
  const isLong = name.length > USER_NAME_BYTES_MAX || utf8Encode(name).length > USER_NAME_BYTES_MAX
  if (isLong) return `a user name has at most ${USER_NAME_BYTES_MAX} bytes`
  if (FORBIDDEN.test(name)) return 'a user name has no control characters'
  if (name === TOKEN_USER_NAME) return `the user name '${TOKEN_USER_NAME}' stands for the tokens of auth.tokens`
  return undefined
}
