/**
 * A disk that fails under a real broker of three shards, by a shim that is loaded before libc (support/fsync-shim):
 *
 *   fdatasync fails      the shard that saw it goes offline and says why, wherever one looks; it never syncs again; the others serve
 *   a write fails (EIO)  the same
 *   a second shard fails the data dir as a whole is not believed any more: all goes offline
 *
 * Everything acknowledged before, and by the other shards meanwhile, is there after a restart on a disk that is well.
 *
 *   npm run test:crash -- --only failed-sync [--seed N]
 */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { SeededPrng } from '../../src/base/prng.ts'
import { type Client, connect, isMillraceError, type TopicDescription } from '../../src/client/index.ts'
import { BrokerProcess, makeDataDir, removeDataDir } from '../support/broker-process.ts'
import { freshSeed } from '../support/budget.ts'
import { buildFsyncShim, type FsyncShim, type ShimFault } from '../support/fsync-shim/fsync-shim.ts'
import { Ledger } from '../support/ledger.ts'
import { Load } from '../support/load.ts'
import { sleep, until } from '../support/until.ts'

const TOPIC = 'load'
/** One partition a shard: partition refs go round the shards. */
const PARTITIONS = [0, 1, 2]
const ARGS = ['--shards', '3', '--set', 'storage.journal=4MiB']
const OFFLINE_MS_MAX = 10_000
const DELIVERY_MS_MAX = 2_000

let shim: FsyncShim
before(() => {
  shim = buildFsyncShim()
})
after(() => {
  if (shim.kind === 'ready') shim.dispose()
})

/** A loaded broker under the shim; the parts of one test. */
class FailingDisk {
  readonly #folder = mkdtempSync(join(tmpdir(), 'millrace-failed-sync-'))
  readonly dataDir = makeDataDir()
  readonly #trigger = join(this.#folder, 'trigger')
  readonly #log = join(this.#folder, 'log')
  readonly ledger = new Ledger({ topic: TOPIC, partitions: PARTITIONS.length })
  readonly seed = freshSeed()
  broker!: BrokerProcess
  client!: Client
  load!: Load
  topicId = ''
  #run: Promise<void> = Promise.resolve()

