/** What a crash of the simulated disk may leave, and that it leaves all of it now and then. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { SeededPrng } from '../../../src/base/prng.ts'
import { recordTrace } from '../../../src/io/disk-trace.ts'
import type { Fd } from '../../../src/io/file-system.ts'
import { SECTOR_BYTES } from '../../../src/io/memory-file.ts'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'

const RUNS = Number(process.env.MILLRACE_PROPERTY_RUNS ?? 300)

type FileStep =
  | { kind: 'write'; position: number; length: number }
  | { kind: 'truncate'; bytes: number }
  | { kind: 'allocate'; bytes: number }
  | { kind: 'sync' }

const FILE_BYTES_MAX = 12 * SECTOR_BYTES
const filePosition = fc.oneof(
  fc.nat(FILE_BYTES_MAX),
  fc.nat(12).map((sector) => sector * SECTOR_BYTES),
)
const fileStep = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      position: filePosition,
      length: fc.integer({ min: 1, max: 4 * SECTOR_BYTES }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('truncate' as const), bytes: filePosition }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('allocate' as const), bytes: filePosition }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'sync' as const }) },
)

/** The plainest file there is: the oracle's. */
function applied(before: Uint8Array, step: FileStep, fill: number): Uint8Array {
  if (step.kind === 'sync') return before
  const sizes = {
    write: () => Math.max(before.length, (step as { position: number }).position + (step as { length: number }).length),
    truncate: () => (step as { bytes: number }).bytes,
    allocate: () => Math.max(before.length, (step as { bytes: number }).bytes),
  }
  const next = new Uint8Array(sizes[step.kind]())
  next.set(before.subarray(0, next.length))
  if (step.kind === 'write') next.fill(fill, step.position, step.position + step.length)
  return next
}

function perform(disk: MemoryFileSystem, fd: Fd, step: FileStep, fill: number): void {
  if (step.kind === 'sync') disk.fdatasync(fd)
  else if (step.kind === 'write') disk.write(fd, [new Uint8Array(step.length).fill(fill)], step.position)
  else disk[step.kind](fd, step.bytes)
}

const byteAt = (bytes: Uint8Array, index: number): number => bytes[index] ?? 0

/** Each sector is as after some step since the last sync; the size is, too. */
function assertLegal(found: Uint8Array, versions: readonly Uint8Array[]): void {
  assert.ok(
    versions.some((version) => version.length === found.length),
    `size ${found.length} is none of ${versions.map((version) => version.length)}`,
  )
  for (let from = 0; from < found.length; from += SECTOR_BYTES) {
    const to = Math.min(from + SECTOR_BYTES, found.length)
    const equalsVersion = (version: Uint8Array): boolean => {
      for (let index = from; index < to; index++) if (found[index] !== byteAt(version, index)) return false
      return true
    }
    if (versions.some(equalsVersion)) continue
    // A durable shrink zeroes the rest of its last sector, whatever version the bytes before the cut are.
    const cut = versions.find((version) => version.length > from && version.length < from + SECTOR_BYTES)
    assert.ok(cut !== undefined, `sector at ${from} is torn or from nowhere`)
    for (let index = from; index < to; index++)
      assert.ok(
        versions.some((version) => byteAt(version, index) === found[index]),
        `byte ${index} is from nowhere`,
      )
  }
}

/** A disk with a durable, empty file /a, opened. */
function diskWithFile(): { disk: MemoryFileSystem; fd: Fd } {
  const disk = new MemoryFileSystem()
  const fd = disk.open('/a', 'create-new')
  disk.syncFolder('/')
  return { disk, fd }
}

function crashes(disk: MemoryFileSystem, count = 200): MemoryFileSystem[] {
  return Array.from({ length: count }, (_, seed) => disk.crash(new SeededPrng(seed)))
}

const textOf = (disk: MemoryFileSystem, path: string): string | undefined =>
  disk.stat(path).kind === 'absent' ? undefined : new TextDecoder().decode(disk.contentOf(path))

