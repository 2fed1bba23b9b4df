/**
 * SegmentReader: whole batches of one partition as fragments of shared pages.
 *
 * Thread      the shard: reads what is resident itself, asks the disk thread for the rest
 * Rule        what it answers begins and ends on batch boundaries, lies below the given end, and is at most `limitBytes` long,
 *             but for a first batch that must be taken however large
 * Looks at    batch headers only, and not even those where the log knows both ends exactly
 * Ordering    pages are lent when the range is certain; bytes handed out never change (page-cache C1)
 * Failure     a header that cannot be one: 'damaged'; nothing is answered past it
 */
import { readSafeInt64 } from '../base/bytes.ts'
import { type FileSystem, StorageError } from '../io/file-system.ts'
import type { Location } from '../log/log-locator.ts'
import type { Segment } from '../log/segment.ts'
import type { Offset } from '../model/ids.ts'
import {
  BASE_OFFSET_AT,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH_AT,
  BATCH_PREFIX_BYTES,
  LAST_OFFSET_DELTA_AT,
  MAGIC,
  MAGIC_AT,
} from '../record/batch-layout.ts'
import type { DiskProxy } from './disk-proxy.ts'
import type { CachedFile, CachedPage, PageCache } from './page-cache.ts'
import type { PartitionAgent } from './partition-agent.ts'
import type { ResidentWindow } from './resident-window.ts'

/** Blocks that one fetch may ask of the disk thread at once, and as many again ahead of a reader in sequence. */
const COLD_BLOCKS_MAX = 16

/** `page` is loading: whoever waits for it is told when it is there. */
export interface LoadListener {
  onLoading(page: CachedPage): void
}

export interface ReadWish {
  readonly partition: PartitionAgent
  readonly offset: Offset
  readonly endOffset: Offset
  readonly limitBytes: number
  /** Take the first batch even beyond limitBytes. */
  readonly takesFirst: boolean
  /** Begin here rather than where `offset` lies; batches that end at or before `offset` may come along. */
  readonly place?: Readonly<Location>
}

/**
 * read    fragments were appended      empty    nothing (or nothing that fits)        cold     waits for the disk thread
 * starved no page is free              damaged  the file does not hold what the log says
 */
export type ReadOutcome = 'read' | 'empty' | 'cold' | 'starved' | 'damaged'

export interface SegmentReaderOptions {
  readonly files: FileSystem
  readonly cache: PageCache
  readonly disk: DiskProxy
  readonly resident: ResidentWindow
}

/** Fragments of one reply, three numbers each: page, from, to. Grows once, is then reused. */
export class FragmentList {
  numbers: number[] = []
  pages: CachedPage[] = []
  count = 0

  push(cached: CachedPage, from: number, to: number): void {
    const at = this.count * 3
    this.numbers[at] = cached.page
    this.numbers[at + 1] = from
    this.numbers[at + 2] = to
    this.pages[this.count] = cached
    this.count++
  }
}

export class SegmentReader {
  readonly #files: FileSystem
  readonly #cache: PageCache
  readonly #disk: DiskProxy
  readonly #resident: ResidentWindow
  readonly #pageBytes: number
  readonly #scratch = new Uint8Array(BATCH_HEADER_BYTES)
  readonly #scratchView = new DataView(this.#scratch.buffer)

  // The walk's place and what it found: fields, so that nothing is allocated per batch.
  #partition: PartitionAgent | undefined
  #segment: Segment | undefined
  #file: CachedFile | undefined
  #listener: LoadListener | undefined
  #isCold = false
  #fileEnd = 0
  /** Why fill() stopped early. */
  #lack: 'none' | 'cold' | 'starved' = 'none'
  #headerSize = 0
  #headerBase = 0
  #headerNext = 0
  /** Bytes of the last 'read', and the offset after its last batch. */
  readBytes = 0
  readNextOffset = 0

