/**
 * Draining: how a topic gets fewer partitions (T5): those from `drainFrom` on take no new records, stay readable, and go, the last one
 * first, when retention has emptied them.
 *
 * Invariants  DR1 a partition goes only when it drains, is empty, and no partition comes after it: numbers stay dense
 *             DR2 what drains takes no records, so what was empty once is empty until draining ends
 * Failure     MillraceError with the row that the client gets
 */
import { MillraceError } from '../model/errors.ts'
import type { TopicState } from './keys.ts'
import type { MetadataStore, StoreCondition } from './metadata-store.ts'
import { putTopicState, removePartitionKeys, type TopicRecord } from './topics.ts'

export interface DrainContext {
  readonly store: MetadataStore
  /** Hold with every write. None alone. */
  readonly fence?: readonly StoreCondition[]
}

/** The topic's state when it drains down to `total` partitions; with as many as it has draining ends. */
export function decideDrain(topic: TopicRecord, total: number): TopicState {
  const { drainFrom, ...state } = topic.state
  const { name, partitions } = state
  if (total === partitions && drainFrom !== undefined) return state
  if (total >= 1 && total < partitions) return { ...state, drainFrom: total }
  const end = drainFrom === undefined ? '' : `, or ${partitions} to end draining`
  const rule = partitions === 1 ? 'one is the least' : `keep 1 to ${partitions - 1}${end}, not ${total}`
  throw new MillraceError('INVALID_PARTITIONS', `${name} has ${partitions} partitions: ${rule}`)
}

/** Refuses what a topic that drains cannot have. */
export function checkNotDraining({ state: { name, partitions, drainFrom } }: TopicRecord): void {
  if (drainFrom === undefined) return
  const text = `${name} drains its partitions from ${drainFrom} on: end that first (drain, with ${partitions} partitions)`
  throw new MillraceError('INVALID_PARTITIONS', text)
}

/** Takes away the last partitions that drain and that `isEmpty` knows to be empty; undefined = none can go. */
export async function removeEmptied(
  topic: TopicRecord,
  isEmpty: (partition: number) => boolean,
  { store, fence = [] }: DrainContext,
): Promise<TopicRecord | undefined> {
  const { drainFrom, partitions: before, ...state } = topic.state
  if (drainFrom === undefined) return undefined
  let partitions = before
  while (partitions > drainFrom && isEmpty(partitions - 1)) partitions--
  if (partitions === before) return undefined
  const next: TopicState = { ...state, partitions, ...(partitions > drainFrom ? { drainFrom } : {}) }
  // As it is now: the image may have followed the change before the keys are removed.
  const lost = { ...topic, partitionVersions: [...topic.partitionVersions] }
  const changed = await putTopicState(topic, next, { store, fence })
  await removePartitionKeys(lost, partitions, { store, fence })
  return {
    ...changed,
    partitions: topic.partitions.slice(0, partitions),
    partitionVersions: topic.partitionVersions.slice(0, partitions),
  }
}
