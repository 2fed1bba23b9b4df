/** What every MetadataStore must do. Run by metadata-store.test.ts and etcd-metadata-store.test.ts on each make. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Decode, utf8Encode } from '../../src/base/bytes.ts'
import {
  type MetadataStore,
  STORE_OPERATIONS_MAX,
  STORE_TRANSACTION_BYTES_MAX,
  STORE_VALUE_BYTES_MAX,
  type StoreEvent,
} from '../../src/coordination/metadata-store.ts'

export const put = (key: string, text: string) => ({ kind: 'put', key, value: utf8Encode(text) }) as const

/** A make of the store, and what a test does to it. */
export interface StoreMake {
  /** A client of a store that is new and empty. */
  open(): Promise<MetadataStore>
  /** Another client of the store that was opened last; undefined where a store has one client. */
  readonly another?: () => Promise<MetadataStore>
  /** Lets the time pass in which leases live; undefined where they do not expire. */
  readonly pass?: (ms: number) => Promise<void>
  /** Everything before now is forgotten; undefined where the test cannot ask for it. */
  readonly compact?: () => Promise<void>
  /** Cuts the connections of the client opened first, and mends them. */
  readonly cut?: () => Promise<void>
  readonly mend?: () => Promise<void>
  /** The monotonic clock that leases count by. */
  readonly nowMs: () => number
}

const SEEN_MS_MAX = 20_000

/** Everything that a watch told. */
export class Seen {
  readonly revisions: (readonly StoreEvent[])[] = []
  resyncs = 0
  readonly onEvents = (events: readonly StoreEvent[]): void => void this.revisions.push(events)
  readonly onResync = (): void => void this.resyncs++

  get keys(): string[][] {
    return this.revisions.map((events) => events.map(({ kind, key }) => `${kind} ${key}`))
  }

