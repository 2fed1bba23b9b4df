/**
 * ReplicaHandler: the roles of this shard's partitions in a cluster: what makes one lead or follow, what a follower takes from its leader,
 * what a leader hears of its followers.
 *
 *   SET_REPLICAS       role, epoch, sets: in line with data; who waits for a partition that stops leading is answered
 *   REPLICA_APPEND     batches as they are, or a cut; answered when written
 *   REPLICA_PROGRESS   synced ends of followers
 *   (a replica's FETCH: onFetch() before it is served)
 *
 * Thread      the shard
 * Ordering    follower: batches written -> REPLICA_APPENDED; synced -> REPLICA_SYNCED, once the leader's history has been found to hold the
 *             log's under this epoch: before that the synced end may be of batches that are about to be cut (RS1)
 * Limits      rows wait in a set, one a partition, until the reply ring has room
 * Failure     what does not belong to the log as it is: an error in the answer, and nothing is appended; a cut below the high watermark:
 *             nothing is cut and the partition goes offline, for its leader has lost what was safe: main sets the log aside like a damaged
 *             one (ReplicaRepair)
 * Not here    the rules (partition/, replication/), how a log is cut (log-cut.ts), who carries all this between brokers (broker/)
 */
import { EMPTY_BYTES, utf8Encode } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { isShortage } from '../log/listed-file.ts'
import type { PartitionLog } from '../log/partition-log.ts'
import { type ErrorCode, errorNumberOf } from '../model/errors.ts'
import type { Offset } from '../model/ids.ts'
import { type Refusal, refuse } from '../model/refusal.ts'
import type { ReplicaIdentity } from '../model/replica.ts'
import {
  type Heard,
  isCutOff,
  mayHaveSuccessor,
  noteFetch,
  noteSynced,
  takeWish,
} from '../partition/in-sync-replicas.ts'
import { checkKnownEpoch } from '../partition/partition-fetch.ts'
import {
  advanceLogStart,
  becomeFollower,
  becomeLeader,
  followHighWatermark,
  type PartitionState,
} from '../partition/partition-state.ts'
import { countRemotes, isReplicated, remoteOf } from '../partition/replica-set.ts'
import { BatchView } from '../record/batch-view.ts'
import { writeFiller } from '../record/filler-batch.ts'
import { checkReplicated } from '../replication/batch-check.ts'
import { decideTruncation } from '../replication/truncation.ts'
import { readControl } from '../ring/control-codec.ts'
import type { SetReplicasAnswer, SetReplicasBody, SuspendLeaderAcksBody } from '../ring/control-messages.ts'
import { MessageType } from '../ring/messages.ts'
import {
  fillReplicaAppended,
  fillReplicaSynced,
  NO_DIVERGENCE,
  ReplicaAppendFields,
  type ReplicaSyncedRow,
  readReplicaAppend,
  readReplicaProgress,
  replicaAppendedBytes,
  replicaSyncedBytes,
  replicaSyncedRowsMax,
} from '../ring/replica-codec.ts'
import type { RingReader } from '../ring/ring-reader.ts'
import type { ControlReplies } from './control-replies.ts'
import type { LogCut } from './log-cut.ts'
import type { NoticeSender } from './notice-sender.ts'
import type { PartitionAgent } from './partition-agent.ts'
import type { PartitionTable } from './partition-table.ts'
import type { ProduceHandler } from './produce-handler.ts'
import type { ProduceReplies } from './produce-replies.ts'
import type { ReplyOutbox } from './reply-outbox.ts'

const TEXT_BYTES_MAX = 512

export interface ReplicaEffects {
  /** It leads no more, or under another epoch: who waits on it is answered. */
  retire(partition: PartitionAgent): void
  /** The leader's epoch is another one: what coordinates under the old one ends, and fetches that wait are answered. */
  renew(partition: PartitionAgent): void
  /** Ends or sets changed: high watermark, acknowledgements, fetches. */
  progress(partition: PartitionAgent): void
  /** A follower's high watermark moved: consumers may wait here. */
  visible(partition: PartitionAgent): void
  /** It may be led elsewhere by now: who waits to read more of it is answered. */
  doubt(partition: PartitionAgent): void
  /** Its log is no use to its leader, as if it were damaged. */
  takeOffline(partition: PartitionAgent, reason: string): void
  /** Writes what this turn has staged. */
  writeTurn(): void
}

