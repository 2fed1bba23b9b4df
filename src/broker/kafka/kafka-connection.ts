/**
 * KafkaConnection: one Kafka client: its requests in their order, one after the other but for produce, and their replies in the same order.
 *
 * Owns        the frames of its socket, the exchanges that are under way
 * Thread      main
 * Invariants  KC1 replies leave in the order of the requests: Kafka's clients take another order for a broken connection
 *             KC2 a request begins when all before it are answered; a produce also while only produces are under way, so that pipelined
 *                 batches share commit groups, and with the order of their partitions kept by the rings
 *             checked in: test/scenario/kafka-door.test.ts, kafka-frames.test.ts
 * Backpressure the socket is not read while a frame waits for its turn, for room in the rings, or for the client to read its replies; nor
 *             in the middle of a frame while too many bytes are held (receive-turns.ts)
 * Limits      PIPELINED_MAX produces under way; frames as the assembler allows, of unauthenticated clients smaller ones
 * Credit      none is lent: what a WebSocket client is told in credit, a Kafka client feels as a socket that is not read
 */
import { InvariantError } from '../../base/assert.ts'
import { FrameAssembler, type NextFrame } from '../../kafka/codec/frame-assembler.ts'
import type { FrameBuffers } from '../../kafka/codec/frame-buffers.ts'
import type { SaslSession } from '../../kafka/sasl/sasl-session.ts'
import { KAFKA_FRAME_BYTES_MAX, UNAUTHENTICATED_FRAME_BYTES_MAX } from '../../model/limits.ts'
import type { Principal } from '../authorise.ts'
import { Connection, type ConnectionPool } from '../connection.ts'
import type { StreamSocket } from '../listeners/stream-engine.ts'
import type { ReceiveTurns } from './receive-turns.ts'

/** Produces of one connection that may be under way together (librdkafka and Java send five by default). */
const PIPELINED_MAX = 100
const CLOSE_PROTOCOL_ERROR = 1002

/** A request under way. */
export interface Exchange {
  readonly isProduce: boolean
  /** The frame of its reply, once it is known; null = it has none, or had it sent by itself. */
  reply: Uint8Array | null | undefined
}

export interface KafkaConnectionOptions {
  readonly pool: ConnectionPool
  /** Undefined: it has to authenticate. */
  readonly principal: Principal | undefined
  /** Shared by all connections of the door. */
  readonly buffers: FrameBuffers
  readonly turns: ReceiveTurns
  /** It has said who it is, for the first time. */
  readonly onAuthenticated: (connection: KafkaConnection) => void
  /** Begins a request, and keeps nothing of the payload's memory; answers whether its turn has come: false = the frame waits. */
  readonly onFrame: (connection: KafkaConnection, payload: Uint8Array) => boolean
}

export class KafkaConnection extends Connection {
  /** The exchange that is under way; `isRaw`: its tokens have no request around them. */
  sasl: { readonly session: SaslSession<Principal>; readonly isRaw: boolean } | undefined
  readonly #options: KafkaConnectionOptions
  readonly #frames: FrameAssembler
  #exchanges: Exchange[] = []
  #othersUnderWay = 0
  /** A frame whose turn has not come. */
  #waiting: Extract<NextFrame, { kind: 'frame' }> | undefined
  #isReading = true
  #isGoing = false
  #isOver = false
  /** Of frames that have not come whole, or wait: in the pool's count. */
  #countedBytes = 0
  #stream: StreamSocket<KafkaConnection> | undefined

