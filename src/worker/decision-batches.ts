/**
 * What coordinators decided in a turn, as record batches: a crash may not leave half of a decision, so that each is in one batch, but for
 * mere removals, which are true for themselves.
 *
 * Limits  BATCH_BYTES: decisions share a batch up to there; a decision is at most one batch of max.message.bytes
 */
import { BatchWriter, RECORD_OVERHEAD_BYTES_MAX } from '../record/batch-writer.ts'
import type { EncodedRecord } from '../record/record-table.ts'

const BATCH_BYTES = 256 * 1024
const NO_BATCHES: Uint8Array[] = []

export interface BatchLimits {
  /** max.message.bytes of the topic. */
  readonly batchBytesMax: number
  /** Timestamp of the records. */
  readonly timestampMs: number
}

/** Each batch in memory of its own. Undefined when a decision does not fit the largest batch. */
export function encodeDecisions(
  decisions: readonly (readonly EncodedRecord[])[],
  { batchBytesMax, timestampMs }: BatchLimits,
): Uint8Array[] | undefined {
  if (decisions.length === 0) return NO_BATCHES
  const writer = new BatchWriter({ batchBytesMax })
  const batches: Uint8Array[] = []
  const close = (): void => {
    if (writer.recordsCount > 0) batches.push(writer.finish().slice())
    writer.reset()
  }
  for (const decision of decisions) {
    let bytes = 0
    for (const { key, value } of decision) bytes += key.length + (value?.length ?? 0) + RECORD_OVERHEAD_BYTES_MAX
    if (writer.sizeInBytes + bytes > Math.min(BATCH_BYTES, batchBytesMax)) close()
    for (const { key, value } of decision) {
      if (writer.append(key, value, null, timestampMs)) continue
      if (decision.some((record) => record.value !== null)) return undefined
      close()
      if (!writer.append(key, value, null, timestampMs)) return undefined
    }
  }
  close()
  return batches
}
