/**
 * Partition writer: puts decided partition states into the store, many in one transaction, each under its own revision and all under
 * the controller's key.
 *
 * Invariants  PW1 a state is written only over the version that it was decided from, by the controller of that key only
 *             PW2 one partition that has changed meanwhile holds back none of its batch: they are tried one by one
 *             PW3 when it answers or rejects nothing of it is under way, and nothing more will be written: whoever asks then whether
 *             anything was written is told for good
 * Limits      PARTITIONS_PER_BATCH partitions in a transaction, BATCHES_IN_FLIGHT_MAX transactions at a time
 * Failure     NOT_CONTROLLER when the key is another's; what the store rejects with otherwise: it is then not known what was written, and
 *             the image will tell: deciding and writing again is safe, for each write asks for its version
 */
import { MillraceError } from '../../model/errors.ts'
import { encodeState, type PartitionState, partitionKey } from '../keys.ts'
import { type MetadataStore, STORE_OPERATIONS_MAX, type StoreCondition } from '../metadata-store.ts'
import type { TopicRecord } from '../topics.ts'

/** One condition of a transaction is the controller's key. */
const PARTITIONS_PER_BATCH = STORE_OPERATIONS_MAX - 1
const BATCHES_IN_FLIGHT_MAX = 4

export interface PartitionWrite {
  readonly topic: TopicRecord
  readonly partition: number
  /** Of the state that it was decided from. */
  readonly version: number
  readonly next: PartitionState
}

export interface WriteOutcome<Write extends PartitionWrite> {
  readonly applied: readonly Write[]
  /** Their partitions have other versions by now. */
  readonly overtaken: readonly Write[]
  /** The image knows all of it once it is at this revision. */
  readonly revision: number
}

export async function writePartitionStates<Write extends PartitionWrite>(
  store: MetadataStore,
  fence: StoreCondition,
  writes: readonly Write[],
): Promise<WriteOutcome<Write>> {
  const batches: Write[][] = []
  for (let from = 0; from < writes.length; from += PARTITIONS_PER_BATCH)
    batches.push(writes.slice(from, from + PARTITIONS_PER_BATCH))
  const applied: Write[] = []
  const overtaken: Write[] = []
  let newest = 0
  let next = 0
  const work = async (): Promise<void> => {
    while (next < batches.length) {
      const outcome = await writeBatch(store, fence, batches[next++]!).catch((error: unknown) => {
        next = batches.length
        throw error
      })
      applied.push(...outcome.applied)
      overtaken.push(...outcome.overtaken)
      newest = Math.max(newest, outcome.revision)
    }
  }
  await allEnded(Array.from({ length: BATCHES_IN_FLIGHT_MAX }, work))
  return { applied, overtaken, revision: newest }
}

async function writeBatch<Write extends PartitionWrite>(
  store: MetadataStore,
  fence: StoreCondition,
  batch: readonly Write[],
): Promise<WriteOutcome<Write>> {
  const { applied, revision } = await store.transact(
    [
      fence,
      ...batch.map(({ topic, partition, version }): StoreCondition => {
        return { kind: 'revision', key: partitionKey(topic.topicId, partition), modRevision: version }
      }),
    ],
    batch.map(({ topic, partition, next }) => {
      return { kind: 'put', key: partitionKey(topic.topicId, partition), value: encodeState(next) }
    }),
  )
  if (applied) return { applied: batch, overtaken: [], revision }
  await checkFence(store, fence)
  if (batch.length === 1) return { applied: [], overtaken: batch, revision }
  const outcomes = await allEnded(batch.map((write) => writeBatch(store, fence, [write])))
  return {
    applied: outcomes.flatMap((outcome) => outcome.applied),
    overtaken: outcomes.flatMap((outcome) => outcome.overtaken),
    revision: Math.max(...outcomes.map((outcome) => outcome.revision)),
  }
}

/** Rejects with one of the failures, once all have ended. */
async function allEnded<T>(works: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(works)
  return Promise.all(works)
}

/** Answers the store's revision; rejects with NOT_CONTROLLER when the key is not the one that `fence` names. */
export async function checkFence(store: MetadataStore, fence: StoreCondition): Promise<number> {
  const { applied, revision } = await store.transact([fence], [])
  if (!applied) throw notController()
  return revision
}

export function notController(): MillraceError {
  return new MillraceError('NOT_CONTROLLER', 'this broker is not the controller')
}
