/**
 * PartitionState: what one replica knows of its partition, as plain data, and the transitions that may change it.
 *
 * Owns        role, leader epoch, watermarks
 * Thread      the shard; pure, no clock, no files
 * Invariants  P1 logStartOffset <= highWatermark <= logEndOffset             checked in: checkWatermarks()
 *             P2 syncedEndOffset <= logEndOffset                              checked in: checkWatermarks()
 *             P3 highWatermark, logStartOffset never fall in an epoch         checked in: advance*, below
 *             P4 the leader epoch never falls                                 checked in: becomeLeader()
 *             P5 logStartOffset <= lastStableOffset() <= highWatermark        checked in: test/unit/partition/watermarks
 * Not here    the log itself (log/), which owns `transactions` and alone changes them; who waits for what (delayed-*.ts); the rule of
 *             the high watermark and of the last stable offset (high-watermark.ts)
 */
import { assert } from '../base/assert.ts'
import type { OpenTransactions } from '../log/open-transactions.ts'
import type { LeaderEpoch, Offset, PartitionRef } from '../model/ids.ts'
import type { TopicConfig } from '../model/topic-config.ts'

export type Role = 'leader' | 'follower' | 'offline'

/** Another member of the in-sync replicas and how far it has told the leader it is. One node has none. */
export interface RemoteReplica {
  readonly nodeId: number
  logEndOffset: Offset
  syncedEndOffset: Offset
}

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
  /** In-sync replicas besides this one. */
  readonly remotes: RemoteReplica[]
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

/** A partition as recovery leaves it: everything in its log is durable, so the high watermark of one replica is the log end. */
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
    remotes: [],
    transactions: from.transactions,
  }
  checkWatermarks(state)
  return state
}

/** Takes the lead under a newer epoch. */
export function becomeLeader(state: PartitionState, leaderEpoch: LeaderEpoch): void {
  assert(leaderEpoch >= state.leaderEpoch, 'a leader epoch may not fall')
  state.role = 'leader'
  state.offlineReason = null
  state.leaderEpoch = leaderEpoch
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
