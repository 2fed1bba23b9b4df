/**
 * GroupCoordinator: the consumer groups of one partition of the offsets topic.
 *
 * Owns        GroupState and its timers
 * Thread      the shard that owns the partition; sans-IO: it is given requests and the monotonic time, it answers what to append
 *             and to reply
 * Life        new -> replay() of the whole partition -> onLoaded() -> decisions. The directory is filled before onLoaded()
 * Ordering    decide (the state has changed) -> append the records as one batch -> durable -> reply. Decisions that follow
 *             build on the changed state, so replies leave in the order of the decisions. A join or sync of a classic group may have none:
 *             its token is in the releases of a later decision, or in parkedTokens() when this object is dropped
 * Failure     an append that fails: the state is ahead of the log. The shell drops this object, answers all that wait with
 *             NOT_COORDINATOR or COORDINATOR_NOT_AVAILABLE, and starts a new one by replay
 * Limits      COORDINATOR_GROUPS_MAX, COORDINATOR_MEMBERS_MAX, COORDINATOR_PENDING_OFFSETS_MAX, COORDINATOR_PARKED_MAX; one group per onDeadline() call, SWEEP_GROUPS_MAX in a sweep
 * Not here    authorisation, keeping requests that wait, appending (the shell); whether a producer may write in a transaction (its partition)
 */
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import type { TopicId } from '../model/ids.ts'
import { BATCH_BYTES_MAX } from '../model/limits.ts'
import { applyMarker, applyPending, applyRecord, finishReplay } from './apply-record.ts'
import { type Assignor, AssignorTable } from './assignors/assignor.ts'
import { cooperativeStickyAssignor } from './assignors/cooperative-sticky.ts'
import { rangeAssignor } from './assignors/range.ts'
import { roundRobinAssignor } from './assignors/round-robin.ts'
import { decideJoinGroup } from './classic-join.ts'
import { decideClassicHeartbeat, decideClassicTimeout, decideLeaveGroup } from './classic-membership.ts'
import { describeClassicGroups } from './classic-queries.ts'
import { loadClassic } from './classic-records.ts'
import { NO_TOKEN } from './classic-state.ts'
import { decideSyncGroup } from './classic-sync.ts'
import { ClassicTimers } from './classic-timers.ts'
import { GroupChanges } from './group-changes.ts'
import { DEFAULT_GROUP_CONFIG, type GroupConfig } from './group-config.ts'
import type { GroupContext } from './group-context.ts'
import { GroupHints, type Hint } from './group-hints.ts'
import { decideDeleteGroups, describeGroupPage, describeGroups, listGroups, listGroupsPage } from './group-queries.ts'
import { decodeRecord, isPendingRecord } from './group-records.ts'
import { type Group, type GroupState, type Member, type MemberTimer, newGroupState } from './group-state.ts'
import { expiryOf, GroupTimers } from './group-timers.ts'
import { decideHeartbeat } from './heartbeat.ts'
import { removeMember } from './membership.ts'
import { expireGroup, forgetTopic } from './offset-expiry.ts'
import { decideOffsetCommit, decideOffsetDelete, decideOffsetFetch, decideTxnOffsetCommit } from './offset-store.ts'
import type { Page } from './pages.ts'
import type {
  ClassicDecision,
  ClassicHeartbeatReply,
  ClassicHeartbeatRequest,
  DeadlineDecision,
  Decision,
  DescribedClassicGroup,
  DescribedGroup,
  DescribedPage,
  FencedMember,
  GroupFilter,
  GroupsDeletedReply,
  HeartbeatReply,
  HeartbeatRequest,
  JoinGroupReply,
  JoinGroupRequest,
  LeaveGroupReply,
  LeaveGroupRequest,
  ListedGroup,
  OffsetCommitReply,
  OffsetCommitRequest,
  OffsetDeleteReply,
  OffsetDeleteRequest,
  OffsetFetchReply,
  OffsetFetchRequest,
  SessionExtendReply,
  SyncGroupReply,
  SyncGroupRequest,
  TxnOffsetCommitRequest,
} from './requests.ts'
import { bumpEpoch, needsNewTarget } from './target-assignment.ts'
import type { TopicDirectory } from './topic-directory.ts'
import type { CompilePattern } from './topic-pattern.ts'

