/** A whole gateway over fake shards, listening on a free port of 127.0.0.1, and a bare client that speaks frames. */

import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { WebSocket } from 'ws'
import { nodeTimers } from '../../src/base/node/node-timers.ts'
import { systemClock } from '../../src/base/node/system-clock.ts'
import { Gateway } from '../../src/broker/gateway.ts'
import { chooseEngine } from '../../src/broker/listeners/choose-engine.ts'
import { probeUwsEngine } from '../../src/broker/listeners/uws-engine.ts'
import type { Timers } from '../../src/broker/timers.ts'
import { type ConfigInput, resolveConfig } from '../../src/config/index.ts'
import { beginIncarnation } from '../../src/coordination/cluster-identity.ts'
import { MemoryMetadataStore } from '../../src/coordination/memory-metadata-store.ts'
import {
  Api,
  type Codec,
  credit,
  decodeFrame,
  encodeFrame,
  type Frame,
  hello,
  unwrapReply,
} from '../../src/protocol/index.ts'
import { createSignals } from '../../src/ring/ring-signal.ts'
import { createShardChannel } from '../../src/ring/shard-channel.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { Metrics } from '../../src/telemetry/metrics.ts'
import { FakeShard } from './fake-shard.ts'

export interface GatewayFixture {
  readonly gateway: Gateway
  readonly shards: readonly FakeShard[]
  readonly url: string
  readonly httpUrl: string
  close(): Promise<void>
}

/** Both engines, and why one cannot run here: for the options of a test. */
export async function enginesHere() {
  const isNative = (await probeUwsEngine()) !== undefined
  return [
    { engine: 'uws', skip: isNative ? false : 'no native build of uws for this Node' },
    { engine: 'ws', skip: false },
  ] as const
}

export interface GatewayFixtureOptions {
  readonly engine: 'uws' | 'ws'
  readonly shards?: number
  readonly settings?: Readonly<Record<string, unknown>>
  readonly pageCount?: number
  readonly requestRingBytes?: number
  readonly timers?: Timers
}

export async function startGateway(options: GatewayFixtureOptions): Promise<GatewayFixture> {
  const { engine, shards: shardCount = 2, settings = {}, pageCount = 256, requestRingBytes = 1 << 21 } = options
  const flags: ConfigInput['flags'] = Object.entries({
    listen: '127.0.0.1:0',
    'log.level': 'silent',
    'rings.requestBytes': '8MiB',
    ...settings,
  }).map(([path, value]) => ({ path, value, source: 'test' }))
  const config = resolveConfig({ flags })
  const doorbell = createSignals()
  const channels = Array.from({ length: shardCount }, () =>
    createShardChannel({
      requestRingBytes,
      readRingBytes: 1 << 20,
      replyRingBytes: 1 << 20,
      diskRequestRingBytes: 1 << 16,
      diskReplyRingBytes: 1 << 16,
      pageBytes: 1 << 16,
      pageCount,
      doorbell,
    }),
  )
  const shards = channels.map((channel) => new FakeShard(channel, () => systemClock.monotonicMs()))
  const store = new MemoryMetadataStore(systemClock)
  const newId = () => randomBytes(16).toString('hex')
  const gateway = new Gateway({
    version: '0.0.0-test',
    config,
    identity: await beginIncarnation(store, { nodeId: 1, newId }),
    store,
    channels,
    doorbell,
    engine: await chooseEngine(engine, nodeTimers),
    clock: systemClock,
    timers: options.timers ?? nodeTimers,
    logger: createLogger('silent'),
    metrics: new Metrics(),
    newId,
  })
  const stepping = setInterval(() => {
    for (const shard of shards) shard.step()
  }, 1)
  await gateway.openTopics([], () => null)
  await gateway.listen()
  return {
    gateway,
    shards,
    url: gateway.url,
    httpUrl: gateway.url.replace('ws:', 'http:'),
    close: async () => {
      await gateway.close()
      clearInterval(stepping)
    },
  }
}

