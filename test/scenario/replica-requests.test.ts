/** Elections and reassignments as Kafka's clients ask for them: an outcome for each partition; in a cluster, and where a broker is alone. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, test } from 'node:test'
import { systemPrng } from '../../src/base/node/system-prng.ts'
import {
  type ElectionKind,
  electLeaders,
  type PartitionOutcome,
  type ReplicaRequestContext,
  reassignPartitions,
} from '../../src/broker/handlers/replica-requests.ts'
import { inProcessConfig } from '../../src/in-process/in-process-config.ts'
import { InThreadBroker } from '../../src/in-process/in-thread-broker.ts'
import { MemoryDisk } from '../../src/in-process/local-storage.ts'
import { SILENT } from '../../src/in-process/silent-logger.ts'
import { systemTime } from '../../src/in-process/time-source.ts'
import { BrokerCluster } from '../support/broker-cluster.ts'
import { until } from '../support/until.ts'

const WAIT_MS = 30_000

const cluster = await BrokerCluster.start({ nodes: 3 })
after(() => cluster.close())

const gatewayOf = (nodeId: number): ReplicaRequestContext => cluster.brokers.get(nodeId)!.gateway
const codesOf = (rows: readonly PartitionOutcome[]): string[] =>
  rows.map(({ topic, partition, code }) => `${topic}-${partition} ${code}`)

test('preferred: where another leads, the preferred one does from then on; else it says why not', async () => {
  const { admin } = cluster.client()
  await admin.topics.create('t', { partitions: 2, replicas: 3 })
  await until('all are in sync', WAIT_MS, async () =>
    (await cluster.partitionsOf('t')).every(({ inSyncReplicas }) => inSyncReplicas.length === 3),
  )
  const both = [0, 1].map((partition) => ({ topic: 't', partition }))
  const gateway = gatewayOf(2)
  await until('broker 2 knows', WAIT_MS, async () => gateway.router.byName('t') !== undefined)
  assert.deepEqual(codesOf(await electLeaders(gateway, [...both, { topic: 'u', partition: 0 }], 'preferred')), [
    't-0 ELECTION_NOT_NEEDED',
    't-1 ELECTION_NOT_NEEDED',
    'u-0 UNKNOWN_TOPIC_OR_PARTITION',
  ])
  const { replicas } = (await cluster.partitionsOf('t'))[0]!
  const turned = [...replicas].reverse()
  const moved = await reassignPartitions(gateway, [{ topic: 't', partition: 0, replicas: turned }])
  assert.deepEqual(codesOf(moved), ['t-0 NONE'])
  assert.deepEqual(codesOf(await electLeaders(gateway, both, 'preferred')), ['t-0 NONE', 't-1 ELECTION_NOT_NEEDED'])
  assert.equal(gateway.router.byName('t')!.record.partitions[0]!.leader, turned[0])
  assert.deepEqual(await electLeaders(gateway, null, 'preferred'), [], 'all are led as they should be')
  for (const kind of ['preferred', 'unclean'] satisfies ElectionKind[])
    assert.deepEqual(codesOf(await electLeaders(gateway, both, kind)), [
      't-0 ELECTION_NOT_NEEDED',
      't-1 ELECTION_NOT_NEEDED',
    ])
})

test('reassignments: each by itself, those that can be are begun', async () => {
  const { admin } = cluster.client()
  await admin.topics.create('r', { partitions: 3, replicas: 1 })
  const gateway = gatewayOf(1)
  await until('broker 1 knows', WAIT_MS, async () => gateway.router.byName('r') !== undefined)
  const homes = (await cluster.partitionsOf('r')).map(({ replicas }) => replicas[0]!)
  const other = [1, 2, 3].find((nodeId) => nodeId !== homes[0])!
  const rows = await reassignPartitions(gateway, [
    { topic: 'r', partition: 0, replicas: [other] },
    { topic: 'r', partition: 1, replicas: [77] },
    { topic: 'r', partition: 2, replicas: null },
    { topic: 'r', partition: 9, replicas: [1] },
  ])
  assert.deepEqual(codesOf(rows), [
    'r-0 NONE',
    'r-1 INVALID_REPLICA_ASSIGNMENT',
    'r-2 NO_REASSIGNMENT_IN_PROGRESS',
    'r-9 UNKNOWN_TOPIC_OR_PARTITION',
  ])
  assert.match(rows[1]!.text, /77/)
  await until('partition 0 has moved', WAIT_MS, async () => {
    const { replicas } = (await cluster.partitionsOf('r'))[0]!
    return replicas.join() === String(other)
  })
})

test('a broker alone leads all there is: no election is needed, and nothing can move', async () => {
  const disk = new MemoryDisk({ nowMs: () => systemTime.nowMs(), memoryBytesMax: undefined })
  const broker = new InThreadBroker({
    ...{ config: await inProcessConfig(), shards: 1, time: systemTime, prng: systemPrng(), logger: SILENT },
    newId: () => randomBytes(16).toString('hex'),
    storage: async () => disk.storage(),
  })
  await broker.start()
  try {
    const { gateway } = broker
    const wish = { name: 't', partitions: 1, replicas: -1, config: {}, ifNotExists: false }
    await gateway.topicService.create(wish, false)
    const one = { topic: 't', partition: 0 }
    for (const kind of ['preferred', 'unclean'] satisfies ElectionKind[])
      assert.deepEqual(codesOf(await electLeaders(gateway, [one], kind)), ['t-0 ELECTION_NOT_NEEDED'])
    const { replicas } = gateway.router.byName('t')!.record.partitions[0]!
    const rows = await reassignPartitions(gateway, [
      { ...one, replicas },
      { ...one, replicas: [replicas[0]! + 1] },
      { ...one, replicas: null },
    ])
    assert.deepEqual(codesOf(rows), ['t-0 NONE', 't-0 INVALID_REPLICA_ASSIGNMENT', 't-0 NO_REASSIGNMENT_IN_PROGRESS'])
  } finally {
    await broker.stop()
  }
})
