/**
 * The transport of a Node process: `ws` does handshake, close and ping; data frames are written here and read by FrameReceiver.
 *
 * Why        ws sends one buffer a message. A produce request is a header and batches that lie in several buffers, up to
 *            1 MiB each: copying them together, or sending them as WebSocket fragments, which receivers must join by copying,
 *            costs more than the frame header written below (RFC 6455, section 5.2).
 * Masking    the key is zero, so no byte needs to be touched. Masks guard caching proxies from scripts in browsers
 *            (RFC 6455, section 10.3); a Node process sends what it likes anyway.
 * Ordering   ws writes its own control frames synchronously to the same socket, so frames never interleave
 * Wake-ups   the first small message of a turn is written at once: the other side works on it while this turn goes on. All
 *            others are gathered, and leave when the turn ends
 * Limits     messages below COPY_BYTES_MAX are copied into one write; larger ones are gathered by writev
 */
import type { Socket } from 'node:net'
import { WebSocket } from 'ws'
import { systemClock } from '../base/node/system-clock.ts'
import { FrameReceiver } from './frame-receiver.ts'
import {
  SUBPROTOCOL,
  type Transport,
  type TransportClose,
  type TransportConnection,
  type TransportHandlers,
  type TransportOptions,
} from './transport.ts'

const COPY_BYTES_MAX = 8 * 1024
const KEEP_ALIVE_MS = 30_000

// Frame header of a client: FIN + opcode, MASK + length (7 bits, 16 bits or 64 bits), masking key.
const BINARY_FIN = 0x82
const MASK_BIT = 0x80
const MASK_KEY_BYTES = 4

/** Bytes of the frame header before a payload of `payloadBytes`. */
export function frameHeaderBytes(payloadBytes: number): number {
  return (payloadBytes > 0xffff ? 10 : payloadBytes > 125 ? 4 : 2) + MASK_KEY_BYTES
}

/** Writes the header of one whole binary frame with a zero mask at the start of `target`; returns the index after it. */
export function writeFrameHeader(target: Buffer, payloadBytes: number): number {
  target[0] = BINARY_FIN
  let at = 2
  if (payloadBytes > 0xffff) {
    target[1] = MASK_BIT | 127
    target.writeUInt32BE(Math.floor(payloadBytes / 0x1_0000_0000), 2)
    target.writeUInt32BE(payloadBytes >>> 0, 6)
    at = 10
  } else if (payloadBytes > 125) {
    target[1] = MASK_BIT | 126
    target.writeUInt16BE(payloadBytes, 2)
    at = 4
  } else {
    target[1] = MASK_BIT | payloadBytes
  }
  target.fill(0, at, at + MASK_KEY_BYTES)
  return at + MASK_KEY_BYTES
}

class NodeConnection implements TransportConnection {
  readonly #ws: WebSocket
  readonly #handlers: TransportHandlers
  readonly #receiver: FrameReceiver
  #lastDataMs = 0
  /** How ws listens to the socket: it is given the frames that are not data. */
  #wsListeners: ((bytes: Buffer) => void)[] = []
  #socket: Socket | undefined
  #corked = false
  /** Something has been written in this turn of the event loop. */
  #wrote = false
  #closed = false
  #failure: string | undefined
  #httpStatus: number | undefined
  #isRefused = false

