/** Compaction of a whole broker: many updates of few keys shrink to the latest values while records are produced and consumed. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { utf8Decode } from '../../src/base/bytes.ts'
import { systemProcessProbe } from '../../src/base/node/process-probe.ts'
import type { Client } from '../../src/client/client.ts'
import { createBroker } from '../../src/index.ts'
import { NodeFileSystem } from '../../src/io/node-file-system.ts'
import { verifyLog } from '../../src/tools/verify-log.ts'
import { hasCode } from '../support/expect.ts'
import { until } from '../support/until.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-compaction-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const UPDATES = 100_000
const KEYS = 1_000
const WAIT_MS = 120_000
const SETTINGS = { 'storage.compactionCheck': '100ms', 'storage.checkpoint': '1s' } as const
const TOPIC = { 'cleanup.policy': 'compact', 'segment.bytes': '262144', 'min.cleanable.dirty.ratio': '0.1' } as const

interface Table {
  readonly values: Map<string, string>
  records: number
}

/** Update `index` of its key; every tenth key is deleted by its last one. */
function update(index: number): { key: string; value: string | null } {
  const key = index % KEYS
  const isLast = index >= UPDATES - KEYS
  return { key: `key-${key}`, value: isLast && key % 10 === 0 ? null : `${index}-${'x'.repeat(index % 50)}` }
}

function expectedTable(): Map<string, string> {
  const table = new Map<string, string>()
  for (let index = UPDATES - KEYS; index < UPDATES; index++) {
    const { key, value } = update(index)
    if (value !== null) table.set(key, value)
  }
  return table
}

async function readTable(mq: Client, name: string): Promise<Table> {
  const table: Table = { values: new Map(), records: 0 }
  for await (const { key, value } of mq.consume(name, { from: 'start', to: 'end' })) {
    table.records++
    if (value === null) table.values.delete(utf8Decode(key!))
    else table.values.set(utf8Decode(key!), utf8Decode(value))
  }
  return table
}

/** Follows the topic until it has seen the last update of every key; offsets only rise, per partition. */
async function follow(mq: Client, name: string): Promise<Map<string, string>> {
  const table = new Map<string, string>()
  const last = new Map<number, number>()
  let finals = 0
  for await (const { key, value, partition, offset } of mq.consume(name, { from: 'start' })) {
    assert.ok(offset > (last.get(partition) ?? -1), 'offsets rise')
    last.set(partition, offset)
    if (value === null) table.delete(utf8Decode(key!))
    else table.set(utf8Decode(key!), utf8Decode(value))
    const index = value === null ? UPDATES : Number(utf8Decode(value).split('-')[0])
    if (index >= UPDATES - KEYS && ++finals === KEYS) break
  }
  return table
}

test('100,000 updates of 1,000 keys shrink to the latest values, and are still that after a restart', async () => {
  const dir = join(folder, 'data')
  const broker = await createBroker({ storage: { dir }, shards: 2, workers: true, config: SETTINGS })
  const mq = broker.client()
  await mq.admin.topics.create('state', { partitions: 2, config: TOPIC })
  const following = follow(mq, 'state')
  const producer = mq.producer('state')
  for (let from = 0; from < UPDATES; from += 1_000)
    await producer.sendMany(Array.from({ length: 1_000 }, (_, index) => update(from + index)))
  const expected = expectedTable()
  assert.deepEqual(sorted(await following), sorted(expected), 'who follows has seen the last of every key')
  // The active segments stay: at most some thousand records of each partition.
  const shrunk = await until('compaction of what was written', WAIT_MS, async () => {
    const table = await readTable(mq, 'state')
    assert.deepEqual(sorted(table.values), sorted(expected))
    return table.records < UPDATES / 4 && table
  })
  assert.ok(shrunk.records >= KEYS)
  await broker.close()

  const again = await createBroker({ storage: { dir }, config: SETTINGS })
  const table = await readTable(again.client(), 'state')
  assert.deepEqual(sorted(table.values), sorted(expected))
  assert.ok(table.records <= shrunk.records)
  await again.close()
  const summary = verifyLog({
    ...{ files: new NodeFileSystem(), dataDir: dir, probe: systemProcessProbe(), repair: false },
    write: () => {},
  })
  assert.deepEqual([summary.damages, summary.findings], [0, 0])
})

test('a broker in memory compacts too; records without a key are refused', async () => {
  const broker = await createBroker({ storage: 'memory', config: SETTINGS })
  const mq = broker.client()
  await mq.admin.topics.create('state', { partitions: 1, config: { ...TOPIC, 'segment.bytes': '65536' } })
  const producer = mq.producer('state')
  await assert.rejects(producer.send({ value: 'no key' }), hasCode('INVALID_RECORD'))
  for (let round = 0; round < 40; round++)
    await producer.sendMany(
      Array.from({ length: 100 }, (_, key) => ({ key: `key-${key}`, value: `${round}`.repeat(40) })),
    )
  await until('compaction', WAIT_MS, async () => (await readTable(mq, 'state')).records < 2_500)
  const { values } = await readTable(mq, 'state')
  assert.equal(values.size, 100)
  for (const value of values.values()) assert.equal(value, '39'.repeat(40))
  await broker.close()
})

function sorted(table: ReadonlyMap<string, string>): [string, string][] {
  return [...table].sort(([left], [right]) => (left < right ? -1 : 1))
}
