/**
 * ReplyOutbox: replies and notices on their way into the reply ring. What finds the ring full waits here as bytes.
 *
 * Thread      the shard
 * Rule        while anything waits, isClear is false and the shard takes no request: so at most one turn's answers wait
 * Ordering    first in, first out, also across the full ring
 * Limits      noticesMax: a notice that finds more waiting is dropped and counted (replies never are)
 */
import { Fifo } from '../base/fifo.ts'
import type { RingSignal } from '../ring/ring-signal.ts'
import type { RingWriter } from '../ring/ring-writer.ts'

interface Pending {
  readonly type: number
  readonly bytes: Uint8Array
  readonly priority: 'data' | 'control'
}

const WAITING_NOTICES_MAX = 1_000

export class ReplyOutbox {
  readonly #ring: RingWriter
  readonly #signal: Pick<RingSignal, 'ring'>
  readonly #pending = new Fifo<Pending>()
  #overflow: Pending | undefined
  #isDirty = false
  droppedNotices = 0

  /** Where the reply that begin() opened is to be written: bytes, the view over them, and the index of its first byte. */
  bytes: Uint8Array
  view: DataView
  at = 0

  constructor(ring: RingWriter, signal: Pick<RingSignal, 'ring'>) {
    this.#ring = ring
    this.#signal = signal
    this.bytes = ring.bytes
    this.view = ring.view
  }

  /** Nothing waits: requests may be taken. */
  get isClear(): boolean {
    return this.#pending.size === 0
  }

  get payloadBytesMax(): number {
    return this.#ring.frameBytesMax
  }

  /** Opens a reply of `payloadBytes`: fill bytes/view from `at`, then end(). */
  begin(type: number, payloadBytes: number, priority: 'data' | 'control' = 'data'): void {
    const index = this.isClear ? this.#ring.claim(type, payloadBytes, priority) : -1
    if (index !== -1) {
      this.bytes = this.#ring.bytes
      this.view = this.#ring.view
      this.at = index
      this.#isDirty = true
      return
    }
    const bytes = new Uint8Array(payloadBytes)
    this.bytes = bytes
    this.view = new DataView(bytes.buffer)
    this.at = 0
    this.#overflow = { type, bytes, priority }
  }

  end(): void {
    if (this.#overflow === undefined) return
    this.#pending.push(this.#overflow)
    this.#overflow = undefined
  }

  /** True when a notice may be begun; counts the one that is lost otherwise. */
  hasRoomForNotice(): boolean {
    if (this.#pending.size < WAITING_NOTICES_MAX) return true
    this.droppedNotices++
    return false
  }

  /** Moves what waits into the ring as far as it goes. */
  drain(): number {
    let moved = 0
    for (let next = this.#pending.peek(); next !== undefined; next = this.#pending.peek()) {
      const index = this.#ring.claim(next.type, next.bytes.length, next.priority)
      if (index === -1) break
      this.#ring.bytes.set(next.bytes, index)
      this.#pending.shift()
      this.#isDirty = true
      moved++
    }
    return moved
  }

  /** Makes the turn's replies visible and wakes the gateway, once. */
  publish(): void {
    if (!this.#isDirty) return
    this.#isDirty = false
    this.#ring.publish()
    this.#signal.ring()
  }
}
