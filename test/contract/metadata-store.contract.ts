/** What every MetadataStore must do. Run by metadata-store.test.ts on each make. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Decode, utf8Encode } from '../../src/base/bytes.ts'
import {
  type MetadataStore,
  STORE_OPERATIONS_MAX,
  STORE_VALUE_BYTES_MAX,
  type StoreEvent,
} from '../../src/coordination/metadata-store.ts'

const put = (key: string, text: string) => ({ kind: 'put', key, value: utf8Encode(text) }) as const

export function metadataStoreContract(name: string, open: () => Promise<MetadataStore>): void {
  const withStore = (title: string, work: (store: MetadataStore) => Promise<void>) =>
    test(`${name}: ${title}`, async () => {
      const store = await open()
      try {
        await work(store)
      } finally {
        await store.close()
      }
    })

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

  withStore('a transaction applies wholly or not at all', async (store) => {
    const { revision } = await store.transact([], [put('/a', '1')])
    const cases = [
      [{ kind: 'absent', key: '/a' }],
      [{ kind: 'present', key: '/zz' }],
      [{ kind: 'revision', key: '/a', modRevision: revision + 1 }],
      [{ kind: 'revision', key: '/zz', modRevision: revision }],
      [
        { kind: 'present', key: '/a' },
        { kind: 'absent', key: '/a' },
      ],
    ] as const
    for (const conditions of cases) {
      const result = await store.transact(conditions, [put('/a', 'no'), put('/b', 'no')])
      assert.equal(result.applied, false)
    }
    assert.equal(utf8Decode((await store.get('/a'))!.value), '1')
    assert.equal(await store.get('/b'), undefined)
    const conditions = [
      { kind: 'revision', key: '/a', modRevision: revision },
      { kind: 'absent', key: '/b' },
    ] as const
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
    await assert.rejects(store.transact([], many), { code: 'INVALID_ARGUMENT' })
    const large = { kind: 'put', key: '/k', value: new Uint8Array(STORE_VALUE_BYTES_MAX + 1) } as const
    await assert.rejects(store.transact([], [large]), { code: 'INVALID_ARGUMENT' })
    await assert.rejects(store.transact([], [put('/a', '1'), put('/a', '2')]), { code: 'INVALID_ARGUMENT' })
    assert.equal((await store.transact([], many.slice(0, STORE_OPERATIONS_MAX))).applied, true)
  })

  withStore('a watch sees every later change once, in order, a revision together', async (store) => {
    await store.transact([], [put('/w/before', '0')])
    const { revision } = await store.list('/w/')
    const seen: StoreEvent[][] = []
    await store.transact([], [put('/w/a', '1')])
    const watch = await store.watch(
      '/w/',
      revision,
      (events) => seen.push([...events]),
      () => assert.fail('no resync'),
    )
    await store.transact([], [put('/w/b', '2'), put('/other', 'x'), { kind: 'delete', key: '/w/before' }])
    await store.transact([], [put('/other', 'y')])
    await store.transact([], [put('/w/a', '3')])
    for (let turn = 0; turn < 100 && seen.length < 3; turn++) await new Promise((resolve) => setTimeout(resolve, 5))
    assert.deepEqual(
      seen.map((events) => events.map((event) => [event.kind, event.key])),
      [
        [['put', '/w/a']],
        [
          ['put', '/w/b'],
          ['delete', '/w/before'],
        ],
        [['put', '/w/a']],
      ],
    )
    await watch.close()
    await store.transact([], [put('/w/a', '4')])
    assert.equal(seen.length, 3)
  })

  withStore('keys of a lease go when it is revoked', async (store) => {
    const lease = await store.lease(10_000)
    await store.transact([], [{ ...put('/live', '1'), leaseId: lease.leaseId }, put('/stays', '1')])
    assert.ok(await store.get('/live'))
    await lease.revoke()
    assert.equal(await store.get('/live'), undefined)
    assert.ok(await store.get('/stays'))
  })

  test(`${name}: a closed store refuses`, async () => {
    const store = await open()
    await store.close()
    await assert.rejects(store.get('/a'))
    await assert.rejects(store.transact([], [put('/a', '1')]))
  })
}
