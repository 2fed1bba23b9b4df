/** Partitions with the offsets that a group commits, as requests name them: by topic. */
import type { OffsetCommitTopic } from '../protocol/index.ts'

export interface CommitPosition {
  readonly topic: string
  /** Where it is known. */
  readonly topicId?: OffsetCommitTopic['topicId']
  readonly partition: number
  /** The next offset to read. */
  readonly offset: number
  /** The newest leader epoch that is known of the partition: whoever reads on from there must not ask an earlier leader (KIP-320). */
  readonly leaderEpoch?: number
}

/** Topics and partitions in the order in which they come first. */
export function commitTopics(positions: Iterable<CommitPosition>): OffsetCommitTopic[] {
  const topics = new Map<string, OffsetCommitTopic & { partitions: OffsetCommitTopic['partitions'][number][] }>()
  for (const { topic, topicId = '', partition, offset, leaderEpoch = -1 } of positions) {
    let entry = topics.get(topic)
    if (entry === undefined) {
      entry = { topic, topicId, partitions: [] }
      topics.set(topic, entry)
    }
    entry.partitions.push({ partition, offset, leaderEpoch, metadata: '' })
  }
  return [...topics.values()]
}
