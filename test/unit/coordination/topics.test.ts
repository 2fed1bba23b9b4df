import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../../src/base/node/system-clock.ts'
import { beginIncarnation } from '../../../src/coordination/cluster-identity.ts'
import { leaderEpochOf } from '../../../src/coordination/keys.ts'
import { MemoryMetadataStore } from '../../../src/coordination/memory-metadata-store.ts'
import { type MetadataStore, StoreOutcomeUnknownError } from '../../../src/coordination/metadata-store.ts'
import { PRODUCER_ID_BLOCK, ProducerIds } from '../../../src/coordination/producer-ids.ts'
import {
  applyAddPartitions,
  applyAlterConfig,
  applyCreateTopic,
  applyDeleteTopic,
  type CreateTopicWish,
  decideAddPartitions,
  decideAlterConfig,
  decideCreateTopic,
  loadTopics,
} from '../../../src/coordination/topics.ts'
import { MillraceError } from '../../../src/model/errors.ts'
import type { Incarnation, LeaderEpoch } from '../../../src/model/ids.ts'
import { OFFSETS_TOPIC } from '../../../src/model/internal-topics.ts'
import { TOPIC_CONFIG_DEFAULTS } from '../../../src/model/topic-config.ts'

const defaults = { partitions: 6, replicas: 1, config: TOPIC_CONFIG_DEFAULTS }
const none = { existing: undefined, defaults, brokers: 1, partitionsNow: 0 }
const replica = { nodeId: 1, incarnation: 3 as Incarnation }
const wish = (change: Partial<CreateTopicWish> = {}): CreateTopicWish => ({
  name: 'orders',
  partitions: -1,
  replicas: -1,
  config: {},
  ifNotExists: false,
  ...change,
})

let nextId = 1
const newId = () => String(nextId++).padStart(32, '0')

async function make(store: MetadataStore, change: Partial<CreateTopicWish> = {}) {
  const decision = decideCreateTopic(wish(change), none)
  assert.ok(decision.kind === 'create')
  return applyCreateTopic(decision.plan, { store, replica, newId, nowMs: 1 })
}

test('create: defaults, and every refusal names what was wrong', () => {
  const decision = decideCreateTopic(wish(), none)
  assert.ok(decision.kind === 'create')
  assert.equal(decision.plan.partitions, 6)
  const refusals: [Partial<CreateTopicWish>, code: string, text: RegExp][] = [
    [{ name: '' }, 'INVALID_TOPIC_EXCEPTION', /''/],
    [{ name: '..' }, 'INVALID_TOPIC_EXCEPTION', /'\.\.'/],
    [{ name: 'a/b' }, 'INVALID_TOPIC_EXCEPTION', /a\/b/],
    [{ name: 'x'.repeat(250) }, 'INVALID_TOPIC_EXCEPTION', /xxx/],
    [{ partitions: 0 }, 'INVALID_PARTITIONS', /not 0/],
    [{ partitions: 10_001 }, 'INVALID_PARTITIONS', /not 10001/],
    [{ replicas: 0 }, 'INVALID_REPLICATION_FACTOR', /not 0/],
    [{ replicas: 2 }, 'INVALID_REPLICATION_FACTOR', /not 2/],
    [{ config: { 'segment.bites': '1' } }, 'INVALID_CONFIG', /segment\.bites/],
    [{ config: { 'segment.bytes': '1' } }, 'INVALID_CONFIG', /segment\.bytes: '1'/],
    [{ config: { 'min.insync.replicas': '2' } }, 'INVALID_CONFIG', /min\.insync\.replicas/],
  ]
  for (const [change, code, message] of refusals)
    assert.throws(() => decideCreateTopic(wish(change), none), { code, message })
  assert.throws(() => decideCreateTopic(wish({ partitions: 1 }), { ...none, partitionsNow: 100_000 }), {
    code: 'INVALID_PARTITIONS',
  })
})