function put(disk: MemoryFileSystem, path: string, text: string): void {
  const fd = disk.open(path, 'create')
  disk.write(fd, [new TextEncoder().encode(text)], 0)
  disk.fsync(fd)
  disk.close(fd)
}

function stateOf(disk: MemoryFileSystem): string {
  return JSON.stringify(disk.filePaths().map((path) => [path, Buffer.from(disk.contentOf(path)).toString('base64')]))
}

describe('a power cut and the bytes of a file', () => {
  test('property: every sector and the size are as after some operation since the last sync', () => {
    fc.assert(
      fc.property(fc.array(fileStep, { maxLength: 25 }), fc.nat(), (steps, seed) => {
        const { disk, fd } = diskWithFile()
        let versions: Uint8Array[] = [new Uint8Array(0)]
        for (const [index, step] of steps.entries()) {
          perform(disk, fd, step, index + 1)
          const latest = applied(versions.at(-1)!, step, index + 1)
          versions = step.kind === 'sync' ? [latest] : [...versions, latest]
          assert.deepEqual(disk.contentOf('/a'), latest)
        }
        const prng = new SeededPrng(seed)
        for (let image = 0; image < 8; image++) assertLegal(disk.crash(prng).contentOf('/a'), versions)
        assertLegal(disk.crash(prng, { kind: 'power', survival: 'none' }).contentOf('/a'), versions.slice(0, 1))
        assertLegal(disk.crash(prng, { kind: 'power', survival: 'all' }).contentOf('/a'), versions.slice(-1))
        assertLegal(disk.crash(prng, { kind: 'kill' }).contentOf('/a'), versions.slice(-1))
      }),
      { numRuns: RUNS },
    )
  })

  test('property: bytes before the last sync that nothing touched since always survive', () => {
    fc.assert(
      fc.property(fc.array(fileStep, { maxLength: 12 }), fc.nat(), (steps, seed) => {
        const { disk, fd } = diskWithFile()
        disk.write(fd, [new Uint8Array(FILE_BYTES_MAX).fill(0xaa)], 0)
        disk.fdatasync(fd)
        let intactBytes = FILE_BYTES_MAX
        for (const step of steps.filter((one) => one.kind !== 'sync')) {
          perform(disk, fd, step, 1)
          if (step.kind === 'write') intactBytes = Math.min(intactBytes, step.position)
          if (step.kind === 'truncate') intactBytes = Math.min(intactBytes, step.bytes)
        }
        const left = disk.crash(new SeededPrng(seed)).contentOf('/a')
        assert.ok(left.length >= intactBytes)
        assert.ok(left.subarray(0, intactBytes).every((byte) => byte === 0xaa))
      }),
      { numRuns: RUNS },
    )
  })

  test('reaches them all: nothing, everything, a size without data, a torn write, a hole before newer data', () => {
    const { disk, fd } = diskWithFile()
    disk.write(fd, [new Uint8Array(4 * SECTOR_BYTES).fill(1)], 0)
    disk.write(fd, [new Uint8Array(4 * SECTOR_BYTES).fill(2)], 4 * SECTOR_BYTES)
    const seen = new Set<string>()
    for (const image of crashes(disk)) {
      const left = image.contentOf('/a')
      const sectors = [...left].filter((_, index) => index % SECTOR_BYTES === 0).join('')
      seen.add(sectors)
    }
    assert.ok(seen.has(''), 'nothing survived')
    assert.ok(seen.has('11112222'), 'everything survived')
    assert.ok(
      [...seen].some((sectors) => sectors.endsWith('0')),
      'size without data',
    )
    assert.ok(
      [...seen].some((sectors) => /^1+0/.test(sectors)),
      'torn write',
    )
    assert.ok(
      [...seen].some((sectors) => sectors.startsWith('0') && sectors.includes('2')),
      'hole before newer data',
    )
  })

  test('within one sector a later write never survives without the earlier one', () => {
    const { disk, fd } = diskWithFile()
    disk.allocate(fd, SECTOR_BYTES)
    disk.fdatasync(fd)
    disk.write(fd, [Uint8Array.of(1)], 0)
    disk.write(fd, [Uint8Array.of(2)], 100)
    const seen = new Set<string>()
    for (const image of crashes(disk)) {
      const left = image.contentOf('/a')
      seen.add(`${left[0]}${left[100]}`)
    }
    assert.deepEqual([...seen].sort(), ['00', '10', '12'])
  })

  test('a lost shrink takes with it what was written into the freed range', () => {
    const { disk, fd } = diskWithFile()
    disk.write(fd, [new Uint8Array(4 * SECTOR_BYTES).fill(1)], 0)
    disk.fdatasync(fd)
    disk.truncate(fd, SECTOR_BYTES)
    disk.write(fd, [new Uint8Array(SECTOR_BYTES).fill(2)], 2 * SECTOR_BYTES)
    const seen = new Set<string>()
    for (const image of crashes(disk)) {
      const left = image.contentOf('/a')
      seen.add([...left].filter((_, index) => index % SECTOR_BYTES === 0).join(''))
    }
    assert.deepEqual([...seen].sort(), ['1', '100', '102', '1111'])
  })

  test('a kill keeps everything, and every descriptor is gone', () => {
    const { disk, fd } = diskWithFile()
    disk.write(fd, [Uint8Array.of(1, 2, 3)], 0)
    const left = disk.crash(new SeededPrng(1), { kind: 'kill' })
    assert.deepEqual([...left.contentOf('/a')], [1, 2, 3])
    assert.throws(() => left.sizeOf(fd))
    const lost = left.crash(new SeededPrng(1), { kind: 'power', survival: 'none' })
    assert.equal(lost.contentOf('/a').length, 0, 'a kill does not make anything durable')
  })
})

