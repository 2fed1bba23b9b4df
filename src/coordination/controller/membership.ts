/**
 * Membership: what a replica that a partition's state names (node id, incarnation) is worth now: it lives, it is gone, or what it
 * held is lost. A broker that started again is another incarnation; whether that one still holds what the last one held is decided here.
 *
 * Invariants  M1 an entry counts for a later incarnation only if every start in between had the same data dir, ended in order or lies under
 *             fsync: group, and the replica was not found damaged: only then it holds every offset that the entry stands for
 */
import type { FsyncPolicy } from '../../model/topic-config.ts'
import type { Versioned } from '../cluster-image.ts'
import type { BrokerState, NodeState, PartitionName, Replica, ResignedLead } from '../keys.ts'

/** What is known of brokers: a ClusterImage has it. */
export interface ClusterMembers {
  /** Those that live. */
  readonly brokers: ReadonlyMap<number, Versioned<BrokerState>>
  readonly nodes: ReadonlyMap<number, Versioned<NodeState>>
}

/**
 * live     its broker lives and holds all that the entry stands for; `replica` is it under the incarnation that lives
 * gone     its broker does not live, as far as is known it still holds all
 * failed   its broker lives, the replica cannot serve now; what it held is there as far as is known
 * unclean  a run since ended out of order and the topic is on fsync: interval: records since the last sync may be lost
 * lost     another data dir, or damage: it does not hold what the entry stands for
 */
export type Standing =
  | { readonly kind: 'live'; readonly replica: Replica }
  | { readonly kind: 'gone' }
  | { readonly kind: 'failed' }
  /** `replica` is undefined where its broker does not live. */
  | { readonly kind: 'unclean'; readonly replica: Replica | undefined }
  | { readonly kind: 'lost' }

export interface StandingContext extends PartitionName {
  readonly members: ClusterMembers
  readonly fsync: FsyncPolicy
}

export function standingOf(entry: Replica, context: StandingContext): Standing {
  const { members, fsync } = context
  const broker = members.brokers.get(entry.nodeId)?.state
  const node = members.nodes.get(entry.nodeId)?.state
  if (broker !== undefined && broker.incarnation < entry.incarnation) return { kind: 'gone' }
  if (broker?.incarnation !== entry.incarnation) {
    // Known starts since: the node's state tells of them even if none of them lives.
    const last = node?.incarnation ?? entry.incarnation
    const hasRestarted = last > entry.incarnation || broker !== undefined
    if (hasRestarted && (node?.directorySince ?? last) > entry.incarnation) return { kind: 'lost' }
    if (broker !== undefined && names(broker.damaged, context)) return { kind: 'lost' }
    if (hasRestarted && fsync !== 'group' && (node?.cleanSince ?? last) > entry.incarnation)
      return { kind: 'unclean', replica: broker && liveReplica(entry.nodeId, broker, context) }
  }
  if (broker === undefined) return { kind: 'gone' }
  const replica = liveReplica(entry.nodeId, broker, context)
  return replica === undefined ? { kind: 'failed' } : { kind: 'live', replica }
}

/** The replica on a living broker under its incarnation, whatever it holds; undefined when it failed. */
export function liveReplica(nodeId: number, broker: BrokerState, partition: PartitionName): Replica | undefined {
  return names(broker.failed ?? [], partition) ? undefined : { nodeId, incarnation: broker.incarnation }
}

export function isDamaged(broker: BrokerState, partition: PartitionName): boolean {
  return names(broker.damaged, partition)
}

/** Whether it wants another one to lead this partition, under the epoch under which it leads it. */
export function givesUp({ resigned = [] }: BrokerState, lead: ResignedLead): boolean {
  return names(resigned, lead, leadOf)
}

/** A broker that lost or gives up many replicas is asked for each partition of the cluster: lists are made sets once. */
const sets = new WeakMap<readonly PartitionName[], ReadonlySet<string>>()

function names<T extends PartitionName>(list: readonly T[], one: T, wordOf: (one: T) => string = nameOf): boolean {
  if (list.length === 0) return false
  let set = sets.get(list)
  if (set === undefined) sets.set(list, (set = new Set(list.map(wordOf))))
  return set.has(wordOf(one))
}

function nameOf({ topicId, partition }: PartitionName): string {
  return `${topicId}/${partition}`
}

function leadOf({ topicId, partition, leaderEpoch }: ResignedLead): string {
  return `${topicId}/${partition}@${leaderEpoch}`
}

/** Whether a broker may get leaderships and replicas: it lives, and is neither about to stop nor to be emptied. */
export function takesReplicas(nodeId: number, members: ClusterMembers): boolean {
  const broker = members.brokers.get(nodeId)?.state
  return broker?.isStopping === false && members.nodes.get(nodeId)?.state.isDecommissioned !== true
}

/** Its disk takes no more records of its own leaderships, and soon none at all. */
export function isDiskLow(nodeId: number, members: ClusterMembers): boolean {
  return members.brokers.get(nodeId)?.state.isDiskLow === true
}
