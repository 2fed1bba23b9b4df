/**
 * Partition rounds: while a term lasts, looks at partitions that may need something, decides, writes, looks again at what it wrote.
 *
 * Owns        which partitions are to be looked at: a hint, never the truth; all of them when a term begins, when brokers change, and now
 *             and then
 * Invariants  RO1 partitions without a leader are written before anything else
 *             RO2 a round decides from an image that has what the last round wrote
 *             RO3 what was not written, for whatever reason, is looked at again
 * Ordering    change of the image -> pause, so that a burst is one round -> decide -> write -> image -> next round
 * Limits      EMPTYING_MAX partitions move off decommissioned brokers at a time; PREFERRED_PER_STEP leaderships go back at a time
 * Failure     the key is another's: the term ends. The store cannot be reached: again after RETRY_MS. A topic that cannot be decided on,
 *             whatever the reason, is left alone until the next sweep: the next controller would find the same one, and fall over it too
 */
import { isMillraceError } from '../../model/errors.ts'
import type { TopicId } from '../../model/ids.ts'
import type { ClusterImage, ImageChange } from '../cluster-image.ts'
import { partitionKey } from '../keys.ts'
import type { MetadataStore } from '../metadata-store.ts'
import type { Timers } from '../timers.ts'
import type { TopicRecord } from '../topics.ts'
import type { ControllerTerm } from './controller-election.ts'
import { planDecommission } from './move-plans.ts'
import { decidePartition, decidePreferred, type PartitionDecision, type TopicConfigs } from './partition-decisions.ts'
import { writePartitionStates } from './partition-writer.ts'
import { isMoving, withTarget } from './reassignment.ts'

const ROUND_PAUSE_MS = 20
const RETRY_MS = 500
/** Everything is looked at again so often, whatever was told. */
const SWEEP_MS = 30_000
const EMPTYING_MAX = 50
const PREFERRED_PERIOD_MS = 300_000
const PREFERRED_STEP_MS = 1_000
const PREFERRED_PER_STEP = 100

export interface PartitionRoundsOptions {
  readonly store: MetadataStore
  readonly timers: Timers
  readonly configs: TopicConfigs
  readonly waitFor: (revision: number) => Promise<void>
  readonly log: (level: 'info' | 'warn', text: string) => void
  /** The term that is on. */
  readonly term: () => ControllerTerm | undefined
  /** A write found the key to be another's. */
  readonly onFenced: (term: ControllerTerm) => void
}

export class PartitionRounds {
  readonly #options: PartitionRoundsOptions
  #image: ClusterImage | undefined
  readonly #dirty = new Map<TopicId, Set<number>>()
  #isAllDirty = false
  #isRunning = false
  /** What was said of what, so that it is said once. */
  readonly #told = new Map<string, string>()
  #cancelRound: (() => void) | undefined
  #cancelSweep: () => void = () => {}
  #cancelPreferred: () => void = () => {}

  constructor(options: PartitionRoundsOptions) {
    this.#options = options
  }

  start(image: ClusterImage): void {
    this.stop()
    this.#image = image
    this.#sweep()
    this.#preferredAfter(PREFERRED_PERIOD_MS)
  }

  stop(): void {
    this.#cancelRound?.()
    this.#cancelRound = undefined
    this.#cancelSweep()
    this.#cancelPreferred()
    this.#image = undefined
    this.#dirty.clear()
    this.#told.clear()
    this.#isAllDirty = false
  }

  onChanges(changes: readonly ImageChange[]): void {
    if (this.#image === undefined) return
    for (const change of changes) {
      if (change.kind === 'broker' || change.kind === 'node') this.#isAllDirty = true
      else if (change.kind === 'partition') this.#mark(change.topic, change.partition)
      else if (change.kind === 'topic-removed') this.#told.delete(leftAlone(change.topic))
      else if (change.kind === 'topic-added' || change.kind === 'topic-changed') this.#markTopic(change.topic)
    }
    this.#wake(ROUND_PAUSE_MS)
  }

  #mark({ topicId }: TopicRecord, partition: number): void {
    let partitions = this.#dirty.get(topicId)
    if (partitions === undefined) this.#dirty.set(topicId, (partitions = new Set()))
    partitions.add(partition)
  }

