/** Aborted transactions of a log: files that are lost, torn or find no room, what a lookup reads, and what retention may take. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { AbortedIndex } from '../../../src/log/aborted-index.ts'
import { cutTo } from '../../../src/log/aborted-transactions.ts'
import { segmentFileName } from '../../../src/log/segment.ts'
import { TransactionFixture } from '../../support/transaction-fixture.ts'

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
