/**
 * ReplicaSet: the replicas of one partition as one of them knows them: who is in sync by the store, and, at the leader, how far each is.
 *
 * Owns        membership and version; the remotes' ends, which only grow under one incarnation and one leader epoch
 * Thread      the shard; pure, given the time
 * Invariants  RS1 a remote's ends are those that its present incarnation told under the present leader epoch     checked in: hear()
 *             RS2 whoever is in the stored or the pending set counts for the high watermark, or holds it where it is, if what is
 *                 heard is another incarnation (I5, I6)                                               checked in: test/unit/partition
 *             RS3 the version never falls                                                            checked in: setMembers()
 * Not here    who should join or leave (in-sync-replicas.ts), the high watermark (high-watermark.ts)
 */
import { assert } from '../base/assert.ts'
import type { Offset } from '../model/ids.ts'
import { hasReplica, isSameReplica, type ReplicaIdentity, type ReplicaRole } from '../model/replica.ts'

/** What a leader knows of another replica. */
export interface RemoteReplica {
  readonly nodeId: number
  /** Of who was heard last; -1 = nobody yet. */
  incarnation: number
  /** -1 = not told yet. */
  logEndOffset: Offset
  syncedEndOffset: Offset
  /** When it was last known to have all that the leader had then; -Infinity = never. */
  caughtUpMs: number
  /** When it last asked or told under the present epoch, or that began; -Infinity = it came later and has not yet. */
  heardMs: number
  /** Once it has this end, it had caught up at that time (KAFKA: the end at its fetch before). */
  targetOffset: Offset
  targetMs: number
  /** For the high watermark. 'unheard': somebody in the set of whom nothing is heard. */
  counts: 'yes' | 'no' | 'unheard'
  /** Has caught up, and is about to be proposed. */
  isJoining: boolean
  /** What its last fetch was told; -1 = nothing yet. */
  toldHighWatermark: number
  toldLogStart: number
}

/** A set that the leader has asked to be written. */
export interface InSyncWish {
  readonly version: number
  readonly inSync: readonly ReplicaIdentity[]
  readonly atMs: number
}

export interface ReplicaSet {
  readonly self: ReplicaIdentity
  inSync: readonly ReplicaIdentity[]
  pending: readonly ReplicaIdentity[] | null
  version: number
  /** Replicas that the partition is to have, as long as nothing that a move brings is counted. */
  settledCount: number
  /** All other replicas, members of a set who are none any more included. */
  remotes: RemoteReplica[]
  /** Of a leader: where its epoch began. */
  epochStartOffset: Offset
  /** Of a follower: its leader's history holds its own, under the present epoch. Until then its synced end says nothing. */
  isVerified: boolean
  /** Of a follower: the synced end that was told last under this epoch; -1 = none. */
  saidSyncedEnd: number
  /** Counts like `pending` until its outcome is told. */
  wish: InSyncWish | undefined
}

const NO_OFFSET = -1 as Offset
/** It was not looked at yet. */
export const NO_TARGET = Number.POSITIVE_INFINITY as Offset

export function newReplicaSet(role: ReplicaRole): ReplicaSet {
  const { nodeId, incarnation } = role
  const set: ReplicaSet = {
    self: { nodeId, incarnation },
    ...{ inSync: role.inSync, pending: role.pending, version: role.version, settledCount: 1 },
    ...{ remotes: [], epochStartOffset: 0 as Offset, isVerified: false, saidSyncedEnd: -1, wish: undefined },
  }
  setMembers(set, role)
  return set
}

/** Other replicas than this one may have to have a batch. */
export function isReplicated(set: ReplicaSet | undefined): boolean {
  return set !== undefined && set.remotes.length > 0
}

