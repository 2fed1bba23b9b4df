/**
 * TimeLookup: the first record at or after a time, for LIST_OFFSETS. The only place of the broker that opens batches.
 *
 * Thread      the shard; a step reads what one fetch may read, cold bytes come by the disk thread
 * Rule        the time index says where to begin, batch headers where to look, one batch is opened: the first whose largest
 *             timestamp reaches the time. A batch that cannot be opened here (codec, size) answers with its base offset
 * Limits      STEP_BYTES a step; a batch is opened up to BATCH_BYTES_MAX, unpacked up to UNPACKED_BYTES_MAX
 */
import { StorageError } from '../io/file-system.ts'
import type { Location } from '../log/log-locator.ts'
import type { Offset } from '../model/ids.ts'
import { readableEnd } from '../partition/partition-fetch.ts'
import { BatchReader } from '../record/batch-reader.ts'
import { BatchView } from '../record/batch-view.ts'
import { type Codecs, NO_CODECS } from '../record/compression.ts'
import type { CachedPage, PageCache } from './page-cache.ts'
import type { PartitionAgent } from './partition-agent.ts'
import { FragmentList, type LoadListener, type SegmentReader } from './segment-reader.ts'

const STEP_BYTES = 256 * 1024
const UNPACKED_BYTES_MAX = 64 * 1024 * 1024

export interface FoundTime {
  readonly offset: number
  readonly timestampMs: number
}

const NOT_FOUND: FoundTime = { offset: -1, timestampMs: -1 }

export interface TimeLookupOptions {
  readonly partition: PartitionAgent
  readonly timestampMs: number
  readonly isolation: number
  readonly reader: SegmentReader
  readonly cache: PageCache
  readonly codecs: Codecs
}

export class TimeLookup implements LoadListener {
  readonly #options: TimeLookupOptions
  readonly #fragments = new FragmentList()
  readonly #loading = new Set<CachedPage>()
  #offset = -1

  constructor(options: TimeLookupOptions) {
    this.#options = options
  }

  get partition(): PartitionAgent {
    return this.#options.partition
  }

  onLoading(page: CachedPage): void {
    this.#loading.add(page)
  }

  /** One step: the answer, or undefined: more steps are needed. Throws StorageError when the file cannot be read. */
  step(): FoundTime | undefined {
    for (const page of this.#loading) if (page.load === undefined) this.#loading.delete(page)
    if (this.#loading.size > 0) return undefined
    const { partition, timestampMs, isolation } = this.#options
    const endOffset = readableEnd(partition.state, isolation)
    if (this.#offset === -1) {
      const place = partition.log.locateTime(timestampMs, endOffset)
      return place.kind === 'found' ? this.#read(partition.state.logStartOffset, endOffset, place) : NOT_FOUND
    }
    return this.#offset < endOffset ? this.#read(this.#offset as Offset, endOffset) : NOT_FOUND
  }

  #read(offset: Offset, endOffset: Offset, place?: Readonly<Location>): FoundTime | undefined {
    const { partition, reader, cache } = this.#options
    this.#fragments.count = 0
    const wish = { partition, offset, endOffset, limitBytes: STEP_BYTES, takesFirst: true }
    const outcome = reader.read(place === undefined ? wish : { ...wish, place }, this.#fragments, this)
    if (outcome === 'damaged') throw new StorageError('ECORRUPT', `the segment that holds offset ${offset} is damaged`)
    if (outcome === 'empty') return NOT_FOUND
    if (outcome !== 'read') return undefined
    const bytes = this.#copy(reader.readBytes)
    for (let index = 0; index < this.#fragments.count; index++) cache.unlend(this.#fragments.pages[index]!)
    return this.#look(bytes)
  }

  #look(bytes: Uint8Array): FoundTime | undefined {
    const { timestampMs, codecs } = this.#options
    const batch = new BatchView()
    for (let at = 0; at < bytes.length; at = batch.end) {
      batch.reset(bytes, at)
      this.#offset = batch.nextOffset
      if (batch.maxTimestamp < timestampMs) continue
      const found = findInBatch(bytes.subarray(at, batch.end), timestampMs, this.#options.partition, codecs)
      if (found !== undefined) return found
    }
    return undefined
  }

  #copy(readBytes: number): Uint8Array {
    const bytes = new Uint8Array(readBytes)
    let to = 0
    for (let index = 0; index < this.#fragments.count; index++) {
      const from = this.#fragments.numbers[index * 3 + 1]!
      const end = this.#fragments.numbers[index * 3 + 2]!
      bytes.set(this.#fragments.pages[index]!.bytes.subarray(from, end), to)
      to += end - from
    }
    return bytes
  }
}

function findInBatch(
  bytes: Uint8Array,
  timestampMs: number,
  partition: PartitionAgent,
  codecs: Codecs,
): FoundTime | undefined {
  const batch = new BatchView().reset(bytes)
  const base = { offset: batch.baseOffset as number, timestampMs: batch.baseTimestamp }
  if (batch.timestampType === 'LogAppendTime') return { offset: base.offset, timestampMs: batch.maxTimestamp }
  if (batch.codec !== 0 && codecs === NO_CODECS) return base
  try {
    const reader = new BatchReader({ codecs, checkCrc: false, unpackedBytesMax: UNPACKED_BYTES_MAX })
    reader.reset(bytes, partition.state.logStartOffset)
    while (reader.next())
      if (reader.timestampMs >= timestampMs) return { offset: reader.offset, timestampMs: reader.timestampMs }
    return undefined
  } catch {
    // Not readable here (a codec that is not installed, a size beyond the bound): the batch is still the right one.
    return base
  }
}
