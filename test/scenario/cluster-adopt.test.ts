/** A single broker becomes the first one of a cluster: its metadata is adopted, whole or not at all, and it goes on with all it had. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { systemClock } from '../../src/base/node/system-clock.ts'
import { systemPrng } from '../../src/base/node/system-prng.ts'
import { adoptFrom } from '../../src/cli/commands/adopt.ts'
import { Client } from '../../src/client/client.ts'
import { CLUSTER_KEY, ROOT_PREFIX } from '../../src/coordination/keys.ts'
import { MemoryMetadataStore } from '../../src/coordination/memory-metadata-store.ts'
import type { MetadataStore } from '../../src/coordination/metadata-store.ts'
import { inProcessConfig } from '../../src/in-process/in-process-config.ts'
import { InThreadBroker } from '../../src/in-process/in-thread-broker.ts'
import { openDirectory } from '../../src/in-process/local-storage.ts'
import { SILENT } from '../../src/in-process/silent-logger.ts'
import { systemTime } from '../../src/in-process/time-source.ts'
import { createBroker } from '../../src/index.ts'
import { MillraceError } from '../../src/model/errors.ts'
import { nodeCodecs } from '../../src/record/node-codecs.ts'
import { CommandOutput } from '../support/command-output.ts'
import { hasCode } from '../support/expect.ts'
import { until } from '../support/until.ts'

const URL = 'ws://node-1'
const RECORDS = 90
const WAIT_MS = 15_000

const folder = mkdtempSync(join(tmpdir(), 'millrace-adopt-'))
const dir = join(folder, 'data')
after(() => rmSync(folder, { recursive: true, force: true }))

/** It stays when the command closes it; the `failAt`th transaction fails. */
function shared(store: MemoryMetadataStore, failAt = Number.POSITIVE_INFINITY): MetadataStore {
  let count = 0
  return new Proxy<MetadataStore>(store, {
    get(target, name) {
      if (name === 'close') return async () => {}
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        if (name === 'transact' && ++count === failAt)
          return Promise.reject(new MillraceError('BROKER_NOT_AVAILABLE', 'etcd went away'))
        return value.apply(target, args) as unknown
      }
    },
  })
}

async function adopt(store: MetadataStore, dryRun = false): Promise<string> {
  const output = new CommandOutput()
  await adoptFrom(output, dir, dryRun, async () => store)
  return output.said.join('\n')
}

async function keysOf(store: MetadataStore): Promise<Map<string, string>> {
  const { values } = await store.list(ROOT_PREFIX)
  return new Map(values.map(({ key, value }) => [key, new TextDecoder().decode(value)]))
}

const store = new MemoryMetadataStore(systemClock)

test('a broker alone makes topics, records and groups', async () => {
  const broker = await createBroker({ storage: { dir }, config: { 'groups.offsetsPartitions': 2 } })
  const mq = broker.client()
  // More keys than a transaction takes.
  await mq.admin.topics.create('wide', { partitions: 150 })
  await mq.admin.topics.create('t', { partitions: 3, config: { 'millrace.fsync': 'interval' } })
  const records = Array.from({ length: RECORDS }, (_, index) => ({ value: String(index), partition: index % 3 }))
  await mq.producer('t').sendMany(records)
  let left = 30
  for await (const _ of mq.group('g', ['t'], { from: 'start' })) if (--left === 0) break
  await assert.rejects(adopt(shared(store)), /in use by process \d+: stop it/)
  await broker.close()
})

test('a dry run writes nothing; an attempt that breaks off leaves no cluster, and the next one goes on', async () => {
  assert.match(await adopt(shared(store), true), /would be written to etcd; nothing is changed/)
  assert.equal((await keysOf(store)).size, 0)
  await assert.rejects(adopt(shared(store, 2)), hasCode('BROKER_NOT_AVAILABLE'))
  const half = await keysOf(store)
  assert.equal(half.size, 100)
  assert.equal(half.has(CLUSTER_KEY), false)
  const last = 3
  await assert.rejects(adopt(shared(store, last)), hasCode('BROKER_NOT_AVAILABLE'))
  assert.equal((await keysOf(store)).has(CLUSTER_KEY), false)
  assert.match(
    await adopt(shared(store)),
    /3 topics with 155 partitions of broker 1 are in etcd now; start it with --etcd/,
  )
  const whole = await keysOf(store)
  const atOnce = new MemoryMetadataStore(systemClock)
  await adopt(shared(atOnce))
  assert.deepEqual(whole, await keysOf(atOnce))
  assert.match(await adopt(shared(store)), /are in etcd already/)
  assert.deepEqual(await keysOf(store), whole)
})

test('where something else is, nothing is adopted', async () => {
  const other = new MemoryMetadataStore(systemClock)
  const put = (key: string, text: string) =>
    other.transact([], [{ kind: 'put', key, value: new TextEncoder().encode(text) }])
  await put(`${ROOT_PREFIX}topics/foreign`, '{}')
  await assert.rejects(
    adopt(shared(other)),
    hasCode('INVALID_REQUEST', /etcd is not empty: there is .*topics\/foreign/),
  )
  await put(CLUSTER_KEY, '{"clusterId":"another"}')
  await assert.rejects(adopt(shared(other)), hasCode('INVALID_REQUEST', /there is a cluster already, another/))
  assert.equal((await keysOf(other)).size, 2)
})

test('the broker goes on in the cluster: it leads again, under a higher epoch, with its records and offsets', async () => {
  const broker = new InThreadBroker({
    config: await inProcessConfig({ nodeId: 1, 'listeners.advertised': URL, 'groups.offsetsPartitions': 2 }),
    ...{ shards: 1, time: systemTime, prng: systemPrng(), logger: SILENT },
    newId: () => randomBytes(16).toString('hex'),
    storage: () => openDirectory(dir),
    cluster: () => ({ store: shared(store), transport: broker.engine.transport, onOver: assert.fail }),
  })
  await broker.start()
  const startTimer = (delayMs: number, task: () => void) => systemTime.startTimer(delayMs, task)
  const { transport } = broker.engine
  const runtime = { clock: systemTime, prng: systemPrng(), transport, codecs: nodeCodecs(), startTimer }
  const mq = Client.create(runtime, [URL], {})
  try {
    const topic = await until('leader', WAIT_MS, async () => {
      const described = await mq.admin.topics.describe('t')
      return described.partitions.every(({ leaderNodeId }) => leaderNodeId === 1) && described
    })
    // One start alone, that is epoch 0; then nobody, then this one.
    for (const { leaderEpoch } of topic.partitions) assert.equal(leaderEpoch, 2)
    const values: number[] = []
    for await (const { value } of mq.consume('t', { from: 'start', to: 'end' }))
      values.push(Number(new TextDecoder().decode(value!)))
    assert.deepEqual(
      values.sort((left, right) => left - right),
      Array.from({ length: RECORDS }, (_, index) => index),
    )
    assert.equal((await mq.producer('t').send({ value: 'x', partition: 0 })).offset, 30)
    const offsets = await mq.admin.groups.offsets('g')
    assert.ok(offsets.reduce((sum, { offset }) => sum + offset, 0) >= 29)
  } finally {
    await mq.close({ signal: AbortSignal.timeout(2_000) })
    await broker.stop()
    broker.loop.close()
  }
})
