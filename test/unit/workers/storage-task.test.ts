/** The pool's storage tasks on real files: what a start does with folders that no topic knows (R7). */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { partitionFolder, type TopicId } from '../../../src/model/ids.ts'
import { closeDataDir, finishRecovery, openDataDir, prepareRecovery } from '../../../workers/storage-task.ts'

const KNOWN = partitionFolder('a'.repeat(32) as TopicId, 0)
const UNKNOWN = partitionFolder('b'.repeat(32) as TopicId, 3)

test('a folder that no topic knows is set aside whole, is told of, and a second one does not take its place', async (t) => {
  const path = mkdtempSync(join(tmpdir(), 'millrace-storage-task-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  const start = async () => {
    const dataDir = openDataDir({ path, nodeId: 1, newClusterId: 'c' })
    const plan = await prepareRecovery({ dataDir, knownFolders: new Set([KNOWN]) })
    finishRecovery({ dataDir, results: [] })
    closeDataDir({ dataDir, isClean: true })
    return plan
  }
  assert.deepEqual((await start()).notes, [])
  for (let round = 0; round < 2; round++) {
    for (const folder of [KNOWN, UNKNOWN]) {
      mkdirSync(join(path, folder), { recursive: true })
      writeFileSync(join(path, folder, '00000000000000000000.log'), `bytes of round ${round}`)
    }
    const { notes } = await start()
    assert.equal(notes.length, 1, notes.join('\n'))
    assert.match(notes[0]!, new RegExp(UNKNOWN))
    assert.ok(existsSync(join(path, KNOWN)) && !existsSync(join(path, UNKNOWN)))
    const aside = readdirSync(join(path, 'quarantine')).filter((name) => name.startsWith(UNKNOWN))
    const kept = aside.map((name) => readFileSync(join(path, 'quarantine', name, '00000000000000000000.log'), 'utf8'))
    assert.deepEqual(kept.sort(), ['bytes of round 0', 'bytes of round 1'].slice(0, round + 1))
  }
})

test('after a first start a partition that no checkpoint names yet is known to be new, and the next start may judge it so', async (t) => {
  const path = mkdtempSync(join(tmpdir(), 'millrace-storage-task-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  const dataDir = openDataDir({ path, nodeId: 1, newClusterId: 'c' })
  await prepareRecovery({ dataDir, knownFolders: new Set([KNOWN]) })
  finishRecovery({ dataDir, results: [] })
  // The shards open partitions and make folders; the machine goes down before their first checkpoint.
  mkdirSync(join(path, KNOWN))
  closeDataDir({ dataDir, isClean: false })
  const next = openDataDir({ path, nodeId: 1, newClusterId: 'c' })
  const { partitions } = await prepareRecovery({ dataDir: next, knownFolders: new Set([KNOWN]) })
  closeDataDir({ dataDir: next, isClean: false })
  assert.deepEqual(
    partitions.map(({ logStartOffset }) => logStartOffset),
    [0],
  )
})
