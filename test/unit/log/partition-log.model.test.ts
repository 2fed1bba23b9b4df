/**
 * PartitionLog against an array: after every step every offset is located as a linear scan would, byte for byte, every time
 * lookup finds the record a scan would (I14), and producers and epochs equal a replay of what is left (I10).
 * MILLRACE_BUDGET_MS bounds it; a failure prints the seed and path: MILLRACE_SEED replays it.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { SeededPrng } from '../../../src/base/prng.ts'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { stepToOffset, stepToTime } from '../../../src/log/batch-steps.ts'
import type { LogContext } from '../../../src/log/log-context.ts'
import { recoverPartition } from '../../../src/log/log-recovery.ts'
import { PartitionLog } from '../../../src/log/partition-log.ts'
import { ProducerState } from '../../../src/log/producer-state.ts'
import type { PartitionCheckpoint } from '../../../src/log/recovered-partition.ts'
import { parseSegmentFileName } from '../../../src/log/segment.ts'
import { rebuildIndexes } from '../../../src/log/segment-scan.ts'
import { SyncList } from '../../../src/log/sync-list.ts'
import { BatchView } from '../../../src/record/batch-view.ts'
import {
  checkpoint,
  contextOver,
  DATA_DIR,
  ManualClock,
  makeBatch,
  readSegment,
  scanFolder,
  stage,
  sync,
  TOPIC,
  topicConfig,
} from '../../support/log-fixture.ts'

const BUDGET_MS = Number(process.env.MILLRACE_BUDGET_MS ?? 6000)
const SEED = process.env.MILLRACE_SEED === undefined ? {} : { seed: Number(process.env.MILLRACE_SEED) }
const CONFIG = topicConfig({ segmentBytes: 150_000, segmentMs: 1000 })
const OPTIONS = { topicId: TOPIC, partition: 0, config: CONFIG }

interface ModelBatch {
  readonly base: number
  readonly next: number
  readonly timestamps: readonly number[]
  readonly epoch: number
  readonly bytes: Uint8Array
}

interface BatchPlan {
  readonly timestamps: readonly number[]
  readonly kib: number
  readonly producer: number
}

type Step =
  | { readonly kind: 'append'; readonly batches: readonly BatchPlan[]; readonly newEpoch: boolean }
  | { readonly kind: 'trim' | 'truncate'; readonly share: number }
  | { readonly kind: 'crash'; readonly how: 'kill' | 'power'; readonly seed: number }
  | { readonly kind: 'roll' | 'sync' | 'checkpoint' | 'idle' | 'reopen' | 'wait' | 'drop' | 'loseIndexes' }

class Harness {
  files = new MemoryFileSystem()
  readonly clock = new ManualClock()
  context: LogContext
  log: PartitionLog
  batches: ModelBatch[] = []
  start = 0
  crashes = 0
  line: PartitionCheckpoint | undefined
  epoch = 0
  /** A truncation replays what is in the log; producers of trimmed segments may be unknown after it. */
  producersMayLack = false
  readonly sequences = new Map<number, number>()
  reached = { thinPlaces: 0, inexactEnds: 0 }

  constructor() {
    this.files.makeFolder(DATA_DIR)
    this.files.syncFolder('/')
    this.context = contextOver(this.files, this.clock)
    this.log = PartitionLog.create(this.context, OPTIONS)
  }

  get end(): number {
    return this.batches.at(-1)?.next ?? this.start
  }

  run(step: Step): void {
    switch (step.kind) {
      case 'append':
        this.append(step.batches, step.newEpoch)
        break
      case 'drop':
        stage(this.log, makeBatch({ producerId: 1, baseSequence: 5 }), this.epoch + 1)
        this.log.dropStaged()
        break
      case 'trim':
        this.start += Math.floor(step.share * (this.end - this.start + 1))
        this.log.advanceLogStart(this.start)
        break
      case 'truncate':
        this.truncate(this.start + Math.floor(step.share * (this.end - this.start + 1)))
        break
      case 'roll':
        this.log.roll()
        break
      case 'sync':
        sync(this.context, this.log)
        assert.equal(this.log.syncedEndOffset, this.log.logEndOffset)
        break
      case 'checkpoint':
        this.checkpoint()
        break
      case 'idle':
        this.checkpoint()
        assert.equal(this.log.releaseIdle(), true)
        break
      case 'wait':
        this.clock.ms += 700
        break
      case 'reopen':
        this.reopen()
        break
      case 'crash':
        this.crash(step.how, step.seed)
        break
      case 'loseIndexes':
        this.loseIndexes()
    }
  }

  append(plans: readonly BatchPlan[], newEpoch: boolean): void {
    if (newEpoch) this.epoch++
    for (const plan of plans) {
      const identity =
        plan.producer < 0 ? {} : { producerId: plan.producer, baseSequence: this.sequences.get(plan.producer) ?? 0 }
      const bytes = makeBatch({
        records: plan.timestamps.length,
        timestampMs: plan.timestamps,
        valueBytes: plan.kib * 1024,
        ...identity,
      })
      if (plan.producer >= 0) {
        const decision = this.log.producers.decide(new BatchView().reset(bytes))
        assert.equal(decision.kind, 'append')
        this.sequences.set(plan.producer, (this.sequences.get(plan.producer) ?? 0) + plan.timestamps.length)
      }
      const base = stage(this.log, bytes, this.epoch)
      this.batches.push({
        base,
        next: base + plan.timestamps.length,
        timestamps: plan.timestamps,
        epoch: this.epoch,
        bytes,
      })
    }
    this.log.writeStaged()
  }

  truncate(offset: number): void {
    const target = Math.min(offset, this.end)
    const kept = this.batches.filter((batch) => batch.next <= target)
    const keptEnd = kept.at(-1)?.next ?? this.batches[0]?.base ?? this.start
    if (target < this.end) {
      // Nothing at or past the start is left: the log goes on from its start, empty.
      this.batches = keptEnd < this.start || (kept.length === 0 && keptEnd <= this.start) ? [] : kept
    }
    assert.equal(this.log.truncateTo(target), this.end)
    if (this.start > 0) this.producersMayLack = true
    this.relearnSequences()
    this.checkpoint()
  }

  checkpoint(): void {
    this.line = checkpoint(this.context, this.log)
    for (const path of this.log.removeCondemned()) this.files.remove(path)
    const files = this.files.stat(this.log.folder).kind === 'folder' ? this.files.list(this.log.folder) : []
    const logs = files.filter((name) => parseSegmentFileName(name)?.suffix === '.log')
    assert.equal(logs.length, this.log.segmentCount)
    assert.deepEqual(
      files.filter((name) => name.endsWith('.deleted')),
      [],
    )
  }

  reopen(): void {
    if (this.files.stat(this.log.folder).kind === 'absent') return
    this.log.writeDerived()
    this.checkpoint()
    const line = this.log.checkpoint()
    this.log.close()
    this.context = contextOver(this.files, this.clock)
    const recovered = scanFolder(this.context, this.log.folder, {
      logStartOffset: line.logStartOffset,
      logEndOffset: line.recoveryPoint,
      producerSnapshotOffset: line.producerSnapshotOffset,
    })
    this.log = PartitionLog.open(this.context, { ...OPTIONS, recovered })
  }

  /**
   * The process dies, or the power goes: real recovery, given the last checkpoint and the synced end, opens a log that ends
   * somewhere between the synced and the written end; after a kill exactly at the written one.
   */
  crash(how: 'kill' | 'power', seed: number): void {
    const { syncedEndOffset } = this.log
    if (this.log.segmentCount === 0 || this.line === undefined) return
    this.files = this.files.crash(new SeededPrng(seed), { kind: how })
    this.context = contextOver(this.files, this.clock)
    const syncs = new SyncList()
    const { recovered } = recoverPartition(this.files, {
      syncs,
      dataDir: DATA_DIR,
      incarnation: 2,
      previousRun: how === 'kill' ? 'process-died' : 'machine-died',
      bounds: { ...this.line, topicId: TOPIC, incarnation: 1, syncedEnd: syncedEndOffset },
    })
    syncs.run(this.files)
    // As data-dir-recovery does once for all partitions: names of folders that the process before never synced.
    this.files.syncFolder(DATA_DIR)
    assert.equal(recovered?.damaged ?? null, null)
    this.log =
      recovered === null
        ? PartitionLog.create(this.context, OPTIONS)
        : PartitionLog.open(this.context, { ...OPTIONS, recovered })
    const { logEndOffset, logStartOffset } = this.log
    assert.ok(
      logEndOffset >= syncedEndOffset && logEndOffset <= this.end,
      `${syncedEndOffset} … ${this.end}: ${logEndOffset}`,
    )
    if (how === 'kill') assert.equal(logEndOffset, this.end)
    // A trim counts once it is checkpointed.
    assert.ok(
      logStartOffset >= this.line.logStartOffset && logStartOffset <= Math.max(this.start, this.line.logStartOffset),
    )
    if (logStartOffset > 0) this.producersMayLack = true
    this.start = logStartOffset
    this.batches = this.batches.filter((batch) => batch.next <= logEndOffset)
    this.crashes++
    this.relearnSequences()
    this.checkpoint()
  }

  /** Producers go on where the log says they are: it may remember more than its batches tell (trimmed ones), or less. */
  relearnSequences(): void {
    this.sequences.clear()
    for (const { producerId, batches } of this.log.producers.describe()) {
      this.sequences.set(producerId, batches.at(-1)!.lastSequence + 1)
    }
  }

  /** Index files vanish while nobody has them in memory; the pool rebuilds them when a lookup complains. */
  loseIndexes(): void {
    this.reopen()
    const { folder } = this.log
    if (this.files.stat(folder).kind === 'absent') return
    for (const name of this.files.list(folder)) if (name.endsWith('index')) this.files.remove(`${folder}/${name}`)
    for (let offset = this.start; offset < this.end; offset++) this.log.locate(offset, this.end)
    for (const fault of this.log.takeIndexFaults()) {
      assert.ok(rebuildIndexes(this.files, folder, fault))
      this.log.indexRebuilt(fault.baseOffset)
    }
  }

  *replayed(): Generator<BatchView> {
    const view = new BatchView()
    for (const batch of this.batches) yield view.reset(batch.bytes)
  }

  check(chance: (bound: number) => number): void {
    const { log } = this
    assert.equal(log.logStartOffset, this.start)
    assert.equal(log.logEndOffset, this.end)
    assert.equal(log.nextOffset, this.end)
    assert.ok(log.recoveryPoint <= log.syncedEndOffset && log.syncedEndOffset <= log.logEndOffset)
    if (this.start > 0) assert.equal(log.locate(this.start - 1, this.end).kind, 'out-of-range')
    assert.equal(log.locate(this.end + 1, this.end + 1).kind, 'out-of-range')
    assert.equal(log.locate(this.end, this.end).kind, 'at-end')
    const boundaries = this.batches.map((batch) => batch.next).filter((next) => next > this.start)
    for (let offset = this.start; offset < this.end; offset++) {
      this.checkLocate(offset, boundaries[chance(boundaries.length)]!)
    }
    for (let round = 0; round < 5; round++) {
      this.checkTime(chance(60), boundaries.length === 0 ? this.end : boundaries[chance(boundaries.length)]!)
    }
    this.checkEpochs()
  }

  checkLocate(offset: number, maxOffset: number): void {
    const place = this.log.locate(offset, maxOffset)
    if (offset >= maxOffset) {
      assert.equal(place.kind, 'at-end')
      return
    }
    assert.equal(place.kind, 'found')
    const { segment, filePosition, fileEnd, exact, endExact } = { ...place }
    const bytes = readSegment(this.context, this.log, segment, filePosition, fileEnd)
    assert.equal(bytes.length, fileEnd - filePosition)
    const first = { ...stepToOffset(bytes, 0, bytes.length, offset) }
    assert.equal(first.kind, 'found')
    if (exact) assert.equal(first.at, 0)
    else this.reached.thinPlaces++
    if (!endExact) this.reached.inexactEnds++
    const end = endExact ? bytes.length : stepToOffset(bytes, first.at, bytes.length, maxOffset).at
    const wanted = this.batches.find((batch) => batch.next > offset)!
    assert.deepEqual(Buffer.from(bytes.subarray(first.at, first.at + wanted.bytes.length)), Buffer.from(wanted.bytes))
    const last = this.batches.findLast((batch) => batch.next <= Math.min(maxOffset, segment.nextOffset))!
    assert.deepEqual(Buffer.from(bytes.subarray(end - last.bytes.length, end)), Buffer.from(last.bytes))
    this.log.remember(wanted.base, filePosition + first.at)
  }

  /** The lookup as a shard does it: place, step, next segment. */
  findTime(timestampMs: number, maxOffset: number): number {
    let from = this.start
    for (;;) {
      const place = this.log.locateTime(timestampMs, maxOffset, from)
      if (place.kind !== 'found') return -1
      const { segment, filePosition, fileEnd } = { ...place }
      const bytes = readSegment(this.context, this.log, segment, filePosition, fileEnd)
      for (let at = 0; ; ) {
        const step = stepToTime(bytes, at, bytes.length, timestampMs)
        if (step.kind !== 'found') break
        const view = new BatchView().reset(bytes, step.at)
        const batch = this.batches.find((candidate) => candidate.base === view.baseOffset)!
        for (const [index, timestamp] of batch.timestamps.entries()) {
          const offset = batch.base + index
          if (timestamp >= timestampMs && offset >= this.start && offset < maxOffset) return offset
        }
        at = view.end
      }
      from = segment.nextOffset
    }
  }

  checkTime(timestampMs: number, maxOffset: number): void {
    let expected = -1
    for (const batch of this.batches) {
      for (const [index, timestamp] of batch.timestamps.entries()) {
        const offset = batch.base + index
        if (expected < 0 && timestamp >= timestampMs && offset >= this.start && offset < maxOffset) expected = offset
      }
    }
    assert.equal(this.findTime(timestampMs, maxOffset), expected, `first record at or after ${timestampMs} ms`)
  }

  checkEpochs(): void {
    const expected: [number, number][] = []
    for (const batch of this.batches) {
      if (batch.next <= this.start || expected.at(-1)?.[0] === batch.epoch) continue
      expected.push([batch.epoch, Math.max(batch.base, this.start)])
    }
    // An epoch of which only trimmed records are left may still be known: it ends where it begins, and changes no answer.
    const entries = this.log.epochs.toEntries()
    const known = entries.filter(([, start], index) => start < this.end && entries[index + 1]?.[1] !== start)
    assert.deepEqual(known, expected)
  }

  checkProducers(): void {
    if (this.producersMayLack) return
    const replayed = new ProducerState()
    for (const batch of this.replayed()) replayed.replay(batch, 0)
    assert.deepEqual(this.log.producers.describe(), replayed.describe())
  }
}

