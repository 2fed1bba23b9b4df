/** Whatever the network does to a transaction: what its caller is told is true, and nothing is applied twice. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Decode, utf8Encode } from '../../../src/base/bytes.ts'
import { SeededPrng } from '../../../src/base/prng.ts'
import { type EtcdMetadataStore, openEtcdStore } from '../../../src/coordination/etcd-metadata-store.ts'
import { isOutcomeUnknown, type StoreResult } from '../../../src/coordination/metadata-store.ts'
import { TestClock } from '../../../src/in-process/test-clock.ts'
import { isMillraceError } from '../../../src/model/errors.ts'
import { hasCode } from '../../support/expect.ts'
import { FakeEtcd, type Fate } from '../../support/fake-etcd.ts'

const put = (key: string, text: string) => ({ kind: 'put', key, value: utf8Encode(text) }) as const
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const REQUEST_TIMEOUT_MS = 1_000

async function openFake(clock: TestClock): Promise<{ etcd: FakeEtcd; store: EtcdMetadataStore }> {
  const etcd = new FakeEtcd(clock)
  let id = 0
  const store = await openEtcdStore({
    urls: ['http://a:1', 'http://b:1'],
    clock,
    timers: clock,
    newId: () => `client${id++}`,
    requestTimeoutMs: REQUEST_TIMEOUT_MS,
    createClient: etcd.createClient,
  })
  return { etcd, store }
}

/** Calls get these fates one after the other, then all are done. */
function script(etcd: FakeEtcd, fates: readonly Fate[]): void {
  const left = [...fates]
  etcd.fate = (what) => (what === 'transact' ? (left.shift() ?? 'done') : 'done')
}

const textOf = (etcd: FakeEtcd, key: string): string | undefined => {
  const stored = etcd.values.get(key)
  return stored && utf8Decode(stored.value)
}

test('fates of a transaction and of its reading back', async () => {
  const rows: [fates: Fate[], outcome: 'applied' | 'unknown' | 'unavailable', versionAfter: number][] = [
    [['done'], 'applied', 1],
    [['refused', 'refused', 'done'], 'applied', 1],
    [['unanswered'], 'applied', 1],
    [['lost'], 'applied', 1],
    [['late'], 'applied', 1],
    [['late', 'unanswered'], 'applied', 1],
    [['unanswered', 'lost', 'done'], 'applied', 1],
    [['unanswered', 'late', 'refused', 'done'], 'applied', 1],
    [['lost', 'unanswered', 'done'], 'applied', 1],
    // Read back, too late to try again.
    [['lost', 'unanswered', 'lost', 'done'], 'unavailable', 0],
    [Array<Fate>(100).fill('refused'), 'unavailable', 0],
    [['unanswered', ...Array<Fate>(100).fill('lost')], 'unknown', 1],
    [Array<Fate>(100).fill('lost'), 'unknown', 0],
  ]
  for (const [fates, expected, versionAfter] of rows) {
    const clock = new TestClock(0)
    const { etcd, store } = await openFake(clock)
    script(etcd, fates)
    let outcome: unknown
    store.transact([], [put('/a', '1')]).then(
      (result: StoreResult) => (outcome = result.applied ? 'applied' : 'not applied'),
      (error) =>
        (outcome = isOutcomeUnknown(error) ? 'unknown' : hasCode('BROKER_NOT_AVAILABLE')(error) && 'unavailable'),
    )
    await clock.advance(3 * REQUEST_TIMEOUT_MS, settle)
    assert.equal(outcome, expected, fates.join(' '))
    etcd.arrive()
    assert.equal(etcd.values.get('/a')?.version ?? 0, versionAfter, fates.join(' '))
    etcd.fate = () => 'done'
    assert.equal((await store.transact([], [put('/a', '2')])).applied, true)
    etcd.arrive()
    assert.equal(textOf(etcd, '/a'), '2', fates.join(' '))
  }
})

test('a lost reply of a transaction whose conditions do not hold is no success', async () => {
  for (const fate of ['unanswered', 'lost', 'late'] as const) {
    const clock = new TestClock(0)
    const { etcd, store } = await openFake(clock)
    script(etcd, [fate])
    let result: StoreResult | undefined
    void store.transact([{ kind: 'present', key: '/none' }], [put('/a', '1')]).then((told) => (result = told))
    await clock.advance(3 * REQUEST_TIMEOUT_MS, settle)
    assert.equal(result?.applied, false, fate)
    etcd.arrive()
    assert.equal(etcd.values.has('/a'), false)
  }
})

