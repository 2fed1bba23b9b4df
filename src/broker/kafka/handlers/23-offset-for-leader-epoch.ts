/** OffsetForLeaderEpoch (23): v2–4: where an epoch ended, as the leader has it: how a client learns that a log was cut (KIP-320). */

import { offsetForLeaderEpoch } from '../../../kafka/apis/23-offset-for-leader-epoch.ts'
import {
  ControlOperation,
  type OffsetForLeaderEpochAnswer,
  type OffsetForLeaderEpochBody,
} from '../../../ring/control-messages.ts'
import { coldHandler, type KafkaCall, type RequestOf } from '../kafka-handler.ts'

type Request = RequestOf<typeof offsetForLeaderEpoch>
type PartitionRequest = Request['topics'][number]['partitions'][number]

export const offsetForLeaderEpochHandler = coldHandler(offsetForLeaderEpoch, async (call) => ({
  topics: await Promise.all(
    call.request.topics.map(async ({ topic, partitions }) => ({
      topic,
      partitions: await Promise.all(partitions.map((partition) => answer(call, topic, partition))),
    })),
  ),
}))

async function answer(call: KafkaCall<Request>, name: string, asked: PartitionRequest) {
  const { partition: number, currentLeaderEpoch, leaderEpoch } = asked
  try {
    const topic = call.topic(name)
    const { partition, link } = call.gateway.servingPartition(topic.record.topicId, number)
    const body: OffsetForLeaderEpochBody = { partitionRef: partition.ref, leaderEpoch, currentLeaderEpoch }
    const found = await link.control<OffsetForLeaderEpochAnswer>(ControlOperation.OFFSET_FOR_LEADER_EPOCH, body)
    return { errorCode: 0, partition: number, ...found }
  } catch (error) {
    return { ...call.fault(error), partition: number, leaderEpoch: -1, endOffset: -1 }
  }
}
