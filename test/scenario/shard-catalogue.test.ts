/** What a clean stop writes down for the next start, and when it is not believed. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { MemoryFileSystem } from '../../src/io/memory-file-system.ts'
import { decodeCatalogue, encodeCatalogue } from '../../src/log/catalogue-file.ts'
import { recoverDataDir } from '../../src/log/data-dir-recovery.ts'
import type { RecoveredPartition } from '../../src/log/recovered-partition.ts'
import { partitionFolder } from '../../src/model/ids.ts'
import { ControlOperation } from '../../src/ring/control-messages.ts'
import { DATA_DIR, makeBatch, TOPIC } from '../support/log-fixture.ts'
import { batchesOf, ShardFixture } from '../support/shard-fixture.ts'

const PARTITIONS = 20
const CATALOGUE = `${DATA_DIR}/state/1-0.catalogue`

/** A shard that was stopped in order, with a record, a producer and two segments in each partition. */
function stopped(): MemoryFileSystem {
  const files = new MemoryFileSystem()
  const shard = new ShardFixture({ files })
  shard.open(PARTITIONS, { segmentBytes: 200 })
  for (let partitionRef = 0; partitionRef < PARTITIONS; partitionRef++)
    for (let sequence = 0; sequence < 2; sequence++)
      shard.produce(makeBatch({ valueBytes: 150, producerId: 7, baseSequence: sequence }), { partitionRef })
  assert.equal(shard.control(ControlOperation.SHUTDOWN, {}).error, 'NONE')
  return files
}

/** Paths below partition folders that a recovery opens or lists. */
function watched(files: MemoryFileSystem): { files: MemoryFileSystem; seen: string[] } {
  const seen: string[] = []
  const proxy = new Proxy(files, {
    get(target, name) {
      const member = Reflect.get(target, name, target) as unknown
      if (typeof member !== 'function') return member
      return (...args: unknown[]) => {
        if ((name === 'open' || name === 'list') && String(args[0]).includes(TOPIC)) seen.push(String(args[0]))
        return (member as (...args: unknown[]) => unknown).apply(target, args)
      }
    },
  })
  return { files: proxy, seen }
}

function recover(files: MemoryFileSystem, previousRun: 'clean' | 'process-died' = 'clean') {
  return recoverDataDir(files, { dataDir: DATA_DIR, incarnation: 2, previousRun }).results
}

/** When a segment without index files was begun is lost with a crash. */
function withoutTime(recovered: RecoveredPartition | null | undefined) {
  return { ...recovered, segments: recovered?.segments.map((segment) => ({ ...segment, createdMs: 0 })) }
}

function overwrite(files: MemoryFileSystem, path: string, bytes: Uint8Array): void {
  const fd = files.open(path, 'create')
  files.truncate(fd, 0)
  files.write(fd, [bytes], 0)
  files.close(fd)
}

describe('catalogue', () => {
  test('after a clean stop no partition is looked into, and the logs are the same as after a look', () => {
    const disk = stopped()
    const copy = disk.clone()
    const { files, seen } = watched(disk)
    const adopted = recover(files)
    assert.deepEqual(seen, [])
    assert.equal(adopted.length, PARTITIONS)
    const looked = new Map(recover(copy, 'process-died').map((result) => [result.folder, result.recovered]))
    for (const { folder, recovered } of adopted)
      assert.deepEqual(withoutTime(recovered), withoutTime(looked.get(folder)))
  })

  test('the next shard serves them: records, duplicates and the next offset', () => {
    const files = stopped()
    const byFolder = new Map(recover(files).map((result) => [result.folder, result.recovered]))
    const shard = new ShardFixture({ files, shard: { incarnation: 2 } })
    shard.open(PARTITIONS, {}, (partition) => byFolder.get(partitionFolder(TOPIC, partition)) ?? null)
    for (const offset of [0, 1])
      assert.deepEqual(batchesOf(shard.fetch([{ ref: 4, offset }]).partitions[0]!.bytes), [[offset, offset + 1]])
    const again = makeBatch({ valueBytes: 150, producerId: 7, baseSequence: 1 })
    assert.equal(shard.produce(again, { partitionRef: 4 }).baseOffset, 1)
    const next = makeBatch({ valueBytes: 150, producerId: 7, baseSequence: 2 })
    assert.equal(shard.produce(next, { partitionRef: 4 }).baseOffset, 2)
  })

  test('it does not count after a crash', () => {
    const { files, seen } = watched(stopped())
    assert.equal(recover(files, 'process-died').length, PARTITIONS)
    assert.ok(seen.length > PARTITIONS)
  })

  test('a last segment that was tampered with is looked into, and found damaged', () => {
    const files = stopped()
    const path = `${DATA_DIR}/${partitionFolder(TOPIC, 3)}/00000000000000000001.log`
    const fd = files.open(path, 'write')
    files.truncate(fd, 10)
    files.close(fd)
    const damaged = recover(files).filter(({ recovered }) => recovered?.damaged !== null)
    assert.deepEqual(
      damaged.map(({ folder }) => folder),
      [partitionFolder(TOPIC, 3)],
    )
  })

  test('an unreadable one is told, and the folders are looked into', () => {
    const files = stopped()
    const bytes = files.contentOf(CATALOGUE).slice()
    bytes[40]! ^= 1
    overwrite(files, CATALOGUE, bytes)
    const { plan, results } = recoverDataDir(files, { dataDir: DATA_DIR, incarnation: 2, previousRun: 'clean' })
    assert.match(plan.notes.join(), /catalogue 1-0\.catalogue cannot be used: its checksum does not fit/)
    assert.ok(results.every(({ recovered }) => recovered?.damaged === null))
  })

  test('whatever bytes it has, decoding answers', () => {
    const whole = stopped().contentOf(CATALOGUE)
    const decoded = decodeCatalogue(whole)
    assert.equal(decoded.kind, 'present')
    if (decoded.kind !== 'present') return
    assert.deepEqual(Buffer.from(encodeCatalogue(1, decoded.entries)), Buffer.from(whole))
    for (let end = 0; end < whole.length; end += 13)
      assert.equal(decodeCatalogue(whole.subarray(0, end)).kind, 'unreadable')
  })
})