test('replicas by default: as many as brokers are known; a topic of the broker’s own is made with more than half of them', () => {
  const replicasOf = (name: string, brokers: number, brokersKnown: number): number => {
    const context = { ...none, defaults: { ...defaults, replicas: -1 }, brokers, brokersKnown }
    const decision = decideCreateTopic(wish({ name }), context)
    assert.ok(decision.kind === 'create')
    return decision.plan.replicas
  }
  assert.equal(replicasOf('orders', 3, 3), 3)
  assert.equal(replicasOf('orders', 5, 5), 3)
  assert.equal(replicasOf('orders', 1, 1), 1)
  assert.throws(() => replicasOf('orders', 2, 3), {
    code: 'INVALID_REPLICATION_FACTOR',
    message: /3 replicas where nobody/,
  })
  assert.equal(replicasOf(OFFSETS_TOPIC, 3, 3), 3)
  assert.equal(replicasOf(OFFSETS_TOPIC, 2, 3), 2)
  assert.equal(replicasOf(OFFSETS_TOPIC, 3, 5), 3)
  assert.equal(replicasOf(OFFSETS_TOPIC, 2, 5), 2)
  assert.throws(() => replicasOf(OFFSETS_TOPIC, 1, 3), { code: 'INVALID_REPLICATION_FACTOR' })
  assert.throws(() => replicasOf(OFFSETS_TOPIC, 1, 2), { code: 'INVALID_REPLICATION_FACTOR' })
})

test('what was made is loaded as it was; changed, grown, deleted', async () => {
  const store = new MemoryMetadataStore(systemClock)
  const topic = await make(store, { partitions: 250, config: { 'retention.ms': '5' } })
  assert.deepEqual(await loadTopics(store), [topic])
  assert.throws(() => decideCreateTopic(wish(), { ...none, existing: topic }), { code: 'TOPIC_ALREADY_EXISTS' })
  assert.equal(decideCreateTopic(wish({ ifNotExists: true }), { ...none, existing: topic }).kind, 'exists')
  assert.throws(() => decideAddPartitions(topic, 250, 250), { code: 'INVALID_PARTITIONS' })
  const grown = await applyAddPartitions(topic, 260, { store, replica })
  assert.equal(grown.partitions.length, 260)
  assert.deepEqual(await loadTopics(store), [grown])
  await assert.rejects(applyAddPartitions(topic, 270, { store, replica }), { code: 'INVALID_UPDATE_VERSION' })
  const config = decideAlterConfig(grown, { set: { 'segment.ms': '7' }, remove: ['retention.ms'] }, defaults.config)
  assert.deepEqual(config, { 'segment.ms': '7' })
  assert.throws(() => decideAlterConfig(grown, { set: {}, remove: ['retention.mss'] }, defaults.config), {
    message: /retention\.mss/,
  })
  const altered = await applyAlterConfig(grown, config, store)
  assert.deepEqual(await loadTopics(store), [altered])
  await applyDeleteTopic(altered, store)
  assert.deepEqual(await loadTopics(store), [])
  assert.deepEqual((await store.list('')).values, [])
  await assert.rejects(applyDeleteTopic(altered, store), { code: 'UNKNOWN_TOPIC_OR_PARTITION' })
})