/** The store's word on who belongs to the partition. Who went out of the in-sync set must catch up anew before it is believed again. */
export function setMembers(set: ReplicaSet, role: ReplicaRole): void {
  assert(role.version >= set.version, `RS3: the version would fall from ${set.version} to ${role.version}`)
  const before = set.inSync
  set.inSync = role.inSync
  set.pending = role.pending
  set.version = role.version
  set.settledCount = role.replicas.length - (role.addingCount ?? 0)
  set.wish = undefined
  const nodeIds = new Set([...role.replicas, ...members(set).map(({ nodeId }) => nodeId)])
  nodeIds.delete(set.self.nodeId)
  set.remotes = [...nodeIds].map((nodeId) => remoteOf(set, nodeId) ?? newRemote(nodeId))
  for (const remote of set.remotes)
    if (hasReplica(before, remote) && !hasReplica(set.inSync, remote)) {
      remote.caughtUpMs = Number.NEGATIVE_INFINITY
      remote.isJoining = false
    }
  countRemotes(set)
}

/** A leader's epoch begins: nothing that was told before is about this log, and members have their time to be heard. */
export function beginEpoch(set: ReplicaSet, at: { readonly logEndOffset: Offset; readonly nowMs: number }): void {
  const { logEndOffset, nowMs } = at
  set.epochStartOffset = logEndOffset
  set.wish = undefined
  set.remotes = set.remotes.map(({ nodeId }) => {
    const remote = newRemote(nodeId)
    remote.heardMs = nowMs
    if (set.inSync.some((member) => member.nodeId === nodeId)) remote.caughtUpMs = nowMs
    return remote
  })
  countRemotes(set)
}

export function remoteOf(set: ReplicaSet, nodeId: number): RemoteReplica | undefined {
  return set.remotes.find((remote) => remote.nodeId === nodeId)
}

/**
 * The remote that `who` is, if its word counts; undefined: it is none of the replicas, or an incarnation that was followed by another. A
 * newer incarnation begins with nothing: whatever the one before had may be lost.
 */
export function hear(set: ReplicaSet, who: ReplicaIdentity): RemoteReplica | undefined {
  const remote = remoteOf(set, who.nodeId)
  if (remote === undefined || who.incarnation < remote.incarnation) return undefined
  if (who.incarnation === remote.incarnation) return remote
  const isFirst = remote.incarnation === -1 && hasReplica(set.inSync, who)
  remote.incarnation = who.incarnation
  remote.logEndOffset = NO_OFFSET
  remote.syncedEndOffset = NO_OFFSET
  // A member whose first word this is keeps the time it was given.
  if (!isFirst) remote.caughtUpMs = Number.NEGATIVE_INFINITY
  remote.isJoining = false
  remote.targetOffset = NO_TARGET
  remote.toldHighWatermark = -1
  remote.toldLogStart = -1
  countRemotes(set)
  return remote
}

/** Decides anew who counts for the high watermark. */
export function countRemotes(set: ReplicaSet): void {
  const all = members(set)
  for (const remote of set.remotes) {
    const ofNode = all.filter(({ nodeId }) => nodeId === remote.nodeId)
    if (ofNode.some((member) => !isSameReplica(member, remote))) remote.counts = 'unheard'
    else remote.counts = ofNode.length > 0 || remote.isJoining ? 'yes' : 'no'
  }
}

/** Stored, pending and wished for: the set that is maximal whatever comes of it. */
function members({ inSync, pending, wish }: ReplicaSet): ReplicaIdentity[] {
  return [...inSync, ...(pending ?? []), ...(wish?.inSync ?? [])]
}

function newRemote(nodeId: number): RemoteReplica {
  return {
    ...{ nodeId, incarnation: -1, logEndOffset: NO_OFFSET, syncedEndOffset: NO_OFFSET },
    ...{
      caughtUpMs: Number.NEGATIVE_INFINITY,
      heardMs: Number.NEGATIVE_INFINITY,
      targetOffset: NO_TARGET,
      targetMs: Number.NEGATIVE_INFINITY,
    },
    ...{ counts: 'no', isJoining: false, toldHighWatermark: -1, toldLogStart: -1 },
  }
}
