/**
 * Truncation: what a follower cuts when its leader says that their histories part (KIP-279).
 *
 *   of epochs up to the leader's answer (epoch, end offset) the follower has     cut at
 *   that epoch                                                                   min(its end here, its end there): the common prefix
 *   an older one                                                                 its end here, and ask again with that epoch
 *   none, but newer ones                                                         where those begin: the leader has none of them
 *   none at all                                                                  the leader's end offset
 *   Where that lies at or below the leader's log start, and that above the follower's: what they share is gone at the leader, and so the
 *   follower begins anew at the leader's start, as if it ended below it.
 *
 * Thread      the follower's shard; pure
 * Invariants  T1 never below the high watermark that the follower knows, nor its log start (I7): that would lose what may have been
 *                acknowledged. The leader has lost it (an unclean election, or unsynced records of an only replica on fsync: interval), so
 *                no asking again helps: the log is set aside whole and the replica begins anew, as if it were damaged
 *             T2 a cut makes the log shorter. An answer by which nothing goes was asked for with another log end: the follower asks again
 */
import { type EpochHistory, endOfEpochAtMost } from './epoch-ends.ts'

export interface FollowerHistory extends EpochHistory {
  readonly logStartOffset: number
  readonly highWatermark: number
}

/** What the leader said: its largest epoch that is not above the follower's last one, and where that ended. */
export interface Divergence {
  readonly epoch: number
  readonly endOffset: number
  /** The leader's. */
  readonly logStartOffset: number
}

export type Truncation =
  /** `isDone`: what is left is a prefix of the leader's log, by what was known when it answered. */
  | { readonly kind: 'cut'; readonly offset: number; readonly isDone: boolean }
  /** Empty from there on. */
  | { readonly kind: 'restart'; readonly offset: number }
  | { readonly kind: 'nothing' | 'set-aside'; readonly text: string }

export function decideTruncation(own: FollowerHistory, leader: Divergence): Truncation {
  const { logEndOffset, logStartOffset, highWatermark } = own
  const end = endOfEpochAtMost(own, leader.epoch)
  const isDone = end === undefined || end.epoch === leader.epoch
  const ownEnd = end?.endOffset ?? own.entries[0]?.[1] ?? logEndOffset
  const wanted = isDone ? Math.min(ownEnd, leader.endOffset) : ownEnd
  const offset = Math.min(wanted, logEndOffset)
  const answer = `the leader's history up to epoch ${leader.epoch} ends at offset ${leader.endOffset}`
  const floor = Math.max(highWatermark, logStartOffset)
  if (
    leader.endOffset <= leader.logStartOffset &&
    leader.logStartOffset > logStartOffset &&
    leader.logStartOffset >= floor
  )
    return { kind: 'restart', offset: leader.logStartOffset }
  if (offset < floor)
    return {
      kind: 'set-aside',
      text:
        `${answer}: this replica's [${Math.max(offset, logStartOffset)}, ${logEndOffset}) is not in it, though all below the high watermark ${highWatermark} ` +
        `(log start ${logStartOffset}) was safe. The leader was elected without it (unclean.leader.election.enable), or lost what it had not synced`,
    }
  if (offset === logEndOffset)
    return { kind: 'nothing', text: `${answer}, the log ends at ${logEndOffset}: by that nothing is to be cut` }
  return { kind: 'cut', offset, isDone }
}
