/** Aborted transactions of a log: files that are lost, torn or find no room, what a lookup reads, and what retention may take. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { StorageError } from '../../../src/io/file-system.ts'
import type { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { ABORTED_PER_SEGMENT_MAX, AbortedIndex } from '../../../src/log/aborted-index.ts'
import { cutTo } from '../../../src/log/aborted-transactions.ts'
import { segmentFileName } from '../../../src/log/segment.ts'
import { BatchView } from '../../../src/record/batch-view.ts'
import { stage } from '../../support/log-fixture.ts'
import { TransactionFixture } from '../../support/transaction-log-fixture.ts'

const ALL = Number.POSITIVE_INFINITY

/** Segments of one aborted transaction each. */
function withAborted(segments: number): TransactionFixture {
  const fixture = new TransactionFixture({ segmentBytes: 1 << 20 })
  for (let index = 0; index < segments; index++) {
    fixture.append(1)
    fixture.append(2)
    fixture.end(1, index % 2 === 0 ? 'ABORT' : 'COMMIT')
    fixture.end(2, 'ABORT')
    fixture.log.roll()
  }
  fixture.checkpoint()
  return fixture
}

function pathOf(fixture: TransactionFixture, baseOffset: number): string {
  return `${fixture.log.folder}/${segmentFileName(baseOffset, '.txnindex')}`
}

function readsOf(files: MemoryFileSystem, run: () => void): string[] {
  const opened: string[] = []
  const { open } = files
  files.open = (path, mode) => {
    opened.push(path)
    return open.call(files, path, mode)
  }
  try {
    run()
  } finally {
    files.open = open
  }
  return opened.filter((path) => path.endsWith('.txnindex'))
}

/** True when there was no descriptor for it; any other error is thrown. */
function failsForNow(run: () => void): boolean {
  try {
    run()
    return false
  } catch (error) {
    if (error instanceof StorageError && error.isOpenLimit) return true
    throw error
  }
}

