/**
 * Adoption: what the embedded store of a single broker says, written into the empty store of a cluster: the broker becomes its first one,
 * with all it has.
 *
 * Invariants  AD1 nothing is written where there is a cluster, and nothing once one came about
 *             AD2 the cluster's key comes last: without it the rest is no cluster, and a second attempt goes on where the first one ended
 *             AD3 a partition's last run is its only in-sync replica and its epoch is above all that run had: whoever leads next is the
 *             broker with the same data dir, under a higher epoch
 * Ordering    nodes, ids, users, topics' states and partitions -> names -> the cluster's key, STORE_OPERATIONS_MAX operations at a time
 * Failure     INVALID_REQUEST: a cluster is there, or keys that are not of this store. What an attempt that failed has written stays
 */
import { MillraceError } from '../model/errors.ts'
import type { Incarnation, LeaderEpoch } from '../model/ids.ts'
import {
  CLUSTER_KEY,
  type ClusterState,
  decodeState,
  encodeState,
  leaderEpochOf,
  NO_LEADER,
  NODES_PREFIX,
  type NodeState,
  nodeKey,
  type PartitionState,
  PRODUCER_IDS_KEY,
  partitionKey,
  ROOT_PREFIX,
  SASL_SECRET_KEY,
  topicIdKey,
  topicNameKey,
  USERS_PREFIX,
} from './keys.ts'
import { type MetadataStore, STORE_OPERATIONS_MAX, type StoreOperation } from './metadata-store.ts'
import { loadTopics, type TopicRecord } from './topics.ts'

export interface AdoptedBroker {
  readonly nodeId: number
  readonly clusterId: string
  /** Of its data dir, where it is told from any other by it. */
  readonly directoryId: string
}

export interface Adoption {
  readonly clusterId: string
  readonly nodeId: number
  readonly topics: number
  readonly partitions: number
  /** In the order of writing; the cluster's key is none of them. */
  readonly puts: readonly Put[]
  readonly last: Put
}

interface Put {
  readonly key: string
  readonly value: Uint8Array
}

/** What is to be written; reads `from`, and removes from it what a crash left of topics, as every start does. */
export async function planAdoption(from: MetadataStore, broker: AdoptedBroker): Promise<Adoption> {
  const { nodeId, directoryId } = broker
  const [cluster, node, producerIds, saslSecret, nodes, users] = await Promise.all([
    from.get(CLUSTER_KEY),
    from.get(nodeKey(nodeId)),
    from.get(PRODUCER_IDS_KEY),
    from.get(SASL_SECRET_KEY),
    from.list(NODES_PREFIX),
    from.list(USERS_PREFIX),
  ])
  if (cluster === undefined || node === undefined || nodes.values.length !== 1)
    throw new MillraceError('INVALID_REQUEST', `the data dir holds no metadata of broker ${nodeId} alone`)
  const { clusterId } = decodeState<ClusterState>(CLUSTER_KEY, cluster.value)
  if (clusterId !== broker.clusterId)
    throw new MillraceError(
      'INCONSISTENT_CLUSTER_ID',
      `its metadata is of cluster ${clusterId}, the data dir of ${broker.clusterId}`,
    )
  const { incarnation } = decodeState<NodeState>(nodeKey(nodeId), node.value)
  // Its last run is known to have ended in order or not by the data dir, as the next start finds it.
  const adopted: NodeState = { incarnation, directoryId, directorySince: incarnation, cleanSince: incarnation }
  const topics = await loadTopics(from)
  const names = topics.map(({ topicId, state }) => putOf(topicNameKey(state.name), { topicId }))
  const puts = [
    putOf(nodeKey(nodeId), adopted),
    ...[producerIds, saslSecret, ...users.values].flatMap((stored) =>
      stored === undefined ? [] : [{ key: stored.key, value: stored.value }],
    ),
    ...topics.flatMap((topic) => putsOf(topic, nodeId, incarnation)),
    ...names,
  ]
  const partitions = topics.reduce((sum, { state }) => sum + state.partitions, 0)
  return { clusterId, nodeId, topics: topics.length, partitions, puts, last: putOf(CLUSTER_KEY, { clusterId }) }
}

function putOf(key: string, state: object): Put {
  return { key, value: encodeState(state) }
}

function putsOf({ topicId, state, partitions }: TopicRecord, nodeId: number, incarnation: Incarnation): Put[] {
  return [
    putOf(topicIdKey(topicId), state),
    ...partitions.map((one, partition) =>
      putOf(partitionKey(topicId, partition), adoptedState(one, nodeId, incarnation)),
    ),
  ]
}

/** Alone, a start is an epoch of each partition without a write; in a cluster the epoch is what is stored. */
function adoptedState(state: PartitionState, nodeId: number, incarnation: Incarnation): PartitionState {
  return {
    leader: NO_LEADER,
    leaderEpoch: (leaderEpochOf(state, incarnation) + 1) as LeaderEpoch,
    leaderIncarnation: incarnation,
    replicas: [nodeId],
    inSyncReplicas: [{ nodeId, incarnation }],
    ...{ eligibleLeaders: [], adding: [], removing: [] },
  }
}

/** Writes what is planned; 'already' = this cluster is there. `dryRun` only looks whether it could be. */
export async function adopt(to: MetadataStore, plan: Adoption, dryRun = false): Promise<'adopted' | 'already'> {
  const { puts, last, clusterId } = plan
  if (await isThere(to, plan)) return 'already'
  if (dryRun) return 'adopted'
  const absent = { kind: 'absent', key: CLUSTER_KEY } as const
  const write = async (batch: readonly Put[]): Promise<void> => {
    const operations = batch.map(({ key, value }): StoreOperation => ({ kind: 'put', key, value }))
    if ((await to.transact([absent], operations)).applied) return
    throw new MillraceError(
      'INVALID_REQUEST',
      `a cluster came about while ${clusterId} was being adopted: start no broker before`,
    )
  }
  for (let from = 0; from < puts.length; from += STORE_OPERATIONS_MAX)
    await write(puts.slice(from, from + STORE_OPERATIONS_MAX))
  await write([last])
  return 'adopted'
}

/** Whether the cluster is adopted already; throws where something else is in the way. */
async function isThere(to: MetadataStore, { puts, clusterId }: Adoption): Promise<boolean> {
  const { values } = await to.list(ROOT_PREFIX)
  const cluster = values.find(({ key }) => key === CLUSTER_KEY)
  if (cluster !== undefined) {
    const there = decodeState<ClusterState>(CLUSTER_KEY, cluster.value).clusterId
    if (there === clusterId) return true
    throw new MillraceError('INVALID_REQUEST', `there is a cluster already, ${there}: an empty etcd is needed`)
  }
  // Of an earlier attempt all is of this store; it is written again.
  const own = new Set(puts.map(({ key }) => key))
  const foreign = values.find(({ key }) => !own.has(key))
  if (foreign === undefined) return false
  throw new MillraceError(
    'INVALID_REQUEST',
    `etcd is not empty: there is ${foreign.key}; remove what is below ${ROOT_PREFIX}`,
  )
}
