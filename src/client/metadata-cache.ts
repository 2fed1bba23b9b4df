/**
 * MetadataCache: what the client knows of topics: id, partitions, leaders. Filled when first asked, refreshed when a broker's
 * answer says that it is old.
 *
 * Ordering  callers that ask while a refresh is under way share the next one: at most one request is out at a time
 * Invariants a partition's leader epoch does not fall while its topic is the same one: what a broker says that has fallen behind
 *           is ignored, row by row                                                       checked in: newest()
 * Limits    as many topics as the client uses
 * Failure   what the broker says of a topic is thrown to those who asked for that one, and not to those who share the request
 */
import type { Clock } from '../base/clock.ts'
import { ERRORS, errorNumberOf, MillraceError } from '../model/errors.ts'
import { isTopicName, type TopicId } from '../model/ids.ts'
import { errorOf, type MetadataReply, type MetadataRequest, type MetadataTopic } from '../protocol/index.ts'

export interface PartitionInfo {
  /** -1 = no leader now. */
  readonly leaderNodeId: number
  readonly leaderEpoch: number
  /** Why it does not serve, or null. */
  readonly offline: string | null
  /** Node ids, the preferred leader first. */
  readonly replicas: readonly number[]
  /** Those of `replicas` that hold all that was acknowledged to acks=all. */
  readonly inSync: readonly number[]
}

export interface TopicInfo {
  readonly name: string
  readonly topicId: TopicId
  readonly partitions: readonly PartitionInfo[]
  readonly config: Readonly<Record<string, string>>
  /** From this partition on it takes no new records; -1 = all do. */
  readonly drainFrom: number
  /** Grows with each change of configuration or number of partitions; -1 = not known. */
  readonly revision: number
}

/** By its topic's name, and id where it is known. */
export interface NamedPartition {
  readonly topic: string
  readonly topicId: TopicId | ''
  readonly partition: number
}

/** What the broker said instead of telling of a topic, by its name. */
type Faults = ReadonlyMap<string, MillraceError>

/** How the cache asks: the client's call to any broker, with its retries. */
export type AskMetadata = (
  request: MetadataRequest,
  /** The last answer, moments ago, did not help. */
  isAgain: boolean,
  /** URLs of brokers that may be cut off, and not know what has changed. */
  doubted: ReadonlySet<string>,
) => Promise<MetadataReply>

/** Who asks again within this time had an answer that did not help: another broker may know more. */
const AGAIN_MS = 5_000

/** The request after the one that is out. */
interface Next {
  readonly names: Set<string>
  readonly doubted: Set<string>
  readonly done: Promise<Faults>
}

export class MetadataCache {
  readonly #ask: AskMetadata
  readonly #clock: Pick<Clock, 'monotonicMs'>
  readonly #topics = new Map<string, TopicInfo>()
  #running: Promise<Faults> | undefined
  #next: Next | undefined

  /** Of each broker that was told of last. */
  #racks: ReadonlyMap<number, string | null> = new Map()
  /** By topic: when it was told of last. */
  readonly #askedMs = new Map<string, number>()

  constructor(ask: AskMetadata, clock: Pick<Clock, 'monotonicMs'>) {
    this.#ask = ask
    this.#clock = clock
  }

  /** What is known of a topic, without asking. */
  peek(name: string): TopicInfo | undefined {
    return this.#topics.get(name)
  }

  /** The newest leader epoch that is known of a partition of this topic, not of another one of its name; -1 = none. */
  leaderEpochOf({ topic, topicId, partition }: NamedPartition): number {
    const info = this.#topics.get(topic)
    if (info === undefined || (topicId !== '' && info.topicId !== topicId)) return -1
    return info.partitions[partition]?.leaderEpoch ?? -1
  }

  /** Where a broker stands; null where it does not say, or is not known. */
  rackOf(nodeId: number): string | null {
    return this.#racks.get(nodeId) ?? null
  }

  /** What a topic is; asks when it is not known. Throws UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION, … */
  async get(name: string): Promise<TopicInfo> {
    return this.#topics.get(name) ?? this.fresh(name)
  }

  /** The same, asked for anew. */
  async fresh(name: string): Promise<TopicInfo> {
    if (!isTopicName(name)) throw new MillraceError('INVALID_TOPIC_EXCEPTION', `'${name}' is not a topic name: ${RULE}`)
    await this.refresh(name)
    const info = this.#topics.get(name)
    if (info === undefined) throw unknownTopic(name)
    return info
  }

