import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FaultyFileSystem } from '../../../src/io/faulty-file-system.ts'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { giveUpReserve, keepReserve, RESERVE_BYTES, RESERVE_FILE } from '../../../src/log/space-reserve.ts'

const DIR = '/data'
const PATH = `${DIR}/${RESERVE_FILE}`

/** A disk with so much free. */
function disk(freeBytes: number): FaultyFileSystem {
  const files = new FaultyFileSystem(new MemoryFileSystem())
  files.makeFolder(DIR)
  files.limitSpace(freeBytes)
  return files
}

test('the reserve is made where there is room, once, and its bytes are written', () => {
  const files = disk(5 * RESERVE_BYTES)
  keepReserve(files, DIR)
  assert.equal(files.freeBytes(DIR), 4 * RESERVE_BYTES)
  keepReserve(files, DIR)
  assert.equal(files.freeBytes(DIR), 4 * RESERVE_BYTES)
})

test('it is not what fills a disk', () => {
  const files = disk(4 * RESERVE_BYTES - 1)
  keepReserve(files, DIR)
  assert.equal(files.stat(PATH).kind, 'absent')
})

test('it is given up only when the disk is full, and gives its bytes back', () => {
  const files = disk(4 * RESERVE_BYTES)
  keepReserve(files, DIR)
  giveUpReserve(files, DIR)
  assert.equal(files.stat(PATH).kind, 'file')
  files.limitSpace(RESERVE_BYTES - 1)
  giveUpReserve(files, DIR)
  assert.equal(files.stat(PATH).kind, 'absent')
  assert.equal(files.freeBytes(DIR), 2 * RESERVE_BYTES - 1)
  giveUpReserve(files, DIR)
})

test('one that was begun and not finished is finished', () => {
  const files = disk(5 * RESERVE_BYTES)
  files.close(files.open(PATH, 'create'))
  keepReserve(files, DIR)
  const found = files.stat(PATH)
  assert.equal(found.kind === 'file' && found.bytes, RESERVE_BYTES)
})