describe('aborted transactions of a log', () => {
  it('a closed segment has its file from the first aborted one on, be it empty; before, there is none', () => {
    const fixture = new TransactionFixture({ segmentBytes: 1 << 20 })
    fixture.append(1)
    fixture.end(1, 'COMMIT')
    fixture.log.roll()
    fixture.append(1)
    fixture.end(1, 'ABORT')
    fixture.log.roll()
    fixture.append(1)
    fixture.end(1, 'COMMIT')
    fixture.log.roll()
    const kinds = [0, 2, 4].map((base) => fixture.files.stat(pathOf(fixture, base)).kind)
    assert.deepEqual(kinds, ['absent', 'file', 'file'])
  })

  it('a lookup reads the files of its range, not those of the whole log', () => {
    const fixture = withAborted(20)
    assert.ok(fixture.stopAndStart())
    const reads = readsOf(fixture.files, () => fixture.checkAborted(0, 8))
    assert.deepEqual(
      reads,
      [0, 4].map((base) => pathOf(fixture, base)),
    )
    assert.deepEqual(
      readsOf(fixture.files, () => fixture.checkAborted(1, 3)),
      [],
      'they are kept',
    )
  })

  it('a lookup goes on to the marker, however far it is', () => {
    const fixture = new TransactionFixture({ segmentBytes: 1 << 20 })
    fixture.append(1)
    for (let index = 0; index < 5; index++) {
      fixture.append(2)
      fixture.end(2, 'ABORT')
      fixture.log.roll()
    }
    fixture.end(1, 'ABORT')
    fixture.log.roll()
    fixture.stopAndStart()
    const { entries } = fixture.log.abortedIn(0, 1, ALL)
    assert.deepEqual(entries, [{ producerId: 1, firstOffset: 0, lastOffset: 11, lastStableOffset: 12 }])
  })

  it('too many: the list says how far it is whole, and always further than where it begins', () => {
    const found = [5, 1, 3, 9].map((firstOffset) => ({
      ...{ producerId: firstOffset, firstOffset, lastOffset: 20, lastStableOffset: 21 },
    }))
    const firsts = (from: number, countMax: number) => {
      const { entries, endOffset } = cutTo([...found], { from, end: 15, countMax })
      return [entries.map(({ firstOffset }) => firstOffset), endOffset]
    }
    assert.deepEqual(firsts(0, 9), [[1, 3, 5, 9], 15])
    assert.deepEqual(firsts(0, 2), [[1, 3], 5])
    assert.deepEqual(firsts(5, 1), [[1, 3, 5], 9])
    assert.deepEqual(firsts(0, 0), [[], 1])
  })

  it('a file that went bad while the partition served is made again, and so is each one that recovery finds missing', () => {
    for (const restart of [false, true]) {
      const fixture = withAborted(6)
      fixture.stopAndStart()
      fixture.files.remove(pathOf(fixture, 4))
      fixture.files.damage(pathOf(fixture, 12), 30, new Uint8Array([255]))
      if (restart) {
        const { notes } = fixture.restart()
        assert.match(notes.join('\n'), /aborted transactions of segment 4: it is missing: rebuilt from the log/)
      }
      fixture.checkAborted(0, fixture.log.logEndOffset)
      fixture.checkpoint()
      assert.equal(fixture.files.stat(pathOf(fixture, 4)).kind, 'file')
      assert.deepEqual(fixture.restart().notes, [])
      fixture.checkAborted(0, fixture.log.logEndOffset)
    }
  })

  it('a place on the disk that cannot be read is no fault of the shard: the file is made again', () => {
    const fixture = withAborted(3)
    fixture.stopAndStart()
    fixture.faulty.inject({ on: 'read', path: '04.txnindex', effect: { kind: 'fail', code: 'EIO' } })
    fixture.checkAborted(0, fixture.log.logEndOffset)
    fixture.checkAborted(4, fixture.log.logEndOffset)
  })

  it('the file of another log of that name, or one that is older than the snapshot, is not believed', () => {
    const fixture = withAborted(3)
    const other = new AbortedIndex()
    other.stableOffset = 4
    const image = other.encode({ baseOffset: 0, coveredEnd: 4, coveredBytes: 77 })
    const fd = fixture.files.open(pathOf(fixture, 0), 'create')
    fixture.files.truncate(fd, 0)
    fixture.files.write(fd, [image], 0)
    fixture.files.close(fd)
    assert.match(fixture.restart().notes.join('\n'), /segment 0 covers \[0, 4\), 77 bytes: it is not of this log/)
    fixture.checkAborted(0, fixture.log.logEndOffset)
  })

  it('no room for a file: no snapshot relies on it, recovery replays; once there is room, it is written', () => {
    const fixture = new TransactionFixture({ segmentBytes: 1 << 20 })
    fixture.append(1)
    fixture.end(1, 'ABORT')
    fixture.faulty.inject({ on: 'write', path: '.txnindex', times: ALL, effect: { kind: 'fail', code: 'ENOSPC' } })
    fixture.log.roll()
    fixture.append(1)
    fixture.end(1, 'ABORT')
    fixture.checkpoint()
    assert.equal(fixture.log.checkpoint().producerSnapshotOffset, -1)
    fixture.checkAborted(0, 4)
    assert.equal(fixture.log.describeClean(), undefined)
    fixture.restart()
    fixture.faulty.heal()
    fixture.checkAborted(0, 4)
    fixture.append(1)
    fixture.end(1, 'ABORT')
    fixture.log.roll()
    fixture.checkpoint()
    assert.equal(fixture.log.checkpoint().producerSnapshotOffset, 6)
    fixture.restart()
    fixture.checkAborted(0, 6)
  })

  it('a file that is written again and finds no room stays as the snapshot relies on it', () => {
    const fixture = new TransactionFixture({ segmentBytes: 1 << 20 })
    for (const isFirst of [true, false]) {
      fixture.append(1)
      fixture.end(1, 'ABORT')
      if (isFirst) fixture.checkpoint()
    }
    fixture.faulty.inject({
      on: 'write',
      path: '.txnindex',
      effect: { kind: 'short-write', bytes: 20, thenFail: 'ENOSPC' },
    })
    fixture.log.writeDerived()
    assert.equal(fixture.faulty.faultCount, 1)
    assert.deepEqual(fixture.restart().notes, [])
    fixture.checkAborted(0, 4)
  })

  for (const [times, type] of [
    [1, 'ABORT'],
    [ALL, 'ABORT'],
    [1, 'COMMIT'],
    [ALL, 'COMMIT'],
  ] as const)
    it(`no descriptor at a roll with ${type}, ${times === 1 ? 'once' : 'from then on'}: nothing is written, or all is in the log`, () => {
      let outcomes = ''
      for (let skip = 0, fired = true; fired; skip++) {
        const fixture = new TransactionFixture({ segmentBytes: 400 })
        fixture.append(1)
        fixture.end(1, 'ABORT')
        fixture.append(2)
        fixture.checkpoint()
        fixture.restart()
        const end = fixture.log.logEndOffset
        const batch = fixture.data(3, [{ key: 'k', value: 'v'.repeat(300) }])
        const marker = fixture.marker(2, type)
        const later = fixture.data(4, [{ key: 'k', value: 'v'.repeat(300) }])
        const before = fixture.faulty.faultCount
        fixture.faulty.inject({ on: 'open', skip, times, effect: { kind: 'fail', code: 'EMFILE' } })
        const write = () => {
          for (const bytes of [batch, marker, later]) stage(fixture.log, bytes)
          fixture.log.writeStaged()
        }
        const isWritten = !failsForNow(write)
        outcomes += isWritten ? 'w' : '-'
        fired = fixture.faulty.faultCount > before
        fixture.faulty.heal()
        if (!isWritten) {
          fixture.log.dropStaged()
          assert.deepEqual([fixture.log.logEndOffset, fixture.log.nextOffset], [end, end], `open ${skip}`)
          write()
        }
        assert.deepEqual([fixture.log.logEndOffset, fixture.log.nextOffset], [end + 3, end + 3], `open ${skip}`)
        fixture.note(batch)
        fixture.note(marker, { marker: type })
        fixture.note(later)
        fixture.checkAborted(0, end + 3)
        for (const check of [() => fixture.checkpoint(), () => void fixture.restart()]) {
          check()
          fixture.checkAborted(0, end + 3)
          fixture.checkOpen(end + 3)
        }
      }
      assert.match(outcomes, /^-+w+$/)
    })

  it('retention stops at the first open transaction; when it has ended, its records may go', () => {
    const fixture = new TransactionFixture({ segmentBytes: 1 << 20, retentionMs: 1000 })
    const { log, clock } = fixture
    const retain = () => log.applyRetention({ nowMs: clock.ms, highWatermark: log.logEndOffset }).segments
    for (const isOpen of [false, true, false]) {
      fixture.append(isOpen ? 1 : 9, [{ key: 'k', value: 'v' }], isOpen)
      log.roll()
    }
    clock.ms += 10_000_000
    assert.equal(retain(), 1)
    assert.equal(log.logStartOffset, 1)
    fixture.end(1, 'ABORT')
    log.roll()
    clock.ms += 10_000_000
    assert.equal(retain(), 3)
  })

  it('retention that finds no descriptor to close the active segment with is put off', () => {
    const fixture = new TransactionFixture({ segmentBytes: 1 << 20, retentionMs: 1000 })
    fixture.append(1)
    fixture.end(1, 'ABORT')
    fixture.checkpoint()
    fixture.restart()
    const { log, clock, faulty } = fixture
    const retain = () => log.applyRetention({ nowMs: clock.ms, highWatermark: log.logEndOffset }).segments
    clock.ms += 10_000_000
    faulty.inject({ on: 'open', path: '.txnindex', effect: { kind: 'fail', code: 'EMFILE' } })
    assert.deepEqual([retain(), log.logStartOffset, log.segmentCount], [0, 0, 1])
    assert.equal(faulty.faultCount, 1)
    assert.deepEqual([retain(), log.logStartOffset, log.segmentCount], [1, 2, 0])
  })

  it('a transaction whose marker went with the log start is not open after a restart, though the snapshot is older', () => {
    const fixture = new TransactionFixture({ segmentBytes: 1 << 20 })
    fixture.append(1)
    fixture.checkpoint()
    fixture.faulty.inject({ on: 'write', path: '.snapshot', times: ALL, effect: { kind: 'fail', code: 'ENOSPC' } })
    fixture.end(1, 'COMMIT')
    fixture.log.roll()
    fixture.append(9, [{ key: 'k', value: 'v' }], false)
    fixture.log.advanceLogStart(2)
    for (let count = 0; count < 2; count++) fixture.checkpoint()
    assert.equal(fixture.log.checkpoint().producerSnapshotOffset, 1)
    fixture.restart()
    assert.deepEqual(fixture.log.transactions.toEntries(), [])
  })

  it('a clean stop without room for the producer snapshot vouches for nothing: the next start looks', () => {
    const fixture = new TransactionFixture()
    fixture.append(9, [{ key: 'k', value: 'v' }], false)
    fixture.checkpoint()
    fixture.append(1)
    fixture.faulty.inject({ on: 'write', path: '.snapshot', times: ALL, effect: { kind: 'fail', code: 'ENOSPC' } })
    assert.equal(fixture.stopAndStart(), false)
    fixture.restart()
    fixture.checkOpen(2)
  })

  it('a registration is kept while the partition is idle, though its producers are given back', () => {
    const fixture = new TransactionFixture()
    fixture.append(9, [{ key: 'k', value: 'v' }], false)
    fixture.log.producers.register(1, 0)
    fixture.log.writeDerived()
    fixture.checkpoint()
    assert.ok(fixture.log.releaseIdle())
    const batch = new BatchView().reset(fixture.data(1, [{ key: 'k', value: 'v' }]))
    assert.equal(fixture.log.producers.decide(batch).kind, 'append')
  })

  it('a segment is rolled when its file has as many entries as it may', () => {
    const fixture = new TransactionFixture({ segmentBytes: 1 << 30 })
    const data = fixture.data(1, [{ key: null, value: null }])
    const marker = fixture.marker(1, 'ABORT', true)
    for (let count = 0; count < ABORTED_PER_SEGMENT_MAX + 1; ) {
      for (let group = 0; group < 256; group++, count++) {
        const bytes = data.slice()
        new BatchView().reset(bytes).stampProducer({ producerId: 1, producerEpoch: 0, baseSequence: count })
        stage(fixture.log, bytes)
        stage(fixture.log, marker.slice())
      }
      fixture.log.writeStaged()
    }
    assert.equal(fixture.log.segmentCount, 2)
    const [closed] = fixture.log.closedSegments()
    assert.equal(closed!.nextOffset, 2 * ABORTED_PER_SEGMENT_MAX)
    assert.equal(fixture.log.abortedIn(closed!.nextOffset - 2, fixture.log.logEndOffset, ALL).entries.length, 257)
  })

  it('an idle partition knows what is open without a look at its files', () => {
    const fixture = new TransactionFixture()
    fixture.append(9, [{ key: 'k', value: 'v' }], false)
    fixture.append(1)
    assert.ok(fixture.stopAndStart())
    const opened: string[] = []
    const { open } = fixture.files
    fixture.files.open = (path, mode) => {
      opened.push(path)
      return open.call(fixture.files, path, mode)
    }
    assert.equal(fixture.log.transactions.firstUnstableOffset(2), 1)
    assert.deepEqual(opened, [])
    fixture.files.open = open
    fixture.log.expireProducers(fixture.clock.ms + 1)
    assert.deepEqual(
      fixture.log.producers.describe().map(({ producerId }) => producerId),
      [1, 9],
    )
    fixture.log.expireProducers(fixture.clock.ms + 1)
    assert.deepEqual(
      fixture.log.producers.describe().map(({ producerId }) => producerId),
      [1],
    )
    fixture.end(1, 'COMMIT')
    assert.equal(fixture.log.transactions.count, 0)
  })
})
