/**
 * TimeLookup: the first record at or after a time, for LIST_OFFSETS. The only place of the broker that opens batches.
 *
 * Thread      the shard; bytes come by steps (batch-scan.ts)
 * Rule        the time index says where to begin, batch headers where to look, one batch is opened: the first whose largest
 *             timestamp reaches the time. A batch that cannot be opened here (codec, size) answers with its base offset
 * Limits      a batch is opened up to BATCH_BYTES_MAX, unpacked up to UNPACKED_BYTES_MAX
 */
import { readableEnd } from '../partition/partition-fetch.ts'
import { BatchReader } from '../record/batch-reader.ts'
import { BatchView } from '../record/batch-view.ts'
import { type Codecs, NO_CODECS } from '../record/compression.ts'
import { BatchScan } from './batch-scan.ts'
import type { PageCache } from './page-cache.ts'
import type { PartitionAgent } from './partition-agent.ts'
import type { SegmentReader } from './segment-reader.ts'

const UNPACKED_BYTES_MAX = 64 * 1024 * 1024

export interface FoundTime {
  readonly offset: number
  readonly timestampMs: number
}

export const NOT_FOUND: FoundTime = { offset: -1, timestampMs: -1 }

export interface TimeLookupOptions {
  readonly partition: PartitionAgent
  readonly timestampMs: number
  readonly isolation: number
  readonly reader: SegmentReader
  readonly cache: PageCache
  readonly codecs: Codecs
}

export class TimeLookup {
  readonly #options: TimeLookupOptions
  readonly #scan: BatchScan

  constructor(options: TimeLookupOptions) {
    this.#options = options
    this.#scan = new BatchScan(options, options.partition.state.logStartOffset)
  }

  get partition(): PartitionAgent {
    return this.#options.partition
  }

  /** One step: the answer, or undefined: more steps are needed. Throws StorageError when the file cannot be read. */
  step(): FoundTime | undefined {
    const { partition, timestampMs, isolation } = this.#options
    const endOffset = readableEnd(partition.state, isolation)
    // The index says where to begin; the log's answer is only good for the call that follows.
    const place = this.#scan.hasBegun ? undefined : partition.log.locateTime(timestampMs, endOffset)
    if (place !== undefined && place.kind !== 'found') return NOT_FOUND
    const bytes = this.#scan.step(endOffset, place)
    if (bytes === 'waiting') return undefined
    return bytes === 'end' ? NOT_FOUND : this.#look(bytes)
  }

  #look(bytes: Uint8Array): FoundTime | undefined {
    const { timestampMs, codecs } = this.#options
    const batch = new BatchView()
    for (let at = 0; at < bytes.length; at = batch.end) {
      batch.reset(bytes, at)
      if (batch.maxTimestamp < timestampMs) continue
      const found = findInBatch(bytes.subarray(at, batch.end), timestampMs, this.#options.partition, codecs)
      if (found !== undefined) return found
    }
    return undefined
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
  // A marker is a record here, too: its time may be the largest there is.
  if (batch.isControl || batch.timestampType === 'LogAppendTime')
    return { offset: base.offset, timestampMs: batch.maxTimestamp }
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
