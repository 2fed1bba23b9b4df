/**
 * SegmentList: the segments of one partition, in order, and those that are condemned: below the log start, their files
 * still there.
 *
 * Invariants  L1 sorted by baseOffset, ranges do not overlap       checked in: add()
 * Not here    files: who condemns or drops a segment here removes its files
 */
import { assert } from '../base/assert.ts'
import type { Segment } from './segment.ts'

export class SegmentList {
  readonly #segments: Segment[] = []
  #condemned: Segment[] = []
  #bytes = 0

  get count(): number {
    return this.#segments.length
  }

  /** Bytes of all segments, condemned ones left out. */
  get bytes(): number {
    return this.#bytes
  }

  get last(): Segment | undefined {
    return this.#segments[this.#segments.length - 1]
  }

  get all(): readonly Segment[] {
    return this.#segments
  }

  get condemned(): readonly Segment[] {
    return this.#condemned
  }

  /** Largest timestamp of all; -1 = none. */
  get maxTimestampMs(): number {
    let max = -1
    for (const segment of this.#segments) if (segment.maxTimestampMs > max) max = segment.maxTimestampMs
    return max
  }

  add(segment: Segment): void {
    const { last } = this
    assert(
      last === undefined || last.nextOffset <= segment.baseOffset,
      `segment ${segment.baseOffset} begins before ${last?.nextOffset}, where the one before it ends`,
    )
    this.#segments.push(segment)
    this.#bytes += segment.bytes
  }

  /** The last segment grew, or was cut: by so many bytes. */
  addBytes(bytes: number): void {
    this.#bytes += bytes
  }

  /** The first segment that ends past `offset`. */
  find(offset: number): Segment | undefined {
    return this.#segments[this.indexOf(offset)]
  }

  /** Place in `all` of the first segment that ends past `offset`; the count when there is none. */
  indexOf(offset: number): number {
    let low = 0
    let high = this.#segments.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#segments[middle]!.nextOffset <= offset) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Those that begin within [fromOffset, toOffset). */
  within(fromOffset: number, toOffset: number): Segment[] {
    return this.#segments.filter(({ baseOffset }) => baseOffset >= fromOffset && baseOffset < toOffset)
  }

  /** Puts `segment` in the place of `old`, which lie next to each other. */
  replace(old: readonly Segment[], segment: Segment): void {
    const from = this.#segments.indexOf(old[0]!)
    const last = old[old.length - 1]!
    assert(
      from >= 0 && segment.baseOffset === old[0]!.baseOffset && segment.nextOffset === last.nextOffset,
      `a segment of [${segment.baseOffset}, ${segment.nextOffset}) does not replace those up to ${last.nextOffset}`,
    )
    for (const gone of this.#segments.splice(from, old.length, segment)) this.#bytes -= gone.bytes
    this.#bytes += segment.bytes
  }

  /** Moves segments that end at or before `offset` to the condemned; returns how many. */
  condemnBefore(offset: number): number {
    let count = 0
    for (const { baseOffset, nextOffset } of this.#segments) {
      // An empty one stays: it is the active one, and its file name is that of the records to come.
      if (nextOffset > offset || nextOffset === baseOffset) break
      count++
    }
    for (const segment of this.#segments.splice(0, count)) {
      this.#condemned.push(segment)
      this.#bytes -= segment.bytes
    }
    return count
  }

  /** Takes out the condemned segments that end at or before `offset`. */
  takeCondemned(offset: number): Segment[] {
    const taken = this.#condemned.filter((segment) => segment.nextOffset <= offset)
    if (taken.length > 0) this.#condemned = this.#condemned.filter((segment) => segment.nextOffset > offset)
    return taken
  }

  /** Takes out the last segment. */
  dropLast(): Segment {
    const segment = this.#segments.pop()
    assert(segment !== undefined, 'no segment to drop')
    this.#bytes -= segment.bytes
    return segment
  }
}
