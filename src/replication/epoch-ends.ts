/**
 * Epoch ends: where an epoch ended in one log, by the list of where each began.
 *
 * Thread  any; pure
 */
import type { EpochEnd, LeaderEpochCache } from '../log/leader-epoch-cache.ts'
import type { LeaderEpochEntry } from '../log/recovered-partition.ts'

/** What a log knows of its own history. */
export interface EpochHistory {
  /** [epoch, start offset], ascending in both. */
  readonly entries: readonly LeaderEpochEntry[]
  readonly logEndOffset: number
}

/** A leader's log, and the epoch under which it leads. */
export interface LedHistory {
  readonly epochs: Pick<LeaderEpochCache, 'latestEpoch' | 'endOffsetFor'>
  readonly leaderEpoch: number
  readonly logEndOffset: number
}

const UNKNOWN_END: EpochEnd = { epoch: -1, endOffset: -1 }

/**
 * What OffsetForLeaderEpoch is answered (KIP-101, KIP-279): the largest epoch that is not above `epoch`, and where it ended; -1 of one newer
 * than the leader's. An epoch that wrote nothing is not in the log's list: the leader's own ends at the log end all the same, and one between
 * the log's latest and the leader's ended where the leader's began, which is there.
 */
export function endOfLeaderEpoch({ epochs, leaderEpoch, logEndOffset }: LedHistory, epoch: number): EpochEnd {
  if (epoch < 0 || epoch > leaderEpoch) return UNKNOWN_END
  const { latestEpoch } = epochs
  if (epoch === leaderEpoch || latestEpoch < 0) return { epoch, endOffset: logEndOffset }
  if (epoch >= latestEpoch) return { epoch: latestEpoch, endOffset: logEndOffset }
  return epochs.endOffsetFor(epoch, logEndOffset)
}

/**
 * The largest epoch that is not above `epoch`, and the offset where the next one began, or the log end. Undefined: all that is known are
 * newer ones. Unlike LeaderEpochCache.endOffsetFor an epoch newer than all has an answer: whoever asks knows that no newer leader wrote here.
 */
export function endOfEpochAtMost({ entries, logEndOffset }: EpochHistory, epoch: number): EpochEnd | undefined {
  for (let index = entries.length - 1; index >= 0; index--) {
    const [known] = entries[index]!
    if (known <= epoch) return { epoch: known, endOffset: entries[index + 1]?.[1] ?? logEndOffset }
  }
  return undefined
}