  constructor(url: string, options: TransportOptions, handlers: TransportHandlers) {
    this.#handlers = handlers
    this.#receiver = this.#newReceiver(options.messageBytesMax)
    this.#ws = new WebSocket(url, SUBPROTOCOL, {
      perMessageDeflate: false,
      skipUTF8Validation: true,
      maxPayload: options.messageBytesMax,
      handshakeTimeout: options.connectTimeoutMs,
      followRedirects: false,
      generateMask: () => {}, // ws hands in a key of zeros and keeps it
      ...(options.token === undefined ? {} : { headers: { authorization: `Bearer ${options.token}` } }),
    })
    this.#ws.binaryType = 'nodebuffer'
    this.#listen()
  }

  #listen(): void {
    const ws = this.#ws
    ws.on('upgrade', (response) => {
      this.#socket = response.socket
      this.#socket.setNoDelay(true)
      this.#socket.setKeepAlive(true, KEEP_ALIVE_MS)
    })
    ws.on('open', () => {
      this.#receiveFrames(this.#socket!)
      this.#handlers.onOpen()
    })
    ws.on('message', (data: Buffer, isBinary) => {
      if (!isBinary) this.#message(data)
    })
    ws.on('unexpected-response', (request, response) => {
      this.#httpStatus = response.statusCode
      this.#failure = `the server refused the WebSocket upgrade with HTTP ${response.statusCode} ${response.statusMessage ?? ''}`
      request.destroy()
      response.destroy()
      this.#end({ code: 1006, text: '' })
    })
    ws.on('error', (error: NodeJS.ErrnoException) => {
      this.#failure ??= describeError(error)
      this.#isRefused ||= error.code === 'ECONNREFUSED'
    })
    ws.on('close', (code, reason) => this.#end({ code, text: reason.toString('utf8') }))
  }

  /** Before the first byte behind the handshake: ws has just begun to listen. */
  #receiveFrames(socket: Socket): void {
    this.#wsListeners = socket.listeners('data') as ((bytes: Buffer) => void)[]
    socket.on('data', (chunk: Buffer) => {
      this.#lastDataMs = systemClock.monotonicMs()
      this.#receiver.push(chunk)
    })
    for (const listener of this.#wsListeners) socket.off('data', listener)
  }

  #newReceiver(messageBytesMax: number): FrameReceiver {
    return new FrameReceiver({
      messageBytesMax,
      allocate: (bytes) => Buffer.allocUnsafeSlow(bytes),
      onMessage: (bytes) => this.#message(bytes),
      onOther: (bytes) => {
        const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
        for (const listener of this.#wsListeners) listener.call(this.#socket, buffer)
      },
      onFault: (text) => {
        this.#failure = text
        this.#ws.terminate()
      },
    })
  }

  #message(data: Uint8Array): void {
    // A plain Uint8Array, so that what users get does not depend on the platform.
    if (!this.#closed) this.#handlers.onMessage(new Uint8Array(data.buffer, data.byteOffset, data.length))
  }

  #end(close: TransportClose): void {
    if (this.#closed) return
    this.#closed = true
    this.#handlers.onClose({
      code: close.code,
      text: close.text || this.#failure || (close.code === 1006 ? 'the connection broke' : ''),
      ...(this.#httpStatus === undefined ? {} : { httpStatus: this.#httpStatus }),
      ...(this.#isRefused ? { isRefused: true } : {}),
    })
  }

  get messageStalledMs(): number {
    return this.#receiver.isWithinMessage ? systemClock.monotonicMs() - this.#lastDataMs : 0
  }

  get bufferedBytes(): number {
    return this.#socket?.writableLength ?? 0
  }

  send(parts: readonly Uint8Array[], done?: () => void): void {
    const socket = this.#socket
    if (socket === undefined || this.#closed || this.#ws.readyState !== WebSocket.OPEN) {
      if (done !== undefined) process.nextTick(done)
      return
    }
    let payloadBytes = 0
    for (const part of parts) payloadBytes += part.length
    const isSmall = payloadBytes <= COPY_BYTES_MAX
    if (!isSmall || this.#wrote) this.#cork(socket)
    const headBytes = frameHeaderBytes(payloadBytes)
    if (isSmall) {
      this.#noteWrite()
      const frame = Buffer.allocUnsafe(headBytes + payloadBytes)
      let at = writeFrameHeader(frame, payloadBytes)
      for (const part of parts) {
        frame.set(part, at)
        at += part.length
      }
      socket.write(frame)
      if (done !== undefined) process.nextTick(done)
      return
    }
    const head = Buffer.allocUnsafe(headBytes)
    writeFrameHeader(head, payloadBytes)
    socket.write(head)
    const last = parts.length - 1
    for (let index = 0; index < last; index++) socket.write(parts[index]!)
    socket.write(parts[last]!, done === undefined ? undefined : () => done())
  }

  #noteWrite(): void {
    if (this.#wrote) return
    this.#wrote = true
    process.nextTick(() => {
      this.#wrote = false
    })
  }

  /** One writev for everything that is sent from here on in this turn of the event loop. */
  #cork(socket: Socket): void {
    if (this.#corked) return
    this.#corked = true
    socket.cork()
    process.nextTick(() => {
      this.#corked = false
      socket.uncork()
    })
  }

  close(code: number, text: string): void {
    this.#ws.close(code, text)
  }

  terminate(): void {
    this.#ws.terminate()
  }
}

/** Node reports several addresses that all refused as an AggregateError without a text of its own. */
function describeError(error: Error): string {
  if (error instanceof AggregateError && error.errors.length > 0)
    return error.errors.map((each: unknown) => (each instanceof Error ? each.message : String(each))).join('; ')
  return error.message
}

export const nodeTransport: Transport = {
  connect: (url, options, handlers) => new NodeConnection(url, options, handlers),
}
