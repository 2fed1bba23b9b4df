/**
 * What coordinators decided in a turn, as record batches: a crash may not leave half of a decision, so that each is in one batch, but for
 * mere removals, which are true for themselves. What is written in the name of a producer is a batch of its own, of that producer's
 * transaction.
 *
 * Limits  BATCH_BYTES: decisions share a batch up to there; a decision is at most one batch of max.message.bytes
 */
import type { ProducerIdentity } from '../model/producer-identity.ts'
import { BatchWriter, RECORD_OVERHEAD_BYTES_MAX } from '../record/batch-writer.ts'
import type { EncodedRecord } from '../record/record-table.ts'

const BATCH_BYTES = 256 * 1024
const NO_BATCHES: Uint8Array[] = []

/** The records of one decision. */
export interface Decided {
  readonly records: readonly EncodedRecord[]
  /** Whose transaction they are part of. */
  readonly transaction: ProducerIdentity | undefined
}

export interface BatchLimits {
  /** max.message.bytes of the topic. */
  readonly batchBytesMax: number
  /** Timestamp of the records. */
  readonly timestampMs: number
}

/** Each batch in memory of its own. Undefined when a decision does not fit the largest batch. */
export function encodeDecisions(
  decisions: readonly Decided[],
  { batchBytesMax, timestampMs }: BatchLimits,
): Uint8Array[] | undefined {
  if (decisions.length === 0) return NO_BATCHES
  const writer = new BatchWriter({ batchBytesMax })
  const batches: Uint8Array[] = []
  const close = (transaction?: ProducerIdentity): void => {
    const options = transaction === undefined ? undefined : { ...transaction, transactional: true }
    if (writer.recordsCount > 0) batches.push(writer.finish(options).slice())
    writer.reset()
  }
  for (const { records, transaction } of decisions) {
    if (transaction !== undefined || writer.sizeInBytes + sizeOf(records) > Math.min(BATCH_BYTES, batchBytesMax))
      close()
    for (const { key, value } of records) {
      if (writer.append(key, value, null, timestampMs)) continue
      if (records.some((record) => record.value !== null)) return undefined
      close()
      if (!writer.append(key, value, null, timestampMs)) return undefined
    }
    if (transaction !== undefined) close(transaction)
  }
  close()
  return batches
}

function sizeOf(records: readonly EncodedRecord[]): number {
  let bytes = 0
  for (const { key, value } of records) bytes += key.length + (value?.length ?? 0) + RECORD_OVERHEAD_BYTES_MAX
  return bytes
}
