/** Topics that the broker keeps for itself: they can be read, but nobody else writes, changes or deletes them. */

/** Group metadata and committed offsets; a group's records are in partition coordinatorPartition(groupId). */
export const OFFSETS_TOPIC = '__consumer_offsets'

const INTERNAL_TOPICS: ReadonlySet<string> = new Set([OFFSETS_TOPIC])

export function isInternalTopic(name: string): boolean {
  return INTERNAL_TOPICS.has(name)
}

/** The partition of an internal topic that `id` belongs to: as Kafka's, by Java's hash of the text. */
export function coordinatorPartition(id: string, partitions: number): number {
  let hash = 0
  for (let index = 0; index < id.length; index++) hash = (Math.imul(31, hash) + id.charCodeAt(index)) | 0
  return (hash & 0x7fffffff) % partitions
}
