/**
 * Message codec: writes and reads the hot messages: PRODUCE, PRODUCE_REPLY, FETCH, FETCH_REPLY. Nothing here allocates per
 * message but the text of an error: callers keep one …Fields object and reuse it.
 *
 * Thread      any; stateless
 * Limits      payloads up to the ring's frameBytesMax; the callers' batchBytesMax and partition counts must lie below
 * Failure     full = -1 or false; lengths that do not add up = InvariantError (both ends are ours)
 * Format      messages.ts
 */
import { assert } from '../base/assert.ts'
import { utf8Decode, utf8Encode } from '../base/bytes.ts'
import { type AbortedTransaction, NO_ABORTED } from '../model/aborted-transaction.ts'
import {
  ABORTED_BYTES,
  ABORTED_FIRST_OFFSET_AT,
  ABORTED_PRODUCER_ID_AT,
  FETCH_ALL_PARTITIONS_AT,
  FETCH_ANY_REPLICA_AT,
  FETCH_ISOLATION_AT,
  FETCH_MAX_BYTES_AT,
  FETCH_MIN_BYTES_AT,
  FETCH_PARTITION_BYTES,
  FETCH_PARTITION_COUNT_AT,
  FETCH_PARTITION_LAST_EPOCH_AT,
  FETCH_PARTITION_LEADER_EPOCH_AT,
  FETCH_PARTITION_MAX_BYTES_AT,
  FETCH_PARTITION_OFFSET_AT,
  FETCH_PARTITION_REF_AT,
  FETCH_PARTITIONS_AT,
  FETCH_REPLICA_INCARNATION_AT,
  FETCH_REPLICA_NODE_ID_AT,
  FETCH_REPLY_PARTITION_BYTES,
  FETCH_REPLY_PARTITION_COUNT_AT,
  FETCH_REPLY_PARTITION_FRAGMENTS_AT,
  FETCH_REPLY_PARTITIONS_AT,
  FETCH_REPLY_REQUEST_ID_AT,
  FETCH_REQUEST_ID_AT,
  FETCH_WAIT_MS_AT,
  FRAGMENT_BYTES,
  MessageType,
  PRODUCE_ACKS_AT,
  PRODUCE_BATCH_BYTES_AT,
  PRODUCE_BATCHES_AT,
  PRODUCE_LEADER_EPOCH_AT,
  PRODUCE_PARTITION_REF_AT,
  PRODUCE_REPLY_APPEND_TIME_AT,
  PRODUCE_REPLY_BASE_OFFSET_AT,
  PRODUCE_REPLY_DURABILITY_AT,
  PRODUCE_REPLY_ERROR_AT,
  PRODUCE_REPLY_LEADER_EPOCH_AT,
  PRODUCE_REPLY_LOG_START_AT,
  PRODUCE_REPLY_PARTITION_REF_AT,
  PRODUCE_REPLY_REQUEST_ID_AT,
  PRODUCE_REPLY_TEXT_AT,
  PRODUCE_REPLY_TEXT_BYTES_AT,
  PRODUCE_REQUEST_ID_AT,
  PRODUCE_TIMEOUT_MS_AT,
} from './messages.ts'
import type { RingReader } from './ring-reader.ts'
import type { RingWriter } from './ring-writer.ts'

export class ProduceFields {
  requestId = 0
  partitionRef = 0
  leaderEpoch = -1
  acks = 0
  timeoutMs = 0
  batchBytes = 0
  /** Set by readProduce: where the batches lie in reader.bytes. */
  batchesAt = 0
}

/** Claims a PRODUCE and fills its fixed part: the index in writer.bytes where the caller puts `batchBytes` of batches; -1 = full. */
export function claimProduce(writer: RingWriter, fields: ProduceFields): number {
  const at = writer.claim(MessageType.PRODUCE, PRODUCE_BATCHES_AT + fields.batchBytes, 'data')
  if (at < 0) return -1
  const { view } = writer
  view.setUint32(at + PRODUCE_REQUEST_ID_AT, fields.requestId, true)
  view.setUint32(at + PRODUCE_PARTITION_REF_AT, fields.partitionRef, true)
  view.setInt32(at + PRODUCE_LEADER_EPOCH_AT, fields.leaderEpoch, true)
  view.setInt32(at + PRODUCE_ACKS_AT, fields.acks, true)
  view.setUint32(at + PRODUCE_TIMEOUT_MS_AT, fields.timeoutMs, true)
  view.setUint32(at + PRODUCE_BATCH_BYTES_AT, fields.batchBytes, true)
  return at + PRODUCE_BATCHES_AT
}

