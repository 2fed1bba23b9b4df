/** What a fetch of offsets sees of its group: what is committed, and, where it is to be stable, that something is pending. */
import type { TopicId } from '../model/ids.ts'
import type { CommittedOffset } from './committed-offset.ts'
import type { GroupContext } from './group-context.ts'
import type { Group } from './group-state.ts'
import type { FetchedOffset, OffsetFetchRequest } from './requests.ts'

const NO_COMMITTED: CommittedOffset = { offset: -1, leaderEpoch: -1, metadata: '', commitTimestampMs: -1 }
const NOTHING: ReadonlyMap<number, CommittedOffset> = new Map()

export class OffsetLook {
  readonly context: GroupContext
  readonly #groupId: string
  readonly #group: Group | undefined
  /** Partitions with something pending, which nobody may take for free of it; empty where that is not asked for. */
  readonly #pending: ReadonlyMap<TopicId, ReadonlySet<number>>

  constructor(context: GroupContext, { groupId, requireStable }: OffsetFetchRequest) {
    this.context = context
    this.#groupId = groupId
    this.#group = context.state.groups.get(groupId)
    this.#pending = requireStable ? this.#pendingPartitions() : new Map()
  }

  #pendingPartitions(): Map<TopicId, Set<number>> {
    const topics = new Map<TopicId, Set<number>>()
    for (const { topicId, partition } of this.context.state.pending.partitionsOf(this.#groupId))
      topics.set(topicId, (topics.get(topicId) ?? new Set()).add(partition))
    return topics
  }

  topicIds(): Iterable<TopicId> {
    const committed = this.#group?.offsets.keys() ?? []
    return this.#pending.size === 0 ? committed : new Set([...committed, ...this.#pending.keys()])
  }

  partitionsOf(topicId: TopicId): number[] {
    const committed = (this.#group?.offsets.get(topicId) ?? NOTHING).keys()
    const pending = this.#pending.get(topicId)
    return pending === undefined ? [...committed] : [...new Set([...committed, ...pending])]
  }

  /** undefined: of a topic that is not known, which has none. */
  offset(topicId: TopicId | undefined, partition: number): FetchedOffset {
    if (topicId === undefined) return { partition, error: 'NONE', text: '', ...NO_COMMITTED }
    if (this.#pending.get(topicId)?.has(partition)) {
      const text = 'offsets of an open transaction are pending'
      return { partition, ...NO_COMMITTED, error: 'UNSTABLE_OFFSET_COMMIT', text }
    }
    const value = this.#group?.offsets.get(topicId)?.get(partition) ?? NO_COMMITTED
    return { partition, error: 'NONE', text: '', ...value }
  }
}
