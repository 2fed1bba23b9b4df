/**
 * Connection: one WebSocket to one broker: hello, correlation of requests and replies, credit, timeouts.
 *
 * Invariants  C1 sentBytes <= grantedBytes: a frame beyond the credit waits in the outbox       checked in: #transmit()
 *             C2 every request ends exactly once: reply, error, timeout or the connection's end   checked in: #end()
 *             C3 the number of a request that was given up is not another one's before its reply has come   checked in: correlationIdAfter()
 * Ordering    requests leave in the order they were made; replies may come in another
 * Limits      the outbox is bounded by its callers (the producer's bufferBytesMax, one fetch a broker); LATE_MAX requests given up whose
 *             replies have not come: with one more the connection ends
 * Failure     a request that is not answered in time, while this thread was there to read, is given up alone with REQUEST_TIMED_OUT (sent, outcome
 *             unknown; its reply is dropped when it comes) while the broker shows signs of life; where that cannot be told, and where the
 *             request says so (onLate), it ends the connection. The end fails requests with NETWORK_EXCEPTION (sent, outcome unknown)
 *             or CONNECTION_FAILED (never sent). A broker that owes answers and says nothing is asked for a sign of life; where none
 *             comes either, it is taken for gone after silenceMsMax instead of each request's own time (a paused process, a cable that was cut)
 */
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { Fifo } from '../base/fifo.ts'
import { MillraceError } from '../model/errors.ts'
import {
  Api,
  type Codec,
  credit,
  decodeFrame,
  type Frame,
  groupChanged,
  type HelloReply,
  hello,
  metadata,
  PROLOGUE_BYTES,
  unwrapReply,
  writePrologue,
} from '../protocol/index.ts'
import type { Transport, TransportClose, TransportConnection } from './transport.ts'

export interface Timer {
  cancel(): void
}

/** What a connection takes from its surroundings. */
export interface ConnectionRuntime {
  readonly clock: Clock
  readonly transport: Transport
  /** Runs `task` once, `delayMs` from now. */
  startTimer(delayMs: number, task: () => void): Timer
}

export interface ConnectionOptions {
  readonly clientName: string
  readonly clientVersion: string
  readonly token?: string | undefined
  readonly connectTimeoutMs: number
  readonly requestTimeoutMs: number
  /** A broker that owes answers and says nothing at all for so long is taken for gone. Default SILENCE_MS_MAX. */
  readonly silenceMsMax?: number
  /** The broker has something new for this member of a group. */
  readonly onGroupChanged?: (memberId: string) => void
}

/** A reply with its header decoded; `body` is a view of the received message. */
export interface Reply<T> {
  readonly value: T
  readonly body: Uint8Array
  /** Of the broker that answered. */
  readonly url: string
}

export interface CallOptions {
  readonly body?: readonly Uint8Array[]
  /** Until the reply, from the moment of the call; default requestTimeoutMs. */
  readonly timeoutMs?: number
  /**
   * What it means that no reply has come by then: this request alone is given up (the default), or the connection ends, and with it whatever
   * was sent after the request: for those whose order matters, a batch of a sequence must not be sent again behind the next ones.
   */
  readonly onLate?: 'give-up' | 'end-connection'
}

interface PendingRequest {
  readonly resolve: (frame: Frame) => void
  readonly reject: (error: MillraceError) => void
  readonly calledMs: number
  readonly deadlineMs: number
  readonly endsConnection: boolean
  readonly name: string
  sent: boolean
}

interface OutgoingFrame {
  readonly correlationId: number
  readonly parts: readonly Uint8Array[]
  readonly bytes: number
  readonly done: (() => void) | undefined
}

const NO_PARTS: readonly Uint8Array[] = []
/** A reply carries at most a fetch's bytes and a header. */
const MESSAGE_BYTES_MAX = 80 * 1024 * 1024
/** Deadlines are looked at this often: one timer a connection instead of one a request. */
const DEADLINE_CHECK_MS = 100
/** A message that has begun and stops for so long will not go on: the other side has lost its end. */
const MESSAGE_STALL_MS_MAX = 10_000
/** Default of silenceMsMax. */
export const SILENCE_MS_MAX = 5_000
/** After this part of silenceMsMax a sign of life is asked for; what is left of it the answer has. */
const SILENCE_BEFORE_PROBE = 0.3
/** A broker that owes so many answers beyond their time loses requests, or will not catch up: a connection anew costs less. */
const LATE_MAX = 64
/** Any broker answers it at once, whatever else it has to do, and whoever may not ask it is refused at once. */
const PROBE = { api: Api.METADATA, header: metadata.encodeRequest({ topics: [] }) }
/** Of the credit, kept free for probes: else who waits for credit could not ask whether anybody is there to grant some. */
const PROBE_CREDIT_BYTES = 16 * (PROLOGUE_BYTES + PROBE.header.length)
const HTTP_UNAUTHORISED = [401, 403]

