/**
 * In-sync replicas: what a leader makes of what its followers tell, and which set it wants the store to have.
 *
 *   a member leaves    when its safe end has not been at the log end for longer than lagMsMax, and is not now; or when another incarnation
 *                      of its broker is heard: that one has to join by itself
 *   a replica joins    when its log end and its safe end have reached the high watermark, and its log end the start of this epoch; it
 *                      counts for the high watermark from when it has caught up (isJoining), so that it need not run after it
 *
 * The safe end is the synced end with fsync: group, else the log end: one that fetches and cannot sync holds up who waits for it, and leaves.
 *
 * Thread      the leader's shard; pure, given the time
 * Invariants  IS1 this replica is in every set it wishes
 *             IS2 no second wish under one version before retryMs: the outcome of the first is told by SET_REPLICAS (I6)
 * Not here    whether the incarnation that fetches is the registered one: who writes the set to the store looks (broker/)
 */
import type { Offset } from '../model/ids.ts'
import { hasReplica, isSameSet, type ReplicaIdentity } from '../model/replica.ts'
import { inSyncCount, minInSync } from './high-watermark.ts'
import type { PartitionState } from './partition-state.ts'
import { countRemotes, hear, NO_TARGET, type RemoteReplica, type ReplicaSet, remoteOf } from './replica-set.ts'

export interface LagRule {
  readonly nowMs: number
  readonly lagMsMax: number
}

/** 'unknown': its word does not count. 'same': it was known to have that much. */
export type Heard = 'unknown' | 'same' | 'moved'

/** A replica's fetch from `fetchOffset` on, which the leader's history bears out: its log ends there. */
export function noteFetch(
  state: PartitionState,
  who: ReplicaIdentity,
  fetch: LagRule & { readonly fetchOffset: Offset },
): Heard {
  const remote = state.replicas && hear(state.replicas, who)
  if (remote === undefined || fetch.fetchOffset > state.logEndOffset) return 'unknown'
  remote.heardMs = fetch.nowMs
  const isNews = fetch.fetchOffset > remote.logEndOffset
  if (fetch.fetchOffset < remote.logEndOffset) forgetLost(state.replicas!, remote, fetch.fetchOffset)
  else remote.logEndOffset = fetch.fetchOffset
  noteEnd(state, remote, fetch)
  return isNews ? 'moved' : 'same'
}

/** A replica's word that its log is synced up to `syncedEndOffset`, under the present epoch. */
export function noteSynced(
  state: PartitionState,
  who: ReplicaIdentity,
  synced: LagRule & { readonly syncedEndOffset: Offset },
): Heard {
  const remote = state.replicas && hear(state.replicas, who)
  const { syncedEndOffset } = synced
  if (remote === undefined || syncedEndOffset > state.logEndOffset) return 'unknown'
  remote.heardMs = synced.nowMs
  const isNews = syncedEndOffset > remote.syncedEndOffset
  if (isNews) remote.syncedEndOffset = syncedEndOffset
  // It comes by another way than fetches, and may overtake them.
  if (syncedEndOffset > remote.logEndOffset) remote.logEndOffset = syncedEndOffset
  noteEnd(state, remote, synced)
  return isNews ? 'moved' : 'same'
}

/** Time since the replica last had all that the leader had, ms; 0 = it has it now. */
export function lagMsOf(state: PartitionState, remote: RemoteReplica, nowMs: number): number {
  return safeEndOf(state, remote) >= state.logEndOffset ? 0 : nowMs - remote.caughtUpMs
}

/**
 * Asked by a leader whose lease may be over: whether another replica may lead by now. Who was elected, or follows who was, asks here no
 * more; so while all that could be elected do, nobody was. Those are the members of the sets; while fewer than min.insync.replicas are in
 * sync the eligible leaders too, and with unclean.leader.election.enable any replica.
 */
export function mayHaveSuccessor(
  state: PartitionState,
  { nowMs, silentMsMax }: { readonly nowMs: number; readonly silentMsMax: number },
): boolean {
  if (state.role !== 'leader' || state.replicas === undefined) return false
  const isAnyElectable = state.config.uncleanLeaderElection || inSyncCount(state) < minInSync(state)
  return state.replicas.remotes.some(
    ({ counts, heardMs }) => (isAnyElectable || counts !== 'no') && nowMs - heardMs > silentMsMax,
  )
}

/**
 * Of a leader that wishes for a smaller set: it is the one that is cut off. Members that are silent, not slow, would be enough to acknowledge
 * without it, and without them it cannot.
 */