  #markTopic(topic: TopicRecord): void {
    for (let partition = 0; partition < topic.partitions.length; partition++) this.#mark(topic, partition)
  }

  #sweep(): void {
    this.#isAllDirty = true
    this.#wake(0)
    this.#cancelSweep = this.#options.timers.after(SWEEP_MS, () => this.#sweep())
  }

  #wake(delayMs: number): void {
    if (this.#image === undefined || this.#isRunning || this.#cancelRound !== undefined) return
    if (!this.#isAllDirty && this.#dirty.size === 0) return
    this.#cancelRound = this.#options.timers.after(delayMs, () => {
      this.#cancelRound = undefined
      this.#isRunning = true
      this.#run().then((pauseMs) => {
        this.#isRunning = false
        this.#wake(pauseMs)
      })
    })
  }

  /** One round; answers when the next may begin. Never rejects. */
  async #run(): Promise<number> {
    try {
      return await this.#round()
    } catch (error) {
      // What it had decided is not known any more.
      this.#isAllDirty = true
      this.#tellOnce('a round of the controller failed', error)
      return RETRY_MS
    }
  }

  async #round(): Promise<number> {
    const image = this.#image
    const term = this.#options.term()
    if (image === undefined || term === undefined) return RETRY_MS
    const decisions = this.#decideDirty(image)
    const decided = new Set(decisions.map(nameOf))
    const urgent = decisions.filter(({ why }) => why === 'leader')
    const others = decisions.filter(({ why }) => why !== 'leader')
    let isWhole = true
    for (const some of [urgent, others]) if (some.length > 0) isWhole = (await this.#write(some, term)) && isWhole
    // Last: it looks at the whole cluster, and whatever fails there holds back no leader.
    const emptying = this.#decideEmptying(image).filter((move) => !decided.has(nameOf(move)))
    if (emptying.length > 0) isWhole = (await this.#write(emptying, term)) && isWhole
    return isWhole ? ROUND_PAUSE_MS : RETRY_MS
  }

  #decideDirty(image: ClusterImage): PartitionDecision[] {
    if (this.#isAllDirty) for (const topic of image.topics.values()) this.#markTopic(topic)
    this.#isAllDirty = false
    const dirty = [...this.#dirty]
    this.#dirty.clear()
    return dirty.flatMap(([topicId, partitions]) => {
      const topic = image.topicById(topicId)
      if (topic === undefined) return []
      return this.#ofTopic(topic, [...partitions], decidePartition)
    })
  }

  #ofTopic(topic: TopicRecord, partitions: readonly number[], decide: typeof decidePartition): PartitionDecision[] {
    const { configs } = this.#options
    const image = this.#image!
    try {
      return partitions.flatMap((partition) =>
        partition < topic.partitions.length && isReadable(topic, partition, image)
          ? (decide(topic, partition, image, configs) ?? [])
          : [],
      )
    } catch (error) {
      // A configuration that this release cannot read, say: other topics must not suffer.
      this.#tellOnce(leftAlone(topic), error)
      return []
    }
  }

  #tellOnce(what: string, error: unknown): void {
    const text = isMillraceError(error) ? error.message : String(error)
    if (this.#told.get(what) === text) return
    this.#told.set(what, text)
    this.#options.log('warn', `${what}: ${text}`)
  }

  /** Moves that empty decommissioned brokers, a bounded number at a time; the store says which go on. */
  #decideEmptying(image: ClusterImage): PartitionDecision[] {
    const leaving = [...image.nodes].filter(([, { state }]) => state.isDecommissioned === true)
    if (leaving.length === 0) return []
    let room = EMPTYING_MAX
    for (const topic of image.topics.values()) for (const state of topic.partitions) if (isMoving(state)) room--
    const decisions: PartitionDecision[] = []
    for (const [nodeId] of leaving)
      for (const { topicId, partition, to } of planDecommission(image, nodeId, Math.max(0, room)).moves) {
        const topic = image.topicById(topicId)!
        if (!isReadable(topic, partition, image)) continue
        if (decisions.some((one) => one.topic === topic && one.partition === partition)) continue
        room--
        const version = topic.partitionVersions[partition]!
        const next = withTarget(topic.partitions[partition]!, to)
        if (next === undefined) continue
        decisions.push({ topic, partition, version, next, why: 'move', warning: undefined })
      }
    return decisions
  }

  /** True when everything was written or overtaken; what was not written is dirty again. */
  async #write(decisions: readonly PartitionDecision[], term: ControllerTerm): Promise<boolean> {
    const { store, log, waitFor, onFenced } = this.#options
    try {
      const { applied, overtaken, revision } = await writePartitionStates(store, term.fence, decisions)
      for (const { warning } of applied) if (warning !== undefined) log('warn', warning)
      for (const { topic, partition } of overtaken) this.#mark(topic, partition)
      log('info', summaryOf(applied))
      await waitFor(revision)
      return true
    } catch (error) {
      for (const { topic, partition } of decisions) this.#mark(topic, partition)
      if (isMillraceError(error) && error.code === 'NOT_CONTROLLER') onFenced(term)
      else log('warn', `the controller could not write: ${String(error)}`)
      return false
    }
  }

  #preferredAfter(delayMs: number): void {
    this.#cancelPreferred = this.#options.timers.after(delayMs, () => {
      const failed = (error: unknown): boolean => {
        this.#tellOnce('preferred leaders could not be looked at', error)
        return false
      }
      this.#stepPreferred()
        .catch(failed)
        .then((isMore) => {
          if (this.#image !== undefined) this.#preferredAfter(isMore ? PREFERRED_STEP_MS : PREFERRED_PERIOD_MS)
        })
    })
  }

  /** Whether there is more to do. */
  async #stepPreferred(): Promise<boolean> {
    const image = this.#image
    const term = this.#options.term()
    if (image === undefined || term === undefined) return false
    const all = [...image.topics.values()].flatMap((topic) =>
      this.#ofTopic(topic, [...topic.partitions.keys()], decidePreferred),
    )
    const decisions = all.slice(0, PREFERRED_PER_STEP)
    if (decisions.length === 0) return false
    return (await this.#write(decisions, term)) && all.length > decisions.length
  }
}

/** Its newest state is not known: what is decided from an older one is refused again and again. It is told when it can be read. */
function isReadable({ topicId }: TopicRecord, partition: number, { unreadable }: ClusterImage): boolean {
  return unreadable.size === 0 || !unreadable.has(partitionKey(topicId, partition))
}

function leftAlone({ state }: TopicRecord): string {
  return `topic ${state.name} is left alone`
}

function nameOf({ topic, partition }: PartitionDecision): string {
  return `${topic.topicId}/${partition}`
}

function summaryOf(applied: readonly PartitionDecision[]): string {
  const counts = new Map<string, number>()
  for (const { why } of applied) counts.set(why, (counts.get(why) ?? 0) + 1)
  return `partitions changed: ${[...counts].map(([why, count]) => `${why} ${count}`).join(', ')}`
}
