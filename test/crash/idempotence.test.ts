/**
 * Idempotent producers through a bad network and a broker that dies: each record once, in its order, none missing.
 *
 * Producers enqueue numbered records as fast as they may, five batches in flight for each partition, all through a proxy that
 * draws faults: connections cut in the middle of a frame, replies that are lost, requests that are held until the client has
 * given them up and sent them again elsewhere, and are then delivered late; and now and then kill -9 of the broker. A producer
 * gives nothing up, so of each producer and partition every number must be there exactly once, in order. A window ends with
 * everything acknowledged and read; what was read is trimmed away, so neither memory nor disk grows with the count.
 *
 *   npm run test:crash -- --sends 10000000 [--seed N]
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeededPrng } from '../../src/base/prng.ts'
import { type Client, connect, type Producer } from '../../src/client/index.ts'
import { BrokerProcess, makeDataDir, removeDataDir } from '../support/broker-process.ts'
import { budgetMs, environmentNumber, freshSeed, withinBudget } from '../support/budget.ts'
import { FaultProxy } from '../support/fault-proxy.ts'

const TOPIC = 'once'
const PARTITIONS = 3
const PRODUCERS = 3
const WINDOW_RECORDS = 200_000
const WINDOW_MS = 10_000
/** Of a stall, and from when the client gives a connection up until what it sent there arrives. */
const HELD_MS = 400
const REQUEST_TIMEOUT_MS = 400
/** A client waits 5 s longer for a reply than it gave the broker: it gives the connection up by itself then. */
const SILENT_MS = REQUEST_TIMEOUT_MS + 5_000 + 600
const SILENT_ONE_IN = 12
const KILL_ONE_IN = 25
const decoder = new TextDecoder()

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** One producer and what it has sent, per partition. */
class Sender {
  readonly number: number
  readonly producer: Producer
  readonly sent = new Array<number>(PARTITIONS).fill(0)
  failed: Error | undefined
  retried = 0

  constructor(number: number, client: Client) {
    this.number = number
    this.producer = client.producer(TOPIC, {
      requestTimeoutMs: REQUEST_TIMEOUT_MS,
      deliveryTimeoutMs: 600_000,
      batchBytesMax: 4_096,
      requestBytesMax: 16_384,
      bufferBytesMax: 256 * 1024,
      onFailed: ({ error }) => {
        this.failed ??= error
      },
    })
    this.producer.on('batchRetried', () => this.retried++)
  }

  /** Enqueues until `count` of this window are taken, or it is told to stop. */
  async run(count: number, isOver: () => boolean): Promise<number> {
    await this.producer.ready()
    let taken = 0
    while (taken < count && !isOver() && this.failed === undefined) {
      const partition = taken % PARTITIONS
      const value = `${this.number}:${this.sent[partition]}`
      if (this.producer.enqueue({ partition, value })) {
        this.sent[partition]!++
        taken++
        // The faults are drawn by this thread, too.
        if (taken % 2_000 === 0) await new Promise((resolve) => setImmediate(resolve))
      } else await this.producer.ready()
    }
    await this.producer.drain()
    return taken
  }
}

/** Draws what goes wrong, until it is stopped. */
class Faults {
  readonly #prng: SeededPrng
  readonly #proxy: FaultProxy
  readonly #broker: BrokerProcess
  readonly counts = { cuts: 0, lostReplies: 0, lateRequests: 0, timeouts: 0, kills: 0 }
  readonly #held = new Set<Promise<void>>()

  constructor(prng: SeededPrng, proxy: FaultProxy, broker: BrokerProcess) {
    this.#prng = prng
    this.#proxy = proxy
    this.#broker = broker
  }

  async run(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      await sleep(10 + this.#prng.below(120))
      if (!isOver()) await this.#one()
    }
    while (this.#held.size > 0) await Promise.all(this.#held)
  }

  async #one(): Promise<void> {
    if (this.#prng.below(KILL_ONE_IN) === 0) {
      this.counts.kills++
      await this.#broker.kill()
      await this.#broker.start({ args: advertising(this.#proxy) })
      return
    }
    const { links } = this.#proxy
    const link = links[this.#prng.below(Math.max(1, links.length))]
    if (link === undefined) return
    if (this.#prng.below(SILENT_ONE_IN) === 0) {
      this.counts.timeouts++
      if (this.#prng.below(2) === 0) link.holdForward()
      else link.holdBack()
      this.#later(SILENT_MS, () => link.release())
      return
    }
    switch (this.#prng.below(3)) {
      case 0:
        this.counts.cuts++
        link.cut()
        return
      case 1:
        this.counts.lostReplies++
        link.holdBack()
        this.#later(this.#prng.below(REQUEST_TIMEOUT_MS * 2), () => link.cut())
        return
      default:
        this.counts.lateRequests++
        link.holdForward()
        this.#later(this.#prng.below(HELD_MS), () => {
          link.cutClient()
          this.#later(this.#prng.below(HELD_MS), () => link.release())
        })
    }
  }

