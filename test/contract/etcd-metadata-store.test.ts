/**
 * The metadata store on real etcd: the contract, and what only happens over a network: lost replies, members that die or stand still,
 * authentication, TLS. Between the store and etcd lies a proxy that cuts and holds what passes.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { utf8Decode } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/node/system-clock.ts'
import {
  type EtcdMetadataStore,
  type EtcdStoreOptions,
  openEtcdStore,
} from '../../src/coordination/etcd-metadata-store.ts'
import { isOutcomeUnknown } from '../../src/coordination/metadata-store.ts'
import { systemTime } from '../../src/in-process/time-source.ts'
import { EtcdCluster, findEtcd, ROOT_PASSWORD } from '../support/etcd-process.ts'
import { hasCode } from '../support/expect.ts'
import { FaultProxy } from '../support/fault-proxy.ts'
import { sleep, until } from '../support/until.ts'
import { metadataStoreContract, put, Seen, type StoreMake } from './metadata-store.contract.ts'
import { userStoreContract } from './user-store.contract.ts'

const etcd = findEtcd()
const options = etcd.kind === 'found' ? {} : { skip: etcd.reason }
const program = etcd.kind === 'found' ? etcd.program : ''
const WAIT_MS_MAX = 30_000

let nextClient = 1
function storeOptions(urls: readonly string[], more: Partial<EtcdStoreOptions> = {}): EtcdStoreOptions {
  const newId = (): string => `client-${process.pid}-${nextClient++}`
  return { urls, clock: systemClock, timers: systemTime, newId, requestTimeoutMs: 8_000, ...more }
}

let cluster: EtcdCluster
let proxy: FaultProxy

before(async () => {
  if (etcd.kind !== 'found') return
  cluster = await EtcdCluster.start({ program })
  proxy = await FaultProxy.start(cluster.ports[0]!)
})

after(async () => {
  proxy?.close()
  await cluster?.close()
})

/** The client behind the proxy, of an etcd that has nothing in it. */
async function openBehindProxy(more: Partial<EtcdStoreOptions> = {}): Promise<EtcdMetadataStore> {
  proxy.admit()
  await cluster.removeAll()
  return openEtcdStore(storeOptions([`http://127.0.0.1:${proxy.port}`], more))
}

const make: StoreMake = {
  open: () => openBehindProxy(),
  another: () => openEtcdStore(storeOptions(cluster.urls)),
  pass: sleep,
  compact: () => cluster.compact(),
  cut: async () => proxy.refuse(),
  mend: async () => proxy.admit(),
  nowMs: () => systemClock.monotonicMs(),
}
metadataStoreContract('etcd', make, options)
userStoreContract('etcd', make, options)

test('a transaction whose reply is lost is read back: it was applied, once', options, async () => {
  const store = await openBehindProxy()
  await store.transact([], [put('/n', '0')])
  for (const link of proxy.links) link.holdBack()
  const transacting = store.transact([{ kind: 'present', key: '/n' }], [put('/n', '1'), put('/m', '1')])
  await until('change in etcd', WAIT_MS_MAX, async () => (await cluster.admin().get('/n').string()) === '1')
  for (const link of proxy.links) link.cut()
  const result = await transacting
  const stored = (await store.get('/n'))!
  assert.deepEqual([result.applied, result.revision, stored.version], [true, stored.modRevision, 2])
  assert.equal((await store.transact([], [put('/n', '2')])).applied, true)
  await store.close()
})

test(
  'a transaction that is lost on its way is sent again, and its first sending is void when it arrives late',
  options,
  async () => {
    const store = await openBehindProxy()
    await store.transact([], [put('/n', '0')])
    const held = proxy.links
    for (const link of held) link.holdForward()
    const transacting = store.transact([], [put('/n', '1')])
    await sleep(200)
    for (const link of held) link.cutClient()
    assert.equal((await transacting).applied, true)
    const before = (await store.get('/n'))!
    assert.equal(before.version, 2)
    await store.transact([], [put('/n', 'newer')])
    for (const link of held) link.release()
    await sleep(500)
    assert.equal(utf8Decode((await store.get('/n'))!.value), 'newer')
    await store.close()
  },
)

