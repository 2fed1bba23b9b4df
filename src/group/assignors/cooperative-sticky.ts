/**
 * cooperative-sticky: even, and with as few moves as that takes.
 *
 * Steps    keep what each member has and may still have -> give what nobody has to the member with the least ->
 *          while, within a topic, one member has at least two more than another, move a partition over
 * Even     members that subscribe alike end within one of each other. With mixed subscriptions a chain of moves over several
 *          topics that would even out more is not looked for
 * Moves    a partition moves only from a member with at least two more: among members that subscribe alike that is the fewest
 *          possible (12 partitions, 3 members, a fourth joins: 3 move)
 * Cost     O((partitions given or moved) x subscribers of the topic): 10,000 x 1,000 is tens of milliseconds
 */
import type { TopicId } from '../../model/ids.ts'
import type { PartitionSet } from '../../model/partition-set.ts'
import type { TopicEntry } from '../topic-directory.ts'
import type { Assignor, AssignorInput, AssignorMember } from './assignor.ts'

/** A member and what it is to have, in the making. */
interface Share {
  readonly member: AssignorMember
  readonly lists: Map<TopicId, number[]>
  count: number
}

export const cooperativeStickyAssignor: Assignor = {
  name: 'cooperative-sticky',
  assign: (input) => {
    const shares = input.members.map((member): Share => ({ member, lists: new Map(), count: 0 }))
    const topics = input.topics.map((topic) => ({
      topic,
      subscribers: shares.filter(({ member }) => member.topics.has(topic.topicId)),
    }))
    const unassigned = topics.map(({ topic, subscribers }) => keep(topic, subscribers))
    topics.forEach(({ topic, subscribers }, index) => {
      for (const partition of unassigned[index]!) give(leastOf(subscribers)!, topic.topicId, partition)
    })
    let moved = true
    while (moved) {
      moved = false
      for (const { topic, subscribers } of topics) if (balance(topic.topicId, subscribers)) moved = true
    }
    return toAssignment(input, shares)
  },
}

/** Leaves with each subscriber what it had of the topic; answers the partitions that nobody had. */
function keep({ topicId, partitionCount }: TopicEntry, subscribers: readonly Share[]): number[] {
  if (subscribers.length === 0) return []
  const isTaken = new Uint8Array(partitionCount)
  for (const share of subscribers) {
    for (const partition of share.member.target.get(topicId) ?? []) {
      if (partition >= partitionCount || isTaken[partition] === 1) continue
      isTaken[partition] = 1
      give(share, topicId, partition)
    }
  }
  const free: number[] = []
  for (let partition = 0; partition < partitionCount; partition++) if (isTaken[partition] === 0) free.push(partition)
  return free
}

/** Moves partitions of one topic from who has most to who has least; false = nothing to move. */
function balance(topicId: TopicId, subscribers: readonly Share[]): boolean {
  let moved = false
  for (;;) {
    const least = leastOf(subscribers)
    let most: Share | undefined
    for (const share of subscribers)
      if ((share.lists.get(topicId)?.length ?? 0) > 0 && (most === undefined || share.count > most.count)) most = share
    if (least === undefined || most === undefined || most.count - least.count < 2) return moved
    const partition = most.lists.get(topicId)!.pop()!
    most.count--
    give(least, topicId, partition)
    moved = true
  }
}

function give(share: Share, topicId: TopicId, partition: number): void {
  const list = share.lists.get(topicId)
  if (list === undefined) share.lists.set(topicId, [partition])
  else list.push(partition)
  share.count++
}

/** The first of those with the least. */
function leastOf(shares: readonly Share[]): Share | undefined {
  let least: Share | undefined
  for (const share of shares) if (least === undefined || share.count < least.count) least = share
  return least
}

function toAssignment({ members }: AssignorInput, shares: readonly Share[]): Map<string, PartitionSet> {
  const assignment = new Map<string, PartitionSet>()
  shares.forEach(({ lists }, index) => {
    const set = new Map<TopicId, readonly number[]>()
    for (const [topicId, partitions] of lists)
      if (partitions.length > 0)
        set.set(
          topicId,
          partitions.sort((left, right) => left - right),
        )
    assignment.set(members[index]!.memberId, set)
  })
  return assignment
}
