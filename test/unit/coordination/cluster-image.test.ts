/** The image of a cluster: events lead where a list leads, and what is told of them is enough to follow. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeededPrng } from '../../../src/base/prng.ts'
import { ClusterImage, type ImageChange } from '../../../src/coordination/cluster-image.ts'
import { ClusterWatch } from '../../../src/coordination/cluster-watch.ts'
import {
  BROKERS_PREFIX,
  brokerKey,
  CONTROLLER_KEY,
  encodeState,
  nodeKey,
  type PartitionState,
  partitionKey,
  ROOT_PREFIX,
  topicNameKey,
} from '../../../src/coordination/keys.ts'
import { MemoryMetadataStore } from '../../../src/coordination/memory-metadata-store.ts'
import type { StoreEvent } from '../../../src/coordination/metadata-store.ts'
import {
  applyAddPartitions,
  applyCreateTopic,
  applyDeleteTopic,
  loadTopics,
  putTopicState,
  type TopicRecord,
} from '../../../src/coordination/topics.ts'
import type { Incarnation } from '../../../src/model/ids.ts'
import { settled, VirtualTime } from '../../support/virtual-timers.ts'

const replica = { nodeId: 1, incarnation: 1 as Incarnation }
const NAMES = ['a', 'b', 'c'] as const
const BROKER = { incarnation: 1, url: '' }

/** Random changes as the cluster makes them; sometimes several keys in one revision. */
class Churn {
  readonly #store: MemoryMetadataStore
  readonly #prng: SeededPrng
  #ids = 0

  constructor(store: MemoryMetadataStore, seed: number) {
    this.#store = store
    this.#prng = new SeededPrng(seed)
  }

