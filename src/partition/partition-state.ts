/**
 * PartitionState: what one replica knows of its partition, as plain data, and the transitions that may change it.
 *
 * Owns        role, leader epoch, watermarks; in a cluster what is known of the other replicas (replica-set.ts)
 * Thread      the shard; pure, no clock, no files
 * Invariants  P1 logStartOffset <= highWatermark <= logEndOffset             checked in: checkWatermarks()
 *             P2 syncedEndOffset <= logEndOffset                              checked in: checkWatermarks()
 *             P3 highWatermark, logStartOffset never fall in an epoch         checked in: advance*, below
 *             P4 the leader epoch never falls                                 checked in: takeEpoch()
 *             P5 logStartOffset <= lastStableOffset() <= highWatermark        checked in: test/unit/partition/watermarks
 * Not here    the log itself (log/), which owns `transactions` and alone changes them; who waits for what (delayed-*.ts); the rule of
 *             the high watermark and of the last stable offset (high-watermark.ts)
 */
import { assert } from '../base/assert.ts'
import type { OpenTransactions } from '../log/open-transactions.ts'
import type { LeaderEpoch, Offset, PartitionRef } from '../model/ids.ts'
import type { ReplicaRole } from '../model/replica.ts'
import type { TopicConfig } from '../model/topic-config.ts'
import { beginEpoch, newReplicaSet, type ReplicaSet, setMembers } from './replica-set.ts'

export type Role = 'leader' | 'follower' | 'offline'

export interface PartitionState {
  readonly partitionRef: PartitionRef
  config: TopicConfig
  role: Role
  /** Why it is offline; null otherwise. */
  offlineReason: string | null
  leaderEpoch: LeaderEpoch
  logStartOffset: Offset
  highWatermark: Offset
  syncedEndOffset: Offset
  logEndOffset: Offset
  /** Bytes appended since the partition was opened, up to the log end, the synced end and the high watermark. */
  appendedBytes: number
  syncedBytes: number
  visibleBytes: number
  /** The partition's replicas; undefined: this broker is alone. */
  replicas: ReplicaSet | undefined
  /**
   * Transactions whose markers lie below it count as decided though the high watermark may not have reached them: what was open and
   * ended in the log as it was found, or was left by a truncation, is not known one by one.
   */
  undecidedBelow: Offset
  /** Of its log: what holds the last stable offset back. */
  readonly transactions: UnstableOffsets
}

/** What the last stable offset asks of a log. */
export type UnstableOffsets = Pick<OpenTransactions, 'firstUnstableOffset' | 'decideBelow'>

export interface NewPartitionState {
  readonly partitionRef: PartitionRef
  readonly config: TopicConfig
  readonly leaderEpoch: LeaderEpoch
  readonly logStartOffset: Offset
  readonly logEndOffset: Offset
  readonly transactions: UnstableOffsets
}

/** A partition alone, as recovery leaves it: everything in its log is durable, so the high watermark of one replica is the log end. */
export function leaderState(from: NewPartitionState): PartitionState {
  const state: PartitionState = {
    partitionRef: from.partitionRef,
    config: from.config,
    role: 'leader',
    offlineReason: null,
    leaderEpoch: from.leaderEpoch,
    logStartOffset: from.logStartOffset,
    highWatermark: from.logEndOffset,
    syncedEndOffset: from.logEndOffset,
    logEndOffset: from.logEndOffset,
    appendedBytes: 0,
    syncedBytes: 0,
    visibleBytes: 0,
    replicas: undefined,
    undecidedBelow: from.logStartOffset,
    transactions: from.transactions,
  }
  checkWatermarks(state)
  return state
}

/**
 * A replica as recovery leaves it, before it is told its part: it follows. Only what is below the log start is certain to be safe: others
 * may have lost what this log has, or never had it.
 */
export function replicaState(from: NewPartitionState, role: ReplicaRole): PartitionState {
  const state = leaderState(from)
  state.role = 'follower'
  state.highWatermark = from.logStartOffset
  state.undecidedBelow = from.logEndOffset
  state.replicas = newReplicaSet(role)
  return state
}

/** Leads from now on, or goes on leading with other members; its high watermark is the one it knew. */
export function becomeLeader(state: PartitionState, role: ReplicaRole, nowMs: number): void {
  const replicas = knownReplicas(state)
  const begins = state.role !== 'leader' || role.leaderEpoch !== state.leaderEpoch
  takeEpoch(state, role.leaderEpoch)
  state.role = 'leader'
  setMembers(replicas, role)
  if (begins) beginEpoch(replicas, { logEndOffset: state.logEndOffset, nowMs })
  checkWatermarks(state)
}

