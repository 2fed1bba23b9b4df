import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createPagePool, PageOwner, PageUser } from '../../../src/ring/page-pool.ts'

const invariant = { name: 'InvariantError' }

function open(pageCount = 3, pageBytes = 64) {
  const memory = createPagePool({ pageBytes, pageCount })
  return { owner: new PageOwner(memory), user: new PageUser(memory) }
}

describe('the page pool', () => {
  test('lends each page once, then has none', () => {
    const { owner } = open()
    const pages = [owner.acquire(), owner.acquire(), owner.acquire()]
    assert.deepEqual([...pages].sort(), [0, 1, 2])
    assert.equal(owner.acquire(), -1)
    assert.equal(owner.stalls, 1)
    assert.equal(owner.pagesInUse(), 3)
    owner.release(pages[1]!)
    assert.equal(owner.acquire(), pages[1])
  })

  test('a page comes back when the last of owner and users lets go, whoever that is', () => {
    const { owner, user } = open(1)
    const page = owner.acquire()
    owner.retain(page)
    owner.retain(page)
    assert.equal(owner.count(page), 3)
    user.release(page)
    owner.release(page)
    assert.equal(owner.acquire(), -1)
    user.release(page)
    assert.equal(owner.count(page), 0)
    assert.equal(owner.pagesInUse(), 0)
    assert.equal(owner.acquire(), page)
  })

  test('owner and user see the same bytes', () => {
    const { owner, user } = open()
    owner.acquire()
    const page = owner.acquire()
    owner.bytes(page).set([1, 2, 3, 4], 10)
    assert.deepEqual([...user.view(page, 10, 14)], [1, 2, 3, 4])
    assert.equal(owner.bytes(page).length, 64)
    assert.equal(owner.bytes(page), owner.bytes(page), 'one view per page')
    assert.equal(owner.bytes(0).byteOffset % 4096, 0)
  })

  test('counts never fall below zero, and rise only from one', () => {
    const { owner, user } = open()
    const page = owner.acquire()
    owner.release(page)
    assert.throws(() => user.release(page), { ...invariant, message: /released more often/ })
    assert.throws(() => open().owner.retain(0), { ...invariant, message: /retained/ })
    assert.throws(() => open().owner.release(0), invariant)
  })

  test('refuses pages and ranges that are not there', () => {
    const { owner, user } = open()
    for (const page of [-1, 3, Number.NaN]) {
      assert.throws(() => owner.bytes(page), invariant)
      assert.throws(() => user.release(page), invariant)
    }
    assert.throws(() => user.view(0, 0, 65), { ...invariant, message: /\[0, 65\)/ })
    assert.throws(() => user.view(0, 5, 4), invariant)
    assert.throws(() => createPagePool({ pageBytes: 12, pageCount: 1 }), invariant)
    assert.throws(() => createPagePool({ pageBytes: 64, pageCount: 0 }), invariant)
    assert.throws(() => new PageOwner(new SharedArrayBuffer(4096)), invariant)
  })

  test('finds what came back in any order', () => {
    const { owner, user } = open(100, 8)
    for (let round = 0; round < 20; round++) {
      const pages: number[] = []
      for (let page = owner.acquire(); page >= 0; page = owner.acquire()) pages.push(page)
      assert.equal(pages.length, 100)
      for (const [at, page] of pages.entries()) (((at * 7 + round) % 3 === 0 ? owner : user) as PageUser).release(page)
      assert.equal(owner.pagesInUse(), 0)
    }
  })
})