  constructor(options: SegmentReaderOptions) {
    this.#files = options.files
    this.#cache = options.cache
    this.#disk = options.disk
    this.#resident = options.resident
    this.#pageBytes = options.cache.pageBytes
  }

  read(wish: ReadWish, fragments: FragmentList, listener: LoadListener): ReadOutcome {
    const { partition, offset, endOffset, limitBytes } = wish
    this.readBytes = 0
    this.#cache.beginReading()
    const place = wish.place ?? partition.log.locate(offset, endOffset)
    if (place.kind !== 'found') return 'empty'
    const { segment, filePosition, fileEnd, exact, endExact } = place
    this.#partition = partition
    this.#segment = segment
    this.#file = partition.fileOf(segment.key)
    this.#listener = listener
    this.#isCold = !this.#resident.isResident(partition.resident, offset)
    this.#fileEnd = fileEnd
    const wantedEnd = Math.min(fileEnd, filePosition + limitBytes)
    const have = this.#fill(filePosition, wantedEnd)
    if (exact && endExact && have === fileEnd) {
      this.readNextOffset = Math.min(endOffset, segment.nextOffset)
      return this.#take(filePosition, fileEnd, fragments)
    }
    return this.#walk(wish, filePosition, have, fragments)
  }

  /** From batch to batch through [from, have); a first batch that is larger is filled in as a whole. */
  #walk(wish: ReadWish, from: number, filled: number, fragments: FragmentList): ReadOutcome {
    const { offset, endOffset, limitBytes, takesFirst, partition } = wish
    let have = filled
    let start = from
    let at = from
    let nextOffset = offset
    while (at < this.#fileEnd) {
      const headerEnd = at + BATCH_HEADER_BYTES
      if (headerEnd > have && at === start) have = this.#fill(at, Math.min(this.#fileEnd, headerEnd))
      if (headerEnd > have) break
      if (!this.#header(at)) return 'damaged'
      if (this.#headerNext > endOffset || this.#headerBase >= endOffset) break
      const batchEnd = at + this.#headerSize
      if (batchEnd > this.#fileEnd) return 'damaged'
      if (this.#headerNext <= offset) {
        at = batchEnd
        start = at
        continue
      }
      const isFirst = at === start
      if (batchEnd - start > limitBytes && !(isFirst && takesFirst)) break
      if (batchEnd > have && isFirst) have = this.#fill(at, batchEnd)
      if (batchEnd > have) break
      nextOffset = this.#headerNext as Offset
      at = batchEnd
      if (at - start >= limitBytes) break
    }
    if (at > start) {
      partition.log.remember(nextOffset, at)
      this.readNextOffset = nextOffset
      return this.#take(start, at, fragments)
    }
    return this.#lack === 'none' ? 'empty' : this.#lack
  }

  /** Lends the pages that hold [from, to) and, for a cold reader, has the next blocks fetched ahead. */
  #take(from: number, to: number, fragments: FragmentList): ReadOutcome {
    const file = this.#file!
    const pageBytes = this.#pageBytes
    for (let at = from; at < to; ) {
      const block = Math.floor(at / pageBytes)
      const blockAt = block * pageBytes
      const cached = file.blocks.get(block)!
      const end = Math.min(to, blockAt + pageBytes)
      this.#cache.lend(cached)
      fragments.push(cached, at - blockAt, end - blockAt)
      at = end
    }
    this.readBytes = to - from
    if (this.#isCold && this.#disk.canRead) {
      this.#listener = undefined
      this.#fill(to, Math.min(this.#fileEnd, to + COLD_BLOCKS_MAX * pageBytes))
    }
    return 'read'
  }

  /**
   * Brings the bytes of [from, to) into pages as far as it goes at once; answers up to where they are there without a gap.
   * What is cold is asked for, up to COLD_BLOCKS_MAX blocks, and #lack says so.
   */
  #fill(from: number, to: number): number {
    const file = this.#file!
    const pageBytes = this.#pageBytes
    let have = from
    let hasGap = false
    let asked = 0
    this.#lack = 'none'
    for (let block = Math.floor(from / pageBytes); block * pageBytes < to; block++) {
      const blockAt = block * pageBytes
      const neededBytes = Math.min(pageBytes, to - blockAt)
      const cached = this.#cache.find(file, block) ?? this.#cache.add(file, block)
      if (cached === undefined) {
        if (!hasGap) this.#lack = 'starved'
        return have
      }
      if (cached.filledBytes < neededBytes) {
        const isThere = this.#isCold ? this.#ask(cached, blockAt) : this.#readNow(cached, blockAt)
        if (!isThere) {
          if (!hasGap) this.#lack = cached.load !== undefined ? 'cold' : 'starved'
          hasGap = true
          if (cached.load === undefined || ++asked >= COLD_BLOCKS_MAX) return have
          continue
        }
      }
      if (!hasGap) have = Math.min(to, blockAt + cached.filledBytes)
      if (cached.filledBytes < neededBytes) return have
    }
    return have
  }

