/**
 * StalledReader: a client that asks for records and then does not read its socket. The client library cannot do that, so it
 * speaks the protocol by itself.
 */
import WebSocket from 'ws'
import type { TopicId } from '../../src/model/ids.ts'
import { Api, encodeFrame, fetch, hello, SUBPROTOCOL } from '../../src/protocol/index.ts'

export interface StalledReaderOptions {
  readonly url: string
  readonly topicId: TopicId
  readonly partitions: number
  /** Requests sent before it stops reading, each from the log's start. */
  readonly fetches: number
  readonly fetchBytesMax: number
}

export class StalledReader {
  readonly #socket: WebSocket

  private constructor(socket: WebSocket) {
    this.#socket = socket
  }

  /** Connects, says hello, stops reading, asks for records. */
  static async open(options: StalledReaderOptions): Promise<StalledReader> {
    const socket = new WebSocket(options.url, SUBPROTOCOL, { perMessageDeflate: false })
    await once(socket, 'open')
    const greeting = hello.encodeRequest({ clientName: 'stalled', clientVersion: '0', token: null })
    socket.send(encodeFrame({ api: Api.HELLO, isReply: false, correlationId: 1 }, greeting))
    await once(socket, 'message')
    socket.pause()
    const { topicId, fetchBytesMax: maxBytes } = options
    const parts = Array.from({ length: options.partitions }, (_, partition) => ({
      ...{ topicId, partition, leaderEpoch: -1, fetchOffset: 0, maxBytes },
    }))
    const request = fetch.encodeRequest({ waitMs: 0, minBytes: 1, maxBytes, isolation: 0, parts })
    for (let index = 0; index < options.fetches; index++)
      socket.send(encodeFrame({ api: Api.FETCH, isReply: false, correlationId: 2 + index }, request))
    return new StalledReader(socket)
  }

  /** Reads again until so many messages have come, or for `timeoutMs`; answers how many came. */
  async resume(messagesMax: number, timeoutMs: number): Promise<number> {
    let messages = 0
    this.#socket.on('message', () => messages++)
    this.#socket.resume()
    const untilMs = performance.now() + timeoutMs
    while (messages < messagesMax && performance.now() < untilMs)
      await new Promise((resolve) => setTimeout(resolve, 20))
    return messages
  }

  get isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN
  }

  close(): void {
    this.#socket.terminate()
  }
}

function once(socket: WebSocket, event: 'open' | 'message'): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once(event, () => resolve())
    socket.once('error', reject)
    socket.once('close', (code) => reject(new Error(`the connection closed with ${code} before ${event}`)))
  })
}
