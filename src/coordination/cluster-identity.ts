/**
 * Who this broker is: the cluster's id, made once, this start's incarnation, one more than the last start's, and, in a cluster, its
 * registration.
 *
 * Invariants  CD1 no two starts of a node have the same incarnation
 *             CD2 while a broker is registered its node's incarnation is the one it registered: a start of the same node id waits until the
 *             registration is gone, and only the newest start can register
 *             CD3 NodeState says of every earlier incarnation whether its data dir is this one, and whether a run since ended out of order
 * Ordering    registration gone -> incarnation counted -> registered under a lease
 * Failure     DUPLICATE_BROKER_REGISTRATION: another broker with the node id lives. STALE_BROKER_EPOCH: another start came in between
 */
import { MillraceError } from '../model/errors.ts'
import type { Incarnation } from '../model/ids.ts'
import {
  type BrokerState,
  brokerKey,
  CLUSTER_KEY,
  type ClusterState,
  decodeState,
  encodeState,
  type NodeState,
  nodeKey,
} from './keys.ts'
import type { MetadataStore, StoreCondition, StoredValue, StoreLease } from './metadata-store.ts'
import type { Timers } from './timers.ts'

/** How often a start looks whether the last run's registration is gone. */
const LOOK_MS = 250
/** A decommission may change the node's key while a broker registers: so often it looks again. */
const ATTEMPTS_MAX = 10

export interface ClusterIdentity {
  readonly clusterId: string
  readonly nodeId: number
  readonly incarnation: Incarnation
}

export interface IncarnationOptions {
  readonly nodeId: number
  /** Makes the cluster id where the store is new. */
  readonly newId: () => string
  /** What the data dir counts: the incarnation is not below it. */
  readonly atLeast?: Incarnation
  /** In a cluster. */
  readonly cluster?: ClusterStart
}

export interface ClusterStart {
  /** Of the data dir: made with it, never copied. */
  readonly directoryId: string
  /**
   * The last run on this data dir ended in order. A run that is stopped before it has begun an incarnation must leave the data dir as it found
   * it: were it to call its end orderly, an earlier end that was not would never be told.
   */
  readonly isClean: boolean
  readonly timers: Timers
  /** The time within which the last run's registration is gone by itself: its lease's. */
  readonly registrationWaitMs: number
  /** Told once, when a registration is waited for. */
  readonly onWait?: (text: string) => void
}

/** Begins a new incarnation of the node, durably. */
export async function beginIncarnation(store: MetadataStore, options: IncarnationOptions): Promise<ClusterIdentity> {
  const { nodeId, newId, cluster } = options
  const clusterId = await clusterIdOf(store, newId)
  if (cluster !== undefined) await registrationGone(store, nodeId, cluster)
  const key = nodeKey(nodeId)
  const stored = await store.get(key)
  const state = nextNodeState(stored && decodeState<NodeState>(key, stored.value), options)
  const conditions: StoreCondition[] = [unchanged(key, stored)]
  if (cluster !== undefined) conditions.push({ kind: 'absent', key: brokerKey(nodeId) })
  const { applied } = await store.transact(conditions, [{ kind: 'put', key, value: encodeState(state) }])
  if (!applied) throw new MillraceError('STALE_BROKER_EPOCH', `another broker with node id ${nodeId} started just now`)
  return { clusterId, nodeId, incarnation: state.incarnation }
}

/** The node's state at its next start. */
export function nextNodeState(last: NodeState | undefined, options: IncarnationOptions): NodeState {
  const { atLeast = 1, cluster } = options
  const incarnation = Math.max((last?.incarnation ?? 0) + 1, atLeast) as Incarnation
  if (cluster === undefined) return { incarnation }
  const { directoryId, isClean } = cluster
  const isSame = last?.directoryId === directoryId
  return {
    incarnation,
    directoryId,
    directorySince: (isSame ? last.directorySince : undefined) ?? incarnation,
    cleanSince: (isSame && isClean ? last.cleanSince : undefined) ?? incarnation,
    ...(last?.isDecommissioned === true ? { isDecommissioned: true } : {}),
  }
}

/** Waits until nobody is registered under the node id: the last run's lease ends by itself, a living broker's does not. */
async function registrationGone(store: MetadataStore, nodeId: number, cluster: ClusterStart): Promise<void> {
  const { timers, registrationWaitMs } = cluster
  const key = brokerKey(nodeId)
  for (let waitedMs = 0; ; waitedMs += LOOK_MS) {
    const stored = await store.get(key)
    if (stored === undefined) return
    if (waitedMs === 0)
      cluster.onWait?.(`node id ${nodeId} is registered: waits up to ${registrationWaitMs} ms until that has ended`)
    if (waitedMs >= registrationWaitMs) {
      const { url } = decodeState<BrokerState>(key, stored.value)
      throw new MillraceError(
        'DUPLICATE_BROKER_REGISTRATION',
        `a broker with node id ${nodeId} lives at ${url}: stop it, or give this one another node id`,
      )
    }
    await new Promise<void>((resolve) => void timers.after(LOOK_MS, resolve))
  }
}

/**
 * Registers a broker under its lease, or changes what it registered; answers the revision. It may come again: with a new lease when
 * the last one was lost, as long as no later start of the node has begun.
 */
export async function registerBroker(
  store: MetadataStore,
  lease: StoreLease,
  nodeId: number,
  state: Omit<BrokerState, 'leaseId'>,
): Promise<number> {
  const { leaseId } = lease
  const key = brokerKey(nodeId)
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const [node, registered] = await Promise.all([store.get(nodeKey(nodeId)), store.get(key)])
    const incarnation = node && decodeState<NodeState>(nodeKey(nodeId), node.value).incarnation
    if (incarnation !== state.incarnation) {
      const text = `node id ${nodeId} started again elsewhere as incarnation ${incarnation}: this one, ${state.incarnation}, is over`
      throw new MillraceError('STALE_BROKER_EPOCH', text)
    }
    const { applied, revision } = await store.transact(
      [unchanged(nodeKey(nodeId), node), unchanged(key, registered)],
      [{ kind: 'put', key, value: encodeState({ ...state, leaseId }), leaseId }],
    )
    if (applied) return revision
  }
  throw new MillraceError('BROKER_NOT_AVAILABLE', `node ${nodeId} could not register in ${ATTEMPTS_MAX} attempts`)
}

/** The condition that a key is as it was read. */
export function unchanged(key: string, stored: StoredValue | undefined): StoreCondition {
  return stored === undefined ? { kind: 'absent', key } : { kind: 'revision', key, modRevision: stored.modRevision }
}

/** The cluster's id; made by whoever asks first. */
export async function clusterIdOf(store: MetadataStore, newId: () => string): Promise<string> {
  const made: ClusterState = { clusterId: newId() }
  await store.transact(
    [{ kind: 'absent', key: CLUSTER_KEY }],
    [{ kind: 'put', key: CLUSTER_KEY, value: encodeState(made) }],
  )
  const stored = await store.get(CLUSTER_KEY)
  if (stored === undefined) throw new MillraceError('BROKER_NOT_AVAILABLE', 'the metadata store lost the cluster id')
  return decodeState<ClusterState>(CLUSTER_KEY, stored.value).clusterId
}
