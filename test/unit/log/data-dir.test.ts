/** The data dir: who may open it, what a start leaves behind, and what is never done to it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import '../../../src/base/node/native-crc32c.ts'
import { utf8Encode } from '../../../src/base/bytes.ts'
import { SeededPrng } from '../../../src/base/prng.ts'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import {
  closeDataDirCleanly,
  DataDirError,
  listDeletedFolders,
  listPartitionFolders,
  markFolderDeleted,
  openDataDir,
  quarantineFolder,
  removeDeletedFolder,
} from '../../../src/log/data-dir.ts'
import { recoverDataDir } from '../../../src/log/data-dir-recovery.ts'

const FOLDER = `${'b'.repeat(32)}-3`

/** Processes by pid and start; boot 'b1' unless told. */
function probe(pid: number, living: Record<number, string> = {}, bootId = 'b1') {
  const starts: Record<number, string> = { [pid]: `start-${pid}`, ...living }
  return { pid, bootId, startOf: (asked: number): string | undefined => starts[asked] }
}

function open(files: MemoryFileSystem, pid: number, more: Partial<Parameters<typeof openDataDir>[1]> = {}) {
  return openDataDir(files, { path: '/d', nodeId: 1, newClusterId: 'new', probe: probe(pid), ...more })
}

function write(files: MemoryFileSystem, path: string, text: string): void {
  const fd = files.open(path, 'create')
  files.truncate(fd, 0)
  files.write(fd, [utf8Encode(text)], 0)
  files.close(fd)
}

function refusal(run: () => unknown): DataDirError {
  try {
    run()
  } catch (error) {
    assert.ok(error instanceof DataDirError, String(error))
    return error
  }
  return assert.fail('it was not refused')
}

test('a new data dir gets an identity; each start is a new incarnation', () => {
  const files = new MemoryFileSystem()
  const first = open(files, 10)
  assert.deepEqual([first.created, first.previousRun, first.identity.incarnation], [true, 'none', 1])
  assert.equal(first.identity.clusterId, 'new')
  const second = open(files, 11, { newClusterId: 'other' })
  assert.deepEqual([second.created, second.identity.incarnation, second.identity.clusterId], [false, 2, 'new'])
})

test('the incarnation survives a power cut before anything else happens', () => {
  const files = new MemoryFileSystem()
  open(files, 10)
  for (let seed = 0; seed < 20; seed++) {
    const cut = files.crash(new SeededPrng(seed), { kind: 'power' })
    assert.equal(open(cut, 12).identity.incarnation, 2)
  }
})

test('one process: a living holder is named, a dead one and a reused pid are not in the way', () => {
  const files = new MemoryFileSystem()
  open(files, 10)
  const living = refusal(() => open(files, 11, { probe: probe(11, { 10: 'start-10' }) }))
  assert.equal(living.code, 'LOCKED')
  assert.match(living.message, /process 10/)
  open(files, 11, { probe: probe(11, { 10: 'another process with that pid' }) })
  open(files, 12, { probe: probe(12, { 11: 'start-11' }, 'b2') })
  const half = new MemoryFileSystem()
  half.makeFolder('/d')
  write(half, '/d/lock', '{"pid":')
  assert.equal(open(half, 13).identity.incarnation, 1, 'a torn lock is held by nobody')
})

test('a refused open changes nothing and leaves no lock', () => {
  const files = new MemoryFileSystem()
  const dataDir = open(files, 10, { clusterId: 'c1' })
  closeDataDirCleanly(files, dataDir)
  const before = files.filePaths()
  assert.match(refusal(() => open(files, 11, { nodeId: 2 })).message, /belongs to node 1, this is node 2/)
  assert.match(refusal(() => open(files, 11, { clusterId: 'c2' })).message, /belongs to cluster 'c1'/)
  assert.deepEqual(files.filePaths(), before)
  assert.equal(open(files, 11, { clusterId: 'c1' }).previousRun, 'clean')
})

test('what data-dir.json may not say', () => {
  const cases: [string, string, RegExp][] = [
    ['{', 'UNREADABLE', /is not JSON/],
    ['[]', 'UNREADABLE', /is not JSON/],
    ['{"formatVersion":2}', 'UNKNOWN_VERSION', /format version 2/],
    ['{"formatVersion":1,"clusterId":"","nodeId":1,"incarnation":1}', 'UNREADABLE', /clusterId/],
    ['{"formatVersion":1,"clusterId":"c","nodeId":1.5,"incarnation":1}', 'UNREADABLE', /nodeId/],
    ['{"formatVersion":1,"clusterId":"c","nodeId":1,"incarnation":0}', 'UNREADABLE', /incarnation/],
  ]
  for (const [text, code, pattern] of cases) {
    const files = new MemoryFileSystem()
    files.makeFolder('/d')
    write(files, '/d/data-dir.json', text)
    const error = refusal(() => open(files, 10))
    assert.equal(error.code, code)
    assert.match(error.message, pattern)
  }
})

