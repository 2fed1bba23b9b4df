/**
 * PendingOffsets: what was committed in transactions that are not decided yet, of all groups of a coordinator.
 *
 * Owns        the offsets of each producer's open transaction; they are no group's until the COMMIT marker comes
 * Invariants  PO1 of two commits of a partition the later one in the log counts, whichever transaction ended last: a record drops
 *                 what is pending before it, and so does a pending one when it is published. That is what compaction keeps, too
 *             PO2 newGroupCount is how many of the groups here are none of `groups`: applyDecided() tells of those that come and go
 * Limits      COORDINATOR_PENDING_OFFSETS_MAX; counted with the group's own: GROUP_OFFSETS_MAX; their groups with the others:
 *             COORDINATOR_GROUPS_MAX (group-room.ts)
 */
import type { TopicId } from '../model/ids.ts'
import type { CommittedOffset } from './committed-offset.ts'

export interface PendingOffset {
  readonly groupId: string
  readonly topicId: TopicId
  readonly partition: number
  readonly value: CommittedOffset
  /** Order in the log. */
  readonly sequence: number
}

type PartitionKey = string

export class PendingOffsets {
  readonly #byProducer = new Map<number, Map<string, PendingOffset>>()
  /** Who has something pending for a partition of a group. */
  readonly #byGroup = new Map<string, Map<PartitionKey, Map<number, PendingOffset>>>()
  readonly #groups: { has(groupId: string): boolean }
  #sequence = 0
  #count = 0
  #newGroupCount = 0

  /** `groups`: those that are there whatever becomes of what is pending. */
  constructor(groups: { has(groupId: string): boolean }) {
    this.#groups = groups
  }

  get count(): number {
    return this.#count
  }

  /** Groups that are to be, once their offsets are committed. */
  get newGroupCount(): number {
    return this.#newGroupCount
  }

  /** Producers with an open transaction here. */
  get producerCount(): number {
    return this.#byProducer.size
  }

  put(producerId: number, offset: Omit<PendingOffset, 'sequence'>): void {
    const { groupId, topicId, partition } = offset
    const pending = { ...offset, sequence: this.#sequence++ }
    const key = keyOf(topicId, partition)
    let own = this.#byProducer.get(producerId)
    if (own === undefined) this.#byProducer.set(producerId, (own = new Map()))
    const before = own.size
    own.set(`${key} ${groupId}`, pending)
    this.#count += own.size - before
    let group = this.#byGroup.get(groupId)
    if (group === undefined) {
      this.#byGroup.set(groupId, (group = new Map()))
      if (!this.#groups.has(groupId)) this.#newGroupCount++
    }
    let producers = group.get(key)
    if (producers === undefined) group.set(key, (producers = new Map()))
    producers.set(producerId, pending)
  }

  has(groupId: string, topicId: TopicId, partition: number): boolean {
    return this.#byGroup.get(groupId)?.has(keyOf(topicId, partition)) === true
  }

  hasGroup(groupId: string): boolean {
    return this.#byGroup.has(groupId)
  }

  onGroupAdded(groupId: string): void {
    if (this.#byGroup.has(groupId)) this.#newGroupCount--
  }

  onGroupRemoved(groupId: string): void {
    if (this.#byGroup.has(groupId)) this.#newGroupCount++
  }

  /** Groups that have something pending for the topic. Looks at all that is pending. */
  groupsWith(topicId: TopicId, fromPartition: number): Set<string> {
    const groupIds = new Set<string>()
    for (const own of this.#byProducer.values())
      for (const pending of own.values())
        if (pending.topicId === topicId && pending.partition >= fromPartition) groupIds.add(pending.groupId)
    return groupIds
  }

  /** Partitions of the group that have something pending. */
  countOf(groupId: string): number {
    return this.#byGroup.get(groupId)?.size ?? 0
  }

  partitionsOf(groupId: string): { readonly topicId: TopicId; readonly partition: number }[] {
    const group = this.#byGroup.get(groupId)?.values() ?? []
    return [...group].map((producers) => producers.values().next().value!)
  }

  /** A later record of this partition is in the log: what is pending from before `sequence` will not count. */
  supersede(groupId: string, topicId: TopicId, partition: number, sequence = this.#sequence): void {
    const producers = this.#byGroup.get(groupId)?.get(keyOf(topicId, partition))
    for (const [producerId, pending] of producers ?? [])
      if (pending.sequence < sequence) this.#remove(producerId, pending)
  }

  /** The producer's transaction has ended: takes out what was pending of it, in the log's order. */
  end(producerId: number): PendingOffset[] {
    const pendings = [...(this.#byProducer.get(producerId)?.values() ?? [])]
    for (const pending of pendings) this.#remove(producerId, pending)
    return pendings.sort((left, right) => left.sequence - right.sequence)
  }

  #remove(producerId: number, { groupId, topicId, partition }: PendingOffset): void {
    const key = keyOf(topicId, partition)
    const own = this.#byProducer.get(producerId)!
    own.delete(`${key} ${groupId}`)
    this.#count--
    if (own.size === 0) this.#byProducer.delete(producerId)
    const group = this.#byGroup.get(groupId)!
    const producers = group.get(key)!
    producers.delete(producerId)
    if (producers.size === 0) group.delete(key)
    if (group.size > 0) return
    this.#byGroup.delete(groupId)
    if (!this.#groups.has(groupId)) this.#newGroupCount--
  }
}

function keyOf(topicId: TopicId, partition: number): PartitionKey {
  return `${topicId}/${partition}`
}