test('after an unknown outcome the next transaction decides: what was lost before it is void when it arrives', async () => {
  const clock = new TestClock(0)
  const { etcd, store } = await openFake(clock)
  etcd.fate = () => 'late'
  let outcome: unknown
  store.transact([], [put('/a', 'lost')]).catch((error) => (outcome = error))
  await clock.advance(3 * REQUEST_TIMEOUT_MS, settle)
  // It could not even get its lease: nothing was sent.
  assert.ok(hasCode('BROKER_NOT_AVAILABLE')(outcome))
  etcd.fate = () => 'done'
  await store.transact([], [put('/b', '')])
  etcd.fate = () => 'late'
  store.transact([], [put('/a', 'lost')]).catch((error) => (outcome = error))
  await clock.advance(3 * REQUEST_TIMEOUT_MS, settle)
  assert.ok(isOutcomeUnknown(outcome))
  etcd.fate = () => 'done'
  assert.equal((await store.transact([], [put('/b', '')])).applied, true)
  etcd.arrive()
  assert.equal(textOf(etcd, '/a'), undefined)
})

test('seeded: many at once under every fate; who was told applied was applied once, who was told otherwise never', async () => {
  const seeds = process.env.MILLRACE_SEED === undefined ? 60 : 1
  const first = Number(process.env.MILLRACE_SEED ?? 1)
  const reached = { applied: 0, unavailable: 0, unknown: 0 }
  for (let seed = first; seed < first + seeds; seed++) await runSeed(seed, reached)
  if (seeds > 1)
    assert.ok(
      Object.values(reached).every((count) => count > 20),
      JSON.stringify(reached),
    )
})

async function runSeed(
  seed: number,
  reached: { applied: number; unavailable: number; unknown: number },
): Promise<void> {
  const prng = new SeededPrng(seed)
  const clock = new TestClock(0)
  const { etcd, store } = await openFake(clock)
  const fates: Fate[] = ['refused', 'lost', 'unanswered', 'late', 'late']
  const faultPercent = 10 + prng.below(85)
  etcd.fate = () => (prng.below(100) < faultPercent ? fates[prng.below(fates.length)]! : 'done')
  const told = new Map<string, string>()
  for (let round = 0; round < 30; round++) {
    const key = `/k${round}`
    store.transact([], [put(key, '')]).then(
      ({ applied }) => told.set(key, applied ? 'applied' : 'not applied'),
      (error) =>
        told.set(key, isOutcomeUnknown(error) ? 'unknown' : isMillraceError(error) ? error.code : String(error)),
    )
    await clock.advance(prng.below(200), settle)
    if (prng.below(4) === 0) etcd.arrive()
  }
  await clock.advance(20 * REQUEST_TIMEOUT_MS, settle)
  etcd.arrive()
  for (let round = 0; round < 30; round++) {
    const key = `/k${round}`
    const version = etcd.values.get(key)?.version ?? 0
    const text = `${key} of seed ${seed}: ${told.get(key)}, version ${version}`
    assert.ok(version <= 1, text)
    if (told.get(key) === 'applied') assert.equal(version, 1, text)
    else if (told.get(key) === 'BROKER_NOT_AVAILABLE') assert.equal(version, 0, text)
    else assert.equal(told.get(key), 'unknown', text)
  }
  for (const outcome of told.values())
    reached[outcome === 'applied' ? 'applied' : outcome === 'unknown' ? 'unknown' : 'unavailable']++
}

test("the lanes' own lease that is gone is replaced, and a lease that is gone is refused", async () => {
  const { etcd, store } = await openFake(new TestClock(0))
  await store.transact([], [put('/a', '1')])
  etcd.leases.clear()
  assert.equal((await store.transact([], [put('/a', '2')])).applied, true)
  const operation = { ...put('/a', '3'), leaseId: '77' }
  await assert.rejects(store.transact([], [operation]), hasCode('INVALID_ARGUMENT', /lease/))
  await assert.rejects(store.transact([], [{ ...operation, leaseId: 'x' }]), hasCode('INVALID_ARGUMENT', /lease x/))
  assert.equal(textOf(etcd, '/a'), '2')
})

test('a member that is silent costs one attempt: the next one is asked', async () => {
  const clock = new TestClock(0)
  const { etcd, store } = await openFake(clock)
  const silent = new Set(['http://a:1'])
  etcd.fate = (_, url) => (silent.has(url) ? 'lost' : 'done')
  for (let round = 0; round < 3; round++) {
    let value: unknown = 'none'
    void store.get('/a').then((told) => (value = told))
    await clock.advance(Math.ceil(REQUEST_TIMEOUT_MS / 3) + 1, settle)
    assert.equal(value, undefined)
  }
})