  /** Asks for a topic anew; throws what the broker says instead. Afterwards peek() is undefined where it does not know the topic. */
  async refresh(name: string, doubted: readonly string[] = []): Promise<void> {
    const fault = (await this.#share(name, doubted)).get(name)
    if (fault !== undefined) throw fault
  }

  /** The next request, for this topic too. */
  #share(name: string, doubtedNow: readonly string[]): Promise<Faults> {
    if (this.#next !== undefined) {
      this.#next.names.add(name)
      for (const url of doubtedNow) this.#next.doubted.add(url)
      return this.#next.done
    }
    const names = new Set([name])
    const doubted = new Set(doubtedNow)
    // What is asked now may be older than the caller's news if a request is out already: this one begins after it.
    const after = this.#running ?? Promise.resolve()
    const done = after
      .catch(() => {})
      .then(() => {
        this.#next = undefined
        this.#running = this.#load([...names], doubted).finally(() => {
          this.#running = undefined
        })
        return this.#running
      })
    this.#next = { names, doubted, done }
    return done
  }

  /** Takes a topic out: it was deleted. */
  forget(name: string): void {
    this.#topics.delete(name)
    this.#askedMs.delete(name)
  }

  async #load(names: readonly string[], doubted: ReadonlySet<string>): Promise<Faults> {
    const nowMs = this.#clock.monotonicMs()
    const isAgain = names.some((name) => nowMs - (this.#askedMs.get(name) ?? Number.NEGATIVE_INFINITY) < AGAIN_MS)
    const reply = await this.#ask({ topics: names }, isAgain, doubted)
    for (const name of names) this.#askedMs.set(name, this.#clock.monotonicMs())
    this.#racks = new Map(reply.brokers.map(({ nodeId, rack }) => [nodeId, rack]))
    const faults = new Map<string, MillraceError>()
    for (const topic of reply.topics) {
      const fault = this.#store(topic)
      if (fault !== undefined) faults.set(topic.name, fault)
    }
    return faults
  }

  #store(topic: MetadataTopic): MillraceError | undefined {
    if (topic.errorNumber === errorNumberOf('NONE') && topic.topicId !== '') {
      const { name, topicId } = topic
      this.#topics.set(name, newest(this.#topics.get(name), { ...topic, name, topicId }))
      return undefined
    }
    if (topic.errorNumber === ERRORS.UNKNOWN_TOPIC_OR_PARTITION.number) {
      this.#topics.delete(topic.name)
      return unknownTopic(topic.name)
    }
    return errorOf(topic.errorNumber, topic.errorText)
  }
}

/** How many partitions take new records: the first ones. */
export function openPartitions({ partitions, drainFrom }: Pick<TopicInfo, 'partitions' | 'drainFrom'>): number {
  return drainFrom < 0 ? partitions.length : Math.min(drainFrom, partitions.length)
}

/**
 * Brokers hear of changes one after the other: one that lags changes nothing of what a newer one has told. A higher revision is newer in
 * everything, fewer partitions and lower epochs of partitions that are there again included; under the same one, of each partition the
 * newest leader epoch counts.
 */
function newest(known: TopicInfo | undefined, told: TopicInfo): TopicInfo {
  const { name, topicId, config, drainFrom, revision } = told
  const isNew = known === undefined || known.topicId !== topicId || revision > known.revision
  if (isNew) return { name, topicId, partitions: told.partitions, config, drainFrom, revision }
  return revision < known.revision ? known : { ...known, config, partitions: newestRows(known, told) }
}

function newestRows(known: TopicInfo, told: TopicInfo): readonly PartitionInfo[] {
  const missing = known.partitions.slice(told.partitions.length)
  const rows = told.partitions.map((row, partition) => {
    const before = known.partitions[partition]
    return before !== undefined && before.leaderEpoch > row.leaderEpoch ? before : row
  })
  return [...rows, ...missing]
}

/** The partitions asked for, all when none are named. Throws INVALID_ARGUMENT for one the topic does not have. */
export function checkedPartitions(info: TopicInfo, partitions: readonly number[] | undefined): readonly number[] {
  const count = info.partitions.length
  if (partitions === undefined) return info.partitions.map((_, index) => index)
  for (const partition of partitions)
    if (!Number.isInteger(partition) || partition < 0 || partition >= count)
      throw new MillraceError('INVALID_ARGUMENT', `${info.name} has partitions 0 to ${count - 1}, not ${partition}`)
  return [...new Set(partitions)]
}

const RULE = '1 to 249 of the characters a-z A-Z 0-9 . _ -, not . or ..'

function unknownTopic(name: string): MillraceError {
  return new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic '${name}'; create it first`)
}