/** Reads the PRODUCE that the reader stands on. */
export function readProduce(reader: RingReader, fields: ProduceFields): void {
  const { at, view } = reader
  fields.requestId = view.getUint32(at + PRODUCE_REQUEST_ID_AT, true)
  fields.partitionRef = view.getUint32(at + PRODUCE_PARTITION_REF_AT, true)
  fields.leaderEpoch = view.getInt32(at + PRODUCE_LEADER_EPOCH_AT, true)
  fields.acks = view.getInt32(at + PRODUCE_ACKS_AT, true)
  fields.timeoutMs = view.getUint32(at + PRODUCE_TIMEOUT_MS_AT, true)
  fields.batchBytes = view.getUint32(at + PRODUCE_BATCH_BYTES_AT, true)
  fields.batchesAt = at + PRODUCE_BATCHES_AT
  assert(PRODUCE_BATCHES_AT + fields.batchBytes <= reader.length, 'PRODUCE: its batches are longer than its frame')
}

export class ProduceReplyFields {
  requestId = 0
  partitionRef = 0
  errorNumber = 0
  durability = 0
  baseOffset = -1
  logAppendTimeMs = -1
  logStartOffset = 0
  leaderEpoch = -1
  /** Cut to what a frame carries. */
  text = ''
}

/** Claims and fills a PRODUCE_REPLY; the caller publishes. False = full. */
export function writeProduceReply(writer: RingWriter, fields: ProduceReplyFields): boolean {
  const text = fields.text === '' ? undefined : utf8Encode(fields.text)
  const textBytes = text === undefined ? 0 : Math.min(text.length, writer.frameBytesMax - PRODUCE_REPLY_TEXT_AT)
  const at = writer.claim(MessageType.PRODUCE_REPLY, PRODUCE_REPLY_TEXT_AT + textBytes, 'data')
  if (at < 0) return false
  const { view } = writer
  view.setUint32(at + PRODUCE_REPLY_REQUEST_ID_AT, fields.requestId, true)
  view.setUint32(at + PRODUCE_REPLY_PARTITION_REF_AT, fields.partitionRef, true)
  view.setInt32(at + PRODUCE_REPLY_ERROR_AT, fields.errorNumber, true)
  view.setInt32(at + PRODUCE_REPLY_DURABILITY_AT, fields.durability, true)
  view.setFloat64(at + PRODUCE_REPLY_BASE_OFFSET_AT, fields.baseOffset, true)
  view.setFloat64(at + PRODUCE_REPLY_APPEND_TIME_AT, fields.logAppendTimeMs, true)
  view.setFloat64(at + PRODUCE_REPLY_LOG_START_AT, fields.logStartOffset, true)
  view.setInt32(at + PRODUCE_REPLY_LEADER_EPOCH_AT, fields.leaderEpoch, true)
  view.setUint32(at + PRODUCE_REPLY_TEXT_BYTES_AT, textBytes, true)
  if (text !== undefined) writer.bytes.set(text.subarray(0, textBytes), at + PRODUCE_REPLY_TEXT_AT)
  return true
}

/** Reads the PRODUCE_REPLY that the reader stands on. */
export function readProduceReply(reader: RingReader, fields: ProduceReplyFields): void {
  const { at, view } = reader
  fields.requestId = view.getUint32(at + PRODUCE_REPLY_REQUEST_ID_AT, true)
  fields.partitionRef = view.getUint32(at + PRODUCE_REPLY_PARTITION_REF_AT, true)
  fields.errorNumber = view.getInt32(at + PRODUCE_REPLY_ERROR_AT, true)
  fields.durability = view.getInt32(at + PRODUCE_REPLY_DURABILITY_AT, true)
  fields.baseOffset = view.getFloat64(at + PRODUCE_REPLY_BASE_OFFSET_AT, true)
  fields.logAppendTimeMs = view.getFloat64(at + PRODUCE_REPLY_APPEND_TIME_AT, true)
  fields.logStartOffset = view.getFloat64(at + PRODUCE_REPLY_LOG_START_AT, true)
  fields.leaderEpoch = view.getInt32(at + PRODUCE_REPLY_LEADER_EPOCH_AT, true)
  const textBytes = view.getUint32(at + PRODUCE_REPLY_TEXT_BYTES_AT, true)
  assert(PRODUCE_REPLY_TEXT_AT + textBytes <= reader.length, 'PRODUCE_REPLY: its text is longer than its frame')
  // slice, not subarray: a TextDecoder need not take shared memory.
  fields.text =
    textBytes === 0
      ? ''
      : utf8Decode(reader.bytes.slice(at + PRODUCE_REPLY_TEXT_AT, at + PRODUCE_REPLY_TEXT_AT + textBytes))
}