test('a crash after any transaction of create, grow or delete leaves the topic whole or gone', async () => {
  class Crash extends Error {}
  /** A store that dies before its n-th transaction. */
  const dying = (store: MetadataStore, survivors: number): MetadataStore => {
    let left = survivors
    return new Proxy(store, {
      get: (target, name) =>
        name === 'transact'
          ? (...args: Parameters<MetadataStore['transact']>) =>
              left-- > 0 ? target.transact(...args) : Promise.reject(new Crash())
          : Reflect.get(target, name).bind(target),
    })
  }
  for (let survivors = 0; survivors < 12; survivors++) {
    const store = new MemoryMetadataStore(systemClock)
    await make(dying(store, survivors), { partitions: 250 }).catch((error) => assert.ok(error instanceof Crash))
    const made = await loadTopics(store)
    assert.ok(made.length === 0 || made[0]!.partitions.length === 250)
    if (made.length === 0) {
      assert.deepEqual((await store.list('')).values, [], 'nothing is left of half a topic')
      continue
    }
    await applyAddPartitions(made[0]!, 480, { store: dying(store, survivors - 5), replica }).catch(() => {})
    const grown = await loadTopics(store)
    assert.ok([250, 480].includes(grown[0]!.partitions.length))
    const isDeleted = await applyDeleteTopic(grown[0]!, dying(store, survivors - 5)).then(
      () => true,
      () => false,
    )
    const after = await loadTopics(store)
    assert.equal(isDeleted, after.length === 0, 'what was told is so after the next start')
    assert.ok(after.length === 0 || after[0]!.partitions.length === grown[0]!.partitions.length)
    if (after.length === 0) assert.deepEqual((await store.list('')).values, [])
  }
})

test('every start is a new leader epoch of every partition, with one key written', async () => {
  const store = new MemoryMetadataStore(systemClock)
  const options = { nodeId: 1, newId: () => 'cluster' }
  const first = await beginIncarnation(store, options)
  const topic = await make(store)
  const { revision } = await store.list('')
  const second = await beginIncarnation(store, options)
  assert.deepEqual([second.clusterId, second.incarnation], ['cluster', first.incarnation + 1])
  assert.equal((await store.list('')).revision, revision + 1)
  assert.equal((await beginIncarnation(store, { ...options, atLeast: 50 as Incarnation })).incarnation, 50)
  const state = { ...topic.partitions[0]!, leaderEpoch: 7 as LeaderEpoch, leaderIncarnation: 3 as Incarnation }
  assert.equal(leaderEpochOf(state, 3 as Incarnation), 7)
  assert.equal(leaderEpochOf(state, 9 as Incarnation), 13)
  assert.throws(() => leaderEpochOf(state, 2 as Incarnation), /older/)
})

test('producer ids: unique over restarts, a block per transaction', async () => {
  const store = new MemoryMetadataStore(systemClock)
  const seen = new Set<number>()
  for (let start = 0; start < 3; start++) {
    const ids = new ProducerIds(store)
    const given = await Promise.all(Array.from({ length: PRODUCER_ID_BLOCK + 5 }, () => ids.next()))
    for (const id of given) {
      assert.ok(!seen.has(id), `${id} comes twice`)
      seen.add(id)
    }
  }
  assert.equal((await store.list('')).revision, 6)
})

test('a block of producer ids whose outcome is not known is wasted: who asks hears that it passes, and gets fresh ones', async () => {
  const inner = new MemoryMetadataStore(systemClock)
  let isAway = false
  let isLost = true
  const store = new Proxy<MetadataStore>(inner, {
    get: (target, name) => {
      if (name !== 'transact') return (Reflect.get(target, name) as () => unknown).bind(target)
      return async (...args: Parameters<MetadataStore['transact']>) => {
        const outcome = await inner.transact(...args)
        if (isAway) throw new MillraceError('BROKER_NOT_AVAILABLE', 'nobody is there')
        if (isLost) throw new StoreOutcomeUnknownError('the answer was lost')
        return outcome
      }
    },
  })
  const ids = new ProducerIds(store)
  await assert.rejects(ids.next(), {
    code: 'COORDINATOR_NOT_AVAILABLE',
    retriable: true,
    message: /the answer was lost/,
  })
  isAway = true
  await assert.rejects(ids.next(), { code: 'COORDINATOR_NOT_AVAILABLE', message: /nobody is there/ })
  isAway = false
  isLost = false
  assert.equal(await ids.next(), 2 * PRODUCER_ID_BLOCK)
})