  /** Waits until `condition` holds. */
  async until(what: string, condition: () => boolean): Promise<void> {
    const untilMs = performance.now() + SEEN_MS_MAX
    while (!condition()) {
      assert.ok(performance.now() < untilMs, `${what}: ${JSON.stringify(this.keys)}, ${this.resyncs} resyncs`)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
}

export function metadataStoreContract(name: string, make: StoreMake, options: { readonly skip?: string } = {}): void {
  const withStore = (title: string, work: (store: MetadataStore) => Promise<void>) =>
    test(`${name}: ${title}`, options, async () => {
      const store = await make.open()
      try {
        await work(store)
      } finally {
        await store.close()
      }
    })

  values(withStore)
  watches(withStore, make)
  leases(withStore, make)
  sharedByClients(withStore, make)

  test(`${name}: a closed store refuses`, options, async () => {
    const store = await make.open()
    const lease = await store.lease(10_000)
    let lost = 0
    lease.onLost(() => lost++)
    await store.close()
    await assert.rejects(store.get('/a'), { code: 'CLOSED' })
    await assert.rejects(store.transact([], [put('/a', '1')]), { code: 'CLOSED' })
    assert.deepEqual([lost, lease.deadlineMs()], [1, Number.NEGATIVE_INFINITY])
  })
}

type WithStore = (title: string, work: (store: MetadataStore) => Promise<void>) => void

function values(withStore: WithStore): void {
  withStore('a value is what was put last, with its revisions', async (store) => {
    assert.equal(await store.get('/a'), undefined)
    const first = await store.transact([], [put('/a', '1'), put('/b', 'x')])
    const second = await store.transact([], [put('/a', '2')])
    assert.ok(first.applied && second.applied && second.revision > first.revision)
    const a = await store.get('/a')
    assert.equal(utf8Decode(a!.value), '2')
    assert.deepEqual([a!.modRevision, a!.version], [second.revision, 2])
    const b = await store.get('/b')
    assert.deepEqual([b!.modRevision, b!.version], [first.revision, 1])
    await store.transact([], [{ kind: 'delete', key: '/a' }])
    assert.equal(await store.get('/a'), undefined)
    await store.transact([], [put('/a', '3')])
    assert.equal((await store.get('/a'))!.version, 1)
  })

  withStore('list: sorted, by prefix only, as of a revision', async (store) => {
    await store.transact(
      [],
      [put('/t/b', '2'), put('/t/a', '1'), put('/tx', 'no'), put('/t/c/d', '3'), put('/s', 'no')],
    )
    const { revision, values } = await store.list('/t/')
    assert.deepEqual(
      values.map(({ key, value }) => [key, utf8Decode(value)]),
      [
        ['/t/a', '1'],
        ['/t/b', '2'],
        ['/t/c/d', '3'],
      ],
    )
    const { revision: later } = await store.transact([], [{ kind: 'delete', key: '/t/b' }])
    assert.ok(later > revision)
    assert.deepEqual(
      (await store.list('/t/')).values.map(({ key }) => key),
      ['/t/a', '/t/c/d'],
    )
    assert.deepEqual((await store.list('/none')).values, [])
  })

  withStore('a long list is whole, and nobody sees keys that he did not put', async (store) => {
    const keys = Array.from({ length: 1_203 }, (_, index) => `/millrace/v1/long/${String(index).padStart(5, '0')}`)
    for (let at = 0; at < keys.length; at += STORE_OPERATIONS_MAX)
      await store.transact(
        [],
        keys.slice(at, at + STORE_OPERATIONS_MAX).map((key) => put(key, key)),
      )
    for (const prefix of ['/millrace/v1/long/', '/millrace/', ''])
      assert.deepEqual(
        (await store.list(prefix)).values.map(({ key }) => key),
        keys,
        prefix,
      )
  })

  withStore('a transaction applies wholly or not at all', async (store) => {
    const { revision } = await store.transact([], [put('/a', '1')])
    const cases = [
      [{ kind: 'absent', key: '/a' }],
      [{ kind: 'present', key: '/zz' }],
      [{ kind: 'revision', key: '/a', modRevision: revision + 1 }],
      [{ kind: 'revision', key: '/zz', modRevision: revision }],
      [{ kind: 'revision', key: '/zz', modRevision: 0 }],
      [
        { kind: 'present', key: '/a' },
        { kind: 'absent', key: '/a' },
      ],
    ] as const
    for (const conditions of cases) {
      const result = await store.transact(conditions, [put('/a', 'no'), put('/b', 'no')])
      assert.equal(result.applied, false, JSON.stringify(conditions))
      assert.equal((await store.transact(conditions, [])).applied, false, JSON.stringify(conditions))
    }
    assert.equal(utf8Decode((await store.get('/a'))!.value), '1')
    assert.equal(await store.get('/b'), undefined)
    const conditions = [
      { kind: 'revision', key: '/a', modRevision: revision },
      { kind: 'absent', key: '/b' },
    ] as const
    assert.equal((await store.transact(conditions, [])).applied, true)
    assert.equal((await store.transact(conditions, [put('/b', 'yes')])).applied, true)
  })

  withStore('of transactions that race for a key exactly one wins', async (store) => {
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        store.transact([{ kind: 'absent', key: '/lock' }], [put('/lock', String(index))]),
      ),
    )
    assert.equal(results.filter((result) => result.applied).length, 1)
    const winner = results.findIndex((result) => result.applied)
    assert.equal(utf8Decode((await store.get('/lock'))!.value), String(winner))
  })

  withStore('a counter by compare-and-set loses no step', async (store) => {
    await store.transact([], [put('/n', '0')])
    const step = async () => {
      for (;;) {
        const now = (await store.get('/n'))!
        const next = put('/n', String(Number(utf8Decode(now.value)) + 1))
        const condition = { kind: 'revision', key: '/n', modRevision: now.modRevision } as const
        if ((await store.transact([condition], [next])).applied) return
      }
    }
    await Promise.all(Array.from({ length: 10 }, step))
    assert.equal(utf8Decode((await store.get('/n'))!.value), '10')
  })

