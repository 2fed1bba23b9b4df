/**
 * Divergence: the leader's side of a replica's fetch: whether its history holds that of the follower.
 *
 *   the follower                                                   answer
 *   ends below the leader's log start                              below-start: it begins anew at that start
 *   has nothing, or the leader knows no epoch                      agrees, unless it ends past the leader's log end
 *   ends at the leader's log start, with an epoch that is older    diverging there: all that it has lies where the leader has nothing to
 *   than all that the leader knows                                 compare it with, and may be another's; it begins anew
 *   has a last epoch that the leader has up to there or further    agrees
 *   anything else                                                  diverging: the largest epoch of the leader's that is not above the
 *                                                                  follower's last one, and where it ended (KIP-279)
 *
 * Thread      the leader's shard; pure
 * Invariants  D1 'agrees' only where the follower's log is a prefix of the leader's        checked in: test/unit/replication
 *             D2 following the answers always ends, at the longest common prefix           checked in: test/unit/replication
 */
import { type EpochHistory, endOfEpochAtMost } from './epoch-ends.ts'

export interface LeaderHistory extends EpochHistory {
  readonly logStartOffset: number
}

/** A follower's log end, and the epoch of its last batch; -1 = it has none. */
export interface FollowerEnd {
  readonly fetchOffset: number
  readonly lastEpoch: number
}

export type HistoryAnswer =
  | { readonly kind: 'agrees' }
  | { readonly kind: 'below-start' }
  | { readonly kind: 'diverging'; readonly epoch: number; readonly endOffset: number }

export const AGREES: HistoryAnswer = { kind: 'agrees' }
const BELOW_START: HistoryAnswer = { kind: 'below-start' }

export function compareHistory(leader: LeaderHistory, { fetchOffset, lastEpoch }: FollowerEnd): HistoryAnswer {
  const { logStartOffset, logEndOffset, entries } = leader
  if (fetchOffset < logStartOffset) return BELOW_START
  const first = entries[0]
  if (lastEpoch < 0 || first === undefined) {
    if (fetchOffset <= logEndOffset) return AGREES
    // Nothing to compare by: what lies past the leader's log end is not in its history.
    return { kind: 'diverging', epoch: Math.max(lastEpoch, 0), endOffset: logEndOffset }
  }
  const end = endOfEpochAtMost(leader, lastEpoch)
  if (end === undefined)
    // Everything the leader knows is newer: what they may share ends where that begins. What lies below its log start it cannot vouch for.
    return fetchOffset <= first[1] && fetchOffset > logStartOffset
      ? AGREES
      : { kind: 'diverging', epoch: lastEpoch, endOffset: first[1] }
  if (end.epoch === lastEpoch && fetchOffset <= end.endOffset) return AGREES
  return { kind: 'diverging', epoch: end.epoch, endOffset: end.endOffset }
}
