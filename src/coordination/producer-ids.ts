/**
 * ProducerIds: gives out producer ids that nobody has had, from blocks taken from the store.
 *
 * Invariants  PI1 a block is in the store before its first id is given: a crash wastes ids, it never repeats one
 * Limits      PRODUCER_ID_BLOCK ids per store transaction
 * Failure     COORDINATOR_NOT_AVAILABLE: lost races, or the store does not answer, and a block that it gave unheard is wasted; who asks may ask again
 */
import { isMillraceError, MillraceError } from '../model/errors.ts'
import { unchanged } from './cluster-identity.ts'
import { decodeState, encodeState, PRODUCER_IDS_KEY, type ProducerIdState } from './keys.ts'
import { isOutcomeUnknown, type MetadataStore } from './metadata-store.ts'

export const PRODUCER_ID_BLOCK = 1_000
/** Other brokers take blocks too: a lost race is tried again so often. */
const ATTEMPTS_MAX = 20

export class ProducerIds {
  readonly #store: MetadataStore
  #next = 0
  #end = 0
  #taking: Promise<void> | undefined

  constructor(store: MetadataStore) {
    this.#store = store
  }

  async next(): Promise<number> {
    while (this.#next === this.#end) {
      this.#taking ??= this.#takeBlock()
        .catch(throwUnavailable)
        .finally(() => {
          this.#taking = undefined
        })
      await this.#taking
    }
    return this.#next++
  }

  async #takeBlock(): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const stored = await this.#store.get(PRODUCER_IDS_KEY)
      const first = stored === undefined ? 0 : decodeState<ProducerIdState>(PRODUCER_IDS_KEY, stored.value).next
      const state: ProducerIdState = { next: first + PRODUCER_ID_BLOCK }
      const put = { kind: 'put', key: PRODUCER_IDS_KEY, value: encodeState(state) } as const
      const { applied } = await this.#store.transact([unchanged(PRODUCER_IDS_KEY, stored)], [put])
      if (!applied) continue
      this.#next = first
      this.#end = state.next
      return
    }
    throw new MillraceError('COORDINATOR_NOT_AVAILABLE', `no block of producer ids after ${ATTEMPTS_MAX} attempts`)
  }
}

/** The store does not answer: that passes, and a block that it gave unheard is wasted. */
function throwUnavailable(error: unknown): never {
  if (isOutcomeUnknown(error) || (isMillraceError(error) && error.code === 'BROKER_NOT_AVAILABLE'))
    throw new MillraceError('COORDINATOR_NOT_AVAILABLE', `no block of producer ids: ${error.message}`, { cause: error })
  throw error
}
