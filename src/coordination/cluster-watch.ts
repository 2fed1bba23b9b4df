/**
 * ClusterWatch: keeps a ClusterImage at what the store says: a list, then a watch from its revision on; a new list where events were lost.
 *
 * Owns        the image and the watch of the root prefix
 * Thread      main
 * Invariants  CW1 onChanges is told every change once, in order of revisions, and never of an image older than one it was told of
 *             CW2 after a resync what is told is the difference between two lists: nothing that was missed stays unsaid
 * Ordering    list -> watch from its revision. Lost events: what the old watch still says is ignored -> list -> difference -> new watch
 * Failure     a list or watch that fails is tried again after RETRY_MS; only open() rejects. The image is then old, not wrong: every write
 *             that follows from it asks for revisions. Values that cannot be read are told once each, and nothing is asked for again: the
 *             watch tells when they are others
 */
import { MillraceError } from '../model/errors.ts'
import { ClusterImage, type ImageChange, type UnreadableKey } from './cluster-image.ts'
import { ROOT_PREFIX } from './keys.ts'
import type { MetadataStore, StoreWatch } from './metadata-store.ts'
import type { Timers } from './timers.ts'

const RETRY_MS = 500
const WAIT_MS_DEFAULT = 5_000

export type OnChanges = (changes: readonly ImageChange[], image: ClusterImage) => void

export interface ClusterWatchOptions {
  readonly timers: Timers
  /** A resync was needed, or failed and is tried again. */
  readonly onResync?: (reason: string) => void
  /** Keys that cannot be read since now, and those that can be again or are gone. */
  readonly onUnreadable?: (found: readonly UnreadableKey[], mended: readonly string[]) => void
}

interface Waiter {
  readonly revision: number
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
  readonly cancel: () => void
}

export class ClusterWatch {
  readonly #store: MetadataStore
  readonly #onChanges: OnChanges
  readonly #options: ClusterWatchOptions
  readonly #image = new ClusterImage()
  #watch: StoreWatch | undefined
  /** Counts watches: what an earlier one still says is not heard. */
  #generation = 0
  #isClosed = false
  #cancelRetry: () => void = () => {}
  readonly #waiters = new Set<Waiter>()
  /** The keys that were told of, and of which revision. */
  readonly #toldUnreadable = new Map<string, number>()

  private constructor(store: MetadataStore, onChanges: OnChanges, options: ClusterWatchOptions) {
    this.#store = store
    this.#onChanges = onChanges
    this.#options = options
  }

  /** Resolves once the image is there and onChanges has been told all of it. */
  static async open(store: MetadataStore, onChanges: OnChanges, options: ClusterWatchOptions): Promise<ClusterWatch> {
    const watch = new ClusterWatch(store, onChanges, options)
    await watch.#start()
    return watch
  }

  get image(): ClusterImage {
    return this.#image
  }

  /** The image holds everything up to it; it may hold more. */
  get revision(): number {
    return this.#image.revision
  }

  /** Resolves once the image holds what was written at `revision`: nobody reads before their own writes. */
  waitFor(revision: number, timeoutMs: number = WAIT_MS_DEFAULT): Promise<void> {
    if (this.#isClosed) return Promise.reject(closedError())
    if (revision <= this.revision) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const cancel = this.#options.timers.after(timeoutMs, () => {
        this.#waiters.delete(waiter)
        const text = `the metadata store's changes up to revision ${revision} did not come within ${timeoutMs} ms`
        reject(new MillraceError('REQUEST_TIMED_OUT', text))
      })
      const waiter: Waiter = { revision, resolve, reject, cancel }
      this.#waiters.add(waiter)
    })
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#generation++
    this.#cancelRetry()
    for (const waiter of this.#waiters) {
      waiter.cancel()
      waiter.reject(closedError())
    }
    this.#waiters.clear()
    await this.#watch?.close()
  }

  async #start(): Promise<void> {
    const generation = ++this.#generation
    const isCurrent = () => generation === this.#generation
    const { revision, values } = await this.#store.list(ROOT_PREFIX)
    if (!isCurrent()) return
    this.#tell(this.#image.resync(revision, values))
    const watch = await this.#store.watch(
      ROOT_PREFIX,
      revision,
      (events) => void (isCurrent() && this.#tell(this.#image.advance(events))),
      () => void (isCurrent() && this.#resync('events were lost')),
    )
    if (isCurrent()) this.#watch = watch
    else await watch.close()
  }

  #tell(changes: readonly ImageChange[]): void {
    this.#tellUnreadable()
    if (changes.length > 0) this.#onChanges(changes, this.#image)
    for (const waiter of this.#waiters) {
      if (waiter.revision > this.revision) continue
      this.#waiters.delete(waiter)
      waiter.cancel()
      waiter.resolve()
    }
  }

  #tellUnreadable(): void {
    const { unreadable } = this.#image
    const found: UnreadableKey[] = []
    const mended: string[] = []
    for (const key of this.#image.takeUnreadableChanges()) {
      const now = unreadable.get(key)
      if (now === undefined) {
        if (this.#toldUnreadable.delete(key)) mended.push(key)
      } else if (this.#toldUnreadable.get(key) !== now.revision) {
        this.#toldUnreadable.set(key, now.revision)
        found.push(now)
      }
    }
    if (found.length + mended.length > 0) this.#options.onUnreadable?.(found, mended)
  }

  #resync(reason: string): void {
    if (this.#isClosed) return
    this.#options.onResync?.(reason)
    const old = this.#watch
    this.#watch = undefined
    this.#generation++
    old?.close().catch(() => {})
    this.#start().catch((error: unknown) => this.#retry(String(error)))
  }

  #retry(reason: string): void {
    if (this.#isClosed) return
    this.#cancelRetry()
    this.#cancelRetry = this.#options.timers.after(RETRY_MS, () => this.#resync(reason))
  }
}

function closedError(): MillraceError {
  return new MillraceError('CLOSED', 'the watch of the metadata store is closed')
}
