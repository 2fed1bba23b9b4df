/**
 * RequestLane: one ring to a shard, and the staging area for what it had no room for.
 *
 * Thread      main
 * Invariants  RL1 requests enter the ring in the order they were given: once one is staged, all later ones are
 * Limits      stagedBytesMax; a request beyond it is refused: 'full'
 * Not here    publishing and waking, which the link does once for all its lanes (shard-link.ts)
 */
import type { RingWriter } from '../ring/ring-writer.ts'

export interface LaneRequest {
  readonly requestId: number
  readonly bytes: number
  /** Puts it into the ring; false = no room. */
  readonly write: () => boolean
  /** Answers a `write` that owns its bytes: the caller's are only valid during submit(). */
  readonly keep: () => () => boolean
  readonly onTaken: () => void
}

type Staged = Omit<LaneRequest, 'keep'>

export interface RequestLaneOptions {
  readonly ring: RingWriter
  readonly stagedBytesMax: number
  /** So many bytes were put in the ring. */
  readonly onQueued: (bytes: number) => void
  /** The ring is full: publish and wake, for what was claimed before must be taken for room to come. */
  readonly onFull: () => void
}

export class RequestLane {
  readonly #options: RequestLaneOptions
  #staged: Staged[] = []
  /** Gauges. */
  stagedBytes = 0
  stagedTotal = 0

  constructor(options: RequestLaneOptions) {
    this.#options = options
  }

  get ring(): RingWriter {
    return this.#options.ring
  }

  submit(request: LaneRequest): 'sent' | 'staged' | 'full' {
    const { requestId, bytes, write, onTaken } = request
    if (this.#staged.length === 0 && write()) {
      this.#options.onQueued(bytes)
      onTaken()
      return 'sent'
    }
    if (this.stagedBytes + bytes > this.#options.stagedBytesMax) return 'full'
    this.#staged.push({ requestId, bytes, write: request.keep(), onTaken })
    this.stagedBytes += bytes
    this.stagedTotal++
    this.#options.onFull()
    return 'staged'
  }

  /** Moves what is staged into the ring as far as it goes. */
  retry(): void {
    let taken = 0
    for (const entry of this.#staged) {
      if (!entry.write()) break
      taken++
      this.stagedBytes -= entry.bytes
      this.#options.onQueued(entry.bytes)
      entry.onTaken()
    }
    if (taken > 0) this.#staged = this.#staged.slice(taken)
  }

  /** Takes a request back that never reached the ring; false = it did. */
  withdraw(requestId: number): boolean {
    const index = this.#staged.findIndex((entry) => entry.requestId === requestId)
    if (index === -1) return false
    this.stagedBytes -= this.#staged[index]!.bytes
    this.#staged.splice(index, 1)
    return true
  }

  /** The shard has ended: nothing that waits is written any more. */
  drop(): void {
    const staged = this.#staged
    this.#staged = []
    this.stagedBytes = 0
    for (const entry of staged) entry.onTaken()
  }
}
