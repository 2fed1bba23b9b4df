/**
 * Leader election: who leads a partition now, and who is in sync with what is known of brokers; pure.
 *
 * Invariants  LE1 a leader is elected from the in-sync set or the eligible leaders; from other replicas only where the topic's
 *             unclean.leader.election.enable says so
 *             LE2 a changed leader has leader epoch + 1; an in-sync set that changes under its leader keeps the epoch
 *             LE3 the in-sync set is never emptied: while nobody in it lives, who is gone stays in it and may come back
 *             LE4 who is elected or stays in sync is named by the incarnation that lives (membership.ts, M1)
 *             LE5 who takes over from a leader that lives holds everything below the high watermark: it is in the set under which that was
 *                 acknowledged, which the leader did not shrink (README, C13)
 * Order       live in-sync members, live eligible leaders, in-sync members that live but ended out of order (fsync: interval) where all
 *             others are lost or did too: with a warning; any replica, where the topic allows it; within each those whose disk has room first, then the preferred replica
 */
import type { LeaderEpoch } from '../../model/ids.ts'
import type { TopicConfig } from '../../model/topic-config.ts'
import { NO_LEADER, type PartitionName, type PartitionState, type Replica } from '../keys.ts'
import { hasNode, isBelowMin, isSameState, sortedLike, withInSync } from './in-sync-changes.ts'
import {
  type ClusterMembers,
  givesUp,
  isDamaged,
  isDiskLow,
  liveReplica,
  type Standing,
  standingOf,
} from './membership.ts'

export interface ElectionContext extends PartitionName {
  readonly members: ClusterMembers
  readonly config: TopicConfig
}

export interface LeadershipDecision {
  readonly state: PartitionState
  /** What an operator must know. */
  readonly warning: string | undefined
}

/** Entries of a set by what became of them. */
interface Sorted {
  /** Under the incarnation that lives. */
  readonly live: readonly Replica[]
  readonly away: readonly Replica[]
  readonly unclean: readonly Replica[]
  /** Of those, the ones that live, under the incarnation that does. */
  readonly uncleanLive: readonly Replica[]
  readonly lost: readonly Replica[]
}

/** The partition's next state; undefined when it is as it should be. */
export function decideLeadership(state: PartitionState, context: ElectionContext): LeadershipDecision | undefined {
  const { config } = context
  const inSync = sortOf(state.inSyncReplicas, context)
  const isHeldUp = isBelowMin(state, state.inSyncReplicas.length, config.minInsyncReplicas)
  // At min again, or min was lowered: the high watermark may have moved on without them (IS2).
  const eligible = sortOf(isHeldUp ? state.eligibleLeaders : [], context)
  const decision =
    inSync.live.length > 0
      ? { state: withLiveInSync(state, inSync, eligible, context), warning: undefined }
      : withoutLiveInSync(state, inSync, eligible, context)
  return isSameState(decision.state, state) ? undefined : decision
}

function sortOf(entries: readonly Replica[], context: ElectionContext): Sorted {
  const members = { ...context, fsync: context.config.fsync }
  const standings = entries.map((entry) => ({ entry, standing: standingOf(entry, members) }))
  const of = (...kinds: Standing['kind'][]) => standings.filter(({ standing }) => kinds.includes(standing.kind))
  const replicasOf = (rows: typeof standings) =>
    rows.flatMap(({ standing }) => ('replica' in standing ? (standing.replica ?? []) : []))
  return {
    live: replicasOf(of('live')),
    away: of('gone', 'failed').map(({ entry }) => entry),
    unclean: of('unclean').map(({ entry }) => entry),
    uncleanLive: replicasOf(of('unclean')),
    lost: of('lost').map(({ entry }) => entry),
  }
}

/** Somebody in sync lives: whoever does not leaves the set; the leader stays if it is one that does and does not want to stop. */
function withLiveInSync(
  state: PartitionState,
  inSync: Sorted,
  eligible: Sorted,
  context: ElectionContext,
): PartitionState {
  const { minInsyncReplicas } = context.config
  const known = { ...state, inSyncReplicas: [...inSync.live, ...inSync.away], eligibleLeaders: standing(eligible) }
  const shrunk = withInSync(known, inSync.live, minInsyncReplicas)
  const leader = inSync.live.find(
    ({ nodeId, incarnation }) => nodeId === state.leader && incarnation === state.leaderIncarnation,
  )
  if (leader !== undefined && !isStopping(leader.nodeId, context)) {
    const moved = replaced(known, inSync.live, leader, context)
    return moved ?? shrunk
  }
  const next = electedOf(state, inSync.live, context)
  if (next !== undefined) return withLeader(shrunk, next)
  // Nobody but brokers that are about to stop: one that leads goes on.
  return leader === undefined ? withoutLeader(shrunk) : shrunk
}