const plan = fc.record({
  timestamps: fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 3 }),
  kib: fc.integer({ min: 0, max: 9 }),
  producer: fc.integer({ min: -1, max: 2 }),
})
const append = fc.record({
  kind: fc.constant('append' as const),
  batches: fc.array(plan, { minLength: 1, maxLength: 6 }),
  newEpoch: fc.boolean(),
})
const share = fc.double({ min: 0, max: 1, noNaN: true })
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: append },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('trim' as const), share: fc.double({ min: 0, max: 0.5, noNaN: true }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('truncate' as const), share }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('crash' as const),
      how: fc.constantFrom('kill' as const, 'power' as const),
      seed: fc.nat(),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom('roll', 'sync', 'checkpoint', 'idle', 'reopen', 'wait', 'drop', 'loseIndexes'),
    }),
  },
)

describe('PartitionLog against an array', () => {
  it(`locates, looks up, trims, truncates and reopens as the model does (${BUDGET_MS} ms)`, () => {
    let cases = 0
    let crashes = 0
    const reached = { thinPlaces: 0, inexactEnds: 0 }
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 30 }), fc.infiniteStream(fc.nat()), (steps, numbers) => {
        const harness = new Harness()
        for (const [index, next] of steps.entries()) {
          harness.run(next)
          if (index % 3 === 2 || index === steps.length - 1) harness.check((bound) => numbers.next().value! % bound)
        }
        harness.checkProducers()
        reached.thinPlaces += harness.reached.thinPlaces
        reached.inexactEnds += harness.reached.inexactEnds
        crashes += harness.crashes
        cases++
      }),
      {
        numRuns: 1000,
        interruptAfterTimeLimit: BUDGET_MS,
        markInterruptAsFailure: false,
        includeErrorInReport: true,
        ...SEED,
      },
    )
    console.log(
      `# ${cases} cases, ${crashes} crashes, ${reached.thinPlaces} places between index entries, ${reached.inexactEnds} ends found by stepping`,
    )
    assert.ok(cases >= 5, `only ${cases} cases in ${BUDGET_MS} ms`)
    assert.ok(reached.thinPlaces > 0 && reached.inexactEnds > 0, 'the sparse index was never used')
  })
})