  #later(ms: number, act: () => void): void {
    const done = sleep(ms).then(act)
    this.#held.add(done)
    void done.then(() => this.#held.delete(done))
  }
}

/** Clients come back through the proxy. */
function advertising(proxy: FaultProxy): string[] {
  return ['--set', `listeners.advertised=${proxy.url}`]
}

/** Reads what came since, and checks it record by record. */
class Reader {
  readonly #client: Client
  readonly #nextOffsets = new Array<number>(PARTITIONS).fill(0)
  /** `sender/partition` -> the number that must come next. */
  readonly #next = new Map<string, number>()
  read = 0

  constructor(client: Client) {
    this.#client = client
  }

  async readNew(senders: readonly Sender[]): Promise<void> {
    for (let partition = 0; partition < PARTITIONS; partition++) await this.#readPartition(partition)
    for (const { number, sent } of senders)
      for (let partition = 0; partition < PARTITIONS; partition++)
        assert.equal(
          this.#next.get(`${number}/${partition}`) ?? 0,
          sent[partition],
          `producer ${number}, partition ${partition}: acknowledged records are missing at the end`,
        )
  }

  async #readPartition(partition: number): Promise<void> {
    const from = { offset: this.#nextOffsets[partition]! }
    for await (const { offset, value } of this.#client.consume(TOPIC, { from, to: 'end', partitions: [partition] })) {
      const [sender, number] = decoder.decode(value as Uint8Array).split(':')
      const key = `${sender}/${partition}`
      const expected = this.#next.get(key) ?? 0
      assert.equal(
        Number(number),
        expected,
        `${TOPIC}/${partition}@${offset}: producer ${sender}: ${number} where ${expected} is next`,
      )
      this.#next.set(key, expected + 1)
      this.#nextOffsets[partition] = offset + 1
      this.read++
    }
    const { admin } = this.#client
    await admin.topics.trim(TOPIC, { before: this.#nextOffsets[partition]!, partitions: [partition] })
  }
}

test('a retry neither doubles nor reorders, whatever fails', { timeout: 24 * 3_600_000 }, async () => {
  const seed = freshSeed()
  const prng = new SeededPrng(seed)
  const asked = process.env.MILLRACE_SENDS === undefined ? undefined : environmentNumber('MILLRACE_SENDS', 0)
  const limitMs = budgetMs(20_000)
  const startedMs = performance.now()
  const dataDir = makeDataDir()
  const broker = await BrokerProcess.start({ dataDir })
  const proxy = await FaultProxy.start(Number(new URL(broker.url).port))
  await broker.stop()
  await broker.start({ args: advertising(proxy) })
  const direct = await connect(broker.url)
  await direct.admin.topics.create(TOPIC, {
    partitions: PARTITIONS,
    config: { 'segment.bytes': String(4 * 1024 * 1024) },
  })
  const client = await connect(proxy.url, { backoffMsMax: 200, requestTimeoutMs: 2_000 })
  const senders = Array.from({ length: PRODUCERS }, (_, number) => new Sender(number, client))
  const faults = new Faults(prng, proxy, broker)
  const reader = new Reader(direct)
  let sends = 0
  try {
    while (sends === 0 || withinBudget({ startedMs, done: sends, asked, budgetMs: limitMs })) {
      const endMs = performance.now() + (asked === undefined ? Math.min(WINDOW_MS, limitMs) : Number.POSITIVE_INFINITY)
      let isDrained = false
      const faulting = faults.run(() => isDrained)
      const share = Math.ceil(WINDOW_RECORDS / PRODUCERS)
      const taken = await Promise.all(senders.map((sender) => sender.run(share, () => performance.now() > endMs)))
      isDrained = true
      await faulting
      for (const { failed } of senders) assert.equal(failed, undefined, 'nothing was given up')
      await reader.readNew(senders)
      sends += taken.reduce((sum, count) => sum + count)
    }
    assert.equal(reader.read, sends)
    assert.ok(sends > 0)
  } catch (error) {
    console.log(`seed ${seed}, ${sends} records before this window; the broker said:\n${broker.talk.slice(-4_000)}`)
    console.log(`repeat: npm run test:crash -- --seed ${seed} --sends ${sends + WINDOW_RECORDS}`)
    throw error
  } finally {
    for (const { producer } of senders) producer.abort()
    proxy.close()
    await broker.kill()
    for (const each of [client, direct]) await each.close().catch(() => {})
    removeDataDir(dataDir)
  }
  const retried = senders.reduce((sum, sender) => sum + sender.retried, 0)
  assert.ok(retried > 0, 'batches were sent again')
  console.log(
    `idempotence: ${sends} records sent, ${retried} batches sent again, 0 doubled, 0 out of order, 0 missing; ` +
      `${JSON.stringify(faults.counts)}, ${proxy.accepted} connections; ` +
      `${((performance.now() - startedMs) / 1000).toFixed(0)} s; seed ${seed}; ` +
      `0 failures bound the rate at ${(3 / sends).toExponential(1)} a record (95 %)`,
  )
})
