/** Checks that requests have in common. They answer a refusal, or undefined when there is nothing to object. */
import { utf8Bytes } from '../base/utf8-write.ts'
import type { TopicId } from '../model/ids.ts'
import { GROUP_ID_BYTES_MAX, GROUP_NAME_BYTES_MAX } from '../model/limits.ts'
import { type PartitionSet, partitionSetOf } from '../model/partition-set.ts'
import type { Group } from './group-state.ts'
import { type GroupRefusal, type NamedTopic, refuse, type TopicPartitions } from './requests.ts'
import type { TopicDirectory, TopicEntry } from './topic-directory.ts'

export function checkGroupId(groupId: string): GroupRefusal | undefined {
  if (groupId === '') return refuse('INVALID_GROUP_ID', 'the group id is empty')
  const bytes = utf8Bytes(groupId)
  if (bytes <= GROUP_ID_BYTES_MAX) return undefined
  return refuse('INVALID_GROUP_ID', `the group id has ${bytes} bytes, the most is ${GROUP_ID_BYTES_MAX}`)
}

/** Ids and names that are stored. */
export function checkNames(names: Readonly<Record<string, string | null>>): GroupRefusal | undefined {
  for (const [what, name] of Object.entries(names)) {
    const bytes = name === null ? 0 : utf8Bytes(name)
    if (bytes > GROUP_NAME_BYTES_MAX)
      return refuse('INVALID_REQUEST', `${what} has ${bytes} bytes, the most is ${GROUP_NAME_BYTES_MAX}`)
  }
  return undefined
}

/** The instance id, where one is given, is held by this member. */
export function checkInstance(
  group: Pick<Group, 'instances'>,
  memberId: string,
  instanceId: string | null,
): GroupRefusal | undefined {
  if (instanceId === null) return undefined
  const holder = group.instances.get(instanceId)
  if (holder === undefined) return refuse('UNKNOWN_MEMBER_ID', `no member has the instance id '${instanceId}'`)
  if (holder === memberId) return undefined
  return refuse('FENCED_INSTANCE_ID', `another member took over the instance id '${instanceId}'`)
}

export function unknownMember(groupId: string, memberId: string): GroupRefusal {
  return refuse('UNKNOWN_MEMBER_ID', `group '${groupId}' has no member '${memberId}': join again with epoch 0`)
}

/** The topic that id and name mean together. */
export function resolveTopic(directory: TopicDirectory, named: NamedTopic): TopicEntry | GroupRefusal {
  const { topicId, topic } = named
  const entry = topicId === '' ? directory.byName(topic) : directory.byId(topicId)
  if (entry === undefined) {
    const what = topicId === '' ? `there is no topic '${topic}'` : `there is no topic of the id ${topicId}`
    return refuse('UNKNOWN_TOPIC_OR_PARTITION', what)
  }
  if (topic === '' || topic === entry.name) return entry
  return refuse('INCONSISTENT_TOPIC_ID', `topic id ${topicId} belongs to '${entry.name}', not to '${topic}'`)
}

/** What a member says it reads. A topic that is gone and is named by name alone cannot be meant any more. */
export function ownedSet(directory: TopicDirectory, owned: readonly TopicPartitions[]): PartitionSet {
  const lists: [TopicId, readonly number[]][] = []
  for (const { topicId, topic, partitions } of owned) {
    const id = topicId === '' ? directory.byName(topic)?.topicId : topicId
    if (id !== undefined) lists.push([id, partitions])
  }
  return partitionSetOf(lists)
}

export function namedPartitions(directory: TopicDirectory, set: PartitionSet): TopicPartitions[] {
  return [...set].map(([topicId, partitions]) => ({
    topicId,
    topic: directory.byId(topicId)?.name ?? '',
    partitions,
  }))
}
