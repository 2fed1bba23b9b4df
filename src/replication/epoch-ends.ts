/**
 * Epoch ends: where an epoch ended in one log, by the list of where each began.
 *
 * Thread  any; pure
 */
import type { EpochEnd } from '../log/leader-epoch-cache.ts'
import type { LeaderEpochEntry } from '../log/recovered-partition.ts'

/** What a log knows of its own history. */
export interface EpochHistory {
  /** [epoch, start offset], ascending in both. */
  readonly entries: readonly LeaderEpochEntry[]
  readonly logEndOffset: number
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
