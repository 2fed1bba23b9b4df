/** Rounds of a controller go on, whatever goes wrong in one of them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ClusterImage } from '../../../../src/coordination/cluster-image.ts'
import { TopicConfigs } from '../../../../src/coordination/controller/partition-decisions.ts'
import { PartitionRounds } from '../../../../src/coordination/controller/partition-rounds.ts'
import { brokerKey, encodeState, partitionKey, topicIdKey, topicNameKey } from '../../../../src/coordination/keys.ts'
import { MemoryMetadataStore } from '../../../../src/coordination/memory-metadata-store.ts'
import type { StoredValue } from '../../../../src/coordination/metadata-store.ts'
import type { TopicId } from '../../../../src/model/ids.ts'
import { brokerOf, configOf, partitionOf } from '../../../support/cluster-fixture.ts'
import { VirtualTime } from '../../../support/virtual-timers.ts'

const NAMES = ['bad', 'good']
const MINUTE_MS = 60_000

/** Two topics of one partition, led by broker 2, which does not live. */
async function roundsOver(change: (image: ClusterImage) => void) {
  const time = new VirtualTime()
  const store = new MemoryMetadataStore(time)
  const states: [string, object][] = [1, 3].map((nodeId) => [brokerKey(nodeId), brokerOf(nodeId)])
  for (const [index, name] of NAMES.entries()) {
    const topicId = String(index).repeat(32) as TopicId
    states.push([topicNameKey(name), { topicId }])
    states.push([topicIdKey(topicId), { name, partitions: 1, replicas: 3, config: {}, createdMs: 1 }])
    states.push([partitionKey(topicId, 0), partitionOf({ replicas: [2, 1, 3] })])
  }
  await store.transact(
    [],
    states.map(([key, state]) => ({ kind: 'put', key, value: encodeState(state) })),
  )
  const { revision, values } = await store.list('/')
  const image = ClusterImage.of(revision, values as StoredValue[])
  change(image)
  const warnings: string[] = []
  const term = { fence: { kind: 'present', key: brokerKey(1) } as const, controllerEpoch: 1 }
  const configs = new TopicConfigs(configOf())
  const of = configs.of.bind(configs)
  configs.of = (state) => {
    if (state.name === 'bad' && state.config.broken !== undefined) throw new TypeError('reading length')
    return of(state)
  }
  const rounds = new PartitionRounds({
    ...{ store, timers: time, configs, waitFor: async () => {}, onFenced: () => {} },
    log: (level, text) => void (level === 'warn' && warnings.push(text)),
    term: () => term as never,
  })
  rounds.start(image)
  const leadersOf = async () => {
    const now = ClusterImage.of((await store.list('/')).revision, (await store.list('/')).values)
    return NAMES.map((name) => now.topicByName(name)!.partitions[0]!.leader)
  }
  return { time, image, rounds, warnings, leadersOf }
}

test('a topic that cannot be decided on, whatever the reason, is left alone and told of once; the others have leaders', async () => {
  const { time, rounds, warnings, leadersOf } = await roundsOver((image) => {
    Object.assign(image.topicByName('bad')!, { state: { ...image.topicByName('bad')!.state, config: { broken: '' } } })
  })
  await time.pass(5 * MINUTE_MS)
  assert.deepEqual(await leadersOf(), [2, 1])
  assert.deepEqual(warnings, ['topic bad is left alone: TypeError: reading length'])
  rounds.stop()
})

test('brokers that cannot be emptied hold back no leader', async () => {
  const { time, rounds, warnings, leadersOf } = await roundsOver(({ nodes }) => {
    Object.assign(nodes, {
      [Symbol.iterator]: () => {
        throw new TypeError('not iterable')
      },
    })
  })
  await time.pass(MINUTE_MS)
  assert.deepEqual(await leadersOf(), [1, 1])
  assert.deepEqual(warnings, ['a round of the controller failed: TypeError: not iterable'])
  rounds.stop()
})

test('a round that fails is tried again, and told of once', async () => {
  const { time, image, rounds, warnings, leadersOf } = await roundsOver((one) => {
    Object.defineProperty(one, 'nodes', {
      configurable: true,
      get: () => {
        throw new TypeError('not iterable')
      },
    })
  })
  await time.pass(MINUTE_MS)
  assert.deepEqual(await leadersOf(), [2, 2])
  const told = warnings.filter((text) => text.includes('a round of the controller failed'))
  assert.deepEqual(told, ['a round of the controller failed: TypeError: not iterable'])
  Reflect.deleteProperty(image, 'nodes')
  await time.pass(MINUTE_MS)
  assert.deepEqual(await leadersOf(), [1, 1])
  rounds.stop()
})
