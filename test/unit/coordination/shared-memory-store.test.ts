/** What a cluster's tests rely on: each fault does what its row says, and time is the test's. The rest is in the contract. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Decode, utf8Encode } from '../../../src/base/bytes.ts'
import { isOutcomeUnknown, type MetadataStore } from '../../../src/coordination/metadata-store.ts'
import { SharedMemoryStore, type StoreFault } from '../../../src/coordination/shared-memory-store.ts'
import { TestClock } from '../../../src/in-process/test-clock.ts'
import { hasCode } from '../../support/expect.ts'

const put = (key: string, text: string) => ({ kind: 'put', key, value: utf8Encode(text) }) as const
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const textAt = async (store: MetadataStore, key: string): Promise<string | undefined> => {
  const stored = await store.get(key)
  return stored && utf8Decode(stored.value)
}

test('each fault: what was applied, and what the client is told', async () => {
  const rows: [fault: StoreFault, isApplied: boolean, isUnknown: boolean][] = [
    ['refused', false, false],
    ['requests-lost', false, true],
    ['replies-lost', true, true],
    ['held', false, true],
  ]
  for (const [fault, isApplied, isUnknown] of rows) {
    const store = new SharedMemoryStore(new TestClock(0))
    const [client, other] = [store.client(), store.client()]
    client.cut(fault)
    await assert.rejects(client.transact([], [put('/a', '1')]), (error) => {
      assert.equal(isOutcomeUnknown(error), isUnknown, fault)
      return isUnknown || hasCode('BROKER_NOT_AVAILABLE')(error)
    })
    await assert.rejects(client.get('/a'), hasCode('BROKER_NOT_AVAILABLE'))
    assert.equal(await textAt(other, '/a'), isApplied ? '1' : undefined, fault)
    client.mend()
    assert.equal(await textAt(client, '/a'), isApplied ? '1' : undefined, fault)
  }
})

test('a held transaction arrives late, and only if its conditions still hold', async () => {
  const store = new SharedMemoryStore(new TestClock(0))
  const [client, other] = [store.client(), store.client()]
  client.cut('held')
  const absent = { kind: 'absent', key: '/lock' } as const
  await assert.rejects(client.transact([], [put('/late', '1')]), isOutcomeUnknown)
  await assert.rejects(client.transact([absent], [put('/lock', 'late')]), isOutcomeUnknown)
  client.mend()
  assert.equal(await textAt(client, '/late'), undefined)
  await other.transact([absent], [put('/lock', 'other')])
  client.deliverHeld()
  assert.deepEqual([await textAt(client, '/late'), await textAt(client, '/lock')], ['1', 'other'])
  client.cut('held')
  await assert.rejects(client.transact([], [put('/late', '2')]), isOutcomeUnknown)
  client.dropHeld()
  client.deliverHeld()
  assert.equal(await textAt(other, '/late'), '1')
})

test('a cut while request or reply is under way: nobody is told a wrong outcome', async () => {
  for (const [cutAfterMs, isApplied] of [
    [5, false],
    [15, true],
  ] as const) {
    const clock = new TestClock(0)
    const store = new SharedMemoryStore(clock, { latencyMs: 10, requestTimeoutMs: 100 })
    const client = store.client()
    let outcome: unknown
    client.transact([], [put('/a', '1')]).then(
      (result) => (outcome = result),
      (error) => (outcome = error),
    )
    await clock.advance(cutAfterMs, settle)
    client.cut()
    await clock.advance(50, settle)
    assert.equal(outcome, undefined)
    await clock.advance(100, settle)
    assert.ok(isOutcomeUnknown(outcome))
    assert.equal(store.state.get('/a') !== undefined, isApplied)
  }
})

test('a lease ends at its time to the millisecond, its holder knows before, and replies that are lost do not fool it', async () => {
  for (const fault of ['refused', 'replies-lost'] as const) {
    const clock = new TestClock(0)
    const store = new SharedMemoryStore(clock)
    const client = store.client()
    const lease = await client.lease(3_000)
    await client.transact([], [{ ...put('/live', '1'), leaseId: lease.leaseId }])
    let lostMs = Number.NaN
    lease.onLost(() => {
      lostMs = clock.monotonicMs()
    })
    await clock.advance(10_500, settle)
    assert.equal(lease.deadlineMs(), 10_000 + 2_850)
    client.cut(fault)
    await clock.advance(2_349, settle)
    assert.ok(Number.isNaN(lostMs))
    await clock.advance(1, settle)
    assert.equal(lostMs, 12_850)
    assert.ok(store.state.get('/live'))
    // The last keep-alive that arrived: at 10 s, or just before the deadline though its reply was lost.
    await clock.advance(fault === 'refused' ? 149 : 2_900, settle)
    assert.ok(store.state.get('/live'), fault)
    await clock.advance(fault === 'refused' ? 1 : 100, settle)
    assert.equal(store.state.get('/live'), undefined, fault)
  }
})

test('a client that crashed is told nothing; its leases end when their time is over', async () => {
  const clock = new TestClock(0)
  const store = new SharedMemoryStore(clock)
  const client = store.client()
  const lease = await client.lease(1_000)
  lease.onLost(() => assert.fail('a dead client is told of nothing'))
  await client.transact([], [{ ...put('/live', '1'), leaseId: lease.leaseId }])
  await client.watch(
    '/',
    0,
    (events) => assert.equal(events[0]!.kind, 'put', 'a dead client is told of nothing'),
    () => {},
  )
  await settle()
  client.crash()
  await clock.advance(999, settle)
  assert.ok(store.state.get('/live'))
  await clock.advance(1, settle)
  assert.equal(store.state.get('/live'), undefined)
})

test('what was under way to a watch when its connection broke comes again, once', async () => {
  const clock = new TestClock(0)
  const store = new SharedMemoryStore(clock, { latencyMs: 10 })
  const client = store.client()
  const seen: string[] = []
  const watching = client.watch(
    '/',
    0,
    (events) => seen.push(...events.map(({ key }) => key)),
    () => assert.fail('no resync'),
  )
  await clock.advance(30, settle)
  await watching
  store.state.apply([put('/a', '')])
  await clock.advance(5, settle)
  store.state.apply([put('/b', '')])
  await clock.advance(7, settle)
  client.cut()
  await clock.advance(50, settle)
  assert.deepEqual(seen, ['/a'])
  store.state.apply([put('/c', '')])
  client.mend()
  client.cut()
  client.mend()
  await clock.advance(50, settle)
  assert.deepEqual(seen, ['/a', '/b', '/c'])
})
