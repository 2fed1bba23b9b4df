/**
 * In-sync changes: how the in-sync set of a partition changes and what that makes of its eligible leaders (KIP-966); pure, but for
 * applyInSyncChange, which writes one under compare-and-set.
 *
 * Invariants  IS1 the in-sync set is never empty, and names each node once
 *             IS2 eligible leaders are there only while the in-sync set is smaller than min.insync.replicas: the high watermark stands
 *             then, so whoever was in sync when it became so small still holds all that is below it
 *             IS3 nobody is in both
 * Failure     a write with unknown outcome is written again: under its condition it takes effect once
 */
import { assert } from '../../base/assert.ts'
import { isMillraceError } from '../../model/errors.ts'
import type { TopicId } from '../../model/ids.ts'
import { decodePartitionState, encodeState, type PartitionState, partitionKey, type Replica } from '../keys.ts'
import type { MetadataStore, StoredValue } from '../metadata-store.ts'

/** Of a write without an answer. */
const ATTEMPTS_MAX = 3

/** The state with `wanted` as its in-sync set. `minInsync` is the topic's min.insync.replicas. */
export function withInSync(state: PartitionState, wanted: readonly Replica[], minInsync: number): PartitionState {
  assert(wanted.length > 0, 'an in-sync set is never empty')
  const inSyncReplicas = sortedLike(state.replicas, wanted)
  assert(inSyncReplicas.length === wanted.length, 'an in-sync set names replicas, each once')
  if (!isBelowMin(state, wanted.length, minInsync)) return { ...state, inSyncReplicas, eligibleLeaders: [] }
  const left = state.inSyncReplicas.filter((replica) => !hasNode(wanted, replica.nodeId))
  const stay = state.eligibleLeaders.filter((replica) => !hasNode(wanted, replica.nodeId))
  const eligible = [...left, ...stay.filter((replica) => !hasNode(left, replica.nodeId))]
  return { ...state, inSyncReplicas, eligibleLeaders: sortedLike(state.replicas, eligible) }
}

/**
 * Whether an in-sync set of this size holds the high watermark up. A topic that asks for more than it has replicas is held to all of
 * those it is to have: fewer eligible leaders than might be, never one that is none.
 */
export function isBelowMin(state: PartitionState, size: number, minInsync: number): boolean {
  return size < Math.min(minInsync, state.replicas.length - state.adding.length)
}

export function hasNode(replicas: readonly Replica[], nodeId: number): boolean {
  return replicas.some((replica) => replica.nodeId === nodeId)
}

/** In the order of the replicas; what is not one of them is left out. */
export function sortedLike(order: readonly number[], replicas: readonly Replica[]): Replica[] {
  return order.flatMap((nodeId) => replicas.find((replica) => replica.nodeId === nodeId) ?? [])
}

function isSameReplicas(left: readonly Replica[], right: readonly Replica[]): boolean {
  return (
    left.length === right.length &&
    left.every(({ nodeId, incarnation }, index) => {
      const other = right[index]!
      return other.nodeId === nodeId && other.incarnation === incarnation
    })
  )
}

export function isSameState(left: PartitionState, right: PartitionState): boolean {
  return (
    left.leader === right.leader &&
    left.leaderEpoch === right.leaderEpoch &&
    left.leaderIncarnation === right.leaderIncarnation &&
    isSameReplicas(left.inSyncReplicas, right.inSyncReplicas) &&
    isSameReplicas(left.eligibleLeaders, right.eligibleLeaders) &&
    isSameNumbers(left.replicas, right.replicas) &&
    isSameNumbers(left.adding, right.adding) &&
    isSameNumbers(left.removing, right.removing)
  )
}

function isSameNumbers(left: readonly number[], right: readonly number[]): boolean {
  return left.length === right.length && left.every((value, index) => value === right[index])
}

export type InSyncOutcome =
  | { readonly applied: true; readonly version: number }
  /** The partition has another version: the image will show it. What was asked for may have been in force in between. */
  | { readonly applied: false }

/**
 * A leader's change: takes effect only if the partition's key is at `version` still, so not after anything that the controller did.
 * An answer is definite: that version is over, and no copy of the write that is still under way can take effect. Rejects when there was no
 * definite answer: then the larger of both sets counts, and the very same change is to be asked for again, until there is one or the image
 * shows another version.
 */
export async function applyInSyncChange(
  store: MetadataStore,
  topicId: TopicId,
  partition: number,
  version: number,
  next: PartitionState,
): Promise<InSyncOutcome> {
  const key = partitionKey(topicId, partition)
  const write = { kind: 'put', key, value: encodeState(next) } as const
  const condition = { kind: 'revision', key, modRevision: version } as const
  let failure: unknown
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    try {
      const { applied, revision } = await store.transact([condition], [write])
      if (applied) return { applied, version: revision }
      // Also without a failure here: an earlier call for the same change may have lost the answer of a write that took effect.
      return await readBack(store, key, next)
    } catch (error) {
      // To read whether it took effect would not do: it may yet. To write it again decides.
      failure = error
    }
  }
  throw failure
}

/** The version is over: by an earlier attempt, if the key says what was asked for. */
async function readBack(store: MetadataStore, key: string, next: PartitionState): Promise<InSyncOutcome> {
  const stored = await store.get(key)
  if (stored === undefined || !says(stored, next)) return { applied: false }
  return { applied: true, version: stored.modRevision }
}

/** A value that cannot be read is another one: what this release wrote it can read. */
function says({ key, value }: StoredValue, next: PartitionState): boolean {
  try {
    return isSameState(decodePartitionState(key, value), next)
  } catch (error) {
    if (!isMillraceError(error)) throw error
    return false
  }
}
