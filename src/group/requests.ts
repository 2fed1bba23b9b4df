/**
 * What a coordinator is asked and what it answers: plain types; the worker maps the wire's onto them.
 *
 * Decision  the records are in the state already. The shell appends them as one batch and sends the reply when they are durable;
 *           no records: at once, but never before the replies of earlier decisions that this one may build on (README)
 */
import type { ErrorCode } from '../model/errors.ts'
import type { TopicId } from '../model/ids.ts'
import type { ProducerIdentity } from '../model/producer-identity.ts'
import type { Refusal } from '../model/refusal.ts'
import type { EncodedRecord } from '../record/record-table.ts'
import type { ClassicProtocol } from './classic-state.ts'
import type { GroupKind, GroupStateName } from './group-state.ts'

export { isRefusal, refuse } from '../model/refusal.ts'

export type GroupRefusal = Refusal

export interface Decision<Reply> {
  readonly records: readonly EncodedRecord[]
  /** The records are part of this producer's transaction: a batch of their own, appended in its name. */
  readonly transaction?: ProducerIdentity
  /** What an operator should know; for the log. */
  readonly notices: readonly string[]
  readonly reply: Reply | GroupRefusal
  /** With a decision that is given again and again: what the shell made of it, so that it need not make it anew. */
  readonly kept?: { answer: unknown }
}

/**
 * A decision about a classic group. Without a reply the request waits: its token is in the releases of this decision or of a later one,
 * or the coordinator ends and takeParked() names it.
 */
export interface ClassicDecision<Reply> extends Omit<Decision<Reply>, 'reply' | 'transaction'> {
  readonly reply: Reply | GroupRefusal | undefined
  readonly releases: readonly Release[]
}

/** The answer to a request that waited: to leave when the decision's records, and those before it, are durable. */
export interface Release {
  readonly token: number
  readonly reply: JoinGroupReply | SyncGroupReply | GroupRefusal
}

/** What a deadline led to; of those who asked only classic members that waited are answered. */
export interface DeadlineDecision {
  readonly records: readonly EncodedRecord[]
  readonly groupId: string
  readonly releases: readonly Release[]
  /** Members that were removed, and why. */
  readonly fenced: readonly FencedMember[]
  /** What an operator should know; for the log. */
  readonly notices: readonly string[]
}

export interface FencedMember {
  readonly memberId: string
  readonly reason: 'session' | 'rebalance' | 'join' | 'sync'
}

/** A topic by id, by name (the id is '') or by both. */
export interface NamedTopic {
  readonly topicId: TopicId | ''
  readonly topic: string
}

export interface TopicPartitions extends NamedTopic {
  readonly partitions: readonly number[]
}

export interface PartitionOutcome {
  readonly partition: number
  readonly error: ErrorCode
  readonly text: string
}

export interface TopicOutcomes extends NamedTopic {
  readonly partitions: readonly PartitionOutcome[]
}

/** null and -1: unchanged. memberEpoch: 0 joins, -1 leaves, -2 leaves for a while (static members). */
export interface HeartbeatRequest {
  readonly groupId: string
  readonly memberId: string
  readonly memberEpoch: number
  readonly instanceId: string | null
  readonly rackId: string | null
  readonly rebalanceTimeoutMs: number
  readonly sessionTimeoutMs: number
  readonly subscribedTopics: readonly string[] | null
  /** '' = none. */
  readonly subscribedPattern: string | null
  readonly serverAssignor: string | null
  readonly ownedPartitions: readonly TopicPartitions[] | null
  readonly clientId: string
  readonly clientHost: string
  /** Where the member can be told that it should send a heartbeat. */
  readonly connectionId?: number
}

export interface HeartbeatReply {
  readonly kind: 'heartbeat'
  readonly memberId: string
  readonly memberEpoch: number
  readonly heartbeatIntervalMs: number
  /** null = unchanged. */
  readonly assignment: readonly TopicPartitions[] | null
}

export interface JoinGroupRequest {
  readonly groupId: string
  /** '' = a new member. */
  readonly memberId: string
  readonly instanceId: string | null
  readonly sessionTimeoutMs: number
  /** Negative: the session's. */
  readonly rebalanceTimeoutMs: number
  readonly protocolType: string
  readonly protocols: readonly ClassicProtocol[]
  /** A new member without instance is given an id and must join again with it. */
  readonly requiresKnownMemberId: boolean
  /** It understands that it leads and has nothing to assign. */
  readonly canSkipAssignment: boolean
  readonly clientId: string
  readonly clientHost: string
}

export interface JoinGroupReply {
  readonly kind: 'joined'
  /** MEMBER_ID_REQUIRED, which names the id; else NONE. */
  readonly error: ErrorCode
  readonly text: string
  readonly generationId: number
  readonly protocolType: string | null
  readonly protocolName: string | null
  readonly leaderId: string
  readonly skipAssignment: boolean
  readonly memberId: string
  /** For the leader alone. */
  readonly members: readonly {
    readonly memberId: string
    readonly instanceId: string | null
    readonly metadata: Uint8Array
  }[]
}

export interface SyncGroupRequest {
  readonly groupId: string
  readonly generationId: number
  readonly memberId: string
  readonly instanceId: string | null
  /** null = not said. */
  readonly protocolType: string | null
  readonly protocolName: string | null
  readonly assignments: readonly { readonly memberId: string; readonly assignment: Uint8Array }[]
}

