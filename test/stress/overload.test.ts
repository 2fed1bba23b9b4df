/**
 * More than the broker can take: many producers at full speed against one shard with small rings and little to lend. Every bound is
 * met at once: request ring, staging area, credit, reply ring. Producers are held back and each gets its share, nobody is told
 * an error, everything arrives once and in order, memory stays within the bounds, and questions are answered meanwhile.
 *
 *   npm run test:stress -- --only overload [--seconds 60]
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeededPrng } from '../../src/base/prng.ts'
import { type Client, connect } from '../../src/client/index.ts'
import { BrokerProcess, makeDataDir, removeDataDir } from '../support/broker-process.ts'
import { budgetMs, freshSeed } from '../support/budget.ts'
import { sleep, until } from '../support/until.ts'

const TOPIC = 'overload'
const PARTITIONS = 4
const CLIENTS = 40
const MIB = 1024 * 1024
/** Below what one connection may send ahead (8 MiB), so that lending is what holds producers back. */
const ARGS = [
  ...['--shards', '1', '--set', 'rings.requestBytes=4MiB', '--set', 'rings.replyBytes=512KiB'],
  ...['--set', 'limits.receiveBytes=8MiB', '--set', 'limits.frameBytes=1MiB'],
]
/** Receive budget, a first credit of each connection, ring and staging area, pages, and what V8 does with it. */
const RSS_GROWTH_MIB_MAX = 8 + CLIENTS + 4 * 3 + 64 + 64
const QUESTION_MS_MAX = 5_000
const RECORD_BYTES_MAX = 4_000
const SAMPLE_MS = 100

interface Flood {
  readonly process: number
  sent: number
  stored: number
  waits: number
  failures: string[]
}

/** Serials of one client, in order, round the partitions, as fast as it is let. */
async function flood(client: Client, number: number, endMs: number, prng: SeededPrng): Promise<Flood> {
  const state: Flood = { process: number, sent: 0, stored: 0, waits: 0, failures: [] }
  const producer = client.producer(TOPIC, {
    bufferBytesMax: 2 * MIB,
    onFailed: ({ error }) => void state.failures.push(error.message),
  })
  const filler = 'x'.repeat(RECORD_BYTES_MAX)
  await producer.ready()
  // Until it is refused, each time: 40 full buffers are ten times what the broker lends, whichever of the two is the faster.
  while (performance.now() < endMs) {
    const value = `${number}:${state.sent}:${filler.slice(0, prng.below(RECORD_BYTES_MAX))}`
    if (producer.enqueue({ value, partition: state.sent % PARTITIONS })) state.sent++
    else {
      state.waits++
      await producer.ready()
    }
  }
  await producer.drain().catch(() => {})
  state.stored = producer.stats().recordsStored
  producer.abort()
  return state
}

/** Every record of every client, once, in order in its partition. */
async function checkAll(client: Client, floods: readonly Flood[]): Promise<void> {
  const decoder = new TextDecoder()
  const next = new Map<string, number>()
  let count = 0
  for await (const record of client.consume(TOPIC, { from: 'start', to: 'end' })) {
    const [process, serial] = decoder.decode(record.value!.subarray(0, 32)).split(':').map(Number)
    const key = `${process} ${record.partition}`
    assert.equal(
      serial,
      next.get(key) ?? record.partition,
      `${TOPIC}/${record.partition}@${record.offset} of ${process}`,
    )
    next.set(key, serial! + PARTITIONS)
    count++
  }
  assert.equal(
    count,
    floods.reduce((sum, { sent }) => sum + sent, 0),
  )
}

test('more than the broker can take is held back, and costs nothing', { timeout: 600_000 }, async () => {
  const floodMs = Math.min(60_000, Math.max(2_000, budgetMs(8_000) / 2))
  const prng = new SeededPrng(freshSeed())
  const dataDir = makeDataDir()
  const broker = await BrokerProcess.start({ dataDir, args: ARGS })
  const clients: Client[] = []
  let sampler: NodeJS.Timeout | undefined
  try {
    const admin = await connect(broker.url)
    clients.push(admin)
    await admin.admin.topics.create(TOPIC, { partitions: PARTITIONS })
    const producers = await Promise.all(Array.from({ length: CLIENTS }, () => connect(broker.url)))
    clients.push(...producers)
    const beforeMib = broker.rssMib()
    let peakMib = beforeMib
    sampler = setInterval(() => {
      peakMib = Math.max(peakMib, broker.rssMib())
    }, SAMPLE_MS)
    const endMs = performance.now() + floodMs
    const running = Promise.all(
      producers.map((client, index) => flood(client, index, endMs, new SeededPrng(prng.uint32()))),
    )
    // Meanwhile somebody asks questions.
    let slowestMs = 0
    let questions = 0
    while (performance.now() < endMs) {
      const askedMs = performance.now()
      await until(
        'answer',
        QUESTION_MS_MAX,
        async () => (await admin.admin.topics.describe(TOPIC)).partitions.length > 0,
      )
      assert.equal((await broker.readiness()).ready, true)
      slowestMs = Math.max(slowestMs, performance.now() - askedMs)
      questions++
      await sleep(100)
    }
    const floods = await running
    clearInterval(sampler)
    const sent = floods.map((each) => each.sent)
    const total = sent.reduce((sum, each) => sum + each, 0)
    console.log(
      `overload: reached ${total} records of ${CLIENTS} producers, ${Math.min(...sent)} to ${Math.max(...sent)} each; ${questions} ` +
        `questions, the slowest ${slowestMs.toFixed(0)} ms; broker RSS ${beforeMib.toFixed(0)} -> ${peakMib.toFixed(0)} MiB`,
    )
    for (const { failures, sent: each, stored } of floods) {
      assert.deepEqual(failures.slice(0, 3), [])
      assert.equal(stored, each)
    }
    assert.ok(
      floods.every(({ waits }) => waits > 0),
      'every producer was held back',
    )
    assert.ok(Math.min(...sent) * 20 >= Math.max(...sent), 'nobody is starved')
    assert.ok(slowestMs <= QUESTION_MS_MAX, `a question took ${slowestMs} ms`)
    assert.ok(peakMib - beforeMib <= RSS_GROWTH_MIB_MAX, `RSS grew from ${beforeMib} to ${peakMib} MiB`)
    await checkAll(admin, floods)
    assert.equal(broker.hasEnded, false)
  } catch (error) {
    console.log(`the broker said:\n${broker.talk.slice(-4_000)}`)
    throw error
  } finally {
    clearInterval(sampler)
    await broker.kill()
    for (const client of clients) await client.close({ signal: AbortSignal.timeout(2_000) }).catch(() => {})
    removeDataDir(dataDir)
  }
})
