/** Who this broker is: the cluster's id, made once, and this start's incarnation, one more than the last start's. */
import { MillraceError } from '../model/errors.ts'
import type { Incarnation } from '../model/ids.ts'
import { CLUSTER_KEY, type ClusterState, decodeState, encodeState, type NodeState, nodeKey } from './keys.ts'
import type { MetadataStore, StoreCondition } from './metadata-store.ts'

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
}

/** Begins a new incarnation of the node, durably. */
export async function beginIncarnation(store: MetadataStore, options: IncarnationOptions): Promise<ClusterIdentity> {
  const { nodeId, newId, atLeast = 1 } = options
  const clusterId = await clusterIdOf(store, newId)
  const key = nodeKey(nodeId)
  const stored = await store.get(key)
  const last = stored === undefined ? 0 : decodeState<NodeState>(key, stored.value).incarnation
  const incarnation = Math.max(last + 1, atLeast) as Incarnation
  const unchanged: StoreCondition =
    stored === undefined ? { kind: 'absent', key } : { kind: 'revision', key, modRevision: stored.modRevision }
  const state: NodeState = { incarnation }
  const { applied } = await store.transact([unchanged], [{ kind: 'put', key, value: encodeState(state) }])
  if (!applied) throw new MillraceError('STALE_BROKER_EPOCH', `another broker with node id ${nodeId} started just now`)
  return { clusterId, nodeId, incarnation }
}

async function clusterIdOf(store: MetadataStore, newId: () => string): Promise<string> {
  const made: ClusterState = { clusterId: newId() }
  await store.transact(
    [{ kind: 'absent', key: CLUSTER_KEY }],
    [{ kind: 'put', key: CLUSTER_KEY, value: encodeState(made) }],
  )
  const stored = await store.get(CLUSTER_KEY)
  if (stored === undefined) throw new MillraceError('BROKER_NOT_AVAILABLE', 'the metadata store lost the cluster id')
  return decodeState<ClusterState>(CLUSTER_KEY, stored.value).clusterId
}
