/** The controller at work on a store: topics placed, leaders replaced, moves carried out, one controller at a time. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ClusterImage } from '../../../../src/coordination/cluster-image.ts'
import { writePartitionStates } from '../../../../src/coordination/controller/partition-writer.ts'
import { alterConfig, type RequestContext } from '../../../../src/coordination/controller/topic-requests.ts'
import {
  type BrokerState,
  brokerKey,
  CONTROLLER_KEY,
  decodePartitionState,
  decodeState,
  encodeState,
  NO_LEADER,
  partitionKey,
  ROOT_PREFIX,
  topicIdKey,
  topicNameKey,
} from '../../../../src/coordination/keys.ts'
import {
  type MetadataStore,
  type StoreCondition,
  StoreOutcomeUnknownError,
} from '../../../../src/coordination/metadata-store.ts'
import type { CreateTopicWish } from '../../../../src/coordination/topics.ts'
import { MillraceError } from '../../../../src/model/errors.ts'
import type { TopicId } from '../../../../src/model/ids.ts'
import { TOPIC_CONFIG_DEFAULTS } from '../../../../src/model/topic-config.ts'
import { Cluster } from '../../../support/cluster-brokers.ts'
import { replicasOf, textOf } from '../../../support/cluster-fixture.ts'

const wish = (name: string, change: Partial<CreateTopicWish> = {}): CreateTopicWish => ({
  ...{ name, partitions: 6, replicas: -1, config: {}, ifNotExists: false, ...change },
})

async function clusterOf(nodes: readonly number[], minInsyncReplicas = 1): Promise<Cluster> {
  const cluster = new Cluster()
  cluster.minInsyncReplicas = minInsyncReplicas
  for (const nodeId of nodes) await cluster.start(nodeId)
  await cluster.time.pass(100)
  return cluster
}

/** Puts a follower into the in-sync set, as its leader's broker would. */
async function joinInSync(cluster: Cluster, name: string, nodeId: number): Promise<void> {
  const { watch, self } = cluster.brokers.get(nodeId)!
  const topic = watch.image.topicByName(name)!
  const fence: StoreCondition = { kind: 'present', key: ROOT_PREFIX.concat('cluster') }
  const writes = topic.partitions.flatMap((state, partition) => {
    if (!state.replicas.includes(nodeId) || state.inSyncReplicas.some((one) => one.nodeId === nodeId)) return []
    const inSyncReplicas = [...state.inSyncReplicas, self]
    return { topic, partition, version: topic.partitionVersions[partition]!, next: { ...state, inSyncReplicas } }
  })
  await writePartitionStates(cluster.store, fence, writes)
}

test('one broker controls; another one does when it is gone, with a higher epoch', async () => {
  const cluster = await clusterOf([1, 2, 3])
  assert.equal(cluster.controllers.length, 1)
  assert.deepEqual([cluster.controller.controllerEpoch, cluster.brokers.get(1)!.controller.isActive], [1, true])
  await assert.rejects(cluster.brokers.get(2)!.controller.createTopic(wish('a')), { code: 'NOT_CONTROLLER' })
  await cluster.kill(1)
  await cluster.time.pass(1_000)
  assert.deepEqual(
    cluster.controllers.map(({ controllerEpoch }) => controllerEpoch),
    [2],
  )
})