test('a transaction that cannot be read back has an unknown outcome, and says so', options, async () => {
  const store = await openBehindProxy({ requestTimeoutMs: 1_000 })
  await store.transact([], [put('/n', '0')])
  for (const link of proxy.links) link.holdBack()
  const transacting = store.transact([], [put('/n', '1')])
  const failing = assert.rejects(transacting, (error) => {
    assert.ok(isOutcomeUnknown(error), String(error))
    return hasCode('UNKNOWN_SERVER_ERROR', /not known whether the transaction was applied/)(error)
  })
  await until('change in etcd', WAIT_MS_MAX, async () => (await cluster.admin().get('/n').string()) === '1')
  proxy.refuse()
  await failing
  // Nothing was sent: that is known.
  await assert.rejects(store.transact([], [put('/n', '2')]), hasCode('BROKER_NOT_AVAILABLE', /etcd cannot be reached/))
  proxy.admit()
  assert.equal((await store.transact([], [put('/n', '3')])).applied, true)
  assert.equal((await store.get('/n'))!.version, 3)
  await store.close()
})

test('a client that is closed leaves no key of its own', options, async () => {
  const store = await openBehindProxy()
  await Promise.all(Array.from({ length: 30 }, (_, index) => store.transact([], [put(`/k${index}`, '')])))
  await store.close()
  const keys = await cluster.admin().getAll().keys()
  assert.equal(keys.filter((key) => !/^\/k\d+$/.test(key)).length, 0, keys.join(' '))
})

