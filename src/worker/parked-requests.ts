/**
 * ParkedRequests: requests that found a transaction being ended. They are decided again when it is complete, so that a producer with one
 * transaction after the other need not ask again and again; or refused when their time is over.
 *
 * Thread    the shard
 * Ordering  of one transactional id: as they came
 * Limits    PARKED_MAX requests, PARKED_BYTES_MAX of headers, PARKED_MS since a request was parked first
 */
import { Fifo } from '../base/fifo.ts'
import type { CoordinatorBody, CoordinatorRequest } from './coordinator-host.ts'

export const PARKED_MS = 3_000
const PARKED_MAX = 10_000
const PARKED_BYTES_MAX = 16 * 1024 * 1024

interface Parked<Owner, Body> {
  readonly owner: Owner
  readonly transactionalId: string
  readonly request: CoordinatorRequest<Body>
  readonly untilMs: number
  isTaken: boolean
}

export class ParkedRequests<Owner, Body extends CoordinatorBody> {
  readonly #byId = new Map<Owner, Map<string, Parked<Owner, Body>[]>>()
  /** Of one wait each, by and large: the next to be refused stands first. */
  readonly #byTime = new Fifo<Parked<Owner, Body>>()
  /** When a request that was parked before must be answered. */
  readonly #untilMs = new WeakMap<CoordinatorRequest<Body>, number>()
  #count = 0
  #bytes = 0

  get count(): number {
    return this.#count
  }

  /** Time of the next that is to be refused, or before it. */
  get nextDeadlineMs(): number {
    for (let first = this.#byTime.peek(); first !== undefined; first = this.#byTime.peek()) {
      if (!first.isTaken) return first.untilMs
      this.#byTime.shift()
    }
    return Number.POSITIVE_INFINITY
  }

  /** False: it has waited long enough, or too many wait. */
  offer(owner: Owner, transactionalId: string, request: CoordinatorRequest<Body>, nowMs: number): boolean {
    const untilMs = this.#untilMs.get(request) ?? nowMs + PARKED_MS
    if (nowMs >= untilMs || this.#count >= PARKED_MAX || this.#bytes >= PARKED_BYTES_MAX) return false
    this.#untilMs.set(request, untilMs)
    const parked: Parked<Owner, Body> = { owner, transactionalId, request, untilMs, isTaken: false }
    let byId = this.#byId.get(owner)
    if (byId === undefined) this.#byId.set(owner, (byId = new Map()))
    const waiting = byId.get(transactionalId)
    if (waiting === undefined) byId.set(transactionalId, [parked])
    else waiting.push(parked)
    this.#byTime.push(parked)
    this.#count++
    this.#bytes += request.body.header.length
    return true
  }

  /** Those of a transactional id, which is complete. */
  take(owner: Owner, transactionalId: string): CoordinatorRequest<Body>[] {
    const byId = this.#byId.get(owner)
    const waiting = byId?.get(transactionalId) ?? []
    byId?.delete(transactionalId)
    if (byId?.size === 0) this.#byId.delete(owner)
    return waiting.map((parked) => this.#release(parked))
  }

  /** Those of an owner that is no more. */
  takeAll(owner: Owner): CoordinatorRequest<Body>[] {
    const byId = this.#byId.get(owner)
    this.#byId.delete(owner)
    return [...(byId?.values() ?? [])].flat().map((parked) => this.#release(parked))
  }

  /** One whose time is over; undefined when there is none. */
  takeExpired(nowMs: number): CoordinatorRequest<Body> | undefined {
    if (this.nextDeadlineMs > nowMs) return undefined
    const parked = this.#byTime.shift()!
    const { owner, transactionalId } = parked
    const byId = this.#byId.get(owner)
    const waiting = byId?.get(transactionalId) ?? []
    const left = waiting.filter((each) => each !== parked)
    if (left.length > 0) byId?.set(transactionalId, left)
    else byId?.delete(transactionalId)
    if (byId?.size === 0) this.#byId.delete(owner)
    return this.#release(parked)
  }

  #release(parked: Parked<Owner, Body>): CoordinatorRequest<Body> {
    parked.isTaken = true
    this.#count--
    this.#bytes -= parked.request.body.header.length
    return parked.request
  }
}