describe('the kernel writes back by itself', () => {
  test('of much unsynced data the oldest is on the device, in order', () => {
    const { disk, fd } = diskWithFile()
    const mebibyte = new Uint8Array(1024 * 1024)
    for (let index = 0; index < 70; index++) disk.write(fd, [mebibyte.fill(index + 1)], index * mebibyte.length)
    const left = disk.crash(new SeededPrng(1), { kind: 'power', survival: 'none' }).contentOf('/a')
    assert.equal(left.length, 6 * mebibyte.length)
    for (let index = 0; index < 6; index++) assert.equal(left[index * mebibyte.length], index + 1)
  })
})

describe('a power cut and names', () => {
  test('a file whose folder was not synced may vanish, synced bytes or not; afterwards it never does', () => {
    const disk = new MemoryFileSystem()
    put(disk, '/a', 'synced')
    const before = new Set(crashes(disk).map((image) => textOf(image, '/a')))
    assert.deepEqual(before, new Set([undefined, 'synced']))
    const root = disk.open('/', 'read')
    disk.fsync(root)
    assert.deepEqual(new Set(crashes(disk).map((image) => textOf(image, '/a'))), new Set(['synced']))
  })

  test('a folder that vanishes takes its synced entries with it', () => {
    const disk = new MemoryFileSystem()
    disk.makeFolder('/f')
    put(disk, '/f/a', 'x')
    disk.syncFolder('/f')
    const seen = new Set(crashes(disk).map((image) => image.filePaths().join()))
    assert.deepEqual(seen, new Set(['', '/f/a']))
  })

  test('rename over a file: old or new, never neither, never both names for the new one', () => {
    const disk = new MemoryFileSystem()
    put(disk, '/c', 'old')
    put(disk, '/c.tmp', 'new')
    disk.syncFolder('/')
    disk.rename('/c.tmp', '/c')
    const states = new Set(crashes(disk).map((image) => `${textOf(image, '/c')} ${textOf(image, '/c.tmp')}`))
    assert.deepEqual(states, new Set(['old new', 'new undefined']))
    disk.syncFolder('/')
    assert.deepEqual(
      crashes(disk, 20).map((image) => textOf(image, '/c')),
      new Array(20).fill('new'),
    )
  })

  test('rename before fsync: the new name may stand for a file without its bytes', () => {
    const disk = new MemoryFileSystem()
    put(disk, '/c', 'old')
    disk.syncFolder('/')
    const fd = disk.open('/c.tmp', 'create')
    disk.write(fd, [new TextEncoder().encode('new')], 0)
    disk.rename('/c.tmp', '/c')
    const states = new Set(crashes(disk).map((image) => textOf(image, '/c')))
    assert.deepEqual(states, new Set(['old', 'new', '', '\0\0\0']))
  })

  test('operations on one name keep their order', () => {
    const disk = new MemoryFileSystem()
    put(disk, '/a', 'one')
    disk.remove('/a')
    put(disk, '/a', 'two')
    disk.rename('/a', '/b')
    const states = new Set(crashes(disk, 600).map((image) => `${textOf(image, '/a')} ${textOf(image, '/b')}`))
    assert.deepEqual(
      states,
      new Set(['undefined undefined', 'one undefined', 'two undefined', 'undefined two']),
      'create, remove, create, rename: each prefix, nothing else',
    )
  })

  test('a new file under the name of one moved away never survives without the move', () => {
    const disk = new MemoryFileSystem()
    put(disk, '/a', 'one')
    disk.syncFolder('/')
    disk.rename('/a', '/b')
    put(disk, '/a', 'two')
    const states = new Set(crashes(disk).map((image) => `${textOf(image, '/a')} ${textOf(image, '/b')}`))
    assert.deepEqual(states, new Set(['one undefined', 'undefined one', 'two one']))
  })

  test('independent names are kept or lost independently', () => {
    const disk = new MemoryFileSystem()
    put(disk, '/a', '')
    put(disk, '/b', '')
    const states = new Set(crashes(disk).map((image) => image.filePaths().join()))
    assert.deepEqual(states, new Set(['', '/a', '/b', '/a,/b']))
  })

  test('a removed file may come back, with what was synced, until the folder is', () => {
    const disk = new MemoryFileSystem()
    put(disk, '/a', 'back')
    disk.syncFolder('/')
    disk.remove('/a')
    assert.deepEqual(new Set(crashes(disk).map((image) => textOf(image, '/a'))), new Set(['back', undefined]))
    disk.syncFolder('/')
    assert.deepEqual(new Set(crashes(disk).map((image) => textOf(image, '/a'))), new Set([undefined]))
  })

  test('a move between folders is one operation: syncing either folder makes both sides durable', () => {
    for (const synced of ['/from', '/to']) {
      const disk = new MemoryFileSystem()
      for (const folder of ['/from', '/to']) disk.makeFolder(folder)
      disk.syncFolder('/')
      put(disk, '/from/a', 'x')
      disk.rename('/from/a', '/to/a')
      assert.deepEqual(
        new Set(crashes(disk).map((image) => image.filePaths().join())),
        new Set(['', '/from/a', '/to/a']),
      )
      disk.syncFolder(synced)
      assert.deepEqual(new Set(crashes(disk).map((image) => image.filePaths().join())), new Set(['/to/a']))
    }
  })

  test('what a durable name or an open descriptor can bring back is not swept away', () => {
    const disk = new MemoryFileSystem()
    put(disk, '/kept', 'kept')
    disk.syncFolder('/')
    disk.remove('/kept')
    const open = disk.open('/open', 'create')
    disk.write(open, [Uint8Array.of(5)], 0)
    disk.remove('/open')
    disk.makeFolder('/many')
    for (let index = 0; index < 5000; index++) {
      put(disk, '/many/x', String(index))
      disk.remove('/many/x')
      disk.syncFolder('/many')
    }
    assert.equal(disk.sizeOf(open), 1)
    assert.equal(textOf(disk.crash(new SeededPrng(1), { kind: 'power', survival: 'none' }), '/kept'), 'kept')
  })
})

