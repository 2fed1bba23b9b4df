/**
 * ProduceHandler: from a PRODUCE in the request ring to bytes in the segment file, without a copy.
 *
 * Thread      the shard
 * Ordering    check all batches of a request -> for each: sequence, stamp in place, stage -> after the drain one vectored write
 *             a partition -> log end advances -> answers, or a place among those that wait. The ring's space is given back after
 *             the write, so staged bytes stay where they are
 * Own         what the shard writes itself, for coordinators: records, a transaction's offsets, markers. They go by the same rules of
 *             epochs and transactions, and are told by OwnAppend when they are synced, whatever the topic's fsync says
 * Failure     no space: the partition's log is as before, its produces of this turn are refused DISK_FULL; no descriptor left:
 *             likewise, OVERLOADED; any other write error: the shard fails (R3). A producer snapshot that cannot be read takes
 *             its partition offline, no other one
 * Not here    the checks (partition/partition-append), when a sync goes out (group-commit.ts)
 */
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { StorageError } from '../io/file-system.ts'
import type { MarkerWish } from '../log/producer-state.ts'
import type { ErrorCode } from '../model/errors.ts'
import { type LeaderEpoch, NO_LEADER_EPOCH, type Offset } from '../model/ids.ts'
import { PRODUCE_TIMEOUT_MS_MAX } from '../model/limits.ts'
import { type Refusal, refuse } from '../model/refusal.ts'
import { ACKS_ALL, ACKS_NONE } from '../partition/acks.ts'
import type { OwnAppend } from '../partition/delayed-produce.ts'
import { KeyCheck } from '../partition/key-check.ts'
import {
  batchSteps,
  checkProducer,
  checkRequest,
  checkWith,
  orderSteps,
  type ProduceAttempt,
} from '../partition/partition-append.ts'
import { advanceLogEnd } from '../partition/partition-state.ts'
import { NO_SEQUENCE } from '../record/batch-layout.ts'
import { BatchView } from '../record/batch-view.ts'
import type { Codecs } from '../record/compression.ts'
import { type MarkerType, writeMarker } from '../record/control-batch.ts'
import { ProduceFields, readProduce } from '../ring/message-codec.ts'
import type { RingReader } from '../ring/ring-reader.ts'
import type { PartitionAgent, ReplicaAppend } from './partition-agent.ts'
import type { PartitionTable } from './partition-table.ts'
import type { ProduceReplies } from './produce-replies.ts'
import type { ResidentWindow } from './resident-window.ts'
import type { SpaceProbe } from './space-probe.ts'

export interface ProduceHandlerOptions {
  readonly requests: RingReader
  readonly partitions: PartitionTable
  readonly replies: ProduceReplies
  readonly resident: ResidentWindow
  readonly space: SpaceProbe
  readonly clock: Clock
  readonly codecs: Codecs
  /** The producer state of the partition cannot be read. */
  readonly onUnreadable: (partition: PartitionAgent, reason: string) => void
}

/** A marker of a coordinator, for a partition. */
export interface OwnMarker extends MarkerWish {
  readonly type: MarkerType
}

/** What the shard does around a turn's write. */
export interface WriteListener {
  /** These were written to; their staged batches still lie in the ring. Before any of their produces is answered. */
  onWritten(partitions: readonly PartitionAgent[]): void
  /** A write failed for a reason other than space: nothing of this shard may be believed any more. */
  onWriteFailed(reason: string): void
  /** The shard's own appends wait until what `partition` has is synced, and nothing of it was written in this turn. */
  onSyncWanted(partition: PartitionAgent): void
  /** A segment could not be opened because the process has no descriptor left; nothing was written. */
  onOpenLimit(): void
}

export class ProduceHandler {
  readonly #options: ProduceHandlerOptions
  readonly #fields = new ProduceFields()
  readonly #batch = new BatchView()
  readonly #attempt: ProduceAttempt
  readonly #touched: PartitionAgent[] = []
  readonly #written: PartitionAgent[] = []
  appendedRecords = 0
  duplicateBatches = 0
  /** Of the shard's own that this turn has taken; each is answered or waits in ProduceReplies. */
  ownStaged = 0
  appendedBytes = 0