  withStore('bounds are refused by name', async (store) => {
    const many = Array.from({ length: STORE_OPERATIONS_MAX + 1 }, (_, index) => put(`/k${index}`, ''))
    const absent = many.map(({ key }) => ({ kind: 'absent', key }) as const)
    await assert.rejects(store.transact([], many), { code: 'INVALID_ARGUMENT' })
    await assert.rejects(store.transact(absent, []), { code: 'INVALID_ARGUMENT' })
    const large = (key: string, bytes: number) => ({ kind: 'put', key, value: new Uint8Array(bytes) }) as const
    await assert.rejects(store.transact([], [large('/k', STORE_VALUE_BYTES_MAX + 1)]), { code: 'INVALID_ARGUMENT' })
    const half = STORE_TRANSACTION_BYTES_MAX / 2
    await assert.rejects(store.transact([], [large('/k', half), large('/l', half)]), { code: 'INVALID_ARGUMENT' })
    await assert.rejects(store.transact([], [put('/a', '1'), put('/a', '2')]), { code: 'INVALID_ARGUMENT' })
    const full = many.slice(0, STORE_OPERATIONS_MAX)
    assert.equal((await store.transact(absent.slice(0, STORE_OPERATIONS_MAX), full)).applied, true)
    assert.equal((await store.transact([], [large('/k', half), large('/l', half - 4)])).applied, true)
  })
}

function watches(withStore: WithStore, make: StoreMake): void {
  withStore('a watch sees every later change once, in order, a revision together', async (store) => {
    await store.transact([], [put('/w/before', '0')])
    const { revision } = await store.list('/w/')
    const seen = new Seen()
    await store.transact([], [put('/w/a', '1')])
    const watch = await store.watch('/w/', revision, seen.onEvents, seen.onResync)
    await store.transact([], [put('/w/b', '2'), put('/other', 'x'), { kind: 'delete', key: '/w/before' }])
    await store.transact([], [put('/other', 'y')])
    await store.transact([], [put('/w/a', '3')])
    await seen.until('three revisions', () => seen.revisions.length >= 3)
    assert.deepEqual(
      seen.keys.map((keys) => [...keys].sort()),
      [['put /w/a'], ['delete /w/before', 'put /w/b'], ['put /w/a']],
    )
    assert.deepEqual(
      seen.revisions.flat().map(({ value }) => value && utf8Decode(value)),
      ['1', '2', undefined, '3'],
    )
    const together = seen.revisions.map((events) => new Set(events.map((event) => event.revision)).size)
    assert.deepEqual(together, [1, 1, 1])
    await watch.close()
    await store.transact([], [put('/w/a', '4')])
    assert.deepEqual([seen.revisions.length, seen.resyncs], [3, 0])
  })

  withStore('a watch from the past sees all that came since, however much it is', async (store) => {
    const { revision } = await store.transact([], [put('/w/first', '')])
    // More than a megabyte in each of three revisions: etcd cuts such answers.
    const value = 'x'.repeat(12_500)
    for (let round = 0; round < 3; round++)
      await store.transact(
        [],
        Array.from({ length: STORE_OPERATIONS_MAX }, (_, index) => put(`/w/${index}`, value)),
      )
    for (let round = 0; round < 30; round++) await store.transact([], [put('/w/n', String(round))])
    const seen = new Seen()
    const watch = await store.watch('/w/', revision, seen.onEvents, seen.onResync)
    await store.transact([], [put('/w/last', '')])
    await seen.until('the last one', () => seen.keys.at(-1)?.[0] === 'put /w/last')
    assert.deepEqual(
      seen.revisions.map((events) => events.length),
      [...Array(3).fill(STORE_OPERATIONS_MAX), ...Array(31).fill(1)],
    )
    const numbers = seen.revisions.map((events) => events[0]!.revision)
    assert.deepEqual(
      numbers,
      [...new Set(numbers)].sort((left, right) => left - right),
    )
    assert.equal(seen.resyncs, 0)
    await watch.close()
  })

  const { compact } = make
  if (compact === undefined) return
  withStore('a watch from before a compaction is told to list again, and goes on', async (store) => {
    const { revision } = await store.transact([], [put('/w/a', '1')])
    await store.transact([], [put('/w/a', '2')])
    await store.transact([], [put('/w/a', '3')])
    await compact()
    const seen = new Seen()
    const watch = await store.watch('/w/', revision, seen.onEvents, seen.onResync)
    await seen.until('a resync', () => seen.resyncs === 1)
    const listed = await store.list('/w/')
    assert.equal(utf8Decode(listed.values[0]!.value), '3')
    await store.transact([], [put('/w/b', '1')])
    await seen.until('an event after it', () => seen.revisions.length > 0)
    const later = seen.revisions.flat().filter((event) => event.revision > listed.revision)
    assert.deepEqual(
      later.map(({ key }) => key),
      ['/w/b'],
    )
    assert.equal(seen.resyncs, 1)
    await watch.close()
  })
}

