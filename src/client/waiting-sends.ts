/**
 * WaitingSends: the calls of send() that wait for room, or for their topic to be known: first come, first served.
 *
 * Limits    WAITING_SENDS_MAX calls, then BUFFER_FULL; each waits until its delivery deadline
 * Failure   DELIVERY_TIMED_OUT: it never was in a batch, so it is not stored
 */
import { Fifo } from '../base/fifo.ts'
import { MillraceError } from '../model/errors.ts'
import { abortable } from './abort.ts'
import type { ClientRuntime, Timer } from './client-runtime.ts'
import type { DeliveredRecord } from './producer-batch.ts'

/** A record and a promise each: whoever sends faster than the broker takes, and waits for nothing, is to notice. */
export const WAITING_SENDS_MAX = 100_000

export interface WaitingSend<Record> {
  readonly record: Record
  /** When it must be acknowledged, on the monotonic clock. */
  readonly deadlineMs: number
  readonly resolve: (receipt: DeliveredRecord) => void
  readonly reject: (error: MillraceError) => void
  /** Its caller has given up. */
  abandoned: boolean
}

export interface WaitingSendsOptions {
  readonly deliveryTimeoutMs: number
  /** Why they wait. */
  readonly obstacle: () => MillraceError
  /** Some have left without being taken. */
  readonly onExpired: () => void
}

export class WaitingSends<Record> {
  readonly #runtime: ClientRuntime
  readonly #options: WaitingSendsOptions
  readonly #sends = new Fifo<WaitingSend<Record>>()
  #timer: Timer | undefined

  constructor(runtime: ClientRuntime, options: WaitingSendsOptions) {
    this.#runtime = runtime
    this.#options = options
  }

  get size(): number {
    return this.#sends.size
  }

  /** Waits behind the others. Rejects with BUFFER_FULL when too many do. */
  add(record: Record, signal: AbortSignal | undefined): Promise<DeliveredRecord> {
    if (this.#sends.size >= WAITING_SENDS_MAX)
      return Promise.reject(
        new MillraceError(
          'BUFFER_FULL',
          `${WAITING_SENDS_MAX} calls of send() wait already; await some of them, or ready(), before the next`,
        ),
      )
    const deadlineMs = this.#runtime.clock.monotonicMs() + this.#options.deliveryTimeoutMs
    let send: WaitingSend<Record> | undefined
    const promise = new Promise<DeliveredRecord>((resolve, reject) => {
      send = { record, deadlineMs, resolve, reject, abandoned: false }
      this.#sends.push(send)
    })
    this.#arm()
    const receipt = abortable(promise, signal)
    receipt.catch(() => {
      send!.abandoned = true
    })
    return receipt
  }

  /** Takes out the one that has waited longest. */
  shift(): WaitingSend<Record> | undefined {
    const send = this.#sends.shift()
    if (this.#sends.size === 0) this.#disarm()
    return send
  }

  failAll(error: MillraceError): void {
    for (let send = this.shift(); send !== undefined; send = this.shift()) send.reject(error)
  }

  /** For the oldest: the others have later deadlines. It may be taken before; then the timer comes too early and is set anew. */
  #arm(): void {
    const oldest = this.#sends.peek()
    if (this.#timer !== undefined || oldest === undefined) return
    const delayMs = Math.max(1, Math.ceil(oldest.deadlineMs - this.#runtime.clock.monotonicMs()))
    this.#timer = this.#runtime.startTimer(delayMs, () => {
      this.#timer = undefined
      this.#expire()
    })
  }

  #disarm(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #expire(): void {
    const nowMs = this.#runtime.clock.monotonicMs()
    let error: MillraceError | undefined
    for (let send = this.#sends.peek(); send !== undefined && nowMs >= send.deadlineMs; send = this.#sends.peek()) {
      this.#sends.shift()
      error ??= deliveryTimedOut('it is not stored', this.#options.obstacle())
      send.reject(error)
    }
    this.#arm()
    if (error !== undefined) this.#options.onExpired()
  }
}

/** A record was not acknowledged in time; `fate` says what became of it. */
export function deliveryTimedOut(fate: string, cause: MillraceError | undefined): MillraceError {
  const why = cause === undefined ? '' : ` (${cause.message})`
  return new MillraceError('DELIVERY_TIMED_OUT', `not acknowledged within the delivery timeout: ${fate}${why}`, {
    cause,
  })
}
