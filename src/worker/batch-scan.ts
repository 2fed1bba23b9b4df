/**
 * BatchScan: the batches of one partition from an offset on, a piece at a time, copied out of the shared pages: for what looks into
 * records on the shard (lookups by time, the replay of a coordinator's partition).
 *
 * Thread      the shard; a step reads what one fetch may read, cold bytes come by the disk thread
 * Limits      STEP_BYTES a step, or one batch that is larger
 * Failure     StorageError: the file cannot be read, or does not hold what the log says
 */
import { StorageError } from '../io/file-system.ts'
import type { Location } from '../log/log-locator.ts'
import type { Offset } from '../model/ids.ts'
import { BATCH_HEADER_BYTES } from '../record/batch-layout.ts'
import { BatchView } from '../record/batch-view.ts'
import type { CachedPage, PageCache } from './page-cache.ts'
import type { PartitionAgent } from './partition-agent.ts'
import { FragmentList, type LoadListener, type SegmentReader } from './segment-reader.ts'

const STEP_BYTES = 256 * 1024

export interface BatchScanOptions {
  readonly partition: PartitionAgent
  readonly reader: SegmentReader
  readonly cache: PageCache
  /** Answers no more than the header of one batch a step. */
  readonly headerOnly?: boolean
}

/** 'waiting': bytes are on their way, step again. 'end': nothing is left below the end. */
export type ScanStep = Uint8Array | 'waiting' | 'end'

export class BatchScan implements LoadListener {
  readonly #options: BatchScanOptions
  readonly #fragments = new FragmentList()
  readonly #loading = new Set<CachedPage>()
  readonly #batch = new BatchView()
  /** The first offset that no step has handed out. */
  nextOffset: Offset
  /** A step has handed out batches. */
  hasBegun = false

  constructor(options: BatchScanOptions, from: Offset) {
    this.#options = options
    this.nextOffset = from
  }

  onLoading(page: CachedPage): void {
    this.#loading.add(page)
  }

  /**
   * The next whole batches below `endOffset`, in memory of their own; they may begin before nextOffset. `place`: where they
   * lie, if that is known better than by the offset.
   */
  step(endOffset: Offset, place?: Readonly<Location>): ScanStep {
    for (const page of this.#loading) if (page.load === undefined) this.#loading.delete(page)
    if (this.#loading.size > 0) return 'waiting'
    if (this.nextOffset >= endOffset) return 'end'
    const { partition, reader, cache, headerOnly = false } = this.#options
    this.#fragments.count = 0
    const limitBytes = headerOnly ? 1 : STEP_BYTES
    const wish = { partition, offset: this.nextOffset, endOffset, limitBytes, takesFirst: true }
    const outcome = reader.read(place === undefined ? wish : { ...wish, place }, this.#fragments, this)
    if (outcome === 'damaged')
      throw new StorageError('ECORRUPT', `the segment that holds offset ${this.nextOffset} is damaged`)
    if (outcome === 'empty') return 'end'
    if (outcome !== 'read') return 'waiting'
    const bytes = this.#copy(headerOnly ? BATCH_HEADER_BYTES : reader.readBytes)
    this.hasBegun = true
    for (let index = 0; index < this.#fragments.count; index++) cache.unlend(this.#fragments.pages[index]!)
    const batch = this.#batch
    for (let at = 0; at < bytes.length; at = batch.end) this.nextOffset = batch.reset(bytes, at).nextOffset
    return bytes
  }

  #copy(readBytes: number): Uint8Array {
    const bytes = new Uint8Array(readBytes)
    let to = 0
    for (let index = 0; index < this.#fragments.count && to < readBytes; index++) {
      const from = this.#fragments.numbers[index * 3 + 1]!
      const end = Math.min(this.#fragments.numbers[index * 3 + 2]!, from + readBytes - to)
      bytes.set(this.#fragments.pages[index]!.bytes.subarray(from, end), to)
      to += end - from
    }
    return bytes
  }
}