test('topics: placed over the brokers, refused where they do not fit', async () => {
  const cluster = await clusterOf([1, 2, 3])
  const { controller } = cluster
  const made = await cluster.answerOf(controller.createTopic(wish('a')))
  assert.deepEqual([made.partitions, made.created], [6, true])
  const counts = new Map<number, number>()
  for (const state of cluster.partitionsOf('a')) {
    assert.deepEqual([state.replicas.length, state.leader, state.leaderEpoch], [3, state.replicas[0], 0])
    assert.equal(textOf(state.inSyncReplicas), state.replicas.join(' '))
    counts.set(state.leader, (counts.get(state.leader) ?? 0) + 1)
  }
  assert.deepEqual([...counts.values()], [2, 2, 2])
  await assert.rejects(cluster.answerOf(controller.createTopic(wish('b', { replicas: 4 }))), {
    code: 'INVALID_REPLICATION_FACTOR',
  })
  await assert.rejects(cluster.answerOf(controller.createTopic(wish('a'))), { code: 'TOPIC_ALREADY_EXISTS' })
  assert.equal((await cluster.answerOf(controller.createTopic(wish('c'), true))).created, false)
  await cluster.kill(3)
  await cluster.time.pass(100)
  // Three brokers are known: no topic gets two replicas because one of them is away.
  await assert.rejects(cluster.answerOf(controller.createTopic(wish('d'))), { code: 'INVALID_REPLICATION_FACTOR' })
  await assert.rejects(cluster.answerOf(controller.addPartitions('a', 9)), { code: 'INVALID_REPLICATION_FACTOR' })
  await cluster.start(3)
  await cluster.time.pass(100)
  await cluster.answerOf(controller.addPartitions('a', 9))
  assert.equal(cluster.partitionsOf('a').length, 9)
  await cluster.answerOf(controller.deleteTopic('a'))
  assert.deepEqual((await cluster.store.list(`${ROOT_PREFIX}partitions/`)).values, [])
})

test('a broker goes while a topic is written that it gets replicas of: the topic is made', async () => {
  const cluster = await clusterOf([1, 2, 3])
  const { store } = cluster
  const transact = store.transact
  let transactions = 0
  store.transact = async (conditions, operations) => {
    const result = await transact.call(store, conditions, operations)
    if (++transactions === 1) {
      store.transact = transact
      await cluster.kill(3)
    }
    return result
  }
  assert.equal((await cluster.answerOf(cluster.controller.createTopic(wish('a')))).created, true)
  await cluster.time.pass(1_000)
  for (const state of cluster.partitionsOf('a'))
    assert.deepEqual([state.replicas.length, state.leader === 3], [3, false])
})

test('the store does not answer whether this broker still controls, and was asked to write nothing: that is said', async () => {
  const cluster = await clusterOf([1, 2, 3])
  const { store, controller } = cluster
  const transact = store.transact
  store.transact = async (conditions, operations) => {
    if (operations.length === 0) throw new StoreOutcomeUnknownError('the reply was lost')
    return { ...(await transact.call(store, conditions, operations)), applied: false }
  }
  await assert.rejects(cluster.answerOf(controller.recommission(3)), {
    code: 'BROKER_NOT_AVAILABLE',
    message: /nothing has happened: .* the reply was lost/,
  })
  store.transact = transact
})

test('a thousand partitions lose their leader: each has a new one in a few transactions', async () => {
  const cluster = await clusterOf([1, 2, 3])
  await cluster.answerOf(cluster.controller.createTopic(wish('a', { partitions: 3_000 })))
  let transactions = 0
  const { store } = cluster
  const transact = store.transact
  store.transact = (conditions, operations) => {
    transactions++
    return transact.call(store, conditions, operations)
  }
  await cluster.kill(2)
  await cluster.time.pass(300)
  const led = cluster.partitionsOf('a').filter(({ leader, leaderEpoch }) => leader !== 2 && leaderEpoch === 1)
  assert.equal(led.length, 1_000)
  // 1,000 elections and 2,000 in-sync sets, 99 of them in one transaction.
  assert.ok(transactions <= 40, `${transactions} transactions`)
  for (const state of cluster.partitionsOf('a')) assert.equal(state.inSyncReplicas.length, 2)
})