describe('clones, seeds and traces', () => {
  type NameStep = { kind: 'create' } | { kind: 'remove' } | { kind: 'rename' } | { kind: 'syncFolder' }
  type DiskStep = { file: number; step: FileStep | NameStep }
  const nameKinds = ['create', 'remove', 'rename', 'syncFolder'] as const
  const nameStep: fc.Arbitrary<NameStep> = fc.constantFrom(...nameKinds.map((kind) => ({ kind })))
  const diskStep: fc.Arbitrary<DiskStep> = fc.record({ file: fc.nat(3), step: fc.oneof(fileStep, nameStep) })

  function run(disk: MemoryFileSystem, steps: readonly DiskStep[]): void {
    for (const [index, { file, step }] of steps.entries()) {
      const path = `/f${file}`
      const isThere = disk.stat(path).kind === 'file'
      if (step.kind === 'syncFolder') disk.syncFolder('/')
      else if (step.kind === 'create') disk.close(disk.open(path, 'create'))
      else if (!isThere) continue
      else if (step.kind === 'remove') disk.remove(path)
      else if (step.kind === 'rename') disk.rename(path, `/f${(file + 1) % 4}`)
      else {
        const fd = disk.open(path, 'write')
        perform(disk, fd, step, index + 1)
        disk.close(fd)
      }
    }
  }
  const crashStates = (disk: MemoryFileSystem): string[] => crashes(disk, 5).map(stateOf)

  test('property: a clone and its origin go their own ways', () => {
    const steps = fc.array(diskStep, { maxLength: 20 })
    fc.assert(
      fc.property(steps, steps, steps, (before, mine, yours) => {
        const disk = new MemoryFileSystem()
        run(disk, before)
        const clone = disk.clone()
        run(disk, mine)
        run(clone, yours)
        for (const [actual, tail] of [
          [disk, mine],
          [clone, yours],
        ] as const) {
          const fresh = new MemoryFileSystem()
          run(fresh, before)
          run(fresh, tail)
          assert.equal(stateOf(actual), stateOf(fresh))
          assert.deepEqual(crashStates(actual), crashStates(fresh))
        }
      }),
      { numRuns: RUNS },
    )
  })

  test('property: crashing changes nothing, and a seed gives the same disk again', () => {
    fc.assert(
      fc.property(fc.array(diskStep, { maxLength: 30 }), (steps) => {
        const disk = new MemoryFileSystem()
        run(disk, steps)
        const before = stateOf(disk)
        const once = crashStates(disk)
        for (const image of crashes(disk, 3)) run(image, steps)
        assert.equal(stateOf(disk), before)
        assert.deepEqual(crashStates(disk), once)
      }),
      { numRuns: RUNS },
    )
  })

  test('property: replaying a trace gives the disk, and its crashes, after each operation', () => {
    fc.assert(
      fc.property(fc.array(diskStep, { maxLength: 20 }), fc.array(diskStep, { maxLength: 20 }), (before, steps) => {
        const disk = new MemoryFileSystem()
        run(disk, before)
        const trace = recordTrace(disk)
        const marked: string[] = []
        for (const step of steps) {
          run(disk, [step])
          marked.push(stateOf(disk))
          trace.mark(marked.length - 1)
        }
        trace.stop()
        const expected = crashStates(disk)
        run(disk, before)
        let last: MemoryFileSystem | undefined
        for (const { operation, disk: replayed, mark } of trace.replay()) {
          last = replayed
          if (operation.kind === 'mark') assert.equal(stateOf(replayed), marked[mark as number])
        }
        if (last !== undefined) assert.deepEqual(crashStates(last), expected)
      }),
      { numRuns: RUNS },
    )
  })

  test('counters count', () => {
    const { disk, fd } = diskWithFile()
    disk.write(fd, [new Uint8Array(3), new Uint8Array(4)], 0)
    disk.fdatasync(fd)
    disk.fsync(fd)
    disk.read(fd, new Uint8Array(5), 5)
    assert.deepEqual(disk.counters, {
      opens: 1,
      reads: 1,
      bytesRead: 2,
      writes: 1,
      bytesWritten: 7,
      fileSyncs: 2,
      folderSyncs: 1,
    })
  })

  test('times of modification come from the injected clock', () => {
    let nowMs = 1000
    const disk = new MemoryFileSystem({ clock: { nowMs: () => nowMs } })
    const fd = disk.open('/a', 'create')
    nowMs = 2000
    disk.write(fd, [Uint8Array.of(1)], 0)
    assert.deepEqual(disk.stat('/a'), { kind: 'file', bytes: 1, modifiedMs: 2000 })
  })
})
