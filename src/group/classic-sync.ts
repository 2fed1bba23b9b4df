/**
 * SyncGroup: the leader hands in the assignments, and every member asks for its own.
 *
 * | group               | what follows                                                                                   |
 * | ------------------- | ---------------------------------------------------------------------------------------------- |
 * | PreparingRebalance  | REBALANCE_IN_PROGRESS: join again                                                              |
 * | CompletingRebalance | it waits; the leader's stores the generation and answers all that wait: Stable                 |
 * | Stable              | its assignment                                                                                 |
 *
 * Durable   the whole generation, by the leader's sync; nobody has an assignment that is not
 * Failure   UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION, INCONSISTENT_GROUP_PROTOCOL, REBALANCE_IN_PROGRESS,
 *           COORDINATOR_NOT_AVAILABLE (COORDINATOR_PARKED_MAX wait); UNKNOWN_SERVER_ERROR for all where the assignments do not fit a
 *           batch, and a rebalance, as in Kafka
 */
import { answerSync, checkParked, findMember, parkSync, unknownClassicMember } from './classic-members.ts'
import { failSyncs, prepareRebalance } from './classic-rebalance.ts'
import { fitsBatch, storeClassic } from './classic-records.ts'
import { type ClassicGroup, type ClassicMember, NO_BYTES, NO_TOKEN, setPendingSync } from './classic-state.ts'
import { GroupChanges, NO_RECORDS } from './group-changes.ts'
import type { GroupContext } from './group-context.ts'
import type { Group } from './group-state.ts'
import { checkGroupId } from './request-checks.ts'
import {
  type ClassicDecision,
  type GroupRefusal,
  isRefusal,
  refuse,
  type SyncGroupReply,
  type SyncGroupRequest,
} from './requests.ts'

export type SyncDecision = ClassicDecision<SyncGroupReply>

export function decideSyncGroup(
  context: GroupContext,
  request: SyncGroupRequest,
  token: number,
  nowMs: number,
): SyncDecision {
  const { groupId, memberId } = request
  const group = context.state.groups.get(groupId)
  const fault = checkGroupId(groupId)
  if (fault !== undefined) return replied(fault)
  const { classic } = group ?? {}
  if (group === undefined || classic === undefined) return replied(unknownClassicMember(groupId, memberId))
  const member = findMember(group, request)
  if (isRefusal(member)) return replied(member)
  const objection = checkGeneration(groupId, classic, request.generationId) ?? checkChoice(classic, request)
  if (objection !== undefined) return replied(objection)
  if (classic.state === 'PreparingRebalance')
    return replied(refuse('REBALANCE_IN_PROGRESS', `group '${groupId}' rebalances: join again`))
  if (classic.state === 'CompletingRebalance') return park(context, group, member, { request, token, nowMs })
  context.classicTimers.touchSession(group, member, nowMs)
  synced(context, group, member)
  return replied(replyOf(classic, member))
}

/** Of a request that names a generation. */
export function checkGeneration(
  groupId: string,
  classic: ClassicGroup,
  generationId: number,
): GroupRefusal | undefined {
  if (generationId === classic.generationId) return undefined
  const text = `generation ${generationId} of group '${groupId}', which is at ${classic.generationId}: join again`
  return refuse('ILLEGAL_GENERATION', text)
}

function checkChoice(
  classic: ClassicGroup,
  { protocolType, protocolName }: SyncGroupRequest,
): GroupRefusal | undefined {
  const isTypeSame = protocolType === null || protocolType === classic.protocolType
  if (isTypeSame && (protocolName === null || protocolName === classic.protocolName)) return undefined
  const [said, is] = isTypeSame ? [protocolName, classic.protocolName] : [protocolType, classic.protocolType]
  return refuse('INCONSISTENT_GROUP_PROTOCOL', `the group chose '${is}', not '${said}'`)
}

/** The member has asked for its assignment; the wait for those who have not ends with the last. */
function synced(context: GroupContext, group: Group, member: ClassicMember): void {
  const classic = group.classic!
  setPendingSync(classic, member, false)
  if (classic.awaitedSyncs === 0 && classic.phase?.kind === 'sync') context.classicTimers.stopPhase(group)
}

interface Sync {
  readonly request: SyncGroupRequest
  readonly token: number
  readonly nowMs: number
}

function park(context: GroupContext, group: Group, member: ClassicMember, sync: Sync): SyncDecision {
  const classic = group.classic!
  const isLeader = classic.leaderId === member.memberId
  const full = isLeader || member.syncToken !== NO_TOKEN ? undefined : checkParked(context)
  if (full !== undefined) return replied(full)
  const changes = new GroupChanges(context.state)
  parkSync(context, changes, member, sync.token)
  synced(context, group, member)
  if (isLeader) assign(context, changes, group, sync)
  const { records, notices, releases } = changes
  return { records, notices, releases, reply: undefined }
}

/** The leader's word: the generation is stored, and everyone has what it is given. Members that the leader does not know do not count. */
function assign(context: GroupContext, changes: GroupChanges, group: Group, { request, nowMs }: Sync): void {
  const classic = group.classic!
  const assignments = new Map(request.assignments.map(({ memberId, assignment }) => [memberId, assignment]))
  const bytesFor = ({ memberId }: ClassicMember): number => assignments.get(memberId)?.length ?? 0
  if (!fitsBatch(context, group, bytesFor)) {
    const text = `the assignments of generation ${classic.generationId} do not fit a batch of ${context.batchBytesMax()} bytes`
    changes.notices.push(`group '${group.groupId}': ${text}: it needs fewer members or partitions`)
    failSyncs(context, changes, group, refuse('UNKNOWN_SERVER_ERROR', text), nowMs)
    prepareRebalance(context, changes, group, nowMs)
    return
  }
  for (const member of classic.members.values()) member.assignment = assignments.get(member.memberId) ?? NO_BYTES
  classic.state = 'Stable'
  storeClassic(context, changes, group)
  for (const member of classic.members.values())
    if (answerSync(context, changes, member, replyOf(classic, member)))
      context.classicTimers.touchSession(group, member, nowMs)
}

function replyOf({ protocolType, protocolName }: ClassicGroup, { assignment }: ClassicMember): SyncGroupReply {
  return { kind: 'synced', protocolType, protocolName, assignment }
}

function replied(reply: SyncGroupReply | GroupRefusal): SyncDecision {
  return { records: NO_RECORDS, notices: NO_RECORDS, releases: NO_RECORDS, reply }
}