test('all brokers gone and back one by one: whoever comes leads, epochs grow', async () => {
  const cluster = await clusterOf([1, 2, 3], 2)
  await cluster.answerOf(cluster.controller.createTopic(wish('a', { partitions: 3 })))
  for (const nodeId of [1, 2]) {
    await cluster.kill(nodeId)
    await cluster.time.pass(1_000)
  }
  for (const state of cluster.partitionsOf('a'))
    assert.deepEqual([state.leader, textOf(state.inSyncReplicas)], [3, '3'])
  await cluster.kill(3)
  await cluster.start(1)
  await cluster.time.pass(1_000)
  // It left while two were in sync: they went on without it.
  for (const state of cluster.partitionsOf('a'))
    assert.deepEqual([state.leader, textOf(state.inSyncReplicas)], [NO_LEADER, '3'])
  await cluster.start(2)
  await cluster.time.pass(1_000)
  // This one left only one behind: nothing was acknowledged without it.
  for (const state of cluster.partitionsOf('a')) {
    assert.deepEqual([state.leader, textOf(state.inSyncReplicas)], [2, '2@2'])
    assert.ok(state.leaderEpoch >= 2)
  }
})

test('a broker that stops hands its leaderships over first', async () => {
  const cluster = await clusterOf([1, 2, 3])
  await cluster.answerOf(cluster.controller.createTopic(wish('a')))
  await cluster.brokers.get(2)!.register({ isStopping: true })
  await cluster.time.pass(200)
  for (const state of cluster.partitionsOf('a')) {
    assert.notEqual(state.leader, 2)
    assert.ok(state.inSyncReplicas.some(({ nodeId }) => nodeId === 2))
  }
})

test('moves: never fewer replicas, done when the new ones are in sync, led by one that stays', async () => {
  const cluster = await clusterOf([1, 2, 3, 4])
  await cluster.answerOf(cluster.controller.createTopic(wish('a', { partitions: 4 })))
  const target = [4, 3, 2]
  const wishes = cluster.partitionsOf('a').map((_, partition) => ({ topic: 'a', partition, replicas: target }))
  const plan = await cluster.answerOf(cluster.controller.reassign(wishes, true))
  assert.deepEqual(JSON.parse(JSON.stringify(plan)), plan)
  await cluster.answerOf(cluster.controller.reassign(wishes))
  await cluster.time.pass(1_000)
  for (const state of cluster.partitionsOf('a')) assert.ok(state.replicas.length >= 3)
  for (const nodeId of [4, 3, 2]) await joinInSync(cluster, 'a', nodeId)
  await cluster.time.pass(1_000)
  for (const { replicas, adding, removing, inSyncReplicas, leader } of cluster.partitionsOf('a')) {
    assert.deepEqual([replicas, adding, removing], [target, [], []])
    assert.equal(textOf(inSyncReplicas), '4 3 2')
    assert.ok(target.includes(leader))
  }
  const { changed } = await cluster.answerOf(cluster.controller.electPreferred(null))
  await cluster.time.pass(100)
  for (const { leader } of cluster.partitionsOf('a')) assert.equal(leader, 4)
  assert.ok(changed.length > 0)
})

test('moves: taken back while the new ones are not in sync', async () => {
  const cluster = await clusterOf([1, 2, 3, 4])
  await cluster.answerOf(cluster.controller.createTopic(wish('a', { partitions: 1, replicas: 2 })))
  const before = cluster.partitionsOf('a')[0]!
  const others = [1, 2, 3, 4].filter((nodeId) => !before.replicas.includes(nodeId))
  await cluster.answerOf(cluster.controller.reassign([{ topic: 'a', partition: 0, replicas: others }]))
  assert.equal(cluster.partitionsOf('a')[0]!.replicas.length, 4)
  const outcome = await cluster.answerOf(cluster.controller.cancelReassignment([{ topic: 'a', partition: 0 }]))
  assert.equal(outcome.changed.length, 1)
  await cluster.time.pass(100)
  assert.deepEqual(cluster.partitionsOf('a')[0], before)
})

