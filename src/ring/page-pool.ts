/**
 * PagePool: pages of shared memory, lent by a shard to the gateway and to its disk thread, with a count of references each.
 * PageOwner is the shard's end, PageUser everybody else's.
 *
 * Owns        the pages, their counts, the list of pages that came back
 * Thread      one owner; any number of users
 * Invariants  PP1 the owner alone raises a count, and only from 1 or more; users only lower: a zero is stable
 *             PP2 a count never falls below zero                                    checked in: lower()
 *             PP3 a page whose count is 0 is in exactly one list: the owner's private one, or that of the returned
 *             PP4 whoever lowers a count to 0 puts the page into a list; nobody else does
 * Ordering    user: last look at the bytes -> count - 1 -> if it was the last: link, then list head (compareExchange, RETURN)
 *             owner: takes the whole list (exchange) -> writes the bytes again
 * Limits      pageCount, fixed; none free = -1
 * Failure     a thread that dies with references keeps its pages: main then fences the shard, whose pool is not used again
 */
import { assert, InvariantError } from '../base/assert.ts'

// Pool memory
// |             at |           size | field
// |              0 |              4 | pageBytes, i32
// |              4 |              4 | pageCount, i32
// |            128 |              4 | returned, i32: first page of the list of those that came back; -1 = none
// |            256 |  4 × pageCount | counts, i32 each
// |                |  4 × pageCount | links, i32 each: the next page of the list of the returned; -1 = last
// | multiple of 4K | pageBytes each | pages
const PAGE_BYTES_WORD = 0
const PAGE_COUNT_WORD = 1
const RETURNED_WORD = 32
const COUNTS_WORD = 64
const PAGES_ALIGN_BYTES = 4096
const NO_PAGE = -1

export const PAGE_COUNT_MAX = 2 ** 20

export interface PagePoolOptions {
  /** A multiple of 8. */
  readonly pageBytes: number
  readonly pageCount: number
}

/** The memory of a pool whose pages are all free. */
export function createPagePool(options: PagePoolOptions): SharedArrayBuffer {
  const { pageBytes, pageCount } = options
  assert(
    Number.isInteger(pageBytes) && pageBytes > 0 && pageBytes % 8 === 0,
    `pageBytes ${pageBytes} is no size of a page`,
  )
  assert(
    Number.isInteger(pageCount) && pageCount > 0 && pageCount <= PAGE_COUNT_MAX,
    `pageCount ${pageCount} is not in [1, ${PAGE_COUNT_MAX}]`,
  )
  const memory = new SharedArrayBuffer(pagesAt(pageCount) + pageBytes * pageCount)
  const words = new Int32Array(memory, 0, COUNTS_WORD)
  words[PAGE_BYTES_WORD] = pageBytes
  words[PAGE_COUNT_WORD] = pageCount
  words[RETURNED_WORD] = NO_PAGE
  return memory
}

function pagesAt(pageCount: number): number {
  const at = (COUNTS_WORD + 2 * pageCount) * 4
  return Math.ceil(at / PAGES_ALIGN_BYTES) * PAGES_ALIGN_BYTES
}

/** What both ends see of the pool's memory. */
class PageMemory {
  readonly pageBytes: number
  readonly pageCount: number
  readonly words: Int32Array
  readonly #memory: SharedArrayBuffer
  readonly #pagesAt: number

  constructor(memory: SharedArrayBuffer) {
    const head = new Int32Array(memory, 0, COUNTS_WORD)
    this.pageBytes = head[PAGE_BYTES_WORD]!
    this.pageCount = head[PAGE_COUNT_WORD]!
    this.words = new Int32Array(memory, 0, COUNTS_WORD + 2 * this.pageCount)
    this.#memory = memory
    this.#pagesAt = pagesAt(this.pageCount)
    assert(
      this.pageCount > 0 && memory.byteLength === this.#pagesAt + this.pageBytes * this.pageCount,
      `page pool of ${this.pageCount} pages of ${this.pageBytes} bytes is not ${memory.byteLength} bytes long`,
    )
  }

  view(page: number, from: number, to: number): Uint8Array {
    this.check(page)
    if (from < 0 || to < from || to > this.pageBytes)
      throw new InvariantError(`[${from}, ${to}) is not in page ${page}`)
    return new Uint8Array(this.#memory, this.#pagesAt + page * this.pageBytes + from, to - from)
  }

  check(page: number): void {
    if (!(page >= 0 && page < this.pageCount)) throw new InvariantError(`page ${page} of ${this.pageCount}`)
  }
}

/** Takes one reference away; true when it was the last. */
function lower(words: Int32Array, page: number): boolean {
  const before = Atomics.sub(words, COUNTS_WORD + page, 1)
  if (before <= 0) throw new InvariantError(`page ${page}: released more often than it was lent (count was ${before})`)
  return before === 1
}

export class PageOwner {
  readonly pageBytes: number
  readonly pageCount: number
  /** How often acquire() found none. */
  stalls = 0

