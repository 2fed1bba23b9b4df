/**
 * Connection: one client: what it may do, what it has been lent, what it still gets.
 *
 * Owns        authentication state, credit account, outbox, the fetches that wait for room
 * Thread      main
 * Invariants  C1 receivedBytes <= grantedBytes, else the connection is closed (CREDIT_EXCEEDED)
 *             C2 of onDone and onNoRoom exactly one is called for each message, exactly once: pages are given back there
 *             C3 replies leave in the order in which they were given to send()
 * Limits      CONNECTION_REQUESTS_MAX open requests; unreadBytesMax before fetches wait, and a fetch reply that comes then is
 *             dropped and read again when the client has caught up, so that a stalled reader holds no pages. While the
 *             pool is pressed, nobody gets more before it has read what it got, and that is a copy: an engine that keeps
 *             references would let stalled readers hold all pages
 *             Other requests are answered OVERLOADED then
 * Credit      the grant follows completedBytes: bytes count as completed when a shard's ring has taken them (or the request needed
 *             none), so acks=none gives credit back too, and a full ring withholds it
 */
import { joinBytes } from '../base/bytes.ts'
import { AUTHENTICATION_MS_MAX } from '../model/limits.ts'
import { credit, encodeFrame, groupChanged } from '../protocol/index.ts'
import type { Principal } from './authorise.ts'
import { type Caller, callerOf } from './caller.ts'
import { ColdRequests } from './cold-requests.ts'
import type { EngineSocket } from './listeners/web-socket-engine.ts'
import type { Timers } from './timers.ts'

export interface Outgoing {
  readonly fragments: readonly Uint8Array[]
  /** The fragments' memory is free: they were sent, or never will be. Exactly one of the two is called, once. */
  readonly onDone?: () => void
  /** It was not sent, because the client does not read what it has got already. Without it a message is always sent. */
  readonly onNoRoom?: () => void
}

/** Something that waits for the connection to have room. */
export interface HeldFetch {
  start(): void
}

/** What all connections share. */
export interface ConnectionPool {
  /** Bytes received and not yet completed, and bytes sent and not yet read, of all connections. */
  pendingReceiveBytes: number
  pendingSendBytes: number
  readonly receiveBytesMax: number
  /** All clients together leave so much unread that nobody gets more before it has read what it got. */
  readonly isSendPressed: boolean
  readonly connectionSendBytesMax: number
  /** The first credit, and how far the grant runs ahead. */
  readonly windowBytes: number
  markDirty(connection: Connection): void
  /** Wants credit and could not get it. */
  markStarved(connection: Connection): void
  /** Waits for room, whatever the bytes under way: its lend() is called when the turn ends. */
  markWaiting(connection: Connection): void
}

const CLOSE_POLICY_VIOLATION = 1008
/** A grant is told when it has grown by this part of the window. */
const CREDIT_STEP = 1 / 4
/** An outbox of more goes out after those of the other connections. */
const MUCH_BYTES = 64 * 1024

/** The window that keeps room for the largest frame even while the grant is one step behind: less, and such a frame waits for ever. */
export function creditWindowOf(frameBytesMax: number): number {
  return Math.ceil(frameBytesMax / (1 - CREDIT_STEP))
}

export class Connection {
  /** Shards name it to the gateway; never 0. */
  id = 0
  principal: Principal | undefined
  /** hello was answered. */
  isReady = false
  isClosed = false
  openRequests = 0
  readonly cold = new ColdRequests()
  clientName = ''
  isDirty = false
  isStarved = false

  socket: EngineSocket<Connection> | undefined
  /** Fetches that the shards have. */
  readonly fetches = new Set<{ cancel(): void }>()

  readonly #pool: ConnectionPool
  #outbox: Outgoing[] = []
  #outboxBytes = 0
  /** Of the replies that are always sent. */
  #promisedBytes = 0
  #held: HeldFetch[] = []
  #receivedBytes = 0
  #completedBytes = 0
  #grantedBytes = 0
  #bufferedBytes = 0
  #caller: Caller | undefined
  #cancelHelloTimer: () => void = nothing

  constructor(pool: ConnectionPool, principal: Principal | undefined) {
    this.#pool = pool
    this.principal = principal
  }

  /** Closes the connection unless stopHelloTimer() is called in time. */
  startHelloTimer(timers: Timers): void {
    this.#cancelHelloTimer = timers.after(AUTHENTICATION_MS_MAX, () => this.closeForPolicy('no hello within 10 s'))
  }

  stopHelloTimer(): void {
    this.#cancelHelloTimer()
    this.#cancelHelloTimer = nothing
  }

  /** Counts begin: the hello is answered with the first credit. */
  beginCredit(): void {
    this.#grantedBytes = this.#pool.windowBytes
  }

  /** Counts a frame; false = the client sent more than it was lent. */
  receive(bytes: number): boolean {
    this.#receivedBytes += bytes
    this.#pool.pendingReceiveBytes += bytes
    return this.#receivedBytes <= this.#grantedBytes
  }

  /** The broker is done with so many received bytes. */
  complete(bytes: number): void {
    this.#completedBytes += bytes
    if (!this.isClosed) this.#pool.pendingReceiveBytes -= bytes
    this.lend()
  }