  constructor(options: KafkaConnectionOptions) {
    super(options.pool, options.principal)
    this.#options = options
    this.#frames = new FrameAssembler(
      options.principal === undefined ? UNAUTHENTICATED_FRAME_BYTES_MAX : KAFKA_FRAME_BYTES_MAX,
      options.buffers,
      // The frames that lay in it have begun, and keep nothing of it.
      (chunk) => this.#stream?.release(chunk),
    )
  }

  open(socket: StreamSocket<KafkaConnection>): void {
    this.#stream = socket
    this.socket = socket as unknown as NonNullable<Connection['socket']>
  }

  /** The address of this machine that the client knows; '' once it is gone. */
  get localAddress(): string {
    return this.#stream?.localAddress ?? ''
  }

  /** It has said who it is, or nobody has to. */
  get isAuthenticated(): boolean {
    return this.principal !== undefined
  }

  authenticate(principal: Principal): void {
    if (this.isAuthenticated) return
    this.principal = principal
    this.#options.onAuthenticated(this)
    this.#frames.frameBytesMax = KAFKA_FRAME_BYTES_MAX
  }

  onBytes(chunk: Uint8Array): void {
    this.#frames.push(chunk)
    this.go()
  }

  /** Whether a request may begin now (KC2). */
  mayBegin(isProduce: boolean): boolean {
    if (this.#exchanges.length === 0) return true
    return isProduce && this.#othersUnderWay === 0 && this.#exchanges.length < PIPELINED_MAX
  }

  begin(isProduce: boolean): Exchange {
    const exchange: Exchange = { isProduce, reply: undefined }
    this.#exchanges.push(exchange)
    if (!isProduce) this.#othersUnderWay++
    return exchange
  }

  /** The reply of an exchange is known; it leaves when those before it have. Null = it has none. */
  end(exchange: Exchange, reply: Uint8Array | null): void {
    if (exchange.reply !== undefined) throw new InvariantError('an exchange has one end')
    exchange.reply = reply
    let count = 0
    for (const each of this.#exchanges) {
      if (each.reply === undefined) break
      count++
      if (!each.isProduce) this.#othersUnderWay--
      if (each.reply !== null) this.send(each.reply)
    }
    if (count > 0) this.#exchanges = this.#exchanges.slice(count)
    if (count > 0) this.go()
  }

  /** Nothing that it sends is looked at any more: it is about to be closed. */
  stop(): void {
    this.#isOver = true
  }

  /** What it sent behind the request that is the reason was sent for nothing: its client takes it as not done, and sends it again. */
  override close(code: number, reason: string): void {
    this.stop()
    super.close(code, reason)
  }

  /** Requests are under way. */
  get isBusy(): boolean {
    return this.#exchanges.length > 0
  }

  /** Begins what may begin; stops reading while something may not. */
  go(): void {
    if (this.#isGoing || this.isClosed) return
    this.#isGoing = true
    const isHeldUp = this.#beginAll()
    this.#isGoing = false
    this.#countReceived()
    const { turns } = this.#options
    const hasPart = this.#frames.pendingBytes > 0
    if (!hasPart) turns.end(this)
    this.#read(!isHeldUp && (!hasPart || turns.mayRead(this)))
  }

  /** Answers whether a frame waits. */
  #beginAll(): boolean {
    while (!this.isClosed && !this.#isOver) {
      const waiting = this.#waiting
      if (waiting !== undefined) {
        if (this.isBehind || !this.#options.onFrame(this, waiting.payload)) return true
        this.#waiting = undefined
        if (waiting.buffer !== undefined) this.#options.buffers.give(waiting.buffer)
      }
      const next = this.#frames.next()
      if (next.kind === 'none') return false
      if (next.kind === 'too-large') {
        this.close(CLOSE_PROTOCOL_ERROR, `a frame of ${next.bytes} bytes; at most ${this.#frames.frameBytesMax}`)
        return true
      }
      this.#waiting = next
    }
    return true
  }

  #countReceived(): void {
    const bytes = this.#frames.pendingBytes + (this.#waiting?.payload.length ?? 0)
    this.#options.pool.pendingReceiveBytes += bytes - this.#countedBytes
    this.#countedBytes = bytes
  }

  #read(isReading: boolean): void {
    if (this.#isReading === isReading || this.isClosed) return
    this.#isReading = isReading
    if (isReading) this.#stream?.resume()
    else this.#stream?.pause()
  }

  /** There is no room for what it sent: it goes on when the pool has fed it. */
  waitForRoom(pool: ConnectionPool): void {
    if (this.isStarved) return
    this.isStarved = true
    pool.markWaiting(this)
  }

  /** Room has come: no credit is told, the frame that waited begins. */
  override lend(): void {
    if (this.#waiting !== undefined || !this.#isReading) this.go()
  }

  /** The protocol has no such message: a member hears of it by its next heartbeat. */
  override hintGroupChanged(): void {}

  override onClosed(): void {
    super.onClosed()
    this.#frames.end()
    this.#options.turns.end(this)
    this.#options.pool.pendingReceiveBytes -= this.#countedBytes
    this.#countedBytes = 0
    if (this.#waiting?.buffer !== undefined) this.#options.buffers.give(this.#waiting.buffer)
    this.#waiting = undefined
  }

  override onDrain(): void {
    super.onDrain()
    if (this.#waiting !== undefined) this.go()
  }
}
