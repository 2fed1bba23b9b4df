/**
 * Checkpoint: from where recovery of each partition must look, and which journal entries still count.
 *
 * Thread      the shard writes one when its segments are synced (off the hot path: about 1 MB for 10,000 partitions);
 *             recovery writes one for all partitions when it is done
 * Invariants  C1 all below a line's recoveryPoint is synced into segment files, folder entries included
 *             C2 a checkpoint names every partition of its shard; one that is not named has recovery point 0
 *             C3 journal entries below journalSequence are covered by the segment files
 * Ordering    segments synced -> temporary name -> fsync -> rename -> fsync folder -> completeCheckpoint() of the journal
 * Failure     an unreadable checkpoint is told, and the older one of the partition counts: recovery then reads more, never less
 * Format      format.md §checkpoint, CHECKPOINT_FORMAT_VERSION; big-endian
 * Not here    the clean-shutdown marker: one for the data dir, written last (data-dir.ts)
 */
import { assert } from '../base/assert.ts'
import { readSafeInt64, writeSafeInt64 } from '../base/bytes.ts'
import { crc32c } from '../base/crc32c.ts'
import type { FileSystem } from '../io/file-system.ts'
import type { TopicId } from '../model/ids.ts'
import { readWholeFile, replaceFile } from './durable-file.ts'
import type { PartitionCheckpoint } from './recovered-partition.ts'
import { checkpointName, recoveredName } from './state-files.ts'
import { readTopicId, TOPIC_ID_BYTES, writeTopicId } from './topic-id-codec.ts'

export const CHECKPOINT_FORMAT_VERSION = 1

// Header:
// |  at | size | field           |
// |   0 |    4 | magic           | 'MRCP'
// |   4 |    4 | version         | u32
// |   8 |    4 | crc             | u32; CRC-32C of [12, end)
// |  12 |    4 | lineCount       | u32
// |  16 |    8 | incarnation     | i64
// |  24 |    4 | shard           | i32; -1: written by recovery, for all partitions
// |  28 |    4 | (zero)          |
// |  32 |    8 | journalSequence | i64; first entry of this shard's journal that is not covered
export const CHECKPOINT_MAGIC_AT = 0
export const CHECKPOINT_VERSION_AT = CHECKPOINT_MAGIC_AT + 4
export const CHECKPOINT_CRC_AT = CHECKPOINT_VERSION_AT + 4
export const CHECKPOINT_LINE_COUNT_AT = CHECKPOINT_CRC_AT + 4
export const CHECKPOINT_INCARNATION_AT = CHECKPOINT_LINE_COUNT_AT + 4
export const CHECKPOINT_SHARD_AT = CHECKPOINT_INCARNATION_AT + 8
export const CHECKPOINT_RESERVED_AT = CHECKPOINT_SHARD_AT + 4
export const CHECKPOINT_JOURNAL_SEQUENCE_AT = CHECKPOINT_RESERVED_AT + 4
export const CHECKPOINT_HEADER_BYTES = CHECKPOINT_JOURNAL_SEQUENCE_AT + 8
assert(CHECKPOINT_HEADER_BYTES === 40, 'checkpoint header changed: bump CHECKPOINT_FORMAT_VERSION')

// Line:
// |   0 |   16 | topicId                |
// |  16 |    4 | partition              | u32
// |  20 |    4 | flags                  | u32; bit 0: damaged, the partition did not serve
// |  24 |    8 | logStartOffset         | i64
// |  32 |    8 | recoveryPoint          | i64
// |  40 |    8 | producerSnapshotOffset | i64; -1 none
// |  48 |    8 | syncedEndOffset        | i64; a lower bound of what was acknowledged, >= recoveryPoint
export const CHECKPOINT_LINE_TOPIC_ID_AT = 0
export const CHECKPOINT_LINE_PARTITION_AT = CHECKPOINT_LINE_TOPIC_ID_AT + TOPIC_ID_BYTES
export const CHECKPOINT_LINE_FLAGS_AT = CHECKPOINT_LINE_PARTITION_AT + 4
export const CHECKPOINT_LINE_LOG_START_AT = CHECKPOINT_LINE_FLAGS_AT + 4
export const CHECKPOINT_LINE_RECOVERY_POINT_AT = CHECKPOINT_LINE_LOG_START_AT + 8
export const CHECKPOINT_LINE_SNAPSHOT_AT = CHECKPOINT_LINE_RECOVERY_POINT_AT + 8
export const CHECKPOINT_LINE_SYNCED_END_AT = CHECKPOINT_LINE_SNAPSHOT_AT + 8
export const CHECKPOINT_LINE_BYTES = CHECKPOINT_LINE_SYNCED_END_AT + 8
assert(CHECKPOINT_LINE_BYTES === 56, 'checkpoint line changed: bump CHECKPOINT_FORMAT_VERSION')

const MAGIC = 0x4d524350
const DAMAGED_BIT = 1
const FILE_BYTES_MAX = 64 * 1024 * 1024

/** A partition's line; `syncedEndOffset` is recoveryPoint where nothing higher is known. */
export interface CheckpointLine extends PartitionCheckpoint {
  readonly syncedEndOffset?: number
  readonly damaged?: boolean
}

export interface Checkpoint {
  readonly incarnation: number
  /** -1: of a recovery. */
  readonly shard: number
  readonly journalSequence: number
  readonly lines: readonly Required<CheckpointLine>[]
}

export interface CheckpointToWrite extends Omit<Checkpoint, 'lines'> {
  readonly lines: readonly CheckpointLine[]
}

