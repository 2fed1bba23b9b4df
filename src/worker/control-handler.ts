/**
 * ControlHandler: what the gateway asks of a shard besides produce and fetch; each operation one method.
 *
 * Thread      the shard
 * Ordering    in line with data: the turn's writes are done before an operation is looked at
 * Waiting     close, delete: until the disk thread holds none of its descriptors. trim, checkpoint, shutdown: until a checkpoint
 *             is durable. list-offsets by time: until its bytes are read. The rest answers at once
 * Failure     a body that is not what the operation expects: INVALID_REQUEST with the reason
 */
import type { Clock } from '../base/clock.ts'
import { StorageError } from '../io/file-system.ts'
import { isCompacted } from '../log/compaction.ts'
import type { LogContext } from '../log/log-context.ts'
import { PartitionLog } from '../log/partition-log.ts'
import type { RecoveredPartition } from '../log/recovered-partition.ts'
import type { SyncedEndsFile } from '../log/synced-ends-file.ts'
import type { LeaderEpoch, Offset } from '../model/ids.ts'
import { lastStableOffset } from '../partition/high-watermark.ts'
import { lagMsOf } from '../partition/in-sync-replicas.ts'
import { checkKnownEpoch, checkLatestKnown, checkLeads, readableEnd } from '../partition/partition-fetch.ts'
import {
  advanceLogStart,
  becomeLeader,
  goOffline,
  leaderState,
  type NewPartitionState,
  type PartitionState,
  replicaState,
} from '../partition/partition-state.ts'
import type { Codecs } from '../record/compression.ts'
import { endOfLeaderEpoch } from '../replication/epoch-ends.ts'
import { readControl } from '../ring/control-codec.ts'
import {
  type ClosePartitionBody,
  type CompactedBody,
  ControlOperation,
  type DescribePartitionAnswer,
  type DescribeProducersAnswer,
  type DescribeProducersBody,
  type DescribeSizesAnswer,
  type DescribeSizesBody,
  type ListOffsetsBody,
  type OffsetForLeaderEpochBody,
  type OffsetTimeBody,
  type OpenPartition,
  type OpenPartitionsBody,
  type ShardStats,
  type TrimBody,
  type UpdateConfigBody,
} from '../ring/control-messages.ts'
import type { RingReader } from '../ring/ring-reader.ts'
import type { Checkpointer } from './checkpointer.ts'
import type { ControlReplies } from './control-replies.ts'
import { OffsetTime } from './offset-time.ts'
import type { PageCache } from './page-cache.ts'
import { PartitionAgent } from './partition-agent.ts'
import type { PartitionTable } from './partition-table.ts'
import type { SegmentReader } from './segment-reader.ts'
import { writeBounds } from './synced-bounds.ts'
import { type FoundTime, TimeLookup } from './time-lookup.ts'

const LATEST = -1
const EARLIEST = -2
const LARGEST_TIMESTAMP = -3
/** Pages well below a frame of the smallest reply ring. */
const PRODUCERS_PER_PAGE = 1_000
const SIZES_PER_PAGE = 5_000

/** What a control operation does to the rest of the shard. */
export interface ShardEffects {
  /** It takes no more requests: who waits is answered, nobody syncs it any more once `isBusy` is over. */
  retire(partition: PartitionAgent): void
  /** It serves now, in whatever role it has. */
  opened(partition: PartitionAgent): void
  /** Watermarks or configuration changed: acknowledge and wake who is due. */
  progress(partition: PartitionAgent): void
  /** Files renamed aside are to be removed. */
  remove(path: string): void
  /** A delete or an advanced log start must not be undone by older journal entries. */
  journalDelete(partition: PartitionAgent): void
  stats(): ShardStats
  /** The pool's answer to a compaction that was asked for. */
  compacted(body: CompactedBody): void
  /** `fault`: why the stop was not a clean one. */
  beginShutdown(done: (fault: string | undefined) => void): void
}

export interface ControlHandlerOptions {
  readonly requests: RingReader
  readonly replies: ControlReplies
  readonly clock: Clock
  readonly context: LogContext
  readonly partitions: PartitionTable
  readonly syncedEnds: SyncedEndsFile
  readonly checkpointer: Checkpointer
  readonly reader: SegmentReader
  readonly cache: PageCache
  readonly codecs: Codecs
  readonly effects: ShardEffects
}

