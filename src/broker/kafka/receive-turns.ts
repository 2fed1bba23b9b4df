/**
 * ReceiveTurns: who goes on with a frame that has begun while the pool holds too many received bytes: one connection at a time, so that
 * frames are finished one by one and never wait for each other.
 *
 * Thread      main
 * Invariants  RT1 past limits.receiveBytes at most one connection reads on in the middle of a frame
 *             RT2 whoever waits is told when it is its turn, or when there is room: nobody waits for ever
 *             checked in: test/unit/broker/kafka/receive-turns.test.ts
 */
import type { ConnectionPool } from '../connection.ts'

/** A connection, as far as its turn goes. */
export interface Receiver {
  /** Looks again whether it may read. */
  go(): void
  /** Is told by the pool when there is room. */
  waitForRoom(pool: ConnectionPool): void
}

export class ReceiveTurns {
  readonly #pool: ConnectionPool
  #holder: Receiver | undefined
  readonly #waiting = new Set<Receiver>()

  constructor(pool: ConnectionPool) {
    this.#pool = pool
  }

  /** Whether it may read more of a frame that has begun. */
  mayRead(receiver: Receiver): boolean {
    const { pendingReceiveBytes, receiveBytesMax } = this.#pool
    if (pendingReceiveBytes <= receiveBytesMax || this.#holder === receiver) {
      this.#waiting.delete(receiver)
      return true
    }
    if (this.#holder === undefined) {
      this.#waiting.delete(receiver)
      this.#holder = receiver
      return true
    }
    this.#waiting.add(receiver)
    receiver.waitForRoom(this.#pool)
    return false
  }

  /** Its frame has come whole, or never will. */
  end(receiver: Receiver): void {
    this.#waiting.delete(receiver)
    if (this.#holder !== receiver) return
    this.#holder = undefined
    const [next] = this.#waiting
    next?.go()
  }
}
