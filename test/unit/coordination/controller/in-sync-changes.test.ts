/** Changes of the in-sync set: eligible leaders by KIP-966, and the write that comes too late or whose reply is lost. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Encode } from '../../../../src/base/bytes.ts'
import { applyInSyncChange, withInSync } from '../../../../src/coordination/controller/in-sync-changes.ts'
import { encodeState, partitionKey } from '../../../../src/coordination/keys.ts'
import { MemoryMetadataStore } from '../../../../src/coordination/memory-metadata-store.ts'
import { type PartitionWords, partitionOf, replicasOf, TOPIC, textOf } from '../../../support/cluster-fixture.ts'
import { VirtualTime } from '../../../support/virtual-timers.ts'

const ROWS: readonly [
  what: string,
  PartitionWords,
  wanted: string,
  minInsync: number,
  inSync: string,
  eligible: string,
][] = [
  ['one leaves above min', {}, '1 2', 2, '1 2', ''],
  ['one leaves, now below min: eligible', { inSync: '1 2' }, '1', 2, '1', '2'],
  ['two leave at once', {}, '2', 2, '2', '1 3'],
  ['below min already, one more leaves', { inSync: '1 2', eligible: '3' }, '1', 3, '1', '2 3'],
  ['one joins and it is at min', { inSync: '1', eligible: '2 3' }, '1 3', 2, '1 3', ''],
  ['one joins, still below min', { inSync: '1', eligible: '2 3' }, '1 2', 3, '1 2', '3'],
  ['an incarnation changes: nobody left', { inSync: '1 2', eligible: '' }, '1 2@4', 3, '1 2@4', ''],
  ['in the order of the replicas', { replicas: [3, 1, 2] }, '1 3', 1, '3 1', ''],
  ['min above the replicas there are: all of them', { inSync: '1 2 3' }, '1 2', 9, '1 2', '3'],
  ['replicas that a move adds raise no bound', { replicas: [1, 2], adding: [2], inSync: '1 2' }, '1', 2, '1', ''],
]

for (const [what, words, wanted, minInsync, inSync, eligible] of ROWS)
  test(`in-sync change: ${what}`, () => {
    const next = withInSync(partitionOf(words), replicasOf(wanted), minInsync)
    assert.deepEqual([textOf(next.inSyncReplicas), textOf(next.eligibleLeaders)], [inSync, eligible])
    assert.equal(next.leaderEpoch, 5)
  })

test('in-sync change: never empty, only replicas, each once', () => {
  for (const wrong of ['', '1 9', '1 1'])
    assert.throws(() => withInSync(partitionOf({}), replicasOf(wrong), 1), /in-sync set/)
})

test('in-sync change: applied at its version only; a lost reply is read back', async () => {
  const store = new MemoryMetadataStore(new VirtualTime())
  const key = partitionKey(TOPIC, 0)
  const put = (words: PartitionWords) =>
    store.transact([], [{ kind: 'put', key, value: encodeState(partitionOf(words)) }])
  const { revision } = await put({})
  const next = withInSync(partitionOf({}), replicasOf('1 2'), 1)
  const applied = await applyInSyncChange(store, TOPIC, 0, revision, next)
  assert.deepEqual(applied, { applied: true, version: revision + 1 })
  assert.deepEqual(await applyInSyncChange(store, TOPIC, 0, revision, next), applied, 'asked for by another call')
  const other = withInSync(partitionOf({}), replicasOf('1 3'), 1)
  assert.deepEqual(await applyInSyncChange(store, TOPIC, 0, revision, other), { applied: false })

  const failing: MemoryMetadataStore = Object.create(store)
  failing.get = (name) => store.get(name)
  // What each attempt does before its reply is lost; later ones get an answer.
  const attempts: (() => Promise<unknown>)[] = []
  failing.transact = async (conditions, operations) => {
    const attempt = attempts.shift()
    if (attempt === undefined) return store.transact(conditions, operations)
    await attempt()
    throw new Error('no reply')
  }
  const shrunk = withInSync(next, replicasOf('1'), 1)
  const write = { kind: 'put', key, value: encodeState(shrunk) } as const
  attempts.push(() => store.transact([], [write]))
  const readBack = await applyInSyncChange(failing, TOPIC, 0, revision + 1, shrunk)
  assert.deepEqual(readBack, { applied: true, version: revision + 2 })

  // Nothing took effect yet, but it may: the second attempt decides.
  const grown = withInSync(shrunk, replicasOf('1 3'), 1)
  attempts.push(async () => {})
  const again = await applyInSyncChange(failing, TOPIC, 0, revision + 2, grown)
  assert.deepEqual(again, { applied: true, version: revision + 3 })
  attempts.push(() => put({ leader: 2 }))
  assert.deepEqual(await applyInSyncChange(failing, TOPIC, 0, revision + 3, shrunk), { applied: false })
  attempts.push(...Array.from({ length: 3 }, () => async () => {}))
  await assert.rejects(applyInSyncChange(failing, TOPIC, 0, revision + 4, shrunk), /no reply/)
})

test('in-sync change: a version that is over is over, though its value cannot be read', async () => {
  const store = new MemoryMetadataStore(new VirtualTime())
  const key = partitionKey(TOPIC, 0)
  const put = (value: Uint8Array) => store.transact([], [{ kind: 'put', key, value }])
  const { revision } = await put(encodeState(partitionOf({})))
  const next = withInSync(partitionOf({}), replicasOf('1 2'), 1)
  let reads = 0
  const counting: MemoryMetadataStore = Object.create(store)
  counting.transact = (conditions, operations) => store.transact(conditions, operations)
  counting.get = (name) => {
    reads++
    return store.get(name)
  }
  for (const value of ['{', '{"leader":1}', '7']) {
    await put(utf8Encode(value))
    assert.deepEqual(await applyInSyncChange(counting, TOPIC, 0, revision, next), { applied: false })
  }
  assert.equal(reads, 3, 'it is asked for once each')
})