export class FetchFields {
  requestId = 0
  waitMs = 0
  minBytes = 0
  maxBytes = 0
  isolation = 0
  partitionCount = 0
  /** -1 = a consumer. */
  replicaNodeId = -1
  replicaIncarnation = -1
  /** Of a consumer: a follower may answer. */
  anyReplica = false
  /** Of a consumer: the reply has a line for each partition. */
  allPartitions = false
  /** Set by readFetch: where the first partition lies in reader.view. */
  partitionsAt = 0
}

/** Payload bytes of a FETCH over so many partitions. */
export function fetchBytes(partitionCount: number): number {
  return FETCH_PARTITIONS_AT + partitionCount * FETCH_PARTITION_BYTES
}

/** Claims a FETCH and fills its fixed part: where its first partition goes, for setFetchPartition; -1 = full. */
export function claimFetch(writer: RingWriter, fields: FetchFields): number {
  const at = writer.claim(MessageType.FETCH, fetchBytes(fields.partitionCount), 'data')
  if (at < 0) return -1
  const { view } = writer
  view.setUint32(at + FETCH_REQUEST_ID_AT, fields.requestId, true)
  view.setUint32(at + FETCH_WAIT_MS_AT, fields.waitMs, true)
  view.setUint32(at + FETCH_MIN_BYTES_AT, fields.minBytes, true)
  view.setUint32(at + FETCH_MAX_BYTES_AT, fields.maxBytes, true)
  view.setInt32(at + FETCH_ISOLATION_AT, fields.isolation, true)
  view.setUint32(at + FETCH_PARTITION_COUNT_AT, fields.partitionCount, true)
  view.setInt32(at + FETCH_REPLICA_NODE_ID_AT, fields.replicaNodeId, true)
  view.setUint32(at + FETCH_ANY_REPLICA_AT, fields.anyReplica ? 1 : 0, true)
  view.setFloat64(at + FETCH_REPLICA_INCARNATION_AT, fields.replicaIncarnation, true)
  view.setUint32(at + FETCH_ALL_PARTITIONS_AT, fields.allPartitions ? 1 : 0, true)
  view.setUint32(at + FETCH_ALL_PARTITIONS_AT + 4, 0, true)
  return at + FETCH_PARTITIONS_AT
}

/** Reads the fixed part of the FETCH that the reader stands on. */
export function readFetch(reader: RingReader, fields: FetchFields): void {
  const { at, view } = reader
  fields.requestId = view.getUint32(at + FETCH_REQUEST_ID_AT, true)
  fields.waitMs = view.getUint32(at + FETCH_WAIT_MS_AT, true)
  fields.minBytes = view.getUint32(at + FETCH_MIN_BYTES_AT, true)
  fields.maxBytes = view.getUint32(at + FETCH_MAX_BYTES_AT, true)
  fields.isolation = view.getInt32(at + FETCH_ISOLATION_AT, true)
  fields.partitionCount = view.getUint32(at + FETCH_PARTITION_COUNT_AT, true)
  fields.replicaNodeId = view.getInt32(at + FETCH_REPLICA_NODE_ID_AT, true)
  fields.anyReplica = view.getUint32(at + FETCH_ANY_REPLICA_AT, true) !== 0
  fields.replicaIncarnation = view.getFloat64(at + FETCH_REPLICA_INCARNATION_AT, true)
  fields.allPartitions = view.getUint32(at + FETCH_ALL_PARTITIONS_AT, true) !== 0
  fields.partitionsAt = at + FETCH_PARTITIONS_AT
  assert(fetchBytes(fields.partitionCount) <= reader.length, 'FETCH: its partitions are longer than its frame')
}

export class FetchPartitionFields {
  partitionRef = 0
  leaderEpoch = -1
  fetchOffset = 0
  maxBytes = 0
  lastEpoch = -1
}

