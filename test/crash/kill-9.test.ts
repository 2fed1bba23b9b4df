/**
 * kill -9 of a loaded broker, restart, verify: nothing acknowledged is lost, nothing stands twice, no gap, order kept.
 *
 * Each cycle starts a real broker process on the data of the one before, with one to three shards as the seed has it, lets
 * two producers load it, and kills it at a drawn moment; now and then the next start is killed as well before it is done.
 * One producer is new in each cycle (what it had not heard of when the broker died may or may not be there); the other lives
 * through all of them and retries: each of its records must be acknowledged, and be there exactly once. What stands in the log
 * is read after each restart; every WINDOW_CYCLES all is brought to rest, judged by the history checker and trimmed away, so
 * neither memory nor disk grows with the number of cycles.
 *
 *   npm run test:crash -- --cycles 1000 [--seed N]
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeededPrng } from '../../src/base/prng.ts'
import { type Client, connect } from '../../src/client/index.ts'
import { BrokerProcess, makeDataDir, removeDataDir } from '../support/broker-process.ts'
import { budgetMs, environmentNumber, freshSeed, withinBudget } from '../support/budget.ts'
import { Ledger } from '../support/ledger.ts'
import { Load } from '../support/load.ts'

const TOPIC = 'load'
const PARTITIONS = [0, 1, 2, 3, 4, 5]
const SHARDS_MAX = 3
const WINDOW_CYCLES = 25
const SURVIVOR = 0
const IN_FLIGHT_MAX = 200
const SURVIVOR_TIMEOUT_MS = 120_000
/** Small, so that kills meet rolls and journals that change their half. */
const SEGMENT_BYTES = 1024 * 1024
const JOURNAL = 'storage.journal=4MiB'

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

class KillCycles {
  readonly #prng: SeededPrng
  readonly #broker: BrokerProcess
  /** Of the survivor; its connections break with each kill, it does not. */
  readonly #client: Client
  #ledger = new Ledger({ topic: TOPIC, partitions: PARTITIONS.length })
  #survivor: Load | undefined
  #survivorRun: Promise<void> = Promise.resolve()
  #survivorSerial = 0
  cycles = 0
  acknowledged = 0
  polled = 0
  unknown = 0
  killedStarts = 0
  startMsTotal = 0

  constructor(broker: BrokerProcess, client: Client, prng: SeededPrng) {
    this.#broker = broker
    this.#client = client
    this.#prng = prng
  }

  beginWindow(): void {
    const producer = this.#client.producer(TOPIC, { deliveryTimeoutMs: SURVIVOR_TIMEOUT_MS })
    this.#survivor = new Load({
      ...{ producer, ledger: this.#ledger, process: SURVIVOR, partitions: PARTITIONS },
      ...{ prng: new SeededPrng(this.#prng.uint32()), firstSerial: this.#survivorSerial, inFlightMax: IN_FLIGHT_MAX },
    })
    this.#survivorRun = this.#survivor.run().then(() => producer.close())
  }

  async cycle(): Promise<void> {
    this.cycles++
    const prng = this.#prng
    const client = await connect(this.#broker.url)
    await this.#ledger.readNew(client)
    const producer = client.producer(TOPIC)
    const fresh = new Load({
      ...{ producer, inFlightMax: IN_FLIGHT_MAX },
      ...{ ledger: this.#ledger, process: this.cycles, partitions: PARTITIONS, prng: new SeededPrng(prng.uint32()) },
    })
    const freshRun = fresh.run()
    await sleep(20 + prng.below(300))
    await this.#broker.kill()
    fresh.stop()
    producer.abort()
    await freshRun
    await client.close().catch(() => {})
    if (prng.below(6) === 0) await this.#killStart()
    await this.#broker.start({ args: shardArgs(prng) })
    this.startMsTotal += this.#broker.readyMs
  }

  /** The next start dies too, wherever it is by then. */
  async #killStart(): Promise<void> {
    const started = this.#broker.start({ args: shardArgs(this.#prng) }).catch(() => {})
    await sleep(50 + this.#prng.below(400))
    await this.#broker.kill()
    await started
    this.killedStarts++
  }

  /** Brings everything to rest, reads the rest, judges; what was judged is trimmed away. */
  async endWindow(): Promise<void> {
    this.#survivor?.stop()
    await this.#survivorRun
    this.#survivorSerial = this.#survivor?.serial ?? 0
    const ledger = this.#ledger
    await ledger.readNew(this.#client)
    const { counts, wrong } = ledger.verdict()
    this.acknowledged += counts.acknowledged
    this.polled += counts.polled
    this.unknown += counts.unknown
    assert.deepEqual(wrong.slice(0, 10), [])
    assert.deepEqual([...(this.#survivor?.failures ?? [])], [], 'the producer that retries has given nothing up')
    for (const partition of PARTITIONS)
      await this.#client.admin.topics.trim(TOPIC, { before: ledger.nextOffsets[partition]!, partitions: [partition] })
    this.#ledger = new Ledger({ topic: TOPIC, partitions: PARTITIONS.length, nextOffsets: ledger.nextOffsets })
  }
}

function shardArgs(prng: SeededPrng): string[] {
  return ['--shards', String(1 + prng.below(SHARDS_MAX)), '--set', JOURNAL]
}

test('kill -9 under load: no acknowledged record is lost, doubled or moved', { timeout: 24 * 3_600_000 }, async () => {
  const seed = freshSeed()
  const prng = new SeededPrng(seed)
  const asked = process.env.MILLRACE_CYCLES === undefined ? undefined : environmentNumber('MILLRACE_CYCLES', 0)
  const limitMs = budgetMs(20_000)
  const startedMs = performance.now()
  const dataDir = makeDataDir()
  const broker = await BrokerProcess.start({ dataDir, args: shardArgs(prng) })
  const client = await connect(broker.url)
  const run = new KillCycles(broker, client, prng)
  try {
    const config = { 'segment.bytes': String(SEGMENT_BYTES) }
    await client.admin.topics.create(TOPIC, { partitions: PARTITIONS.length, config })
    while (run.cycles === 0 || withinBudget({ startedMs, done: run.cycles, asked, budgetMs: limitMs })) {
      if (run.cycles % WINDOW_CYCLES === 0) run.beginWindow()
      await run.cycle()
      if (run.cycles % WINDOW_CYCLES === 0) await run.endWindow()
    }
    if (run.cycles % WINDOW_CYCLES !== 0) await run.endWindow()
    assert.ok(run.acknowledged > 0, 'something was acknowledged')
  } catch (error) {
    console.log(`seed ${seed}, cycle ${run.cycles}; the broker said:\n${broker.talk.slice(-4_000)}`)
    console.log(`repeat: npm run test:crash -- --seed ${seed} --cycles ${run.cycles}`)
    throw error
  } finally {
    await broker.kill()
    await client.close().catch(() => {})
    removeDataDir(dataDir)
  }
  console.log(
    `kill-9: reached ${run.cycles} cycles and ${run.killedStarts} killed starts, ${run.acknowledged} acknowledged, ` +
      `${run.polled} read, ${run.unknown} of unknown fate; start ${(run.startMsTotal / run.cycles).toFixed(0)} ms, ` +
      `cycle ${((performance.now() - startedMs) / run.cycles).toFixed(0)} ms; seed ${seed}; ` +
      `0 failures bound the rate at ${(3 / run.cycles).toFixed(4)} (95 %)`,
  )
})