export interface ReplicaHandlerOptions {
  readonly requests: RingReader
  readonly reads: RingReader
  readonly partitions: PartitionTable
  readonly produces: ProduceHandler
  readonly produceReplies: ProduceReplies
  readonly replies: ControlReplies
  readonly outbox: ReplyOutbox
  readonly notices: NoticeSender
  readonly cuts: LogCut
  readonly clock: Clock
  readonly lagMsMax: number
  readonly effects: ReplicaEffects
}

/** Where an answer to a REPLICA_APPEND goes. */
interface Asked {
  readonly requestId: number
  readonly partitionRef: number
}

export class ReplicaHandler {
  readonly #options: ReplicaHandlerOptions
  readonly #fields = new ReplicaAppendFields()
  readonly #batch = new BatchView()
  /** Partitions that lead others, looked at now and then. */
  readonly #leading = new Set<PartitionAgent>()
  /** Followers whose synced end is to be told. */
  readonly #unsaid = new Set<PartitionAgent>()
  #nextLookMs: number
  #isStopping = false
  /** The broker's lease may be over. */
  #isSuspended = false
  /** Some partition has, or had, replicas elsewhere. */
  isActive = false

  constructor(options: ReplicaHandlerOptions) {
    this.#options = options
    this.#nextLookMs = options.clock.monotonicMs() + this.#lookMs
  }