  /** Lends more where there is reason to and room for it. */
  lend(): void {
    const window = this.#pool.windowBytes
    const grant = this.#completedBytes + window
    if (this.isClosed || !this.isReady || grant - this.#grantedBytes < window * CREDIT_STEP) return
    if (this.#pool.pendingReceiveBytes > this.#pool.receiveBytesMax) {
      if (!this.isStarved) this.#pool.markStarved(this)
      this.isStarved = true
      return
    }
    this.isStarved = false
    this.#grantedBytes = grant
    const header = credit.encode({ grantedBytes: grant })
    this.send(encodeFrame({ api: credit.api, isReply: false, correlationId: 0 }, header))
  }

  send(frame: Uint8Array): void {
    this.#promisedBytes += frame.length
    this.sendOutgoing({ fragments: [frame] })
  }

  /** Queues a message; it leaves at the end of the turn. */
  sendOutgoing(outgoing: Outgoing): void {
    if (this.isClosed) {
      outgoing.onDone?.()
      return
    }
    this.#outbox.push(outgoing)
    for (const fragment of outgoing.fragments) this.#outboxBytes += fragment.length
    if (!this.isDirty) this.#pool.markDirty(this)
    this.isDirty = true
  }

  /** Something of its groups is new for `memberId`. A client that does not read gets no more hints. */
  hintGroupChanged(memberId: string): void {
    if (this.isBehind) return
    const prologue = { api: groupChanged.api, isReply: false, correlationId: 0 }
    this.send(encodeFrame(prologue, groupChanged.encode({ memberId })))
  }

  get hasMuchToSend(): boolean {
    return this.#outboxBytes > MUCH_BYTES
  }

  /** So much is unread, or about to be sent, that no request is answered that can wait: its reply could be of any size. */
  get isBehind(): boolean {
    return this.bufferedBytes + this.#promisedBytes > this.#pool.connectionSendBytesMax
  }

  get hasRoom(): boolean {
    return this.#held.length === 0 && this.bufferedBytes <= this.#unreadBytesMax
  }

  /** Bytes this client may leave unread and still be sent records. */
  get #unreadBytesMax(): number {
    return this.#pool.isSendPressed ? 0 : this.#pool.connectionSendBytesMax
  }

  /** Who asks coordinators: known once hello was answered. */
  get caller(): Caller {
    this.#caller ??= callerOf(this.clientName, this.socket?.remoteAddress ?? '', this.id)
    return this.#caller
  }

  get bufferedBytes(): number {
    return this.socket?.bufferedBytes ?? 0
  }

  /** Starts the fetch when there is room. */
  hold(fetch: HeldFetch): void {
    this.#held.push(fetch)
  }

  /** Sends the outbox, corked. */
  flush(): void {
    this.isDirty = false
    const outbox = this.#outbox
    const socket = this.socket
    if (outbox.length === 0 || socket === undefined) return
    this.#outbox = []
    this.#outboxBytes = 0
    this.#promisedBytes = 0
    socket.cork(() => {
      for (const outgoing of outbox) this.#sendNow(socket, outgoing)
    })
    this.#countBuffered()
  }

  #sendNow(socket: EngineSocket<Connection>, outgoing: Outgoing): void {
    if (outgoing.onNoRoom !== undefined && socket.bufferedBytes > this.#unreadBytesMax) {
      outgoing.onNoRoom()
      return
    }
    if (outgoing.onDone !== undefined && socket.keepsFragments && this.#pool.isSendPressed) {
      // Many do not read: what they leave unread must not be pages, or none are left for those that do.
      const copy = joinBytes(outgoing.fragments)
      outgoing.onDone()
      socket.send([copy], nothing)
      this.#countBuffered()
      return
    }
    const answer = socket.send(outgoing.fragments, outgoing.onDone ?? nothing)
    this.#countBuffered()
    if (answer !== 'kept') outgoing.onDone?.()
  }

  /** The engine says that something has left. */
  onDrain(): void {
    this.#countBuffered()
    if (this.#held.length === 0 || this.bufferedBytes > this.#unreadBytesMax / 2) return
    const held = this.#held
    this.#held = []
    for (const fetch of held) fetch.start()
  }

  close(code: number, reason: string): void {
    this.flush()
    this.socket?.close(code, reason)
  }

  closeForPolicy(reason: string): void {
    this.close(CLOSE_POLICY_VIOLATION, reason)
  }

  /** The socket is gone: what waits is dropped, what the shards have is cancelled. */
  onClosed(): void {
    if (this.isClosed) return
    this.isClosed = true
    this.#pool.pendingReceiveBytes -= this.#receivedBytes - this.#completedBytes
    this.#pool.pendingSendBytes -= this.#bufferedBytes
    this.#bufferedBytes = 0
    for (const outgoing of this.#outbox) outgoing.onDone?.()
    this.#outbox = []
    this.#held = []
    this.cold.clear()
    for (const fetch of [...this.fetches]) fetch.cancel()
  }

  #countBuffered(): void {
    if (this.isClosed) return
    const buffered = this.bufferedBytes
    this.#pool.pendingSendBytes += buffered - this.#bufferedBytes
    this.#bufferedBytes = buffered
  }
}

function nothing(): void {}
