/** page-cache and resident-window: what may be given up, and what counts as new. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Offset } from '../../../src/model/ids.ts'
import { createPagePool, PageOwner, PageUser } from '../../../src/ring/page-pool.ts'
import { newCachedFile, PageCache } from '../../../src/worker/page-cache.ts'
import { newResidentMarks, ResidentWindow } from '../../../src/worker/resident-window.ts'

function newCache(pageCount: number): { cache: PageCache; user: PageUser } {
  const memory = createPagePool({ pageBytes: 64, pageCount })
  return { cache: new PageCache(new PageOwner(memory)), user: new PageUser(memory) }
}

describe('page cache', () => {
  test('gives up the page that was not found lately, never one that is lent or loading', () => {
    const { cache, user } = newCache(3)
    const file = newCachedFile()
    cache.beginReading()
    const [lent, loading, idle] = [0, 1, 2].map((block) => cache.add(file, block)!)
    cache.lend(lent!)
    loading!.load = { partition: undefined as never, fd: 0, bytes: 1 }
    assert.equal(cache.add(file, 3), undefined, 'all three belong to this reading')
    cache.beginReading()
    const fresh = cache.add(file, 3)
    assert.equal(fresh?.page, idle!.page)
    assert.equal(cache.find(file, 2), undefined)
    assert.equal(cache.find(file, 0), lent)
    cache.beginReading()
    user.release(lent!.page)
    assert.ok(cache.add(file, 4))
    assert.equal(cache.find(file, 1), loading)
  })

  test('pages of a dropped file go at once, those under a read when it ends', () => {
    const { cache } = newCache(4)
    const file = newCachedFile()
    const [one, two] = [0, 1].map((block) => cache.add(file, block)!)
    one!.filledBytes = 10
    two!.load = { partition: undefined as never, fd: 0, bytes: 1 }
    cache.dropFile(file)
    assert.equal(cache.usedPages, 1)
    two!.filledBytes = 5
    cache.endLoading(two!)
    assert.equal(cache.usedPages, 0)
  })

  test('a read that brought nothing leaves nothing', () => {
    const { cache } = newCache(4)
    const file = newCachedFile()
    const page = cache.add(file, 0)!
    page.load = { partition: undefined as never, fd: 0, bytes: 1 }
    cache.endLoading(page)
    assert.equal(cache.find(file, 0), undefined)
  })
})

describe('resident window', () => {
  const offset = (value: number) => value as Offset

  test('what was written within the window is resident, older is not, nothing is before the first write', () => {
    const window = new ResidentWindow(800)
    const marks = newResidentMarks()
    assert.equal(window.isResident(marks, offset(0)), false)
    for (let at = 0; at < 20; at++) window.onWrite(marks, offset(at), 100)
    assert.equal(window.isResident(marks, offset(19)), true)
    assert.equal(window.isResident(marks, offset(13)), true)
    assert.equal(window.isResident(marks, offset(11)), false)
    assert.ok(marks.eras.length <= 8)
  })

  test("other partitions' writes push a partition's bytes out", () => {
    const window = new ResidentWindow(800)
    const [quiet, busy] = [newResidentMarks(), newResidentMarks()]
    window.onWrite(quiet, offset(0), 100)
    assert.equal(window.isResident(quiet, offset(0)), true)
    for (let at = 0; at < 9; at++) window.onWrite(busy, offset(at), 100)
    assert.equal(window.isResident(quiet, offset(0)), false)
  })
})