test('a broker is emptied, some partitions at a time, and gets nothing new', async () => {
  const cluster = await clusterOf([1, 2, 3, 4])
  await cluster.answerOf(cluster.controller.createTopic(wish('a', { partitions: 120 })))
  const { moves } = await cluster.answerOf(cluster.controller.decommission(4))
  assert.equal(moves.length, 90)
  await cluster.time.pass(100)
  assert.equal(cluster.partitionsOf('a').filter(({ adding }) => adding.length > 0).length, 50)
  for (let round = 0; round < 4; round++) {
    for (const nodeId of [1, 2, 3]) await joinInSync(cluster, 'a', nodeId)
    await cluster.time.pass(1_000)
  }
  for (const { replicas } of cluster.partitionsOf('a')) assert.deepEqual([...replicas].sort(), [1, 2, 3])
  await cluster.answerOf(cluster.controller.createTopic(wish('b')))
  for (const { replicas } of cluster.partitionsOf('b')) assert.ok(!replicas.includes(4))
  await cluster.answerOf(cluster.controller.recommission(4))
  const plan = await cluster.answerOf(cluster.controller.rebalance(true))
  assert.ok(plan.moves.length > 0 && plan.moves.every(({ to }) => to.includes(4)))
})

test('a new partition lies on no broker whose disk is low, while the others are enough', async () => {
  const cluster = await clusterOf([1, 2, 3, 4])
  const key = brokerKey(4)
  const broker = decodeState<BrokerState>(key, (await cluster.store.get(key))!.value)
  await cluster.store.transact([], [{ kind: 'put', key, value: encodeState({ ...broker, isDiskLow: true }) }])
  await cluster.time.pass(100)
  const isOn4 = ({ replicas }: { replicas: readonly number[] }) => replicas.includes(4)
  await cluster.answerOf(cluster.controller.createTopic(wish('a')))
  await cluster.answerOf(cluster.controller.addPartitions('a', 9))
  assert.deepEqual(cluster.partitionsOf('a').filter(isOn4), [])
  await cluster.answerOf(cluster.controller.createTopic(wish('b', { replicas: 4 })))
  assert.ok(cluster.partitionsOf('b').every(isOn4), 'nobody else could take them')
})

test('partitions drain from the last one down', async () => {
  const cluster = await clusterOf([1, 2, 3])
  const { topicId } = await cluster.answerOf(cluster.controller.createTopic(wish('a')))
  const { controller } = cluster
  await assert.rejects(cluster.answerOf(controller.drainPartitions('a', 6)), { code: 'INVALID_PARTITIONS' })
  assert.equal(await cluster.answerOf(controller.partitionEmptied(topicId, 5)), 0)
  await cluster.answerOf(controller.drainPartitions('a', 3))
  await assert.rejects(cluster.answerOf(controller.addPartitions('a', 9)), {
    code: 'INVALID_PARTITIONS',
    message: /drains/,
  })
  assert.equal(await cluster.answerOf(controller.partitionEmptied(topicId, 4)), 0)
  assert.equal(await cluster.answerOf(controller.partitionEmptied(topicId, 2)), 0)
  assert.equal(await cluster.answerOf(controller.partitionEmptied(topicId, 5)), 2)
  assert.equal(cluster.partitionsOf('a').length, 4)
  assert.equal(await cluster.answerOf(controller.partitionEmptied(topicId, 3)), 1)
  assert.equal((await cluster.store.list(`${ROOT_PREFIX}partitions/`)).values.length, 3)
  await cluster.answerOf(controller.addPartitions('a', 4))
  assert.equal(cluster.partitionsOf('a').length, 4)
})

test('min.insync.replicas is raised only after eligible leaders of the lower bound are gone', async () => {
  const cluster = await clusterOf([1, 2, 3], 2)
  const { topicId } = await cluster.answerOf(cluster.controller.createTopic(wish('a', { partitions: 1 })))
  for (const { controller } of cluster.brokers.values()) await controller.close()
  const key = partitionKey(topicId, 0)
  // Nobody has looked at it since the bound was lowered: one in sync is enough, and who left need not hold what came since.
  const state = { ...cluster.partitionsOf('a')[0]!, inSyncReplicas: replicasOf('1'), eligibleLeaders: replicasOf('2') }
  await cluster.store.transact([], [{ kind: 'put', key, value: encodeState(state) }])
  const { revision, values } = await cluster.store.list(ROOT_PREFIX)
  const context: RequestContext = {
    ...{ store: cluster.store, image: ClusterImage.of(revision, values), fence: { kind: 'present', key } },
    ...{ self: cluster.brokers.get(1)!.self, clock: cluster.time, newId: () => cluster.newId() },
    defaults: { partitions: 1, replicas: 3, config: TOPIC_CONFIG_DEFAULTS },
  }
  await alterConfig('a', { set: { 'min.insync.replicas': '2' }, remove: [] }, context)
  assert.deepEqual(decodePartitionState(key, (await cluster.store.get(key))!.value).eligibleLeaders, [])
})

