/**
 * BareKafkaClient: the other end of the Kafka door, with the broker's own codec and nothing else: requests out, responses in, in order.
 * It keeps no state of a cluster and does nothing by itself.
 */
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { joinBytes } from '../../src/base/bytes.ts'
import * as apis from '../../src/kafka/apis/index.ts'
import type { KafkaApi } from '../../src/kafka/codec/api.ts'
import type { Field, Read, Write } from '../../src/kafka/codec/fields.ts'
import { FrameAssembler } from '../../src/kafka/codec/frame-assembler.ts'
import type { ScramMechanism } from '../../src/model/users.ts'
import { ScramClient } from './scram-client.ts'

const CLIENT_ID = 'bare'
const FRAME_BYTES_MAX = 64 * 1024 * 1024
type AnyField = Field<unknown, unknown, boolean>

export interface KafkaAddress {
  readonly host: string
  readonly port: number
}

interface Waiting {
  readonly correlationId: number
  readonly read: (payload: Uint8Array) => void
  readonly fail: (error: Error) => void
}

export class BareKafkaClient {
  readonly socket: Socket
  readonly #frames = new FrameAssembler(FRAME_BYTES_MAX)
  readonly #waiting: Waiting[] = []
  #nextId = 1
  #end: Error | undefined
  readonly isClosed: Promise<void>

  constructor(socket: Socket) {
    this.socket = socket
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => this.#onBytes(chunk))
    this.isClosed = new Promise((resolve) => {
      socket.on('close', () => {
        this.#fail(new Error('the connection was closed'))
        resolve()
      })
    })
  }

  static async connect(address: KafkaAddress): Promise<BareKafkaClient> {
    const socket = connectTcp(address)
    await once(socket, 'connect')
    return new BareKafkaClient(socket)
  }

  /** SaslHandshake and what follows it; throws where the broker does not let it in. */
  async authenticate(mechanism: ScramMechanism, user: string, password: string): Promise<void> {
    const client = new ScramClient({ mechanism, user, password })
    const handshake = await this.call(apis.saslHandshake, 1, { mechanism })
    if (handshake.errorCode !== 0) throw new Error(`the handshake was refused: ${handshake.errorCode}`)
    const challenge = await this.call(apis.saslAuthenticate, 2, { authBytes: client.first })
    const last = await this.call(apis.saslAuthenticate, 2, { authBytes: client.final(challenge.authBytes) })
    if (last.errorCode !== 0 || !client.isServer(last.authBytes)) throw new Error(`refused: ${last.errorMessage}`)
  }

  /** One request and its response. */
  call<Request extends AnyField, Response extends AnyField>(
    api: KafkaApi<Request, Response>,
    version: number,
    request: Write<Request>,
  ): Promise<Read<Response>> {
    const correlationId = this.#nextId++
    return new Promise<Read<Response>>((resolve, fail) => {
      if (this.#end !== undefined) {
        fail(this.#end)
        return
      }
      const read = (payload: Uint8Array): void => resolve(api.decodeResponse(version, payload).response)
      this.#waiting.push({ correlationId, read, fail })
      this.socket.write(joinBytes(api.encodeRequest(version, { correlationId, clientId: CLIENT_ID }, request)))
    })
  }

  close(): void {
    this.socket.destroy()
  }

  #onBytes(chunk: Buffer): void {
    this.#frames.push(chunk)
    try {
      for (let next = this.#frames.next(); next.kind !== 'none'; next = this.#frames.next()) {
        if (next.kind === 'too-large') throw new Error(`a response of ${next.bytes} bytes`)
        this.#onFrame(next.payload)
      }
    } catch (error) {
      this.#fail(error as Error)
      this.socket.destroy()
    }
  }

  #onFrame(payload: Uint8Array): void {
    const waiting = this.#waiting.shift()
    const correlationId = new DataView(payload.buffer, payload.byteOffset).getInt32(0)
    if (waiting?.correlationId !== correlationId)
      throw new Error(`a response to ${correlationId} in the place of ${waiting?.correlationId}`)
    try {
      waiting.read(payload)
    } catch (error) {
      waiting.fail(error as Error)
    }
  }

  #fail(error: Error): void {
    this.#end ??= error
    for (const waiting of this.#waiting.splice(0)) waiting.fail(error)
  }
}
