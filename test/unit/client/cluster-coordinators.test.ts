/** Coordinators of groups and transactions in a cluster: found, followed when they move, die, load, and never mistaken for another. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { resolveClientOptions } from '../../../src/client/client-options.ts'
import { SessionExtender } from '../../../src/client/group/session-extender.ts'
import { type Client, connect, type GroupOptions, type TopicPartition } from '../../../src/client/index.ts'
import { nodeRuntime } from '../../../src/client/node-runtime.ts'
import { Api, CoordinatorKind } from '../../../src/protocol/index.ts'
import { hasCode, until } from '../../support/expect.ts'
import { type FakeBroker, type Fault, withFakeBroker } from '../../support/fake-broker.ts'
import { type FakeCluster, withFakeCluster } from '../../support/fake-cluster.ts'
import { committedValues } from '../../support/transaction-reads.ts'

const NONE: Fault = { kind: 'none' }
const FAST = { backoffMsMin: 2, backoffMsMax: 20 }
const START: GroupOptions = { from: 'start', autoCommitIntervalMs: 5, closeTimeoutMs: 2_000 }
const { GROUP, TRANSACTION } = CoordinatorKind
const COORDINATED = [Api.GROUP_HEARTBEAT, Api.OFFSET_COMMIT, Api.OFFSET_FETCH]

const countAt = (broker: FakeBroker, apis: readonly number[]): number =>
  apis.reduce((sum, api) => sum + (broker.counts.get(api) ?? 0), 0)

async function fill(mq: Client, from: number, to: number): Promise<void> {
  const producer = mq.producer('t')
  for (let index = from; index < to; index++) await producer.send({ value: String(index), partition: index % 2 })
  await producer.close()
}

/** A group that handles everything, and what is told of it. */
async function withGroup(
  cluster: FakeCluster,
  body: (seen: { handled: string[]; lost: TopicPartition[]; assigned: number }, mq: Client) => Promise<void>,
): Promise<void> {
  await using mq = await connect(cluster.urls, FAST)
  const seen = { handled: [] as string[], lost: [] as TopicPartition[], assigned: 0 }
  const group = mq.group('g', 't', {
    ...START,
    onAssigned: (partitions) => void (seen.assigned += partitions.length),
    onLost: (partitions) => void seen.lost.push(...partitions),
  })
  const running = group.run(({ partition, offset }) => void seen.handled.push(`${partition}/${offset}`))
  await body(seen, mq)
  await group.close()
  await running
}

