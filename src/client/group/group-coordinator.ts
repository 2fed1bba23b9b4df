/**
 * GroupCoordinator: how a group's requests reach the broker that coordinates it.
 *
 * Failure  one attempt a call; what its caller does about an error differs: see classOf(). After an error that may mean that the group is
 *          coordinated elsewhere by now the next call looks for its coordinator again
 */
import { errorCodeOf, type MillraceError } from '../../model/errors.ts'
import type { TopicId } from '../../model/ids.ts'
import {
  allPages,
  type Codec,
  CoordinatorKind,
  errorOf,
  offsetFetch,
  type TopicPartitions,
  type TopicResults,
} from '../../protocol/index.ts'
import { abortable } from '../abort.ts'
import { asMillraceError } from '../as-millrace-error.ts'
import type { CoordinatedId, Coordinators } from '../coordinators.ts'

/**
 *   weather   the same request may succeed later               wait, ask again as the same member
 *   stale     the epoch has moved on, or is about to            hear the newest epoch, ask again
 *   fenced    the member is none any more                       give all up, join anew
 *   final     nothing helps: a name, a right, a limit           the group ends
 */
export type ErrorClass = 'weather' | 'stale' | 'fenced' | 'final'

export function classOf(error: MillraceError): ErrorClass {
  if (error.code === 'UNKNOWN_MEMBER_ID' || error.code === 'FENCED_MEMBER_EPOCH') return 'fenced'
  if (error.code === 'STALE_MEMBER_EPOCH') return 'stale'
  return error.retriable ? 'weather' : 'final'
}

export interface CallOptions {
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
  /** As of a connection's call. */
  readonly onLate?: 'give-up' | 'end-connection'
}

/** A committed offset; offset -1 = none. */
export interface CommittedOffset {
  readonly topic: string
  /** Of the topic that it was committed for; '' = not known. */
  readonly topicId: TopicId | ''
  readonly partition: number
  readonly offset: number
  /** The newest leader epoch that whoever committed it knew; -1 = not known. */
  readonly leaderEpoch: number
  readonly metadata: string
  readonly commitTimestampMs: number
}

export class GroupCoordinator {
  readonly groupId: string
  readonly #coordinators: Coordinators
  readonly #of: CoordinatedId

  constructor(groupId: string, coordinators: Coordinators) {
    this.groupId = groupId
    this.#coordinators = coordinators
    this.#of = { kind: CoordinatorKind.GROUP, id: groupId }
  }

  async call<Request, Value>(codec: Codec<Request, Value>, request: Request, options: CallOptions): Promise<Value> {
    const { timeoutMs, signal, onLate = 'give-up' } = options
    try {
      const connection = await this.#coordinators.connection(this.#of, { signal })
      return (await abortable(connection.call(codec, request, { timeoutMs, onLate }), signal)).value
    } catch (error) {
      this.#coordinators.failed(this.#of, asMillraceError(error))
      throw error
    }
  }

  /** Where brokers may be: for a thread that looks by itself. */
  get urls(): readonly string[] {
    return this.#coordinators.urls
  }

  /** Runs `listener` when the broker has something new for the member; the answer stops that. */
  onChanged(memberId: string, listener: () => void): () => void {
    return this.#coordinators.onGroupChanged(memberId, listener)
  }

  /** Committed offsets of the partitions named, as a member or as nobody (memberId '', epoch -1). Throws a partition's error. */
  async committed(
    member: { readonly memberId: string; readonly memberEpoch: number },
    topics: readonly TopicPartitions[] | null,
    options: CallOptions,
  ): Promise<CommittedOffset[]> {
    const request = { groupId: this.groupId, ...member, requireStable: true, topics }
    const pages = await allPages((cursor) => this.call(offsetFetch, { ...request, cursor }, options))
    const fetched = pages.flatMap((page) => page.topics)
    throwPartitionErrors(fetched)
    return fetched.flatMap(({ topic, topicId, partitions }) =>
      partitions.map(({ partition, offset, leaderEpoch, metadata, commitTimestampMs }) => ({
        ...{ topic, topicId, partition, offset, leaderEpoch, metadata, commitTimestampMs },
      })),
    )
  }
}

/** Throws the first error among the partitions of a reply. */
export function throwPartitionErrors(topics: readonly TopicResults[]): void {
  for (const { topic, partitions } of topics)
    for (const { partition, errorNumber, errorText } of partitions) {
      const code = errorCodeOf(errorNumber)
      if (code !== 'NONE') throw errorOf(errorNumber, `${topic}/${partition}: ${errorText || code}`)
    }
}
