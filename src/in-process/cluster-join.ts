/**
 * How a broker becomes one of a cluster: what must be known of the metadata store before its data dir is opened, recovered and served.
 *
 * Ordering  the cluster's id (made by the first broker) -> data dir, which must be of this cluster -> incarnation, when no run of this node is
 *           registered any more -> secret -> the replicas that lie here, which are to be recovered
 * Failure   DataDirError of another cluster's data dir; DUPLICATE_BROKER_REGISTRATION while another broker has the node id
 */
import type { ClusterOptions } from '../broker/cluster/cluster-agent.ts'
import type { KnownPartition, OpenedDataDir, StorageTasks } from '../broker/storage-tasks.ts'
import type { BrokerConfig } from '../config/index.ts'
import { beginIncarnation, type ClusterIdentity, clusterIdOf } from '../coordination/cluster-identity.ts'
import { ClusterImage } from '../coordination/cluster-image.ts'
import { clusterSecretOf } from '../coordination/cluster-secret.ts'
import { PARTITIONS_PREFIX, ROOT_PREFIX } from '../coordination/keys.ts'
import type { MetadataStore, StoredValue } from '../coordination/metadata-store.ts'
import type { Timers } from '../coordination/timers.ts'
import { partitionFolder, type TopicId } from '../model/ids.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Transport } from '../transport/transport.ts'

/** A lease that its broker did not give back is gone after so many of its times: etcd may see it later than it began. */
const LEASES_MAX = 2

export interface ClusterJoin {
  readonly store: MetadataStore
  /** How other brokers are reached. */
  readonly transport: Transport
  /** Another process has this node id: this one must end. */
  readonly onOver: (reason: string) => void
}

export interface JoinContext {
  readonly storage: StorageTasks
  readonly path: string
  readonly config: BrokerConfig
  readonly timers: Timers
  /** Unique ids of 32 hex digits. */
  readonly newId: () => string
  readonly logger: Logger
}

export interface JoinedCluster {
  readonly dataDir: OpenedDataDir
  readonly identity: ClusterIdentity
  /** Replicas that lie here. */
  readonly known: readonly KnownPartition[]
  readonly options: ClusterOptions
}

/** `onOpened` is told as soon as there is a data dir to close. */
export async function joinCluster(
  { store, transport, onOver }: ClusterJoin,
  { storage, path, config, timers, newId, logger }: JoinContext,
  onOpened: (dataDir: OpenedDataDir) => void,
): Promise<JoinedCluster> {
  const { nodeId } = config
  const clusterId = await clusterIdOf(store, newId)
  const dataDir = await storage.open({
    ...{ path, nodeId, clusterId, newClusterId: clusterId, newDirectoryId: newId() },
  })
  onOpened(dataDir)
  const { directoryId, incarnation } = dataDir
  const isClean = dataDir.previousRun === 'clean'
  const registrationWaitMs = LEASES_MAX * config.cluster.leaseTtlMs
  const identity = await beginIncarnation(store, {
    ...{ nodeId, newId, atLeast: incarnation },
    cluster: { directoryId, isClean, timers, registrationWaitMs, onWait: (text) => logger.info(text) },
  })
  const secret = config.cluster.secret || (await clusterSecretOf(store, newId))
  const { revision, values } = await store.list(ROOT_PREFIX)
  const known = replicasOn(ClusterImage.of(revision, values), values, nodeId)
  const setAside: ClusterOptions['setAside'] = (topicId, partition) =>
    storage.setAside(dataDir, partitionFolder(topicId, partition))
  return { dataDir, identity, known, options: { transport, secret, directoryId, isClean, setAside, onOver } }
}

/**
 * Replicas that lie here or may: a folder whose topic or partition cannot be read now, or whose key is missing, is not one that nobody knows, to
 * be set aside. When the key is back its partition counts on what lies there.
 */
function replicasOn(image: ClusterImage, values: readonly StoredValue[], nodeId: number): KnownPartition[] {
  const known: KnownPartition[] = []
  for (const { topicId, partitions } of image.topics.values())
    for (const [partition, { replicas }] of partitions.entries())
      if (replicas.includes(nodeId)) known.push({ topicId, partition })
  if (image.unreadable.size === 0) return known
  for (const { topicId, state } of image.hiddenTopics())
    for (let partition = 0; partition < state.partitions; partition++) known.push({ topicId, partition })
  for (const { key } of values) {
    if (!key.startsWith(PARTITIONS_PREFIX)) continue
    const [id = '', number = ''] = key.slice(PARTITIONS_PREFIX.length).split('/')
    const topicId = id as TopicId
    if (image.topicById(topicId) === undefined) known.push({ topicId, partition: Number(number) })
  }
  return known
}
