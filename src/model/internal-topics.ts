/** The topics that the broker keeps for itself, and which of their partitions a group belongs to. Anybody may read them; nobody else writes. */

/** Group metadata and committed offsets. Its number of partitions may not change once it is there: groups would move. */
export const OFFSETS_TOPIC = '__consumer_offsets'

const INTERNAL_TOPICS: ReadonlySet<string> = new Set([OFFSETS_TOPIC])

export function isInternalTopic(name: string): boolean {
  return INTERNAL_TOPICS.has(name)
}

/** The partition of the offsets topic that holds a group: Kafka's rule, |Java hash of the id| modulo. */
export function offsetsPartitionOf(groupId: string, partitionCount: number): number {
  let hash = 0
  for (let index = 0; index < groupId.length; index++) hash = (Math.imul(hash, 31) + groupId.charCodeAt(index)) | 0
  // As Kafka: the sign bit is dropped, which is not the absolute value but never negative.
  return (hash & 0x7fffffff) % partitionCount
}