test('a controller that was replaced writes nothing, and finds out', async () => {
  const cluster = new Cluster()
  // The first one hears of nothing for a while: it believes in its key.
  let isDeaf = false
  const deaf: MetadataStore = Object.create(cluster.store)
  for (const method of ['get', 'list', 'transact', 'lease', 'revokeLease', 'close'] as const)
    Object.defineProperty(deaf, method, { value: cluster.store[method].bind(cluster.store) })
  deaf.watch = (prefix, from, onEvents, onResync) =>
    cluster.store.watch(prefix, from, (events) => void (isDeaf || onEvents(events)), onResync)
  await cluster.start(1, { store: deaf })
  await cluster.start(2)
  await cluster.start(3)
  await cluster.time.pass(100)
  const old = cluster.brokers.get(1)!
  await cluster.answerOf(old.controller.createTopic(wish('a')))
  isDeaf = true
  await cluster.store.transact([], [{ kind: 'delete', key: CONTROLLER_KEY }])
  await cluster.time.pass(1_000)
  const before = await cluster.store.list(ROOT_PREFIX)
  const requests: Promise<unknown>[] = [
    old.controller.createTopic(wish('b')),
    old.controller.deleteTopic('a'),
    old.controller.addPartitions('a', 9),
    old.controller.alterConfig('a', { set: { 'retention.ms': '1' }, remove: [] }),
    old.controller.decommission(2),
  ]
  for (const request of requests) await assert.rejects(cluster.answerOf(request), { code: 'NOT_CONTROLLER' })
  assert.deepEqual((await cluster.store.list(ROOT_PREFIX)).values, before.values)
  assert.equal(old.controller.isActive, false)
})

/** A cluster whose controller's writes can be counted, and something done after one of them. */
async function clusterWithWrites() {
  const cluster = new Cluster()
  const watched: MetadataStore = Object.create(cluster.store)
  const nothing = (_count: number): Promise<void> | void => {}
  const writes = { count: 0, after: nothing, beforeCheck: nothing, isCut: false }
  for (const method of ['get', 'list', 'watch', 'lease', 'revokeLease', 'close'] as const)
    Object.defineProperty(watched, method, { value: cluster.store[method].bind(cluster.store) })
  watched.transact = async (conditions, operations) => {
    if (writes.isCut) throw new MillraceError('BROKER_NOT_AVAILABLE', 'the store cannot be reached')
    if (operations.length === 0) await writes.beforeCheck(writes.count)
    const result = await cluster.store.transact(conditions, operations)
    if (operations.length > 0 && result.applied) await writes.after(++writes.count)
    return result
  }
  await cluster.start(1, { store: watched })
  await cluster.start(2)
  await cluster.start(3)
  await cluster.time.pass(100)
  /** Broker 2 controls from now on, and finds its own key. */
  const takeControl = async () => {
    const value = encodeState({ ...cluster.brokers.get(2)!.self, controllerEpoch: 2 })
    await cluster.store.transact([], [{ kind: 'put', key: CONTROLLER_KEY, value }])
  }
  writes.count = 0
  return { cluster, controller: cluster.brokers.get(1)!.controller, writes, takeControl }
}

test('what was written whole is answered, though another one controls by then', async () => {
  const { cluster, controller, writes, takeControl } = await clusterWithWrites()
  writes.after = (count) => (count === 3 ? takeControl() : undefined)
  const made = await cluster.answerOf(controller.createTopic(wish('a')))
  assert.deepEqual([made.created, made.partitions, writes.count], [true, 6, 3])
  await cluster.time.pass(1_000)
  assert.equal(cluster.partitionsOf('a').length, 6)
  writes.after = () => {}
  writes.count = 0
  const controllers = cluster.controllers
  assert.equal(controllers.length, 1)
  await assert.rejects(cluster.answerOf(controllers[0]!.createTopic(wish('a'))), { code: 'TOPIC_ALREADY_EXISTS' })
})

