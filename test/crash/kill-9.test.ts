/**
 * kill -9 of a loaded broker, restart, verify: nothing acknowledged is lost, nothing stands twice, no gap, order kept.
 *
 * Each cycle starts a real broker process on the data of the one before, with one to three shards as the seed has it, lets
 * two producers load it, and kills it at a drawn moment. One producer is new in each cycle (what it had not heard of when
 * the broker died may or may not be there); the other lives through all of them and retries: each of its records must be
 * there exactly once. What stands in the log is read after each restart and judged by the history checker.
 *
 *   npm run test:crash -- --only kill-9 --cycles 1000 [--seed N]
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type BrokerUnderTest,
  makeDataDir,
  removeDataDir,
  startBrokerUnderTest,
} from '../../native-free-bench/harness/broker-under-test.ts'
import { SeededPrng } from '../../src/base/prng.ts'
import { type Client, connect, type Producer } from '../../src/client/index.ts'
import { type Anomaly, HistoryChecker } from '../../src/tools/check-history.ts'
import { budgetMs, environmentNumber, freshSeed, withinBudget } from '../support/budget.ts'

const TOPIC = 'load'
const PARTITIONS = 6
const IN_FLIGHT = 40
const SHARDS_MAX = 3
const RETRY_TIMEOUT_MS = 60_000

/** What was sent and read, as the checker wants it, and where the reader stands. */
class Ledger {
  readonly checker = new HistoryChecker()
  readonly nextOffsets = Array.from({ length: PARTITIONS }, () => 0)
  acknowledged = 0
  #line = 0

  invoke(process: number, partition: number, value: string): void {
    this.checker.add({
      f: 'send',
      type: 'invoke',
      process,
      line: ++this.#line,
      records: [{ topic: TOPIC, partition, value }],
    })
  }

