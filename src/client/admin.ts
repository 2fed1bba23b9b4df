/** Admin: what changes or describes the cluster's topics, groups, replicas and users. Every call takes an AbortSignal and throws MillraceError. */

import { MillraceError } from '../model/errors.ts'
import { isInternalTopic } from '../model/internal-topics.ts'
import {
  addPartitions,
  alterTopicConfig,
  type ClusterDescription,
  type CreateTopicReply,
  type CreateTopicRequest,
  createTopic,
  deleteTopic,
  describeCluster,
  READ_COMMITTED,
  READ_UNCOMMITTED,
  trim,
} from '../protocol/index.ts'
import { abortable, throwIfAborted } from './abort.ts'
import { asMillraceError } from './as-millrace-error.ts'
import { checkedInteger } from './client-options.ts'
import type { ClientRuntime } from './client-runtime.ts'
import { ClusterAdmin } from './cluster-admin.ts'
import { GroupAdmin } from './group/group-admin.ts'
import { whileLeadersMove } from './leader-changes.ts'
import { checkedPartitions, type MetadataCache, type PartitionInfo, type TopicInfo } from './metadata-cache.ts'
import { checkedPosition, type PartitionOffset, type Positions } from './positions.ts'
import type { Position } from './record-types.ts'
import { isInDoubt, type Requests } from './requests.ts'
import { type TopicLike, topicName } from './topic.ts'
import { UserAdmin } from './user-admin.ts'

export interface CreateTopicOptions {
  /** Default: the broker's. */
  readonly partitions?: number
  readonly replicas?: number
  readonly config?: Readonly<Record<string, string>>
  /** A topic of this name is not an error: `created` is false. */
  readonly ifNotExists?: boolean
  readonly validateOnly?: boolean
  readonly signal?: AbortSignal
}

export interface CreatedTopic {
  readonly name: string
  readonly topicId: string
  readonly partitions: number
  readonly created: boolean
}

export interface TopicSummary {
  readonly name: string
  readonly topicId: string
  readonly partitions: number
}

export interface PartitionDescription extends PartitionInfo {
  readonly partition: number
  readonly logStartOffset: number | undefined
  readonly highWatermark: number | undefined
  /** Where read_committed ends: behind the high watermark while a transaction is open below it. */
  readonly lastStableOffset: number | undefined
}

export interface TopicDescription {
  readonly name: string
  readonly topicId: string
  readonly config: Readonly<Record<string, string>>
  /** From this partition on it takes no new records; -1 = all do. */
  readonly drainFrom: number
  readonly partitions: readonly PartitionDescription[]
}

export interface AlterTopicOptions {
  /** The new total; more than now, or with `drain` fewer. */
  readonly partitions?: number
  /** See addPartitions(). */
  readonly drain?: boolean
  readonly set?: Readonly<Record<string, string>>
  /** Keys that go back to their default. */
  readonly remove?: readonly string[]
  readonly signal?: AbortSignal
}

export interface TrimOptions {
  /** Records before it go; the high watermark, when left out. */
  readonly before?: number
  /** Default: all. */
  readonly partitions?: readonly number[]
  readonly signal?: AbortSignal
}

interface SignalOption {
  readonly signal?: AbortSignal
}

/** A partition whose leader is gone is described without offsets sooner than another one may be found. */
const DESCRIBE_PATIENCE_MS = 3_000

export class TopicAdmin {
  readonly #runtime: ClientRuntime
  readonly #requests: Requests
  readonly #metadata: MetadataCache
  readonly #positions: Positions

  constructor(parts: { runtime: ClientRuntime; requests: Requests; metadata: MetadataCache; positions: Positions }) {
    this.#runtime = parts.runtime
    this.#requests = parts.requests
    this.#metadata = parts.metadata
    this.#positions = parts.positions
  }

  async create(topic: TopicLike, options: CreateTopicOptions = {}): Promise<CreatedTopic> {
    const name = topicName(topic)
    const request = {
      name,
      partitions: options.partitions ?? -1,
      replicas: options.replicas ?? -1,
      config: options.config ?? {},
      ifNotExists: options.ifNotExists ?? false,
      validateOnly: options.validateOnly ?? false,
    }
    for (const field of ['partitions', 'replicas'] as const)
      if (options[field] !== undefined) checkedInteger(field, request[field], 1, 2 ** 31 - 1)
    const reply = await this.#create(request, options.signal)
    this.#metadata.forget(name)
    return { name, topicId: reply.topicId, partitions: reply.partitions, created: reply.created }
  }

