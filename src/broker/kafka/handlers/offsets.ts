/**
 * OffsetCommit (8, v2–9), OffsetFetch (9, v1–9), OffsetDelete (47, v0): committed offsets, of any kind of group: one set for native and
 * Kafka clients. A member's epoch is its generation in a classic group.
 */
import { offsetCommit } from '../../../kafka/apis/08-offset-commit.ts'
import { offsetFetch } from '../../../kafka/apis/09-offset-fetch.ts'
import { offsetDelete } from '../../../kafka/apis/47-offset-delete.ts'
import { errorNumberOf } from '../../../model/errors.ts'
import * as protocol from '../../../protocol/index.ts'
import { coldHandler, type KafkaCall, type KafkaContext } from '../kafka-handler.ts'
import { askGroup } from './classic-groups.ts'
import { listedOffset } from './listed-offset.ts'

const SEVERAL_GROUPS_SINCE = 8
const GROUP_ERROR_SINCE = 2
const EARLIEST = -2
const UNKNOWN_TOPIC = errorNumberOf('UNKNOWN_TOPIC_OR_PARTITION')

/** What a Kafka client commits, as the coordinator takes it. */
interface CommitTopicOfKafka {
  readonly name: string
  readonly partitions: readonly {
    readonly partitionIndex: number
    readonly committedOffset: number
    readonly committedLeaderEpoch: number
    readonly committedMetadata: string | null
  }[]
}

export function commitTopicsOf(topics: readonly CommitTopicOfKafka[]): protocol.OffsetCommitTopic[] {
  return topics.map(({ name, partitions }) => ({
    ...{ topicId: '', topic: name },
    partitions: partitions.map(({ partitionIndex, committedOffset, committedLeaderEpoch, committedMetadata }) => ({
      partition: partitionIndex,
      offset: committedOffset,
      leaderEpoch: Math.max(-1, committedLeaderEpoch),
      metadata: committedMetadata ?? '',
    })),
  }))
}

/**
 * The same, where a client commits a place and not an offset, as kafkajs does to reset a group: -2 is the log's start, -1 its end. What
 * cannot be found out now is left as it is, and refused by the coordinator.
 */
async function resolvedTopics(
  { gateway }: KafkaCall<unknown>,
  topics: readonly CommitTopicOfKafka[],
): Promise<readonly CommitTopicOfKafka[]> {
  if (!topics.some(({ partitions }) => partitions.some(({ committedOffset }) => committedOffset < 0))) return topics
  return Promise.all(
    topics.map(async ({ name, partitions }) => ({
      name,
      partitions: await Promise.all(
        partitions.map(async (row) =>
          row.committedOffset >= 0
            ? row
            : { ...row, committedOffset: await placeOf(gateway, name, row.partitionIndex, row.committedOffset) },
        ),
      ),
    })),
  )
}

async function placeOf(gateway: KafkaContext, name: string, partition: number, place: number): Promise<number> {
  const topicId = gateway.router.byName(name)?.record.topicId
  if (topicId === undefined || place < EARLIEST) return place
  return listedOffset(gateway, { topicId, partition, leaderEpoch: -1, timestampMs: place })
}

/** A code for each partition: of the reply, or, where the whole was refused, the same for all. */
export function commitRows(
  topics: readonly CommitTopicOfKafka[],
  codeOf: (topic: number, partition: number) => number,
) {
  return topics.map(({ name, partitions }, topic) => ({
    name,
    partitions: partitions.map(({ partitionIndex }, index) => ({ partitionIndex, errorCode: codeOf(topic, index) })),
  }))
}

export const offsetCommitHandler = coldHandler(offsetCommit, async (call) => {
  const {
    groupId,
    memberId,
    groupInstanceId: instanceId,
    generationIdOrMemberEpoch: memberEpoch,
    topics,
  } = call.request
  try {
    const resolved = await resolvedTopics(call, topics)
    const reply = await askGroup(call, groupId, protocol.offsetCommit, {
      ...{ groupId, memberId, instanceId, memberEpoch: Math.max(-1, memberEpoch), topics: commitTopicsOf(resolved) },
    })
    const rows = reply.topics
    return {
      topics: commitRows(topics, (topic, index) => call.codeOf(rows[topic]!.partitions[index]!.errorNumber)),
    }
  } catch (error) {
    const { errorCode } = call.fault(error)
    return { topics: commitRows(topics, () => errorCode) }
  }
})

