/**
 * Controller election: one broker holds the controller's key, under its own lease, and has counted the controller epoch with it.
 *
 * Invariants  CE1 a term is a revision of the controller's key: every write of the term asks for it, so two terms never both take effect
 *             CE2 the epoch grows by one with each key that is written: in the same transaction
 *             CE3 a term ends when its lease is lost, when the image shows another key or none, when a write found it gone, and does not come
 *             back; while its lease may have expired by this broker's own clock it rests
 * Ordering    key and epoch written -> the image has that revision -> the term begins: so it begins with all that earlier terms wrote
 * Failure     a campaign with unknown outcome is tried again after RETRY_MS, and may take effect late: a key of this incarnation in the image is
 *             its own
 */
import type { Clock } from '../../base/clock.ts'
import { unchanged } from '../cluster-identity.ts'
import type { ClusterImage } from '../cluster-image.ts'
import {
  CONTROLLER_EPOCH_KEY,
  CONTROLLER_KEY,
  type ControllerEpochState,
  type ControllerState,
  decodeState,
  encodeState,
  type Replica,
} from '../keys.ts'
import type { MetadataStore, StoreCondition, StoreLease } from '../metadata-store.ts'
import type { Timers } from '../timers.ts'

const RETRY_MS = 500

export interface ControllerTerm {
  readonly controllerEpoch: number
  /** The condition of every write. */
  readonly fence: StoreCondition & { readonly kind: 'revision' }
}

export interface ControllerElectionOptions {
  readonly store: MetadataStore
  readonly self: Replica
  readonly clock: Clock
  readonly timers: Timers
  readonly onElected: (term: ControllerTerm) => void
  readonly onEnded: (reason: string) => void
}

export class ControllerElection {
  readonly #options: ControllerElectionOptions
  #lease: StoreLease | undefined
  #image: ClusterImage | undefined
  /** Won; the image does not show it yet. */
  #won: ControllerTerm | undefined
  #term: ControllerTerm | undefined
  /** Keys up to this revision were this broker's and are not to be believed in again. */
  #endedRevision = 0
  #isCampaigning = false
  #isClosed = false
  #cancelRetry: () => void = () => {}

  constructor(options: ControllerElectionOptions) {
    this.#options = options
  }

  /** The term that is on; undefined when this broker does not control or may not act on its lease any more. */
  get term(): ControllerTerm | undefined {
    if (this.#term === undefined || this.#lease === undefined) return undefined
    return this.#options.clock.monotonicMs() < this.#lease.deadlineMs() ? this.#term : undefined
  }

  /** The broker is registered under this lease: it is ready to control under it, until it loses it. */
  campaign(lease: StoreLease): void {
    this.end('another lease')
    this.#lease = lease
    lease.onLost(() => {
      if (this.#lease !== lease) return
      this.#lease = undefined
      this.end('its lease is lost')
    })
    this.#run()
  }

  /** The image has changed. */
  look(image: ClusterImage): void {
    this.#image = image
    this.#adopt(image)
    const current = this.#won ?? this.#term
    if (current !== undefined) {
      if (image.revision < current.fence.modRevision) return
      if (image.controller?.modRevision !== current.fence.modRevision) this.end('another key')
      else this.#begin()
    }
    this.#run()
  }

  /** Whatever was won is over; a new campaign begins when the key is free. */
  end(reason: string): void {
    const hadBegun = this.#term !== undefined
    this.#endedRevision = Math.max(this.#endedRevision, (this.#term ?? this.#won)?.fence.modRevision ?? 0)
    this.#term = undefined
    this.#won = undefined
    if (hadBegun) this.#options.onEnded(reason)
  }

  /** Gives the key up, so that another broker need not wait for the lease. */
  async resign(): Promise<void> {
    const fence = (this.#term ?? this.#won)?.fence
    this.#isClosed = true
    this.#cancelRetry()
    this.end('it resigned')
    if (fence === undefined) return
    // A lease that ends does the same later.
    await this.#options.store.transact([fence], [{ kind: 'delete', key: CONTROLLER_KEY }]).catch(() => {})
  }

  /** A campaign whose answer was lost has won. */
  #adopt({ controller }: ClusterImage): void {
    if (controller === undefined || this.#lease === undefined || this.#isClosed) return
    const { state, modRevision } = controller
    const { nodeId, incarnation } = this.#options.self
    if (state.nodeId !== nodeId || state.incarnation !== incarnation || modRevision <= this.#endedRevision) return
    if (this.#won === undefined && this.#term === undefined) this.#won = termOf(state.controllerEpoch, modRevision)
  }

  #begin(): void {
    if (this.#won === undefined) return
    this.#term = this.#won
    this.#won = undefined
    this.#options.onElected(this.#term)
  }

  #run(): void {
    const isFree = this.#image !== undefined && this.#image.controller === undefined
    const isTaken = this.#term !== undefined || this.#won !== undefined
    const lease = this.#lease
    if (this.#isClosed || this.#isCampaigning || isTaken || lease === undefined || !isFree) return
    this.#isCampaigning = true
    this.#attempt(lease)
      .catch(() => undefined)
      .then((term) => {
        this.#isCampaigning = false
        if (this.#isClosed) return
        if (term !== undefined && this.#lease === lease) this.#win(term)
        // Another one's key is not in the image yet, or the store could not be reached, or there is another lease.
        else this.#retry()
      })
  }

  /** The answer may come after the image has shown the key, or even its end. */
  #win(term: ControllerTerm): void {
    const isKnown = this.#term !== undefined || this.#won !== undefined
    if (isKnown || term.fence.modRevision <= this.#endedRevision) return
    this.#won = term
    if (this.#image !== undefined) this.look(this.#image)
  }

  #retry(): void {
    this.#cancelRetry()
    this.#cancelRetry = this.#options.timers.after(RETRY_MS, () => this.#run())
  }

  async #attempt({ leaseId }: StoreLease): Promise<ControllerTerm | undefined> {
    const { store, self } = this.#options
    const key = CONTROLLER_KEY
    const counted = await store.get(CONTROLLER_EPOCH_KEY)
    const last = counted && decodeState<ControllerEpochState>(CONTROLLER_EPOCH_KEY, counted.value).controllerEpoch
    const controllerEpoch = (last ?? 0) + 1
    const state: ControllerState = { ...self, controllerEpoch }
    const epochState: ControllerEpochState = { controllerEpoch }
    const { applied, revision } = await store.transact(
      [{ kind: 'absent', key }, unchanged(CONTROLLER_EPOCH_KEY, counted)],
      [
        { kind: 'put', key, value: encodeState(state), leaseId },
        { kind: 'put', key: CONTROLLER_EPOCH_KEY, value: encodeState(epochState) },
      ],
    )
    return applied ? termOf(controllerEpoch, revision) : undefined
  }
}

function termOf(controllerEpoch: number, modRevision: number): ControllerTerm {
  return { controllerEpoch, fence: { kind: 'revision', key: CONTROLLER_KEY, modRevision } }
}
