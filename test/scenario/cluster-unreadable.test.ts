/**
 * A topic whose metadata cannot be read when its broker starts (another release's, damaged by hand): the broker serves the others, its folders stay
 * as they are, and when it can be read again all its records are there.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Decode, utf8Encode } from '../../src/base/bytes.ts'
import type { Client } from '../../src/client/client.ts'
import {
  decodeState,
  encodeState,
  PARTITIONS_PREFIX,
  TOPIC_IDS_PREFIX,
  type TopicState,
  topicNameKey,
} from '../../src/coordination/keys.ts'
import type { FileSystem } from '../../src/io/file-system.ts'
import { BrokerCluster } from '../support/broker-cluster.ts'
import { until } from '../support/until.ts'

const WAIT_MS = 30_000
const RECORDS = 20
const TORN = utf8Encode('{"leader":')

async function fill(client: Client, topic: string): Promise<void> {
  await client.admin.topics.create(topic, { partitions: 2 })
  const records = Array.from({ length: RECORDS }, (_, index) => ({ value: String(index), partition: index % 2 }))
  await client.producer(topic).sendMany(records)
}

async function valuesOf(client: Client, topic: string): Promise<number[]> {
  const values: number[] = []
  for await (const { value } of client.consume(topic, { from: 'start', to: 'end' }))
    values.push(Number(utf8Decode(value!)))
  return values.sort((left, right) => left - right)
}

/** All files of a topic's folders, with their sizes; and what was set aside. */
function filesOf(files: FileSystem, dataDir: string, topicId: string): Map<string, number> {
  const found = new Map<string, number>()
  const names = files.list(dataDir)
  const aside = files.list(`${dataDir}/quarantine`).map((name) => `quarantine/${name}`)
  for (const folder of [...names, ...aside].filter((name) => name.includes(topicId)))
    for (const name of files.list(`${dataDir}/${folder}`).filter((one) => one.endsWith('.log'))) {
      const stat = files.stat(`${dataDir}/${folder}/${name}`)
      found.set(`${folder}/${name}`, stat.kind === 'file' ? stat.bytes : -1)
    }
  return found
}

/** By what is damaged: the key of topic `topicId`, and what stands in it; undefined = it is missing. */
const DAMAGES: Record<string, (topicId: string, value: Uint8Array) => Uint8Array | undefined> = {
  [PARTITIONS_PREFIX]: () => TORN,
  [TOPIC_IDS_PREFIX]: () => TORN,
  [topicNameKey('t')]: () => TORN,
  'the key of a partition is missing': () => undefined,
  'a configuration of another release': (topicId, value) => {
    const state = decodeState<TopicState>(topicId, value)
    return encodeState({ ...state, config: { 'future.key': 'x' } })
  },
}

/** Where it is not the name of the damage. */
const PREFIXES: Record<string, string> = {
  'the key of a partition is missing': PARTITIONS_PREFIX,
  'a configuration of another release': TOPIC_IDS_PREFIX,
}

for (const [where, damage] of Object.entries(DAMAGES))
  test(`not readable at the start, and again later: ${where}`, async () => {
    const cluster = await BrokerCluster.start({ nodes: 1 })
    try {
      const client = cluster.client()
      for (const topic of ['t', 'other']) await fill(client, topic)
      const { topicId } = await client.admin.topics.describe('t')
      cluster.kill(1)
      const { files, dataDir } = cluster.diskOf(1)
      const before = filesOf(files, dataDir, topicId)
      assert.equal(before.size, 2)
      const { store } = cluster
      const { values } = await store.list('/')
      const prefix = PREFIXES[where] ?? where
      const stored = values.find(({ key }) => key.startsWith(prefix) && (key.includes(topicId) || key === where))!
      const { key } = stored
      const put = (value: Uint8Array | undefined) =>
        store.transact([], [value === undefined ? { kind: 'delete', key } : { kind: 'put', key, value }])
      await put(damage(topicId, stored.value))
      await cluster.expire(1)
      await cluster.restart(1)
      assert.deepEqual(
        await valuesOf(client, 'other'),
        Array.from({ length: RECORDS }, (_, index) => index),
      )
      assert.deepEqual(filesOf(files, dataDir, topicId), before, 'its folders stay as they are')
      await put(stored.value)
      await until('the topic is served again', WAIT_MS, async () => {
        const { partitions } = await client.admin.topics.describe('t')
        return partitions.every(({ leaderNodeId }) => leaderNodeId === 1)
      })
      assert.deepEqual(
        await valuesOf(client, 't'),
        Array.from({ length: RECORDS }, (_, index) => index),
      )
      const { offset } = await client.producer('t').send({ value: String(RECORDS), partition: 0 })
      assert.equal(offset, RECORDS / 2)
      // Once more: what was opened late is found by the next start like any other.
      cluster.kill(1)
      await cluster.expire(1)
      await cluster.restart(1)
      assert.deepEqual(
        await valuesOf(client, 't'),
        Array.from({ length: RECORDS + 1 }, (_, index) => index),
      )
      assert.deepEqual(files.list(`${dataDir}/quarantine`), [])
    } finally {
      await cluster.close()
    }
  })
