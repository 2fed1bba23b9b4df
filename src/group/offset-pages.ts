/** Committed offsets a page at a time: all that a group has, by topic id and partition, or those that were named, as they were. */
import { utf8Bytes } from '../base/utf8-write.ts'
import type { TopicId } from '../model/ids.ts'
import type { OffsetLook } from './offset-look.ts'
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

interface Place {
  readonly topic: NamedTopic
  readonly offset: FetchedOffset
  readonly cursor: string
}

export function offsetPage(
  look: OffsetLook,
  topics: readonly TopicPartitions[] | null,
  cursor: string,
): OffsetFetchReply | GroupRefusal {
  const places = topics === null ? allAfter(look, cursor) : namedAfter(look, topics, cursor)
  if (places === undefined)
    return refuse('INVALID_REQUEST', `cursor '${cursor}' is none that offset-fetch has answered`)
  const { rows, nextCursor } = fillPage(places, {
    rowOf: (place) => place,
    bytesOf: ({ offset }) => ROW_BYTES + utf8Bytes(offset.metadata),
    cursorOf: (place) => place.cursor,
  })
  return { kind: 'offsets', topics: byTopic(rows), nextCursor }
}

function allAfter(look: OffsetLook, cursor: string): Place[] | undefined {
  const [, afterTopic = '', afterPartition = '-1'] = /^([0-9a-f]{32})\/(\d+)$/.exec(cursor) ?? []
  if (cursor !== '' && afterTopic === '') return undefined
  const places: Place[] = []
  for (const topicId of [afterTopic as TopicId, ...smallestAfter(look.topicIds(), afterTopic)]) {
    const topic = { topicId, topic: look.context.directory.byId(topicId)?.name ?? '' }
    const after = topicId === afterTopic ? Number(afterPartition) : -1
    const partitions = look.partitionsOf(topicId).filter((partition) => partition > after)
    for (const partition of partitions.sort((left, right) => left - right)) {
      if (places.length === PAGE_ROWS_MAX) return places
      places.push({ topic, offset: look.offset(topicId, partition), cursor: `${topicId}/${partition}` })
    }
  }
  return places
}

/** By the place in the request, which is the same for each page. */
function namedAfter(look: OffsetLook, topics: readonly TopicPartitions[], cursor: string): Place[] | undefined {
  const [, topicIndex = '0', index = '-1'] = /^(\d+)\/(\d+)$/.exec(cursor) ?? []
  if (cursor !== '' && index === '-1') return undefined
  const places: Place[] = []
  for (let at = Number(topicIndex), from = Number(index) + 1; at < topics.length; at++, from = 0) {
    const { partitions, ...named } = topics[at]!
    const known = resolveTopic(look.context.directory, named)
    // A topic that is not known has no offsets: no error, as in Kafka.
    const topic = isRefusal(known) ? named : { topicId: known.topicId, topic: known.name }
    const topicId = isRefusal(known) ? undefined : known.topicId
    for (; from < partitions.length; from++) {
      if (places.length === PAGE_ROWS_MAX) return places
      const partition = partitions[from]!
      places.push({ topic, offset: look.offset(topicId, partition), cursor: `${at}/${from}` })
    }
  }
  return places
}

function byTopic(places: readonly Place[]): FetchedTopic[] {
  const topics: { readonly topic: NamedTopic; readonly partitions: FetchedOffset[] }[] = []
  for (const { topic, offset } of places) {
    if (topics.at(-1)?.topic !== topic) topics.push({ topic, partitions: [] })
    topics.at(-1)!.partitions.push(offset)
  }
  return topics.map(({ topic, partitions }) => ({ ...topic, partitions }))
}