  async step(): Promise<void> {
    const draw = this.#prng.below(10)
    const nodeId = 1 + this.#prng.below(4)
    if (draw < 2) await this.put(brokerKey(nodeId), { incarnation: this.#prng.below(100), url: '' })
    else if (draw < 3) await this.#store.transact([], [{ kind: 'delete', key: brokerKey(nodeId) }])
    else if (draw < 4) await this.put(nodeKey(nodeId), { incarnation: this.#prng.below(100) })
    else if (draw < 5) await this.put(CONTROLLER_KEY, { nodeId, incarnation: 1, controllerEpoch: this.#prng.below(9) })
    else await this.#changeTopic(NAMES[this.#prng.below(NAMES.length)]!)
  }

  async #changeTopic(name: string): Promise<void> {
    const topics = await loadTopics(this.#store)
    const topic = topics.find(({ state }) => state.name === name)
    const draw = this.#prng.below(6)
    if (topic === undefined) await this.#create(name)
    else if (draw === 0) await applyDeleteTopic(topic, this.#store)
    else if (draw === 1)
      await applyAddPartitions(topic, topic.state.partitions + 1 + this.#prng.below(3), { store: this.#store, replica })
    else if (draw === 2 && topic.state.partitions > 1) await this.#shrink(topic)
    else await this.#changePartitions(topic)
  }

  async #create(name: string): Promise<void> {
    const newId = () => String(++this.#ids).padStart(32, '0')
    const plan = { name, partitions: 1 + this.#prng.below(4), replicas: 1, config: {} }
    await applyCreateTopic(plan, { store: this.#store, replica, newId, nowMs: 1 })
  }

  async #shrink(topic: TopicRecord): Promise<void> {
    const partitions = topic.state.partitions - 1
    await putTopicState(topic, { ...topic.state, partitions }, { store: this.#store })
    await this.#store.transact([], [{ kind: 'delete', key: partitionKey(topic.topicId, partitions) }])
  }

  async #changePartitions(topic: TopicRecord): Promise<void> {
    const value = encodeState({ ...topic.partitions[0]!, leader: this.#prng.below(5) })
    const keys = topic.partitions.flatMap((_, partition) =>
      this.#prng.below(2) === 0 ? [partitionKey(topic.topicId, partition)] : [],
    )
    await this.#store.transact(
      [],
      keys.map((key) => ({ kind: 'put', key, value }) as const),
    )
  }

  put(key: string, state: object): Promise<unknown> {
    return this.#store.transact([], [{ kind: 'put', key, value: encodeState(state) }])
  }
}

/** Follows by changes alone, as a broker does. */
class Follower {
  readonly brokers = new Map<number, unknown>()
  readonly nodes = new Map<number, unknown>()
  readonly topics = new Map<string, { name: string; partitions: PartitionState[] }>()
  controller: unknown

  take(changes: readonly ImageChange[]): void {
    for (const change of changes) this.#takeOne(change)
  }

  #takeOne(change: ImageChange): void {
    if (change.kind === 'node') set(this.nodes, change.nodeId, change.node?.state)
    else if (change.kind === 'broker') {
      assert.deepEqual(change.before?.state, this.brokers.get(change.nodeId))
      set(this.brokers, change.nodeId, change.broker?.state)
    } else if (change.kind === 'controller') this.controller = change.controller?.state
    else this.#takeTopic(change)
  }

  #takeTopic(change: Extract<ImageChange, { topic: TopicRecord }>): void {
    const { topicId, state, partitions } = change.topic
    const known = this.topics.get(topicId)
    if (change.kind === 'topic-added') {
      assert.equal(known, undefined)
      assert.ok([...this.topics.values()].every(({ name }) => name !== state.name))
      this.topics.set(topicId, { name: state.name, partitions: [...partitions] })
    } else if (change.kind === 'topic-removed') assert.ok(this.topics.delete(topicId))
    else if (change.kind === 'topic-changed')
      known!.partitions.length = Math.min(known!.partitions.length, state.partitions)
    else {
      assert.deepEqual(known!.partitions[change.partition], change.before)
      known!.partitions[change.partition] = change.state
    }
  }

  check(image: ClusterImage): void {
    const states = <T>(map: ReadonlyMap<number, { state: T }>) =>
      new Map([...map].map(([id, { state }]) => [id, state]))
    assert.deepEqual(this.brokers, states(image.brokers))
    assert.deepEqual(this.nodes, states(image.nodes))
    assert.deepEqual(this.controller, image.controller?.state)
    const topics = [...image.topics].map(
      ([id, { state, partitions }]) => [id, { name: state.name, partitions }] as const,
    )
    assert.deepEqual(this.topics, new Map(topics))
  }
}

function set<Key>(map: Map<Key, unknown>, key: Key, value: unknown): void {
  if (value === undefined) map.delete(key)
  else map.set(key, value)
}

function contentOf(image: ClusterImage): unknown {
  const { brokers, nodes, controller, topics, partitionCount } = image
  return { brokers, nodes, controller, topics, partitionCount }
}

async function imageOf(store: MemoryMetadataStore): Promise<ClusterImage> {
  const { revision, values } = await store.list(ROOT_PREFIX)
  return ClusterImage.of(revision, values)
}

for (const batch of [1, 7])
  test(`events lead where a list leads, and changes are enough to follow: ${batch} revisions at a time`, async () => {
    for (let seed = 1; seed <= 15; seed++) {
      const store = new MemoryMetadataStore(new VirtualTime())
      const image = new ClusterImage()
      const follower = new Follower()
      const events: StoreEvent[][] = []
      await store.watch(ROOT_PREFIX, 0, (some) => void events.push([...some]), assert.fail)
      const churn = new Churn(store, seed)
      for (let round = 0; round < 60; round++) {
        await churn.step()
        if (round % batch !== 0) continue
        if (batch === 1)
          for (const some of events.splice(0)) {
            follower.take(image.advance(some))
            // A watch that begins again may tell what is known.
            assert.deepEqual(image.advance(some), [])
          }
        else follower.take(image.advance(events.splice(0).flat()))
        follower.check(image)
        assert.deepEqual(contentOf(image), contentOf(await imageOf(store)), `seed ${seed}, round ${round}`)
        assert.deepEqual([...image.topics.values()].sort(byId), (await loadTopics(store)).sort(byId))
      }
    }
  })

function byId(left: TopicRecord, right: TopicRecord): number {
  return left.topicId < right.topicId ? -1 : 1
}

test('a resync tells the difference as changes, and nothing where there is none', async () => {
  for (let seed = 1; seed <= 15; seed++) {
    const store = new MemoryMetadataStore(new VirtualTime())
    const image = new ClusterImage()
    const follower = new Follower()
    const churn = new Churn(store, seed)
    for (let round = 0; round < 20; round++) {
      for (let step = 0; step < 5; step++) await churn.step()
      const { revision, values } = await store.list(ROOT_PREFIX)
      follower.take(image.resync(revision, values))
      follower.check(image)
      assert.deepEqual(contentOf(image), contentOf(await imageOf(store)))
      assert.deepEqual([image.resync(revision, values), image.revision], [[], revision])
    }
  }
})

test('half a topic is not seen and not removed; nor is a visible one that lacks a partition, which is named', async () => {
  const store = new MemoryMetadataStore(new VirtualTime())
  const context = { store, replica, newId: () => '1'.repeat(32), nowMs: 1 }
  const topic = await applyCreateTopic({ name: 'a', partitions: 2, replicas: 1, config: {} }, context)
  await store.transact([], [{ kind: 'delete', key: topicNameKey('a') }])
  const image = await imageOf(store)
  assert.equal(image.topics.size, 0)
  assert.equal((await store.list(ROOT_PREFIX)).values.length, 3)
  await store.transact([], [{ kind: 'delete', key: partitionKey(topic.topicId, 1) }])
  await store.transact([], [{ kind: 'put', key: topicNameKey('a'), value: encodeState({ topicId: topic.topicId }) }])
  const lacking = await imageOf(store)
  assert.deepEqual([lacking.topics.size, lacking.halfTopics()], [0, []])
  const [missing, ...others] = lacking.unreadable.values()
  assert.deepEqual([missing?.key, missing?.revision, others], [partitionKey(topic.topicId, 1), 0, []])
  assert.match(missing!.text, /partition 1 of .* is missing/)
})

const TORN = new Uint8Array([1])

/** Three topics of two partitions each, a broker, a node and a controller. */
async function wholeStore(): Promise<MemoryMetadataStore> {
  const store = new MemoryMetadataStore(new VirtualTime())
  let ids = 0
  const context = { store, replica, newId: () => String(++ids).repeat(32), nowMs: 1 }
  for (const name of NAMES) await applyCreateTopic({ name, partitions: 2, replicas: 1, config: {} }, context)
  const states = {
    [brokerKey(2)]: { incarnation: 1, url: 'ws://2', damaged: [] },
    [nodeKey(2)]: { incarnation: 1 },
    [CONTROLLER_KEY]: { nodeId: 2, incarnation: 1, controllerEpoch: 1 },
  }
  for (const [key, state] of Object.entries(states))
    await store.transact([], [{ kind: 'put', key, value: encodeState(state) }])
  return store
}

/** An image that follows a store by its events. */
async function following(store: MemoryMetadataStore): Promise<{ image: ClusterImage; follower: Follower }> {
  const image = await imageOf(store)
  const follower = new Follower()
  const { revision, values } = await store.list(ROOT_PREFIX)
  follower.take(new ClusterImage().resync(revision, values))
  await store.watch(ROOT_PREFIX, revision, (events) => follower.take(image.advance(events)), assert.fail)
  return { image, follower }
}

test('a value that cannot be read leaves what it says as it was; all else goes on; it is mended by the next one', async () => {
  const { values } = await (await wholeStore()).list(ROOT_PREFIX)
  for (const { key, value } of values)
    for (const wrong of [TORN, encodeState({}), encodeState([])]) {
      const store = await wholeStore()
      const { image, follower } = await following(store)
      const before = contentOf(await imageOf(store))
      await store.transact([], [{ kind: 'put', key, value: wrong }])
      await settled()
      const [unreadable, ...others] = image.unreadable.values()
      assert.deepEqual([unreadable?.key, others], [key, []])
      assert.match(unreadable!.text, new RegExp(`the value of ${key} is not readable`))
      assert.deepEqual(contentOf(image), before, key)
      const churn = new Churn(store, 1)
      for (const nodeId of [3, 4]) await churn.put(brokerKey(nodeId), { incarnation: nodeId, url: 'ws://' })
      await settled()
      const { revision, values: now } = await store.list(ROOT_PREFIX)
      assert.deepEqual([image.brokers.size >= 2, image.revision], [true, revision], 'the rest goes on')
      // A list finds the same as events do, and does not tell it again.
      assert.deepEqual(image.resync(revision, now), [])
      assert.deepEqual([...image.unreadable.keys()], [key])
      await store.transact([], [{ kind: 'put', key, value }])
      await settled()
      assert.equal(image.unreadable.size, 0)
      assert.deepEqual(contentOf(image), contentOf(await imageOf(store)))
      follower.check(image)
    }
})

test('a key that cannot be read and goes is no key', async () => {
  const { values } = await (await wholeStore()).list(ROOT_PREFIX)
  for (const { key } of values.filter(({ key: one }) => !one.includes('/partitions/'))) {
    const store = await wholeStore()
    const { image, follower } = await following(store)
    await store.transact([], [{ kind: 'put', key, value: TORN }])
    await store.transact([], [{ kind: 'delete', key }])
    await settled()
    assert.deepEqual([image.unreadable.size, contentOf(image)], [0, contentOf(await imageOf(store))])
    follower.check(image)
  }
})

test('a topic that begins with something that cannot be read comes when it can be', async () => {
  const { values } = await (await wholeStore()).list(ROOT_PREFIX)
  for (const { key, value } of values.filter(({ key: one }) => one.includes('/topics/') || one.includes('topic-ids'))) {
    const store = await wholeStore()
    await store.transact([], [{ kind: 'put', key, value: TORN }])
    const { image, follower } = await following(store)
    assert.deepEqual([image.topics.size, [...image.unreadable.keys()]], [2, [key]])
    await store.transact([], [{ kind: 'put', key, value }])
    await settled()
    assert.equal(image.topics.size, 3)
    follower.check(image)
  }
  for (const { key, value } of values.filter(({ key: one }) => one.includes('/partitions/')))
    for (const isGone of [false, true]) {
      const store = await wholeStore()
      await store.transact([], [isGone ? { kind: 'delete', key } : { kind: 'put', key, value: TORN }])
      const { image, follower } = await following(store)
      assert.deepEqual([image.topics.size, [...image.unreadable.keys()], image.halfTopics()], [2, [key], []])
      await store.transact([], [{ kind: 'put', key, value }])
      await settled()
      assert.deepEqual([image.topics.size, image.unreadable.size], [3, 0])
      follower.check(image)
    }
})

test('a topic grows once all of what it gained is there; one whose partition is lost keeps it as it was', async () => {
  const store = await wholeStore()
  const { image, follower } = await following(store)
  const topic = (await loadTopics(store))[0]!
  const { topicId } = topic
  const [, second] = topic.partitions
  await putTopicState(topic, { ...topic.state, partitions: 4 }, { store })
  await store.transact([], [{ kind: 'put', key: partitionKey(topicId, 2), value: encodeState(second!) }])
  await settled()
  assert.deepEqual([image.topicById(topicId)?.partitions.length, image.topicById(topicId)?.state.partitions], [2, 2])
  assert.deepEqual([...image.unreadable.keys()], [partitionKey(topicId, 3)])
  await store.transact([], [{ kind: 'put', key: partitionKey(topicId, 3), value: encodeState(second!) }])
  await settled()
  assert.deepEqual([image.topicById(topicId)?.partitions.length, image.unreadable.size], [4, 0])
  image.takeUnreadableChanges()
  await store.transact([], [{ kind: 'delete', key: partitionKey(topicId, 1) }])
  await settled()
  assert.deepEqual(
    [image.topicById(topicId)?.partitions[1], [...image.unreadable.keys()]],
    [second, [partitionKey(topicId, 1)]],
  )
  assert.deepEqual([...image.takeUnreadableChanges()], [partitionKey(topicId, 1)])
  follower.check(image)
  await applyDeleteTopic(topic, store)
  await settled()
  assert.deepEqual([image.topics.size, image.unreadable.size], [2, 0])
  follower.check(image)
})

test('watch: what cannot be read is told once a change, with its key, and nothing is asked for again', async () => {
  const time = new VirtualTime()
  const store = await wholeStore()
  let lists = 0
  const watching: MemoryMetadataStore = Object.create(store)
  watching.list = (prefix) => {
    lists++
    return store.list(prefix)
  }
  watching.watch = (...args) => store.watch(...args)
  const told: string[] = []
  const watch = await ClusterWatch.open(watching, () => {}, {
    timers: time,
    onUnreadable: (found, mended) =>
      void told.push(...found.map(({ key }) => `lost ${key}`), ...mended.map((key) => `mended ${key}`)),
  })
  const key = brokerKey(2)
  const put = (value: Uint8Array) => store.transact([], [{ kind: 'put', key, value }])
  await put(TORN)
  await time.pass(60_000)
  await store.transact([], [{ kind: 'put', key: nodeKey(5), value: encodeState({ incarnation: 1 }) }])
  await time.pass(60_000)
  assert.deepEqual([told, lists, watch.image.nodes.has(5)], [[`lost ${key}`], 1, true])
  assert.equal(watch.image.takeUnreadableChanges().size, 0, 'an event of another key has nobody look at this one')
  await put(encodeState({}))
  await put(encodeState({ incarnation: 2, url: 'ws://2' }))
  await time.pass(100)
  assert.deepEqual(told, [`lost ${key}`, `lost ${key}`, `mended ${key}`])
  assert.equal(watch.image.brokers.get(2)?.state.incarnation, 2)
  await watch.close()
})

test('watch: told of everything once, by events and after lost ones; waits for a revision', async () => {
  const time = new VirtualTime()
  const store = new MemoryMetadataStore(time)
  let lose = () => {}
  const watching: MemoryMetadataStore = Object.create(store)
  watching.list = (prefix) => store.list(prefix)
  watching.watch = (prefix, from, onEvents, onResync) => {
    let isLosing = false
    lose = () => {
      isLosing = true
      void store.transact([], [{ kind: 'put', key: brokerKey(8), value: encodeState(BROKER) }]).then(onResync)
    }
    return store.watch(prefix, from, (events) => void (isLosing || onEvents(events)), onResync)
  }
  const follower = new Follower()
  const watch = await ClusterWatch.open(watching, (changes) => follower.take(changes), { timers: time })
  const churn = new Churn(store, 5)
  for (let round = 0; round < 40; round++) {
    await churn.step()
    if (round % 10 === 9) lose()
    await settled()
    follower.check(watch.image)
    assert.deepEqual(contentOf(watch.image), contentOf(await imageOf(store)))
  }
  assert.ok(watch.image.brokers.has(8))
  const { revision } = await store.list(BROKERS_PREFIX)
  await watch.waitFor(revision)
  const waiting = watch.waitFor(revision + 1, 100)
  await store.transact([], [{ kind: 'put', key: brokerKey(9), value: encodeState(BROKER) }])
  await waiting
  const late = assert.rejects(watch.waitFor(revision + 9, 100), { code: 'REQUEST_TIMED_OUT' })
  await time.pass(101)
  await late
  const closed = assert.rejects(watch.waitFor(revision + 9), { code: 'CLOSED' })
  await watch.close()
  await closed
})

test('watch: a list that fails is tried again', async () => {
  const time = new VirtualTime()
  const store = new MemoryMetadataStore(time)
  const watching: MemoryMetadataStore = Object.create(store)
  let failures = 0
  let resync = () => {}
  watching.list = (prefix) => (failures-- > 0 ? Promise.reject(new Error('unreachable')) : store.list(prefix))
  watching.watch = (prefix, from, onEvents, onResync) => {
    resync = onResync
    return store.watch(prefix, from, onEvents, onResync)
  }
  const told: string[] = []
  const watch = await ClusterWatch.open(watching, () => {}, {
    timers: time,
    onResync: (reason) => void told.push(reason),
  })
  failures = 2
  resync()
  await store.transact([], [{ kind: 'put', key: brokerKey(9), value: encodeState(BROKER) }])
  await settled()
  assert.equal(watch.image.brokers.has(9), false)
  await time.pass(2_000)
  assert.ok(watch.image.brokers.has(9))
  assert.equal(told.length, 3)
  await watch.close()
})

test('an event costs what it says, not what the cluster holds', () => {
  const topicId = '1'.repeat(32) as TopicRecord['topicId']
  const state: PartitionState = {
    ...{ leader: 1, leaderEpoch: 0, leaderIncarnation: 1, replicas: [1], inSyncReplicas: [replica] },
    ...{ eligibleLeaders: [], adding: [], removing: [] },
  } as unknown as PartitionState
  const put = (key: string, value: object, revision: number): StoreEvent => ({
    ...{ kind: 'put', key, value: encodeState(value), revision },
  })
  /** Best of five times for 400 events of one partition each. */
  const costMs = (partitions: number): number => {
    const image = new ClusterImage()
    const topic = { name: 'a', partitions, replicas: 1, config: {}, createdMs: 0 }
    image.advance([
      ...Array.from({ length: partitions }, (_, partition) => put(partitionKey(topicId, partition), state, 1)),
      put(`${ROOT_PREFIX}topic-ids/${topicId}`, topic, 1),
      put(topicNameKey('a'), { topicId }, 1),
    ])
    assert.equal(image.partitionCount, partitions)
    let revision = 2
    let bestMs = Number.POSITIVE_INFINITY
    for (let round = 0; round < 5; round++) {
      const startMs = performance.now()
      for (const end = revision + 400; revision < end; revision++)
        assert.equal(image.advance([put(partitionKey(topicId, revision % partitions), state, revision)]).length, 1)
      bestMs = Math.min(bestMs, performance.now() - startMs)
    }
    return bestMs
  }
  const small = costMs(100)
  const large = costMs(10_000)
  // A walk over all partitions would cost a hundred times as much.
  assert.ok(large < 20 * small, `${large} ms with 10,000 partitions, ${small} ms with 100`)
})
