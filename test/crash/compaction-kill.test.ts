/**
 * kill -9 of a real broker while it compacts: after each restart every key has its last acknowledged value, or one that was sent after it.
 *
 * Half of the kills wait for a file that only a compaction makes, so that they meet its steps; the others come at a drawn moment. Some are
 * stops in order instead.
 *
 *   MILLRACE_BUDGET_MS (default 15 s), MILLRACE_CYCLES (no default), MILLRACE_SEED: repeats the drawn moments, not the threads
 */
import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { SeededPrng } from '../../src/base/prng.ts'
import { type Client, connect } from '../../src/client/index.ts'
import { BrokerProcess, makeDataDir, removeDataDir } from '../support/broker-process.ts'
import { budgetMs, environmentNumber, freshSeed, withinBudget } from '../support/budget.ts'
import { sleep } from '../support/until.ts'

const TOPIC = 'state'
const KEYS = 200
const BATCH = 100
const IN_FLIGHT_MAX = 8
const WAIT_MS_MAX = 3_000
const ARGS = ['--shards', '2', '--set', 'storage.compactionCheck=100ms', '--set', 'storage.checkpoint=1s']
const CONFIG = { 'cleanup.policy': 'compact', 'segment.bytes': '65536', 'min.cleanable.dirty.ratio': '0' }
const decoder = new TextDecoder()

interface Totals {
  cycles: number
  acknowledged: number
  records: number
  metCleaned: number
  metSwap: number
  metOther: number
  stops: number
}

/** The values are serial numbers: what may be read of a key is known by its last acknowledged and its last sent one. */
class Keys {
  readonly acknowledged = new Float64Array(KEYS).fill(-1)
  readonly sent = new Float64Array(KEYS).fill(-1)
  serial = 0

  async produce(client: Client, signal: AbortSignal, totals: Totals): Promise<void> {
    const producer = client.producer(TOPIC)
    signal.addEventListener('abort', () => producer.abort(), { once: true })
    const open = new Set<Promise<void>>()
    while (!signal.aborted) {
      const records = Array.from({ length: BATCH }, () => {
        const [key, serial] = [this.serial % KEYS, this.serial++]
        this.sent[key] = serial
        return { key: `${key}`, value: `${serial} ${'x'.repeat(serial % 100)}` }
      })
      const sending = producer.sendMany(records).then(
        () => {
          for (const { key, value } of records)
            this.acknowledged[Number(key)] = Math.max(this.acknowledged[Number(key)]!, Number.parseInt(value, 10))
          totals.acknowledged += records.length
        },
        () => {},
      )
      open.add(sending)
      void sending.finally(() => open.delete(sending))
      if (open.size >= IN_FLIGHT_MAX) await Promise.race(open)
    }
    await Promise.allSettled(open)
    await producer.close().catch(() => {})
  }

  async check(client: Client, totals: Totals): Promise<void> {
    const found = new Float64Array(KEYS).fill(-1)
    for await (const { key, value } of client.consume(TOPIC, { from: 'start', to: 'end' })) {
      found[Number(decoder.decode(key!))] = Number.parseInt(decoder.decode(value!), 10)
      totals.records++
    }
    for (let key = 0; key < KEYS; key++) {
      const text = `key ${key}: read ${found[key]}, acknowledged ${this.acknowledged[key]}, sent ${this.sent[key]}`
      assert.ok(found[key]! >= this.acknowledged[key]! && found[key]! <= this.sent[key]!, text)
      // What is there now is the truth from here on.
      this.acknowledged[key] = found[key]!
    }
  }
}

/** Names of the partitions' files that only a compaction under way makes. */
function compactionFiles(dataDir: string): string[] {
  return readdirSync(dataDir)
    .filter((name) => /^[0-9a-f]{32}-\d+$/.test(name) && existsSync(join(dataDir, name)))
    .flatMap((name) => readdirSync(join(dataDir, name)))
    .filter((name) => name.endsWith('.cleaned') || name.endsWith('.swap'))
}

async function waitForMoment(prng: SeededPrng, dataDir: string): Promise<void> {
  await sleep(100 + prng.below(700))
  if (prng.below(2) === 0) return
  const wanted = prng.below(2) === 0 ? '.cleaned' : '.swap'
  const untilMs = performance.now() + WAIT_MS_MAX
  while (performance.now() < untilMs && !compactionFiles(dataDir).some((name) => name.endsWith(wanted))) await sleep(1)
  await sleep(prng.below(4))
}

test('kill -9 while segments are compacted and swapped: no key loses its last value', {
  timeout: 24 * 3_600_000,
}, async () => {
  const seed = freshSeed()
  const prng = new SeededPrng(seed)
  const asked = process.env.MILLRACE_CYCLES === undefined ? undefined : environmentNumber('MILLRACE_CYCLES', 0)
  const limitMs = budgetMs(15_000)
  const startedMs = performance.now()
  const totals: Totals = { cycles: 0, acknowledged: 0, records: 0, metCleaned: 0, metSwap: 0, metOther: 0, stops: 0 }
  const keys = new Keys()
  const dataDir = makeDataDir()
  const broker = await BrokerProcess.start({ dataDir, args: ARGS })
  try {
    let client = await connect(broker.url)
    await client.admin.topics.create(TOPIC, { partitions: 2, config: CONFIG })
    do {
      totals.cycles++
      const stop = new AbortController()
      const producing = keys.produce(client, stop.signal, totals)
      await waitForMoment(prng, dataDir)
      const isStop = prng.below(4) === 0
      if (isStop) assert.equal(await broker.stop(), 0, 'a stop in order, whatever the pool is at')
      else await broker.kill()
      const left = compactionFiles(dataDir)
      if (isStop) totals.stops++
      else if (left.some((name) => name.endsWith('.swap'))) totals.metSwap++
      else if (left.length > 0) totals.metCleaned++
      else totals.metOther++
      stop.abort()
      await producing
      await client.close().catch(() => {})
      await broker.start({ args: ARGS })
      client = await connect(broker.url)
      await keys.check(client, totals)
    } while (withinBudget({ startedMs, done: totals.cycles, asked, budgetMs: limitMs }))
    await client.close()
  } catch (error) {
    console.log(`seed ${seed}, ${JSON.stringify(totals)}; the broker said:\n${broker.talk.slice(-4_000)}`)
    throw error
  } finally {
    await broker.kill()
    removeDataDir(dataDir)
  }
  console.log(`compaction kills: ${JSON.stringify(totals)}; seed ${seed}`)
})