/** Another leader for one that lives and is of no use as such; undefined: it goes on. */
function replaced(
  state: PartitionState,
  live: readonly Replica[],
  leader: Replica,
  context: ElectionContext,
): PartitionState | undefined {
  const { minInsyncReplicas } = context.config
  const others = live.filter(({ nodeId }) => nodeId !== leader.nodeId)
  if (hasResigned(state, context) && !isBelowMin(state, others.length, minInsyncReplicas)) {
    const next = electedOf(state, others, context)
    if (next !== undefined) return withLeader(withInSync(state, others, minInsyncReplicas), next)
  }
  if (!isDiskLow(leader.nodeId, context.members)) return undefined
  // Once all that a move adds are in sync, its next step takes the lead from those that go: given to one, it would come back at once.
  const isArriving = state.adding.some((nodeId) => !hasNode(live, nodeId))
  const withRoom = others.filter(
    ({ nodeId }) => !isDiskLow(nodeId, context.members) && (isArriving || !state.removing.includes(nodeId)),
  )
  const next = electedOf(state, withRoom, context)
  return next && withLeader(withInSync(state, live, minInsyncReplicas), next)
}

/** Nobody in sync lives: eligible leaders, then whoever must do, else nobody leads and the sets wait for who comes back. */
function withoutLiveInSync(
  state: PartitionState,
  inSync: Sorted,
  eligible: Sorted,
  context: ElectionContext,
): LeadershipDecision {
  const others = { ...state, inSyncReplicas: inSync.away, eligibleLeaders: standing(eligible) }
  const elect = (candidates: readonly Replica[], why: string | undefined): LeadershipDecision | undefined => {
    const next = electedOf(state, candidates, context)
    if (next === undefined) return undefined
    const elected = withLeader(withInSync(others, [next], context.config.minInsyncReplicas), next)
    return { state: elected, warning: why && warningOf(elected, context, why) }
  }
  const isLastResort = inSync.away.length === 0
  return (
    elect(eligible.live, undefined) ??
    (isLastResort
      ? elect(inSync.uncleanLive, 'possible loss since last sync: its last run ended out of order')
      : undefined) ??
    (context.config.uncleanLeaderElection ? electUnclean(others, context) : undefined) ?? {
      state: withoutLeader({ ...state, ...waitingSets(state, inSync, eligible) }),
      warning: undefined,
    }
  )
}

/** While nobody can lead: who is known to have lost something leaves, but for the last. */
function waitingSets(
  state: PartitionState,
  inSync: Sorted,
  eligible: Sorted,
): Pick<PartitionState, 'inSyncReplicas' | 'eligibleLeaders'> {
  const stay = [inSync.away, inSync.unclean, state.inSyncReplicas].find((entries) => entries.length > 0)!
  return { inSyncReplicas: stay, eligibleLeaders: sortedLike(state.replicas, standing(eligible)) }
}

/** unclean.leader.election.enable: any replica that lives, those with the least known against them first. */
function electUnclean(state: PartitionState, context: ElectionContext): LeadershipDecision | undefined {
  const candidates = state.replicas.flatMap((nodeId) => {
    const broker = context.members.brokers.get(nodeId)?.state
    if (broker === undefined || isDamaged(broker, context)) return []
    return liveReplica(nodeId, broker, context) ?? []
  })
  const settled = candidates.filter(({ nodeId }) => !state.adding.includes(nodeId))
  const next = electedOf(state, settled, context) ?? electedOf(state, candidates, context)
  if (next === undefined) return undefined
  const elected = withLeader({ ...state, inSyncReplicas: [next], eligibleLeaders: [] }, next)
  return {
    state: elected,
    warning: warningOf(elected, context, 'unclean election: records that only others had are lost'),
  }
}

/** The first of the replicas' order, those that a move takes away last; none that is about to stop. */
function electedOf(
  state: PartitionState,
  candidates: readonly Replica[],
  context: ElectionContext,
): Replica | undefined {
  const rank = (node: number): number => rankOf(state, node) + (isDiskLow(node, context.members) ? 2 : 0)
  const order = [...state.replicas].sort((left, right) => rank(left) - rank(right))
  const nodeId = order.find((node) => hasNode(candidates, node) && !isStopping(node, context))
  return candidates.find((replica) => replica.nodeId === nodeId)
}

function rankOf(state: PartitionState, nodeId: number): number {
  return state.removing.includes(nodeId) ? 1 : 0
}

function isStopping(nodeId: number, { members }: ElectionContext): boolean {
  return members.brokers.get(nodeId)?.state.isStopping === true
}

function hasResigned({ leader, leaderEpoch }: PartitionState, context: ElectionContext): boolean {
  const broker = context.members.brokers.get(leader)?.state
  return broker !== undefined && givesUp(broker, { ...context, leaderEpoch })
}

/** Eligible leaders that still are: those that live under the incarnation that does. */
function standing(eligible: Sorted): readonly Replica[] {
  return [...eligible.live, ...eligible.away]
}

export function withLeader(state: PartitionState, { nodeId, incarnation }: Replica): PartitionState {
  const leaderEpoch = (state.leaderEpoch + 1) as LeaderEpoch
  return { ...state, leader: nodeId, leaderEpoch, leaderIncarnation: incarnation }
}

/** Nobody leads: an epoch too, so that who led cannot be taken for a leader by anybody who has heard of it. */
function withoutLeader(state: PartitionState): PartitionState {
  if (state.leader === NO_LEADER) return state
  return { ...state, leader: NO_LEADER, leaderEpoch: (state.leaderEpoch + 1) as LeaderEpoch }
}

function warningOf(state: PartitionState, { topicId, partition }: ElectionContext, why: string): string {
  return `partition ${topicId}-${partition}: node ${state.leader} leads at epoch ${state.leaderEpoch}; ${why}`
}