const everything = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${index % 2}/${Math.floor(index / 2)}`).sort()

function assertHandledOnce(seen: { handled: string[]; lost: TopicPartition[]; assigned: number }, count: number): void {
  assert.deepEqual([...seen.handled].sort(), everything(count), 'each record once: no position was lost')
  assert.deepEqual([seen.lost, seen.assigned], [[], 2], 'no partition was lost, or assigned anew')
}

test('a group asks its coordinator, and it alone', () =>
  withFakeCluster({ topics: { t: 2 } }, async (cluster) => {
    cluster.moveCoordinator(GROUP, 'g', 3)
    await withGroup(cluster, async (seen, mq) => {
      await fill(mq, 0, 20)
      await until(() => cluster.groups.committed('g', 't/1') === 10)
      assert.equal(countAt(cluster.broker(1), COORDINATED) + countAt(cluster.broker(2), COORDINATED), 0)
      assert.ok(countAt(cluster.broker(3), [Api.GROUP_HEARTBEAT]) > 1)
      assert.equal(cluster.count(Api.FIND_COORDINATOR), 1, 'what was found is remembered')
      assertHandledOnce(seen, 20)
    })
  }))

const MOVES: Readonly<Record<string, (cluster: FakeCluster) => Promise<void> | void>> = {
  'moves, and the old one says so': (cluster) => cluster.moveCoordinator(GROUP, 'g', 3),
  'dies, and is another one later': async (cluster) => {
    await cluster.kill(2)
    setTimeout(() => cluster.moveCoordinator(GROUP, 'g', 3), 100)
  },
  'falls silent, and is another one': (cluster) => {
    cluster.broker(2).isPaused = true
    cluster.moveCoordinator(GROUP, 'g', 3)
  },
  'is not found for a while': (cluster) => {
    cluster.moveCoordinator(GROUP, 'g', -1)
    setTimeout(() => cluster.moveCoordinator(GROUP, 'g', 1), 100)
  },
  'moves, and the new one loads': (cluster) => {
    cluster.moveCoordinator(GROUP, 'g', 3)
    const untilMs = performance.now() + 100
    cluster.groups.refuse = () => (performance.now() < untilMs ? 'COORDINATOR_LOAD_IN_PROGRESS' : undefined)
  },
  'moves, and two brokers do not know it yet': (cluster) => {
    cluster.freeze(1)
    cluster.freeze(2)
    cluster.moveCoordinator(GROUP, 'g', 3)
  },
}

for (const [name, move] of Object.entries(MOVES))
  test(`the coordinator of a group ${name}: the group goes on with its partitions and positions`, () =>
    withFakeCluster({ topics: { t: 2 } }, async (cluster) => {
      cluster.moveCoordinator(GROUP, 'g', 2)
      // Data is elsewhere: this is of the coordinator alone.
      cluster.moveLeader('t', 1, 3)
      await using mq = await connect(cluster.urls, { ...FAST, silenceMsMax: 300 })
      const seen = { handled: [] as string[], lost: [] as TopicPartition[], assigned: 0 }
      const group = mq.group('g', 't', {
        ...START,
        onAssigned: (partitions) => void (seen.assigned += partitions.length),
        onLost: (partitions) => void seen.lost.push(...partitions),
      })
      const running = group.run(({ partition, offset }) => void seen.handled.push(`${partition}/${offset}`))
      await fill(mq, 0, 20)
      await until(() => seen.handled.length === 20)
      await move(cluster)
      await fill(mq, 20, 40)
      await until(() => seen.handled.length === 40)
      await until(() => cluster.groups.committed('g', 't/0') === 20 && cluster.groups.committed('g', 't/1') === 20)
      const beats = cluster.groups.heartbeats.length
      await until(() => cluster.groups.heartbeats.length > beats + 2)
      assertHandledOnce(seen, 40)
      await group.close()
      await running
      assert.equal(cluster.groups.left.length, 1, 'it has left in order')
    }))

test('a broker that does not serve find-coordinator is asked itself, as ever', () =>
  withFakeBroker({ topics: { t: 2 }, lacks: [Api.FIND_COORDINATOR] }, async (broker) => {
    await using mq = await connect(broker.url, FAST)
    await fill(mq, 0, 10)
    const group = mq.group('g', 't', START)
    let handled = 0
    for await (const _ of group) if (++handled === 10) break
    await group.close()
    const producer = mq.producer('t', { transactionalId: 'p' })
    await producer.transaction((tx) => void tx.send({ value: 'x', partition: 0 }))
    assert.equal(broker.counts.get(Api.FIND_COORDINATOR), undefined)
  }))

test('groups are listed of all brokers, each once; one that is gone is told, unless nobody answers', () =>
  withFakeCluster({ topics: { t: 1 } }, async (cluster) => {
    await using mq = await connect(cluster.urls, { ...FAST, requestTimeoutMs: 1_000 })
    for (const [index, id] of ['a', 'b', 'c', 'd'].entries()) {
      cluster.groups.group(id)
      cluster.moveCoordinator(GROUP, id, (index % 3) + 1)
    }
    const ids = async (options = {}) => (await mq.admin.groups.list(options)).map(({ groupId }) => groupId)
    assert.deepEqual(await ids(), ['a', 'b', 'c', 'd'])
    cluster.broker(3).faults = ({ name }) => (name === 'LIST_GROUPS' ? { kind: 'error', code: 'OVERLOADED' } : NONE)
    const missing: number[] = []
    const onMissing = ({ nodeId }: { nodeId: number }) => missing.push(nodeId)
    assert.deepEqual(await ids({ onMissing }), ['a', 'b', 'd'])
    assert.deepEqual(missing, [3])
    for (const broker of cluster.brokers)
      broker.faults = ({ name }) => (name === 'LIST_GROUPS' ? { kind: 'error', code: 'OVERLOADED' } : NONE)
    await assert.rejects(ids(), hasCode('OVERLOADED'))
  }))

test('groups are described, sought and deleted at their coordinator, wherever it is by then', () =>
  withFakeCluster({ topics: { t: 2 } }, async (cluster) => {
    await using mq = await connect(cluster.urls, FAST)
    await fill(mq, 0, 10)
    const { groups } = mq.admin
    cluster.groups.group('g')
    cluster.moveCoordinator(GROUP, 'g', 2)
    assert.equal((await groups.describe('g')).state, 'Empty')
    cluster.moveCoordinator(GROUP, 'g', 3)
    assert.deepEqual(
      (await groups.seek('g', { offset: 3 }, { topics: 't' })).map(({ toOffset }) => toOffset),
      [3, 3],
    )
    await cluster.kill(3)
    cluster.moveCoordinator(GROUP, 'g', 1)
    assert.deepEqual(
      (await groups.offsets('g')).map(({ offset, lag }) => [offset, lag]),
      [
        [3, 2],
        [3, 2],
      ],
    )
    cluster.moveCoordinator(GROUP, 'g', 2)
    await groups.deleteOffsets('g', 't')
    cluster.moveCoordinator(GROUP, 'g', 1)
    await groups.delete('g')
    await assert.rejects(groups.describe('g'), hasCode('GROUP_ID_NOT_FOUND'))
  }))

test('sessions are extended at the coordinator, also when the brokers that were given are gone', () =>
  withFakeCluster({ topics: { t: 1 } }, async (cluster) => {
    const extender = new SessionExtender(nodeRuntime(), {
      urls: [cluster.broker(1).url],
      options: resolveClientOptions(FAST),
    })
    const never = {
      instanceId: null,
      epoch: 1,
      topics: [],
      pattern: '',
      sessionTimeoutMs: 1e9,
      rebalanceTimeoutMs: 1e9,
    }
    const none = { heardMs: 0, assigned: new Set<string>(), revoking: new Map<string, number>(), told: '' }
    cluster.groups.group('g').members.set('m', { memberId: 'm', ...never, ...none })
    cluster.moveCoordinator(GROUP, 'g', 2)
    try {
      const member = { groupId: 'g', memberId: 'm', everyMs: 10, forMs: 60_000, sessionTimeoutMs: 3_600_000 }
      extender.heard({ ...member, urls: cluster.urls })
      await until(() => cluster.groups.extended.length > 2)
      assert.equal(cluster.broker(1).counts.get(Api.SESSION_EXTEND), undefined)
      await cluster.kill(1)
      await cluster.kill(2)
      cluster.moveCoordinator(GROUP, 'g', 3)
      const before = cluster.groups.extended.length
      await until(() => cluster.groups.extended.length > before + 2)
    } finally {
      extender.close()
    }
  }))

test('a transaction goes on while its coordinator moves, with the identity it has', () =>
  withFakeCluster({ topics: { t: 2 } }, async (cluster) => {
    await using mq = await connect(cluster.urls, FAST)
    cluster.moveCoordinator(TRANSACTION, 'p', 2)
    const producer = mq.producer('t', { transactionalId: 'p' })
    await producer.transaction(async (tx) => {
      await tx.send({ value: 'a', partition: 0 })
      cluster.moveCoordinator(TRANSACTION, 'p', 3)
      await tx.send({ value: 'b', partition: 1 })
      await cluster.kill(3)
      cluster.moveCoordinator(TRANSACTION, 'p', 1)
    })
    const [first] = cluster.brokers
    assert.deepEqual(committedValues(first!, 't'), ['a', 'b'])
    assert.deepEqual(cluster.transactions.inits, ['p'], 'nobody was fenced to know it')
    assert.deepEqual(
      cluster.transactions.ends.filter(({ isCommit }) => isCommit).map(({ epoch }) => epoch),
      [0],
    )
  }))

test('an end whose answer is lost with its coordinator is asked again of the next one, under the same epoch: the outcome is known', () =>
  withFakeCluster({ topics: { t: 2 } }, async (cluster) => {
    await using mq = await connect(cluster.urls, FAST)
    cluster.moveCoordinator(TRANSACTION, 'p', 2)
    const producer = mq.producer('t', { transactionalId: 'p' })
    cluster.broker(2).faults = ({ name }) => {
      if (name !== 'END_TXN') return NONE
      // It decides, and is gone before it has said so.
      queueMicrotask(() => cluster.moveCoordinator(TRANSACTION, 'p', 3))
      return { kind: 'break', work: 'done' }
    }
    await producer.transaction((tx) => void tx.send({ value: 'a', partition: 0 }))
    assert.deepEqual(cluster.transactions.ends, [
      { epoch: 0, isCommit: true },
      { epoch: 0, isCommit: true },
    ])
    assert.deepEqual(committedValues(cluster.broker(1), 't'), ['a'])
    await producer.transaction((tx) => void tx.send({ value: 'b', partition: 0 }))
    assert.deepEqual(committedValues(cluster.broker(1), 't'), ['a', 'b'])
    assert.deepEqual(cluster.transactions.inits, ['p'])
  }))

test('an exactly-once group handles each record once while both of its coordinators move and a leader dies', () =>
  withFakeCluster({ topics: { t: 2, out: 1 } }, async (cluster) => {
    await using mq = await connect(cluster.urls, FAST)
    await fill(mq, 0, 60)
    const group = mq.group('g', 't', {
      ...{ from: 'start', closeTimeoutMs: 5_000, semantics: 'exactly-once' },
      ...{ transactionalId: 'p', transaction: { recordsMax: 5 } },
    })
    let handled = 0
    const running = group.run(async ({ value }, { transaction }) => {
      handled++
      if (handled === 10) cluster.moveCoordinator(GROUP, 'g', 2)
      if (handled === 20) cluster.moveCoordinator(TRANSACTION, 'p', 2)
      if (handled === 30) cluster.moveLeader('out', 0, 3)
      if (handled === 40) {
        await cluster.kill(2)
        cluster.moveLeader('t', 1, 3)
        cluster.moveCoordinator(GROUP, 'g', 3)
        cluster.moveCoordinator(TRANSACTION, 'p', 1)
      }
      transaction.send('out', { value: value!.slice() })
    })
    await until(() => committedValues(cluster.broker(1), 'out').length >= 60, 15_000)
    await group.close()
    await running
    const values = committedValues(cluster.broker(1), 'out').map(Number)
    assert.deepEqual(
      values.sort((left, right) => left - right),
      Array.from({ length: 60 }, (_, index) => index),
    )
  }))
