/**
 * GroupState: the groups of one partition of the offsets topic, as plain data.
 *
 * Thread      the shard; pure
 * Durable     everything not under "not durable": it changes by applyRecord() only, when a decision makes a record and when
 *             the log is replayed, so that both give the same state
 * Invariants  G1 a partition has at most one owner in a group           checked in: claim() of apply-record.ts, buildOwners()
 *             G2 assigned and revoking have no partition in common      checked in: applyCurrent() of apply-record.ts
 *             G3 memberEpoch <= assignmentEpoch <= groupEpoch           checked in: checkGroup()
 *             G4 assigned is within target                              checked in: checkGroup()
 *             G5 groupEpoch and, but for -2, memberEpoch only grow      checked in: apply-record.ts
 */

import { assert } from '../base/assert.ts'
import type { Timed } from '../base/deadline-heap.ts'
import type { TopicId } from '../model/ids.ts'
import { countPartitions, isSubset, NO_PARTITIONS, type PartitionSet } from '../model/partition-set.ts'
import type { ClassicMemberMetadata, ClassicMetadata } from './classic-metadata.ts'
import type { ClassicGroup, ClassicStateName } from './classic-state.ts'
import type { CommittedOffset } from './committed-offset.ts'
import { PendingOffsets } from './pending-offsets.ts'
import type { PatternMatches } from './topic-pattern.ts'

/** Who assigns: the broker, a member (join and sync of Kafka's older clients), or nobody: offsets only, never a member. */
export type GroupKind = 'simple' | 'consumer' | 'classic'

export type GroupStateName = 'Empty' | 'Assigning' | 'Reconciling' | 'Stable' | 'Dead' | ClassicStateName

/** Epoch of a static member that said it will be back. */
export const AWAY_EPOCH = -2

/** What a member said of itself. */
export interface MemberMetadata {
  readonly instanceId: string | null
  readonly rackId: string | null
  readonly clientId: string
  readonly clientHost: string
  readonly sessionTimeoutMs: number
  readonly rebalanceTimeoutMs: number
  readonly subscribedTopics: readonly string[]
  readonly subscribedPattern: string | null
  /** The assignor it votes for. */
  readonly serverAssignor: string | null
}

/** What a member may read, and what it still has to give up. */
export interface CurrentAssignment {
  readonly memberEpoch: number
  readonly previousMemberEpoch: number
  readonly assigned: PartitionSet
  readonly revoking: PartitionSet
}

export interface MemberTimer extends Timed {
  readonly kind: 'session' | 'rebalance'
  readonly group: Group
  readonly member: Member
}

/** Runs while the members of a group are to be told of something. */
export interface HintTimer extends Timed {
  readonly group: Group
}

/** Nobody to tell: the member was last heard of before this start, or by something that takes no hints. */
export const NO_CONNECTION = 0

/** Partitions that were taken away at once, and until when the member must have given them up. */
export interface Revocation {
  readonly partitions: PartitionSet
  readonly deadlineMs: number
}

export const NO_REVOCATIONS: readonly Revocation[] = []

/** The answer to a heartbeat that changes nothing, kept so that it is not made again. */
export interface UnchangedAnswer {
  readonly memberEpoch: number
  readonly heartbeatIntervalMs: number
  readonly records: readonly never[]
  readonly notices: readonly never[]
  readonly reply: {
    readonly kind: 'heartbeat'
    readonly memberId: string
    readonly memberEpoch: number
    readonly heartbeatIntervalMs: number
    readonly assignment: null
  }
  readonly kept: { answer: unknown }
}

export interface Member {
  readonly memberId: string
  metadata: MemberMetadata
  target: PartitionSet
  current: CurrentAssignment

  // Not durable
  /** The member has not yet confirmed what it is assigned: replies carry it until ownedPartitions equals it. */
  isInDoubt: boolean
  /** Group.releases when it last looked for free partitions. */
  releasesSeen: number
  sessionDeadlineMs: number
  sessionTimer: MemberTimer | undefined
  rebalanceTimer: MemberTimer | undefined
  /** What the rebalance timer runs for: all of `revoking`. */
  revocations: readonly Revocation[]
  unchanged: UnchangedAnswer | undefined
  /** Of the connection of its last heartbeat; NO_CONNECTION when it takes no hints. */
  connectionId: number
  /** It was told to send a heartbeat, and has not yet. */
  isHinted: boolean
}

