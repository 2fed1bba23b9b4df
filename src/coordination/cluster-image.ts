/**
 * ClusterImage: what the metadata store says of a cluster, as of one revision: nodes, brokers that live, who controls, visible topics.
 *
 * Owns        the decoded states and the revision of every key that it was told of
 * Thread      main; pure: given lists and events, answers changes
 * Invariants  CI1 the image after `advance` is the image made from a list at the same revision     checked in: the unit test
 *             CI2 a topic is in it exactly while its topics/<name> key exists; partitions at and beyond TopicState.partitions are not
 *             CI3 an image changes nothing in the store: halves of topics that crashes left stay where they are
 * Ordering    changes are told so that each may be applied when its turn comes: topics that go, nodes, brokers, the controller, topics
 *             that come, topics that changed, their partitions
 * Limits      an advance costs what its events cost, a topic that comes or goes what its partitions cost; never the cluster's size
 * Failure     a visible topic that lacks a partition, a value that cannot be read: a MillraceError, and topics and the revision stay as they
 *             were; what was taken in until then is told by the resync that finds it mended
 */
import { assert } from '../base/assert.ts'
import type { TopicId } from '../model/ids.ts'
import {
  BROKERS_PREFIX,
  type BrokerState,
  CONTROLLER_KEY,
  type ControllerState,
  decodePartitionState,
  decodeState,
  NODES_PREFIX,
  type NodeState,
  PARTITIONS_PREFIX,
  type PartitionState,
  TOPIC_IDS_PREFIX,
  TOPICS_PREFIX,
  type TopicNameState,
  type TopicState,
} from './keys.ts'
import type { StoredValue, StoreEvent } from './metadata-store.ts'
import { missingPartition, type TopicRecord } from './topics.ts'

/** A state and the revision of its key: what a compare-and-set asks for. */
export interface Versioned<T> {
  readonly state: T
  readonly modRevision: number
}

export type ImageChange =
  | { readonly kind: 'topic-removed'; readonly topic: TopicRecord }
  | { readonly kind: 'node'; readonly nodeId: number; readonly node: Versioned<NodeState> | undefined }
  | {
      readonly kind: 'broker'
      readonly nodeId: number
      readonly broker: Versioned<BrokerState> | undefined
      readonly before: Versioned<BrokerState> | undefined
    }
  | { readonly kind: 'controller'; readonly controller: Versioned<ControllerState> | undefined }
  /** With all its partitions; they have no change of their own. */
  | { readonly kind: 'topic-added'; readonly topic: TopicRecord }
  /**
   * Its state: config, number of partitions, draining. Partitions that it gained follow as changes with no `before`; those that it lost
   * are told by `before.partitions` alone.
   */
  | { readonly kind: 'topic-changed'; readonly topic: TopicRecord; readonly before: TopicState }
  | {
      readonly kind: 'partition'
      readonly topic: TopicRecord
      readonly partition: number
      readonly state: PartitionState
      /** Revision of its key. */
      readonly version: number
      readonly before: PartitionState | undefined
    }

type ChangeOf<Kind extends ImageChange['kind']> = Extract<ImageChange, { kind: Kind }>

/** A TopicRecord that follows the store. */
interface ImageTopic extends TopicRecord {
  state: TopicState
  modRevision: number
  readonly partitions: PartitionState[]
  readonly partitionVersions: number[]
}

/** What one advance has touched. */
interface Touched {
  readonly topics: Set<TopicId>
  readonly partitions: Map<TopicId, Set<number>>
  readonly changes: ImageChange[]
}