/** Follows whoever leads under the role's epoch. What it knows of the others is forgotten: the leader keeps that. */
export function becomeFollower(state: PartitionState, role: ReplicaRole): void {
  const replicas = knownReplicas(state)
  if (state.role !== 'follower' || role.leaderEpoch !== state.leaderEpoch) {
    replicas.isVerified = false
    replicas.saidSyncedEnd = -1
  }
  takeEpoch(state, role.leaderEpoch)
  state.role = 'follower'
  setMembers(replicas, role)
  checkWatermarks(state)
}

function knownReplicas(state: PartitionState): ReplicaSet {
  assert(state.role !== 'offline', 'a partition that is offline takes no part in replication')
  assert(state.replicas !== undefined, 'a partition that is alone takes no part in replication')
  return state.replicas
}

function takeEpoch(state: PartitionState, leaderEpoch: number): void {
  assert(
    leaderEpoch >= state.leaderEpoch,
    `P4: the leader epoch would fall from ${state.leaderEpoch} to ${leaderEpoch}`,
  )
  state.leaderEpoch = leaderEpoch as LeaderEpoch
}

export function goOffline(state: PartitionState, reason: string): void {
  state.role = 'offline'
  state.offlineReason = reason
}

/** The log has been written up to `logEndOffset`, `bytes` more than before. */
export function advanceLogEnd(state: PartitionState, logEndOffset: Offset, bytes: number): void {
  assert(logEndOffset >= state.logEndOffset, 'the log end may only fall by truncation')
  state.logEndOffset = logEndOffset
  state.appendedBytes += bytes
}

/** Bytes up to `syncedEndOffset` survive a power cut; `appendedBytes` is the count that stood at that offset. */
export function advanceSyncedEnd(state: PartitionState, syncedEndOffset: Offset, appendedBytes: number): void {
  if (syncedEndOffset <= state.syncedEndOffset) return
  assert(syncedEndOffset <= state.logEndOffset, 'synced beyond the log end')
  state.syncedEndOffset = syncedEndOffset
  state.syncedBytes = appendedBytes
}

/** A follower's log was cut at `logEndOffset`. */
export function truncateLogEnd(state: PartitionState, logEndOffset: Offset): void {
  assert(state.role === 'follower', 'only a follower is cut')
  assert(
    logEndOffset >= state.highWatermark,
    `I7: a cut at ${logEndOffset}, the high watermark is ${state.highWatermark}`,
  )
  state.logEndOffset = logEndOffset
  if (state.syncedEndOffset > logEndOffset) state.syncedEndOffset = logEndOffset
  state.undecidedBelow = logEndOffset
  checkWatermarks(state)
}

/** A follower's log begins anew, and empty, at `offset`: it shares nothing with what is left of its leader's log. */
export function restartAt(state: PartitionState, offset: Offset): void {
  assert(state.role === 'follower', 'only a follower begins anew')
  assert(offset >= state.highWatermark, `I7: a new start at ${offset}, the high watermark is ${state.highWatermark}`)
  state.logStartOffset = offset
  state.highWatermark = offset
  state.logEndOffset = offset
  state.syncedEndOffset = offset
  state.undecidedBelow = offset
}

/** A follower believes its leader's high watermark as far as its own log goes. True when it moved. */
export function followHighWatermark(state: PartitionState, leaders: Offset): boolean {
  assert(state.role === 'follower', 'only a follower is told the high watermark')
  const highWatermark = Math.min(leaders, state.logEndOffset) as Offset
  if (highWatermark <= state.highWatermark) return false
  state.highWatermark = highWatermark
  state.transactions.decideBelow(highWatermark)
  checkWatermarks(state)
  return true
}

/** Records below `logStartOffset` are gone (retention or trim). */
export function advanceLogStart(state: PartitionState, logStartOffset: Offset): void {
  if (logStartOffset <= state.logStartOffset) return
  assert(logStartOffset <= state.highWatermark, 'the log start may not pass the high watermark')
  state.logStartOffset = logStartOffset
}

export function checkWatermarks(state: PartitionState): void {
  assert(state.logStartOffset <= state.highWatermark, 'P1: log start beyond the high watermark')
  assert(state.highWatermark <= state.logEndOffset, 'P1: high watermark beyond the log end')
  assert(state.syncedEndOffset <= state.logEndOffset, 'P2: synced end beyond the log end')
}
