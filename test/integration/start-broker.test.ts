/** A whole broker in this process: real threads, files and sockets; stopped and started again on the same data dir. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { resolveConfig } from '../../src/config/index.ts'
import { describeStart, type RunningBroker, startBroker } from '../../src/main.ts'
import type { TopicId } from '../../src/model/ids.ts'
import * as protocol from '../../src/protocol/index.ts'
import { BatchWriter } from '../../src/record/batch-writer.ts'
import { BareClient } from '../support/gateway-fixture.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-start-'))
after(() => rmSync(folder, { recursive: true, force: true }))

function start(name: string, settings: Record<string, unknown> = {}): Promise<RunningBroker> {
  const all = {
    listen: '127.0.0.1:0',
    dataDir: join(folder, name),
    shards: '2',
    'log.level': 'silent',
    'rings.requestBytes': '4MiB',
    'pages.poolBytes': '8MiB',
    ...settings,
  }
  const flags = Object.entries(all).map(([path, value]) => ({ path, value, source: 'test' }))
  return startBroker({ config: resolveConfig({ flags }) })
}

function batchOf(values: readonly string[]): Uint8Array {
  const writer = new BatchWriter()
  for (const value of values) writer.append(null, value, null, 1_700_000_000_000)
  return writer.finish().slice()
}

async function topicIdOf(client: BareClient, name: string): Promise<TopicId> {
  const { topics } = await client.call(protocol.metadata, { topics: [name] })
  return topics[0]!.topicId as TopicId
}

async function produce(client: BareClient, topicId: TopicId, partition: number, values: readonly string[]) {
  const bytes = batchOf(values)
  const parts = [{ topicId, partition, leaderEpoch: -1, batchBytes: bytes.length }]
  const reply = await client.call(protocol.produce, { acks: -1, timeoutMs: 10_000, parts }, [bytes])
  return reply.parts[0]!
}

async function fetchBytes(client: BareClient, topicId: TopicId, partition: number, fetchOffset: number) {
  const frame = await client.callFrame(protocol.fetch, {
    ...{ waitMs: 1_000, minBytes: 1, maxBytes: 1 << 20, isolation: 0 },
    parts: [{ topicId, partition, leaderEpoch: -1, fetchOffset, maxBytes: 1 << 20 }],
  })
  const reply = protocol.unwrapReply(protocol.fetch.decodeReply(frame.header))
  return { part: reply.parts[0]!, body: Buffer.from(frame.body) }
}

for (const engine of ['auto', 'ws'])
  test(`engine ${engine}: what was acknowledged is there after a restart, under a new leader epoch`, async () => {
    const name = `restart-${engine}`
    const first = await start(name, { 'listeners.ws.engine': engine })
    let topicId: TopicId
    try {
      assert.match(describeStart(first).at(-1)!, /^ready in \d+ ms$/)
      const client = await BareClient.hello(first.url)
      const wish = { name: 'orders', partitions: 4, replicas: -1, config: {}, ifNotExists: false, validateOnly: false }
      topicId = (await client.call(protocol.createTopic, wish)).topicId
      for (let partition = 0; partition < 4; partition++) {
        const receipt = await produce(client, topicId, partition, ['a', 'b', `of partition ${partition}`])
        assert.deepEqual([receipt.errorNumber, receipt.baseOffset, receipt.durability], [0, 0, 2])
      }
    } finally {
      await first.close()
    }
    const second = await start(name, { 'listeners.ws.engine': engine })
    try {
      const client = await BareClient.hello(second.url)
      assert.equal(await topicIdOf(client, 'orders'), topicId)
      const { topics } = await client.call(protocol.metadata, { topics: ['orders'] })
      assert.deepEqual(
        topics[0]!.partitions.map((partition) => partition.leaderEpoch),
        [1, 1, 1, 1],
      )
      for (let partition = 0; partition < 4; partition++) {
        const { part, body } = await fetchBytes(client, topicId, partition, 0)
        assert.deepEqual([part.errorNumber, part.highWatermark], [0, 3])
        assert.ok(body.includes(`of partition ${partition}`))
        const receipt = await produce(client, topicId, partition, ['c'])
        assert.deepEqual([receipt.errorNumber, receipt.baseOffset, receipt.leaderEpoch], [0, 3, 1])
      }
      await client.call(protocol.deleteTopic, { name: 'orders' })
      const gone = await produce(client, topicId, 0, ['d'])
      assert.equal(gone.errorNumber, 100)
    } finally {
      await second.close()
    }
  })

test('what keeps a broker from starting is said, and leaves nothing behind', async () => {
  const first = await start('taken')
  try {
    await assert.rejects(start('taken'), /in use by process \d+/)
    await assert.rejects(start('other', { listen: `127.0.0.1:${first.port}`, 'listeners.ws.engine': 'ws' }), {
      code: 'EADDRINUSE',
    })
    await (await start('other')).close()
    await assert.rejects(start('taken/data-dir.json'), /file|ENOTDIR/)
  } finally {
    await first.close()
  }
  await assert.rejects(start('taken', { nodeId: 2 }), /node/)
})