function leases(withStore: WithStore, make: StoreMake): void {
  withStore('keys of a lease go when it is revoked', async (store) => {
    const lease = await store.lease(10_000)
    let lost = 0
    lease.onLost(() => lost++)
    assert.ok(lease.deadlineMs() > make.nowMs())
    await store.transact([], [{ ...put('/live', '1'), leaseId: lease.leaseId }, put('/stays', '1')])
    const { revision } = await store.transact([], [{ ...put('/live2', '1'), leaseId: lease.leaseId }])
    assert.ok(await store.get('/live'))
    const seen = new Seen()
    const watch = await store.watch('/', revision, seen.onEvents, seen.onResync)
    await lease.revoke()
    assert.equal(await store.get('/live'), undefined)
    assert.ok(await store.get('/stays'))
    await seen.until('the deletes', () => seen.revisions.length > 0)
    assert.deepEqual(
      seen.keys.map((keys) => [...keys].sort()),
      [['delete /live', 'delete /live2']],
    )
    await lease.revoke()
    lease.onLost(() => lost++)
    assert.deepEqual([lost, lease.deadlineMs()], [0, Number.NEGATIVE_INFINITY])
    await watch.close()
  })

  withStore('a key that is put again without the lease outlives it', async (store) => {
    const lease = await store.lease(10_000)
    await store.transact([], [{ ...put('/live', '1'), leaseId: lease.leaseId }])
    await store.transact([], [put('/live', '2')])
    await lease.revoke()
    assert.equal(utf8Decode((await store.get('/live'))!.value), '2')
  })

  withStore('a lease is revoked by its id, and its holder hears of it', async (store) => {
    const lease = await store.lease(10_000)
    let lost = 0
    lease.onLost(() => lost++)
    await store.transact([], [{ ...put('/live', '1'), leaseId: lease.leaseId }])
    await store.revokeLease(lease.leaseId)
    assert.equal(await store.get('/live'), undefined)
    assert.deepEqual([lost, lease.deadlineMs()], [1, Number.NEGATIVE_INFINITY])
    lease.onLost(() => lost++)
    assert.equal(lost, 2)
    await store.revokeLease(lease.leaseId)
    await assert.rejects(store.transact([], [{ ...put('/live', '1'), leaseId: lease.leaseId }]), {
      code: 'INVALID_ARGUMENT',
    })
    assert.equal(await store.get('/live'), undefined)
    await assert.rejects(store.lease(0), { code: 'INVALID_ARGUMENT' })
  })

  const { pass } = make
  if (pass === undefined) return
  withStore('a lease that is kept alive lasts, with a deadline that moves on', async (store) => {
    const lease = await store.lease(2_000)
    await store.transact([], [{ ...put('/live', '1'), leaseId: lease.leaseId }])
    const first = lease.deadlineMs()
    assert.ok(first <= make.nowMs() + 2_000)
    for (let step = 0; step < 6; step++) {
      await pass(1_000)
      assert.ok(lease.deadlineMs() > make.nowMs(), 'the deadline passed')
    }
    assert.ok(lease.deadlineMs() > first)
    assert.ok(await store.get('/live'))
  })
}