/** Looks something up in a partition's records, in steps. */
interface Lookup {
  readonly partition: PartitionAgent
  step(): FoundTime | undefined
}

/** An operation that is not over: step() answers true when it is. */
interface PendingOperation {
  step(): boolean
}

export class ControlHandler {
  readonly #options: ControlHandlerOptions
  readonly #replies: ControlReplies
  #pending: PendingOperation[] = []

  constructor(options: ControlHandlerOptions) {
    this.#options = options
    this.#replies = options.replies
  }

  get pending(): number {
    return this.#pending.length
  }

  /** Takes the CONTROL the reader stands on. */
  onControl(): void {
    const { requestId, operation, body } = readControl(this.#options.requests)
    try {
      this.#perform(requestId, operation, body)
    } catch (error) {
      if (error instanceof StorageError)
        this.#replies.fail(requestId, 'KAFKA_STORAGE_ERROR', `${error.code}: ${error.message}`)
      else if (error instanceof TypeError) this.#replies.fail(requestId, 'INVALID_REQUEST', error.message)
      else throw error
    }
  }

  /** Goes on with what waits; answers how many ended. */
  step(): number {
    if (this.#pending.length === 0) return 0
    const before = this.#pending.length
    this.#pending = this.#pending.filter((operation) => !operation.step())
    return before - this.#pending.length
  }

  #perform(requestId: number, operation: number, body: unknown): void {
    switch (operation) {
      case ControlOperation.OPEN_PARTITIONS:
        this.#openPartitions(requestId, body as OpenPartitionsBody)
        break
      case ControlOperation.CLOSE_PARTITION:
        this.#closePartition(requestId, body as ClosePartitionBody)
        break
      case ControlOperation.DELETE_PARTITION:
        this.#deletePartition(requestId, body as ClosePartitionBody)
        break
      case ControlOperation.UPDATE_CONFIG:
        this.#updateConfig(requestId, body as UpdateConfigBody)
        break
      case ControlOperation.TRIM:
        this.#trim(requestId, body as TrimBody)
        break
      case ControlOperation.LIST_OFFSETS:
        this.#listOffsets(requestId, body as ListOffsetsBody)
        break
      case ControlOperation.OFFSET_TIME:
        this.#offsetTime(requestId, body as OffsetTimeBody)
        break
      case ControlOperation.OFFSET_FOR_LEADER_EPOCH:
        this.#offsetForLeaderEpoch(requestId, body as OffsetForLeaderEpochBody)
        break
      case ControlOperation.DESCRIBE_PARTITION:
        this.#describePartition(requestId, body as ClosePartitionBody)
        break
      case ControlOperation.DESCRIBE_PRODUCERS:
        this.#describeProducers(requestId, body as DescribeProducersBody)
        break
      case ControlOperation.DESCRIBE_SIZES:
        this.#describeSizes(requestId, body as DescribeSizesBody)
        break
      case ControlOperation.CHECKPOINT:
        this.#options.checkpointer.ask(() => this.#replies.answer(requestId, {}))
        break
      case ControlOperation.STATS:
        this.#replies.answer(requestId, this.#options.effects.stats())
        break
      case ControlOperation.COMPACTED:
        this.#options.effects.compacted(body as CompactedBody)
        this.#replies.answer(requestId, {})
        break
      case ControlOperation.SHUTDOWN:
        this.#options.effects.beginShutdown((fault) => {
          if (fault === undefined) this.#replies.answer(requestId, {})
          else this.#replies.fail(requestId, 'KAFKA_STORAGE_ERROR', fault)
        })
        break
      default:
        this.#replies.fail(requestId, 'UNKNOWN_API', `control operation ${operation} is not known to the shard`)
        break
    }
  }

  #openPartitions(requestId: number, body: OpenPartitionsBody): void {
    const failed: { partitionRef: number; reason: string }[] = []
    for (const opening of body.partitions) {
      const reason = this.#open(opening)
      if (reason !== undefined) failed.push({ partitionRef: opening.partitionRef, reason })
    }
    this.#replies.answer(requestId, { failed })
  }

  /** Why it could not be opened; undefined when it serves. One that could not be is there all the same, and says why. */
  #open(opening: OpenPartition): string | undefined {
    const { context, partitions, syncedEnds } = this.#options
    const { partitionRef, topicId, partition, leaderEpoch, config } = opening
    if (partitions.get(partitionRef) !== undefined) return `handle ${partitionRef} is in use`
    const isSetAside = opening.recovered === 'set-aside'
    const recovered = isSetAside ? null : (opening.recovered as RecoveredPartition | null)
    let reason = recovered?.damaged ?? futureEpoch(recovered, leaderEpoch)
    let log = PartitionLog.create(context, { topicId, partition, config })
    if (recovered === null) reason = recordsThere(context, log.folder)
    if (recovered !== null && reason === undefined) {
      try {
        log = PartitionLog.open(context, { topicId, partition, config, recovered })
      } catch (error) {
        if (!(error instanceof StorageError)) throw error
        reason = `${error.code}: ${error.message}`
      }
    }
    const { logStartOffset, logEndOffset, transactions } = log
    const begin = { partitionRef, config, leaderEpoch, logStartOffset, logEndOffset, transactions }
    const state = this.#newState(opening, begin)
    const agent = new PartitionAgent({ topicId, partition, state, log })
    if (reason === undefined) agent.syncedSlot = syncedEnds.add({ topicId, partition, syncedEnd: log.syncedEndOffset })
    else {
      agent.isDamaged = true
      goOffline(state, reason)
    }
    partitions.add(agent)
    if (isSetAside) this.#takeNothingBeforeCheckpoint(agent)
    if (reason === undefined) this.#options.effects.opened(agent)
    return reason
  }

  /**
   * The last checkpoint, or the recovery's, says how far the log reached that was set aside. After a crash the new one would be taken for
   * damaged, with everything that was acknowledged since.
   */
  #takeNothingBeforeCheckpoint(partition: PartitionAgent): void {
    partition.isUnnamed = true
    this.#options.checkpointer.ask(() => {
      partition.isUnnamed = false
    })
  }

  #newState({ replicas }: OpenPartition, from: NewPartitionState): PartitionState {
    if (replicas === null) return leaderState(from)
    const state = replicaState(from, replicas)
    if (replicas.role === 'leader') becomeLeader(state, replicas, this.#options.clock.monotonicMs())
    return state
  }

  #closePartition(requestId: number, body: ClosePartitionBody): void {
    const partition = this.#known(requestId, body.partitionRef)
    if (partition === undefined) return
    const { checkpointer, effects } = this.#options
    partition.state.role = 'follower'
    partition.isEnding = true
    effects.retire(partition)
    checkpointer.ask(() => this.#whenIdle(partition, () => this.#endClose(requestId, partition)))
  }

  #endClose(requestId: number, partition: PartitionAgent): void {
    partition.isClosed = true
    this.#options.effects.retire(partition)
    partition.log.close()
    this.#forget(partition)
    this.#replies.answer(requestId, {})
  }

  #deletePartition(requestId: number, body: ClosePartitionBody): void {
    const partition = this.#known(requestId, body.partitionRef)
    if (partition === undefined) return
    partition.isClosed = true
    this.#options.effects.retire(partition)
    this.#whenIdle(partition, () => {
      this.#options.effects.journalDelete(partition)
      const path = partition.log.deleteFiles()
      this.#forget(partition)
      if (path !== undefined) this.#options.effects.remove(path)
      this.#replies.answer(requestId, {})
    })
  }

  #forget(partition: PartitionAgent): void {
    const { partitions, cache, checkpointer, syncedEnds } = this.#options
    partition.isClosed = true
    partition.dropFiles(cache)
    checkpointer.forget(partition)
    if (partition.syncedSlot !== -1) syncedEnds.remove(partition.syncedSlot)
    writeBounds(syncedEnds)
    partitions.remove(partition.state.partitionRef)
  }

  #updateConfig(requestId: number, body: UpdateConfigBody): void {
    const partition = this.#known(requestId, body.partitionRef)
    if (partition === undefined) return
    partition.state.config = body.config
    partition.log.updateConfig(body.config)
    this.#options.effects.progress(partition)
    this.#replies.answer(requestId, {})
  }

  #trim(requestId: number, body: TrimBody): void {
    const partition = this.#serving(requestId, body.partitionRef)
    if (partition === undefined) return
    const { state, log } = partition
    const offset = body.beforeOffset === -1 ? state.highWatermark : body.beforeOffset
    if (!Number.isSafeInteger(offset) || offset < 0 || offset > state.highWatermark) {
      const range = `[${state.logStartOffset}, ${state.highWatermark}]`
      this.#replies.fail(
        requestId,
        'OFFSET_OUT_OF_RANGE',
        `cannot trim before offset ${offset}, it is not within ${range}`,
      )
      return
    }
    log.advanceLogStart(offset)
    advanceLogStart(state, log.logStartOffset)
    const { logStartOffset } = state
    this.#options.checkpointer.ask(() => this.#replies.answer(requestId, { logStartOffset }))
  }

  #listOffsets(requestId: number, body: ListOffsetsBody): void {
    const partition = this.#serving(requestId, body.partitionRef)
    if (partition === undefined) return
    const { state, log } = partition
    const { leaderEpoch } = state
    if (body.timestampMs === LATEST) {
      const refusal = checkLatestKnown(state)
      if (refusal !== undefined) {
        this.#replies.fail(requestId, refusal.error, refusal.text)
        return
      }
      this.#replies.answer(requestId, { offset: readableEnd(state, body.isolation), timestampMs: -1, leaderEpoch })
      return
    }
    if (body.timestampMs === EARLIEST) {
      this.#replies.answer(requestId, { offset: state.logStartOffset, timestampMs: -1, leaderEpoch })
      return
    }
    const timestampMs = body.timestampMs === LARGEST_TIMESTAMP ? log.maxTimestampMs : body.timestampMs
    if (!(timestampMs >= 0)) {
      this.#replies.answer(requestId, { offset: -1, timestampMs: -1, leaderEpoch })
      return
    }
    const { reader, cache, codecs } = this.#options
    this.#startLookup(
      requestId,
      new TimeLookup({ partition, timestampMs, isolation: body.isolation, reader, cache, codecs }),
    )
  }

  #offsetTime(requestId: number, body: OffsetTimeBody): void {
    const partition = this.#serving(requestId, body.partitionRef)
    if (partition === undefined) return
    const { reader, cache } = this.#options
    const offset = Math.max(body.offset, partition.state.logStartOffset) as Offset
    this.#startLookup(requestId, new OffsetTime({ partition, reader, cache }, offset))
  }

  #offsetForLeaderEpoch(requestId: number, body: OffsetForLeaderEpochBody): void {
    const partition = this.#serving(requestId, body.partitionRef)
    if (partition === undefined) return
    const { log, state } = partition
    const refusal = checkKnownEpoch(state, { leaderEpoch: (body.currentLeaderEpoch ?? -1) as LeaderEpoch })
    if (refusal !== undefined) {
      this.#replies.fail(requestId, refusal.error, refusal.text)
      return
    }
    const { leaderEpoch, logEndOffset } = state
    const { epoch, endOffset } = endOfLeaderEpoch({ epochs: log.epochs, leaderEpoch, logEndOffset }, body.leaderEpoch)
    this.#replies.answer(requestId, { leaderEpoch: epoch, endOffset })
  }

  #startLookup(requestId: number, lookup: Lookup): void {
    const step = (): boolean => {
      const refusal = checkLeads(lookup.partition.state)
      if (refusal !== undefined || lookup.partition.isClosed) {
        this.#replies.fail(requestId, refusal?.error ?? 'UNKNOWN_TOPIC_OR_PARTITION', refusal?.text ?? '')
        return true
      }
      try {
        const found = lookup.step()
        if (found === undefined) return false
        this.#replies.answer(requestId, { ...found, leaderEpoch: lookup.partition.state.leaderEpoch })
      } catch (error) {
        if (!(error instanceof StorageError)) throw error
        this.#replies.fail(requestId, 'KAFKA_STORAGE_ERROR', `${error.code}: ${error.message}`)
      }
      return true
    }
    if (!step()) this.#pending.push({ step })
  }

  #describePartition(requestId: number, body: ClosePartitionBody): void {
    const partition = this.#known(requestId, body.partitionRef)
    if (partition === undefined) return
    const { state, log } = partition
    const answer: DescribePartitionAnswer = {
      logStartOffset: state.logStartOffset,
      highWatermark: state.highWatermark,
      lastStableOffset: lastStableOffset(state),
      logEndOffset: state.logEndOffset,
      syncedEndOffset: state.syncedEndOffset,
      bytes: log.bytes,
      segments: log.segmentCount,
      leaderEpoch: state.leaderEpoch,
      offline: state.offlineReason,
      dirtyRatio: dirtyRatioOf(partition, this.#options.clock.nowMs()),
      ...describeReplicas(state, this.#options.clock.monotonicMs()),
    }
    this.#replies.answer(requestId, answer)
  }

  /** Loads them where they are not: a file is read. */
  #describeProducers(requestId: number, { partitionRef, after }: DescribeProducersBody): void {
    const partition = this.#serving(requestId, partitionRef)
    if (partition === undefined) return
    const lines = partition.log.producers.page(after, PRODUCERS_PER_PAGE)
    const answer: DescribeProducersAnswer = {
      producers: lines.map(({ epoch, transactionFirst, ...line }) => ({
        ...{ ...line, producerEpoch: epoch, currentTxnStartOffset: transactionFirst },
      })),
      nextAfter: lines.length < PRODUCERS_PER_PAGE ? null : lines.at(-1)!.producerId,
    }
    this.#replies.answer(requestId, answer)
  }

  /** All that have a log here, whatever their role; numbers that are known, no file is looked at. */
  #describeSizes(requestId: number, { after }: DescribeSizesBody): void {
    const refsAndBytes: number[] = []
    for (const { state, log, isClosed } of this.#options.partitions) {
      const { partitionRef } = state
      if (partitionRef <= after || isClosed) continue
      if (refsAndBytes.length === 2 * SIZES_PER_PAGE) {
        this.#replies.answer(requestId, { refsAndBytes, nextAfter: refsAndBytes.at(-2)! })
        return
      }
      refsAndBytes.push(partitionRef, log.bytes)
    }
    this.#replies.answer(requestId, { refsAndBytes, nextAfter: null } satisfies DescribeSizesAnswer)
  }

  #whenIdle(partition: PartitionAgent, then: () => void): void {
    const step = (): boolean => {
      if (partition.isBusy) return false
      then()
      return true
    }
    if (!step()) this.#pending.push({ step })
  }

  #known(requestId: number, partitionRef: number): PartitionAgent | undefined {
    const partition = this.#options.partitions.get(partitionRef)
    if (partition !== undefined && !partition.isClosed) return partition
    this.#replies.fail(requestId, 'UNKNOWN_TOPIC_OR_PARTITION', `the shard has no partition of handle ${partitionRef}`)
    return undefined
  }

  #serving(requestId: number, partitionRef: number): PartitionAgent | undefined {
    const partition = this.#known(requestId, partitionRef)
    const refusal = partition === undefined ? undefined : checkLeads(partition.state)
    if (refusal === undefined) return partition
    this.#replies.fail(requestId, refusal.error, refusal.text)
    return undefined
  }
}