/** One group of an OffsetFetch. */
interface Wanted {
  readonly groupId: string
  readonly memberId: string | null
  readonly memberEpoch: number
  readonly topics: readonly { readonly name: string; readonly partitionIndexes: readonly number[] }[] | null
}

export const offsetFetchHandler = coldHandler(offsetFetch, async (call) => {
  const { request, version } = call
  if (version >= SEVERAL_GROUPS_SINCE) {
    const once = new Map(request.groups.map((group) => [group.groupId, group]))
    const groups = [...once.values()].map((group) => fetchGroup(call, group, request.requireStable))
    return { topics: [], errorCode: 0, groups: await Promise.all(groups) }
  }
  const wanted = { groupId: request.groupId, memberId: null, memberEpoch: -1, topics: request.topics }
  const { topics, errorCode } = await fetchGroup(call, wanted, request.requireStable)
  // v1 has no place for an error of the group's: each partition has it.
  if (version >= GROUP_ERROR_SINCE || errorCode === 0) return { topics, errorCode, groups: [] }
  const rows = (request.topics ?? []).map(({ name, partitionIndexes }) => ({
    name,
    partitions: partitionIndexes.map((partitionIndex) => ({ ...noOffset(partitionIndex), errorCode })),
  }))
  return { topics: rows, errorCode, groups: [] }
})

function noOffset(partitionIndex: number) {
  return { partitionIndex, committedOffset: -1, committedLeaderEpoch: -1, metadata: '', errorCode: 0 }
}

async function fetchGroup(call: KafkaCall<unknown>, wanted: Wanted, requireStable: boolean) {
  const { groupId, memberEpoch } = wanted
  const memberId = wanted.memberId ?? ''
  const topics =
    wanted.topics?.map(({ name, partitionIndexes }) => ({
      ...{ topicId: '' as const, topic: name, partitions: partitionIndexes },
    })) ?? null
  type Rows = { name: string; partitions: ReturnType<typeof noOffset>[] }
  const byName = new Map<string, Rows>()
  try {
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page: protocol.OffsetFetchReply = await askGroup(call, groupId, protocol.offsetFetch, {
        ...{ groupId, memberId, memberEpoch: Math.max(-1, memberEpoch), requireStable, topics, cursor },
      })
      for (const { topic: name, partitions } of page.topics) {
        const rows = byName.get(name) ?? { name, partitions: [] }
        byName.set(name, rows)
        for (const row of partitions) rows.partitions.push(offsetRow(call, row))
      }
      cursor = page.nextCursor ?? null
    }
    return { groupId, topics: [...byName.values()], errorCode: 0 }
  } catch (error) {
    return { groupId, topics: [], errorCode: call.fault(error).errorCode }
  }
}

function offsetRow(call: KafkaCall<unknown>, row: protocol.OffsetFetchPartition) {
  const { partition: partitionIndex, errorNumber, offset, leaderEpoch, metadata } = row
  // That there is no such topic is no error of a question for its offsets.
  if (errorNumber === UNKNOWN_TOPIC) return noOffset(partitionIndex)
  if (errorNumber !== 0) return { ...noOffset(partitionIndex), errorCode: call.codeOf(errorNumber) }
  return { partitionIndex, committedOffset: offset, committedLeaderEpoch: leaderEpoch, metadata, errorCode: 0 }
}

export const offsetDeleteHandler = coldHandler(offsetDelete, async (call) => {
  const { groupId, topics } = call.request
  try {
    const reply = await askGroup(call, groupId, protocol.offsetDelete, {
      groupId,
      topics: topics.map(({ name, partitions }) => ({
        ...{ topicId: '' as const, topic: name, partitions: partitions.map(({ partitionIndex }) => partitionIndex) },
      })),
    })
    const rows = topics.map(({ name, partitions }, topic) => ({
      name,
      partitions: partitions.map(({ partitionIndex }, index) => ({
        partitionIndex,
        errorCode: call.codeOf(reply.topics[topic]!.partitions[index]!.errorNumber),
      })),
    }))
    return { errorCode: 0, topics: rows }
  } catch (error) {
    return { ...call.fault(error), topics: [] }
  }
})
