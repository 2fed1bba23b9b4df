/** Batches of partition states: all under the key, each under its version; and what two refusals prove. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ClusterImage } from '../../../../src/coordination/cluster-image.ts'
import { BrokerLiveness, type ProbeAnswer } from '../../../../src/coordination/controller/broker-liveness.ts'
import { writePartitionStates } from '../../../../src/coordination/controller/partition-writer.ts'
import { RequestWrites } from '../../../../src/coordination/controller/request-writes.ts'
import { brokerKey, CONTROLLER_KEY, encodeState, partitionKey, ROOT_PREFIX } from '../../../../src/coordination/keys.ts'
import { MemoryMetadataStore } from '../../../../src/coordination/memory-metadata-store.ts'
import type { StoreOperation } from '../../../../src/coordination/metadata-store.ts'
import type { TopicRecord } from '../../../../src/coordination/topics.ts'
import { MillraceError } from '../../../../src/model/errors.ts'
import { brokerOf, partitionOf, TOPIC } from '../../../support/cluster-fixture.ts'
import { settled, VirtualTime } from '../../../support/virtual-timers.ts'

const PARTITIONS = 250
const put = (key: string, state: object): StoreOperation => ({ kind: 'put', key, value: encodeState(state) })

async function fixture() {
  const store = new MemoryMetadataStore(new VirtualTime())
  const { revision: modRevision } = await store.transact([], [put(CONTROLLER_KEY, {})])
  const versions: number[] = []
  for (let partition = 0; partition < PARTITIONS; partition++)
    versions.push((await store.transact([], [put(partitionKey(TOPIC, partition), partitionOf({}))])).revision)
  const topic = { topicId: TOPIC } as TopicRecord
  const writes = versions.map((version, partition) => ({ topic, partition, version, next: partitionOf({ leader: 2 }) }))
  return { store, writes, fence: { kind: 'revision', key: CONTROLLER_KEY, modRevision } as const }
}

test('partition writer: who has changed meanwhile is told, all others are written', async () => {
  const { store, writes, fence } = await fixture()
  const changed = [0, 98, 99, 240]
  for (const partition of changed) await store.transact([], [put(partitionKey(TOPIC, partition), partitionOf({}))])
  const { applied, overtaken, revision } = await writePartitionStates(store, fence, writes)
  assert.deepEqual(
    overtaken.map(({ partition }) => partition).sort((left, right) => left - right),
    changed,
  )
  assert.equal(applied.length, PARTITIONS - changed.length)
  assert.equal(revision, (await store.list(ROOT_PREFIX)).revision)
})

test('partition writer: under a key that is not the one any more nothing is written', async () => {
  const { store, writes, fence } = await fixture()
  await store.transact([], [put(CONTROLLER_KEY, { other: true })])
  const before = await store.list(ROOT_PREFIX)
  await assert.rejects(writePartitionStates(store, fence, writes), { code: 'NOT_CONTROLLER' })
  assert.deepEqual(await store.list(ROOT_PREFIX), before)
})

test('partition writer: a batch fails while another one looks at the key: nothing is written after the failure is told', async () => {
  const { store, writes, fence } = await fixture()
  // The second batch is tried one by one, after a look at the key that takes longer than the failure of the first.
  await store.transact([], [put(partitionKey(TOPIC, 100), partitionOf({}))])
  const transact = store.transact.bind(store)
  let isFirst = true
  store.transact = async (conditions, operations) => {
    if (operations.length === 0) for (let turn = 0; turn < 10; turn++) await settled()
    else if (isFirst) {
      isFirst = false
      throw new MillraceError('BROKER_NOT_AVAILABLE', 'no member answers')
    }
    return transact(conditions, operations)
  }
  const requests = new RequestWrites(store)
  await assert.rejects(writePartitionStates(requests, fence, writes), { code: 'BROKER_NOT_AVAILABLE' })
  const { revision } = await store.list(ROOT_PREFIX)
  assert.equal(await requests.settled(), true)
  for (let turn = 0; turn < 20; turn++) await settled()
  assert.equal((await store.list(ROOT_PREFIX)).revision, revision)
})

test('partition writer: after a failure no further batch is begun', async () => {
  const { store, writes, fence } = await fixture()
  let calls = 0
  store.transact = async () => {
    calls++
    throw new MillraceError('BROKER_NOT_AVAILABLE', 'no member answers')
  }
  const many = Array.from({ length: 10 }, () => writes).flat()
  await assert.rejects(writePartitionStates(store, fence, many), { code: 'BROKER_NOT_AVAILABLE' })
  assert.equal(calls, 4, 'those that were under way')
})

const ANSWERS: readonly [own: ProbeAnswer, peer: ProbeAnswer, isGone: boolean][] = [
  ['refused', 'refused', true],
  ['refused', 'alive', false],
  ['refused', 'unknown', false],
  ['unknown', 'refused', false],
  ['alive', 'refused', false],
]

for (const [own, peer, isGone] of ANSWERS)
  test(`liveness: this broker finds ${own}, a peer ${peer}`, async () => {
    const store = new MemoryMetadataStore(new VirtualTime())
    const { leaseId } = await store.lease(6_000)
    for (const nodeId of [1, 2, 3])
      await store.transact(
        [],
        [{ ...put(brokerKey(nodeId), { ...brokerOf(nodeId), leaseId }), leaseId } as StoreOperation],
      )
    const { revision, values } = await store.list(ROOT_PREFIX)
    const probes = { probe: async () => own, askPeer: async () => peer }
    const liveness = new BrokerLiveness({ store, selfNodeId: 1, probes, log: () => {} })
    const image = ClusterImage.of(revision, values)
    assert.equal(await liveness.suspect(image, 3, 1), isGone)
    assert.equal((await store.get(brokerKey(3))) === undefined, isGone)
    assert.equal(await liveness.suspect(image, 1, 1), false)
  })
