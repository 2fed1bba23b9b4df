/** What a bad disk may do to an append: no space, short counts, errors that hide behind them; and what a power cut leaves. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { SeededPrng } from '../../../src/base/prng.ts'
import { FaultyFileSystem } from '../../../src/io/faulty-file-system.ts'
import { StorageError } from '../../../src/io/file-system.ts'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { PartitionLog } from '../../../src/log/partition-log.ts'
import { BatchView } from '../../../src/record/batch-view.ts'
import {
  append,
  checkpoint,
  contextOver,
  DATA_DIR,
  fetchBases,
  makeBatch,
  scanFolder,
  stage,
  sync,
  TOPIC,
  topicConfig,
} from '../../support/log-fixture.ts'

function faultyLog(config = topicConfig()) {
  const memory = new MemoryFileSystem()
  memory.makeFolder(DATA_DIR)
  memory.syncFolder('/')
  const files = new FaultyFileSystem(memory)
  const context = contextOver(files)
  return { memory, files, context, log: PartitionLog.create(context, { topicId: TOPIC, partition: 0, config }) }
}

/** All bytes of the folder, small files included. */
function imageOf(memory: MemoryFileSystem, log: PartitionLog): Record<string, string> {
  const image: Record<string, string> = {}
  for (const name of memory.list(log.folder)) {
    image[name] = Buffer.from(memory.contentOf(`${log.folder}/${name}`)).toString('hex')
  }
  return image
}

function stateOf(log: PartitionLog) {
  return {
    end: log.logEndOffset,
    next: log.nextOffset,
    bytes: log.bytes,
    segments: log.segmentCount,
    epochs: log.epochs.toEntries(),
    producers: log.producers.describe(),
    maxTimestampMs: log.maxTimestampMs,
  }
}

const producerBatch = (baseSequence: number, valueBytes = 100) =>
  makeBatch({ producerId: 9, baseSequence, valueBytes, timestampMs: 5000 + baseSequence })

describe('PartitionLog: no space', () => {
  for (const freeBytes of [0, 1, 61, 150, 300, 450]) {
    it(`with ${freeBytes} bytes free the group fails whole, and log, epochs, producers and files are as before`, () => {
      const { memory, files, context, log } = faultyLog(topicConfig({ segmentBytes: 400 }))
      append(log, producerBatch(0))
      const before = stateOf(log)
      const image = imageOf(memory, log)
      files.limitSpace(freeBytes)
      stage(log, producerBatch(1), 1)
      stage(log, producerBatch(2), 2)
      stage(log, producerBatch(3), 2)
      assert.equal(log.nextOffset, 4)
      assert.throws(
        () => log.writeStaged(),
        (error) => error instanceof StorageError && error.isSpace,
      )
      assert.deepEqual(stateOf(log), before)
      assert.deepEqual(imageOf(memory, log), image)
      files.heal()
      assert.equal(log.producers.decide(new BatchView().reset(producerBatch(1))).kind, 'append')
      for (let sequence = 1; sequence < 4; sequence++) append(log, producerBatch(sequence), 3)
      sync(context, log)
      assert.deepEqual(fetchBases(context, log, 0, 4)[0], 0)
      assert.deepEqual(fetchBases(context, log, 3, 4), [3])
      assert.deepEqual(log.epochs.toEntries(), [
        [0, 0],
        [3, 1],
      ])
    })
  }

  it('no room even for the folder: nothing is there, and a later append works', () => {
    const { memory, files, log } = faultyLog()
    files.inject({ on: 'makeFolder', effect: { kind: 'fail', code: 'ENOSPC' } })
    stage(log, makeBatch())
    assert.throws(() => log.writeStaged(), /ENOSPC|space/i)
    assert.deepEqual(memory.list(DATA_DIR), [])
    assert.equal(append(log, makeBatch()), 0)
  })

  it('no room for index and snapshot at a roll: the roll goes on without them', () => {
    const { files, context, log } = faultyLog()
    append(log, producerBatch(0))
    files.inject({ on: 'write', path: '.index', effect: { kind: 'fail', code: 'ENOSPC' } })
    files.inject({ on: 'write', path: '.snapshot', effect: { kind: 'fail', code: 'ENOSPC' } })
    log.roll()
    assert.equal(files.faultCount, 2)
    append(log, producerBatch(1))
    assert.deepEqual(fetchBases(context, log, 0, 2), [0])
    assert.equal(checkpoint(context, log).producerSnapshotOffset, 2)
  })
})

