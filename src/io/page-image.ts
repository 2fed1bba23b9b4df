/**
 * PageImage: the bytes of one simulated file, in pages, with copies that cost nothing until one side writes.
 *
 * Owns        pages it alone may write; a page whose owner is another token is shared and is copied before a write
 * Invariants  P1 bytes at and past `size` in the last page are zero      kept by truncate() and write()
 *             P2 clone() is O(1); the first write after it copies the page table and one page
 */
const PAGE_BYTES = 4096

interface Page {
  readonly owner: number
  readonly bytes: Uint8Array
}

let nextOwner = 1

export class PageImage {
  size = 0
  #pages: (Page | undefined)[] = []
  #tableShared = false
  #owner = nextOwner++

  clone(): PageImage {
    const copy = new PageImage()
    copy.size = this.size
    copy.#pages = this.#pages
    copy.#tableShared = true
    this.#tableShared = true
    this.#owner = nextOwner++
    return copy
  }

  /** Writes `bytes` at `position`, growing the image as needed; a gap reads as zeros. */
  write(bytes: Uint8Array, position: number): void {
    let from = 0
    while (from < bytes.length) {
      const at = position + from
      const within = at % PAGE_BYTES
      const count = Math.min(PAGE_BYTES - within, bytes.length - from)
      this.#writable(Math.floor(at / PAGE_BYTES)).set(bytes.subarray(from, from + count), within)
      from += count
    }
    if (bytes.length > 0 && position + bytes.length > this.size) this.size = position + bytes.length
  }

  /** Makes [from, to) zero; does not change the size. */
  zero(from: number, to: number): void {
    let at = from
    while (at < to) {
      const within = at % PAGE_BYTES
      const count = Math.min(PAGE_BYTES - within, to - at)
      const index = Math.floor(at / PAGE_BYTES)
      if (this.#pages[index] !== undefined) this.#writable(index).fill(0, within, within + count)
      at += count
    }
  }

  /** Cuts or extends with zeros. */
  truncate(size: number): void {
    if (size < this.size) {
      const keep = Math.ceil(size / PAGE_BYTES)
      if (this.#pages.length > keep) {
        this.#ownTable()
        this.#pages.length = keep
      }
      this.zero(size, keep * PAGE_BYTES)
    }
    this.size = size
  }

  /** Reads into `target` from `position`; returns the count, 0 at the end. */
  read(target: Uint8Array, position: number): number {
    const count = Math.max(0, Math.min(target.length, this.size - position))
    let to = 0
    while (to < count) {
      const at = position + to
      const within = at % PAGE_BYTES
      const step = Math.min(PAGE_BYTES - within, count - to)
      const page = this.#pages[Math.floor(at / PAGE_BYTES)]
      if (page === undefined) target.fill(0, to, to + step)
      else target.set(page.bytes.subarray(within, within + step), to)
      to += step
    }
    return count
  }

  #ownTable(): void {
    if (!this.#tableShared) return
    this.#pages = this.#pages.slice()
    this.#tableShared = false
  }

  #writable(index: number): Uint8Array {
    const page = this.#pages[index]
    if (page !== undefined && page.owner === this.#owner) return page.bytes
    this.#ownTable()
    const bytes = new Uint8Array(PAGE_BYTES)
    if (page !== undefined) bytes.set(page.bytes)
    this.#pages[index] = { owner: this.#owner, bytes }
    return bytes
  }
}
