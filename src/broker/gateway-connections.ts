/**
 * GatewayConnections: all connections of the gateway, and the bytes they have under way together.
 *
 * Thread      main
 * Limits      limits.receiveBytes lent in all; past a part of limits.sendBytes the pool is pressed, and fetches wait
 */
import type { BrokerConfig } from '../config/index.ts'
import { type Connection, type ConnectionPool, creditWindowOf } from './connection.ts'

/** Part of limits.sendBytes from which on the pool is pressed: what is on its way then, and what the engine allocates ahead, is the rest. */
const SEND_PRESSURE = 1 / 4

/** A number that comes round after so many is another connection's: a hint for the one before is of no harm. */
const CONNECTION_ID_MAX = 0xffff_ffff

export class GatewayConnections implements ConnectionPool {
  pendingReceiveBytes = 0
  pendingSendBytes = 0
  readonly receiveBytesMax: number
  readonly connectionSendBytesMax: number
  readonly windowBytes: number
  readonly #byId = new Map<number, Connection>()
  #lastId = 0
  dirty: Connection[] = []
  starved: Connection[] = []
  /** They wait for something else than bytes of their own: looked at every turn. */
  #waiting: Connection[] = []
  readonly #sendPressureBytes: number
  readonly #onDirty: () => void

  constructor(limits: BrokerConfig['limits'], onDirty: () => void) {
    this.receiveBytesMax = limits.receiveBytes
    this.#sendPressureBytes = limits.sendBytes * SEND_PRESSURE
    this.connectionSendBytesMax = limits.connectionSendBytes
    this.windowBytes = creditWindowOf(limits.frameBytes)
    this.#onDirty = onDirty
  }

  get all(): Iterable<Connection> {
    return this.#byId.values()
  }

  get size(): number {
    return this.#byId.size
  }

  byId(connectionId: number): Connection | undefined {
    return this.#byId.get(connectionId)
  }

  add(connection: Connection): void {
    this.#lastId = this.#lastId >= CONNECTION_ID_MAX ? 1 : this.#lastId + 1
    connection.id = this.#lastId
    this.#byId.set(connection.id, connection)
  }

  /** False when it was gone already. */
  delete(connection: Connection): boolean {
    return this.#byId.get(connection.id) === connection && this.#byId.delete(connection.id)
  }

  markDirty(connection: Connection): void {
    this.dirty.push(connection)
    this.#onDirty()
  }

  markStarved(connection: Connection): void {
    this.starved.push(connection)
  }

  markWaiting(connection: Connection): void {
    this.#waiting.push(connection)
  }

  /** Something has become free: those that wait are looked at when the turn ends. */
  wake(): void {
    this.#onDirty()
  }

  get isSendPressed(): boolean {
    return this.pendingSendBytes > this.#sendPressureBytes
  }

  /** Lends to those that wait, oldest first, as far as there is room. */
  feedStarved(): void {
    const looking = this.#waiting
    if (looking.length > 0) this.#waiting = []
    for (const connection of looking) {
      connection.isStarved = false
      connection.lend()
    }
    if (this.starved.length === 0 || this.pendingReceiveBytes > this.receiveBytesMax) return
    const waiting = this.starved
    this.starved = []
    for (const connection of waiting) {
      connection.isStarved = false
      connection.lend()
    }
  }
}
