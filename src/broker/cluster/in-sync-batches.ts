/**
 * InSyncBatches: changes of in-sync sets written many in one transaction: a broker that comes back joins a thousand sets, and a transaction
 * for each would keep the store and every broker's watch busy for longer than the next lag lasts.
 *
 * Thread      main
 * Invariants  IB1 a change is written only over the version it was made from, whatever else is in its transaction
 *             IB2 one that was overtaken holds back none of the others: they are then written one by one
 * Ordering    what comes while a transaction is under way makes the next one, so a change that is alone does not wait
 * Limits      STORE_OPERATIONS_MAX changes a transaction, one transaction under way; of one partition one change in it
 * Failure     no definite answer: rejects for each of them; asked for again, each says what became of it (applyInSyncChange)
 */
import { applyInSyncChange, type InSyncOutcome } from '../../coordination/controller/in-sync-changes.ts'
import { encodeState, type PartitionState, partitionKey } from '../../coordination/keys.ts'
import { type MetadataStore, STORE_OPERATIONS_MAX } from '../../coordination/metadata-store.ts'
import type { TopicId } from '../../model/ids.ts'

export interface InSyncChange {
  readonly topicId: TopicId
  readonly partition: number
  /** Of the state that it was made from. */
  readonly version: number
  readonly next: PartitionState
}

interface Due {
  readonly change: InSyncChange
  readonly key: string
  readonly resolve: (outcome: InSyncOutcome | Promise<InSyncOutcome>) => void
  readonly reject: (error: unknown) => void
}

export class InSyncBatches {
  readonly #store: MetadataStore
  readonly #due: Due[] = []
  #isWriting = false

  constructor(store: MetadataStore) {
    this.#store = store
  }

  /** As applyInSyncChange does. */
  apply(change: InSyncChange): Promise<InSyncOutcome> {
    return new Promise((resolve, reject) => {
      this.#due.push({ change, key: partitionKey(change.topicId, change.partition), resolve, reject })
      if (!this.#isWriting) void this.#writeAll()
    })
  }

  async #writeAll(): Promise<void> {
    this.#isWriting = true
    // What is asked for in the same turn comes along.
    await Promise.resolve()
    while (this.#due.length > 0) await this.#write(this.#take())
    this.#isWriting = false
  }

  /** The oldest ones, no two of a partition. */
  #take(): Due[] {
    const keys = new Set<string>()
    const batch: Due[] = []
    const left: Due[] = []
    for (const due of this.#due.splice(0)) {
      const isTaken = batch.length < STORE_OPERATIONS_MAX && !keys.has(due.key)
      ;(isTaken ? batch : left).push(due)
      keys.add(due.key)
    }
    this.#due.push(...left)
    return batch
  }

  /** Never rejects. */
  async #write(batch: readonly Due[]): Promise<void> {
    try {
      const isWhole = batch.length > 1 ? await this.#writeTogether(batch) : false
      if (!isWhole) await Promise.all(batch.map((due) => this.#writeAlone(due)))
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }

  /** False: one of them at least has another version. */
  async #writeTogether(batch: readonly Due[]): Promise<boolean> {
    const { applied, revision } = await this.#store.transact(
      batch.map(({ key, change }) => ({ kind: 'revision', key, modRevision: change.version })),
      batch.map(({ key, change }) => ({ kind: 'put', key, value: encodeState(change.next) })),
    )
    if (applied) for (const { resolve } of batch) resolve({ applied, version: revision })
    return applied
  }

  async #writeAlone({ change, resolve, reject }: Due): Promise<void> {
    const { topicId, partition, version, next } = change
    await applyInSyncChange(this.#store, topicId, partition, version, next).then(resolve, reject)
  }
}
