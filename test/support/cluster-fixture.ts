/** A cluster as the controller sees it, in a few words: brokers by node id, what became of them, partitions. */
import type { Versioned } from '../../src/coordination/cluster-image.ts'
import type { ClusterMembers } from '../../src/coordination/controller/membership.ts'
import type { BrokerState, NodeState, PartitionState, Replica } from '../../src/coordination/keys.ts'
import type { Incarnation, LeaderEpoch, TopicId } from '../../src/model/ids.ts'
import { TOPIC_CONFIG_DEFAULTS, type TopicConfig } from '../../src/model/topic-config.ts'

export const TOPIC = '1'.repeat(32) as TopicId

export interface BrokerWords {
  readonly incarnation?: number
  readonly rack?: string | null
  readonly isAlive?: boolean
  readonly isStopping?: boolean
  readonly isDecommissioned?: boolean
  /** Partition 0 of TOPIC. */
  readonly isDamaged?: boolean
  readonly isFailed?: boolean
  readonly isDiskLow?: boolean
  /** The leader epoch of partition 0 of TOPIC that it gives up. */
  readonly resigned?: number | undefined
  readonly directorySince?: number
  readonly cleanSince?: number
}

export function membersOf(brokers: Readonly<Record<number, BrokerWords>>): ClusterMembers {
  const lives = new Map<number, Versioned<BrokerState>>()
  const nodes = new Map<number, Versioned<NodeState>>()
  for (const [id, words] of Object.entries(brokers)) {
    nodes.set(Number(id), { state: nodeOf(words), modRevision: 1 })
    if (words.isAlive !== false) lives.set(Number(id), { state: brokerOf(Number(id), words), modRevision: 1 })
  }
  return { brokers: lives, nodes }
}

function nodeOf({ incarnation = 1, isDecommissioned, directorySince = 1, cleanSince = 1 }: BrokerWords): NodeState {
  return {
    incarnation: incarnation as Incarnation,
    directoryId: 'd',
    directorySince: directorySince as Incarnation,
    cleanSince: cleanSince as Incarnation,
    ...(isDecommissioned === true ? { isDecommissioned } : {}),
  }
}

export function brokerOf(nodeId: number, words: BrokerWords = {}): BrokerState {
  const partition = { topicId: TOPIC, partition: 0 }
  return {
    incarnation: (words.incarnation ?? 1) as Incarnation,
    ...{ url: `ws://${nodeId}`, rack: words.rack ?? null, version: '0', directoryId: 'd', isClean: true },
    damaged: words.isDamaged === true ? [partition] : [],
    failed: words.isFailed === true ? [partition] : [],
    ...(words.isDiskLow === true ? { isDiskLow: true } : {}),
    ...(words.resigned === undefined
      ? {}
      : { resigned: [{ ...partition, leaderEpoch: words.resigned as LeaderEpoch }] }),
    isStopping: words.isStopping === true,
    leaseId: `lease-${nodeId}`,
  }
}

/** '1@3' is node 1 under incarnation 3; '1' is '1@1'. */
export function replicasOf(text: string): Replica[] {
  if (text === '') return []
  return text.split(' ').map((word) => {
    const [nodeId, incarnation = '1'] = word.split('@')
    return { nodeId: Number(nodeId), incarnation: Number(incarnation) as Incarnation }
  })
}

export function textOf(replicas: readonly Replica[]): string {
  return replicas.map(({ nodeId, incarnation }) => `${nodeId}${incarnation === 1 ? '' : `@${incarnation}`}`).join(' ')
}

export interface PartitionWords {
  readonly leader?: number
  readonly leaderIncarnation?: number
  readonly epoch?: number
  readonly replicas?: readonly number[]
  readonly inSync?: string
  readonly eligible?: string
  readonly adding?: readonly number[]
  readonly removing?: readonly number[]
}

export function partitionOf(words: PartitionWords): PartitionState {
  const { replicas = [1, 2, 3], inSync = replicas.join(' ') } = words
  return {
    leader: words.leader ?? replicas[0]!,
    leaderEpoch: (words.epoch ?? 5) as LeaderEpoch,
    leaderIncarnation: (words.leaderIncarnation ?? 1) as Incarnation,
    replicas,
    inSyncReplicas: replicasOf(inSync),
    eligibleLeaders: replicasOf(words.eligible ?? ''),
    adding: words.adding ?? [],
    removing: words.removing ?? [],
  }
}

export function configOf(change: Partial<TopicConfig> = {}): TopicConfig {
  return { ...TOPIC_CONFIG_DEFAULTS, minInsyncReplicas: 2, ...change }
}
