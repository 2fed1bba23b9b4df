/** What a watch makes of the streams it goes through; the real ones are in the contract. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openEtcdStore } from '../../../src/coordination/etcd-metadata-store.ts'
import type { StoreWatch } from '../../../src/coordination/metadata-store.ts'
import { TestClock } from '../../../src/in-process/test-clock.ts'
import { hasCode } from '../../support/expect.ts'
import { FakeEtcd } from '../../support/fake-etcd.ts'

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const REQUEST_TIMEOUT_MS = 3_000

/** A watch of /w/ from revision 10 of an etcd at revision 20, created. */
async function watching(fromRevision = 10) {
  const clock = new TestClock(0)
  const etcd = new FakeEtcd(clock)
  etcd.revision = 20
  const store = await openEtcdStore({
    urls: ['http://a:1', 'http://b:1'],
    clock,
    timers: clock,
    newId: () => 'client',
    requestTimeoutMs: REQUEST_TIMEOUT_MS,
    createClient: etcd.createClient,
  })
  const seen: string[] = []
  const opening = store.watch(
    '/w/',
    fromRevision,
    (events) => seen.push(`${events[0]!.revision}: ${events.map(({ key }) => key).join(' ')}`),
    () => seen.push('resync'),
  )
  let watch: StoreWatch | undefined
  void opening.then((opened) => (watch = opened))
  await settle()
  assert.equal(watch, undefined)
  etcd.stream.say({ created: true })
  return { clock, etcd, store, seen, watch: await opening }
}

test('a revision that comes in pieces is told as one', async () => {
  const { etcd, seen } = await watching()
  assert.equal(etcd.stream.startRevision, 11)
  etcd.stream.tell(
    [
      { revision: 11, keys: ['/w/a'] },
      { revision: 12, keys: ['/w/a', '/w/b'] },
    ],
    true,
  )
  assert.deepEqual(seen, ['11: /w/a'])
  etcd.stream.tell([{ revision: 12, keys: ['/w/c'] }], true)
  etcd.stream.tell([
    { revision: 12, keys: ['/w/d'] },
    { revision: 13, keys: ['/w/e'] },
  ])
  assert.deepEqual(seen, ['11: /w/a', '12: /w/a /w/b /w/c /w/d', '13: /w/e'])
})

test('a lost stream is followed by one from the revision after the last one told; pieces of a revision are told anew', async () => {
  const { clock, etcd, seen } = await watching()
  const first = etcd.stream
  first.tell(
    [
      { revision: 11, keys: ['/w/a'] },
      { revision: 12, keys: ['/w/b'] },
    ],
    true,
  )
  first.fail()
  assert.ok(first.isCancelled)
  first.tell([{ revision: 12, keys: ['/w/late'] }])
  await clock.advance(100, settle)
  assert.notEqual(etcd.stream, first)
  assert.notEqual(etcd.stream.url, first.url)
  assert.equal(etcd.stream.startRevision, 12)
  etcd.stream.say({ created: true })
  etcd.stream.tell([{ revision: 11, keys: ['/w/a'] }])
  etcd.stream.tell([{ revision: 12, keys: ['/w/b', '/w/c'] }])
  assert.deepEqual(seen, ['11: /w/a', '12: /w/b /w/c'])
})

test('progress moves the beginning of the next stream; the head of another answer does not', async () => {
  const { clock, etcd } = await watching()
  // The answer to a ping overtakes events: etcd issue 15220.
  etcd.stream.say({ watch_id: '-1' }, 19)
  etcd.stream.tell([{ revision: 14, keys: ['/w/a'] }])
  etcd.stream.fail()
  await clock.advance(100, settle)
  assert.equal(etcd.stream.startRevision, 15)
  etcd.stream.say({ created: true })
  etcd.stream.say({}, 18)
  etcd.stream.fail()
  await clock.advance(200, settle)
  assert.equal(etcd.stream.startRevision, 19)
})

test('keys of the store itself are told to nobody', async () => {
  const { etcd, seen } = await watching()
  etcd.stream.tell([{ revision: 11, keys: ['/millrace/v1/requests/x/1'] }])
  etcd.stream.tell([{ revision: 12, keys: ['/millrace/v1/requests/x/1', '/w/a'] }])
  assert.deepEqual(seen, ['12: /w/a'])
})

test('compacted: list again, and on from the revision of now', async () => {
  const { etcd, seen } = await watching()
  etcd.revision = 30
  etcd.stream.say({ canceled: true, compact_revision: '25' })
  await settle()
  assert.deepEqual(seen, ['resync'])
  assert.equal(etcd.stream.startRevision, 31)
  etcd.stream.say({ created: true })
  etcd.stream.tell([{ revision: 31, keys: ['/w/a'] }])
  assert.deepEqual(seen, ['resync', '31: /w/a'])
})

test('a store whose revision fell back is another one: list again', async () => {
  const { clock, etcd, seen } = await watching()
  etcd.stream.tell([{ revision: 15, keys: ['/w/a'] }])
  etcd.revision = 5
  etcd.stream.fail()
  await clock.advance(100, settle)
  assert.deepEqual(seen, ['15: /w/a', 'resync'])
  assert.equal(etcd.stream.startRevision, 6)
})

test('a stream that says nothing, although it is asked, is given up; one that answers is kept', async () => {
  const { clock, etcd } = await watching()
  const first = etcd.stream
  for (let round = 0; round < 20; round++) {
    await clock.advance(REQUEST_TIMEOUT_MS / 3, settle)
    first.say({ watch_id: '-1' })
  }
  assert.equal(etcd.stream, first)
  for (let round = 0; round < 30 && etcd.stream === first; round++) await clock.advance(100, settle)
  assert.notEqual(etcd.stream, first)
  assert.notEqual(etcd.stream.url, first.url)
})

test('a watch that cannot begin says why; one that began tries for ever; a closed one is silent', async () => {
  const { clock, etcd, store, seen, watch } = await watching()
  const failing = assert.rejects(
    store.watch(
      '/v/',
      1,
      () => {},
      () => {},
    ),
    hasCode('BROKER_NOT_AVAILABLE', /permission denied/),
  )
  await settle()
  etcd.stream.say({ created: true, canceled: true, watch_id: '-1', cancel_reason: 'etcdserver: permission denied' })
  for (let round = 0; round < 40; round++) {
    await clock.advance(100, settle)
    etcd.stream.say({ created: true, canceled: true, watch_id: '-1', cancel_reason: 'etcdserver: permission denied' })
  }
  await failing
  etcd.fate = () => 'refused'
  for (const stream of etcd.streams) stream.fail()
  await clock.advance(60_000, settle)
  etcd.fate = () => 'done'
  const streams = etcd.streams.length
  for (let round = 0; round < 50 && etcd.streams.length === streams; round++) await clock.advance(100, settle)
  assert.equal(etcd.streams.length, streams + 1)
  etcd.stream.say({ created: true })
  etcd.stream.tell([{ revision: 16, keys: ['/w/a'] }])
  await watch.close()
  etcd.stream.tell([{ revision: 17, keys: ['/w/b'] }])
  assert.deepEqual(seen, ['16: /w/a'])
  await store.close()
})