/** A client that keeps every frame it gets, unless told to forget them, and does nothing by itself. */
export class BareClient {
  readonly socket: WebSocket
  readonly frames: Frame[] = []
  /** For benches: frames that somebody waits for are handed over, the others dropped. */
  keepsFrames = true
  grantedBytes = 0
  closed: { code: number; reason: string } | undefined
  #nextId = 1
  readonly #waiting = new Map<number, (frame: Frame) => void>()
  #onClosed = () => {}
  readonly isClosed: Promise<void>

  constructor(socket: WebSocket) {
    this.socket = socket
    this.isClosed = new Promise((resolve) => {
      this.#onClosed = resolve
    })
    socket.on('error', () => {})
    socket.on('message', (data: Buffer) => {
      const decoded = decodeFrame(data)
      if (decoded.kind !== 'frame') throw new Error(`the broker sent a bad frame: ${JSON.stringify(decoded)}`)
      const { frame } = decoded
      if (this.keepsFrames) this.frames.push(frame)
      if (frame.api === Api.CREDIT) this.grantedBytes = credit.decode(frame.header).grantedBytes
      const resolve = this.#waiting.get(frame.correlationId)
      this.#waiting.delete(frame.correlationId)
      resolve?.(frame)
    })
    socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() }
      this.#onClosed()
    })
  }

  static async connect(url: string, headers: Record<string, string> = {}): Promise<BareClient> {
    const socket = new WebSocket(url, ['millrace.v1'], { headers, perMessageDeflate: false })
    const client = new BareClient(socket)
    await once(socket, 'open')
    return client
  }

  static async hello(url: string, token: string | null = null): Promise<BareClient> {
    const client = await BareClient.connect(url)
    const reply = await client.call(hello, { clientName: 'bare', clientVersion: '0', token })
    client.grantedBytes = reply.creditBytes
    return client
  }

  sendFrame(api: number, header: Uint8Array, body: readonly Uint8Array[] = []): number {
    const correlationId = this.#nextId++
    this.socket.send(encodeFrame({ api, isReply: false, correlationId }, header, body))
    return correlationId
  }

  /** The reply to `correlationId`; rejects when the connection closes first. */
  reply(correlationId: number): Promise<Frame> {
    const known = this.frames.find((frame) => frame.isReply && frame.correlationId === correlationId)
    if (known !== undefined) return Promise.resolve(known)
    return new Promise((resolve, reject) => {
      this.#waiting.set(correlationId, resolve)
      void this.isClosed.then(() => reject(new Error(`closed: ${this.closed?.code} ${this.closed?.reason}`)))
    })
  }

  async callFrame<Q, P>(codec: Codec<Q, P>, request: Q, body: readonly Uint8Array[] = []): Promise<Frame> {
    return this.reply(this.sendFrame(codec.api, codec.encodeRequest(request), body))
  }

  async call<Q, P>(codec: Codec<Q, P>, request: Q, body: readonly Uint8Array[] = []): Promise<P> {
    const frame = await this.callFrame(codec, request, body)
    return unwrapReply(codec.decodeReply(frame.header))
  }

  close(): void {
    this.socket.close()
  }
}

/** Bytes that look like a record batch of `records` records to the fake shard: length and count are right, nothing else. */
export function fakeBatch(bytes: number, records = 1, fill = 7): Uint8Array {
  const batch = new Uint8Array(bytes).fill(fill)
  const view = new DataView(batch.buffer)
  view.setBigInt64(0, 0n)
  view.setInt32(8, bytes - 12)
  view.setInt32(57, records)
  return batch
}

export async function until(condition: () => boolean, what: string, timeoutMs = 5_000): Promise<void> {
  const endMs = systemClock.monotonicMs() + timeoutMs
  while (!condition()) {
    if (systemClock.monotonicMs() > endMs) throw new Error(`did not happen within ${timeoutMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