export class Connection {
  readonly url: string
  readonly #runtime: ConnectionRuntime
  readonly #options: ConnectionOptions
  readonly #pending = new Map<number, PendingRequest>()
  /** Requests that were given up; their replies, or their turns in the outbox, have not come. */
  readonly #late = new Set<number>()
  #transport: TransportConnection
  readonly #outbox = new Fifo<OutgoingFrame>()
  /** Of the frames in the outbox. */
  #outboxBytes = 0
  #correlationId = 0
  #sentBytes = 0
  #grantedBytes = 0
  #timer: Timer | undefined
  /** The last check of deadlines came late, and judged nothing. */
  #wasLate = false
  /** When something came last, or the broker began to owe an answer. */
  #heardMs = 0
  #probedMs: number | undefined
  /** At the last check of deadlines, of what the platform has to pass on. */
  #bufferedBytes = 0
  #hello: HelloReply | undefined
  #failure: MillraceError | undefined
  #onEnd: (() => void)[] = []
  readonly #onCredit = new Set<() => void>()

  private constructor(runtime: ConnectionRuntime, url: string, options: ConnectionOptions, onOpen: () => void) {
    this.url = url
    this.#runtime = runtime
    this.#options = options
    this.#transport = runtime.transport.connect(
      url,
      { token: options.token, connectTimeoutMs: options.connectTimeoutMs, messageBytesMax: MESSAGE_BYTES_MAX },
      { onOpen, onMessage: (bytes) => this.#receive(bytes), onClose: (close) => this.#closed(close) },
    )
  }

  /**
   * Connects and says hello; CLOSED when the signal fires before that is done. Throws CONNECTION_FAILED, SASL_AUTHENTICATION_FAILED
   * or UNSUPPORTED_VERSION.
   */
  static async open(
    runtime: ConnectionRuntime,
    url: string,
    options: ConnectionOptions,
    closing?: AbortSignal,
  ): Promise<Connection> {
    let timer: Timer | undefined
    let connection: Connection | undefined
    const onClosing = (): void => connection?.fail(new MillraceError('CLOSED', 'the client is closed'))
    try {
      if (closing?.aborted) throw new MillraceError('CLOSED', 'the client is closed')
      closing?.addEventListener('abort', onClosing, { once: true })
      await new Promise<void>((resolve, reject) => {
        connection = new Connection(runtime, url, options, resolve)
        connection.#onEnd.push(() => reject(connection!.#failure))
        timer = runtime.startTimer(options.connectTimeoutMs, () =>
          connection!.fail(
            new MillraceError('CONNECTION_FAILED', `${url}: no answer within ${options.connectTimeoutMs} ms`),
          ),
        )
      })
      await connection!.#sayHello()
      return connection!
    } catch (error) {
      connection?.close()
      // Until the hello is answered there is no connection that could have broken.
      if (error instanceof MillraceError && error.code === 'NETWORK_EXCEPTION')
        throw new MillraceError('CONNECTION_FAILED', error.message, { cause: error })
      throw error
    } finally {
      timer?.cancel()
      closing?.removeEventListener('abort', onClosing)
    }
  }

