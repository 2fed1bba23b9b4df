/**
 * Preferred leaders: leadership goes back to the first of a partition's replicas once that one is in sync again: placement made those
 * even over the brokers, elections after failures did not. Pure; how often and how many at once is the controller's.
 *
 * Invariants  PR1 only a live member of the in-sync set under its current incarnation is preferred; no offset is at risk
 */
import { NO_LEADER, type PartitionState } from '../keys.ts'
import { type ElectionContext, withLeader } from './leader-election.ts'
import { isDiskLow, standingOf, takesReplicas } from './membership.ts'

/** The state with its preferred leader leading; undefined when it does, or cannot now. */
export function decidePreferredLeader(state: PartitionState, context: ElectionContext): PartitionState | undefined {
  const preferred = state.replicas[0]
  if (preferred === undefined || preferred === state.leader || state.leader === NO_LEADER) return undefined
  // While a move adds or removes it, it is about to be looked at anyway.
  if (state.adding.includes(preferred) || state.removing.includes(preferred)) return undefined
  const entry = state.inSyncReplicas.find(({ nodeId }) => nodeId === preferred)
  if (entry === undefined || !takesReplicas(preferred, context.members) || isDiskLow(preferred, context.members))
    return undefined
  const standing = standingOf(entry, { ...context, fsync: context.config.fsync })
  // Under a new incarnation the in-sync set is to name that first.
  const isCurrent = standing.kind === 'live' && standing.replica.incarnation === entry.incarnation
  return isCurrent ? withLeader(state, standing.replica) : undefined
}
