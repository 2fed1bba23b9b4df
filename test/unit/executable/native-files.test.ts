/** Native parts as files: unpacked whole, checked again, put elsewhere when a folder cannot take them. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type NativePlan, placeNatives } from '../../../src/executable/native-files.ts'

const PARTS = new Map([
  ['small.node', Buffer.from('a part')],
  ['large.node', Buffer.alloc(100_000, 7)],
])

function planFor(...folders: string[]): NativePlan & { reads: number } {
  const plan = {
    reads: 0,
    files: [...PARTS].map(([name, bytes]) => ({ name, sha256: createHash('sha256').update(bytes).digest('hex') })),
    read: (name: string) => {
      plan.reads++
      return PARTS.get(name)!
    },
    folders,
    tryLoad: () => {},
  }
  return plan
}

function folderFor(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-native-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

function assertWhole(folder: string): void {
  assert.deepEqual(readdirSync(folder).sort(), [...PARTS.keys()].sort(), 'the parts, and no temporary file')
  for (const [name, bytes] of PARTS) assert.ok(readFileSync(join(folder, name)).equals(bytes), name)
}

test('a first start unpacks every part, and the next one takes what is there', (t) => {
  const folder = join(folderFor(t), 'deep', 'parts')
  const plan = planFor(folder)
  assert.equal(placeNatives(plan), folder)
  assertWhole(folder)
  const files = () => [...PARTS.keys()].map((name) => statSync(join(folder, name)).ino)
  const before = files()
  plan.reads = 0
  assert.equal(placeNatives(plan), folder)
  assert.equal(plan.reads, 0)
  assert.deepEqual(files(), before)
})

test('a part that is not what the build put in is unpacked again, under a new file: one in use keeps its bytes', (t) => {
  const folder = folderFor(t)
  placeNatives(planFor(folder))
  for (const damage of [Buffer.from('another'), Buffer.alloc(0), Buffer.alloc(100_000, 8)]) {
    writeFileSync(join(folder, 'large.node'), damage)
    const { ino } = statSync(join(folder, 'large.node'))
    const plan = planFor(folder)
    placeNatives(plan)
    assert.equal(plan.reads, 1)
    assertWhole(folder)
    assert.notEqual(statSync(join(folder, 'large.node')).ino, ino)
  }
})

test('a folder that cannot be made, or from which nothing can be loaded, gives way to the next', (t) => {
  const folder = folderFor(t)
  const blocked = join(folder, 'file')
  writeFileSync(blocked, '')
  const next = join(folder, 'next')
  assert.equal(placeNatives(planFor(join(blocked, 'parts'), next)), next)
  assertWhole(next)
  const noexec = join(folder, 'noexec')
  const tryLoad = (candidate: string) => {
    if (candidate === noexec) throw new Error('failed to map segment from shared object')
  }
  assert.equal(placeNatives({ ...planFor(noexec, next), tryLoad }), next)
})

test('when no folder will do, the error names each, with its reason, and what to do', (t) => {
  const folder = folderFor(t)
  const blocked = join(folder, 'file')
  writeFileSync(blocked, '')
  const noexec = join(folder, 'noexec')
  const tryLoad = () => {
    throw new Error('failed to map segment from shared object')
  }
  assert.throws(
    () => placeNatives({ ...planFor(join(blocked, 'parts'), noexec), tryLoad }),
    (error: Error) => {
      assert.match(error.message, /file\/parts: ENOTDIR/)
      assert.match(error.message, /noexec: failed to map segment/)
      assert.match(error.message, /XDG_CACHE_HOME/)
      return true
    },
  )
})
