/** What tests of compaction share: batches with keys, a run as pool and shard do it together, all that a log holds, and a Map to compare with. */
import assert from 'node:assert/strict'
import { utf8Decode } from '../../src/base/bytes.ts'
import { stepToOffset } from '../../src/log/batch-steps.ts'
import { type CompactionResult, runCompaction } from '../../src/log/compaction-run.ts'
import type { LogContext } from '../../src/log/log-context.ts'
import type { PartitionLog } from '../../src/log/partition-log.ts'
import { BatchReader, type PlainRecord, readRecords } from '../../src/record/batch-reader.ts'
import { BatchView } from '../../src/record/batch-view.ts'
import { BatchWriter } from '../../src/record/batch-writer.ts'
import type { Codecs } from '../../src/record/compression.ts'
import { NO_CODECS } from '../../src/record/compression.ts'
import { checkpoint, readSegment } from './log-fixture.ts'

export interface KeyedRecord {
  readonly key: string | null
  /** null: a tombstone. */
  readonly value: string | null
  readonly timestampMs?: number
}

export interface KeyedBatchOptions {
  readonly producer?: {
    readonly producerId: number
    readonly producerEpoch: number
    readonly baseSequence: number
    readonly transactional?: boolean
  }
  readonly codec?: number
  readonly codecs?: Codecs
}

export const SEED = [1, 2, 3, 4]

/** A whole batch as a producer sends it. */
export function keyedBatch(records: readonly KeyedRecord[], options: KeyedBatchOptions = {}): Uint8Array {
  const writer = new BatchWriter({ initialBytes: 1024, codecs: options.codecs ?? NO_CODECS })
  for (const { key, value, timestampMs } of records)
    writer.append(key, value, [{ key: 'h', value: `${key}` }], timestampMs ?? 1000)
  return writer.finish({ ...options.producer, codec: options.codec ?? 0 }).slice()
}

export interface CompactOptions {
  readonly nowMs?: number
  readonly memoryBytesMax?: number
  readonly codecs?: Codecs
}

/** The pool's part alone: rewrites what is due; undefined when nothing is. */
export function rewrite(
  context: LogContext,
  log: PartitionLog,
  options: CompactOptions = {},
): CompactionResult | undefined {
  const nowMs = options.nowMs ?? context.clock.nowMs()
  const task = log.beginCompaction({
    ...{ nowMs, stableEnd: log.syncedEndOffset, memoryBytesMax: options.memoryBytesMax ?? 1 << 20 },
  })
  if (task === undefined) return undefined
  return runCompaction(context.files, task, { codecs: options.codecs ?? NO_CODECS, seed: SEED })
}

/** A checkpoint as the shard has it, and what follows: what it set aside is removed. */
export function settle(context: LogContext, log: PartitionLog): void {
  checkpoint(context, log)
  for (const path of log.removeCondemned()) context.files.remove(path)
}

/** A whole compaction, to the end of its swap; undefined when none was due. */
export function compact(
  context: LogContext,
  log: PartitionLog,
  options: CompactOptions = {},
): CompactionResult | undefined {
  const result = rewrite(context, log, options)
  if (result === undefined) return undefined
  log.endCompaction(result)
  settle(context, log)
  settle(context, log)
  assert.equal(log.isCompacting, false)
  return result
}

/** Every record of the log, read as a consumer does: place by place. */
export function readAll(context: LogContext, log: PartitionLog, codecs: Codecs = NO_CODECS): PlainRecord[] {
  const records: PlainRecord[] = []
  let offset: number = log.logStartOffset
  while (offset < log.logEndOffset) {
    const place = log.locate(offset, log.logEndOffset)
    assert.equal(place.kind, 'found', `offset ${offset}`)
    const bytes = readSegment(context, log, place.segment, place.filePosition, place.fileEnd)
    const first = stepToOffset(bytes, 0, bytes.length, offset)
    assert.equal(first.kind, 'found', `a batch that holds offset ${offset}`)
    if (place.exact) assert.equal(first.at, 0, 'an exact place')
    const reader = new BatchReader({ codecs }).reset(bytes.subarray(first.at), offset)
    for (const record of readRecords(bytes.subarray(first.at), { codecs, fromOffset: offset })) records.push(record)
    while (reader.next());
    assert.ok(reader.nextOffset > offset, `reading goes on at offset ${offset}`)
    offset = reader.nextOffset
  }
  return records
}

export function textOf(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : utf8Decode(bytes)
}

/** What a table made of the records holds: the last value of each key; a tombstone takes it out. */
export function tableOf(records: Iterable<PlainRecord>): Map<string, string> {
  const table = new Map<string, string>()
  for (const record of records) {
    const key = textOf(record.key)
    if (key === null) continue
    const value = textOf(record.value)
    if (value === null) table.delete(key)
    else table.set(key, value)
  }
  return table
}

/** Every batch of the log, as it lies there. */
export function batchesOf(context: LogContext, log: PartitionLog): BatchView[] {
  const views: BatchView[] = []
  let offset: number = log.logStartOffset
  while (offset < log.logEndOffset) {
    const { segment, filePosition, fileEnd } = log.locate(offset, log.logEndOffset)
    const bytes = readSegment(context, log, segment, filePosition, fileEnd)
    for (let at = 0; at < bytes.length; ) {
      const view = new BatchView().reset(bytes, at)
      views.push(view)
      at = view.end
      offset = view.nextOffset
    }
  }
  return views
}
