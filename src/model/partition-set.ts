/**
 * PartitionSet: which partitions of which topics, as an immutable value: sorted lists by topic id, never an empty list.
 * Operations make new sets and share the lists that did not change.
 */
import type { TopicId } from './ids.ts'

export type PartitionSet = ReadonlyMap<TopicId, readonly number[]>

export const NO_PARTITIONS: PartitionSet = new Map()

/** The set of the lists given, in any order and with repetitions. */
export function partitionSetOf(lists: Iterable<readonly [TopicId, readonly number[]]>): PartitionSet {
  const merged = new Map<TopicId, number[]>()
  for (const [topicId, partitions] of lists) {
    if (partitions.length === 0) continue
    const known = merged.get(topicId)
    if (known === undefined) merged.set(topicId, [...partitions])
    else known.push(...partitions)
  }
  for (const [topicId, partitions] of merged) {
    if (isAscending(partitions)) continue
    partitions.sort((left, right) => left - right)
    merged.set(
      topicId,
      partitions.filter((partition, index) => partition !== partitions[index - 1]),
    )
  }
  return merged
}

export function countPartitions(set: PartitionSet): number {
  let count = 0
  for (const partitions of set.values()) count += partitions.length
  return count
}

export function hasPartition(set: PartitionSet, topicId: TopicId, partition: number): boolean {
  return set.get(topicId)?.includes(partition) ?? false
}

/** The partitions of `set` that `keep` says yes to. */
export function filterPartitions(
  set: PartitionSet,
  keep: (topicId: TopicId, partition: number) => boolean,
): PartitionSet {
  const kept = new Map<TopicId, readonly number[]>()
  for (const [topicId, partitions] of set) {
    const some = partitions.filter((partition) => keep(topicId, partition))
    if (some.length > 0) kept.set(topicId, some.length === partitions.length ? partitions : some)
  }
  return kept
}

/** In both. */
export function intersectSets(left: PartitionSet, right: PartitionSet): PartitionSet {
  return filterPartitions(left, memberOf(right))
}

/** In `left` and not in `right`. */
export function subtractSets(left: PartitionSet, right: PartitionSet): PartitionSet {
  const inRight = memberOf(right)
  return filterPartitions(left, (topicId, partition) => !inRight(topicId, partition))
}

/** In either. */
export function uniteSets(left: PartitionSet, right: PartitionSet): PartitionSet {
  if (right.size === 0) return left
  return left.size === 0 ? right : partitionSetOf([...left, ...right])
}

export function isSubset(inner: PartitionSet, outer: PartitionSet): boolean {
  const inOuter = memberOf(outer)
  for (const [topicId, partitions] of inner)
    for (const partition of partitions) if (!inOuter(topicId, partition)) return false
  return true
}

export function setsEqual(left: PartitionSet, right: PartitionSet): boolean {
  if (left === right) return true
  if (left.size !== right.size) return false
  for (const [topicId, partitions] of left) {
    const others = right.get(topicId)
    if (others === undefined || others.length !== partitions.length) return false
    for (let index = 0; index < partitions.length; index++) if (partitions[index] !== others[index]) return false
  }
  return true
}

/** Answers whether a partition is in `set`; quick where the same topic is asked for again and again. */
function memberOf(set: PartitionSet): (topicId: TopicId, partition: number) => boolean {
  let topic: TopicId | undefined
  let partitions: ReadonlySet<number> | undefined
  return (topicId, partition) => {
    if (topicId !== topic) {
      topic = topicId
      const list = set.get(topicId)
      partitions = list === undefined ? undefined : new Set(list)
    }
    return partitions?.has(partition) ?? false
  }
}

function isAscending(numbers: readonly number[]): boolean {
  for (let index = 1; index < numbers.length; index++) if (numbers[index]! <= numbers[index - 1]!) return false
  return true
}
