/** What a group tells of itself: where its partitions stand, and counts. */
import type { AssignedPartition } from './assigned-partition.ts'
import type { TopicPartition } from './group-options.ts'

export interface GroupPosition extends TopicPartition {
  /** The next record to be handed out. */
  readonly offset: number
  /** The next record after everything that is handled. */
  readonly finishedOffset: number
  /** As far as this member knows; -1 = nothing. */
  readonly committedOffset: number
  /** -1 = not known yet. */
  readonly highWatermark: number
  /** Records between what is handled and the end; undefined = not known yet. */
  readonly lag: number | undefined
  readonly isPaused: boolean
}

export interface GroupStats {
  readonly state: 'idle' | 'joining' | 'member' | 'lost' | 'leaving' | 'left'
  readonly memberId: string
  readonly memberEpoch: number
  readonly partitions: readonly GroupPosition[]
  /** Sum over the partitions whose lag is known. */
  readonly lag: number
  readonly recordsConsumed: number
  readonly batchesReceived: number
  readonly bytesReceived: number
  readonly bufferedBytes: number
  readonly recordsUndecodable: number
}

/** The part of the stats that is about partitions. */
export function partitionStats(
  assigned: readonly AssignedPartition[],
): Pick<GroupStats, 'partitions' | 'lag' | 'bufferedBytes'> {
  const partitions = assigned.map(positionOf)
  return {
    partitions,
    lag: partitions.reduce((sum, { lag }) => sum + (lag ?? 0), 0),
    bufferedBytes: assigned.reduce((sum, { bufferedBytes }) => sum + bufferedBytes, 0),
  }
}

function positionOf(partition: AssignedPartition): GroupPosition {
  const { topic, position: offset, finishedOffset, committedOffset, isPaused, cursor } = partition
  const { highWatermark } = cursor
  const lag = highWatermark < 0 ? undefined : Math.max(0, highWatermark - finishedOffset)
  return {
    topic,
    partition: partition.partition,
    offset,
    finishedOffset,
    committedOffset,
    highWatermark,
    lag,
    isPaused,
  }
}
