/**
 * ScrubJob: has the closed segments of a shard's partitions looked at in the background, at a pace that goes over all of them
 * once in a period.
 *
 * Owns        one page of the pool, from the request to the answer of a read; none between
 * Thread      the shard; the disk thread reads
 * Ordering    after everything else: no read is asked for while a fetch waits for the device or for a page, or while another
 *             read is under way, and one at a time
 * Limits      a page a read; how often is the Scrubber's to say
 * Failure     a batch that is not what was written, a short file, a read that fails: onFinding(), the partition goes offline. A
 *             segment that retention or truncation took, or whose partition went, is passed over. Neither a page nor a
 *             descriptor to be had: later
 * Not here    what a sound segment is: log/scrub.ts
 */
import { assert } from '../base/assert.ts'
import { type Fd, StorageError } from '../io/file-system.ts'
import { Scrubber, type ScrubFinding, type ScrubRead, type ScrubSegment } from '../log/scrub.ts'
import type { DiskProxy } from './disk-proxy.ts'
import type { PageCache } from './page-cache.ts'
import type { PartitionAgent } from './partition-agent.ts'
import type { PartitionTable } from './partition-table.ts'

const RETRY_MS = 1_000
const NO_PAGE = -1

export interface ScrubJobOptions {
  readonly partitions: PartitionTable
  readonly cache: PageCache
  readonly disk: DiskProxy
  readonly periodMs: number
  readonly onFinding: (partition: PartitionAgent, reason: string) => void
}

interface PartitionSegment extends ScrubSegment {
  readonly partition: PartitionAgent
}

export class ScrubJob {
  readonly #options: ScrubJobOptions
  readonly #scrubber: Scrubber<PartitionSegment>
  #page = NO_PAGE
  #fd: Fd | undefined
  #read: ScrubRead<PartitionSegment> | undefined

  constructor(options: ScrubJobOptions) {
    this.#options = options
    this.#scrubber = new Scrubber({
      segments: () => this.#listSegments(),
      pieceBytes: options.cache.pageBytes,
      periodMs: options.periodMs,
    })
  }

  get scrubbedBytes(): number {
    return this.#scrubber.counts.bytes
  }

  get findings(): number {
    return this.#scrubber.counts.findings
  }

  /** The answer of a read that is under way wakes the shard. */
  get nextDeadlineMs(): number {
    return this.#options.disk.readsInFlight > 0 ? Number.POSITIVE_INFINITY : this.#scrubber.dueMs
  }

  /** Asks for the next piece if it is due; only when nobody else wants to read. True: something was done. */
  step(nowMs: number): boolean {
    const { cache, disk } = this.#options
    if (disk.readsInFlight > 0 || nowMs < this.#scrubber.dueMs) return false
    const read = this.#scrubber.nextRead(nowMs)
    if (read === undefined) return false
    if (!isThere(read.segment)) {
      this.#scrubber.skip(nowMs)
      return true
    }
    const page = disk.canRead ? cache.borrow() : NO_PAGE
    if (page === NO_PAGE) {
      this.#scrubber.putOff(nowMs + RETRY_MS)
      return false
    }
    if (!this.#ask(read, page, nowMs)) cache.giveBack(page)
    return true
  }

  /** The disk thread's answer into `page`, if it is this one's. */
  onRead(page: number, bytesRead: number, code: string, nowMs: number): boolean {
    if (page !== this.#page) return false
    const { cache } = this.#options
    const { segment, bytes } = this.#read!
    segment.partition.readsInFlight--
    segment.partition.log.releaseFd(this.#fd!)
    this.#page = NO_PAGE
    this.#fd = undefined
    this.#read = undefined
    if (!isThere(segment)) this.#scrubber.skip(nowMs)
    else if (bytesRead < 0) this.#tell(this.#scrubber.onReadFailed(code, nowMs))
    else {
      assert(bytesRead <= bytes, 'more was read than was asked for')
      this.#tell(this.#scrubber.onRead(cache.bytesOf(page).subarray(0, bytesRead), nowMs))
    }
    cache.giveBack(page)
    return true
  }

  /** False when the segment could not be opened. */
  #ask(read: ScrubRead<PartitionSegment>, page: number, nowMs: number): boolean {
    const { segment, filePosition, bytes } = read
    const { partition } = segment
    try {
      this.#fd = partition.log.acquireFd(partition.log.closedSegment(segment.baseOffset, segment.key)!)
    } catch (error) {
      if (!(error instanceof StorageError)) throw error
      if (error.isOpenLimit) this.#scrubber.putOff(nowMs + RETRY_MS)
      else this.#tell(this.#scrubber.onReadFailed(error.code, nowMs))
      return false
    }
    const isAsked = this.#options.disk.read({ page, fd: this.#fd, filePosition, from: 0, to: bytes })
    assert(isAsked, 'the disk thread takes no read')
    partition.readsInFlight++
    this.#page = page
    this.#read = read
    return true
  }

  #tell(finding: ScrubFinding<PartitionSegment> | undefined): void {
    if (finding === undefined) return
    const { segment, filePosition, fromOffset, text } = finding
    this.#options.onFinding(
      segment.partition,
      `segment ${segment.baseOffset} is damaged from offset ${fromOffset}, byte ${filePosition} on: ${text}`,
    )
  }

  #listSegments(): PartitionSegment[] {
    const list: PartitionSegment[] = []
    for (const partition of this.#options.partitions) {
      if (!isLookedAfter(partition)) continue
      for (const { key, baseOffset, nextOffset, bytes } of partition.log.closedSegments())
        list.push({ key, baseOffset, nextOffset, bytes, partition })
    }
    return list
  }
}

function isLookedAfter(partition: PartitionAgent): boolean {
  return !partition.isClosed && !partition.isDamaged && partition.state.role !== 'offline'
}

/** It has not been removed, cut or taken offline since the round began. */
function isThere({ partition, baseOffset, key }: PartitionSegment): boolean {
  return isLookedAfter(partition) && partition.log.closedSegment(baseOffset, key) !== undefined
}
