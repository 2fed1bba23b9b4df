/**
 * Reassignment: a partition's replicas move to others by way of having both (C6); pure.
 *
 * Invariants  RA1 while a move goes on, all of the old replicas and all of the new ones are replicas: R … R + new …, then R
 *             RA2 it is done when all that it adds are in sync and not fewer of the target are than of the old ones; so what is in sync
 *             never gets fewer by a move
 *             RA3 leadership leaves a replica that goes before the replica does
 * States      begun: adding, removing set -> (added ones fetch and join the in-sync set) -> led by one that stays -> done: both empty
 */
import { assert } from '../../base/assert.ts'
import { NO_LEADER, type PartitionState } from '../keys.ts'
import { sortedLike } from './in-sync-changes.ts'
import { type ElectionContext, withLeader } from './leader-election.ts'
import { isDiskLow, standingOf } from './membership.ts'

/** Where the replicas will be when nothing moves any more. */
export function targetOf({ replicas, removing }: PartitionState): number[] {
  return replicas.filter((nodeId) => !removing.includes(nodeId))
}

export function isMoving({ adding, removing }: PartitionState): boolean {
  return adding.length > 0 || removing.length > 0
}

/**
 * Begins a move, or gives one that goes on another target: the old replicas stay what they were, who was being added and is not wanted any
 * more goes at once. Undefined where that cannot be: such a one leads, or nobody else is in sync.
 */
export function withTarget(state: PartitionState, target: readonly number[]): PartitionState | undefined {
  assert(target.length > 0 && new Set(target).size === target.length, 'a target names brokers, each once')
  const old = state.replicas.filter((nodeId) => !state.adding.includes(nodeId))
  const removing = old.filter((nodeId) => !target.includes(nodeId))
  const adding = target.filter((nodeId) => !old.includes(nodeId))
  const replicas = [...target, ...removing]
  const inSyncReplicas = sortedLike(replicas, state.inSyncReplicas)
  const isLed = state.leader === NO_LEADER || replicas.includes(state.leader)
  if (!isLed || inSyncReplicas.length === 0) return undefined
  const eligibleLeaders = sortedLike(replicas, state.eligibleLeaders)
  return { ...state, replicas, adding, removing, inSyncReplicas, eligibleLeaders }
}

/** The next step of a move; undefined when there is none to take yet, or none goes on. */
export function decideMove(state: PartitionState, context: ElectionContext): PartitionState | undefined {
  if (!isMoving(state)) return undefined
  const target = targetOf(state)
  const inSync = state.inSyncReplicas.map(({ nodeId }) => nodeId)
  if (!state.adding.every((nodeId) => inSync.includes(nodeId))) return undefined
  const ofTarget = inSync.filter((nodeId) => target.includes(nodeId)).length
  const ofOld = inSync.filter((nodeId) => !state.adding.includes(nodeId)).length
  if (ofTarget < Math.max(1, Math.min(target.length, ofOld))) return undefined
  if (!target.includes(state.leader)) return ledByOneOf(state, target, context)
  return onlyReplicas(state, target)
}

/**
 * Takes a move back: who was added goes. Undefined when that cannot be now: nobody of the old replicas is in sync and lives, or one
 * that was added leads and nobody else can.
 */
export function decideCancel(state: PartitionState, context: ElectionContext): PartitionState | undefined {
  const old = state.replicas.filter((nodeId) => !state.adding.includes(nodeId))
  if (!state.inSyncReplicas.some(({ nodeId }) => old.includes(nodeId))) return undefined
  if (state.leader === NO_LEADER || old.includes(state.leader)) return onlyReplicas(state, old)
  const led = ledByOneOf(state, old, context)
  return led && onlyReplicas(led, old)
}

function ledByOneOf(
  state: PartitionState,
  nodes: readonly number[],
  context: ElectionContext,
): PartitionState | undefined {
  const { members, config } = context
  // One without room would give the lead away again.
  const order = [...nodes].sort((left, right) => Number(isDiskLow(left, members)) - Number(isDiskLow(right, members)))
  for (const entry of sortedLike(order, state.inSyncReplicas)) {
    const standing = standingOf(entry, { ...context, fsync: config.fsync })
    if (standing.kind !== 'live' || members.brokers.get(entry.nodeId)?.state.isStopping === true) continue
    return withLeader(state, standing.replica)
  }
  return undefined
}

function onlyReplicas(state: PartitionState, replicas: readonly number[]): PartitionState {
  return {
    ...{ ...state, replicas, adding: [], removing: [] },
    inSyncReplicas: sortedLike(replicas, state.inSyncReplicas),
    eligibleLeaders: sortedLike(replicas, state.eligibleLeaders),
  }
}
