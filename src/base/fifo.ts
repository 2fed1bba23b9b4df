/**
 * Fifo: first in, first out, over one array that is compacted as it empties; amortised O(1), no allocation per item. What was taken
 * out is let go of at once, also while the queue never becomes empty.
 */

const COMPACT_AT = 1024

export class Fifo<Item> {
  #items: (Item | undefined)[] = []
  #head = 0

  get size(): number {
    return this.#items.length - this.#head
  }

  push(item: Item): void {
    this.#items.push(item)
  }

  peek(): Item | undefined {
    return this.#items[this.#head]
  }

  shift(): Item | undefined {
    if (this.size === 0) return undefined
    const item = this.#items[this.#head]
    this.#items[this.#head++] = undefined
    if (this.#head === this.#items.length) {
      this.#items.length = 0
      this.#head = 0
    } else if (this.#head >= COMPACT_AT && this.#head * 2 >= this.#items.length) {
      this.#items.splice(0, this.#head)
      this.#head = 0
    }
    return item
  }

  /** Lets go of everything. */
  clear(): void {
    this.#items = []
    this.#head = 0
  }
}
