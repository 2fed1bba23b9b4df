/**
 * Batch check: what must hold before a follower appends a batch as it is (R5). No sequences: the leader has checked them.
 *
 *   step          objection
 *   length        CORRUPT_MESSAGE
 *   magic         CORRUPT_MESSAGE
 *   checksum      CORRUPT_MESSAGE
 *   offset        OFFSET_OUT_OF_RANGE: not the one that the log ends with. A filler that begins before it stands for offsets of which
 *                 the follower has some: what is missing is a filler too. An empty log takes the batch that its start lies in, as the
 *                 leader has it: it was trimmed to the middle of that
 *   epoch         FENCED_LEADER_EPOCH: below that of the batch before, or above the leader's
 *
 * Thread      the follower's shard; pure
 */
import { type Refusal, refuse } from '../model/refusal.ts'
import { batchBytesAt, MAGIC, MAGIC_AT } from '../record/batch-layout.ts'
import type { BatchView } from '../record/batch-view.ts'
import { isFiller } from '../record/filler-batch.ts'

/** Where the log ends with what was taken so far, and under which epoch the batches were fetched. */
export interface AppendPlace {
  readonly nextOffset: number
  /** The log holds nothing at all: it begins with the batch, and its start stays where it is. */
  readonly isEmpty: boolean
  /** Of the last batch; -1 = there is none. */
  readonly lastEpoch: number
  readonly leaderEpoch: number
}

/** `begins-before`: a filler, to be made again from the log's end on. */
export type CheckedBatch = { readonly kind: 'sound' } | { readonly kind: 'begins-before' } | Refusal

const SOUND: CheckedBatch = { kind: 'sound' }
const BEGINS_BEFORE: CheckedBatch = { kind: 'begins-before' }

/** Sets `batch` to the one at bytes[at], which must end by `end`, and checks it. */
export function checkReplicated(
  batch: BatchView,
  { bytes, at, end }: { readonly bytes: Uint8Array; readonly at: number; readonly end: number },
  place: AppendPlace,
): CheckedBatch {
  const batchBytes = batchBytesAt(bytes, at, end)
  if (batchBytes < 0 || batchBytes > end - at)
    return refuse('CORRUPT_MESSAGE', `${end - at} bytes from the leader are no whole batch`)
  if (bytes[at + MAGIC_AT] !== MAGIC)
    return refuse('CORRUPT_MESSAGE', `the magic of the batch is ${bytes[at + MAGIC_AT]}`)
  batch.reset(bytes, at)
  const computed = batch.computeCrc()
  if (computed !== batch.crc)
    return refuse('CORRUPT_MESSAGE', `the checksum of the batch is ${computed}, its header says ${batch.crc}`)
  const { baseOffset, nextOffset, leaderEpoch } = batch
  if (leaderEpoch < place.lastEpoch || leaderEpoch > place.leaderEpoch)
    return refuse(
      'FENCED_LEADER_EPOCH',
      `the batch at offset ${baseOffset} has epoch ${leaderEpoch}, not within ${place.lastEpoch} to ${place.leaderEpoch}`,
    )
  if (baseOffset === place.nextOffset && nextOffset > baseOffset) return SOUND
  if (baseOffset < place.nextOffset && nextOffset > place.nextOffset) {
    if (place.isEmpty) return SOUND
    if (isFiller(batch)) return BEGINS_BEFORE
  }
  return refuse(
    'OFFSET_OUT_OF_RANGE',
    `the batch of the leader is [${baseOffset}, ${nextOffset}), the log ends at offset ${place.nextOffset}`,
  )
}