export class ClusterImage {
  #revision = 0
  readonly #nodes = new Map<number, Versioned<NodeState>>()
  readonly #brokers = new Map<number, Versioned<BrokerState>>()
  #controller: Versioned<ControllerState> | undefined
  /** By id, visible or not. */
  readonly #topicStates = new Map<TopicId, Versioned<TopicState>>()
  readonly #partitionStates = new Map<TopicId, Map<number, Versioned<PartitionState>>>()
  readonly #idOfName = new Map<string, TopicId>()
  /** The visible ones. */
  readonly #topics = new Map<TopicId, ImageTopic>()
  #partitionCount = 0
  /** Of every key, for the difference to a later list. */
  readonly #revisions = new Map<string, number>()
  /** Taken in, and not told: more than nothing only after a failure. */
  #untold = nothingTouched()

  /** From a list of everything below the root prefix. */
  static of(revision: number, values: readonly StoredValue[]): ClusterImage {
    const image = new ClusterImage()
    image.resync(revision, values)
    return image
  }

  /** All events up to it are in. */
  get revision(): number {
    return this.#revision
  }

  get nodes(): ReadonlyMap<number, Versioned<NodeState>> {
    return this.#nodes
  }

  /** Those that live. */
  get brokers(): ReadonlyMap<number, Versioned<BrokerState>> {
    return this.#brokers
  }

  get controller(): Versioned<ControllerState> | undefined {
    return this.#controller
  }

  /** Records follow the image: copy what is to outlast the next change. */
  get topics(): ReadonlyMap<TopicId, TopicRecord> {
    return this.#topics
  }

  /** Of all visible topics. */
  get partitionCount(): number {
    return this.#partitionCount
  }

  topicByName(name: string): TopicRecord | undefined {
    const topicId = this.#idOfName.get(name)
    return topicId === undefined ? undefined : this.#topics.get(topicId)
  }

  topicById(topicId: TopicId): TopicRecord | undefined {
    return this.#topics.get(topicId)
  }