function describeReplicas(
  state: PartitionState,
  nowMs: number,
): Pick<DescribePartitionAnswer, 'role' | 'inSync' | 'remotes'> {
  const { role, replicas } = state
  const remotes = role === 'leader' ? (replicas?.remotes ?? []) : []
  return {
    role,
    inSync: replicas?.inSync.map(({ nodeId }) => nodeId) ?? [],
    remotes: remotes.map((remote) => ({
      ...{ nodeId: remote.nodeId, incarnation: remote.incarnation },
      ...{ logEndOffset: remote.logEndOffset, syncedEndOffset: remote.syncedEndOffset },
      lagMs: lagMsOf(state, remote, nowMs),
    })),
  }
}

function dirtyRatioOf({ state, log, isDamaged }: PartitionAgent, nowMs: number): number {
  return isDamaged || !isCompacted(state.config) ? -1 : log.dirtyRatio({ nowMs, stableEnd: state.highWatermark })
}

/** R5: the epoch does not fall. A log whose last epoch is newer than its leader's holds a changed batch, or belongs to another store. */
function futureEpoch(recovered: RecoveredPartition | null, leaderEpoch: number): string | undefined {
  const latest = recovered?.leaderEpochs[recovered.leaderEpochs.length - 1]
  if (latest === undefined || latest[0] <= leaderEpoch) return undefined
  return `from offset ${latest[1]} on its batches have leader epoch ${latest[0]}, its leader has ${leaderEpoch}`
}

/** Where nothing was recovered nothing may lie: a new log beside an earlier one's segments would be taken for all there is. */
function recordsThere({ files }: LogContext, folder: string): string | undefined {
  if (files.stat(folder).kind === 'absent') return undefined
  const segment = files.list(folder).find((name) => name.endsWith('.log'))
  return segment === undefined ? undefined : `${folder} holds ${segment} of an earlier replica, and was not recovered`
}
