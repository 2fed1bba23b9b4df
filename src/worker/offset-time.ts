/**
 * OffsetTime: the time of the record at an offset, by the header of its batch: how old what a group has not read yet is. A batch's largest
 * timestamp stands for all of its records.
 *
 * Thread  the shard; bytes come by steps (batch-scan.ts)
 */
import type { Offset } from '../model/ids.ts'
import { BatchView } from '../record/batch-view.ts'
import { BatchScan, type BatchScanOptions } from './batch-scan.ts'
import type { PartitionAgent } from './partition-agent.ts'
import { type FoundTime, NOT_FOUND } from './time-lookup.ts'

export class OffsetTime {
  readonly partition: PartitionAgent
  readonly #scan: BatchScan

  constructor(options: BatchScanOptions, offset: Offset) {
    this.partition = options.partition
    this.#scan = new BatchScan({ ...options, headerOnly: true }, offset)
  }

  /** The first record at or after the offset; undefined: more steps are needed. Throws StorageError. */
  step(): FoundTime | undefined {
    const bytes = this.#scan.step(this.partition.state.highWatermark)
    if (bytes === 'waiting') return undefined
    if (bytes === 'end') return NOT_FOUND
    const { baseOffset, maxTimestamp } = new BatchView().reset(bytes, 0)
    return { offset: baseOffset, timestampMs: maxTimestamp }
  }
}
