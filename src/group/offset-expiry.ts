/**
 * Offsets that end: by age, once nobody is there to commit them again, and with their topic.
 *
 * Rule   an offset of a group without members expires offsetsRetentionMs after its commit, or after the group became empty if
 *        that is later. A group without members and offsets goes then too
 * Rule   a topic that is only missing takes no offset with it; one that was deleted does (onTopicsChanged says so). Should
 *        that word have been lost in a crash, the offset expires by its age, members or not
 */
import type { TopicId } from '../model/ids.ts'
import type { GroupChanges } from './group-changes.ts'
import type { GroupContext } from './group-context.ts'
import type { Group } from './group-state.ts'

/** Removes what expired of one group, and the group if nothing is left of it. */
export function expireGroup(context: GroupContext, changes: GroupChanges, group: Group): void {
  const wallMs = context.wallClock.nowMs()
  const { groupId } = group
  const { offsetsRetentionMs } = context.config
  const isEmpty = group.members.size === 0
  for (const [topicId, offsets] of [...group.offsets]) {
    if (!isEmpty && context.directory.byId(topicId) !== undefined) continue
    for (const [partition, { commitTimestampMs }] of [...offsets]) {
      if (wallMs < Math.max(group.emptySinceMs, commitTimestampMs) + offsetsRetentionMs) continue
      changes.emit({ type: 'offset', groupId, topicId, partition, value: null })
    }
  }
  if (!isEmpty || group.offsetCount > 0 || !group.hasRecord) return
  if (wallMs >= group.emptySinceMs + offsetsRetentionMs) changes.emit({ type: 'group', groupId, value: null })
}

/** The topic was deleted. */
export function forgetTopic(changes: GroupChanges, group: Group, topicId: TopicId): void {
  for (const partition of [...(group.offsets.get(topicId)?.keys() ?? [])])
    changes.emit({ type: 'offset', groupId: group.groupId, topicId, partition, value: null })
  for (const pending of changes.state.pending.partitionsOf(group.groupId))
    if (pending.topicId === topicId)
      changes.emit({ type: 'offset', groupId: group.groupId, topicId, partition: pending.partition, value: null })
}
