/**
 * Plain: SASL PLAIN (RFC 4616), one message: authzid NUL authcid NUL password. The reply of a right one is empty.
 *
 * Rules    an authzid is empty or equal to the authcid: nobody acts as somebody else
 * Failure  WRONG_TEXT whatever was wrong with user or password; a text of its own for a message that is none, and where too many
 *          passwords are being checked
 */
import { EMPTY_BYTES, utf8DecodeStrict, utf8Encode } from '../../base/bytes.ts'
import { PASSWORD_BYTES_MAX } from '../../model/limits.ts'
import { failed, type SaslMachine, type SaslPorts, type SaslStep, WRONG_TEXT } from './sasl-ports.ts'

const BUSY_TEXT = 'too many clients authenticate now: try again in a moment'

export class PlainMachine<Principal> implements SaslMachine<Principal> {
  readonly #ports: SaslPorts<Principal>

  constructor(ports: SaslPorts<Principal>) {
    this.#ports = ports
  }

  async step(message: Uint8Array): Promise<SaslStep<Principal>> {
    const parts = utf8DecodeStrict(message)?.split('\0')
    if (parts?.length !== 3) return failed('PLAIN: expected authzid NUL user NUL password, in UTF-8')
    const [authzid, user, password] = parts as [string, string, string]
    if (user === '' || password === '') return failed('PLAIN: the user or the password is empty')
    if (authzid !== '' && authzid !== user) return failed('PLAIN: nobody may act as another user (authzid)')
    // What no password has as many bytes as is not worth hashing.
    if (utf8Encode(password).length > PASSWORD_BYTES_MAX) return failed(WRONG_TEXT)
    const verdict = await this.#ports.verifyPassword(user, password)
    if (verdict.kind === 'right') return { kind: 'done', bytes: EMPTY_BYTES, principal: verdict.principal }
    return failed(verdict.kind === 'busy' ? BUSY_TEXT : WRONG_TEXT)
  }
}