export function encodeCheckpoint(checkpoint: CheckpointToWrite): Uint8Array {
  const { lines } = checkpoint
  const bytes = new Uint8Array(CHECKPOINT_HEADER_BYTES + lines.length * CHECKPOINT_LINE_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, MAGIC)
  view.setUint32(CHECKPOINT_VERSION_AT, CHECKPOINT_FORMAT_VERSION)
  view.setUint32(CHECKPOINT_LINE_COUNT_AT, lines.length)
  writeSafeInt64(view, CHECKPOINT_INCARNATION_AT, checkpoint.incarnation)
  view.setInt32(CHECKPOINT_SHARD_AT, checkpoint.shard)
  writeSafeInt64(view, CHECKPOINT_JOURNAL_SEQUENCE_AT, checkpoint.journalSequence)
  let at = CHECKPOINT_HEADER_BYTES
  for (const line of lines) {
    writeTopicId(bytes, at, line.topicId as TopicId)
    view.setUint32(at + CHECKPOINT_LINE_PARTITION_AT, line.partition)
    view.setUint32(at + CHECKPOINT_LINE_FLAGS_AT, line.damaged === true ? DAMAGED_BIT : 0)
    writeSafeInt64(view, at + CHECKPOINT_LINE_LOG_START_AT, line.logStartOffset)
    writeSafeInt64(view, at + CHECKPOINT_LINE_RECOVERY_POINT_AT, line.recoveryPoint)
    writeSafeInt64(view, at + CHECKPOINT_LINE_SNAPSHOT_AT, line.producerSnapshotOffset)
    writeSafeInt64(view, at + CHECKPOINT_LINE_SYNCED_END_AT, Math.max(line.recoveryPoint, line.syncedEndOffset ?? -1))
    at += CHECKPOINT_LINE_BYTES
  }
  view.setUint32(CHECKPOINT_CRC_AT, crc32c(bytes.subarray(CHECKPOINT_LINE_COUNT_AT)))
  return bytes
}

export type CheckpointAnswer =
  | { readonly kind: 'absent' }
  | { readonly kind: 'present'; readonly checkpoint: Checkpoint }
  | { readonly kind: 'unreadable'; readonly reason: string }

export function decodeCheckpoint(bytes: Uint8Array): CheckpointAnswer {
  const unreadable = (reason: string): CheckpointAnswer => ({ kind: 'unreadable', reason })
  if (bytes.length < CHECKPOINT_HEADER_BYTES) return unreadable(`${bytes.length} bytes are fewer than its header`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  if (view.getUint32(0) !== MAGIC) return unreadable('it does not begin with MRCP')
  if (view.getUint32(CHECKPOINT_CRC_AT) !== crc32c(bytes.subarray(CHECKPOINT_LINE_COUNT_AT)))
    return unreadable('its checksum does not fit')
  const version = view.getUint32(CHECKPOINT_VERSION_AT)
  if (version !== CHECKPOINT_FORMAT_VERSION)
    return unreadable(`format version ${version}, not ${CHECKPOINT_FORMAT_VERSION}`)
  const lineCount = view.getUint32(CHECKPOINT_LINE_COUNT_AT)
  if (bytes.length !== CHECKPOINT_HEADER_BYTES + lineCount * CHECKPOINT_LINE_BYTES)
    return unreadable(`${bytes.length} bytes, its header says ${lineCount} lines`)
  const lines: Required<CheckpointLine>[] = []
  for (let at = CHECKPOINT_HEADER_BYTES; at < bytes.length; at += CHECKPOINT_LINE_BYTES) {
    const line = readLine(bytes, view, at)
    if (line === undefined) return unreadable(`line ${lines.length} has an offset that cannot be`)
    lines.push(line)
  }
  return {
    kind: 'present',
    checkpoint: {
      incarnation: readSafeInt64(view, CHECKPOINT_INCARNATION_AT),
      shard: view.getInt32(CHECKPOINT_SHARD_AT),
      journalSequence: readSafeInt64(view, CHECKPOINT_JOURNAL_SEQUENCE_AT),
      lines,
    },
  }
}

function readLine(bytes: Uint8Array, view: DataView, at: number): Required<CheckpointLine> | undefined {
  const logStartOffset = readSafeInt64(view, at + CHECKPOINT_LINE_LOG_START_AT)
  const recoveryPoint = readSafeInt64(view, at + CHECKPOINT_LINE_RECOVERY_POINT_AT)
  const producerSnapshotOffset = readSafeInt64(view, at + CHECKPOINT_LINE_SNAPSHOT_AT)
  const syncedEndOffset = readSafeInt64(view, at + CHECKPOINT_LINE_SYNCED_END_AT)
  const sound =
    logStartOffset >= 0 && recoveryPoint >= 0 && producerSnapshotOffset >= -1 && syncedEndOffset >= recoveryPoint
  if (!sound) return undefined
  return {
    topicId: readTopicId(bytes, at),
    partition: view.getUint32(at + CHECKPOINT_LINE_PARTITION_AT),
    damaged: (view.getUint32(at + CHECKPOINT_LINE_FLAGS_AT) & DAMAGED_BIT) !== 0,
    ...{ logStartOffset, recoveryPoint, producerSnapshotOffset, syncedEndOffset },
  }
}

/** Writes a shard's checkpoint (`shard` >= 0) or that of a recovery (-1) into the folder state/, durably. */
export function writeCheckpoint(files: FileSystem, folder: string, checkpoint: CheckpointToWrite): void {
  const { incarnation, shard } = checkpoint
  const name = shard === -1 ? recoveredName(incarnation) : checkpointName(incarnation, shard)
  replaceFile(files, `${folder}/${name}`, [encodeCheckpoint(checkpoint)])
}

export function readCheckpoint(files: FileSystem, path: string): CheckpointAnswer {
  const file = readWholeFile(files, path, FILE_BYTES_MAX)
  return file.kind === 'present' ? decodeCheckpoint(file.bytes) : file
}
