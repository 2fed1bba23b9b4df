/**
 * ListOffsets (2): v1–10: the ends of a log, and the first record at or after a time. Each partition answers for itself.
 *
 * Sentinels  -1 latest (LSO with read_committed), -2 earliest, -3 the largest timestamp (v7), -4 earliest on this disk (v8; all is), -5 latest
 *            in other storage (v9; there is none: -1)
 */

import { listOffsets } from '../../../kafka/apis/02-list-offsets.ts'
import { MillraceError } from '../../../model/errors.ts'
import { listOffsetsPart } from '../../handlers/02-list-offsets.ts'
import { coldHandler, type KafkaCall, type RequestOf } from '../kafka-handler.ts'

type Request = RequestOf<typeof listOffsets>
type PartitionRequest = Request['topics'][number]['partitions'][number]

const EARLIEST = -2
const EARLIEST_LOCAL = -4
const LATEST_TIERED = -5
/** The version from which on a sentinel is known. */
const SENTINEL_SINCE: Readonly<Record<number, number>> = { [-1]: 0, [-2]: 0, [-3]: 7, [-4]: 8, [-5]: 9 }

export const listOffsetsHandler = coldHandler(listOffsets, async (call) => {
  const counts = new Map<string, number>()
  const places = call.request.topics.flatMap(({ name, partitions }) =>
    partitions.map(({ partitionIndex }) => `${name} ${partitionIndex}`),
  )
  for (const place of places) counts.set(place, (counts.get(place) ?? 0) + 1)
  const topics = call.request.topics.map(async ({ name, partitions }) => {
    const answers = partitions.map((partition) => {
      const isTwice = counts.get(`${name} ${partition.partitionIndex}`)! > 1
      return answer(call, name, partition, isTwice)
    })
    return { name, partitions: await Promise.all(answers) }
  })
  return { topics: await Promise.all(topics) }
})

async function answer(
  call: KafkaCall<Request>,
  name: string,
  { partitionIndex, timestamp, currentLeaderEpoch }: PartitionRequest,
  isTwice: boolean,
) {
  try {
    const topic = call.topic(name)
    if (isTwice) throw new MillraceError('INVALID_REQUEST', 'the partition is named twice')
    const { gateway, request } = call
    if (timestamp < 0 && !((SENTINEL_SINCE[timestamp] ?? Infinity) <= call.version))
      throw new MillraceError('UNSUPPORTED_VERSION', `timestamp ${timestamp}`)
    if (timestamp === LATEST_TIERED) return { partitionIndex, errorCode: 0, timestamp: -1, offset: -1, leaderEpoch: -1 }
    const found = await listOffsetsPart(gateway, request.isolationLevel === 1 ? 1 : 0, {
      ...{ topicId: topic.record.topicId, partition: partitionIndex, leaderEpoch: currentLeaderEpoch },
      timestampMs: timestamp === EARLIEST_LOCAL ? EARLIEST : timestamp,
    })
    const { errorNumber, offset, timestampMs, leaderEpoch } = found
    return { partitionIndex, errorCode: call.codeOf(errorNumber), timestamp: timestampMs, offset, leaderEpoch }
  } catch (error) {
    const { errorCode } = call.fault(error)
    return { partitionIndex, errorCode, timestamp: -1, offset: -1, leaderEpoch: -1 }
  }
}