test('what was written whole is answered, though the store cannot be reached by then', async () => {
  const { cluster, controller, writes } = await clusterWithWrites()
  writes.after = (count) => void (writes.isCut = count === 3)
  assert.equal((await cluster.answerOf(controller.createTopic(wish('a')))).created, true)
})

test('what was only looked at is not answered by who does not control any more', async () => {
  const { cluster, controller, writes, takeControl } = await clusterWithWrites()
  writes.beforeCheck = takeControl
  const asked = cluster.answerOf(controller.createTopic(wish('a'), true))
  await assert.rejects(asked, { code: 'NOT_CONTROLLER' })
})

test('what may be written in part is not told as if nothing had been done', async () => {
  // The topic's id, then three batches of partitions, then its name.
  for (const end of ['controller', 'store', 'unknown'] as const)
    for (let last = 0; last <= 4; last++) {
      const { cluster, controller, writes, takeControl } = await clusterWithWrites()
      writes.after = async (count) => {
        if (count === last + 1 && end === 'unknown') throw new StoreOutcomeUnknownError('its reply was lost')
        if (count === last && end === 'store') writes.isCut = true
        if (count === last && end === 'controller') await takeControl()
      }
      if (last === 0 && end === 'controller') await takeControl()
      if (last === 0 && end === 'store') writes.isCut = true
      const asked = cluster.answerOf(controller.createTopic(wish('a', { partitions: 250 })))
      const isNothing = last === 0 && end !== 'unknown'
      const nothing = end === 'controller' ? 'NOT_CONTROLLER' : 'BROKER_NOT_AVAILABLE'
      await assert.rejects(asked, { code: isNothing ? nothing : 'REQUEST_TIMED_OUT' }, `${end} after ${last}`)
      writes.after = () => {}
      writes.isCut = false
      await cluster.time.pass(2_000)
      const isThere = end === 'unknown' && last === 4
      const again = cluster.answerOf(cluster.controller.createTopic(wish('a', { partitions: 250 })))
      if (isThere) await assert.rejects(again, { code: 'TOPIC_ALREADY_EXISTS' })
      else assert.equal((await again).created, true)
    }
})

test('a partition whose key cannot be read is left alone, and not tried again and again; the others have new leaders', async () => {
  const cluster = await clusterOf([1, 2, 3])
  const { topicId } = await cluster.answerOf(cluster.controller.createTopic(wish('a')))
  const of2 = cluster.partitionsOf('a').flatMap(({ leader }, partition) => (leader === 2 ? [partition] : []))
  const key = partitionKey(topicId, of2[0]!)
  const { value } = (await cluster.store.get(key))!
  await cluster.store.transact([], [{ kind: 'put', key, value: Buffer.from('{') }])
  let transactions = 0
  const { transact } = cluster.store
  cluster.store.transact = (conditions, operations) => {
    if (operations.length > 0) transactions++
    return transact.call(cluster.store, conditions, operations)
  }
  await cluster.kill(2)
  await cluster.time.pass(20_000)
  const led = () => of2.map((partition) => cluster.partitionsOf('a')[partition]!.leader === 2)
  assert.deepEqual(led(), [true, ...of2.slice(1).map(() => false)])
  assert.ok(transactions < 20, `${transactions} transactions`)
  await cluster.store.transact([], [{ kind: 'put', key, value }])
  await cluster.time.pass(1_000)
  assert.ok(!led().includes(true))
})

test('half of a topic whose name cannot be read is no half', async () => {
  const cluster = await clusterOf([1, 2, 3])
  await cluster.answerOf(cluster.controller.createTopic(wish('a')))
  const key = topicNameKey('a')
  const { value } = (await cluster.store.get(key))!
  await cluster.store.transact([], [{ kind: 'put', key, value: Buffer.from('{') }])
  // Nobody who begins now knows the name.
  for (const nodeId of [1, 2, 3]) {
    await cluster.kill(nodeId)
    await cluster.start(nodeId)
    await cluster.time.pass(1_000)
  }
  await cluster.store.transact([], [{ kind: 'put', key, value }])
  await cluster.time.pass(1_000)
  assert.equal(cluster.partitionsOf('a').length, 6)
})