/** Groups that one onDeadline() call looks at for expired offsets. */
const SWEEP_GROUPS_MAX = 100
/** Members that one decision removes: what it writes must fit a batch, whatever the ids and however large the group. */
const FENCED_AT_ONCE_MAX = 1_000

export const BUILT_IN_ASSIGNORS: readonly [Assignor, ...Assignor[]] = [
  cooperativeStickyAssignor,
  rangeAssignor,
  roundRobinAssignor,
]

export interface GroupCoordinatorOptions {
  /** Shared by the coordinators of a shard. */
  readonly directory: TopicDirectory
  /** For what is stored; timers are given the monotonic time with each call. */
  readonly wallClock: Pick<Clock, 'nowMs'>
  /** An id that nobody has and nobody can guess: a UUID. */
  readonly newMemberId: () => string
  readonly compilePattern: CompilePattern
  readonly config?: Partial<GroupConfig>
  /** What a decision must fit; BATCH_BYTES_MAX unless it is said. Asked each time: it is the partition's, and may be altered. */
  readonly batchBytesMax?: () => number
  /** What a reply must fit; no limit unless it is said. */
  readonly replyBytesMax?: number
  /** Besides the built-in ones. */
  readonly assignors?: readonly Assignor[]
}

export type ReplayOutcome =
  | { readonly kind: 'applied' }
  /** Of a later version's kind: stepped over. */
  | { readonly kind: 'unknown'; readonly number: number }
  /** The coordinator must not serve. */
  | { readonly kind: 'unreadable'; readonly reason: string }

const APPLIED: ReplayOutcome = { kind: 'applied' }

/** What happened to topics; the directory has it already. */
export interface TopicChanges {
  /** Made, or given more partitions, or fewer: committed offsets of partitions that it has no more go. */
  readonly changed: readonly TopicId[]
  /** Deleted, and not merely missing: their committed offsets go. */
  readonly deleted: readonly TopicId[]
}

export class GroupCoordinator {
  readonly #context: GroupContext
  readonly #stale = new Set<string>()
  /** Topics of which offsets go: of partitions from `from` on, all where the topic is deleted; and the groups that have some. */
  readonly #lost = new Map<TopicId, { readonly from: number; readonly groupIds: string[] }>()
  #sweep: Iterator<Group> | undefined
  #nextSweepMs = Number.POSITIVE_INFINITY