  async #sayHello(): Promise<void> {
    const { clientName, clientVersion, token } = this.#options
    this.#grantedBytes = Number.MAX_SAFE_INTEGER // the hello itself is not counted
    const timeoutMs = this.#options.connectTimeoutMs
    const reply = await this.call(hello, { clientName, clientVersion, token: token ?? null }, { timeoutMs })
    this.#sentBytes = 0
    this.#grantedBytes = reply.value.creditBytes
    this.#hello = reply.value
  }

  /** What the broker said of itself. */
  get broker(): HelloReply {
    assert(this.#hello !== undefined, 'a connection is handed out after its hello')
    return this.#hello
  }

  get isOpen(): boolean {
    return this.#failure === undefined
  }

  /** It was asked for a sign of life and has given none yet: others are asked rather than this one. */
  get isQuiet(): boolean {
    return this.#probedMs !== undefined && this.isOpen
  }

  /** Whether the broker serves a request at all. */
  serves(api: number): boolean {
    return this.broker.apis.some((each) => each.api === api)
  }

  /** Why it has ended; undefined while it is open. */
  get failure(): MillraceError | undefined {
    return this.#failure
  }

  /** True when a frame of `bytes` could leave now, without waiting for credit. */
  hasCredit(bytes: number): boolean {
    return this.#outbox.size === 0 && this.#sentBytes + bytes + PROBE_CREDIT_BYTES <= this.#grantedBytes
  }

  /** Bytes that wait for credit or for the platform. */
  get queuedBytes(): number {
    return this.#transport.bufferedBytes + this.#outboxBytes
  }

  /** Runs `listener` once, when the connection has ended. */
  onEnd(listener: () => void): void {
    if (this.#failure !== undefined) queueMicrotask(listener)
    else this.#onEnd.push(listener)
  }

  /** Runs `listener` whenever the broker grants credit; the answer stops that. */
  onCredit(listener: () => void): () => void {
    this.#onCredit.add(listener)
    return () => void this.#onCredit.delete(listener)
  }

  /** Sends a request and waits for its reply; an error in the reply's header is thrown as MillraceError. */
  async call<Request, Value>(
    codec: Codec<Request, Value>,
    request: Request,
    options: CallOptions = {},
  ): Promise<Reply<Value>> {
    const header = codec.encodeRequest(request)
    const frame = await this.#request(codec.api, codec.name, header, options)
    return { value: unwrapReply(codec.decodeReply(frame.header)), body: frame.body, url: this.url }
  }

  /** Sends a request that gets no reply; `done` runs when the platform has taken its bytes, or the connection has ended. */
  sendOneWay(api: number, header: Uint8Array, body: readonly Uint8Array[], done: () => void): void {
    if (this.#failure !== undefined) {
      queueMicrotask(done)
      return
    }
    this.#enqueue(api, this.#nextCorrelationId(), header, body, done)
  }

  #request(api: number, name: string, header: Uint8Array, options: CallOptions): Promise<Frame> {
    if (this.#failure !== undefined) return Promise.reject(unsent(this.#failure))
    return new Promise<Frame>((resolve, reject) => {
      const calledMs = this.#runtime.clock.monotonicMs()
      const deadlineMs = calledMs + (options.timeoutMs ?? this.#options.requestTimeoutMs)
      const endsConnection = options.onLate === 'end-connection'
      const correlationId = this.#nextCorrelationId()
      this.#pending.set(correlationId, { resolve, reject, calledMs, deadlineMs, endsConnection, name, sent: false })
      this.#enqueue(api, correlationId, header, options.body ?? NO_PARTS, undefined)
      if (this.#timer !== undefined) return
      this.#heard(calledMs)
      this.#startDeadlineCheck()
    })
  }

  #nextCorrelationId(): number {
    this.#correlationId = correlationIdAfter(this.#correlationId, this.#pending, this.#late)
    return this.#correlationId
  }

  #enqueue(
    api: number,
    correlationId: number,
    header: Uint8Array,
    body: readonly Uint8Array[],
    done: (() => void) | undefined,
  ): void {
    const head = new Uint8Array(PROLOGUE_BYTES + header.length)
    writePrologue(head, 0, { api, isReply: false, correlationId }, header.length)
    head.set(header, PROLOGUE_BYTES)
    let bytes = head.length
    for (const part of body) bytes += part.length
    this.#outbox.push({ correlationId, parts: [head, ...body], bytes, done })
    this.#outboxBytes += bytes
    this.#transmit()
  }

  #transmit(): void {
    for (let frame = this.#outbox.peek(); frame !== undefined; frame = this.#outbox.peek()) {
      if (this.#late.delete(frame.correlationId)) {
        // Given up before it could leave: whoever asked was told that it never did.
        this.#outbox.shift()
        this.#outboxBytes -= frame.bytes
        continue
      }
      if (this.#sentBytes + frame.bytes + PROBE_CREDIT_BYTES > this.#grantedBytes) return
      this.#outbox.shift()
      this.#outboxBytes -= frame.bytes
      this.#sentBytes += frame.bytes
      const pending = this.#pending.get(frame.correlationId)
      if (pending !== undefined) pending.sent = true
      this.#transport.send(frame.parts, frame.done)
    }
  }

  #receive(bytes: Uint8Array): void {
    this.#heard()
    const decoded = decodeFrame(bytes)
    if (decoded.kind !== 'frame') {
      this.fail(new MillraceError('NETWORK_EXCEPTION', `${this.url}: not a frame: ${decoded.text}`))
      return
    }
    const { frame } = decoded
    if (frame.api === Api.CREDIT) {
      this.#receiveCredit(frame)
      return
    }
    if (frame.api === Api.GROUP_CHANGED && !frame.isReply) {
      this.#receiveGroupChanged(frame)
      return
    }
    if (!frame.isReply) return
    this.#late.delete(frame.correlationId)
    const pending = this.#pending.get(frame.correlationId)
    if (pending === undefined) return // nobody waits for it any more
    this.#pending.delete(frame.correlationId)
    pending.resolve(frame)
  }

  /** A hint: one that cannot be read is none. */
  #receiveGroupChanged({ header }: Frame): void {
    let memberId: string
    try {
      memberId = groupChanged.decode(header).memberId
    } catch {
      return
    }
    this.#options.onGroupChanged?.(memberId)
  }

  #receiveCredit(frame: Frame): void {
    let grantedBytes: number
    try {
      grantedBytes = credit.decode(frame.header).grantedBytes
    } catch (cause) {
      this.fail(new MillraceError('NETWORK_EXCEPTION', `${this.url}: a credit message is malformed`, { cause }))
      return
    }
    if (grantedBytes <= this.#grantedBytes) return
    this.#grantedBytes = grantedBytes
    this.#transmit()
    for (const listener of this.#onCredit) listener()
  }

  #startDeadlineCheck(): void {
    const dueMs = this.#runtime.clock.monotonicMs() + DEADLINE_CHECK_MS
    this.#timer = this.#runtime.startTimer(DEADLINE_CHECK_MS, () => this.#checkDeadlines(dueMs))
  }

  /**
   * A check that comes late was held up by other work of this thread, or the machine slept: replies may lie in the socket unread.
   * They are read between two checks, so the next one judges.
   */
  #checkDeadlines(dueMs: number): void {
    this.#timer = undefined
    if (this.#failure !== undefined) return
    const nowMs = this.#runtime.clock.monotonicMs()
    const isLate = nowMs - dueMs > DEADLINE_CHECK_MS && !this.#wasLate
    this.#wasLate = isLate
    if (isLate) {
      this.#startDeadlineCheck()
      return
    }
    if ((this.#transport.messageStalledMs ?? 0) > MESSAGE_STALL_MS_MAX) {
      this.fail(new MillraceError('NETWORK_EXCEPTION', `${this.url}: a message stopped halfway`))
      return
    }
    if (this.#isGone(nowMs)) {
      const silentMs = Math.round(nowMs - this.#heardMs)
      const why = `${this.url}: it owes answers and has said nothing for ${silentMs} ms`
      this.fail(new MillraceError('REQUEST_TIMED_OUT', why))
      return
    }
    this.#giveUpLate(nowMs)
    if (this.#failure === undefined && this.#pending.size + this.#late.size > 0) this.#startDeadlineCheck()
  }

  #giveUpLate(nowMs: number): void {
    for (const [correlationId, pending] of this.#pending) {
      if (nowMs < pending.deadlineMs) continue
      const error = new MillraceError('REQUEST_TIMED_OUT', `${this.url}: no reply to ${pending.name} in time`)
      if (pending.endsConnection || this.#late.size >= LATE_MAX || !this.#mayLive(pending, nowMs)) {
        this.fail(error)
        return
      }
      this.#pending.delete(correlationId)
      this.#late.add(correlationId)
      pending.reject(pending.sent ? error : unsent(error))
    }
    // What stood first may have gone, and others fit.
    this.#transmit()
  }

  /** Whether the broker has shown a sign of life since the request was made, or its silence is being judged. */
  #mayLive({ calledMs }: PendingRequest, nowMs: number): boolean {
    if (this.#hello === undefined) return false
    if (this.#heardMs > calledMs) return true
    if (this.#transport.messageStalledMs === undefined) return false // see #isGone()
    if (this.#probedMs === undefined) this.#probe(nowMs)
    return this.#probedMs !== undefined
  }

  /** Silence counts from now on; `atMs`: from when a request was made, which is no sign of life. */
  #heard(atMs: number = this.#runtime.clock.monotonicMs()): void {
    this.#heardMs = atMs
    this.#probedMs = undefined
  }

  /** Whether a broker that owes answers has said nothing for too long; asks it for a sign of life before that. */
  #isGone(nowMs: number): boolean {
    const { messageStalledMs, bufferedBytes } = this.#transport
    // Where the platform does not show what is on its way, a large answer over a slow line looks like silence.
    if (messageStalledMs === undefined || this.#hello === undefined) return false
    const isMoving = messageStalledMs > 0 || bufferedBytes < this.#bufferedBytes
    this.#bufferedBytes = bufferedBytes
    if (isMoving) this.#heard()
    const silenceMsMax = this.#options.silenceMsMax ?? SILENCE_MS_MAX
    const beforeProbeMs = silenceMsMax * SILENCE_BEFORE_PROBE
    if (this.#probedMs !== undefined) return nowMs - this.#probedMs >= silenceMsMax - beforeProbeMs
    if (nowMs - this.#heardMs >= beforeProbeMs) this.#probe(nowMs)
    return false
  }

  /** Past the outbox: what waits there may wait for credit. Nobody waits for the answer itself. */
  #probe(nowMs: number): void {
    const { api, header } = PROBE
    const frame = new Uint8Array(PROLOGUE_BYTES + header.length)
    if (this.#sentBytes + frame.length > this.#grantedBytes) return
    writePrologue(frame, 0, { api, isReply: false, correlationId: this.#nextCorrelationId() }, header.length)
    frame.set(header, PROLOGUE_BYTES)
    this.#sentBytes += frame.length
    this.#probedMs = nowMs
    this.#transport.send([frame])
  }

  #closed(close: TransportClose): void {
    if (close.httpStatus !== undefined && HTTP_UNAUTHORISED.includes(close.httpStatus)) {
      this.#end(new MillraceError('SASL_AUTHENTICATION_FAILED', `${this.url}: ${close.text}`))
      return
    }
    const code = close.code === 1006 ? '' : ` (close code ${close.code})`
    const kind = this.#hello === undefined ? 'CONNECTION_FAILED' : 'NETWORK_EXCEPTION'
    this.#end(new MillraceError(kind, `${this.url}: ${close.text || 'the broker closed the connection'}${code}`))
  }

  /** Ends the connection because of `error`; everything that waits on it fails. */
  fail(error: MillraceError): void {
    this.#end(error)
    this.#transport.terminate()
  }

  /** Ends the connection in order. */
  close(): void {
    if (this.#failure !== undefined) return
    this.#end(new MillraceError('CLOSED', 'the connection is closed'))
    this.#transport.close(1000, 'bye')
  }

  #end(failure: MillraceError): void {
    if (this.#failure !== undefined) return
    this.#failure = failure
    this.#timer?.cancel()
    const pendings = [...this.#pending.values()]
    this.#pending.clear()
    this.#late.clear()
    this.#outboxBytes = 0
    for (const pending of pendings) pending.reject(pending.sent ? inDoubt(failure) : unsent(failure))
    for (let frame = this.#outbox.shift(); frame !== undefined; frame = this.#outbox.shift()) frame.done?.()
    this.#onCredit.clear()
    const listeners = this.#onEnd
    this.#onEnd = []
    for (const listener of listeners) listener()
  }
}

interface Holder {
  has(correlationId: number): boolean
}

/** The next number after `last` that is nobody's. */
export function correlationIdAfter(last: number, pending: Holder, late: Holder): number {
  let next = last
  do next = next === 0xffff_ffff ? 1 : next + 1
  while (pending.has(next) || late.has(next))
  return next
}

/** The request left; nobody knows what became of it. */
function inDoubt(failure: MillraceError): MillraceError {
  if (failure.code === 'SASL_AUTHENTICATION_FAILED' || failure.code === 'CLOSED') return failure
  return new MillraceError('NETWORK_EXCEPTION', failure.message, { cause: failure })
}

/** The request never left. */
function unsent(failure: MillraceError): MillraceError {
  if (failure.code === 'SASL_AUTHENTICATION_FAILED' || failure.code === 'CLOSED') return failure
  return new MillraceError('CONNECTION_FAILED', failure.message, { cause: failure })
}