  constructor(options: ProduceHandlerOptions) {
    this.#options = options
    this.#attempt = {
      state: undefined as never,
      acks: 0,
      leaderEpoch: -1 as LeaderEpoch,
      isSpaceLow: false,
      isSuspended: false,
      bytes: options.requests.bytes,
      at: 0,
      end: 0,
      batch: this.#batch,
      wallClock: options.clock,
      keys: new KeyCheck(options.codecs),
      producers: undefined as never,
    }
  }

  /** Partitions this turn appends to. */
  get touched(): readonly PartitionAgent[] {
    return this.#touched
  }

  /** Takes the PRODUCE the reader stands on: refused, or staged. */
  onProduce(): void {
    const { requests, partitions, space } = this.#options
    const fields = this.#fields
    readProduce(requests, fields)
    const partition = partitions.get(fields.partitionRef)
    if (partition === undefined || partition.isClosed) {
      this.#refuse(undefined, { kind: 'refused', error: 'UNKNOWN_TOPIC_OR_PARTITION', text: '' })
      return
    }
    if (this.#options.replies.isFull && fields.acks !== ACKS_NONE) {
      this.#refuse(partition, { kind: 'refused', error: 'OVERLOADED', text: 'too many producers wait on this shard' })
      return
    }
    const attempt = this.#attempt
    attempt.state = partition.state
    attempt.acks = fields.acks
    attempt.leaderEpoch = fields.leaderEpoch as LeaderEpoch
    attempt.isSpaceLow = space.isLow
    attempt.at = fields.batchesAt
    attempt.end = fields.batchesAt + fields.batchBytes
    const refusal = checkRequest(attempt) ?? this.#loadProducers(partition) ?? this.#checkBatches()
    if (refusal !== undefined) {
      this.#refuse(partition, refusal)
      return
    }
    this.#stage(partition)
  }

  /**
   * Stages a batch of the shard's own: written with the turn's others, acknowledged as acks=all. Its memory stays as it is until
   * the turn's write is done. `own` may be told at once that it was refused. One with a producer id is of that producer's transaction
   * and has no sequence: it is refused as a client's would be (checkTransaction), and begins the transaction here.
   */
  appendOwn(partition: PartitionAgent, batch: Uint8Array, own: OwnAppend): void {
    const refusal = this.#checkOwn(partition, batch) ?? this.#checkOwnProducer(partition)
    if (refusal === undefined) this.#stageOwn(partition, batch, own)
    else own.onFailed(refusal.error, refusal.text)
  }

  /**
   * Stages the marker that ends a producer's transaction in `partition`, as appendOwn does. 'written': it was before, and `own` is told when
   * that one is durable. 'refused': `own` was told.
   */
  appendMarker(partition: PartitionAgent, marker: OwnMarker, own: OwnAppend): 'staged' | 'written' | 'refused' {
    const bytes = writeMarker({ ...marker, timestampMs: this.#options.clock.nowMs() })
    const refusal = this.#checkOwn(partition, bytes) ?? this.#loadProducers(partition)
    const decision = refusal ?? partition.log.producers.decideMarker(marker)
    if (decision.kind === 'append') return this.#stageMarker(partition, bytes, own)
    if (decision.kind === 'written') {
      const { nextOffset } = partition.log
      this.#awaitOwn(partition, { baseOffset: nextOffset, nextOffset }, own)
      return 'written'
    }
    own.onFailed(decision.kind === 'refused' ? decision.error : decision.code, decision.text)
    return 'refused'
  }

  /** What appendOwn would object to in a batch of this producer's transaction now. */
  checkTransaction(partition: PartitionAgent, producerId: number, producerEpoch: number): Refusal | undefined {
    const refusal = this.#loadProducers(partition)
    if (refusal !== undefined) return refusal
    const decision = partition.log.producers.decide({
      ...{ producerId, producerEpoch, baseSequence: NO_SEQUENCE, lastOffsetDelta: 0 },
      ...{ baseOffset: -1, maxTimestamp: -1, isControl: false, isTransactional: true },
    })
    return decision.kind === 'reject' ? refuse(decision.code, decision.text) : undefined
  }

  #checkOwn(partition: PartitionAgent, batch: Uint8Array): Refusal | undefined {
    const attempt = this.#attempt
    attempt.state = partition.state
    attempt.acks = ACKS_ALL
    attempt.leaderEpoch = NO_LEADER_EPOCH
    // So little, and without it no group could go on to commit what it has handled, and no transaction would end.
    attempt.isSpaceLow = false
    attempt.at = 0
    attempt.end = batch.length
    this.#batch.reset(batch, 0)
    return partition.isClosed ? refuse('UNKNOWN_TOPIC_OR_PARTITION') : checkRequest(attempt)
  }

  #checkOwnProducer(partition: PartitionAgent): Refusal | undefined {
    if (this.#batch.producerId < 0) return undefined
    const objection = this.#loadProducers(partition) ?? checkProducer(this.#attempt)
    assert(objection?.kind !== 'duplicate', 'a batch without a sequence cannot be a duplicate')
    return objection
  }

  #stageOwn(partition: PartitionAgent, batch: Uint8Array, own: OwnAppend): void {
    const view = this.#batch.reset(batch, 0)
    view.stamp(partition.log.nextOffset, partition.state.leaderEpoch)
    stageBatch(partition, view, batch)
    this.#awaitOwn(partition, view, own)
  }

  #awaitOwn(partition: PartitionAgent, range: { baseOffset: Offset; nextOffset: Offset }, own: OwnAppend): void {
    const { baseOffset, nextOffset } = range
    const timeoutMs = PRODUCE_TIMEOUT_MS_MAX
    partition.staged.push({ requestId: 0, acks: ACKS_ALL, timeoutMs, baseOffset, nextOffset, logAppendTimeMs: -1, own })
    partition.hasStagedOwn = true
    this.ownStaged++
    this.#touch(partition)
  }

  /**
   * Stages what a leader sent, as it is; `batches` have been checked and stay as they are until the turn's write is done. None: `replica` is
   * told behind what was staged before.
   */
  appendReplicated(partition: PartitionAgent, batches: readonly Uint8Array[], replica: ReplicaAppend): void {
    const refusal = batches.length === 0 ? undefined : this.#stageReplicated(partition, batches)
    if (refusal !== undefined) {
      replica.onFailed(refusal.error, refusal.text)
      if (partition.stagedBytes > 0) this.#touch(partition)
      return
    }
    const { nextOffset } = partition.log
    const place = { baseOffset: nextOffset, nextOffset, logAppendTimeMs: -1 }
    partition.staged.push({ requestId: 0, acks: ACKS_NONE, timeoutMs: 0, ...place, replica })
    this.#touch(partition)
  }

  #stageReplicated(partition: PartitionAgent, batches: readonly Uint8Array[]): Refusal | undefined {
    if (this.#options.space.isLow) return refuse('DISK_FULL')
    const refusal = this.#loadProducers(partition)
    if (refusal !== undefined) return refusal
    try {
      for (const bytes of batches) stageBatch(partition, this.#batch.reset(bytes, 0), bytes)
      return undefined
    } catch (error) {
      return this.#unreadable(partition, 'the aborted transactions', error)
    }
  }

  /** Acks none and leader are refused from now on where there are other replicas, or taken again. */
  setSuspended(isSuspended: boolean): void {
    this.#attempt.isSuspended = isSuspended
  }

  /** Writes what the turn staged, partition by partition, and answers or parks its produces. */
  writeTouched(listener: WriteListener): void {
    for (const partition of this.#touched) {
      partition.isTouched = false
      if (partition.stagedBytes > 0) {
        if (this.#write(partition, listener)) this.#written.push(partition)
      } else if (partition.hasStagedOwn && partition.state.syncedEndOffset < partition.state.logEndOffset)
        listener.onSyncWanted(partition)
    }
    if (this.#written.length > 0) listener.onWritten(this.#written)
    for (const partition of this.#touched) {
      for (const staged of partition.staged) this.#options.replies.settle(partition, staged)
      this.#forget(partition)
    }
    this.#written.length = 0
    this.#touched.length = 0
    this.ownStaged = 0
  }

  #loadProducers(partition: PartitionAgent): Refusal | undefined {
    try {
      this.#attempt.producers = partition.log.producers
      return undefined
    } catch (error) {
      return this.#unreadable(partition, 'the producer state', error)
    }
  }

  #stageMarker(partition: PartitionAgent, bytes: Uint8Array, own: OwnAppend): 'staged' | 'refused' {
    try {
      this.#stageOwn(partition, bytes, own)
      return 'staged'
    } catch (error) {
      const { error: code, text } = this.#unreadable(partition, 'the aborted transactions', error)
      own.onFailed(code, text)
      return 'refused'
    }
  }

  /** What a partition needs to know before it appends is in a file that cannot be read. */
  #unreadable(partition: PartitionAgent, what: string, error: unknown): Refusal {
    if (!(error instanceof StorageError)) throw error
    const text = `${what} cannot be read: ${error.code}: ${error.message}`
    if (error.isOpenLimit) return refuse('OVERLOADED', text)
    this.#options.onUnreadable(partition, text)
    return refuse('KAFKA_STORAGE_ERROR', text)
  }

  /** All batches of the request must be sound before the first is staged. */
  #checkBatches(): Refusal | undefined {
    const attempt = this.#attempt
    const from = attempt.at
    while (attempt.at < attempt.end) {
      const objection = checkWith(batchSteps, attempt)
      if (objection !== undefined) return objection as Refusal
      attempt.at = this.#batch.reset(attempt.bytes, attempt.at).end
    }
    attempt.at = from
    return undefined
  }

  #stage(partition: PartitionAgent): void {
    const attempt = this.#attempt
    const fields = this.#fields
    const { state, log } = partition
    const appendTimeMs = state.config.timestampType === 'LogAppendTime' ? this.#options.clock.nowMs() : -1
    let baseOffset = -1
    let nextOffset = -1
    let logAppendTimeMs = appendTimeMs
    while (attempt.at < attempt.end) {
      const batch = this.#batch.reset(attempt.bytes, attempt.at)
      const batchEnd = batch.end
      const objection = checkWith(orderSteps, attempt)
      if (objection?.kind === 'refused') {
        // Batches before this one are staged and stay; a retry finds them as duplicates.
        if (partition.stagedBytes > 0) this.#touch(partition)
        this.#refuse(partition, objection)
        return
      }
      if (objection === undefined) {
        batch.stamp(log.nextOffset, state.leaderEpoch)
        if (appendTimeMs !== -1) batch.stampLogAppendTime(appendTimeMs)
        stageBatch(partition, batch, attempt.bytes.subarray(attempt.at, batchEnd))
        if (baseOffset === -1) baseOffset = batch.baseOffset
        nextOffset = batch.nextOffset
      } else {
        this.duplicateBatches++
        if (baseOffset === -1) baseOffset = objection.baseOffset
        if (appendTimeMs !== -1) logAppendTimeMs = objection.timestampMs
        nextOffset = Math.max(nextOffset, objection.nextOffset)
      }
      attempt.at = batchEnd
    }
    partition.staged.push({
      requestId: fields.requestId,
      acks: fields.acks,
      timeoutMs: Math.min(fields.timeoutMs, PRODUCE_TIMEOUT_MS_MAX),
      baseOffset: baseOffset as Offset,
      nextOffset: nextOffset as Offset,
      logAppendTimeMs,
    })
    this.#touch(partition)
  }

  #touch(partition: PartitionAgent): void {
    if (partition.isTouched) return
    partition.isTouched = true
    this.#touched.push(partition)
  }

  /** False when it failed; then everything staged has been refused. */
  #write(partition: PartitionAgent, listener: WriteListener): boolean {
    const { log, state } = partition
    if (state.role === 'offline') {
      // A write before this one failed in the same turn, and ended the shard.
      log.dropStaged()
      this.#refuseStaged(partition, 'KAFKA_STORAGE_ERROR', state.offlineReason ?? '')
      return false
    }
    this.#options.resident.onWrite(partition.resident, log.logEndOffset, partition.stagedBytes)
    try {
      log.writeStaged()
    } catch (error) {
      if (!(error instanceof StorageError)) throw error
      if (error.isSpace) {
        this.#options.space.onNoSpace()
        this.#refuseStaged(partition, 'DISK_FULL', error.message)
      } else if (error.isOpenLimit) {
        this.#refuseStaged(partition, 'OVERLOADED', error.message)
        listener.onOpenLimit()
      } else {
        this.#refuseStaged(partition, 'KAFKA_STORAGE_ERROR', error.message)
        listener.onWriteFailed(`a write failed: ${error.code}: ${error.message}`)
      }
      return false
    }
    advanceLogEnd(state, log.logEndOffset, partition.stagedBytes)
    this.appendedBytes += partition.stagedBytes
    this.appendedRecords += partition.stagedRecords
    this.#options.space.onWritten(partition.stagedBytes)
    return true
  }

  #refuseStaged(partition: PartitionAgent, error: ErrorCode, text: string): void {
    const { state } = partition
    for (const staged of partition.staged)
      this.#options.replies.refuse({ ...staged, partitionRef: state.partitionRef, state, error, text })
    this.#forget(partition)
  }

  #forget(partition: PartitionAgent): void {
    partition.staged.length = 0
    partition.stagedBatches.length = 0
    partition.stagedBytes = 0
    partition.stagedRecords = 0
    partition.hasStagedOwn = false
  }

  #refuse(partition: PartitionAgent | undefined, refusal: Refusal): void {
    const { requestId, acks, partitionRef } = this.#fields
    this.#options.replies.refuse({
      requestId,
      acks,
      partitionRef,
      state: partition?.state,
      error: refusal.error,
      text: refusal.text,
    })
  }
}

/** Takes a stamped batch into the turn's write. */
function stageBatch(partition: PartitionAgent, batch: BatchView, bytes: Uint8Array): void {
  if (partition.stagedBytes === 0) partition.stagedBaseOffset = batch.baseOffset
  partition.log.stage(batch, bytes)
  partition.stagedBatches.push(bytes)
  partition.stagedBytes += bytes.length
  partition.stagedRecords += batch.recordsCount
}
