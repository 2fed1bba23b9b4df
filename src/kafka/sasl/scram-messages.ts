/**
 * The client's two messages of SCRAM (RFC 5802 §7), read strictly, and the server's two, written.
 *
 *   client-first   gs2-header client-first-bare        n,[a=authzid],n=user,r=nonce[,extensions]
 *   server-first                                       r=nonce,s=salt,i=iterations
 *   client-final   without-proof ,p=proof              c=channel-binding,r=nonce[,extensions],p=proof
 *   server-final                                       v=signature
 *
 * Rules    no channel binding; extensions are passed over, those that must be understood (m=) are refused
 * Limits   NONCE_LENGTH_MAX characters of the client's nonce; messages are bounded by the session
 * Failure  `{ fault }`, a text that says what was not well formed
 */
import { base64Of, bytesOfBase64 } from '../../base/base64.ts'
import { utf8DecodeStrict, utf8Encode } from '../../base/bytes.ts'

const NONCE_LENGTH_MAX = 1024
/** printable (RFC 5802 §7): ASCII from ! to ~ without the comma. */
const PRINTABLE = /^[\x21-\x2b\x2d-\x7e]+$/

export interface Fault {
  readonly fault: string
}

export interface ClientFirst {
  /** With its last comma: what client-final repeats as its channel binding. */
  readonly gs2Header: string
  readonly bare: string
  readonly authzid: string | undefined
  readonly user: string
  readonly nonce: string
}

export interface ClientFinal {
  readonly channelBinding: Uint8Array
  readonly nonce: string
  readonly proof: Uint8Array
  readonly withoutProof: string
}

const GS2 = /^(?:(n|y)|p=[^,]*),(?:a=([^,]*))?,/
const FIRST_BARE = /^n=([^,]*),r=([^,]*)(?:,.*)?$/s
const FINAL = /^c=([^,]*),r=([^,]*)(?:,.*)?$/s

export function readClientFirst(bytes: Uint8Array): ClientFirst | Fault {
  const text = utf8DecodeStrict(bytes)
  if (text === undefined) return { fault: 'the first message is not UTF-8' }
  const gs2 = GS2.exec(text)
  if (gs2 === null) return { fault: 'the first message does not begin with n,, or n,a=…,' }
  const [gs2Header, flag, asWritten] = gs2
  if (flag === undefined) return { fault: 'channel binding is not offered' }
  const bare = text.slice(gs2Header.length)
  if (bare.startsWith('m=')) return { fault: 'an extension (m=) that is not known is mandatory' }
  const [, name, nonce = ''] = FIRST_BARE.exec(bare) ?? []
  const user = name === undefined ? undefined : readName(name)
  if (user === undefined) return { fault: 'the first message has no user name (n=), or one that is not well formed' }
  if (!isNonce(nonce)) return { fault: 'the first message has no nonce (r=), or one that is not well formed' }
  const authzid = asWritten === undefined ? undefined : readName(asWritten)
  if (asWritten !== undefined && authzid === undefined) return { fault: 'the authzid (a=) is not well formed' }
  return { gs2Header, bare, authzid, user, nonce }
}

export function readClientFinal(bytes: Uint8Array): ClientFinal | Fault {
  const text = utf8DecodeStrict(bytes)
  if (text === undefined) return { fault: 'the last message is not UTF-8' }
  // The proof is the last attribute: everything before it is what it proves.
  const at = text.lastIndexOf(',p=')
  const withoutProof = text.slice(0, Math.max(at, 0))
  const proof = bytesOfBase64(text.slice(at + 3))
  if (at < 0 || proof === undefined || proof.length === 0)
    return { fault: 'the last message has no proof (p=), or one that is not base64' }
  const [, binding, nonce] = FINAL.exec(withoutProof) ?? []
  const channelBinding = binding === undefined ? undefined : bytesOfBase64(binding)
  if (channelBinding === undefined || nonce === undefined)
    return { fault: 'the last message has no channel binding (c=) and nonce (r=)' }
  return { channelBinding, nonce, proof, withoutProof }
}

export function writeServerFirst(nonce: string, salt: Uint8Array, iterations: number): string {
  return `r=${nonce},s=${base64Of(salt)},i=${iterations}`
}

export function writeServerFinal(signature: Uint8Array): Uint8Array {
  return utf8Encode(`v=${base64Of(signature)}`)
}

/** saslname: a comma is =2C and an equals sign =3D, and no other = may stand in it. */
function readName(written: string): string | undefined {
  if (written === '' || /=(?!2C|3D)/.test(written)) return undefined
  return written.replaceAll('=2C', ',').replaceAll('=3D', '=')
}

function isNonce(text: string): boolean {
  return text.length <= NONCE_LENGTH_MAX && PRINTABLE.test(text)
}