export interface SyncGroupReply {
  readonly kind: 'synced'
  readonly protocolType: string
  readonly protocolName: string | null
  readonly assignment: Uint8Array
}

export interface ClassicHeartbeatRequest {
  readonly groupId: string
  readonly generationId: number
  readonly memberId: string
  readonly instanceId: string | null
}

export interface ClassicHeartbeatReply {
  readonly kind: 'alive'
}

export interface LeaveGroupRequest {
  readonly groupId: string
  /** memberId '': whoever holds the instance. */
  readonly members: readonly { readonly memberId: string; readonly instanceId: string | null }[]
}

export interface LeaveGroupReply {
  readonly kind: 'left'
  readonly members: readonly {
    readonly memberId: string
    readonly instanceId: string | null
    readonly error: ErrorCode
    readonly text: string
  }[]
}

export interface SessionExtendReply {
  readonly kind: 'session-extended'
  readonly unknownMemberIds: readonly string[]
}

export interface CommitPartition {
  readonly partition: number
  readonly offset: number
  readonly leaderEpoch: number
  readonly metadata: string
}

export interface CommitTopic extends NamedTopic {
  readonly partitions: readonly CommitPartition[]
}

export interface OffsetCommitRequest {
  readonly groupId: string
  /** '' with memberEpoch -1 = no member. */
  readonly memberId: string
  readonly memberEpoch: number
  readonly instanceId: string | null
  readonly topics: readonly CommitTopic[]
}

/** Pending until the producer's transaction ends. */
export interface TxnOffsetCommitRequest extends OffsetCommitRequest, ProducerIdentity {}

export interface OffsetCommitReply {
  readonly kind: 'committed'
  readonly topics: readonly TopicOutcomes[]
}

export interface OffsetFetchRequest {
  readonly groupId: string
  readonly memberId: string
  readonly memberEpoch: number
  /** null = all that the group has. */
  readonly topics: readonly TopicPartitions[] | null
  /** Not while offsets of an open transaction are pending: UNSTABLE_OFFSET_COMMIT for those. */
  readonly requireStable: boolean
  /** '' = the first page, null = all at once. */
  readonly cursor?: string | null
}

export interface FetchedOffset extends PartitionOutcome {
  /** -1 = none. */
  readonly offset: number
  readonly leaderEpoch: number
  readonly metadata: string
  readonly commitTimestampMs: number
}

export interface FetchedTopic extends NamedTopic {
  readonly partitions: readonly FetchedOffset[]
}

export interface OffsetFetchReply {
  readonly kind: 'offsets'
  readonly topics: readonly FetchedTopic[]
  /** null: there are no more. */
  readonly nextCursor: string | null
}

export interface OffsetDeleteRequest {
  readonly groupId: string
  readonly topics: readonly TopicPartitions[]
}

export interface OffsetDeleteReply {
  readonly kind: 'offsets-deleted'
  readonly topics: readonly TopicOutcomes[]
}

export interface GroupsDeletedReply {
  readonly kind: 'groups-deleted'
  readonly groups: readonly { readonly groupId: string; readonly error: ErrorCode; readonly text: string }[]
}

/** In any case; empty = all. */
export interface GroupFilter {
  readonly states: readonly string[]
  readonly kinds: readonly string[]
}

export interface ListedGroup {
  readonly groupId: string
  readonly groupKind: GroupKind
  readonly state: GroupStateName
  readonly memberCount: number
  /** 'consumer' where the broker assigns, what its members say in a classic one, '' without either. */
  readonly protocolType: string
}

export interface DescribedMember {
  readonly memberId: string
  readonly instanceId: string | null
  readonly rackId: string | null
  readonly memberEpoch: number
  readonly clientId: string
  readonly clientHost: string
  readonly subscribedTopics: readonly string[]
  readonly subscribedPattern: string | null
  readonly sessionTimeoutMs: number
  readonly rebalanceTimeoutMs: number
  readonly assignment: readonly TopicPartitions[]
  readonly targetAssignment: readonly TopicPartitions[]
}

export interface DescribedGroup {
  readonly groupId: string
  readonly error: ErrorCode
  readonly text: string
  readonly groupKind: GroupKind
  readonly state: GroupStateName
  readonly groupEpoch: number
  readonly assignmentEpoch: number
  readonly assignor: string
  readonly members: readonly DescribedMember[]
}

/** A group as Kafka's DescribeGroups shows it. */
export interface DescribedClassicGroup {
  readonly groupId: string
  readonly error: ErrorCode
  readonly text: string
  readonly state: GroupStateName
  readonly protocolType: string
  /** The chosen protocol, while the group is Stable; else ''. */
  readonly protocolData: string
  readonly members: readonly {
    readonly memberId: string
    readonly instanceId: string | null
    readonly clientId: string
    readonly clientHost: string
    readonly metadata: Uint8Array
    readonly assignment: Uint8Array
  }[]
}

export interface DescribedPage {
  readonly group: DescribedGroup
  /** null: there are no more members. */
  readonly nextCursor: string | null
}

/** A decision that says no. */
export function refusedDecision(reply: GroupRefusal): Decision<never> {
  return { records: [], notices: [], reply }
}
