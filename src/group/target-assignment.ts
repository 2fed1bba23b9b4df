/**
 * Who is to have which partition: subscriptions resolved, the group's assignor asked, the group's epoch moved.
 *
 * Ordering  target records -> group record with the new epochs -> what each member lost is marked as to be given up, at once and
 *           not when the member is next heard of: its rebalance time runs from here, however long its handler blocks
 * Failure   a plug-in that throws or breaks its contract: a notice, and the default assignor does it
 */
import type { TopicId } from '../model/ids.ts'
import { NO_PARTITIONS, setsEqual } from '../model/partition-set.ts'
import {
  type Assignment,
  type Assignor,
  type AssignorInput,
  type AssignorMember,
  checkAssignment,
} from './assignors/assignor.ts'
import { subscribedNow } from './classic-subscriptions.ts'
import type { GroupChanges } from './group-changes.ts'
import type { GroupContext } from './group-context.ts'
import type { Group, Member } from './group-state.ts'
import { markRevocations } from './reconcile.ts'
import type { TopicEntry } from './topic-directory.ts'
import { PatternMatches } from './topic-pattern.ts'

/** Topics that the member subscribes to and that exist. */
export function subscribedTopicsOf(context: GroupContext, group: Group, member: Member): Set<TopicId> {
  const { subscribedTopics, subscribedPattern } = member.metadata
  const topics = new Set<TopicId>()
  for (const name of subscribedTopics) {
    const entry = context.directory.byName(name)
    if (entry !== undefined) topics.add(entry.topicId)
  }
  if (subscribedPattern === null) return topics
  const matches = group.patterns.get(subscribedPattern) ?? compile(context, group, subscribedPattern)
  for (const topicId of matches?.topicsOf(context.directory) ?? []) topics.add(topicId)
  return topics
}

/** Topics that exist and that some member subscribes to; 'unknown' of a classic group whose members do not tell the broker. */
export function subscribedTopicsOfAll(context: GroupContext, group: Group): ReadonlySet<TopicId> | 'unknown' {
  const topics = new Set<TopicId>()
  if (group.classic !== undefined) {
    const subscribed = subscribedNow(group.classic)
    if (subscribed === 'unknown') return 'unknown'
    for (const name of subscribed) {
      const entry = context.directory.byName(name)
      if (entry !== undefined) topics.add(entry.topicId)
    }
  }
  for (const member of group.members.values())
    for (const topicId of subscribedTopicsOf(context, group, member)) topics.add(topicId)
  return topics
}

/** Who may read the topic keeps its offsets. */
export function mayBeSubscribed(subscribed: ReadonlySet<TopicId> | 'unknown', topicId: TopicId): boolean {
  return subscribed === 'unknown' || subscribed.has(topicId)
}

/** A new group epoch with a new target for all members. */
export function bumpEpoch(context: GroupContext, changes: GroupChanges, group: Group, nowMs: number): void {
  const { groupId } = group
  group.isStale = false
  const groupEpoch = group.groupEpoch + 1
  const isEmpty = group.members.size === 0
  const assignor = chooseAssignor(context, group)
  if (!isEmpty) {
    const input = assignorInput(context, group)
    const assignment = assign(context, changes, group, assignor, input)
    for (const member of group.members.values()) {
      const target = assignment.get(member.memberId) ?? NO_PARTITIONS
      if (setsEqual(target, member.target)) continue
      changes.emit({ type: 'target', groupId, memberId: member.memberId, value: { target } })
    }
  }
  changes.emit({
    type: 'group',
    groupId,
    value: {
      kind: 'consumer',
      groupEpoch,
      assignmentEpoch: groupEpoch,
      assignor: assignor.name,
      emptySinceMs: isEmpty ? context.wallClock.nowMs() : -1,
    },
  })
  for (const member of group.members.values()) markRevocations(context, changes, group, member, nowMs)
  dropUnusedPatterns(group)
  context.hints.stir(group, nowMs)
}

/** Topics changed, and the target no longer fits them. */
export function needsNewTarget(context: GroupContext, group: Group): boolean {
  if (!group.isStale) return false
  group.isStale = false
  return group.members.size > 0 && !isTargetCurrent(context, group)
}

/** False when topics came, grew or went since the target was computed. */
export function isTargetCurrent(context: GroupContext, group: Group): boolean {
  const subscribed = new Set<TopicId>()
  let given = 0
  for (const member of group.members.values()) {
    const topics = subscribedTopicsOf(context, group, member)
    for (const topicId of topics) subscribed.add(topicId)
    for (const [topicId, partitions] of member.target) {
      const entry = context.directory.byId(topicId)
      if (entry === undefined || !topics.has(topicId) || partitions.at(-1)! >= entry.partitionCount) return false
      given += partitions.length
    }
  }
  let wanted = 0
  for (const topicId of subscribed) wanted += context.directory.byId(topicId)!.partitionCount
  return given === wanted
}

/** The assignor with most votes, the first by name of several; the default without votes. */
function chooseAssignor(context: GroupContext, group: Group): Assignor {
  const votes = new Map<Assignor, number>()
  for (const { metadata } of group.members.values()) {
    const wished = metadata.serverAssignor === null ? undefined : context.assignors.get(metadata.serverAssignor)
    if (wished !== undefined) votes.set(wished, (votes.get(wished) ?? 0) + 1)
  }
  let chosen: Assignor | undefined
  for (const [assignor, count] of votes) {
    const most = chosen === undefined ? 0 : votes.get(chosen)!
    if (chosen === undefined || count > most || (count === most && assignor.name < chosen.name)) chosen = assignor
  }
  return chosen ?? context.assignors.default
}

function assignorInput(context: GroupContext, group: Group): AssignorInput {
  const topics = new Map<TopicId, TopicEntry>()
  const members = [...group.members.values()].map((member): AssignorMember => {
    const subscribed = subscribedTopicsOf(context, group, member)
    for (const topicId of subscribed) topics.set(topicId, context.directory.byId(topicId)!)
    const { instanceId, rackId } = member.metadata
    return { memberId: member.memberId, instanceId, rackId, topics: subscribed, target: member.target }
  })
  members.sort((left, right) => compareTexts(left.instanceId ?? left.memberId, right.instanceId ?? right.memberId))
  return { members, topics: [...topics.values()].sort((left, right) => compareTexts(left.name, right.name)) }
}

function assign(
  context: GroupContext,
  changes: GroupChanges,
  group: Group,
  assignor: Assignor,
  input: AssignorInput,
): Assignment {
  let fault: string | undefined
  try {
    const assignment = assignor.assign(input)
    fault = checkAssignment(input, assignment)
    if (fault === undefined) return assignment
  } catch (error) {
    fault = String(error)
  }
  const { default: fallback } = context.assignors
  changes.notices.push(
    `group ${group.groupId}: assignor '${assignor.name}' failed (${fault}), '${fallback.name}' took over`,
  )
  return fallback.assign(input)
}

function compile(context: GroupContext, group: Group, pattern: string): PatternMatches | undefined {
  // It compiled when the member sent it; one that does not any more, after a change of library, matches nothing.
  const compiled = context.compilePattern(pattern)
  if ('fault' in compiled) return undefined
  const matches = new PatternMatches(compiled)
  group.patterns.set(pattern, matches)
  return matches
}

function dropUnusedPatterns(group: Group): void {
  if (group.patterns.size === 0) return
  const used = new Set([...group.members.values()].map((member) => member.metadata.subscribedPattern))
  for (const pattern of group.patterns.keys()) if (!used.has(pattern)) group.patterns.delete(pattern)
}

function compareTexts(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0
}
