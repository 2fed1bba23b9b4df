/** The topics that the broker keeps for itself, and which of their partitions an id belongs to. Anybody may read them; nobody else writes. */

/** Group metadata and committed offsets. Its number of partitions may not change once it is there: groups would move. */
export const OFFSETS_TOPIC = '__consumer_offsets'

/** What every transactional id is doing. Its number of partitions may not change once it is there, either. */
export const TRANSACTIONS_TOPIC = '__transaction_state'

const INTERNAL_TOPICS: ReadonlySet<string> = new Set([OFFSETS_TOPIC, TRANSACTIONS_TOPIC])

export function isInternalTopic(name: string): boolean {
  return INTERNAL_TOPICS.has(name)
}

/** The partition of an internal topic that holds a group or a transactional id: Kafka's rule, |Java hash of the id| modulo. */
export function coordinatorPartitionOf(id: string, partitionCount: number): number {
  let hash = 0
  for (let index = 0; index < id.length; index++) hash = (Math.imul(hash, 31) + id.charCodeAt(index)) | 0
  // As Kafka: the sign bit is dropped, which is not the absolute value but never negative.
  return (hash & 0x7fffffff) % partitionCount
}