test('a lost data-dir.json is not a licence to begin anew', () => {
  const files = new MemoryFileSystem()
  open(files, 10)
  files.makeFolder(`/d/${FOLDER}`)
  files.remove('/d/data-dir.json')
  files.remove('/d/lock')
  const error = refusal(() => open(files, 11))
  assert.equal(error.code, 'NOT_A_DATA_DIR')
  assert.equal(files.stat(`/d/${FOLDER}`).kind, 'folder')
})

test('how the previous run ended', () => {
  const files = new MemoryFileSystem()
  const recover = (pid: number, bootId: string): string => {
    const dataDir = open(files, pid, { probe: probe(pid, {}, bootId) })
    const { incarnation } = dataDir.identity
    recoverDataDir(files, { dataDir: '/d', incarnation, previousRun: dataDir.previousRun })
    return dataDir.previousRun
  }
  assert.equal(recover(10, 'b1'), 'none')
  assert.equal(recover(11, 'b1'), 'process-died')
  assert.equal(recover(12, 'b2'), 'machine-died')
  open(files, 13, { probe: probe(13, {}, 'b2') })
  assert.equal(recover(14, 'b2'), 'machine-died', 'a recovery that did not finish leaves the doubt')
  assert.equal(recover(15, 'b2'), 'process-died')
})

test('the clean marker counts once, for the start that wrote it, and is gone durably before anything else', () => {
  const files = new MemoryFileSystem()
  closeDataDirCleanly(files, open(files, 10))
  const stale = files.contentOf('/d/clean')
  assert.equal(open(files, 11).previousRun, 'clean')
  assert.equal(files.stat('/d/clean').kind, 'absent')
  const cut = files.crash(new SeededPrng(0), { kind: 'power', survival: 'none' })
  assert.equal(cut.stat('/d/clean').kind, 'absent', 'the removal is durable')
  for (let seed = 0; seed < 20; seed++)
    assert.notEqual(open(files.crash(new SeededPrng(seed), { kind: 'power' }), 12).previousRun, 'clean')
  open(files, 13)
  write(files, '/d/clean', new TextDecoder().decode(stale))
  assert.notEqual(open(files, 14).previousRun, 'clean', 'a marker of an older start')
  write(files, '/d/clean', 'clean 4 00000000\n')
  assert.notEqual(open(files, 15).previousRun, 'clean', 'a marker that was not written by us')
})

test('folders: unknown ones are set aside, deletes are finished, foreign ones are left alone', () => {
  const files = new MemoryFileSystem()
  const dataDir = open(files, 10)
  files.makeFolder(`/d/${FOLDER}`)
  files.makeFolder('/d/lost+found')
  write(files, `/d/${FOLDER}/x.log`, 'data')
  assert.deepEqual(
    listPartitionFolders(files, '/d').map((folder) => folder.name),
    [FOLDER],
  )
  const where = { path: '/d', incarnation: dataDir.identity.incarnation }
  assert.equal(quarantineFolder(files, where, FOLDER), `quarantine/${FOLDER}.1`)
  assert.equal(files.stat(`/d/quarantine/${FOLDER}.1/x.log`).kind, 'file')
  files.makeFolder(`/d/${FOLDER}`)
  assert.equal(quarantineFolder(files, where, FOLDER), `quarantine/${FOLDER}.1.1`, 'never over another')
  files.makeFolder(`/d/${FOLDER}`)
  write(files, `/d/${FOLDER}/x.log`, 'data')
  markFolderDeleted(files, '/d', FOLDER)
  const cut = files.crash(new SeededPrng(1), { kind: 'power', survival: 'none' })
  assert.deepEqual(listDeletedFolders(cut, '/d'), [`${FOLDER}.deleted`])
  for (const name of listDeletedFolders(cut, '/d')) removeDeletedFolder(cut, '/d', name)
  assert.equal(cut.stat(`/d/${FOLDER}.deleted`).kind, 'absent')
  assert.equal(cut.stat(`/d/${FOLDER}`).kind, 'absent')
})