describe('PartitionLog: short writes', () => {
  it('a short count without an error is made whole by one more write', () => {
    for (const bytes of [1, 60, 61, 170, 172, 343]) {
      const { files, context, log } = faultyLog()
      files.inject({ on: 'write', path: '.log', effect: { kind: 'short-write', bytes } })
      stage(log, producerBatch(0))
      stage(log, producerBatch(1))
      log.writeStaged()
      assert.equal(files.faultCount, 1)
      assert.deepEqual(fetchBases(context, log, 0, 2), [0, 1])
      assert.deepEqual(fetchBases(context, log, 1, 2), [1])
    }
  })

  it('an error hidden behind a short count comes out: no space is survived', () => {
    const { memory, files, log } = faultyLog()
    append(log, producerBatch(0))
    const before = stateOf(log)
    const image = imageOf(memory, log)
    files.inject({ on: 'write', path: '.log', effect: { kind: 'short-write', bytes: 100, thenFail: 'ENOSPC' } })
    stage(log, producerBatch(1))
    assert.throws(
      () => log.writeStaged(),
      (error) => error instanceof StorageError && error.isSpace,
    )
    assert.deepEqual(stateOf(log), before)
    assert.deepEqual(imageOf(memory, log), image)
  })

  it('an error hidden behind a short count comes out: EIO is fatal, not space', () => {
    const { files, log } = faultyLog()
    files.inject({ on: 'write', path: '.log', effect: { kind: 'short-write', bytes: 100, thenFail: 'EIO' } })
    stage(log, producerBatch(0))
    assert.throws(
      () => log.writeStaged(),
      (error) => error instanceof StorageError && error.code === 'EIO' && !error.isSpace,
    )
  })

  it('a second short count is EIO: never taken for written', () => {
    const { files, log } = faultyLog()
    files.inject({ on: 'write', path: '.log', times: 2, effect: { kind: 'short-write', bytes: 50 } })
    stage(log, producerBatch(0))
    assert.throws(() => log.writeStaged(), { code: 'EIO' })
    assert.equal(log.logEndOffset, 0)
  })

  it('when cutting back fails the error is fatal, whatever caused it', () => {
    const { files, log } = faultyLog()
    append(log, producerBatch(0))
    files.inject({ on: 'write', path: '.log', effect: { kind: 'fail', code: 'ENOSPC' } })
    files.inject({ on: 'truncate', path: '.log', effect: { kind: 'fail', code: 'ENOSPC' } })
    stage(log, producerBatch(1))
    assert.throws(
      () => log.writeStaged(),
      (error) => error instanceof StorageError && !error.isSpace,
    )
  })
})

describe('PartitionLog: power cut', () => {
  it('all below the synced end is there after a cut at any point, names included', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const prng = new SeededPrng(seed)
      const { memory, context, log } = faultyLog(topicConfig({ segmentBytes: 600 }))
      const batches: Uint8Array[] = []
      let synced = 0
      const steps = 3 + prng.below(15)
      for (let step = 0; step < steps; step++) {
        const fds: number[] = []
        const end = log.beginSync(fds)
        const append = 1 + prng.below(3)
        // Group n + 1 is appended while group n syncs.
        for (let index = 0; index < append; index++) {
          const batch = makeBatch({ valueBytes: prng.below(200), producerId: 1, baseSequence: batches.length })
          stage(log, batch, step)
          batches.push(batch)
        }
        log.writeStaged()
        for (const fd of fds) context.files.fdatasync(fd)
        log.completeSync(end)
        synced = end
        assert.equal(log.syncedEndOffset, synced)
        if (prng.below(4) === 0) {
          checkpoint(context, log)
          synced = log.syncedEndOffset
        }
      }
      const after = memory.crash(prng)
      const afterContext = contextOver(after)
      if (synced === 0) continue
      const recovered = scanFolder(afterContext, log.folder, {
        logStartOffset: 0,
        logEndOffset: synced,
        producerSnapshotOffset: -1,
      })
      let offset = 0
      for (const segment of recovered.segments) {
        if (segment.baseOffset >= synced) break
        assert.equal(
          segment.baseOffset,
          offset,
          `seed ${seed}: a segment is missing or short before ${segment.baseOffset}`,
        )
        const content = after.contentOf(`${log.folder}/${String(segment.baseOffset).padStart(20, '0')}.log`)
        for (let at = 0; at < content.length && offset < synced; offset++) {
          const batch = batches[offset]!
          assert.deepEqual(Buffer.from(content.subarray(at, at + batch.length)), Buffer.from(batch), `seed ${seed}`)
          at += batch.length
        }
      }
      assert.equal(offset, synced, `seed ${seed}: ${synced} batches were synced`)
      const wantedEpochs = log.epochs.toEntries().filter(([, start]) => start < log.recoveryPoint)
      assert.deepEqual(recovered.leaderEpochs.slice(0, wantedEpochs.length), wantedEpochs, `seed ${seed}`)
    }
  })
})