  /** Topics that a crash left half made or half deleted: they have a state and no name. Or somebody is just about it. */
  halfTopics(): { readonly topicId: TopicId; readonly state: TopicState }[] {
    const all = [...this.#topicStates].map(([topicId, { state }]) => ({ topicId, state }))
    return all.filter(({ topicId }) => !this.#topics.has(topicId))
  }

  /** Takes in events, whole revisions, in order; answers what they changed. Revisions that it knows may come again: they change nothing. */
  advance(events: readonly StoreEvent[]): ImageChange[] {
    const known = this.#revision
    return this.#apply(events.filter(({ revision }) => revision > known))
  }

  #apply(events: readonly StoreEvent[]): ImageChange[] {
    for (const event of events) this.#take(event, this.#untold)
    this.#checkWhole(this.#untold)
    const touched = this.#untold
    this.#untold = nothingTouched()
    const changes = this.#settle(touched)
    for (const { revision } of events) this.#revision = Math.max(this.#revision, revision)
    return changes
  }

  /** Becomes the image of a whole list; the difference is told as the events would have told it that were missed. */
  resync(revision: number, values: readonly StoredValue[]): ImageChange[] {
    assert(revision >= this.#revision, `a list of revision ${revision} came after ${this.#revision}`)
    const gone = new Set(this.#revisions.keys())
    const events: StoreEvent[] = []
    for (const { key, value, modRevision } of values) {
      gone.delete(key)
      if (this.#revisions.get(key) !== modRevision) events.push({ kind: 'put', key, value, revision: modRevision })
    }
    for (const key of gone) events.push({ kind: 'delete', key, value: undefined, revision })
    const changes = this.#apply(events)
    this.#revision = revision
    return changes
  }

  #take(event: StoreEvent, touched: Touched): void {
    const { key, value, revision } = event
    this.#decode(event, touched)
    // Last: a list is to tell again what could not be read.
    if (value === undefined) this.#revisions.delete(key)
    else this.#revisions.set(key, revision)
  }

  #decode(event: StoreEvent, touched: Touched): void {
    const { key } = event
    if (key.startsWith(PARTITIONS_PREFIX)) this.#takePartition(event, touched)
    else if (key.startsWith(TOPIC_IDS_PREFIX)) this.#takeTopicState(event, touched)
    else if (key.startsWith(TOPICS_PREFIX)) this.#takeTopicName(event, touched)
    else if (key.startsWith(BROKERS_PREFIX)) {
      const nodeId = Number(key.slice(BROKERS_PREFIX.length))
      const before = this.#brokers.get(nodeId)
      const broker = replaceIn(this.#brokers, nodeId, versionedOf<BrokerState>(event))
      touched.changes.push({ kind: 'broker', nodeId, broker, before })
    } else if (key.startsWith(NODES_PREFIX)) {
      const nodeId = Number(key.slice(NODES_PREFIX.length))
      const node = replaceIn(this.#nodes, nodeId, versionedOf<NodeState>(event))
      touched.changes.push({ kind: 'node', nodeId, node })
    } else if (key === CONTROLLER_KEY) {
      this.#controller = versionedOf<ControllerState>(event)
      touched.changes.push({ kind: 'controller', controller: this.#controller })
    }
  }

  #takePartition({ key, value, revision }: StoreEvent, touched: Touched): void {
    const [id = '', number = ''] = key.slice(PARTITIONS_PREFIX.length).split('/')
    const topicId = id as TopicId
    const partition = Number(number)
    let states = this.#partitionStates.get(topicId)
    if (states === undefined) this.#partitionStates.set(topicId, (states = new Map()))
    if (value !== undefined) states.set(partition, { state: decodePartitionState(key, value), modRevision: revision })
    else if (states.delete(partition) && states.size === 0) this.#partitionStates.delete(topicId)
    let partitions = touched.partitions.get(topicId)
    if (partitions === undefined) touched.partitions.set(topicId, (partitions = new Set()))
    partitions.add(partition)
  }

  #takeTopicState(event: StoreEvent, touched: Touched): void {
    const topicId = event.key.slice(TOPIC_IDS_PREFIX.length) as TopicId
    replaceIn(this.#topicStates, topicId, versionedOf<TopicState>(event))
    touched.topics.add(topicId)
  }

  #takeTopicName(event: StoreEvent, touched: Touched): void {
    const name = event.key.slice(TOPICS_PREFIX.length)
    const before = this.#idOfName.get(name)
    const topicId = versionedOf<TopicNameState>(event)?.state.topicId
    replaceIn(this.#idOfName, name, topicId)
    for (const touchedId of [before, topicId]) if (touchedId !== undefined) touched.topics.add(touchedId)
  }

  /** Before anything is settled: half of the changes could not be told. */
  #checkWhole({ topics, partitions }: Touched): void {
    for (const topicId of topics) {
      if (!this.#isVisible(topicId)) continue
      const { partitions: count } = this.#topicStates.get(topicId)!.state
      for (let number = this.#topics.get(topicId)?.partitions.length ?? 0; number < count; number++)
        this.#checkThere(topicId, number)
    }
    for (const [topicId, numbers] of partitions) {
      if (!this.#isVisible(topicId)) continue
      const { partitions: count } = this.#topicStates.get(topicId)!.state
      for (const number of numbers) if (number < count) this.#checkThere(topicId, number)
    }
  }

  #checkThere(topicId: TopicId, partition: number): void {
    if (this.#partitionStates.get(topicId)?.has(partition) !== true) throw missingPartition(topicId, partition)
  }

  /** Brings the visible topics to what was touched. */
  #settle({ topics, partitions, changes }: Touched): ImageChange[] {
    const removed: ChangeOf<'topic-removed'>[] = []
    const added: ChangeOf<'topic-added'>[] = []
    const changed: ChangeOf<'topic-changed'>[] = []
    for (const topicId of topics) {
      const known = this.#topics.get(topicId)
      const isVisible = this.#isVisible(topicId)
      if (known !== undefined && !isVisible) {
        this.#topics.delete(topicId)
        this.#partitionCount -= known.partitions.length
        removed.push({ kind: 'topic-removed', topic: known })
      } else if (known === undefined && isVisible) added.push({ kind: 'topic-added', topic: this.#add(topicId) })
      else if (known !== undefined) this.#change(known, changed, partitions)
    }
    const isNew = new Set(added.map(({ topic }) => topic.topicId))
    const changedPartitions = [...partitions].flatMap(([topicId, numbers]) =>
      isNew.has(topicId) ? [] : this.#changePartitions(topicId, numbers),
    )
    return [...removed, ...inOrder(changes), ...added, ...changed, ...changedPartitions]
  }

  #isVisible(topicId: TopicId): boolean {
    const state = this.#topicStates.get(topicId)?.state
    return state !== undefined && this.#idOfName.get(state.name) === topicId
  }

  #add(topicId: TopicId): ImageTopic {
    const { state, modRevision } = this.#topicStates.get(topicId)!
    const topic: ImageTopic = { topicId, state, modRevision, partitions: [], partitionVersions: [] }
    for (let partition = 0; partition < state.partitions; partition++) {
      const known = this.#partitionStates.get(topicId)!.get(partition)!
      topic.partitions.push(known.state)
      topic.partitionVersions.push(known.modRevision)
    }
    this.#topics.set(topicId, topic)
    this.#partitionCount += state.partitions
    return topic
  }

  #change(topic: ImageTopic, changed: ChangeOf<'topic-changed'>[], partitions: Touched['partitions']): void {
    const { state, modRevision } = this.#topicStates.get(topic.topicId)!
    const before = topic.state
    if (modRevision === topic.modRevision) return
    topic.state = state
    topic.modRevision = modRevision
    changed.push({ kind: 'topic-changed', topic, before })
    this.#partitionCount += state.partitions - before.partitions
    if (state.partitions < before.partitions) {
      topic.partitions.length = state.partitions
      topic.partitionVersions.length = state.partitions
    }
    if (state.partitions <= before.partitions) return
    const touched = partitions.get(topic.topicId) ?? new Set()
    for (let partition = before.partitions; partition < state.partitions; partition++) touched.add(partition)
    partitions.set(topic.topicId, touched)
  }

  #changePartitions(topicId: TopicId, numbers: ReadonlySet<number>): ChangeOf<'partition'>[] {
    const topic = this.#topics.get(topicId)
    if (topic === undefined) return []
    const changes: ChangeOf<'partition'>[] = []
    for (const partition of [...numbers].sort((left, right) => left - right)) {
      if (partition >= topic.state.partitions) continue
      const known = this.#partitionStates.get(topicId)!.get(partition)!
      const { state, modRevision: version } = known
      const before = topic.partitions[partition]
      if (before !== undefined && topic.partitionVersions[partition] === version) continue
      topic.partitions[partition] = state
      topic.partitionVersions[partition] = version
      changes.push({ kind: 'partition', topic, partition, state, version, before })
    }
    return changes
  }
}

function nothingTouched(): Touched {
  return { topics: new Set(), partitions: new Map(), changes: [] }
}

const RANK: Readonly<Record<string, number>> = { node: 0, broker: 1, controller: 2 }

/** Nodes, brokers, the controller; each kind in the order of its events. */
function inOrder(changes: readonly ImageChange[]): ImageChange[] {
  return [...changes].sort((left, right) => RANK[left.kind]! - RANK[right.kind]!)
}

function versionedOf<T extends object>({ key, value, revision }: StoreEvent): Versioned<T> | undefined {
  return value === undefined ? undefined : { state: decodeState<T>(key, value), modRevision: revision }
}

/** Sets or, where there is no value, deletes; answers the value. */
function replaceIn<Key, Value>(map: Map<Key, Value>, key: Key, value: Value | undefined): Value | undefined {
  if (value === undefined) map.delete(key)
  else map.set(key, value)
  return value
}