  settle(process: number, type: 'ok' | 'info', record: { partition: number; offset?: number; value: string }): void {
    if (type === 'ok') this.acknowledged++
    this.checker.add({ f: 'send', type, process, line: ++this.#line, records: [{ topic: TOPIC, ...record }] })
  }

  poll(partition: number, offset: number, value: string): void {
    assert.equal(
      offset,
      this.nextOffsets[partition],
      `partition ${partition}: offset ${offset} follows ${this.nextOffsets[partition]! - 1}`,
    )
    this.nextOffsets[partition] = offset + 1
    this.checker.add({
      f: 'poll',
      type: 'ok',
      process: 99,
      line: ++this.#line,
      final: true,
      records: [{ topic: TOPIC, partition, offset, value }],
    })
  }

  fatalAnomalies(): Anomaly[] {
    return this.checker.verdict().anomalies.filter((anomaly) => anomaly.fatal)
  }
}

/** Sends until stopped, never more than IN_FLIGHT unanswered; every record's key, partition and value are its own. */
class Load {
  readonly #producer: Producer
  readonly #ledger: Ledger
  readonly #process: number
  readonly #prng: SeededPrng
  #serial: number
  #open = 0
  #stopped = false
  #wake: () => void = () => {}

  constructor(producer: Producer, ledger: Ledger, process: number, prng: SeededPrng, firstSerial: number) {
    this.#producer = producer
    this.#ledger = ledger
    this.#process = process
    this.#prng = prng
    this.#serial = firstSerial
  }

  get serial(): number {
    return this.#serial
  }

  stop(): void {
    this.#stopped = true
    this.#wake()
  }

  async run(): Promise<void> {
    while (!this.#stopped) {
      if (this.#open >= IN_FLIGHT) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
        continue
      }
      this.#sendOne()
      if (this.#prng.below(8) === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    while (this.#open > 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  #sendOne(): void {
    const partition = this.#prng.below(PARTITIONS)
    const value = `${this.#process}:${this.#serial++}:${'x'.repeat(this.#prng.below(2_000))}`
    this.#ledger.invoke(this.#process, partition, value)
    this.#open++
    this.#producer.send({ value, partition }).then(
      (receipt) => this.#settled('ok', { partition: receipt.partition, offset: receipt.offset, value }),
      () => this.#settled('info', { partition, value }),
    )
  }

  #settled(type: 'ok' | 'info', record: { partition: number; offset?: number; value: string }): void {
    this.#ledger.settle(this.#process, type, record)
    this.#open--
    this.#wake()
  }
}

async function readNew(client: Client, ledger: Ledger): Promise<void> {
  const decoder = new TextDecoder()
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const from = { offset: ledger.nextOffsets[partition] as number }
    for await (const record of client.consume(TOPIC, { from, to: 'end', partitions: [partition] })) {
      ledger.poll(partition, record.offset, decoder.decode(record.value as Uint8Array))
    }
  }
}

function brokerFlags(port: number, shards: number): string[] {
  return ['--shards', String(shards), ...(port === 0 ? [] : ['--listen', `127.0.0.1:${port}`])]
}

async function oneCycle(context: {
  broker: BrokerUnderTest
  ledger: Ledger
  prng: SeededPrng
  survivor: Load
  cycle: number
}): Promise<void> {
  const { broker, ledger, prng, cycle } = context
  const reader = await connect(broker.url)
  if (cycle === 0) await reader.admin.topics.create(TOPIC, { partitions: PARTITIONS })
  await readNew(reader, ledger)
  const client = await connect(broker.url)
  const fresh = new Load(client.producer(TOPIC, { deliveryTimeoutMs: 5_000 }), ledger, 1000 + cycle, prng, 0)
  const freshRun = fresh.run()
  await new Promise((resolve) => setTimeout(resolve, 20 + prng.below(300)))
  await broker.stop('SIGKILL')
  fresh.stop()
  await client.close().catch(() => {})
  await freshRun
  await reader.close().catch(() => {})
}

test('kill -9 under load: no acknowledged record is lost, doubled or moved', { timeout: 24 * 3_600_000 }, async () => {
  const seed = freshSeed()
  const prng = new SeededPrng(seed)
  const asked = process.env.MILLRACE_CYCLES === undefined ? undefined : environmentNumber('MILLRACE_CYCLES', 0)
  const limitMs = budgetMs(20_000)
  const startedMs = performance.now()
  const dataDir = makeDataDir()
  const ledger = new Ledger()
  let cycle = 0
  let broker = await startBrokerUnderTest({ dataDir, flags: brokerFlags(0, 1 + prng.below(SHARDS_MAX)) })
  const port = Number(new URL(broker.url).port)
  const survivingClient = await connect(broker.url)
  try {
    const admin = await connect(broker.url)
    await admin.admin.topics.create(TOPIC, { partitions: PARTITIONS, ifNotExists: true })
    await admin.close()
    const survivor = new Load(
      survivingClient.producer(TOPIC, { deliveryTimeoutMs: RETRY_TIMEOUT_MS }),
      ledger,
      1,
      new SeededPrng(seed + 1),
      0,
    )
    const survivorRun = survivor.run()
    while (withinBudget({ startedMs, done: cycle, asked, budgetMs: limitMs })) {
      await oneCycle({ broker, ledger, prng, survivor, cycle: cycle + 1 })
      cycle++
      broker = await startBrokerUnderTest({ dataDir, flags: brokerFlags(port, 1 + prng.below(SHARDS_MAX)) })
    }
    survivor.stop()
    await survivorRun
    const reader = await connect(broker.url)
    await readNew(reader, ledger)
    await reader.close()
    const verdict = ledger.checker.verdict()
    const survived = verdict.unknown
    console.log(
      `kill-9: reached ${cycle} cycles, ${ledger.acknowledged} acknowledged, ${verdict.polled} read, ${survived} of unknown fate; seed ${seed}; ` +
        `0 failures in ${cycle} bound the rate at ${(3 / Math.max(1, cycle)).toFixed(4)}`,
    )
    assert.deepEqual(
      ledger.fatalAnomalies().slice(0, 10),
      [],
      `repeat: npm run test:crash -- --only kill-9 --seed ${seed} --cycles ${cycle}`,
    )
    assert.ok(ledger.acknowledged > 0, 'something was acknowledged')
  } finally {
    await broker.stop('SIGKILL')
    await survivingClient.close().catch(() => {})
    removeDataDir(dataDir)
  }
})
