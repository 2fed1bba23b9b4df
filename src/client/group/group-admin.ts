/**
 * GroupAdmin: what looks at groups, moves their offsets and deletes them, without being a member.
 *
 * Limits   seek and deleteOffsets want a group without members: a member would commit over them
 * Failure  every call takes an AbortSignal and throws MillraceError
 */
import type { Clock } from '../../base/clock.ts'
import { errorCodeOf, MillraceError } from '../../model/errors.ts'
import {
  allPages,
  CoordinatorKind,
  type DeletedGroup,
  type DescribedGroup,
  type DescribedMember,
  deleteGroups,
  errorOf,
  fetch,
  groupDescribe,
  joinDescribed,
  type ListedGroup,
  listGroups,
  type MetadataBroker,
  offsetCommit,
  offsetDelete,
  offsetFetch,
  type TopicPartitions,
} from '../../protocol/index.ts'
import { BATCH_HEADER_BYTES } from '../../record/batch-layout.ts'
import { BatchView } from '../../record/batch-view.ts'
import { abortable, throwIfAborted } from '../abort.ts'
import { asMillraceError } from '../as-millrace-error.ts'
import { type CoordinatedId, hasMoved } from '../coordinators.ts'
import { checkedPartitions, type MetadataCache } from '../metadata-cache.ts'
import { checkedPosition, type Positions } from '../positions.ts'
import type { Position } from '../record-types.ts'
import type { Requests } from '../requests.ts'
import { type TopicLike, topicName } from '../topic.ts'
import { throwPartitionErrors } from './group-coordinator.ts'
import type { TopicPartition } from './group-options.ts'

interface SignalOption {
  readonly signal?: AbortSignal
}

export interface GroupMember extends Omit<DescribedMember, 'assignment' | 'targetAssignment'> {
  /** What it may read now, and what it is to read when all are reconciled. */
  readonly assignment: readonly TopicPartition[]
  readonly targetAssignment: readonly TopicPartition[]
}

/** A committed offset and how far it is behind; what cannot be known is undefined: the topic is gone, or the partition is not served. */
export interface GroupOffset extends TopicPartition {
  /** The next record to be handled. */
  readonly offset: number
  readonly metadata: string
  /** By the broker's clock. */
  readonly committedAtMs: number
  readonly logStartOffset: number | undefined
  readonly highWatermark: number | undefined
  /** Records that are to be handled. */
  readonly lag: number | undefined
  /** Age of the oldest of them (of its batch's largest timestamp); 0 when there is none. */
  readonly lagMs: number | undefined
}

export interface GroupDescription {
  readonly groupId: string
  /** consumer: the broker assigns; classic: a member does; simple: offsets only. */
  readonly kind: string
  /** Empty, Assigning, Reconciling, Stable. */
  readonly state: string
  readonly groupEpoch: number
  readonly assignor: string
  readonly members: readonly GroupMember[]
  readonly offsets: readonly GroupOffset[]
}

export interface ListGroupsOptions extends SignalOption {
  readonly states?: readonly string[]
  readonly kinds?: readonly string[]
  /** A broker did not answer: what it coordinates is not in the list. */
  readonly onMissing?: (broker: { readonly nodeId: number; readonly url: string }, error: MillraceError) => void
}

export interface SeekGroupOptions extends SignalOption {
  /** Default: all that the group has committed offsets of. */
  readonly topics?: TopicLike | readonly TopicLike[]
  /** Default: all. */
  readonly partitions?: readonly number[]
  /** Answers what would be done. */
  readonly dryRun?: boolean
}

export interface SoughtOffset extends TopicPartition {
  /** Undefined = nothing was committed. */
  readonly fromOffset: number | undefined
  readonly toOffset: number
}

const NOBODY = { memberId: '', memberEpoch: -1 }
/** Lookups of a batch's time on their way at once. */
const LOOKUPS_MAX = 64

export class GroupAdmin {
  readonly #requests: Requests
  readonly #metadata: MetadataCache
  readonly #positions: Positions
  readonly #clock: Clock