  /**
   * A create whose answer was lost is read back. A topic that is there then was made by this call, as far as anybody can tell; one that
   * is not is asked for once more.
   */
  async #create(request: CreateTopicRequest, signal: AbortSignal | undefined): Promise<CreateTopicReply> {
    const once = (): Promise<CreateTopicReply> =>
      this.#requests.ask(createTopic, request, { changes: !request.validateOnly, signal })
    try {
      return await once()
    } catch (lost) {
      if (request.validateOnly || !isInDoubt(asMillraceError(lost))) throw lost
      const made = await this.#readBack(request, signal)
      if (made !== undefined) return made
      try {
        return await once()
      } catch (error) {
        const isThere = asMillraceError(error).code === 'TOPIC_ALREADY_EXISTS'
        const madeMeanwhile = isThere ? await this.#readBack(request, signal) : undefined
        if (madeMeanwhile === undefined) throw error
        return madeMeanwhile
      }
    }
  }

  /** The topic as `request` wants it; undefined where there is none, or another one. */
  async #readBack(request: CreateTopicRequest, signal: AbortSignal | undefined): Promise<CreateTopicReply | undefined> {
    const { name, partitions, ifNotExists } = request
    try {
      const info = await abortable(this.#metadata.fresh(name), signal)
      if (partitions > 0 && partitions !== info.partitions.length) return undefined
      return { topicId: info.topicId, partitions: info.partitions.length, created: !ifNotExists }
    } catch (error) {
      if (asMillraceError(error).code === 'UNKNOWN_TOPIC_OR_PARTITION') return undefined
      throw error
    }
  }

  /** All topics, by name; those that the broker keeps for itself only when asked for. */
  async list(options: SignalOption & { readonly internal?: boolean } = {}): Promise<TopicSummary[]> {
    const { value } = await this.#requests.metadata({ topics: null }, { signal: options.signal })
    return value.topics
      .filter((topic) => topic.errorNumber === 0 && (options.internal === true || !isInternalTopic(topic.name)))
      .map((topic) => ({ name: topic.name, topicId: topic.topicId, partitions: topic.partitions.length }))
      .sort((left, right) => (left.name < right.name ? -1 : 1))
  }

  /** A topic with its partitions' leaders and ends; offsets are undefined where a partition does not answer. */
  async describe(topic: TopicLike, options: SignalOption = {}): Promise<TopicDescription> {
    const info = await this.#fresh(topicName(topic), options.signal)
    const serving = info.partitions.flatMap((each, index) =>
      each.leaderNodeId >= 0 && each.offline === null ? [index] : [],
    )
    const { signal } = options
    const ask = (position: Position, isolation: 0 | 1) =>
      this.#answered(info.name, serving, position, isolation, signal)
    const [starts, stableEnds, ends] = await Promise.all([
      ask('start', READ_UNCOMMITTED),
      ask('end', READ_COMMITTED),
      ask('end', READ_UNCOMMITTED),
    ])
    const find = (list: readonly PartitionOffset[], partition: number): number | undefined =>
      list.find((each) => each.partition === partition)?.offset
    return {
      name: info.name,
      topicId: info.topicId,
      config: info.config,
      drainFrom: info.drainFrom,
      partitions: info.partitions.map((each, partition) => ({
        partition,
        ...each,
        logStartOffset: find(starts, partition),
        highWatermark: find(ends, partition),
        lastStableOffset: find(stableEnds, partition),
      })),
    }
  }

  /** Offsets of the partitions whose leaders answer, or are found within moments. */
  async #answered(
    topic: string,
    partitions: readonly number[],
    position: Position,
    isolation: 0 | 1,
    signal: AbortSignal | undefined,
  ): Promise<PartitionOffset[]> {
    const options = { isolation, signal, patienceMs: DESCRIBE_PATIENCE_MS }
    try {
      return await this.#positions.resolve(topic, partitions, position, options)
    } catch (error) {
      if (!asMillraceError(error).retriable) throw error
    }
    const each = partitions.map((partition) =>
      this.#positions.resolve(topic, [partition], position, { ...options, patienceMs: 0 }),
    )
    const outcomes = await Promise.allSettled(each)
    throwIfAborted(signal)
    return outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? outcome.value : []))
  }

  async delete(topic: TopicLike, options: SignalOption = {}): Promise<void> {
    const name = topicName(topic)
    await this.#requests.ask(deleteTopic, { name }, { changes: true, ...options })
    this.#metadata.forget(name)
  }

  /**
   * Gives a topic `total` partitions. With `drain` fewer than it has: those from `total` on take no new records, stay readable, and go
   * when retention has emptied them; with as many as it has draining ends. Keys hash to other partitions: order per key holds before and
   * after, not across.
   */
  async addPartitions(
    topic: TopicLike,
    total: number,
    options: SignalOption & { readonly drain?: boolean } = {},
  ): Promise<void> {
    const name = topicName(topic)
    const totalPartitions = checkedInteger('partitions', total, 1, 2 ** 31 - 1)
    const request = { name, totalPartitions, drain: options.drain === true }
    await this.#requests.ask(addPartitions, request, { changes: true, signal: options.signal })
    this.#metadata.forget(name)
  }

  /** Adds or drains partitions, sets and removes configuration keys. Answers the keys the topic has set itself afterwards. */
  async alter(topic: TopicLike, options: AlterTopicOptions): Promise<Readonly<Record<string, string>>> {
    const name = topicName(topic)
    const { signal } = options
    if (options.partitions !== undefined) {
      const some = { ...(signal === undefined ? {} : { signal }), drain: options.drain === true }
      await this.addPartitions(topic, options.partitions, some)
    }
    let config: Readonly<Record<string, string>> | undefined
    if (options.set !== undefined || options.remove !== undefined) {
      const request = { name, set: options.set ?? {}, remove: options.remove ?? [] }
      config = (await this.#requests.ask(alterTopicConfig, request, { changes: true, signal })).config
    }
    const info = await this.#fresh(name, signal)
    return config ?? info.config
  }

  /** Removes the records before an offset. Answers each partition's new log start. */
  async trim(topic: TopicLike, options: TrimOptions = {}): Promise<PartitionOffset[]> {
    const info = await this.#fresh(topicName(topic), options.signal)
    const { before, signal } = options
    if (before !== undefined) checkedInteger('before', before, 0, Number.MAX_SAFE_INTEGER)
    const partitions = checkedPartitions(info, options.partitions)
    // The ends as they are now: a request that must be repeated trims no more than the first one.
    const ends = before === undefined ? await this.#positions.resolve(info.name, partitions, 'end', { signal }) : []
    const results: PartitionOffset[] = []
    for (const [index, partition] of partitions.entries())
      results.push(await this.#trimOne(info.name, partition, before ?? ends[index]!.offset, signal))
    return results
  }

  async #trimOne(
    topic: string,
    partition: number,
    beforeOffset: number,
    signal: AbortSignal | undefined,
  ): Promise<PartitionOffset> {
    const options = { patienceMs: this.#requests.timeoutMs, signal }
    const attempt = async ({ topicId, partitions }: TopicInfo): Promise<PartitionOffset> => {
      const nodeId = partitions[partition]?.leaderNodeId ?? -1
      if (nodeId < 0)
        throw new MillraceError('LEADER_NOT_AVAILABLE', `${topic}/${partition}: the partition has no leader now`)
      const reply = await this.#requests.ask(trim, { topicId, partition, beforeOffset }, { nodeId, signal })
      return { partition, offset: reply.logStartOffset }
    }
    return whileLeadersMove({ runtime: this.#runtime, metadata: this.#metadata }, topic, attempt, options)
  }

  /** The offset of a position in every partition. */
  async offsets(topic: TopicLike, position: Position, options: SignalOption = {}): Promise<PartitionOffset[]> {
    const info = await this.#fresh(topicName(topic), options.signal)
    const all = info.partitions.map((_, index) => index)
    return this.#positions.resolve(info.name, all, checkedPosition('position', position), {
      signal: options.signal,
    })
  }

  #fresh(name: string, signal: AbortSignal | undefined): Promise<TopicInfo> {
    return abortable(this.#metadata.fresh(name), signal)
  }
}

export class Admin {
  readonly topics: TopicAdmin
  readonly groups: GroupAdmin
  readonly cluster: ClusterAdmin
  readonly users: UserAdmin
  readonly #requests: Requests

  constructor(parts: { runtime: ClientRuntime; requests: Requests; metadata: MetadataCache; positions: Positions }) {
    this.#requests = parts.requests
    this.topics = new TopicAdmin(parts)
    this.groups = new GroupAdmin({ ...parts, clock: parts.runtime.clock })
    this.cluster = new ClusterAdmin(parts.requests)
    this.users = new UserAdmin(parts.requests)
  }

  /** Brokers, shards and counts, as `/api/v1/cluster` gives them. */
  async describeCluster(options: SignalOption = {}): Promise<ClusterDescription> {
    return (await this.#requests.ask(describeCluster, {}, options)).cluster
  }
}
