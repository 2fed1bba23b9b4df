/**
 * PageCache: which blocks of which segment files lie in the shard's shared pages.
 *
 * Owns        the pages of the pool that hold file bytes, and those it lends out by borrow(): one reference each; every fragment
 *             sent adds one
 * Thread      the shard
 * Key         (CachedFile, block number); a CachedFile is one generation of one segment: a file that is deleted, cut or
 *             rewritten gets a new one, so that stale bytes cannot be found
 * Invariants  C1 bytes [0, filledBytes) of a page equal the file's and never change while it is cached: a tail page only grows
 *             C2 a page is given up only when the cache holds the last reference and no read into it is under way
 * Eviction    clock over the pages: found since the last pass = spared once
 * Limits      the pool; add() answers undefined when every page is lent or loading
 * Not here    where bytes come from (segment-reader.ts)
 */
import { assert } from '../base/assert.ts'
import type { Fd } from '../io/file-system.ts'
import type { PageOwner } from '../ring/page-pool.ts'
import type { PartitionAgent } from './partition-agent.ts'

/** One generation of one segment file, as the cache knows it. */
export interface CachedFile {
  readonly blocks: Map<number, CachedPage>
  /** The file is gone or was rewritten: reads under way into its pages end in nothing. */
  isDropped: boolean
}

/** A read by the disk thread: for whom, with which pinned descriptor, how many bytes must come. */
export interface PageLoad {
  readonly partition: PartitionAgent
  readonly fd: Fd
  readonly bytes: number
}

export interface CachedPage {
  readonly page: number
  readonly file: CachedFile
  readonly block: number
  readonly bytes: Uint8Array
  readonly view: DataView
  filledBytes: number
  /** The read by the disk thread that is under way into it. */
  load: PageLoad | undefined
  /** Found since the clock last came by. */
  isRecent: boolean
  /** The reading that last found it: what a reading has found it keeps until it is over. */
  foundBy: number
}

export function newCachedFile(): CachedFile {
  return { blocks: new Map(), isDropped: false }
}

export class PageCache {
  readonly pageBytes: number
  readonly #owner: PageOwner
  readonly #cached: (CachedPage | undefined)[]
  readonly #bytes: Uint8Array[] = []
  readonly #views: DataView[] = []
  #hand = 0
  #used = 0
  #reading = 0

  constructor(owner: PageOwner) {
    this.#owner = owner
    this.pageBytes = owner.pageBytes
    this.#cached = new Array<CachedPage | undefined>(owner.pageCount).fill(undefined)
    for (let page = 0; page < owner.pageCount; page++) {
      const bytes = owner.bytes(page)
      this.#bytes.push(bytes)
      this.#views.push(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength))
    }
  }

  get pages(): number {
    return this.#cached.length
  }

  get usedPages(): number {
    return this.#used
  }

  /** A reading begins: pages that find() and add() answer from now on stay until the next begins. */
  beginReading(): void {
    this.#reading = (this.#reading + 1) | 0
  }

  find(file: CachedFile, block: number): CachedPage | undefined {
    const cached = file.blocks.get(block)
    if (cached === undefined) return undefined
    cached.isRecent = true
    cached.foundBy = this.#reading
    return cached
  }

  /** The page of a read by the disk thread, which is known by its number. */
  pageOf(page: number): CachedPage {
    const cached = this.#cached[page]
    assert(cached !== undefined, 'a read ended in a page that holds no block')
    return cached
  }

  /** A page for a block that is not cached, empty; undefined = none can be had now. */
  add(file: CachedFile, block: number): CachedPage | undefined {
    assert(!file.isDropped, 'a dropped file gets no pages')
    assert(!file.blocks.has(block), 'the block is cached already')
    const page = this.#takePage()
    if (page === -1) return undefined
    const cached: CachedPage = {
      page,
      file,
      block,
      bytes: this.#bytes[page]!,
      view: this.#views[page]!,
      filledBytes: 0,
      load: undefined,
      isRecent: true,
      foundBy: this.#reading,
    }
    this.#cached[page] = cached
    this.#used++
    file.blocks.set(block, cached)
    return cached
  }

  /** A page for bytes that nobody is to find, until giveBack(); -1 = none can be had now. */
  borrow(): number {
    const page = this.#takePage()
    if (page !== -1) this.#used++
    return page
  }

  giveBack(page: number): void {
    assert(this.#cached[page] === undefined, 'a page that holds a block was not borrowed')
    this.#used--
    this.#owner.release(page)
  }

  bytesOf(page: number): Uint8Array {
    return this.#bytes[page]!
  }

  /** Adds the reference that one fragment sent carries; the gateway gives it back. */
  lend(cached: CachedPage): void {
    this.#owner.retain(cached.page)
  }

  /** Takes such a reference back: the fragment was not sent. */
  unlend(cached: CachedPage): void {
    this.#owner.release(cached.page)
  }

  /** The read into `cached` is over. Its page goes when nothing was read or the file was dropped meanwhile. */
  endLoading(cached: CachedPage): void {
    cached.load = undefined
    if (cached.file.isDropped || cached.filledBytes === 0) this.#giveUp(cached)
  }

  /** Forgets a file's pages: those lent stay as they are until they come back. */
  dropFile(file: CachedFile): void {
    file.isDropped = true
    for (const cached of file.blocks.values()) if (cached.load === undefined) this.#giveUp(cached)
  }

  #giveUp(cached: CachedPage): void {
    assert(this.#cached[cached.page] === cached, 'the page holds another block')
    this.#cached[cached.page] = undefined
    this.#used--
    cached.file.blocks.delete(cached.block)
    this.#owner.release(cached.page)
  }

  #takePage(): number {
    const free = this.#owner.acquire()
    if (free !== -1) return free
    // Two rounds: the first may only take the spared marks away.
    for (let step = 2 * this.#cached.length; step > 0; step--) {
      const cached = this.#cached[this.#hand]
      this.#hand = this.#hand + 1 === this.#cached.length ? 0 : this.#hand + 1
      if (cached === undefined || cached.load !== undefined || cached.foundBy === this.#reading) continue
      if (this.#owner.count(cached.page) !== 1) continue
      if (cached.isRecent) {
        cached.isRecent = false
        continue
      }
      this.#giveUp(cached)
      const page = this.#owner.acquire()
      if (page !== -1) return page
    }
    return -1
  }
}
