import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { open as openFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { utf8Decode, utf8Encode } from '../../../src/base/bytes.ts'
import { systemClock } from '../../../src/base/node/system-clock.ts'
import { SeededPrng } from '../../../src/base/prng.ts'
import { EmbeddedMetadataStore } from '../../../src/coordination/embedded-metadata-store.ts'
import { NodeDurableFiles } from '../../../src/coordination/node-durable-files.ts'
import { PortDurableFiles } from '../../../src/in-process/port-durable-files.ts'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { MemoryDurableFiles } from '../../support/memory-durable-files.ts'

const put = (key: string, text: string) => ({ kind: 'put', key, value: utf8Encode(text) }) as const
const open = (files: MemoryDurableFiles) => EmbeddedMetadataStore.open(files, systemClock)

async function contentOf(store: EmbeddedMetadataStore): Promise<Record<string, string>> {
  const { values } = await store.list('')
  return Object.fromEntries(values.map(({ key, value }) => [key, utf8Decode(value)]))
}

test('what was applied is there after reopening, revisions too', async () => {
  const files = new MemoryDurableFiles()
  const store = await open(files)
  await store.transact([], [put('/a', '1')])
  const { revision } = await store.transact([], [put('/a', '2'), put('/b', 'ü')])
  await store.transact([{ kind: 'absent', key: '/a' }], [put('/c', 'no')])
  const again = await open(new MemoryDurableFiles(files.files))
  assert.deepEqual(await contentOf(again), { '/a': '2', '/b': 'ü' })
  assert.deepEqual(await again.get('/a'), await store.get('/a'))
  assert.equal((await again.list('')).revision, revision)
})

test('transactions of one turn share one sync', async () => {
  const files = new MemoryDurableFiles()
  const store = await open(files)
  await Promise.all(Array.from({ length: 100 }, (_, index) => store.transact([], [put(`/k${index}`, '')])))
  assert.ok(files.appends <= 2, `${files.appends} syncs`)
})

test('a crash at every byte of the last frame keeps everything before it', async () => {
  const files = new MemoryDurableFiles()
  const store = await open(files)
  await store.transact([], [put('/a', '1')])
  const [name, before] = [...files.files][0]!
  await store.transact([], [put('/b', '2')])
  const whole = files.files.get(name)!
  for (let end = before.length; end < whole.length; end++) {
    const crashed = await open(new MemoryDurableFiles(new Map([[name, whole.subarray(0, end)]])))
    assert.deepEqual(await contentOf(crashed), { '/a': '1' })
    await crashed.transact([], [put('/c', '3')])
    assert.deepEqual(await contentOf(crashed), { '/a': '1', '/c': '3' })
  }
})

test('damage before the last frame is never cut: the store refuses to open and says where', async () => {
  const files = new MemoryDurableFiles()
  const store = await open(files)
  for (let index = 0; index < 5; index++) await store.transact([], [put(`/k${index}`, String(index))])
  const [name, whole] = [...files.files][0]!
  const seed = Number(process.env.MILLRACE_SEED ?? 1)
  const prng = new SeededPrng(seed)
  const lastFrameAt = whole.lastIndexOf(0x4d) // 'M' of the magic; base64 of the values has none here
  for (let round = 0; round < 200; round++) {
    const damaged = whole.slice()
    const at = prng.below(lastFrameAt)
    damaged[at] = damaged[at]! ^ (1 << prng.below(8))
    const opening = open(new MemoryDurableFiles(new Map([[name, damaged]])))
    await assert.rejects(
      opening,
      { code: 'KAFKA_STORAGE_ERROR', message: /damaged at byte \d+/ },
      `byte ${at} of seed ${seed}`,
    )
  }
})

test('what a start has read, though nobody had synced it, survives a power cut after it', async () => {
  const path = '/data/metadata'
  const disk = new MemoryFileSystem()
  for (const folder of ['/data', path]) disk.makeFolder(folder)
  for (const folder of ['/', '/data']) disk.syncFolder(folder)
  const openOn = (files: MemoryFileSystem) =>
    EmbeddedMetadataStore.open(new PortDurableFiles({ files, folder: path }), systemClock)
  const store = await openOn(disk)
  await store.transact([], [put('/a', '1')])
  const file = `${path}/${disk.list(path)[0]}`
  const before = disk.contentOf(file).length
  const other = disk.clone()
  await store.transact([], [put('/b', '2')])
  // Killed between the write of a frame and its sync: the frame is in the page cache alone.
  const fd = other.open(file, 'write')
  other.write(fd, [disk.contentOf(file).subarray(before)], before)
  const killed = other.crash(new SeededPrng(1), { kind: 'kill' })
  assert.deepEqual(await contentOf(await openOn(killed)), { '/a': '1', '/b': '2' })
  for (let seed = 1; seed <= 20; seed++)
    assert.deepEqual(await contentOf(await openOn(killed.crash(new SeededPrng(seed)))), { '/a': '1', '/b': '2' })
})

test('the files of a node are synced when they are opened, and their folder', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-store-'))
  context.after(() => rmSync(folder, { recursive: true, force: true }))
  const files = new NodeDurableFiles(folder)
  await files.writeWhole('a', utf8Encode('content'))
  const handle = await openFile(join(folder, 'a'))
  const sync = context.mock.method(Object.getPrototypeOf(handle) as typeof handle, 'sync')
  await handle.close()
  await (await files.open('a', 7)).close()
  assert.equal(sync.mock.callCount(), 2)
})

test('a failed sync ends the store: nothing is believed after it, and what was not acknowledged may be gone', async () => {
  const files = new MemoryDurableFiles()
  const store = await open(files)
  await store.transact([], [put('/a', '1')])
  files.failNextAppend = 'EIO'
  await assert.rejects(store.transact([], [put('/b', '2')]), { code: 'BROKER_NOT_AVAILABLE', message: /EIO/ })
  await assert.rejects(store.transact([], [put('/c', '3')]), { code: 'BROKER_NOT_AVAILABLE' })
  await assert.rejects(store.get('/a'), { code: 'BROKER_NOT_AVAILABLE' })
  assert.equal((await contentOf(await open(new MemoryDurableFiles(files.files))))['/a'], '1')
})

test('the file is replaced when it has grown beyond its content', async () => {
  const files = new MemoryDurableFiles()
  const store = await open(files)
  const value = 'x'.repeat(500_000)
  for (let index = 0; index < 12; index++) await store.transact([], [put('/big', `${index}${value}`)])
  const names = [...files.files.keys()]
  assert.deepEqual(names.length, 1)
  assert.notEqual(names[0], '0000000001.store')
  assert.ok(files.files.get(names[0]!)!.length < 5 * 1024 * 1024)
  const again = await open(new MemoryDurableFiles(files.files))
  assert.deepEqual(await again.get('/big'), await store.get('/big'))
  // A crash between the new file's rename and the old one's removal leaves both.
  const both = new Map([...files.files, ['0000000001.store', new Uint8Array(3)]])
  assert.deepEqual(await (await open(new MemoryDurableFiles(both))).get('/big'), await store.get('/big'))
})

test('keys of a lease do not outlive the process', async () => {
  const files = new MemoryDurableFiles()
  const store = await open(files)
  const lease = await store.lease(1_000)
  await store.transact([], [{ ...put('/live', '1'), leaseId: lease.leaseId }, put('/stays', '1')])
  assert.deepEqual(await contentOf(await open(new MemoryDurableFiles(files.files))), { '/stays': '1' })
})
