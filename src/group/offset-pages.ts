/** Committed offsets a page at a time: all that a group has, by topic id and partition, or those that were named, as they were. */
import { utf8Bytes } from '../base/utf8-write.ts'
import type { TopicId } from '../model/ids.ts'
import type { GroupContext } from './group-context.ts'
import type { CommittedOffset, Group } from './group-state.ts'
import { fillPage, PAGE_ROWS_MAX, smallestAfter } from './pages.ts'
import { resolveTopic } from './request-checks.ts'
import {
  type FetchedOffset,
  type FetchedTopic,
  type GroupRefusal,
  isRefusal,
  type NamedTopic,
  type OffsetFetchReply,
  refuse,
  type TopicPartitions,
} from './requests.ts'

/** Of a partition's row on the wire, its metadata apart. */
const ROW_BYTES = 48
const NO_COMMITTED: CommittedOffset = { offset: -1, leaderEpoch: -1, metadata: '', commitTimestampMs: -1 }

interface Place {
  readonly topic: NamedTopic
  readonly partition: number
  readonly value: CommittedOffset | undefined
  readonly cursor: string
}

export function offsetPage(
  context: GroupContext,
  group: Group | undefined,
  topics: readonly TopicPartitions[] | null,
  cursor: string,
): OffsetFetchReply | GroupRefusal {
  const places = topics === null ? allAfter(context, group, cursor) : namedAfter(context, group, topics, cursor)
  if (places === undefined)
    return refuse('INVALID_REQUEST', `cursor '${cursor}' is none that offset-fetch has answered`)
  const { rows, nextCursor } = fillPage(places, {
    rowOf: (place) => place,
    bytesOf: ({ value }) => ROW_BYTES + utf8Bytes(value?.metadata ?? ''),
    cursorOf: (place) => place.cursor,
  })
  return { kind: 'offsets', topics: byTopic(rows), nextCursor }
}

export function fetchedOffset(partition: number, value: CommittedOffset = NO_COMMITTED): FetchedOffset {
  return { partition, error: 'NONE', text: '', ...value }
}

function allAfter(context: GroupContext, group: Group | undefined, cursor: string): Place[] | undefined {
  const [, afterTopic = '', afterPartition = '-1'] = /^([0-9a-f]{32})\/(\d+)$/.exec(cursor) ?? []
  if (cursor !== '' && afterTopic === '') return undefined
  const places: Place[] = []
  const offsets = group?.offsets ?? new Map<TopicId, Map<number, CommittedOffset>>()
  for (const topicId of [afterTopic as TopicId, ...smallestAfter(offsets.keys(), afterTopic)]) {
    const topic = { topicId, topic: context.directory.byId(topicId)?.name ?? '' }
    const after = topicId === afterTopic ? Number(afterPartition) : -1
    const partitions = [...(offsets.get(topicId) ?? [])].filter(([partition]) => partition > after)
    for (const [partition, value] of partitions.sort(([left], [right]) => left - right)) {
      if (places.length === PAGE_ROWS_MAX) return places
      places.push({ topic, partition, value, cursor: `${topicId}/${partition}` })
    }
  }
  return places
}

/** By the place in the request, which is the same for each page. */
function namedAfter(
  context: GroupContext,
  group: Group | undefined,
  topics: readonly TopicPartitions[],
  cursor: string,
): Place[] | undefined {
  const [, topicIndex = '0', index = '-1'] = /^(\d+)\/(\d+)$/.exec(cursor) ?? []
  if (cursor !== '' && index === '-1') return undefined
  const places: Place[] = []
  for (let at = Number(topicIndex), from = Number(index) + 1; at < topics.length; at++, from = 0) {
    const { partitions, ...named } = topics[at]!
    const known = resolveTopic(context.directory, named)
    // A topic that is not known has no offsets: no error, as in Kafka.
    const topic = isRefusal(known) ? named : { topicId: known.topicId, topic: known.name }
    const offsets = isRefusal(known) ? undefined : group?.offsets.get(known.topicId)
    for (; from < partitions.length; from++) {
      if (places.length === PAGE_ROWS_MAX) return places
      const partition = partitions[from]!
      places.push({ topic, partition, value: offsets?.get(partition), cursor: `${at}/${from}` })
    }
  }
  return places
}

function byTopic(places: readonly Place[]): FetchedTopic[] {
  const topics: { readonly topic: NamedTopic; readonly partitions: FetchedOffset[] }[] = []
  for (const { topic, partition, value } of places) {
    if (topics.at(-1)?.topic !== topic) topics.push({ topic, partitions: [] })
    topics.at(-1)!.partitions.push(fetchedOffset(partition, value))
  }
  return topics.map(({ topic, partitions }) => ({ ...topic, partitions }))
}