export function isCutOff(
  state: PartitionState,
  wished: readonly ReplicaIdentity[],
  { nowMs, silentMsMax }: { readonly nowMs: number; readonly silentMsMax: number },
): boolean {
  const { replicas } = state
  if (replicas === undefined || replicas.inSync.every((member) => hasReplica(wished, member))) return false
  const silent = replicas.inSync.filter(({ nodeId }) => {
    const remote = remoteOf(replicas, nodeId)
    return remote !== undefined && nowMs - remote.heardMs > silentMsMax
  })
  const min = minInSync(state)
  return silent.length >= min && replicas.inSync.length - silent.length < min
}

/** The set that should be proposed now; undefined: the stored one is right, or a proposal is under way. */
export function takeWish(
  state: PartitionState,
  rule: LagRule & { readonly retryMs: number },
): readonly ReplicaIdentity[] | undefined {
  const { replicas } = state
  if (state.role !== 'leader' || replicas === undefined || replicas.pending !== null) return undefined
  stopJoining(state, replicas, rule)
  const { wish, version } = replicas
  if (wish?.version === version && rule.nowMs - wish.atMs < rule.retryMs) return undefined
  const inSync = wantedInSync(state, replicas, rule)
  const isNews = !isSameSet(inSync, replicas.inSync)
  replicas.wish = isNews ? { version, inSync, atMs: rule.nowMs } : undefined
  countRemotes(replicas)
  return isNews ? inSync : undefined
}

/**
 * Its log ends below what it had told: it was set aside as damaged and begins anew, under the same incarnation. What it lost does not
 * count; one that is no member catches up as if nothing had been heard of it, a member has the time that any lagging one has.
 */
function forgetLost(replicas: ReplicaSet, remote: RemoteReplica, fetchOffset: Offset): void {
  remote.logEndOffset = fetchOffset
  if (remote.syncedEndOffset > fetchOffset) remote.syncedEndOffset = fetchOffset
  remote.targetOffset = NO_TARGET
  remote.isJoining = false
  countRemotes(replicas)
  if (remote.counts === 'no') remote.caughtUpMs = Number.NEGATIVE_INFINITY
}

/** It tells how far it is: caught up now, or with what the leader had when it was looked at before (Kafka's rule for fetches). */
function noteEnd(state: PartitionState, remote: RemoteReplica, { nowMs, lagMsMax }: LagRule): void {
  const end = safeEndOf(state, remote)
  const { logEndOffset } = state
  if (end >= logEndOffset) remote.caughtUpMs = nowMs
  else if (end >= remote.targetOffset) remote.caughtUpMs = Math.max(remote.caughtUpMs, remote.targetMs)
  if (end >= Math.min(remote.targetOffset, logEndOffset) || remote.targetOffset === NO_TARGET) {
    remote.targetOffset = logEndOffset
    remote.targetMs = nowMs
  }
  if (remote.counts !== 'no' || nowMs - remote.caughtUpMs > lagMsMax) return
  if (remote.logEndOffset < state.replicas!.epochStartOffset) return
  remote.isJoining = true
  remote.counts = 'yes'
}

function stopJoining(state: PartitionState, replicas: ReplicaSet, { nowMs, lagMsMax }: LagRule): void {
  for (const remote of replicas.remotes)
    if (remote.isJoining && lagMsOf(state, remote, nowMs) > lagMsMax) remote.isJoining = false
}

function wantedInSync(state: PartitionState, replicas: ReplicaSet, { nowMs, lagMsMax }: LagRule): ReplicaIdentity[] {
  const wanted: ReplicaIdentity[] = [replicas.self]
  for (const remote of replicas.remotes) {
    const { nodeId, incarnation } = remote
    const stored = replicas.inSync.find((member) => member.nodeId === nodeId)
    // Nothing is heard of it under this leader yet: it stays for as long as it would if it lagged.
    if (stored !== undefined && incarnation === -1) {
      if (lagMsOf(state, remote, nowMs) <= lagMsMax) wanted.push(stored)
    } else if (hasReplica(replicas.inSync, remote)) {
      if (lagMsOf(state, remote, nowMs) <= lagMsMax) wanted.push({ nodeId, incarnation })
    } else if (mayJoin(state, replicas, remote)) wanted.push({ nodeId, incarnation })
  }
  return wanted
}

function mayJoin(state: PartitionState, replicas: ReplicaSet, remote: RemoteReplica): boolean {
  // One whose earlier incarnation is still in the set counts as unheard, and cannot join beside it: it takes its place.
  const isHeard = remote.isJoining || (remote.counts === 'unheard' && remote.caughtUpMs !== Number.NEGATIVE_INFINITY)
  return (
    isHeard &&
    remote.logEndOffset >= replicas.epochStartOffset &&
    remote.logEndOffset >= state.highWatermark &&
    safeEndOf(state, remote) >= state.highWatermark
  )
}

function safeEndOf(state: PartitionState, remote: RemoteReplica): Offset {
  return state.config.fsync === 'group' ? remote.syncedEndOffset : remote.logEndOffset
}