  get #lookMs(): number {
    return this.#options.lagMsMax / 2
  }

  get nextDeadlineMs(): number {
    return this.#leading.size > 0 ? this.#nextLookMs : Number.POSITIVE_INFINITY
  }

  /** Partitions take nothing from their leaders any more: the shard ends. */
  stop(): void {
    this.#isStopping = true
  }

  forget(partition: PartitionAgent): void {
    this.#leading.delete(partition)
    this.#unsaid.delete(partition)
  }

  /** Looks at every partition that leads, now and then: who lags, which wishes were lost. Answers 1 when it did. */
  step(nowMs: number): number {
    if (this.#leading.size === 0 || nowMs < this.#nextLookMs) return 0
    this.#nextLookMs = nowMs + this.#lookMs
    for (const partition of this.#leading) {
      this.#wish(partition, nowMs)
      if (this.mayBeLedElsewhere(partition)) this.#options.effects.doubt(partition)
      // Who has stopped joining does not hold the high watermark any more.
      this.#options.effects.progress(partition)
    }
    return 1
  }

  // Roles

  /** Takes the SET_REPLICAS the reader stands on; the turn's writes are done. */
  onSetReplicas(): void {
    const { requests, partitions, replies } = this.#options
    const { requestId, body } = readControl(requests)
    const role = body as SetReplicasBody
    const partition = partitions.get(role.partitionRef)
    if (partition === undefined || partition.isClosed || partition.isEnding || this.#isStopping) {
      replies.fail(requestId, 'UNKNOWN_TOPIC_OR_PARTITION', `the shard has no partition of handle ${role.partitionRef}`)
      return
    }
    const { state } = partition
    if (state.role === 'offline') {
      replies.fail(requestId, 'KAFKA_STORAGE_ERROR', `the partition is offline: ${state.offlineReason ?? ''}`)
      return
    }
    if (state.replicas === undefined) {
      replies.fail(requestId, 'INVALID_REQUEST', 'the partition was opened as one of a broker that is alone')
      return
    }
    const isLate = role.version < state.replicas.version || role.leaderEpoch < state.leaderEpoch
    if (!isLate) this.#setRole(partition, role)
    replies.answer(requestId, this.#endsOf(partition))
  }

  /** Opened as one of several replicas, in the role it has. */
  onOpened(partition: PartitionAgent): void {
    this.isActive ||= isReplicated(partition.state.replicas)
    if (partition.state.role === 'leader' && isReplicated(partition.state.replicas)) this.#leading.add(partition)
  }

  #setRole(partition: PartitionAgent, role: SetReplicasBody): void {
    const { clock, effects } = this.#options
    const { state } = partition
    const before = { role: state.role, epoch: state.leaderEpoch }
    if (role.role === 'leader') becomeLeader(state, role, clock.monotonicMs())
    else becomeFollower(state, role)
    this.isActive ||= isReplicated(state.replicas)
    if (state.role === 'leader') this.#leading.add(partition)
    else this.#leading.delete(partition)
    if (before.role === 'leader' && state.role !== 'leader') effects.retire(partition)
    else if (before.role !== state.role || before.epoch !== state.leaderEpoch) effects.renew(partition)
    effects.progress(partition)
  }

  #endsOf({ state, log }: PartitionAgent): SetReplicasAnswer {
    const { logEndOffset, highWatermark, syncedEndOffset } = state
    return { logEndOffset, highWatermark, syncedEndOffset, lastEpoch: lastEpochOf(state, log) }
  }

  /** Takes the SUSPEND_LEADER_ACKS the reader stands on; the turn's writes are done. */
  onSuspend(): void {
    const { requests, replies, produces, produceReplies } = this.#options
    const { requestId, body } = readControl(requests)
    const { isSuspended } = body as SuspendLeaderAcksBody
    produces.setSuspended(isSuspended)
    this.#isSuspended = isSuspended
    if (isSuspended)
      for (const partition of this.#leading) {
        if (isReplicated(partition.state.replicas))
          produceReplies.refuseLeaderAcks(partition, "the broker's lease may be over")
        if (this.mayBeLedElsewhere(partition)) this.#options.effects.doubt(partition)
      }
    replies.answer(requestId, {})
  }

  /** It leads for all that is known here, and another one may have been elected that nobody could tell it of. */
  mayBeLedElsewhere({ state }: PartitionAgent): boolean {
    // A follower asks again a quarter of replicaLag after the last answer at the latest.
    const rule = { nowMs: this.#options.clock.monotonicMs(), silentMsMax: this.#lookMs }
    return this.#isSuspended && mayHaveSuccessor(state, rule)
  }

  // As a follower

  /** Takes the REPLICA_APPEND the reader stands on: refused, staged, or the beginning of a cut. */
  onAppend(): void {
    const { requests, partitions } = this.#options
    const fields = this.#fields
    readReplicaAppend(requests, fields)
    const asked: Asked = { requestId: fields.requestId, partitionRef: fields.partitionRef }
    const partition = partitions.get(fields.partitionRef)
    const refusal = this.#checkFollows(partition)
    if (refusal !== undefined || partition === undefined)
      this.#fail(asked, partition, refusal ?? refuse('UNKNOWN_TOPIC_OR_PARTITION'))
    else if (fields.divergingEpoch !== NO_DIVERGENCE) this.#truncate(asked, partition)
    else if (fields.logStartOffset > partition.log.nextOffset)
      this.#cut(asked, partition, 'restart', fields.logStartOffset)
    else this.#append(asked, partition)
  }

  #checkFollows(partition: PartitionAgent | undefined): Refusal | undefined {
    if (partition === undefined || partition.isClosed) return refuse('UNKNOWN_TOPIC_OR_PARTITION')
    const { state } = partition
    if (state.role === 'offline') return refuse('KAFKA_STORAGE_ERROR', state.offlineReason ?? '')
    if (state.role !== 'follower' || state.replicas === undefined || partition.isEnding || this.#isStopping)
      return refuse('NOT_LEADER_OR_FOLLOWER')
    if (partition.isCutting) return refuse('REPLICA_NOT_AVAILABLE', 'its log is being cut')
    if (partition.isUnnamed)
      return refuse('REPLICA_NOT_AVAILABLE', 'no checkpoint names it since its log was set aside')
    return checkKnownEpoch(state, { leaderEpoch: this.#fields.leaderEpoch as typeof state.leaderEpoch })
  }

  #append(asked: Asked, partition: PartitionAgent): void {
    const { highWatermark, logStartOffset } = this.#fields
    const batches = this.#readBatches(partition)
    if ('kind' in batches) {
      this.#fail(asked, partition, batches)
      return
    }
    this.#options.produces.appendReplicated(partition, batches, {
      onWritten: () => {
        const isVisible = followHighWatermark(partition.state, highWatermark as Offset)
        this.#followLogStart(partition, logStartOffset)
        this.#verify(partition)
        this.#answer(asked, partition, 'NONE', '')
        if (isVisible) this.#options.effects.visible(partition)
      },
      onFailed: (error, text) => this.#answer(asked, partition, error, text),
    })
  }

  /** The batches of the frame, each checked against the one before it. */
  #readBatches({ log }: PartitionAgent): Uint8Array[] | Refusal {
    const { bytes } = this.#options.requests
    const { batchesAt, batchBytes, leaderEpoch } = this.#fields
    const end = batchesAt + batchBytes
    const batches: Uint8Array[] = []
    const { isEmpty } = log
    let place = { nextOffset: log.nextOffset as number, isEmpty, lastEpoch: log.epochs.latestEpoch, leaderEpoch }
    for (let at = batchesAt; at < end; ) {
      const batch = this.#batch
      const checked = checkReplicated(batch, { bytes, at, end }, place)
      if (checked.kind === 'refused') return checked
      const { nextOffset } = batch
      if (checked.kind === 'sound') batches.push(bytes.subarray(at, batch.end))
      else batches.push(writeFiller({ baseOffset: place.nextOffset, nextOffset, leaderEpoch: batch.leaderEpoch }))
      place = { nextOffset, isEmpty: false, lastEpoch: batch.leaderEpoch, leaderEpoch }
      at = batch.end
    }
    return batches
  }

  #followLogStart({ state, log }: PartitionAgent, leaders: number): void {
    const offset = Math.min(leaders, state.highWatermark)
    if (offset <= state.logStartOffset) return
    try {
      log.advanceLogStart(offset)
    } catch (error) {
      // It comes with the next answer of the leader.
      if (!isShortage(error)) throw error
      return
    }
    advanceLogStart(state, log.logStartOffset)
  }

  /** The leader's history holds this log: from now on its synced end says something. */
  #verify(partition: PartitionAgent): void {
    const { replicas } = partition.state
    if (replicas === undefined || replicas.isVerified) return
    replicas.isVerified = true
    this.#unsaid.add(partition)
  }

  #truncate(asked: Asked, partition: PartitionAgent): void {
    this.#options.effects.writeTurn()
    const { state, log } = partition
    const { divergingEpoch: epoch, divergingEndOffset: endOffset, logStartOffset } = this.#fields
    const own = {
      ...{ entries: log.epochs.toEntries(), logEndOffset: state.logEndOffset },
      ...{ logStartOffset: state.logStartOffset, highWatermark: state.highWatermark },
    }
    const decision = decideTruncation(own, { epoch, endOffset, logStartOffset })
    if (decision.kind === 'cut' || decision.kind === 'restart') {
      this.#cut(asked, partition, decision.kind === 'cut' ? 'truncate' : 'restart', decision.offset)
      return
    }
    if (decision.kind === 'nothing') {
      this.#fail(asked, partition, refuse('REPLICA_NOT_AVAILABLE', decision.text))
      return
    }
    this.#options.effects.takeOffline(partition, decision.text)
    this.#fail(asked, partition, refuse('KAFKA_STORAGE_ERROR', decision.text))
  }

  #cut(asked: Asked, partition: PartitionAgent, kind: 'truncate' | 'restart', offset: number): void {
    this.#options.effects.writeTurn()
    const { cuts, notices } = this.#options
    const { state } = partition
    const { leaderEpoch, logEndOffset } = state
    cuts.begin({
      ...{ partition, kind, offset },
      isWanted: () =>
        state.role === 'follower' && state.leaderEpoch === leaderEpoch && !partition.isEnding && !partition.isClosed,
      onEnded: (isCut) => {
        if (!isCut) {
          this.#fail(asked, partition, refuse('FENCED_LEADER_EPOCH', 'its leader changed before its log was cut'))
          return
        }
        const name = `${partition.topicId}-${partition.partition}`
        notices.log('info', `${name}: the log ended at ${logEndOffset}, was cut and ends at ${state.logEndOffset}`)
        this.#answer(asked, partition, 'NONE', '')
      },
    })
  }

  /** Its synced end moved. */
  onFollowerSynced(partition: PartitionAgent): void {
    const { replicas, syncedEndOffset } = partition.state
    if (replicas?.isVerified === true && syncedEndOffset > replicas.saidSyncedEnd) this.#unsaid.add(partition)
  }

  /** Tells the synced ends of this turn. */
  tellSynced(): void {
    const { outbox } = this.#options
    if (this.#unsaid.size === 0 || !outbox.isClear) return
    const all = [...this.#unsaid].filter(({ state }) => state.role === 'follower' && state.replicas?.isVerified)
    this.#unsaid.clear()
    const rowsMax = replicaSyncedRowsMax(outbox.payloadBytesMax)
    for (let from = 0; from < all.length; from += rowsMax) {
      const rows = all.slice(from, from + rowsMax).map(syncedRowOf)
      outbox.begin(MessageType.REPLICA_SYNCED, replicaSyncedBytes(rows.length), 'control')
      fillReplicaSynced(outbox.view, outbox.at, rows)
      outbox.end()
    }
  }

  #fail(asked: Asked, partition: PartitionAgent | undefined, { error, text }: Refusal): void {
    this.#answer(asked, partition, error, text)
  }

  #answer(asked: Asked, partition: PartitionAgent | undefined, error: ErrorCode, text: string): void {
    const { outbox } = this.#options
    const bytes = text === '' ? EMPTY_BYTES : utf8Encode(text).subarray(0, TEXT_BYTES_MAX)
    outbox.begin(MessageType.REPLICA_APPENDED, replicaAppendedBytes(bytes.length), 'control')
    const fields = {
      ...asked,
      errorNumber: errorNumberOf(error),
      lastEpoch: partition === undefined ? -1 : lastEpochOf(partition.state, partition.log),
      logEndOffset: partition?.state.logEndOffset ?? -1,
      highWatermark: partition?.state.highWatermark ?? -1,
    }
    fillReplicaAppended(outbox, fields, bytes)
    outbox.end()
  }

  // As a leader

  /** A replica's fetch, whose history the leader's holds: its log ends at `fetchOffset`. */
  onFetch(partition: PartitionAgent, who: ReplicaIdentity, fetchOffset: Offset): void {
    const nowMs = this.#options.clock.monotonicMs()
    const heard = noteFetch(partition.state, who, { nowMs, lagMsMax: this.#options.lagMsMax, fetchOffset })
    this.#heard(partition, who, { heard, nowMs })
  }

  /** Takes the REPLICA_PROGRESS the reader stands on. */
  onProgress(): void {
    const { reads, partitions, clock, lagMsMax } = this.#options
    const nowMs = clock.monotonicMs()
    for (const row of readReplicaProgress(reads)) {
      const partition = partitions.get(row.partitionRef)
      if (partition === undefined || partition.isClosed) continue
      const { state } = partition
      if (state.role !== 'leader' || row.leaderEpoch !== state.leaderEpoch) continue
      const who = { nodeId: row.nodeId, incarnation: row.incarnation }
      const syncedEndOffset = row.syncedEndOffset as Offset
      const heard = noteSynced(state, who, { nowMs, lagMsMax, syncedEndOffset })
      this.#heard(partition, who, { heard, nowMs })
    }
  }

  #heard(partition: PartitionAgent, who: ReplicaIdentity, { heard, nowMs }: { heard: Heard; nowMs: number }): void {
    const { replicas } = partition.state
    if (replicas === undefined || heard === 'unknown') return
    const remote = remoteOf(replicas, who.nodeId)
    // A member that keeps up is the rule: nothing is to be wished for.
    if (remote?.isJoining === true || remote?.counts === 'unheard') this.#wish(partition, nowMs)
    if (heard === 'moved') this.#options.effects.progress(partition)
  }

  #wish(partition: PartitionAgent, nowMs: number): void {
    const { notices, lagMsMax } = this.#options
    const { state } = partition
    const { replicas, partitionRef, leaderEpoch } = state
    if (this.#isStopping || partition.isEnding || replicas === undefined) return
    const inSync = takeWish(state, { nowMs, lagMsMax, retryMs: this.#lookMs })
    if (inSync === undefined) return
    const { version } = replicas
    const cutOff = isCutOff(state, inSync, { nowMs, silentMsMax: this.#lookMs })
    if (notices.send({ kind: 'in-sync-wish', partitionRef, leaderEpoch, version, inSync, isCutOff: cutOff })) return
    // Nobody has heard it.
    replicas.wish = undefined
    countRemotes(replicas)
  }
}

/** Of the last batch; -1 = the log has none: what its epochs say of batches that were trimmed may be less than the truth. */
function lastEpochOf({ logStartOffset, logEndOffset }: PartitionState, { epochs }: PartitionLog): number {
  return logStartOffset === logEndOffset ? -1 : epochs.latestEpoch
}

function syncedRowOf({ state }: PartitionAgent): ReplicaSyncedRow {
  const { partitionRef, leaderEpoch, syncedEndOffset, replicas } = state
  if (replicas !== undefined) replicas.saidSyncedEnd = syncedEndOffset
  return { partitionRef, leaderEpoch, syncedEndOffset }
}
