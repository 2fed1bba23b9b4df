/**
 * Offsets that end: by age, once nobody is there to commit them again, and with their topic.
 *
 * Rule   an offset of a group without members expires offsetsRetentionMs after its commit, or after the group became empty if
 *        that is later. A group without members and offsets goes then too
 * Rule   in a group with members, an offset of a topic that none of them subscribes to expires offsetsRetentionMs after its
 *        commit (Kafka's rule); one of a topic that somebody subscribes to never does, however old. Of a classic group whose members do
 *        not tell what they read, none does while it has members; of one whose members come together, none does meanwhile
 * Rule   what an open transaction has pending for a partition keeps its offset: the record that removes it would stand behind the pending
 *        one in the log, and supersede it. So it keeps its group
 * Rule   a partition that drained and is gone takes its offset with it: one that comes later under its number begins at 0
 * Rule   a topic that is only missing takes no offset with it; one that was deleted does (onTopicsChanged says so). Should
 *        that word have been lost in a crash, the offset expires by its age, members or not: nobody can subscribe to it
 * Cost   who subscribes to what is looked up for a group only when one of its offsets is old enough to go
 */
import type { TopicId } from '../model/ids.ts'
import { closeClassic } from './classic-members.ts'
import { forgetClassic } from './classic-records.ts'
import type { GroupChanges } from './group-changes.ts'
import type { GroupContext } from './group-context.ts'
import { type Group, memberCountOf } from './group-state.ts'
import { mayBeSubscribed, subscribedTopicsOfAll } from './target-assignment.ts'

/** Removes what expired of one group, and the group if nothing is left of it. */
export function expireGroup(context: GroupContext, changes: GroupChanges, group: Group): void {
  const wallMs = context.wallClock.nowMs()
  const { groupId } = group
  const { offsetsRetentionMs } = context.config
  const { pending } = context.state
  const isEmpty = memberCountOf(group) === 0
  let subscribed: ReadonlySet<TopicId> | 'unknown' | undefined
  for (const [topicId, offsets] of [...group.offsets])
    for (const [partition, { commitTimestampMs }] of [...offsets]) {
      if (wallMs < Math.max(group.emptySinceMs, commitTimestampMs) + offsetsRetentionMs) continue
      subscribed ??= subscribedTopicsOfAll(context, group)
      if (mayBeSubscribed(subscribed, topicId)) break
      if (pending.has(groupId, topicId, partition)) continue
      changes.emit({ type: 'offset', groupId, topicId, partition, value: null })
    }
  if (!isEmpty || group.offsetCount > 0 || !group.hasRecord || pending.countOf(groupId) > 0) return
  if (wallMs < group.emptySinceMs + offsetsRetentionMs) return
  closeClassic(context, group)
  forgetClassic(changes, group)
  changes.emit({ type: 'group', groupId, value: null })
}

/** The topic has lost its partitions from `from` on, 0 = it was deleted. Of the group there may be no more than what is pending. */
export function forgetTopic(changes: GroupChanges, groupId: string, topicId: TopicId, from: number): void {
  const { groups, pending } = changes.state
  for (const partition of [...(groups.get(groupId)?.offsets.get(topicId)?.keys() ?? [])])
    if (partition >= from) changes.emit({ type: 'offset', groupId, topicId, partition, value: null })
  for (const { topicId: other, partition } of pending.partitionsOf(groupId))
    if (other === topicId && partition >= from)
      changes.emit({ type: 'offset', groupId, topicId, partition, value: null })
}
