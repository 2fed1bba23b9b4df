/** What tests of src/log share: batches, a log over a disk in memory, and the reader that a shard would be. */
import type { Clock } from '../../src/base/clock.ts'
import type { FileSystem } from '../../src/io/file-system.ts'
import { NOTHING_ABORTED } from '../../src/log/aborted-index.ts'
import { stepToOffset } from '../../src/log/batch-steps.ts'
import { readWholeFile } from '../../src/log/checked-file.ts'
import { decodeLeaderEpochs, LEADER_EPOCHS_FILE } from '../../src/log/leader-epoch-cache.ts'
import { createLogContext, type LogContext } from '../../src/log/log-context.ts'
import type { PartitionLog } from '../../src/log/partition-log.ts'
import type { RecoveredPartition, RecoveredSegment } from '../../src/log/recovered-partition.ts'
import { parseSegmentFileName, type Segment } from '../../src/log/segment.ts'
import { scanBatches } from '../../src/log/segment-scan.ts'
import type { TopicId } from '../../src/model/ids.ts'
import { TOPIC_CONFIG_DEFAULTS, type TopicConfig } from '../../src/model/topic-config.ts'
import { BatchView } from '../../src/record/batch-view.ts'
import { BatchWriter } from '../../src/record/batch-writer.ts'

export const TOPIC = '0123456789abcdef0123456789abcdef' as TopicId
export const DATA_DIR = '/data'

export class ManualClock implements Clock {
  /** Wall time; both clocks move with it. */
  ms = 1_700_000_000_000
  /** Far from the wall clock, as on a real machine: a deadline made with the wrong one never comes. */
  #monotonicBehindMs = 1_699_999_000_000

  nowMs(): number {
    return this.ms
  }

  monotonicMs(): number {
    return this.ms - this.#monotonicBehindMs
  }

  /** Sets the wall clock back or forth by `ms`; the monotonic one stands. */
  jump(ms: number): void {
    this.ms += ms
    this.#monotonicBehindMs += ms
  }
}

export function topicConfig(changes: Partial<TopicConfig> = {}): TopicConfig {
  return { ...TOPIC_CONFIG_DEFAULTS, ...changes }
}

export function contextOver(files: FileSystem, clock: Clock = new ManualClock()): LogContext {
  return createLogContext({ files, clock, dataDir: DATA_DIR })
}

export interface BatchOptions {
  readonly records?: number
  readonly valueBytes?: number
  /** One for all records, or one each. */
  readonly timestampMs?: number | readonly number[]
  readonly producerId?: number
  readonly producerEpoch?: number
  readonly baseSequence?: number
}

/** A whole batch as a producer sends it. */
export function makeBatch(options: BatchOptions = {}): Uint8Array {
  const writer = new BatchWriter({ initialBytes: 256 })
  const value = new Uint8Array(options.valueBytes ?? 10).fill(7)
  for (let index = 0; index < (options.records ?? 1); index++) {
    const times = options.timestampMs ?? 1000
    const timestamp = typeof times === 'number' ? times : times[index]!
    writer.append(null, value, null, timestamp)
  }
  const { producerId, producerEpoch, baseSequence } = options
  const finish =
    producerId === undefined ? {} : { producerId, producerEpoch: producerEpoch ?? 0, baseSequence: baseSequence ?? 0 }
  return writer.finish(finish).slice()
}

const view = new BatchView()

/** Stamps and stages one batch; returns its base offset. */
export function stage(log: PartitionLog, batch: Uint8Array, leaderEpoch = 0): number {
  const baseOffset = log.nextOffset
  view.reset(batch, 0).stamp(baseOffset, leaderEpoch)
  log.stage(view, batch)
  return baseOffset
}

export function append(log: PartitionLog, batch: Uint8Array, leaderEpoch = 0): number {
  const baseOffset = stage(log, batch, leaderEpoch)
  log.writeStaged()
  return baseOffset
}

