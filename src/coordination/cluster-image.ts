/**
 * ClusterImage: what the metadata store says of a cluster, as of one revision: nodes, brokers that live, who controls, visible topics.
 *
 * Owns        the decoded states and the revision of every key that it was told of
 * Thread      main; pure: given lists and events, answers changes
 * Invariants  CI1 the image after `advance` is the image made from a list at the same revision, as far as all of it can be read
 *                                                                                                  checked in: the unit test
 *             CI2 a topic is in it exactly while its topics/<name> key exists; partitions at and beyond TopicState.partitions are not
 *             CI3 an image changes nothing in the store: halves of topics that crashes left stay where they are
 * Ordering    changes are told so that each may be applied when its turn comes: topics that go, nodes, brokers, the controller, topics
 *             that come, topics that changed, their partitions
 * Limits      an advance costs what its events cost, a topic that comes or goes what its partitions cost; never the cluster's size
 * Failure     a value that cannot be read (another release's, damaged by hand) leaves what it says as it was, and nothing else: see `unreadable`. A
 *             visible topic that lacks a partition, or the key of one that it gained, is as it was, or not there, until it comes
 */
import { assert } from '../base/assert.ts'
import { isMillraceError } from '../model/errors.ts'
import type { TopicId } from '../model/ids.ts'
import {
  BROKERS_PREFIX,
  type BrokerState,
  CONTROLLER_KEY,
  type ControllerState,
  decodePartitionState,
  NODES_PREFIX,
  type NodeState,
  PARTITIONS_PREFIX,
  type PartitionState,
  partitionKey,
  TOPIC_IDS_PREFIX,
  TOPICS_PREFIX,
  type TopicState,
} from './keys.ts'
import type { StoredValue, StoreEvent } from './metadata-store.ts'
import {
  decodeBrokerState,
  decodeControllerState,
  decodeNodeState,
  decodeTopicNameState,
  decodeTopicState,
  nodeIdOf,
} from './stored-states.ts'
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

/** A key whose value says nothing that could be taken in, or that should be there and is not. */
export interface UnreadableKey {
  readonly key: string
  /** Of the value; 0 = there is none. */
  readonly revision: number
  /** Why, with the key's name. */
  readonly text: string
}

export interface HiddenTopic {
  readonly topicId: TopicId
  readonly state: TopicState
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
  readonly #unreadable = new Map<string, UnreadableKey>()
  /** Keys that came into it or left it since that was last asked for. */
  #unreadableChanges = new Set<string>()
  /** Of it: those that should be there and are not; some may be there by now. */
  readonly #missed = new Map<TopicId, Set<number>>()
  /** Visible ones that wait for a partition's key. */
  readonly #lacking = new Set<TopicId>()

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

  /** What is not as the store has it, or not there, because its value cannot be read. By key. */
  get unreadable(): ReadonlyMap<string, UnreadableKey> {
    return this.#unreadable
  }

  /** Keys that may be in `unreadable`, or not any more, otherwise than when this was last asked. For one who follows. */
  takeUnreadableChanges(): ReadonlySet<string> {
    const keys = this.#unreadableChanges
    if (keys.size > 0) this.#unreadableChanges = new Set()
    return keys
  }

  topicByName(name: string): TopicRecord | undefined {
    const topicId = this.#idOfName.get(name)
    return topicId === undefined ? undefined : this.#topics.get(topicId)
  }

  topicById(topicId: TopicId): TopicRecord | undefined {
    return this.#topics.get(topicId)
  }

