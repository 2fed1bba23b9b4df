/**
 * Offsets that a transaction commits for a group, gathered until its end: of each partition the largest, in one request a group.
 *
 * Rule  what is named was handled: record.offset + 1 is committed, as group.commit(record) does
 */
import { MillraceError } from '../../model/errors.ts'
import type { OffsetCommitRequest } from '../../protocol/index.ts'
import { commitTopics } from '../commit-topics.ts'

/** A record that was handled, or the last one of its partition. */
export interface HandledRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: number
}

/** The offsets of one group in one transaction. */
export interface OffsetsToCommit {
  readonly groupId: string
  /** There is nothing to commit. */
  readonly isEmpty: boolean
  /** Throws STALE_MEMBER_EPOCH where the partition is not assigned to the group's member any more. */
  add(record: HandledRecord): void
  /** What is sent, as whom: by the member's newest epoch. Throws STALE_MEMBER_EPOCH where a partition has gone meanwhile. */
  request(): OffsetCommitRequest
  /** The group has refused them: true = they may be asked for again, by what the member has heard since. */
  refused(error: MillraceError, signal: AbortSignal): Promise<boolean>
  /** The transaction is committed. */
  committed(): void
}

/** What a transaction takes for a group: one that is a member here, or its id alone. */
export interface CommittingGroup {
  readonly id: string
  /** A collection of its own for each transaction. */
  offsetsToCommit(): OffsetsToCommit
}

/** Of a group by its id, for programs that keep track of partitions themselves: nobody else may be a member of it. */
export class OffsetsWithoutMember implements OffsetsToCommit {
  readonly groupId: string
  readonly #positions = new Map<string, HandledRecord>()

  constructor(groupId: string) {
    this.groupId = groupId
  }

  get isEmpty(): boolean {
    return this.#positions.size === 0
  }

  add(record: HandledRecord): void {
    const { topic, partition, offset } = checkedHandled(record)
    const key = `${topic}/${partition}`
    const next = Math.max(this.#positions.get(key)?.offset ?? 0, offset + 1)
    this.#positions.set(key, { topic, partition, offset: next })
  }

  request(): OffsetCommitRequest {
    const { groupId } = this
    return { groupId, memberId: '', memberEpoch: -1, instanceId: null, topics: commitTopics(this.#positions.values()) }
  }

  refused(): Promise<boolean> {
    return Promise.resolve(false)
  }

  committed(): void {}
}

/** Throws INVALID_ARGUMENT unless `record` names a topic, a partition and an offset. */
export function checkedHandled(record: HandledRecord): HandledRecord {
  const { topic, partition, offset } = record ?? {}
  if (typeof topic === 'string' && Number.isSafeInteger(partition) && Number.isSafeInteger(offset) && offset >= 0)
    return record
  throw new MillraceError(
    'INVALID_ARGUMENT',
    'commitOffsets(): expected a record that was handled, or { topic, partition, offset } of the last one of its partition',
  )
}