test('half a topic that a crash left is removed by the next controller, a whole one stays', async () => {
  const cluster = await clusterOf([1, 2, 3])
  await cluster.answerOf(cluster.controller.createTopic(wish('a')))
  const half = 'f'.repeat(32) as TopicId
  const value = (await cluster.store.list(`${ROOT_PREFIX}topic-ids/`)).values[0]!.value
  await cluster.store.transact(
    [],
    [
      { kind: 'put', key: topicIdKey(half), value },
      { kind: 'put', key: partitionKey(half, 0), value },
    ],
  )
  await cluster.kill(1)
  await cluster.time.pass(1_000)
  const keys = (await cluster.store.list(ROOT_PREFIX)).values.map(({ key }) => key)
  assert.ok(!keys.some((key) => key.includes(half)))
  assert.equal(keys.filter((key) => key.includes('/partitions/')).length, 6)
})

test('a broker whose port is closed to two is gone before its lease; one doubt and it stays', async () => {
  const cluster = await clusterOf([1, 2, 3])
  await cluster.answerOf(cluster.controller.createTopic(wish('a')))
  const { incarnation } = cluster.brokers.get(3)!.self
  assert.equal(await cluster.answerOf(cluster.controller.suspect(3, incarnation)), false)
  cluster.probes.set(3, 'unknown')
  assert.equal(await cluster.answerOf(cluster.controller.suspect(3, incarnation)), false)
  cluster.probes.set(3, 'refused')
  assert.equal(await cluster.answerOf(cluster.controller.suspect(3, incarnation + 1)), false)
  assert.equal(await cluster.answerOf(cluster.controller.suspect(3, incarnation)), true)
  await cluster.time.pass(200)
  for (const { leader } of cluster.partitionsOf('a')) assert.ok(leader !== 3 && leader !== NO_LEADER)
})

test('unclean: a partition without a leader gets one that lives where that is asked for, and no other does', async () => {
  const cluster = await clusterOf([1, 2, 3])
  const { controller } = cluster
  await cluster.answerOf(controller.createTopic(wish('a', { partitions: 3, replicas: 2 })))
  const shrunk = cluster.partitionsOf('a').findIndex(({ leader }) => leader === 3)
  const topic = cluster.brokers.get(1)!.watch.image.topicByName('a')!
  const state = topic.partitions[shrunk]!
  const alone = { ...state, inSyncReplicas: state.inSyncReplicas.filter(({ nodeId }) => nodeId === 3) }
  const fence: StoreCondition = { kind: 'present', key: ROOT_PREFIX.concat('cluster') }
  const version = topic.partitionVersions[shrunk]!
  await writePartitionStates(cluster.store, fence, [{ topic, partition: shrunk, version, next: alone }])
  const all = [0, 1, 2].map((partition) => ({ topic: 'a', partition }))
  const before = await cluster.answerOf(controller.electUnclean(all))
  assert.deepEqual([before.changed, before.left.length], [[], 3], 'all have a leader')
  await cluster.kill(3)
  await cluster.time.pass(1_000)
  assert.equal(cluster.partitionsOf('a')[shrunk]!.leader, NO_LEADER)
  const { changed } = await cluster.answerOf(controller.electUnclean(null))
  assert.deepEqual(changed, [{ topic: 'a', partition: shrunk }])
  const elected = cluster.partitionsOf('a')[shrunk]!
  const other = state.replicas.find((nodeId) => nodeId !== 3)!
  assert.deepEqual([elected.leader, textOf(elected.inSyncReplicas)], [other, String(other)])
  assert.ok(elected.leaderEpoch > state.leaderEpoch)
  assert.ok(cluster.warnings.some((text) => text.includes('unclean election')))
})