  constructor(parts: { requests: Requests; metadata: MetadataCache; positions: Positions; clock: Clock }) {
    this.#requests = parts.requests
    this.#metadata = parts.metadata
    this.#positions = parts.positions
    this.#clock = parts.clock
  }

  /**
   * Groups by id; `states` and `kinds` keep some, in any case. Every broker tells of those that it coordinates; one that does not
   * answer is left out, and told to `onMissing`, unless none does.
   */
  async list(options: ListGroupsOptions = {}): Promise<ListedGroup[]> {
    const { states = [], kinds = [], onMissing, signal } = options
    const { brokers } = (await this.#requests.metadata({ topics: [] }, { signal })).value
    const listOf = async ({ nodeId }: MetadataBroker): Promise<readonly ListedGroup[]> => {
      const asked = { nodeId, signal }
      const pages = await allPages((cursor) => this.#requests.ask(listGroups, { states, kinds, cursor }, asked))
      return pages.flatMap(({ groups }) => groups)
    }
    const outcomes = await Promise.allSettled(brokers.map(listOf))
    throwIfAborted(signal)
    // By id: while a coordinator moves two brokers may tell of a group.
    const byId = new Map<string, ListedGroup>()
    const missing: { readonly broker: MetadataBroker; readonly error: MillraceError }[] = []
    outcomes.forEach((outcome, index) => {
      if (outcome.status === 'rejected')
        missing.push({ broker: brokers[index]!, error: asMillraceError(outcome.reason) })
      else for (const group of outcome.value) byId.set(group.groupId, group)
    })
    if (missing.length > 0 && missing.length === brokers.length) throw missing[0]!.error
    for (const { broker, error } of missing) onMissing?.(broker, error)
    return [...byId.values()].sort((left, right) => (left.groupId < right.groupId ? -1 : 1))
  }

  /** Throws GROUP_ID_NOT_FOUND. */
  async describe(groupId: string, options: SignalOption = {}): Promise<GroupDescription> {
    const { signal } = options
    const group = await this.#described(groupId, signal)
    if (group === undefined) throw new MillraceError('GROUP_ID_NOT_FOUND', `there is no group '${groupId}'`)
    throwGroupError(group)
    const { kind, state, groupEpoch, assignor } = group
    const members = group.members.map((member) => ({
      ...member,
      assignment: flat(member.assignment),
      targetAssignment: flat(member.targetAssignment),
    }))
    return { groupId, kind, state, groupEpoch, assignor, members, offsets: await this.offsets(groupId, options) }
  }

  /** Forgets a group without members, its offsets too. Throws NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND. */
  async delete(groupId: string, options: SignalOption = {}): Promise<void> {
    const asked = { changes: true, coordinator: ofGroup(groupId), signal: options.signal }
    const reply = await this.#requests.ask(deleteGroups, { groupIds: [groupId] }, asked, throwIfMoved)
    for (const group of reply.groups) throwGroupError(group)
  }

  /** The committed offsets with their lag, by topic and partition; none for a group that is not there. */
  async offsets(groupId: string, options: SignalOption = {}): Promise<GroupOffset[]> {
    const committed = await this.#committed(groupId, options.signal)
    const byTopic = new Map<string, (typeof committed)[number][]>()
    for (const each of committed) {
      const ofTopic = byTopic.get(each.topic)
      if (ofTopic === undefined) byTopic.set(each.topic, [each])
      else ofTopic.push(each)
    }
    const all: GroupOffset[] = []
    for (const topic of [...byTopic.keys()].sort())
      for (const each of await this.#withLag(topic, byTopic.get(topic)!, options.signal)) all.push(each)
    return all
  }

  /** Puts the group's offsets elsewhere. Throws NON_EMPTY_GROUP while it has members. */
  async seek(groupId: string, position: Position, options: SeekGroupOptions = {}): Promise<SoughtOffset[]> {
    const checked = checkedPosition('position', position)
    const { signal } = options
    await this.#checkEmpty(groupId, signal)
    const before = await this.#committed(groupId, signal)
    const moved: SoughtOffset[] = []
    const topics: TopicPartitions[] = []
    const offsets = new Map<string, number>()
    for (const topic of seekTopics(groupId, options, before)) {
      const info = await abortable(this.#metadata.get(topic), signal)
      const partitions = checkedPartitions(info, options.partitions)
      for (const { partition, offset } of await this.#positions.resolve(topic, partitions, checked, { signal })) {
        const fromOffset = before.find((each) => each.topic === topic && each.partition === partition)?.offset
        moved.push({ topic, partition, fromOffset, toOffset: offset })
        offsets.set(`${topic}/${partition}`, offset)
      }
      topics.push({ topic, topicId: info.topicId, partitions })
    }
    if (options.dryRun !== true) await this.#commit(groupId, topics, offsets, signal)
    return moved
  }

  /** Forgets the committed offsets of a topic's partitions (all, when none are named). Throws GROUP_SUBSCRIBED_TO_TOPIC. */
  async deleteOffsets(
    groupId: string,
    topic: TopicLike,
    options: SignalOption & { readonly partitions?: readonly number[] } = {},
  ): Promise<void> {
    const { signal } = options
    const info = await abortable(this.#metadata.get(topicName(topic)), signal)
    const partitions = checkedPartitions(info, options.partitions)
    const topics = [{ topic: info.name, topicId: info.topicId, partitions }]
    const asked = { changes: true, coordinator: ofGroup(groupId), signal }
    const reply = await this.#requests.ask(offsetDelete, { groupId, topics }, asked)
    throwPartitionErrors(reply.topics)
  }

  async #described(groupId: string, signal: AbortSignal | undefined): Promise<DescribedGroup | undefined> {
    const groupIds = [groupId]
    const asked = { coordinator: ofGroup(groupId), signal }
    return joinDescribed(
      await allPages((cursor) => this.#requests.ask(groupDescribe, { groupIds, cursor }, asked, throwIfMoved)),
    )
  }

  async #committed(groupId: string, signal: AbortSignal | undefined) {
    const request = { groupId, ...NOBODY, requireStable: false, topics: null }
    const asked = { coordinator: ofGroup(groupId), signal }
    const pages = await allPages((cursor) => this.#requests.ask(offsetFetch, { ...request, cursor }, asked))
    const fetched = pages.flatMap((page) => page.topics)
    throwPartitionErrors(fetched)
    return fetched.flatMap(({ topic, partitions }) =>
      partitions
        .filter(({ offset }) => offset >= 0)
        .map(({ partition, offset, metadata, commitTimestampMs }) => ({
          ...{ topic, partition, offset, metadata },
          committedAtMs: commitTimestampMs,
        })),
    )
  }

  async #commit(
    groupId: string,
    topics: readonly TopicPartitions[],
    offsets: ReadonlyMap<string, number>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const request = {
      ...{ groupId, ...NOBODY, instanceId: null },
      topics: topics.map(({ topic, topicId, partitions }) => ({
        ...{ topic, topicId },
        partitions: partitions.map((partition) => {
          const offset = offsets.get(`${topic}/${partition}`)!
          return { partition, offset, leaderEpoch: -1, metadata: '' }
        }),
      })),
    }
    const asked = { changes: true, coordinator: ofGroup(groupId), signal }
    const reply = await this.#requests.ask(offsetCommit, request, asked)
    throwPartitionErrors(reply.topics)
  }

  async #checkEmpty(groupId: string, signal: AbortSignal | undefined): Promise<void> {
    const count = (await this.#described(groupId, signal))?.members.length ?? 0
    if (count === 0) return
    throw new MillraceError(
      'NON_EMPTY_GROUP',
      `group '${groupId}' has ${count} members: stop them first, or they commit over what is sought`,
    )
  }

  /** A topic's committed offsets with the ends of its partitions. */
  async #withLag(
    topic: string,
    committed: readonly Omit<GroupOffset, 'logStartOffset' | 'highWatermark' | 'lag' | 'lagMs'>[],
    signal: AbortSignal | undefined,
  ): Promise<GroupOffset[]> {
    const unknown = { logStartOffset: undefined, highWatermark: undefined, lag: undefined, lagMs: undefined }
    const sorted = [...committed].sort((left, right) => left.partition - right.partition)
    const numbers = sorted.map(({ partition }) => partition)
    let [starts, ends]: [Map<number, number>, Map<number, number>] = [new Map(), new Map()]
    try {
      await abortable(this.#metadata.get(topic), signal)
      starts = byPartition(await this.#positions.resolve(topic, numbers, 'start', { signal }))
      ends = byPartition(await this.#positions.resolve(topic, numbers, 'end', { signal }))
    } catch (error) {
      if (signal?.aborted) throw error
      return sorted.map((each) => ({ ...each, ...unknown }))
    }
    const offsets: GroupOffset[] = []
    for (let at = 0; at < sorted.length; at += LOOKUPS_MAX)
      offsets.push(
        ...(await Promise.all(
          sorted.slice(at, at + LOOKUPS_MAX).map(async (each) => {
            const logStartOffset = starts.get(each.partition)!
            const highWatermark = ends.get(each.partition)!
            const next = Math.max(each.offset, logStartOffset)
            const lag = Math.max(0, highWatermark - next)
            const lagMs = lag === 0 ? 0 : await this.#ageOf(topic, each.partition, next, signal)
            return { ...each, logStartOffset, highWatermark, lag, lagMs }
          }),
        )),
      )
    return offsets
  }

  /** How old the batch at an offset is, by its header, as the broker's own lag in seconds has it. */
  async #ageOf(
    topic: string,
    partition: number,
    fetchOffset: number,
    signal: AbortSignal | undefined,
  ): Promise<number | undefined> {
    const info = this.#metadata.peek(topic)
    const leader = info?.partitions[partition]
    if (info === undefined || leader === undefined) return undefined
    const { leaderEpoch, leaderNodeId: nodeId } = leader
    const parts = [{ topicId: info.topicId, partition, leaderEpoch, fetchOffset, maxBytes: 1 }]
    const request = { waitMs: 0, minBytes: 1, maxBytes: 1, isolation: 0, parts } as const
    try {
      const { body } = await this.#requests.exchange(fetch, request, { nodeId, signal })
      if (body.length < BATCH_HEADER_BYTES) return undefined
      return Math.max(0, this.#clock.nowMs() - new BatchView().reset(body, 0).maxTimestamp)
    } catch (error) {
      if (signal?.aborted) throw error
      return undefined
    }
  }
}

function ofGroup(groupId: string): CoordinatedId {
  return { kind: CoordinatorKind.GROUP, id: groupId }
}

/** An error in a group's own row that says that another broker is to be asked is one of the whole request. */
function throwIfMoved({ groups }: { readonly groups: readonly DeletedGroup[] }): void {
  for (const group of groups) if (hasMoved(errorCodeOf(group.errorNumber))) throwGroupError(group)
}

function seekTopics(groupId: string, options: SeekGroupOptions, before: readonly TopicPartition[]): string[] {
  const { topics } = options
  if (topics !== undefined) {
    const list = Array.isArray(topics) ? (topics as readonly TopicLike[]) : [topics as TopicLike]
    return [...new Set(list.map(topicName))]
  }
  const names = [...new Set(before.map(({ topic }) => topic))].filter((topic) => topic !== '').sort()
  if (names.length > 0) return names
  throw new MillraceError('INVALID_ARGUMENT', `group '${groupId}' has committed nothing: name the topics to seek in`)
}

function throwGroupError(group: {
  readonly groupId: string
  readonly errorNumber: number
  readonly errorText: string
}) {
  const code = errorCodeOf(group.errorNumber)
  if (code !== 'NONE') throw errorOf(group.errorNumber, `group '${group.groupId}': ${group.errorText || code}`)
}

function flat(topics: readonly TopicPartitions[]): TopicPartition[] {
  return topics.flatMap(({ topic, partitions }) => partitions.map((partition) => ({ topic, partition })))
}

function byPartition(list: readonly { readonly partition: number; readonly offset: number }[]): Map<number, number> {
  return new Map(list.map(({ partition, offset }) => [partition, offset]))
}
