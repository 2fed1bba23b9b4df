/**
 * DeadlineHeap: things that must end by a time, earliest first. Binary heap; an item carries its own place, so that one
 * that ends early is taken out in O(log n) without a search. Given the time, it never asks for it.
 *
 * Limits  capacityMax; offer() answers false when full
 */
import { assert } from './assert.ts'

export interface Timed {
  /** Monotonic milliseconds. */
  deadlineMs: number
  /** Place in the heap, -1 = in none. Written by DeadlineHeap only. */
  heapIndex: number
}

export class DeadlineHeap<Item extends Timed> {
  readonly #capacityMax: number
  readonly #items: Item[] = []

  constructor(capacityMax: number) {
    this.#capacityMax = capacityMax
  }

  get size(): number {
    return this.#items.length
  }

  get isFull(): boolean {
    return this.#items.length >= this.#capacityMax
  }

  /** Time of the earliest item, or Infinity. */
  get nextDeadlineMs(): number {
    return this.#items[0]?.deadlineMs ?? Number.POSITIVE_INFINITY
  }

  offer(item: Item): boolean {
    assert(item.heapIndex === -1, 'the item is in a heap already')
    if (this.isFull) return false
    this.#items.push(item)
    this.#up(this.#items.length - 1, item)
    return true
  }

  /** Takes `item` out; nothing happens when it is not in. */
  remove(item: Item): void {
    const index = item.heapIndex
    if (index === -1) return
    assert(this.#items[index] === item, 'the item is in another heap')
    const last = this.#items.pop()!
    item.heapIndex = -1
    if (last === item) return
    this.#up(index, last)
    this.#down(last.heapIndex, last)
  }

  /** Takes out and answers the earliest item whose deadline is not after `nowMs`. */
  takeExpired(nowMs: number): Item | undefined {
    const first = this.#items[0]
    if (first === undefined || first.deadlineMs > nowMs) return undefined
    this.remove(first)
    return first
  }

  #up(from: number, item: Item): void {
    let index = from
    while (index > 0) {
      const parentIndex = (index - 1) >> 1
      const parent = this.#items[parentIndex]!
      if (parent.deadlineMs <= item.deadlineMs) break
      this.#put(index, parent)
      index = parentIndex
    }
    this.#put(index, item)
  }

  #down(from: number, item: Item): void {
    const { length } = this.#items
    let index = from
    for (;;) {
      let childIndex = 2 * index + 1
      if (childIndex >= length) break
      const right = childIndex + 1
      if (right < length && this.#items[right]!.deadlineMs < this.#items[childIndex]!.deadlineMs) childIndex = right
      const child = this.#items[childIndex]!
      if (child.deadlineMs >= item.deadlineMs) break
      this.#put(index, child)
      index = childIndex
    }
    this.#put(index, item)
  }

  #put(index: number, item: Item): void {
    this.#items[index] = item
    item.heapIndex = index
  }
}
