/**
 * EtcdMembers: the members of an etcd cluster as one: a request goes to the member in use, and when that one fails, to the next.
 *
 * Owns        a client for each URL, made when it is first used
 * Invariants  EM1 run() repeats what may be repeated: reads, lease calls. A transaction goes through attempt(), once
 * Limits      attemptMsMax a call: with n members a request that finds one of them silent has time for all the others
 * Failure     BROKER_NOT_AVAILABLE that names each URL and what was wrong with it; CLOSED after close()
 */
import type { Clock } from '../base/clock.ts'
import { MillraceError } from '../model/errors.ts'
import type { EtcdAccess, EtcdClient, EtcdClientFactory } from './etcd-client.ts'
import { type EtcdFault, faultOf } from './etcd-faults.ts'
import type { StoreTimers } from './store-timers.ts'

const BACKOFF_MS_MIN = 50
const BACKOFF_MS_MAX = 500
/** Below this a call is not worth sending. */
const ATTEMPT_MS_MIN = 10

export interface EtcdMembersOptions {
  readonly urls: readonly string[]
  readonly access: Omit<EtcdAccess, 'authenticateMsMax'>
  readonly requestTimeoutMs: number
  readonly clock: Clock
  readonly timers: StoreTimers
  readonly createClient: EtcdClientFactory
  /** Which URL is asked first; any number, so that brokers spread over the members. */
  readonly first: number
}

export type Attempt<T> =
  | { readonly kind: 'answered'; readonly value: T }
  | { readonly kind: 'failed'; readonly fault: EtcdFault }

export class EtcdMembers {
  readonly requestTimeoutMs: number
  readonly attemptMsMax: number
  readonly #options: EtcdMembersOptions
  readonly #clients = new Map<string, EtcdClient>()
  /** URL -> what was wrong when it was last asked. */
  readonly #reasons = new Map<string, string>()
  readonly #sleepers = new Set<() => void>()
  #index: number
  #isClosed = false

  constructor(options: EtcdMembersOptions) {
    this.#options = options
    this.#index = options.first % options.urls.length
    this.requestTimeoutMs = options.requestTimeoutMs
    this.attemptMsMax = Math.ceil(options.requestTimeoutMs / (options.urls.length + 1))
  }

  get count(): number {
    return this.#options.urls.length
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  nowMs(): number {
    return this.#options.clock.monotonicMs()
  }

  /** The member in use. */
  current(): EtcdClient {
    this.checkOpen()
    const { urls, access, clock, createClient } = this.#options
    const url = urls[this.#index]!
    let client = this.#clients.get(url)
    if (client === undefined) {
      client = createClient(url, { ...access, authenticateMsMax: this.attemptMsMax }, clock)
      this.#clients.set(url, client)
    }
    return client
  }

  /** A member that failed is left for the next one. */
  leave(client: EtcdClient, reason: string): void {
    if (reason !== '' || !this.#reasons.has(client.url))
      this.#reasons.set(client.url, reason === '' ? 'the connection broke' : reason)
    if (this.#options.urls[this.#index] === client.url) this.#index = (this.#index + 1) % this.count
  }

  /** One call to the member in use. */
  async attempt<T>(
    call: (client: EtcdClient, timeoutMs: number) => Promise<T>,
    deadlineMs: number,
  ): Promise<Attempt<T>> {
    const client = this.current()
    const timeoutMs = Math.max(ATTEMPT_MS_MIN, Math.min(this.attemptMsMax, deadlineMs - this.nowMs()))
    try {
      const value = await call(client, timeoutMs)
      this.#reasons.delete(client.url)
      return { kind: 'answered', value }
    } catch (error) {
      const fault = faultOf(error)
      if (fault.kind === 'unsent' || fault.kind === 'lost') this.leave(client, fault.reason)
      return { kind: 'failed', fault }
    }
  }

  /** Asks member after member until one answers, at most `timeoutMs`. For what may be done twice. */
  async run<T>(
    call: (client: EtcdClient, timeoutMs: number) => Promise<T>,
    timeoutMs: number = this.requestTimeoutMs,
  ): Promise<T> {
    const deadlineMs = this.nowMs() + timeoutMs
    for (let tries = 1; ; tries++) {
      const attempt = await this.attempt(call, deadlineMs)
      if (attempt.kind === 'answered') return attempt.value
      const { fault } = attempt
      if (fault.kind !== 'unsent' && fault.kind !== 'lost') throw this.errorOf(fault)
      if (!(await this.backOff(tries, deadlineMs))) throw this.unreachable()
    }
  }

  /** Waits before the next try where one is due; false when there is no time for it. */
  async backOff(tries: number, deadlineMs: number): Promise<boolean> {
    const round = Math.floor(tries / this.count)
    // The next member is asked at once; when all have been asked, there is a pause.
    if (tries % this.count === 0) await this.sleep(Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.min(round, 10)))
    this.checkOpen()
    return this.nowMs() + ATTEMPT_MS_MIN <= deadlineMs
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        timer.cancel()
        this.#sleepers.delete(wake)
        resolve()
      }
      const timer = this.#options.timers.startTimer(ms, wake)
      this.#sleepers.add(wake)
    })
  }

  errorOf(fault: EtcdFault): MillraceError {
    if (fault.kind === 'lease-gone') return new MillraceError('INVALID_ARGUMENT', 'the lease does not exist')
    if (fault.kind !== 'refused') return this.unreachable()
    return new MillraceError(fault.code, `etcd at ${this.#options.urls.join(', ')}: ${fault.reason}`)
  }

  unreachable(): MillraceError {
    const urls = this.#options.urls.map((url) => {
      const reason = this.#reasons.get(url)
      return reason === undefined ? url : `${url} (${reason})`
    })
    return new MillraceError('BROKER_NOT_AVAILABLE', `etcd cannot be reached: ${urls.join(', ')}`)
  }

  checkOpen(): void {
    if (this.#isClosed) throw new MillraceError('CLOSED', 'the metadata store is closed')
  }

  close(): void {
    this.#isClosed = true
    for (const wake of [...this.#sleepers]) wake()
    for (const client of this.#clients.values()) client.close()
    this.#clients.clear()
  }
}
