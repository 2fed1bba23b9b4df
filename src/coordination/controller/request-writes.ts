/**
 * RequestWrites: the metadata store as one request of the controller sees it, and whether that request has written anything: whoever asked
 * may ask again as if nothing had been done only when certainly nothing was.
 *
 * Thread      main
 * Invariants  RW1 settled() is true while a write of the request may have taken effect, or may yet: applied, or its outcome unknown
 * Ordering    settled() is asked for when the request has ended: what is under way then is waited for, and nothing of it begins a write later
 *             (PW3 of the partition writer; topics are written in batches that begin together)
 */
import { MillraceError } from '../../model/errors.ts'
import {
  isOutcomeUnknown,
  type MetadataStore,
  type StoreCondition,
  type StoreOperation,
  type StoreResult,
} from '../metadata-store.ts'

export class RequestWrites implements MetadataStore {
  readonly #store: MetadataStore
  readonly #underWay = new Set<Promise<unknown>>()
  #mayHaveWritten = false

  constructor(store: MetadataStore) {
    this.#store = store
  }

  /** Once all that is under way has ended: whether anything may be written. A batch that failed leaves others under way. */
  async settled(): Promise<boolean> {
    await Promise.allSettled(this.#underWay)
    return this.#mayHaveWritten
  }

  transact(conditions: readonly StoreCondition[], operations: readonly StoreOperation[]): Promise<StoreResult> {
    const result = this.#store.transact(conditions, operations)
    if (operations.length === 0) return result
    const noted = result.then(
      ({ applied }) => void (this.#mayHaveWritten ||= applied),
      (error: unknown) => void (this.#mayHaveWritten ||= isOutcomeUnknown(error)),
    )
    this.#underWay.add(noted)
    void noted.then(() => this.#underWay.delete(noted))
    return result
  }

  get(key: string): ReturnType<MetadataStore['get']> {
    return this.#store.get(key)
  }

  list(prefix: string): ReturnType<MetadataStore['list']> {
    return this.#store.list(prefix)
  }

  watch(...args: Parameters<MetadataStore['watch']>): ReturnType<MetadataStore['watch']> {
    return this.#store.watch(...args)
  }

  lease(ttlMs: number): ReturnType<MetadataStore['lease']> {
    return this.#store.lease(ttlMs)
  }

  revokeLease(leaseId: string): Promise<void> {
    return this.#store.revokeLease(leaseId)
  }

  close(): Promise<void> {
    return this.#store.close()
  }
}

/** The store did not answer, and was asked to write nothing. */
export function nothingWritten(cause: Error): MillraceError {
  const text = `nothing has happened: the store did not answer (${cause.message})`
  return new MillraceError('BROKER_NOT_AVAILABLE', text, { cause })
}

/** Something was written, and it is not known whether all of it was. */
export function outcomeUnknown(cause: unknown): MillraceError {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new MillraceError('REQUEST_TIMED_OUT', `it, or a part of it, may or may not have happened: look (${why})`, {
    cause,
  })
}