  async start(fault: Partial<ShimFault>, ready: Extract<FsyncShim, { kind: 'ready' }>): Promise<void> {
    const env = ready.envFor({ path: this.dataDir, trigger: this.#trigger, log: this.#log, ...fault })
    this.broker = await BrokerProcess.start({ dataDir: this.dataDir, args: ARGS, env })
    this.client = await connect(this.broker.url)
    const { topicId } = await this.client.admin.topics.create(TOPIC, { partitions: PARTITIONS.length })
    this.topicId = topicId
    const producer = this.client.producer(TOPIC, { deliveryTimeoutMs: DELIVERY_MS_MAX })
    const { ledger } = this
    this.load = new Load({
      ...{ producer, ledger, process: 0, prng: new SeededPrng(this.seed), partitions: PARTITIONS },
      // Records for an offline partition wait for their timeout: those of the others must still find a place.
      inFlightMax: 4_000,
    })
    this.#run = this.load.run()
    await sleep(300)
    assert.ok(ledger.acknowledged > 0, 'records are acknowledged before anything fails')
  }

  /** From now on the disk fails for these partitions. */
  fail(partitions: readonly number[]): void {
    writeFileSync(this.#trigger, partitions.map((partition) => `${this.topicId}-${partition}/`).join('\n'))
  }

  /** Calls the shim logged since the disk began to fail. */
  calls(): { readonly call: string; readonly result: string; readonly path: string }[] {
    if (!existsSync(this.#log)) return []
    const lines = readFileSync(this.#log, 'utf8').trimEnd().split('\n')
    return lines.map((line) => {
      const [call = '', result = '', ...path] = line.split(' ')
      return { call, result, path: path.join(' ') }
    })
  }

  describe(): Promise<TopicDescription> {
    return this.client.admin.topics.describe(TOPIC)
  }

  /** Waits until `/readyz` names so many shards, and answers its reasons. */
  async reasons(shards: number): Promise<readonly string[]> {
    return until(`${shards} failed shards in /readyz`, OFFLINE_MS_MAX, async () => {
      const { ready, reasons } = await this.broker.readiness()
      return !ready && reasons.filter((reason) => /shard \d+ is failed/.test(reason)).length === shards && reasons
    })
  }

  /** Why a record cannot be stored; undefined when it is. Not under the ledger: `partition` must be offline. */
  async refusal(partition: number): Promise<Error> {
    const producer = this.client.producer(TOPIC, { deliveryTimeoutMs: 500 })
    try {
      await producer.send({ value: 'refused', partition })
      throw new assert.AssertionError({ message: `partition ${partition} took a record` })
    } catch (error) {
      assert.ok(isMillraceError(error), String(error))
      return error
    } finally {
      producer.abort()
    }
  }

  /** The partitions that serve go on being acknowledged. */
  async checkServing(partitions: readonly number[]): Promise<void> {
    const counts = () => partitions.map((partition) => this.ledger.acknowledgedOf[partition] ?? 0)
    const before = counts()
    await until(`acknowledgements of partitions ${partitions.join()}`, OFFLINE_MS_MAX, () =>
      counts().every((count, index) => count > before[index]! + 10),
    )
  }

  /** Stops the load, restarts on a disk that is well, reads all and judges. */
  async recover(): Promise<void> {
    this.load.stop()
    await this.#run
    rmSync(this.#trigger, { force: true })
    await this.broker.kill()
    await this.broker.start()
    const client = await connect(this.broker.url)
    try {
      assert.deepEqual(await this.broker.readiness(), { ready: true, reasons: [] })
      await this.ledger.readNew(client)
      const { counts, wrong } = this.ledger.verdict()
      assert.deepEqual(wrong.slice(0, 10), [], `seed ${this.seed}`)
      const receipt = await client.producer(TOPIC).send({ value: 'well again', partition: 0 })
      assert.equal(receipt.durability, 'fsynced')
      const { acknowledged, unknown, polled } = counts
      console.log(
        `failed disk: reached ${acknowledged} acknowledged, ${unknown} refused, ${polled} read; seed ${this.seed}`,
      )
    } finally {
      await client.close()
    }
  }

  async dispose(): Promise<void> {
    this.load?.stop()
    await this.broker?.kill()
    await this.client?.close({ signal: AbortSignal.timeout(2_000) }).catch(() => {})
    removeDataDir(this.dataDir)
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

async function withFailingDisk(
  context: TestContext,
  fault: Partial<ShimFault>,
  body: (disk: FailingDisk) => Promise<void>,
): Promise<void> {
  if (shim.kind === 'unavailable') {
    context.skip(shim.reason)
    return
  }
  const disk = new FailingDisk()
  try {
    await disk.start(fault, shim)
    await body(disk)
  } catch (error) {
    console.log(`seed ${disk.seed}; the broker said:\n${disk.broker?.talk.slice(-4_000)}`)
    throw error
  } finally {
    await disk.dispose()
  }
}

/** One shard is offline with a reason like `why`, everywhere; the others serve. */
async function checkOneOffline(disk: FailingDisk, partition: number, why: RegExp): Promise<void> {
  const reasons = await disk.reasons(1)
  assert.match(reasons.join(), why)
  assert.match(reasons.join(), new RegExp(`shard ${partition} `))
  const { partitions } = await disk.describe()
  for (const each of partitions) {
    if (each.partition === partition) assert.match(each.offline ?? '', why)
    else assert.equal(each.offline, null)
  }
  assert.match((await disk.refusal(partition)).message, why)
  await disk.checkServing(PARTITIONS.filter((each) => each !== partition))
  assert.equal(disk.broker.hasEnded, false)
}

describe('a failing disk under a real broker', { timeout: 300_000 }, () => {
  test('a failed fdatasync takes its shard offline for good, a second one the data dir', async (context) => {
    await withFailingDisk(context, { calls: ['fdatasync', 'fsync'] }, async (disk) => {
      disk.fail([0])
      await checkOneOffline(disk, 0, /EIO/)
      // A sync that failed is never tried again: the kernel would say yes, and the bytes be gone (R3).
      const isOfShard = (path: string, shard: number) =>
        path.includes(`${disk.topicId}-${shard}/`) || new RegExp(`/state/\\d+-${shard}\\.`).test(path)
      const failedAt = disk.calls().findIndex(({ result }) => result === 'failed')
      assert.notEqual(failedAt, -1)
      const later = disk.calls().slice(failedAt + 1)
      assert.deepEqual(
        later.filter(({ path }) => isOfShard(path, 0)),
        [],
      )
      assert.ok(later.some(({ path }) => isOfShard(path, 1)))

      disk.fail([0, 1])
      const reasons = await disk.reasons(3)
      assert.match(reasons.join(), /data dir/)
      for (const each of (await disk.describe()).partitions) assert.match(each.offline ?? '', /EIO/)
      for (const partition of PARTITIONS) assert.match((await disk.refusal(partition)).message, /EIO/)
      assert.equal(disk.broker.hasEnded, false)
      await disk.recover()
    })
  })

  test('a write that fails takes its shard offline, and only that', async (context) => {
    await withFailingDisk(context, { calls: ['pwrite', 'pwritev'] }, async (disk) => {
      disk.fail([2])
      await checkOneOffline(disk, 2, /EIO/)
      await disk.recover()
    })
  })

  test('a broker with a failed shard stops in order, and does not claim a clean stop', async (context) => {
    await withFailingDisk(context, { calls: ['fdatasync', 'fsync'] }, async (disk) => {
      disk.fail([1])
      await disk.reasons(1)
      disk.load.stop()
      await disk.broker.stop()
      assert.equal(existsSync(join(disk.dataDir, 'clean')), false)
      await disk.recover()
    })
  })
})
