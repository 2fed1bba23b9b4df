/**
 * ScramClient: the client's side of SCRAM (RFC 5802), written by itself so that it shares nothing with the server's side: what it sends is
 * what the clients of Kafka send. It checks the server's signature, as they do.
 */
import { createHash, createHmac, pbkdf2Sync, timingSafeEqual } from 'node:crypto'
import type { ScramMechanism } from '../../src/model/users.ts'

export interface ScramClientOptions {
  readonly mechanism?: ScramMechanism
  readonly user: string
  readonly password: string
  readonly nonce?: string
  /** n,, unless told otherwise. */
  readonly gs2Header?: string
  /** Behind the nonce of the first message. */
  readonly extensions?: string
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)

export class ScramClient {
  readonly #hash: 'sha256' | 'sha512'
  readonly #options: ScramClientOptions
  readonly #gs2Header: string
  readonly #bare: string
  #serverSignature: Buffer | undefined

  constructor(options: ScramClientOptions) {
    this.#options = options
    this.#hash = options.mechanism === 'SCRAM-SHA-512' ? 'sha512' : 'sha256'
    this.#gs2Header = options.gs2Header ?? 'n,,'
    const name = options.user.replace(/=/g, '=3D').replace(/,/g, '=2C')
    this.#bare = `n=${name},r=${options.nonce ?? 'fyko+d2lbbFgONRv9qkxdawL'}${options.extensions ?? ''}`
  }

  get first(): Uint8Array {
    return encode(this.#gs2Header + this.#bare)
  }

  /** Answers the server's first message; `nonce` stands in for the server's where a test lies. */
  final(serverFirst: Uint8Array, lies: { readonly nonce?: string; readonly binding?: string } = {}): Uint8Array {
    const text = Buffer.from(serverFirst).toString()
    const [, given = '', salt = '', rounds = ''] = /^r=([^,]*),s=([^,]*),i=(\d+)$/.exec(text) ?? []
    const { password } = this.#options
    const bytes = this.#hash === 'sha512' ? 64 : 32
    const salted = pbkdf2Sync(password, Buffer.from(salt, 'base64'), Number(rounds), bytes, this.#hash)
    const clientKey = this.#hmac(salted, 'Client Key')
    const storedKey = createHash(this.#hash).update(clientKey).digest()
    const binding = Buffer.from(lies.binding ?? this.#gs2Header).toString('base64')
    const withoutProof = `c=${binding},r=${lies.nonce ?? given}`
    const authMessage = `${this.#bare},${text},${withoutProof}`
    const signature = this.#hmac(storedKey, authMessage)
    const proof = clientKey.map((byte, index) => byte ^ signature[index]!)
    this.#serverSignature = this.#hmac(this.#hmac(salted, 'Server Key'), authMessage)
    return encode(`${withoutProof},p=${Buffer.from(proof).toString('base64')}`)
  }

  /** Whether the server knows what belongs to the password. */
  isServer(serverFinal: Uint8Array): boolean {
    const [, signature = ''] = /^v=(.*)$/.exec(Buffer.from(serverFinal).toString()) ?? []
    const given = Buffer.from(signature, 'base64')
    return given.length === this.#serverSignature?.length && timingSafeEqual(given, this.#serverSignature)
  }

  #hmac(key: Uint8Array, data: string): Buffer {
    return createHmac(this.#hash, key).update(data).digest()
  }
}
