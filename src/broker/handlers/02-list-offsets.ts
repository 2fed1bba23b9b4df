/** list-offsets: one control message per part; each answers for itself. Versions: 1. */
import { errorNumberOf, isMillraceError } from '../../model/errors.ts'
import {
  type ListOffsetsReply,
  type ListOffsetsReplyPart,
  type ListOffsetsRequest,
  listOffsets,
} from '../../protocol/index.ts'
import { ControlOperation, type ListOffsetsAnswer, type ListOffsetsBody } from '../../ring/control-messages.ts'
import type { ColdHandler } from './handler.ts'
import type { HandlerContext } from './handler-context.ts'

export const listOffsetsHandler: ColdHandler<ListOffsetsRequest, ListOffsetsReply> = {
  kind: 'cold',
  codec: listOffsets,
  resources: (request) => request.parts.map((part) => ({ kind: 'topic-id', topicId: part.topicId })),
  async answer(gateway, request) {
    const parts = request.parts.map((part) => listOffsetsPart(gateway, request.isolation, part))
    return { parts: await Promise.all(parts) }
  },
}

/** One part, of a partition that is led here; of whichever door. */
export async function listOffsetsPart(
  gateway: HandlerContext,
  isolation: 0 | 1,
  part: ListOffsetsRequest['parts'][number],
): Promise<ListOffsetsReplyPart> {
  try {
    const { partition, link } = gateway.servingPartition(part.topicId, part.partition)
    gateway.checkLeaderEpoch(partition, part.leaderEpoch)
    const body: ListOffsetsBody = { partitionRef: partition.ref, timestampMs: part.timestampMs, isolation }
    const { offset, timestampMs, leaderEpoch } = await link.control<ListOffsetsAnswer>(
      ControlOperation.LIST_OFFSETS,
      body,
    )
    return { errorNumber: 0, errorText: '', offset, timestampMs, leaderEpoch }
  } catch (error) {
    if (!isMillraceError(error)) throw error
    return {
      errorNumber: errorNumberOf(error.code),
      errorText: error.message,
      offset: -1,
      timestampMs: -1,
      leaderEpoch: -1,
    }
  }
}