  /** Topics that a crash left half made or half deleted: they have a state and no name. Or somebody is just about it. */
  halfTopics(): HiddenTopic[] {
    return this.hiddenTopics().filter(({ topicId }) => !this.#isVisible(topicId))
  }

  /** Those that have a state and are not in the image: half ones, and visible ones that lack the key of a partition. */
  hiddenTopics(): HiddenTopic[] {
    const all = [...this.#topicStates].map(([topicId, { state }]) => ({ topicId, state }))
    return all.filter(({ topicId }) => !this.#topics.has(topicId))
  }

  /** Takes in events, whole revisions, in order; answers what they changed. Revisions that it knows may come again: they change nothing. */
  advance(events: readonly StoreEvent[]): ImageChange[] {
    const known = this.#revision
    return this.#apply(events.filter(({ revision }) => revision > known))
  }

  #apply(events: readonly StoreEvent[]): ImageChange[] {
    const touched = nothingTouched()
    for (const event of events) this.#take(event, touched)
    for (const topicId of touched.partitions.keys()) if (this.#lacking.has(topicId)) touched.topics.add(topicId)
    const changes = this.#settle(touched)
    for (const topicId of touched.topics) this.#forgetFound(topicId)
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
    this.#readable(key)
    try {
      this.#decode(event, touched)
    } catch (error) {
      if (!isMillraceError(error)) throw error
      this.#notReadable({ key, revision, text: error.message })
    }
    if (value === undefined) this.#revisions.delete(key)
    else this.#revisions.set(key, revision)
  }

  #decode(event: StoreEvent, touched: Touched): void {
    const { key } = event
    if (key.startsWith(PARTITIONS_PREFIX)) this.#takePartition(event, touched)
    else if (key.startsWith(TOPIC_IDS_PREFIX)) this.#takeTopicState(event, touched)
    else if (key.startsWith(TOPICS_PREFIX)) this.#takeTopicName(event, touched)
    else if (key.startsWith(BROKERS_PREFIX)) {
      const nodeId = nodeIdOf(key, BROKERS_PREFIX)
      const before = this.#brokers.get(nodeId)
      const broker = replaceIn(this.#brokers, nodeId, versionedOf(event, decodeBrokerState))
      touched.changes.push({ kind: 'broker', nodeId, broker, before })
    } else if (key.startsWith(NODES_PREFIX)) {
      const nodeId = nodeIdOf(key, NODES_PREFIX)
      const node = replaceIn(this.#nodes, nodeId, versionedOf(event, decodeNodeState))
      touched.changes.push({ kind: 'node', nodeId, node })
    } else if (key === CONTROLLER_KEY) {
      this.#controller = versionedOf(event, decodeControllerState)
      touched.changes.push({ kind: 'controller', controller: this.#controller })
    }
  }

  #takePartition(event: StoreEvent, touched: Touched): void {
    const { key } = event
    const taken = versionedOf(event, decodePartitionState)
    const [id = '', number = ''] = key.slice(PARTITIONS_PREFIX.length).split('/')
    const topicId = id as TopicId
    const partition = Number(number)
    let states = this.#partitionStates.get(topicId)
    if (states === undefined) this.#partitionStates.set(topicId, (states = new Map()))
    if (taken !== undefined) states.set(partition, taken)
    else if (states.delete(partition) && states.size === 0) this.#partitionStates.delete(topicId)
    let partitions = touched.partitions.get(topicId)
    if (partitions === undefined) touched.partitions.set(topicId, (partitions = new Set()))
    partitions.add(partition)
  }

  #takeTopicState(event: StoreEvent, touched: Touched): void {
    const topicId = event.key.slice(TOPIC_IDS_PREFIX.length) as TopicId
    replaceIn(this.#topicStates, topicId, versionedOf(event, decodeTopicState))
    touched.topics.add(topicId)
  }

  #takeTopicName(event: StoreEvent, touched: Touched): void {
    const name = event.key.slice(TOPICS_PREFIX.length)
    const before = this.#idOfName.get(name)
    const topicId = versionedOf(event, decodeTopicNameState)?.state.topicId
    replaceIn(this.#idOfName, name, topicId)
    for (const touchedId of [before, topicId]) if (touchedId !== undefined) touched.topics.add(touchedId)
  }

  /** Whether a visible topic that has `from` partitions so far lacks one of those that it should have. */
  #lacks(topicId: TopicId, from: number): boolean {
    this.#lacking.delete(topicId)
    const { partitions: count } = this.#topicStates.get(topicId)!.state
    for (let partition = from; partition < count; partition++) {
      if (this.#partitionStates.get(topicId)?.has(partition) === true) continue
      this.#lacking.add(topicId)
      this.#miss(topicId, partition)
      return true
    }
    return false
  }

  #miss(topicId: TopicId, partition: number): void {
    const key = partitionKey(topicId, partition)
    if (this.#unreadable.has(key)) return
    this.#notReadable({ key, revision: 0, text: missingPartition(topicId, partition).message })
    let missed = this.#missed.get(topicId)
    if (missed === undefined) this.#missed.set(topicId, (missed = new Set()))
    missed.add(partition)
  }

  /** Keys of a topic that were missed and are not any more: it has gone, or is smaller. */
  #forgetFound(topicId: TopicId): void {
    const missed = this.#missed.get(topicId)
    if (missed === undefined) return
    const count = this.#isVisible(topicId) ? this.#topicStates.get(topicId)!.state.partitions : 0
    for (const partition of missed) {
      const key = partitionKey(topicId, partition)
      const isMissing = this.#unreadable.get(key)?.revision === 0
      if (isMissing && partition < count) continue
      missed.delete(partition)
      if (isMissing) this.#readable(key)
    }
    if (missed.size === 0) this.#missed.delete(topicId)
  }

  #notReadable(unreadable: UnreadableKey): void {
    this.#unreadable.set(unreadable.key, unreadable)
    this.#unreadableChanges.add(unreadable.key)
  }

  #readable(key: string): void {
    if (this.#unreadable.delete(key)) this.#unreadableChanges.add(key)
  }

  /** Brings the visible topics to what was touched. */
  #settle({ topics, partitions, changes }: Touched): ImageChange[] {
    const removed: ChangeOf<'topic-removed'>[] = []
    const added: ChangeOf<'topic-added'>[] = []
    const changed: ChangeOf<'topic-changed'>[] = []
    for (const topicId of topics) {
      const known = this.#topics.get(topicId)
      const isVisible = this.#isVisible(topicId)
      if (isVisible && this.#lacks(topicId, known?.partitions.length ?? 0)) continue
      if (!isVisible) this.#lacking.delete(topicId)
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
      const known = this.#partitionStates.get(topicId)?.get(partition)
      if (known === undefined) {
        this.#miss(topicId, partition)
        continue
      }
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

function versionedOf<T>(
  { key, value, revision }: StoreEvent,
  decode: (key: string, value: Uint8Array) => T,
): Versioned<T> | undefined {
  return value === undefined ? undefined : { state: decode(key, value), modRevision: revision }
}

/** Sets or, where there is no value, deletes; answers the value. */
function replaceIn<Key, Value>(map: Map<Key, Value>, key: Key, value: Value | undefined): Value | undefined {
  if (value === undefined) map.delete(key)
  else map.set(key, value)
  return value
}
