/** An end of a partition's log, wherever it is led. */
import { isMillraceError } from '../../../model/errors.ts'
import { type ListOffsetsRequest, listOffsets } from '../../../protocol/index.ts'
import { listOffsetsPart } from '../../handlers/02-list-offsets.ts'
import type { KafkaContext } from '../kafka-handler.ts'

/** `timestampMs` where it cannot be found out. */
export async function listedOffset(gateway: KafkaContext, part: ListOffsetsRequest['parts'][number]): Promise<number> {
  const request: ListOffsetsRequest = { isolation: 0, parts: [part] }
  const leader = gateway.router.partition(part.topicId, part.partition)?.leaderNodeId
  try {
    const isHere = gateway.cluster === undefined || leader === gateway.identity.nodeId || leader === undefined
    const found = isHere
      ? await listOffsetsPart(gateway, request.isolation, part)
      : (await gateway.cluster.peers.ask(leader, listOffsets, request)).parts[0]
    return found === undefined || found.errorNumber !== 0 ? part.timestampMs : found.offset
  } catch (error) {
    if (!isMillraceError(error)) throw error
    return part.timestampMs
  }
}