/** Where a store has several clients. */
function sharedByClients(withStore: WithStore, make: StoreMake): void {
  const { another, pass, cut, mend, compact } = make
  if (another === undefined) return
  const withOther = (title: string, work: (store: MetadataStore, other: MetadataStore) => Promise<void>) =>
    withStore(title, async (store) => {
      const other = await another()
      try {
        await work(store, other)
      } finally {
        await other.close()
      }
    })

  withOther('one client sees what another one did', async (store, other) => {
    const { revision } = await store.transact([], [put('/a', '1')])
    const seen = new Seen()
    const watch = await other.watch('/', revision, seen.onEvents, seen.onResync)
    assert.equal(utf8Decode((await other.get('/a'))!.value), '1')
    const lease = await other.lease(5_000)
    // Under another client's lease, too.
    await store.transact([], [{ ...put('/live', '1'), leaseId: lease.leaseId }])
    await seen.until('the put', () => seen.revisions.length === 1)
    await lease.revoke()
    await seen.until('the delete', () => seen.revisions.length === 2)
    assert.equal(await store.get('/live'), undefined)
    await watch.close()
  })

  if (pass === undefined) return
  withOther(
    'keys of a client that is gone go when its lease is over, not before its deadline',
    async (store, other) => {
      const lease = await other.lease(2_000)
      await other.transact([], [{ ...put('/live', '1'), leaseId: lease.leaseId }])
      const deadlineMs = lease.deadlineMs()
      let wasLost = false
      lease.onLost(() => {
        wasLost = true
      })
      await other.close()
      assert.ok(wasLost)
      const goneMs = await goneAt(store, '/live', make, pass)
      assert.ok(goneMs >= deadlineMs, `gone at ${goneMs}, its holder's deadline was ${deadlineMs}`)
    },
  )

  withOther('a lease that another client revoked is lost to its holder', async (store, other) => {
    const lease = await store.lease(2_000)
    let lost = 0
    lease.onLost(() => lost++)
    await store.transact([], [{ ...put('/live', '1'), leaseId: lease.leaseId }])
    await other.revokeLease(lease.leaseId)
    assert.equal(await other.get('/live'), undefined)
    for (let step = 0; step < 60 && lost === 0; step++) await pass(50)
    assert.deepEqual([lost, lease.deadlineMs()], [1, Number.NEGATIVE_INFINITY])
  })

  if (cut === undefined || mend === undefined) return
  withOther('a watch across lost connections has no gap and tells nothing twice', async (store, other) => {
    const { revision } = await store.transact([], [put('/w/0', '')])
    const seen = new Seen()
    const watch = await store.watch('/w/', revision, seen.onEvents, seen.onResync)
    for (let round = 1; round <= 30; round++) {
      if (round % 10 === 3) await cut()
      if (round % 10 === 8) await mend()
      await other.transact([], [put(`/w/${round}`, ''), put(`/w/${round}b`, '')])
    }
    await seen.until('the last one', () => seen.keys.at(-1)?.includes('put /w/30') === true)
    assert.deepEqual(
      seen.keys.map((keys) => [...keys].sort()),
      Array.from({ length: 30 }, (_, index) => [`put /w/${index + 1}`, `put /w/${index + 1}b`]),
    )
    assert.equal(seen.resyncs, 0)
    await watch.close()
  })

  withOther('a holder that is cut off gives its lease up before the store ends it', async (store, other) => {
    const lease = await store.lease(2_000)
    let lostMs = Number.NaN
    lease.onLost(() => {
      lostMs = make.nowMs()
    })
    await store.transact([], [{ ...put('/live', '1'), leaseId: lease.leaseId }])
    await cut()
    const goneMs = await goneAt(other, '/live', make, pass)
    assert.ok(lostMs <= goneMs, `lost at ${lostMs}, gone at ${goneMs}`)
    await mend()
    await pass(1_000)
    assert.equal(lease.deadlineMs(), Number.NEGATIVE_INFINITY)
  })

  if (compact === undefined) return
  withOther('a watch that missed a compaction while it was cut off is told to list again', async (store, other) => {
    const { revision } = await store.transact([], [put('/w/a', '0')])
    const seen = new Seen()
    const watch = await store.watch('/w/', revision, seen.onEvents, seen.onResync)
    await cut()
    for (let round = 1; round <= 3; round++) await other.transact([], [put('/w/a', String(round))])
    await compact()
    await mend()
    await seen.until('a resync', () => seen.resyncs === 1)
    const listed = await store.list('/w/')
    await other.transact([], [put('/w/b', '')])
    await seen.until('the event after it', () => seen.keys.at(-1)?.[0] === 'put /w/b')
    assert.ok(seen.revisions.flat().every(({ key, revision: at }) => key === '/w/b' || at <= listed.revision))
    await watch.close()
  })
}

/** When the key was seen to be gone. */
async function goneAt(
  store: MetadataStore,
  key: string,
  make: StoreMake,
  pass: (ms: number) => Promise<void>,
): Promise<number> {
  for (let step = 0; step < 300; step++) {
    if ((await store.get(key)) === undefined) return make.nowMs()
    await pass(50)
  }
  assert.fail(`${key} is still there after 15 s`)
}