/** Writes partition `index` of a FETCH whose partitions begin at `partitionsAt`. */
export function setFetchPartition(
  view: DataView,
  partitionsAt: number,
  index: number,
  fields: FetchPartitionFields,
): void {
  const at = partitionsAt + index * FETCH_PARTITION_BYTES
  view.setUint32(at + FETCH_PARTITION_REF_AT, fields.partitionRef, true)
  view.setInt32(at + FETCH_PARTITION_LEADER_EPOCH_AT, fields.leaderEpoch, true)
  view.setFloat64(at + FETCH_PARTITION_OFFSET_AT, fields.fetchOffset, true)
  view.setUint32(at + FETCH_PARTITION_MAX_BYTES_AT, fields.maxBytes, true)
  view.setInt32(at + FETCH_PARTITION_LAST_EPOCH_AT, fields.lastEpoch, true)
}

/** Reads partition `index` of a FETCH whose partitions begin at `partitionsAt`. */
export function getFetchPartition(
  view: DataView,
  partitionsAt: number,
  index: number,
  fields: FetchPartitionFields,
): void {
  const at = partitionsAt + index * FETCH_PARTITION_BYTES
  fields.partitionRef = view.getUint32(at + FETCH_PARTITION_REF_AT, true)
  fields.leaderEpoch = view.getInt32(at + FETCH_PARTITION_LEADER_EPOCH_AT, true)
  fields.fetchOffset = view.getFloat64(at + FETCH_PARTITION_OFFSET_AT, true)
  fields.maxBytes = view.getUint32(at + FETCH_PARTITION_MAX_BYTES_AT, true)
  fields.lastEpoch = view.getInt32(at + FETCH_PARTITION_LAST_EPOCH_AT, true)
}

/** Payload bytes of a FETCH_REPLY with so many partitions, page fragments and aborted transactions. */
export function fetchReplyBytes(partitionCount: number, fragmentCount: number, abortedCount = 0): number {
  const partitionsEnd = FETCH_REPLY_PARTITIONS_AT + partitionCount * FETCH_REPLY_PARTITION_BYTES
  return partitionsEnd + fragmentCount * FRAGMENT_BYTES + abortedCount * ABORTED_BYTES
}

/** Of all partitions of the FETCH_REPLY at `at`: where the aborted transactions begin. */
export function fetchReplyAbortedAt(view: DataView, at: number): number {
  const partitionCount = view.getUint32(at + FETCH_REPLY_PARTITION_COUNT_AT, true)
  let fragmentCount = 0
  for (let index = 0; index < partitionCount; index++) {
    const partAt = at + FETCH_REPLY_PARTITIONS_AT + index * FETCH_REPLY_PARTITION_BYTES
    fragmentCount += view.getUint32(partAt + FETCH_REPLY_PARTITION_FRAGMENTS_AT, true)
  }
  return at + fetchReplyBytes(partitionCount, fragmentCount)
}

/** `count` aborted transactions of a FETCH_REPLY, from `at` on. */
export function readAborted(view: DataView, at: number, count: number): readonly AbortedTransaction[] {
  if (count === 0) return NO_ABORTED
  const aborted: AbortedTransaction[] = []
  for (let entryAt = at; aborted.length < count; entryAt += ABORTED_BYTES)
    aborted.push({
      producerId: view.getFloat64(entryAt + ABORTED_PRODUCER_ID_AT, true),
      firstOffset: view.getFloat64(entryAt + ABORTED_FIRST_OFFSET_AT, true),
    })
  return aborted
}

/** Claims a FETCH_REPLY and fills its fixed part: the index of its payload; -1 = full. The rest is the caller's. */
export function claimFetchReply(
  writer: RingWriter,
  head: { requestId: number; partitionCount: number; fragmentCount: number; abortedCount?: number },
): number {
  const { partitionCount, fragmentCount, abortedCount } = head
  const at = writer.claim(MessageType.FETCH_REPLY, fetchReplyBytes(partitionCount, fragmentCount, abortedCount), 'data')
  if (at < 0) return -1
  writer.view.setUint32(at + FETCH_REPLY_REQUEST_ID_AT, head.requestId, true)
  writer.view.setUint32(at + FETCH_REPLY_PARTITION_COUNT_AT, head.partitionCount, true)
  return at
}
