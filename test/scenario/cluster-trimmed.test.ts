/** A log that was trimmed to the middle of a batch: it gets replicas, which hold what the leader holds, through crashes too. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Decode } from '../../src/base/bytes.ts'
import type { Client } from '../../src/client/client.ts'
import { BrokerCluster } from '../support/broker-cluster.ts'
import { until } from '../support/until.ts'

const WAIT_MS = 20_000
const RECORDS = 100
const TRIMMED_TO = 37

async function valuesOf(client: Client): Promise<string[]> {
  const values: string[] = []
  for await (const { offset, value } of client.consume('t', { from: 'start', to: 'end' }))
    values.push(`${offset}: ${utf8Decode(value!)}`)
  return values
}

async function inSync(cluster: BrokerCluster, replicas: number): Promise<void> {
  await until(`${replicas} replicas in sync`, WAIT_MS, async () =>
    (await cluster.partitionsOf('t')).every(({ inSyncReplicas }) => inSyncReplicas.length === replicas),
  )
}

test('trimmed to the middle of a batch, replicated after that, read from the replica after crashes of both', async () => {
  const cluster = await BrokerCluster.start({ nodes: 3 })
  try {
    const client = cluster.client()
    await client.admin.topics.create('t', { partitions: 1, replicas: 1 })
    const producer = client.producer('t')
    await producer.sendMany(Array.from({ length: RECORDS }, (_, index) => ({ value: String(index) })))
    await client.admin.topics.trim('t', { before: TRIMMED_TO })
    const expected = await valuesOf(client)
    assert.deepEqual([expected.length, expected[0]], [RECORDS - TRIMMED_TO, `${TRIMMED_TO}: ${TRIMMED_TO}`])
    const first = (await cluster.partitionsOf('t'))[0]!.leader
    const [second, third] = [1, 2, 3].filter((nodeId) => nodeId !== first) as [number, number]
    await client.admin.cluster.reassign([{ topic: 't', partition: 0, replicas: [first, second, third] }])
    await inSync(cluster, 3)
    cluster.kill(second)
    await cluster.expire(second)
    await inSync(cluster, 2)
    await producer.send({ value: String(RECORDS) })
    await cluster.restart(second)
    await inSync(cluster, 3)
    cluster.kill(first)
    await cluster.expire(first)
    await inSync(cluster, 2)
    assert.deepEqual(await valuesOf(client), [...expected, `${RECORDS}: ${RECORDS}`])
    const { leader, replicas } = (await cluster.partitionsOf('t'))[0]!
    assert.ok(leader !== first && replicas.length === 3)
    const { partitions } = await client.admin.topics.describe('t')
    assert.deepEqual([partitions[0]?.logStartOffset, partitions[0]?.highWatermark], [TRIMMED_TO, RECORDS + 1])
  } finally {
    await cluster.close()
  }
})
