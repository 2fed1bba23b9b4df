/**
 * A whole shard under produce, with topics that change between group and interval, trims, deletes, checkpoints and partitions
 * that go offline, cut off anywhere: what was acknowledged under group is there, and no partition is damaged.
 *
 * Budget     MILLRACE_BUDGET_MS (default 3 s)
 * Reproduce  MILLRACE_SEED=<seed> MILLRACE_BUDGET_MS=1 node --test dist/test/crash/shard-power-cut.test.js
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import '../../src/base/node/native-crc32c.ts'
import { SeededPrng } from '../../src/base/prng.ts'
import { FaultyFileSystem } from '../../src/io/faulty-file-system.ts'
import { MemoryFileSystem } from '../../src/io/memory-file-system.ts'
import { recoverDataDir } from '../../src/log/data-dir-recovery.ts'
import { partitionFolder } from '../../src/model/ids.ts'
import { ControlOperation } from '../../src/ring/control-messages.ts'
import { budgetMs, freshSeed } from '../support/budget.ts'
import { DATA_DIR, makeBatch, TOPIC, topicConfig } from '../support/log-fixture.ts'
import { ShardFixture } from '../support/shard-fixture.ts'

const PARTITIONS = 12
const RING_BYTES_USED_MAX = 1_000_000
const CONFIG = { segmentBytes: 128 * 1024, maxMessageBytes: 200_000, flushMs: 300 }

interface Tracked {
  fsync: 'group' | 'interval'
  isGone: boolean
  /** Refused from here on; what was acknowledged stands. */
  isOffline: boolean
  /** Offset after the last record that was sent and acknowledged under group. */
  acknowledgedEnd: number
}

class Run {
  readonly disk = new MemoryFileSystem()
  readonly #faulty = new FaultyFileSystem(this.disk)
  readonly #shard = new ShardFixture({
    files: this.#faulty,
    shard: { journalBytes: 300 * 1024, checkpointMs: 500 },
  })
  readonly #prng: SeededPrng
  readonly #open = new Map<number, { readonly ref: number; readonly fsync: string }>()
  readonly partitions: Tracked[] = Array.from({ length: PARTITIONS }, () => ({
    ...{ fsync: 'group', isGone: false, isOffline: false, acknowledgedEnd: 0 },
  }))

  constructor(prng: SeededPrng) {
    this.#prng = prng
    this.#shard.open(PARTITIONS, CONFIG)
  }

  /** Some requests, some turns of shard and disk, each at its own pace. */
  round(): void {
    const prng = this.#prng
    for (let count = prng.below(10); count > 0; count--) this.#produce(prng.below(PARTITIONS))
    this.#change(prng.below(PARTITIONS), prng.below(60))
    for (let turn = prng.below(8); turn > 0; turn--)
      (prng.below(2) === 0 ? this.#shard.shard : this.#shard.disk).doWork()
    this.#shard.drain()
    this.#takeAnswers()
    assert.ok(!this.#shard.notices.some(({ kind }) => kind === 'shard-failed'), 'the shard failed')
  }

  #produce(ref: number): void {
    const { isGone, fsync } = this.partitions[ref]!
    if (isGone || this.#shard.gateway.requests.usedBytes() > RING_BYTES_USED_MAX) return
    const dice = this.#prng.below(20)
    // Too large for the journal, large, small.
    const valueBytes = dice === 0 ? 70_000 : dice < 7 ? 5_000 : 50
    const acks = this.#prng.below(2) === 0 ? 1 : -1
    this.#open.set(this.#shard.sendProduce(makeBatch({ valueBytes }), { partitionRef: ref, acks }), { ref, fsync })
  }

  #change(ref: number, dice: number): void {
    const tracked = this.partitions[ref]!
    if (dice > 50) this.#shard.clock.ms += this.#prng.below(400)
    if (dice === 0) this.#shard.sendControl(ControlOperation.CHECKPOINT, {})
    if (tracked.isGone) return
    if (dice >= 1 && dice <= 3) {
      tracked.fsync = tracked.fsync === 'group' ? 'interval' : 'group'
      const config = topicConfig({ ...CONFIG, fsync: tracked.fsync })
      this.#shard.sendControl(ControlOperation.UPDATE_CONFIG, { partitionRef: ref, config })
    } else if (dice === 4 && tracked.fsync === 'group') {
      const beforeOffset = this.#prng.below(tracked.acknowledgedEnd + 1)
      this.#shard.sendControl(ControlOperation.TRIM, { partitionRef: ref, beforeOffset })
    } else if (dice === 5 && ref < 3) {
      tracked.isGone = true
      this.#shard.sendControl(ControlOperation.DELETE_PARTITION, { partitionRef: ref })
    } else if (dice === 6 && ref > 9 && tracked.acknowledgedEnd > 0) {
      tracked.isOffline = true
      this.#faulty.inject({
        on: 'read',
        path: `${partitionFolder(TOPIC, ref)}/`,
        effect: { kind: 'fail', code: 'EIO' },
      })
      this.#shard.sendFetch([{ ref, offset: tracked.acknowledgedEnd - 1 }])
    }
  }

  #takeAnswers(): void {
    for (const [id, { ref, fsync }] of this.#open) {
      const answer = this.#shard.peek(id)
      if (answer?.kind !== 'produce') continue
      this.#open.delete(id)
      const tracked = this.partitions[ref]!
      if (tracked.isGone) continue
      if (!tracked.isOffline) assert.equal(answer.error, 'NONE', answer.text)
      const isPromised = answer.error === 'NONE' && fsync === 'group' && tracked.fsync === 'group'
      if (isPromised) tracked.acknowledgedEnd = Math.max(tracked.acknowledgedEnd, answer.baseOffset + 1)
    }
  }
}

function check(disk: MemoryFileSystem, partitions: readonly Tracked[], previousRun: 'machine-died' | 'process-died') {
  const { results } = recoverDataDir(disk, { dataDir: DATA_DIR, incarnation: 2, previousRun })
  const found = new Map(results.map((result) => [result.folder, result.recovered]))
  for (const [ref, { isGone, acknowledgedEnd }] of partitions.entries()) {
    if (isGone) continue
    const recovered = found.get(partitionFolder(TOPIC, ref))
    assert.equal(recovered?.damaged ?? null, null, `partition ${ref}`)
    const end = recovered?.logEndOffset ?? 0
    assert.ok(end >= acknowledgedEnd, `partition ${ref} ends at ${end}, ${acknowledgedEnd} was acknowledged`)
  }
}

test('a shard that is cut off anywhere keeps what it acknowledged', () => {
  const firstSeed = freshSeed()
  const startedMs = performance.now()
  let seed = firstSeed
  let promised = 0
  do {
    const prng = new SeededPrng(seed)
    try {
      const run = new Run(prng)
      for (let rounds = 20 + prng.below(150); rounds > 0; rounds--) run.round()
      const isPower = prng.below(4) > 0
      const crashed = isPower ? run.disk.crash(prng) : run.disk.crash(prng, { kind: 'kill' })
      check(crashed, run.partitions, isPower ? 'machine-died' : 'process-died')
      for (const { acknowledgedEnd } of run.partitions) promised += acknowledgedEnd
    } catch (error) {
      console.log(`MILLRACE_SEED=${seed} MILLRACE_BUDGET_MS=1 node --test dist/test/crash/shard-power-cut.test.js`)
      throw error
    }
    seed++
  } while (performance.now() - startedMs < budgetMs(3_000))
  assert.ok(promised > 0)
  console.log(`shard power cuts: seeds ${firstSeed}…${seed - 1}, ${promised} acknowledged records kept`)
})