/** A sync as the disk thread does it. */
export function sync(context: LogContext, log: PartitionLog): void {
  const fds: number[] = []
  const end = log.beginSync(fds)
  for (const fd of fds) context.files.fdatasync(fd)
  log.completeSync(end)
}

export function checkpoint(context: LogContext, log: PartitionLog): ReturnType<PartitionLog['checkpoint']> {
  const fds: number[] = []
  const end = log.beginCheckpoint(fds)
  for (const fd of fds) context.files.fdatasync(fd)
  log.completeSync(end)
  const line = log.checkpoint()
  log.completeCheckpoint(line)
  return line
}

/** Bytes [from, to) of a segment, as a shard's page cache would have them. */
export function readSegment(
  context: LogContext,
  log: PartitionLog,
  segment: Segment,
  from: number,
  to: number,
): Uint8Array {
  const bytes = new Uint8Array(to - from)
  const fd = log.acquireFd(segment)
  let filled = 0
  while (filled < bytes.length) {
    const count = context.files.read(fd, bytes.subarray(filled), from + filled)
    if (count === 0) break
    filled += count
  }
  log.releaseFd(fd)
  return bytes.subarray(0, filled)
}

/** What a fetch of `offset` gives: base offsets of the batches in one segment from the one that holds it, below maxOffset. */
export function fetchBases(
  context: LogContext,
  log: PartitionLog,
  offset: number,
  maxOffset: number,
): number[] | string {
  const place = log.locate(offset, maxOffset)
  if (place.kind !== 'found') return place.kind
  const { segment, filePosition, fileEnd, exact, endExact } = place
  const bytes = readSegment(context, log, segment, filePosition, fileEnd)
  const first = stepToOffset(bytes, 0, bytes.length, offset)
  if (first.kind !== 'found') return `stepToOffset: ${first.kind} at ${first.at}`
  if (exact && first.at !== 0) return `exact, but the batch is ${first.at} bytes on`
  let end = bytes.length
  const startAt = first.at
  if (!endExact) end = stepToOffset(bytes, startAt, bytes.length, maxOffset).at
  const bases: number[] = []
  const batch = new BatchView()
  for (let at = startAt; at < end; at = batch.end) bases.push(batch.reset(bytes, at).baseOffset)
  return bases
}

/** What recovery would hand over for a folder that was left clean: found by scanning every header of every segment. */
export function scanFolder(
  context: LogContext,
  folder: string,
  facts: { readonly logStartOffset: number; readonly logEndOffset: number; readonly producerSnapshotOffset: number },
): RecoveredPartition {
  const segments: RecoveredSegment[] = []
  for (const name of context.files.list(folder)) {
    const parsed = parseSegmentFileName(name)
    if (parsed?.suffix !== '.log') continue
    const fd = context.files.open(`${folder}/${name}`, 'read')
    const bytes = context.files.sizeOf(fd)
    let nextOffset = parsed.baseOffset
    let maxTimestampMs = -1
    scanBatches(context.files, fd, { from: 0, to: bytes }, (batch) => {
      nextOffset = batch.nextOffset
      maxTimestampMs = Math.max(maxTimestampMs, batch.maxTimestamp)
      return true
    })
    context.files.close(fd)
    if (nextOffset <= facts.logStartOffset && nextOffset < facts.logEndOffset) continue
    segments.push({
      baseOffset: parsed.baseOffset,
      nextOffset,
      bytes,
      maxTimestampMs,
      createdMs: context.clock.nowMs(),
    })
  }
  const epochs = readWholeFile(context.files, `${folder}/${LEADER_EPOCHS_FILE}`)
  const decoded = epochs === undefined ? undefined : decodeLeaderEpochs(epochs)
  return {
    ...facts,
    segments,
    recoveryPoint: facts.logEndOffset,
    leaderEpochs: decoded?.kind === 'present' ? decoded.value.entries : [],
    openTransactions: [],
    aborted: NOTHING_ABORTED,
    damaged: null,
  }
}