test('an etcd that is not there is named, with what was wrong', options, async () => {
  const opening = openEtcdStore(
    storeOptions(['http://127.0.0.1:1', 'http://no-such-host.invalid:2379'], { requestTimeoutMs: 600 }),
  )
  await assert.rejects(
    opening,
    hasCode('BROKER_NOT_AVAILABLE', /http:\/\/127\.0\.0\.1:1 \(connection refused\).*no-such-host\.invalid:2379 \(/),
  )
  const user = { user: 'root', password: 'x' }
  await assert.rejects(
    openEtcdStore(storeOptions(cluster.urls, user)),
    hasCode('BROKER_NOT_AVAILABLE', /authentication failed: etcd has none/),
  )
})

test('a setting that is half there is refused', options, async () => {
  const halves: [Partial<EtcdStoreOptions>, RegExp][] = [
    [{ urls: [] }, /no URL/],
    [{ urls: ['127.0.0.1:2379'] }, /is not http/],
    [{ urls: ['http://user:secret@127.0.0.1:2379'] }, /is not http/],
    [{ urls: ['http://a:1', 'https://b:1'] }, /one kind/],
    [{ tls: { ca: 'x' } }, /its URLs are http/],
    [{ urls: ['https://a:1'], tls: { cert: 'x' } }, /go together/],
    [{ user: 'root' }, /go together/],
    [{ requestTimeoutMs: 0 }, /more than 0/],
  ]
  for (const [half, text] of halves)
    await assert.rejects(openEtcdStore(storeOptions(['http://a:1'], half)), hasCode('INVALID_ARGUMENT', text))
})

test('with a user and its password, over TLS, with a certificate of its own', options, async () => {
  const secured = await EtcdCluster.start({ program, tls: true, password: ROOT_PASSWORD })
  const tls = secured.certificates!
  const open = (more: Partial<EtcdStoreOptions>) =>
    openEtcdStore(storeOptions(secured.urls, { requestTimeoutMs: 1_500, ...more }))
  const user = { user: 'root', password: ROOT_PASSWORD }
  try {
    const store = await open({ tls, ...user, requestTimeoutMs: 8_000 })
    const { revision } = await store.transact([], [put('/a', '1')])
    const seen = new Seen()
    const watch = await store.watch('/', revision, seen.onEvents, seen.onResync)
    const lease = await store.lease(5_000)
    await store.transact([], [{ ...put('/live', '1'), leaseId: lease.leaseId }])
    await lease.revoke()
    await seen.until('put and delete', () => seen.revisions.length === 2)
    // An etcd that starts anew knows no token any more.
    await secured.kill(0)
    await secured.restart(0)
    await store.transact([], [put('/b', '1')])
    await seen.until('a put after the restart', () => seen.revisions.length === 3)
    await watch.close()
    await store.close()
    const refusals: [Partial<EtcdStoreOptions>, RegExp][] = [
      [{ tls, user: 'root', password: 'wrong' }, /authentication failed: user or password is wrong/],
      // Without a user, etcd takes the common name of the certificate for one: it has no rights here.
      [{ tls }, /permission denied/],
      [{ tls: { ca: tls.ca }, ...user }, /TLS: |the connection broke/],
      [user, /TLS: .*certificate/],
      [{ urls: secured.urls.map((url) => url.replace('https', 'http')), ...user }, /the connection broke/],
    ]
    for (const [more, text] of refusals) await assert.rejects(open(more), hasCode('BROKER_NOT_AVAILABLE', text))
  } finally {
    await secured.close()
  }
})

test('one member of three dies, or stands still: the store goes on', options, async () => {
  const three = await EtcdCluster.start({ program, members: 3 })
  try {
    const store = await openEtcdStore(storeOptions(three.urls))
    const { revision } = await store.transact([], [put('/w/0', '')])
    const seen = new Seen()
    const watch = await store.watch('/w/', revision, seen.onEvents, seen.onResync)
    const lease = await store.lease(10_000)
    let lost = 0
    lease.onLost(() => lost++)
    let round = 0
    const work = async (times: number): Promise<void> => {
      for (let time = 0; time < times; time++) {
        const key = `/w/${++round}`
        assert.equal((await store.transact([{ kind: 'absent', key }], [put(key, '')])).applied, true, key)
        assert.ok(await store.get(key))
      }
    }
    await work(5)
    for (let index = 0; index < 3; index++) {
      await three.kill(index)
      await work(10)
      await three.restart(index)
      three.pause(index)
      await work(10)
      three.resume(index)
      await three.ready()
    }
    await seen.until('the last one', () => seen.keys.at(-1)?.[0] === `put /w/${round}`)
    assert.deepEqual(
      seen.keys,
      Array.from({ length: round }, (_, index) => [`put /w/${index + 1}`]),
    )
    assert.deepEqual([seen.resyncs, lost], [0, 0])
    assert.ok(lease.deadlineMs() > systemClock.monotonicMs())
    await watch.close()
    await store.close()
  } finally {
    await three.close()
  }
})

test(
  'two members of three stand still: nothing is told to be done that is not; then all goes on',
  options,
  async () => {
    const three = await EtcdCluster.start({ program, members: 3 })
    try {
      const store = await openEtcdStore(storeOptions(three.urls, { requestTimeoutMs: 2_000 }))
      const { revision } = await store.transact([], [put('/w/0', '')])
      const seen = new Seen()
      const watch = await store.watch('/w/', revision, seen.onEvents, seen.onResync)
      const lease = await store.lease(3_000)
      let lost = 0
      lease.onLost(() => lost++)
      three.pause(0)
      three.pause(1)
      const outcome = await store.transact([], [put('/w/1', '')]).catch((error: unknown) => error)
      assert.ok(isOutcomeUnknown(outcome) || hasCode('BROKER_NOT_AVAILABLE')(outcome))
      await assert.rejects(store.get('/w/0'), hasCode('BROKER_NOT_AVAILABLE', /timeout|no leader|request timed out/))
      await until('loss of the lease', WAIT_MS_MAX, () => lost === 1)
      three.resume(0)
      three.resume(1)
      await three.ready()
      await until('transaction', WAIT_MS_MAX, () =>
        store.transact([{ kind: 'absent', key: '/w/2' }], [put('/w/2', '')]).then(
          () => true,
          () => false,
        ),
      )
      await seen.until('the put', () => seen.revisions.flat().some(({ key }) => key === '/w/2'))
      const stored = await store.get('/w/1')
      // Not applied was said: then never.
      if (!isOutcomeUnknown(outcome)) assert.equal(stored, undefined)
      assert.ok((stored?.version ?? 0) <= 1)
      await watch.close()
      await store.close()
    } finally {
      await three.close()
    }
  },
)