export interface Group {
  readonly groupId: string
  kind: GroupKind
  groupEpoch: number
  assignmentEpoch: number
  assignor: string
  /** Wall time; -1 = it has members, or never had. */
  emptySinceMs: number
  /** There is a group record in the log. */
  hasRecord: boolean
  readonly members: Map<string, Member>
  /** Instance id -> member id. */
  readonly instances: Map<string, string>
  readonly offsets: Map<TopicId, Map<number, CommittedOffset>>
  offsetCount: number
  /** Of a classic group, as its last generation was stored: what it is now is in `classic`. */
  classicMetadata: ClassicMetadata | null
  readonly classicMembers: Map<string, ClassicMemberMetadata>

  // Not durable
  /** Who has a partition, assigned or revoking. */
  readonly owners: Map<TopicId, Map<number, Member>>
  /** Grows when a partition becomes free. */
  releases: number
  readonly patterns: Map<string, PatternMatches>
  /** Topics changed since the target was computed: it is looked at in the next turn. */
  isStale: boolean
  /** Runs while its members are to be told of something. */
  hintTimer: HintTimer | undefined
  /** The generation in the making, and who waits for it; undefined unless the group is a classic one. */
  classic: ClassicGroup | undefined
}

export interface GroupState {
  readonly groups: Map<string, Group>
  readonly pending: PendingOffsets
  memberCount: number
  /** False while the log is replayed: owners are not known then. */
  isLive: boolean
}

export function newGroupState(): GroupState {
  const groups = new Map<string, Group>()
  return { groups, pending: new PendingOffsets(groups), memberCount: 0, isLive: false }
}

export function newGroup(groupId: string): Group {
  return {
    groupId,
    kind: 'simple',
    groupEpoch: 0,
    assignmentEpoch: 0,
    assignor: '',
    emptySinceMs: -1,
    hasRecord: false,
    members: new Map(),
    instances: new Map(),
    offsets: new Map(),
    offsetCount: 0,
    classicMetadata: null,
    classicMembers: new Map(),
    owners: new Map(),
    releases: 0,
    patterns: new Map(),
    isStale: false,
    hintTimer: undefined,
    classic: undefined,
  }
}

/** Of the kind that it is: those of a classic group are in the generation in the making. */
export function memberCountOf(group: Group): number {
  return group.classic === undefined ? group.members.size : group.classic.members.size
}

export const NO_ASSIGNMENT: CurrentAssignment = {
  memberEpoch: 0,
  previousMemberEpoch: 0,
  assigned: NO_PARTITIONS,
  revoking: NO_PARTITIONS,
}

/** Placeholder until the member's own record comes: after compaction it may stand behind its assignment's. */
export const UNKNOWN_METADATA: MemberMetadata = {
  instanceId: null,
  rackId: null,
  clientId: '',
  clientHost: '',
  sessionTimeoutMs: 0,
  rebalanceTimeoutMs: 0,
  subscribedTopics: [],
  subscribedPattern: null,
  serverAssignor: null,
}

export function newMember(memberId: string): Member {
  return {
    memberId,
    metadata: UNKNOWN_METADATA,
    target: NO_PARTITIONS,
    current: NO_ASSIGNMENT,
    isInDoubt: true,
    releasesSeen: -1,
    sessionDeadlineMs: 0,
    sessionTimer: undefined,
    rebalanceTimer: undefined,
    revocations: NO_REVOCATIONS,
    unchanged: undefined,
    connectionId: NO_CONNECTION,
    isHinted: false,
  }
}

/** It reads what it is to read, nothing else, and knows the epoch. */
export function isReconciled(group: Group, member: Member): boolean {
  const { memberEpoch, assigned, revoking } = member.current
  if (memberEpoch !== group.assignmentEpoch || revoking.size > 0) return false
  return assigned === member.target || countPartitions(assigned) === countPartitions(member.target)
}

export function stateNameOf(group: Group): GroupStateName {
  if (group.classic !== undefined) return group.classic.state
  if (group.members.size === 0) return 'Empty'
  if (group.assignmentEpoch < group.groupEpoch) return 'Assigning'
  for (const member of group.members.values()) if (!isReconciled(group, member)) return 'Reconciling'
  return 'Stable'
}

export function checkGroup(group: Group): void {
  assert(group.assignmentEpoch <= group.groupEpoch, `G3: ${group.groupId}: target of an epoch to come`)
  for (const { memberId, current, target } of group.members.values()) {
    assert(current.memberEpoch <= group.assignmentEpoch, `G3: ${group.groupId}: ${memberId} is ahead of its group`)
    assert(isSubset(current.assigned, target), `G4: ${group.groupId}: ${memberId} may read what it is not to have`)
  }
}