  /** Resident bytes: read here and now, up to the known end, not only what is needed: the next reader finds them. */
  #readNow(cached: CachedPage, blockAt: number): boolean {
    if (cached.load !== undefined) return this.#joinWaiting(cached)
    const end = Math.min(this.#pageBytes, this.#fileEnd - blockAt)
    const { log } = this.#partition!
    const fd = log.acquireFd(this.#segment!)
    try {
      while (cached.filledBytes < end) {
        const count = this.#files.read(fd, cached.bytes.subarray(cached.filledBytes, end), blockAt + cached.filledBytes)
        if (count === 0)
          throw new StorageError('EIO', `the segment ends at ${blockAt + cached.filledBytes}, not at ${this.#fileEnd}`)
        cached.filledBytes += count
      }
    } finally {
      log.releaseFd(fd)
    }
    return true
  }

  #ask(cached: CachedPage, blockAt: number): boolean {
    if (cached.load !== undefined) return this.#joinWaiting(cached)
    const partition = this.#partition!
    const from = cached.filledBytes
    const to = Math.min(this.#pageBytes, this.#fileEnd - blockAt)
    if (!this.#disk.canRead) {
      if (from === 0) this.#cache.endLoading(cached)
      return false
    }
    const fd = partition.log.acquireFd(this.#segment!)
    this.#disk.read({ page: cached.page, fd, filePosition: blockAt + from, from, to })
    cached.load = { partition, fd, bytes: to - from }
    partition.readsInFlight++
    return this.#joinWaiting(cached)
  }

  #joinWaiting(cached: CachedPage): false {
    this.#listener?.onLoading(cached)
    return false
  }

  /** Reads the header at `at`; false when it is none. All its bytes are in pages. */
  #header(at: number): boolean {
    const pageBytes = this.#pageBytes
    const block = Math.floor(at / pageBytes)
    const inPage = at - block * pageBytes
    const cached = this.#file!.blocks.get(block)!
    let view = cached.view
    let from = inPage
    if (inPage + BATCH_HEADER_BYTES > pageBytes) {
      const headBytes = pageBytes - inPage
      this.#scratch.set(cached.bytes.subarray(inPage, pageBytes))
      this.#scratch.set(this.#file!.blocks.get(block + 1)!.bytes.subarray(0, BATCH_HEADER_BYTES - headBytes), headBytes)
      view = this.#scratchView
      from = 0
    }
    this.#headerSize = BATCH_PREFIX_BYTES + view.getInt32(from + BATCH_LENGTH_AT)
    this.#headerBase = readSafeInt64(view, from + BASE_OFFSET_AT)
    const lastOffsetDelta = view.getInt32(from + LAST_OFFSET_DELTA_AT)
    this.#headerNext = this.#headerBase + lastOffsetDelta + 1
    return (
      view.getInt8(from + MAGIC_AT) === MAGIC &&
      this.#headerSize >= BATCH_HEADER_BYTES &&
      this.#headerBase >= 0 &&
      lastOffsetDelta >= 0
    )
  }
}
