/**
 * A full disk: produce is refused with a clear, retriable DISK_FULL, reads go on, the broker stops, dies and starts on a disk
 * without a free byte, writes resume by themselves within RESUME_MS_MAX of space coming back, and nothing acknowledged is lost.
 *
 * Two ways to get there: below the reserve, which the broker sees coming, and to the brim between two of its looks, which it
 * learns from a write that fails. The disk is a tmpfs of its own.
 *
 *   npm run test:crash -- --fills 20 [--seed N]
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeededPrng } from '../../src/base/prng.ts'
import { type Client, connect, isMillraceError, type MillraceError } from '../../src/client/index.ts'
import { BrokerProcess } from '../support/broker-process.ts'
import { budgetMs, environmentNumber, freshSeed, withinBudget } from '../support/budget.ts'
import { Ledger } from '../support/ledger.ts'
import { Load } from '../support/load.ts'
import { makeSmallDisk, type SmallDisk } from '../support/small-disk.ts'
import { sleep, until } from '../support/until.ts'

const MIB = 1024 * 1024
const DISK_BYTES = 160 * MIB
const RESERVE_BYTES = 16 * MIB
const BROKER_ARGS = ['--shards', '2', '--set', 'storage.journal=4MiB', '--set', 'storage.reserve=16MiB']
const TOPIC = 'load'
const PROBES = 'probes'
const PARTITIONS = [0, 1, 2, 3, 4, 5]
const REFUSED_MS_MAX = 10_000
const RESUME_MS_MAX = 10_000

type ReadyDisk = Extract<SmallDisk, { kind: 'ready' }>

/** Sends one record, to a topic that no ledger knows, with little patience; answers why it was not stored, undefined when it was. */
async function refusalOf(client: Client): Promise<MillraceError | undefined> {
  const producer = client.producer(PROBES, { deliveryTimeoutMs: 1_000 })
  try {
    await producer.send({ value: 'probe' })
    return undefined
  } catch (error) {
    const cause = (error as Error).cause
    return isMillraceError(cause) ? cause : (error as MillraceError)
  } finally {
    producer.abort()
  }
}

/** Producing is refused, the reason is right, and reading goes on. */
async function checkFull(client: Client, broker: BrokerProcess, ledger: Ledger): Promise<void> {
  let last: MillraceError | undefined
  const refusal = await until('DISK_FULL', REFUSED_MS_MAX, async () => {
    last = await refusalOf(client)
    return last?.code === 'DISK_FULL' && last
  }).catch((error: Error) => {
    throw new Error(`${error.message}, but ${last?.code}: ${last?.message}`)
  })
  assert.equal(refusal.retriable, true)
  assert.match(refusal.message, /full/i)
  const { ready, reasons } = await broker.readiness()
  assert.equal(ready, false)
  assert.match(reasons.join(), /disk/i)
  await ledger.readNew(client)
}

async function fillAndFree(disk: ReadyDisk, leaveBytes: number, prng: SeededPrng): Promise<number> {
  const dataDir = `${disk.path}/data`
  const broker = await BrokerProcess.start({ dataDir, args: BROKER_ARGS })
  const client = await connect(broker.url)
  await client.admin.topics.create(TOPIC, { partitions: PARTITIONS.length, config: { 'segment.bytes': String(MIB) } })
  await client.admin.topics.create(PROBES, { partitions: 2 })
  const producer = client.producer(TOPIC, { deliveryTimeoutMs: 120_000 })
  try {
    const ledger = new Ledger({ topic: TOPIC, partitions: PARTITIONS.length })
    const load = new Load({ producer, ledger, process: 0, prng, partitions: PARTITIONS })
    const run = load.run()
    await sleep(300)
    disk.fill(leaveBytes)
    await until('disk to be low', REFUSED_MS_MAX, async () => !(await broker.readiness()).ready)
    await checkFull(client, broker, ledger)

    const refused = await client.admin.topics.create('late', { partitions: 1 }).then(
      () => undefined,
      (error: unknown) => error,
    )
    assert.ok(refused === undefined || isMillraceError(refused), `a topic on a full disk: ${String(refused)}`)
    assert.equal(broker.hasEnded, false, broker.talk)

    // It dies and starts without room, and stops and starts in order.
    await broker.kill()
    await broker.start()
    await checkFull(client, broker, ledger)
    assert.equal(await broker.stop(), 0, broker.talk)
    await broker.start()
    await checkFull(client, broker, ledger)

    const before = ledger.acknowledged
    const freedMs = performance.now()
    disk.empty()
    await until('acknowledgement after space came back', RESUME_MS_MAX, () => ledger.acknowledged > before)
    const resumedMs = performance.now() - freedMs
    await until('readiness', RESUME_MS_MAX, async () => (await broker.readiness()).ready)
    await client.admin.topics.create('after', { partitions: 1, ifNotExists: true })
    load.stop()
    await run
    await ledger.readNew(client)
    assert.deepEqual([...load.failures], [], 'a producer that waits long enough gives nothing up')
    assert.deepEqual(ledger.verdict().wrong.slice(0, 10), [])
    assert.ok(ledger.acknowledged > 0)
    assert.equal(broker.hasEnded, false, broker.talk)
    return resumedMs
  } catch (error) {
    console.log(`the broker said:\n${broker.talk.slice(-4_000)}`)
    throw error
  } finally {
    producer.abort()
    await broker.kill()
    await client.close().catch(() => {})
  }
}

for (const [name, leaveBytes] of [
  ['below the reserve', RESERVE_BYTES / 2],
  ['to the brim', 0],
] as const)
  test(`a disk that fills up ${name}, and gets room again`, { timeout: 3_600_000 }, async (context) => {
    const seed = freshSeed()
    const prng = new SeededPrng(seed)
    const asked = process.env.MILLRACE_CYCLES === undefined ? undefined : environmentNumber('MILLRACE_CYCLES', 0)
    const limitMs = budgetMs(5_000) / 2
    const startedMs = performance.now()
    const resumed: number[] = []
    do {
      const disk = makeSmallDisk(DISK_BYTES)
      if (disk.kind === 'unavailable') {
        context.skip(disk.reason)
        return
      }
      try {
        resumed.push(await fillAndFree(disk, leaveBytes, prng))
      } finally {
        disk.dispose()
      }
    } while (withinBudget({ startedMs, done: resumed.length, asked, budgetMs: limitMs }))
    const slowest = Math.max(...resumed).toFixed(0)
    console.log(
      `disk full ${name}: reached ${resumed.length} rounds, writes resumed within ${slowest} ms; seed ${seed}`,
    )
  })
