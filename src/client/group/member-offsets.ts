/**
 * MemberOffsets: offsets of this member's partitions as part of a transaction.
 *
 * Invariants  F1 nothing is committed of a partition that is not this member's any more: it is looked at when the request is made, and the
 *                epoch that is sent is the one of that moment, which the coordinator compares               checked in: request()
 *             F2 nothing is committed of records that were read before the partition was assigned, or sought: others may have had it
 *                meanwhile                                                                                   checked in: add()
 *             F3 what is committed does not fall: what is below it is left out                               checked in: #due()
 * Failure     a stale epoch: the newest is heard of, and the partitions are looked at again; fenced: the member is told
 */
import { MillraceError } from '../../model/errors.ts'
import type { OffsetCommitRequest } from '../../protocol/index.ts'
import { abortable } from '../abort.ts'
import { commitTopics } from '../commit-topics.ts'
import type { MetadataCache } from '../metadata-cache.ts'
import { checkedHandled, type HandledRecord, type OffsetsToCommit } from '../transaction/transaction-offsets.ts'
import type { AssignedPartition } from './assigned-partition.ts'
import { classOf } from './group-coordinator.ts'
import type { HandledOffsets } from './handled-offsets.ts'
import { type CommittedPosition, type CommittingMember, goneError, STALE_MAX } from './offset-committer.ts'

export interface MemberOffsetsParts {
  readonly groupId: string
  readonly instanceId: string | null
  readonly member: CommittingMember
  readonly metadata: Pick<MetadataCache, 'leaderEpochOf'>
  readonly find: (topic: string, partition: number) => AssignedPartition | undefined
  readonly onCommitted: (offsets: readonly CommittedPosition[]) => void
}

interface Place {
  /** A seek() puts another one in its place: then this commit says nothing of the new one. */
  readonly window: HandledOffsets
  nextOffset: number
}

export class MemberOffsets implements OffsetsToCommit {
  readonly #parts: MemberOffsetsParts
  readonly #places = new Map<AssignedPartition, Place>()
  #sentEpoch = -1
  #staleCount = 0

  constructor(parts: MemberOffsetsParts) {
    this.#parts = parts
  }

  get groupId(): string {
    return this.#parts.groupId
  }

  get isEmpty(): boolean {
    return this.#due().length === 0
  }

  /** Partitions whose commit says something new. */
  #due(): [AssignedPartition, Place][] {
    return [...this.#places].filter(
      ([{ handled, committedOffset }, { window, nextOffset }]) => handled !== window || nextOffset > committedOffset,
    )
  }

  add(record: HandledRecord): void {
    const { topic, partition: number, offset } = checkedHandled(record)
    const partition = this.#parts.find(topic, number)
    if (partition === undefined || offset >= partition.position) throw goneError(record)
    if (offset < partition.startOffset) throw earlierError(partition, offset)
    const place = this.#places.get(partition)
    if (place === undefined) this.#places.set(partition, { window: partition.handled, nextOffset: offset + 1 })
    else place.nextOffset = Math.max(place.nextOffset, offset + 1)
  }

  request(): OffsetCommitRequest {
    const { groupId, instanceId, member, metadata } = this.#parts
    for (const partition of this.#places.keys()) if (partition.state === 'gone') throw goneError(partition)
    const { memberId, epoch: memberEpoch } = member
    this.#sentEpoch = memberEpoch
    const positions = this.#due().map(([assigned, { nextOffset }]) => {
      const { topic, topicId, partition } = assigned
      return { topic, topicId, partition, offset: nextOffset, leaderEpoch: metadata.leaderEpochOf(assigned) }
    })
    return { groupId, memberId, memberEpoch, instanceId, topics: commitTopics(positions) }
  }

  async refused(error: MillraceError, signal: AbortSignal): Promise<boolean> {
    const { member } = this.#parts
    const kind = classOf(error)
    if (kind === 'fenced') member.fenced(error, this.#sentEpoch)
    const isGone = [...this.#places.keys()].some(({ state }) => state === 'gone')
    if (kind !== 'stale' || isGone || ++this.#staleCount > STALE_MAX) return false
    if (this.#sentEpoch === member.epoch) await abortable(member.nextBeat(), signal)
    return true
  }

  committed(): void {
    const offsets: CommittedPosition[] = []
    for (const [partition, { window, nextOffset }] of this.#due()) {
      offsets.push({ topic: partition.topic, partition: partition.partition, offset: nextOffset })
      if (partition.handled === window) partition.committedOffset = Math.max(partition.committedOffset, nextOffset)
    }
    if (offsets.length > 0) this.#parts.onCommitted(offsets)
  }
}

function earlierError({ key, startOffset }: AssignedPartition, offset: number): MillraceError {
  return new MillraceError(
    'STALE_MEMBER_EPOCH',
    `${key}: the record at offset ${offset} was read before the partition was assigned or sought anew, which now begins at ${startOffset}: ` +
      'others may have handled it since',
  )
}
