/**
 * Assignor: the port of those who say which member is to have which partition. Pure and deterministic: the same input, the
 * same answer, on every broker.
 *
 * Contract  a partition goes to at most one member, and only to one that subscribes to its topic; every partition with a
 *           subscriber should have a member. checkAssignment() looks at what a plug-in answers
 */
import { nearest } from '../../base/nearest.ts'
import type { TopicId } from '../../model/ids.ts'
import type { PartitionSet } from '../../model/partition-set.ts'
import type { TopicEntry } from '../topic-directory.ts'

export interface AssignorMember {
  readonly memberId: string
  readonly instanceId: string | null
  readonly rackId: string | null
  /** Topics that it subscribes to and that exist. */
  readonly topics: ReadonlySet<TopicId>
  /** What it was to have until now; may name topics that are gone. */
  readonly target: PartitionSet
}

export interface AssignorInput {
  /** Sorted by instance id, or member id where there is none: a static member keeps its place through restarts. */
  readonly members: readonly AssignorMember[]
  /** Every topic with a subscriber, sorted by name. */
  readonly topics: readonly TopicEntry[]
}

/** Member id -> what it is to have; a member that is missing has nothing. */
export type Assignment = ReadonlyMap<string, PartitionSet>

export interface Assignor {
  readonly name: string
  assign(input: AssignorInput): Assignment
}

/** The assignors of a broker by name; the first is the default. */
export class AssignorTable {
  readonly #byName: ReadonlyMap<string, Assignor>
  readonly default: Assignor

  constructor(assignors: readonly [Assignor, ...Assignor[]]) {
    this.#byName = new Map(assignors.map((assignor) => [assignor.name, assignor]))
    this.default = assignors[0]
  }

  get(name: string): Assignor | undefined {
    return this.#byName.get(name)
  }

  /** Names for an error's text, the one that was probably meant first. */
  hint(name: string): string {
    const names = [...this.#byName.keys()]
    const meant = nearest(name, names)
    return `${meant === undefined ? '' : `did you mean '${meant}'? `}there are ${names.join(', ')}`
  }
}

/** What is wrong with an assignment, or undefined. */
export function checkAssignment(input: AssignorInput, assignment: Assignment): string | undefined {
  const counts = new Map(input.topics.map((topic) => [topic.topicId, topic.partitionCount]))
  const members = new Map(input.members.map((member) => [member.memberId, member]))
  const taken = new Map<TopicId, Set<number>>()
  for (const [memberId, set] of assignment) {
    const member = members.get(memberId)
    if (member === undefined) return `it names '${memberId}', which is no member`
    for (const [topicId, partitions] of set) {
      if (!member.topics.has(topicId)) return `member ${memberId} does not subscribe to topic ${topicId}`
      let others = taken.get(topicId)
      if (others === undefined) taken.set(topicId, (others = new Set()))
      for (const partition of partitions) {
        if (!(partition < (counts.get(topicId) ?? 0))) return `topic ${topicId} has no partition ${partition}`
        if (others.has(partition)) return `partition ${partition} of topic ${topicId} is given twice`
        others.add(partition)
      }
    }
  }
  return undefined
}

/** Lists in the making, by member and topic. */
export class AssignmentBuilder {
  readonly #lists = new Map<string, Map<TopicId, number[]>>()

  add(memberId: string, topicId: TopicId, partition: number): void {
    let topics = this.#lists.get(memberId)
    if (topics === undefined) this.#lists.set(memberId, (topics = new Map()))
    const list = topics.get(topicId)
    if (list === undefined) topics.set(topicId, [partition])
    else list.push(partition)
  }

  build(): Assignment {
    for (const topics of this.#lists.values())
      for (const list of topics.values()) list.sort((left, right) => left - right)
    return this.#lists
  }
}