  readonly #pool: PageMemory
  readonly #words: Int32Array
  readonly #linksWord: number
  /** One view per page, made once. */
  readonly #pages: Uint8Array[] = []
  /** A stack of free pages: the first `#freeCount` are. */
  readonly #free: Int32Array
  #freeCount: number

  constructor(memory: SharedArrayBuffer) {
    this.#pool = new PageMemory(memory)
    this.pageBytes = this.#pool.pageBytes
    this.pageCount = this.#pool.pageCount
    this.#words = this.#pool.words
    this.#linksWord = COUNTS_WORD + this.pageCount
    this.#free = new Int32Array(this.pageCount)
    this.#freeCount = this.pageCount
    // Low pages on top: a pool that is hardly used touches little memory.
    for (let page = 0; page < this.pageCount; page++) this.#free[page] = this.pageCount - 1 - page
    for (let page = 0; page < this.pageCount; page++) this.#pages.push(this.#pool.view(page, 0, this.pageBytes))
  }

  /** A free page, its count now 1; -1 = none is free. */
  acquire(): number {
    if (this.#freeCount === 0 && this.#takeReturned() === 0) {
      this.stalls++
      return NO_PAGE
    }
    const page = this.#free[--this.#freeCount]!
    const before = Atomics.add(this.#words, COUNTS_WORD + page, 1)
    if (before !== 0) throw new InvariantError(`page ${page}: free, but its count was ${before}`)
    return page
  }

  /** One reference more, for somebody the page is lent to; the owner must hold one itself (PP1). */
  retain(page: number): void {
    this.#pool.check(page)
    const before = Atomics.add(this.#words, COUNTS_WORD + page, 1)
    if (before <= 0) throw new InvariantError(`page ${page}: retained, but its count was ${before}`)
  }

  /** One reference less: the owner's own. */
  release(page: number): void {
    this.#pool.check(page)
    if (lower(this.#words, page)) this.#free[this.#freeCount++] = page
  }

  count(page: number): number {
    this.#pool.check(page)
    return Atomics.load(this.#words, COUNTS_WORD + page)
  }

  /** The whole page, pageBytes long; the same view each time. */
  bytes(page: number): Uint8Array {
    this.#pool.check(page)
    return this.#pages[page]!
  }

  /** Pages with a count above zero. A gauge; picks up what came back. */
  pagesInUse(): number {
    this.#takeReturned()
    return this.pageCount - this.#freeCount
  }

  /** Moves the returned pages to the private list; how many there were. Each page pays for its own step: O(1) per loan. */
  #takeReturned(): number {
    // Pairs with RETURN. The whole list at once: nobody but us takes, so a page cannot leave and come back meanwhile (no ABA).
    let page = Atomics.exchange(this.#words, RETURNED_WORD, NO_PAGE)
    let taken = 0
    while (page !== NO_PAGE) {
      this.#free[this.#freeCount++] = page
      page = this.#words[this.#linksWord + page]!
      taken++
    }
    return taken
  }
}

export class PageUser {
  readonly pageBytes: number
  readonly pageCount: number
  readonly #pool: PageMemory
  readonly #words: Int32Array
  readonly #linksWord: number

  constructor(memory: SharedArrayBuffer) {
    this.#pool = new PageMemory(memory)
    this.pageBytes = this.#pool.pageBytes
    this.pageCount = this.#pool.pageCount
    this.#words = this.#pool.words
    this.#linksWord = COUNTS_WORD + this.pageCount
  }

  /** Gives one reference back: the page's bytes must not be looked at any more. */
  release(page: number): void {
    this.#pool.check(page)
    if (!lower(this.#words, page)) return
    let first = Atomics.load(this.#words, RETURNED_WORD)
    for (;;) {
      this.#words[this.#linksWord + page] = first
      // RETURN: pairs with the exchange in PageOwner.#takeReturned; the link must be written before it.
      const found = Atomics.compareExchange(this.#words, RETURNED_WORD, first, page)
      if (found === first) return
      first = found
    }
  }

  /** Bytes [from, to) of a page that was lent to this thread; valid until its release. */
  view(page: number, from: number, to: number): Uint8Array {
    return this.#pool.view(page, from, to)
  }
}