  constructor(options: GroupCoordinatorOptions) {
    const { directory, wallClock, newMemberId, compilePattern } = options
    this.#context = {
      state: newGroupState(),
      directory,
      assignors: new AssignorTable([...BUILT_IN_ASSIGNORS, ...(options.assignors ?? [])]),
      config: { ...DEFAULT_GROUP_CONFIG, ...options.config },
      timers: new GroupTimers(),
      hints: new GroupHints(),
      classicTimers: new ClassicTimers(),
      classicCounts: { members: 0, pending: 0, parked: 0, bytes: 0 },
      wallClock,
      newMemberId,
      compilePattern,
      batchBytesMax: options.batchBytesMax ?? (() => BATCH_BYTES_MAX),
      replyBytesMax: options.replyBytesMax ?? Number.POSITIVE_INFINITY,
    }
  }

  /** Plain data, for metrics and tests; nobody but the coordinator changes it. */
  get state(): GroupState {
    return this.#context.state
  }

  get isLoaded(): boolean {
    return this.#context.state.isLive
  }

  /** One record of the partition, in the log's order; `producerId` of a transactional batch, -1 of others. */
  replay(key: Uint8Array, value: Uint8Array | null, producerId = -1): ReplayOutcome {
    assert(!this.isLoaded, 'a coordinator that serves replays nothing')
    const decoded = decodeRecord(key, value)
    if (decoded.kind !== 'record') return decoded
    const { record } = decoded
    if (producerId < 0) applyRecord(this.#context.state, record)
    else if (isPendingRecord(record)) applyPending(this.#context.state, record, producerId)
    else return { kind: 'unreadable', reason: `a ${record.type} record in a transaction` }
    return APPLIED
  }

  /** The producer's transaction ends in this partition: as its marker is replayed, and as it is appended. */
  onMarker(producerId: number, isCommit: boolean): void {
    applyMarker(this.#context.state, producerId, isCommit)
  }

  /** The whole partition was replayed: sessions begin anew, and targets are compared with the topics of today. */
  onLoaded(nowMs: number): void {
    const { state, timers, config } = this.#context
    finishReplay(state)
    for (const group of state.groups.values()) {
      if (group.members.size > 0) this.#markStale(group)
      for (const member of group.members.values()) {
        timers.touchSession(group, member, nowMs)
        if (member.current.revoking.size > 0) timers.startRebalance(group, member, nowMs)
      }
      if (group.kind === 'classic') loadClassic(this.#context, group, nowMs)
    }
    this.#nextSweepMs = nowMs + config.offsetsSweepMs
  }

  heartbeat(request: HeartbeatRequest, nowMs: number): Decision<HeartbeatReply> {
    this.#checkLoaded()
    return decideHeartbeat(this.#context, request, nowMs)
  }

  /** Members are alive, from a thread beside their consumer's: moves their sessions and nothing else. */
  extendSessions(groupId: string, memberIds: readonly string[], nowMs: number): SessionExtendReply {
    this.#checkLoaded()
    const group = this.#context.state.groups.get(groupId)
    const unknownMemberIds: string[] = []
    for (const memberId of memberIds) {
      const member = group?.members.get(memberId)
      if (group === undefined || member === undefined) unknownMemberIds.push(memberId)
      else this.#context.timers.touchSession(group, member, nowMs)
    }
    return { kind: 'session-extended', unknownMemberIds }
  }

  /** `token` names the request, should it wait: ClassicDecision. Not 0. */
  joinGroup(request: JoinGroupRequest, token: number, nowMs: number): ClassicDecision<JoinGroupReply> {
    this.#checkLoaded()
    return decideJoinGroup(this.#context, request, token, nowMs)
  }

  /** As joinGroup(). */
  syncGroup(request: SyncGroupRequest, token: number, nowMs: number): ClassicDecision<SyncGroupReply> {
    this.#checkLoaded()
    return decideSyncGroup(this.#context, request, token, nowMs)
  }

  classicHeartbeat(request: ClassicHeartbeatRequest, nowMs: number): Decision<ClassicHeartbeatReply> {
    this.#checkLoaded()
    return decideClassicHeartbeat(this.#context, request, nowMs)
  }

  leaveGroup(request: LeaveGroupRequest, nowMs: number): ClassicDecision<LeaveGroupReply> {
    this.#checkLoaded()
    return decideLeaveGroup(this.#context, request, nowMs)
  }

  describeClassicGroups(groupIds: readonly string[]): DescribedClassicGroup[] {
    this.#checkLoaded()
    return describeClassicGroups(this.#context, groupIds)
  }

  /** Tokens of the requests that wait: this coordinator ends, and answers none of them. */
  parkedTokens(): number[] {
    const tokens: number[] = []
    for (const { classic } of this.#context.state.groups.values())
      for (const { joinToken, syncToken } of classic?.members.values() ?? [])
        for (const token of [joinToken, syncToken]) if (token !== NO_TOKEN) tokens.push(token)
    return tokens
  }

  commitOffsets(request: OffsetCommitRequest, nowMs: number): Decision<OffsetCommitReply> {
    this.#checkLoaded()
    return decideOffsetCommit(this.#context, request, nowMs)
  }

  /** The records are a batch of the producer's transaction; its marker brings onMarker(). */
  commitTxnOffsets(request: TxnOffsetCommitRequest, nowMs: number): Decision<OffsetCommitReply> {
    this.#checkLoaded()
    return decideTxnOffsetCommit(this.#context, request, nowMs)
  }

  fetchOffsets(request: OffsetFetchRequest): Decision<OffsetFetchReply> {
    this.#checkLoaded()
    return decideOffsetFetch(this.#context, request)
  }

  deleteOffsets(request: OffsetDeleteRequest): Decision<OffsetDeleteReply> {
    this.#checkLoaded()
    return decideOffsetDelete(this.#context, request)
  }

  deleteGroups(groupIds: readonly string[]): Decision<GroupsDeletedReply> {
    this.#checkLoaded()
    return decideDeleteGroups(this.#context, groupIds)
  }

  listGroups(filter: GroupFilter): ListedGroup[] {
    this.#checkLoaded()
    return listGroups(this.#context, filter)
  }

  listGroupsPage(filter: GroupFilter, cursor: string): Page<ListedGroup> {
    this.#checkLoaded()
    return listGroupsPage(this.#context, filter, cursor)
  }

  describeGroups(groupIds: readonly string[]): DescribedGroup[] {
    this.#checkLoaded()
    return describeGroups(this.#context, groupIds)
  }

  describeGroupPage(groupId: string, cursor: string): DescribedPage {
    this.#checkLoaded()
    return describeGroupPage(this.#context, groupId, cursor)
  }

  /** The directory has changed. What follows from it comes by onDeadline(), a group at a time. */
  onTopicsChanged({ changed, deleted }: TopicChanges): void {
    const { directory, state } = this.#context
    for (const group of state.groups.values())
      if (group.members.size > 0 && changed.length + deleted.length > 0) this.#markStale(group)
    for (const topicId of deleted) this.#lose(topicId, 0)
    for (const topicId of changed)
      this.#lose(topicId, directory.byId(topicId)?.partitionCount ?? Number.POSITIVE_INFINITY)
  }

  #lose(topicId: TopicId, from: number): void {
    const { groups, pending } = this.#context.state
    const before = this.#lost.get(topicId)
    const groupIds = pending.groupsWith(topicId, from)
    for (const { groupId, offsets } of groups.values())
      for (const partition of offsets.get(topicId)?.keys() ?? []) if (partition >= from) groupIds.add(groupId)
    for (const groupId of before?.groupIds ?? []) groupIds.add(groupId)
    if (groupIds.size === 0) return
    this.#lost.set(topicId, { from: Math.min(from, before?.from ?? from), groupIds: [...groupIds] })
  }

  /** Monotonic time at which onDeadline() wants to be called; -Infinity = now, Infinity = never. */
  get nextDeadlineMs(): number {
    if (!this.isLoaded) return Number.POSITIVE_INFINITY
    if (this.#stale.size > 0 || this.#lost.size > 0 || this.#sweep !== undefined) return Number.NEGATIVE_INFINITY
    const { timers, classicTimers } = this.#context
    return Math.min(timers.nextDeadlineMs, classicTimers.nextDeadlineMs, this.#nextSweepMs)
  }

  /** Monotonic time at which takeHints() has something; Infinity = never. */
  get nextHintsMs(): number {
    return this.#context.hints.nextDeadlineMs
  }

  /** Members of one group that should send a heartbeat; undefined when nothing is due. Nothing is lost when nobody asks. */
  takeHints(nowMs: number): Hint[] | undefined {
    return this.#context.hints.take(nowMs)
  }

  /**
   * Does one piece of what is due and answers what to append; undefined when nothing came of it. To be called again while
   * nextDeadlineMs is not in the future, a few times a turn.
   */
  onDeadline(nowMs: number): DeadlineDecision | undefined {
    if (!this.isLoaded) return undefined
    const timer = this.#context.timers.takeExpired(nowMs)
    if (timer !== undefined) return this.#fence(timer, nowMs)
    const classicTimer = this.#context.classicTimers.takeExpired(nowMs)
    if (classicTimer !== undefined) return decideClassicTimeout(this.#context, classicTimer, nowMs)
    const [staleId] = this.#stale
    if (staleId !== undefined) return this.#refresh(staleId, nowMs)
    if (this.#lost.size > 0) return this.#forgetLost()
    if (this.#nextSweepMs <= nowMs) {
      this.#nextSweepMs = nowMs + this.#context.config.offsetsSweepMs
      this.#sweep = this.#context.state.groups.values()
    }
    return this.#sweep === undefined ? undefined : this.#sweepSome(this.#sweep)
  }

  /** All members of the group whose time is over, at once: one epoch, one target. More than FENCED_AT_ONCE_MAX have their own timers. */
  #fence(timer: MemberTimer, nowMs: number): DeadlineDecision {
    const { group } = timer
    const changes = new GroupChanges(this.#context.state)
    const fenced: FencedMember[] = []
    const fence = (member: Member, reason: FencedMember['reason']): void => {
      fenced.push({ memberId: member.memberId, reason })
      removeMember(this.#context, changes, group, member)
    }
    fence(timer.member, timer.kind)
    for (const member of [...group.members.values()]) {
      if (fenced.length === FENCED_AT_ONCE_MAX) break
      const reason = expiryOf(member, nowMs)
      if (reason !== undefined) fence(member, reason)
    }
    bumpEpoch(this.#context, changes, group, nowMs)
    return decisionOf(changes, group.groupId, fenced)
  }

  #refresh(groupId: string, nowMs: number): DeadlineDecision | undefined {
    this.#stale.delete(groupId)
    const group = this.#context.state.groups.get(groupId)
    if (group === undefined || !needsNewTarget(this.#context, group)) return undefined
    const changes = new GroupChanges(this.#context.state)
    bumpEpoch(this.#context, changes, group, nowMs)
    return decisionOf(changes, groupId, [])
  }

  #forgetLost(): DeadlineDecision | undefined {
    const first = this.#lost.entries().next()
    if (first.done === true) return undefined
    const [topicId, { from, groupIds }] = first.value
    const groupId = groupIds.pop()
    if (groupIds.length === 0) this.#lost.delete(topicId)
    if (groupId === undefined) return undefined
    const changes = new GroupChanges(this.#context.state)
    forgetTopic(changes, groupId, topicId, from)
    return changes.records.length === 0 ? undefined : decisionOf(changes, groupId, [])
  }

  /** Up to the first group with something to remove. */
  #sweepSome(sweep: Iterator<Group>): DeadlineDecision | undefined {
    for (let looked = 0; looked < SWEEP_GROUPS_MAX; looked++) {
      const next = sweep.next()
      if (next.done === true) {
        this.#sweep = undefined
        return undefined
      }
      const changes = new GroupChanges(this.#context.state)
      expireGroup(this.#context, changes, next.value)
      if (changes.records.length > 0) return decisionOf(changes, next.value.groupId, [])
    }
    return undefined
  }

  #markStale(group: Group): void {
    group.isStale = true
    this.#stale.add(group.groupId)
  }

  #checkLoaded(): void {
    assert(this.isLoaded, 'the coordinator is asked before its partition was replayed')
  }
}

function decisionOf(changes: GroupChanges, groupId: string, fenced: readonly FencedMember[]): DeadlineDecision {
  return { records: changes.records, groupId, releases: changes.releases, fenced, notices: changes.notices }
}
