/**
 * SaltedPassword: what of a password leaves this process: Hi(password, salt, iterations) of RFC 5802, which is PBKDF2, by WebCrypto: the
 * same in Node and in browsers, there away from the page's thread.
 *
 * Failure  NOT_AVAILABLE_YET where a page has no WebCrypto: it is there over https and on localhost alone
 */
import { utf8Encode } from '../base/bytes.ts'
import { MillraceError } from '../model/errors.ts'
import { SCRAM_SALT_BYTES } from '../model/limits.ts'
import { SCRAM_KEY_BYTES, type ScramMechanism } from '../model/users.ts'

const HASHES = { 'SCRAM-SHA-256': 'SHA-256', 'SCRAM-SHA-512': 'SHA-512' } as const satisfies Record<
  ScramMechanism,
  string
>

export interface SaltedPassword {
  readonly salt: Uint8Array
  readonly iterations: number
  readonly saltedPassword: Uint8Array
}

export async function saltPassword(
  password: string,
  mechanism: ScramMechanism,
  iterations: number,
): Promise<SaltedPassword> {
  const { crypto } = globalThis
  if (crypto?.subtle === undefined)
    throw new MillraceError(
      'NOT_AVAILABLE_YET',
      'passwords are hashed by WebCrypto, which a page has over https or on localhost',
    )
  const salt = crypto.getRandomValues(new Uint8Array(SCRAM_SALT_BYTES))
  const key = await crypto.subtle.importKey('raw', new Uint8Array(utf8Encode(password)), 'PBKDF2', false, [
    'deriveBits',
  ])
  const parameters = { name: 'PBKDF2', hash: HASHES[mechanism], salt, iterations }
  const bits = await crypto.subtle.deriveBits(parameters, key, SCRAM_KEY_BYTES[mechanism] * 8)
  return { salt, iterations, saltedPassword: new Uint8Array(bits) }
}
