/**
 * AlterPartitionReassignments (45, v0–1), ListPartitionReassignments (46, v0): where replicas lie: by the same decisions as alter-replicas of
 * native clients. Each partition is decided for itself: what is wrong with one keeps none of the others.
 */
import { alterPartitionReassignments } from '../../../kafka/apis/45-alter-partition-reassignments.ts'
import { listPartitionReassignments } from '../../../kafka/apis/46-list-partition-reassignments.ts'
import { MillraceError } from '../../../model/errors.ts'
import type { AlterReplicasRequest } from '../../../protocol/index.ts'
import { CLUSTER } from '../../authorise.ts'
import { alterReplicasOf, movesOf } from '../../handlers/moves.ts'
import { coldHandler, type KafkaCall } from '../kafka-handler.ts'

export const alterPartitionReassignmentsHandler = coldHandler(alterPartitionReassignments, async (call) => {
  const { request } = call
  const { allowReplicationFactorChange } = request
  const topics = request.topics.map(async ({ name, partitions }) => ({
    name,
    partitions: await Promise.all(
      partitions.map(async ({ partitionIndex, replicas }) => {
        try {
          await alter(call, { topic: name, partition: partitionIndex }, replicas, allowReplicationFactorChange)
          return { partitionIndex, errorCode: 0, errorMessage: null }
        } catch (error) {
          return { partitionIndex, ...call.fault(error) }
        }
      }),
    ),
  }))
  return { allowReplicationFactorChange, errorCode: 0, responses: await Promise.all(topics) }
})

async function alter(
  call: KafkaCall<unknown>,
  place: { readonly topic: string; readonly partition: number },
  replicas: readonly number[] | null,
  mayChangeCount: boolean,
): Promise<void> {
  const { gateway } = call
  const denied = call.refusal(CLUSTER)
  if (denied !== undefined) throw new MillraceError(denied)
  const partition = gateway.router.byName(place.topic)?.partitions[place.partition]
  if (partition === undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION')
  const nothing: AlterReplicasRequest = { kind: 'cancel', nodeId: -1, wishes: [], partitions: null, dryRun: false }
  if (replicas === null) {
    const { changed, left } = await alterReplicasOf(gateway, { ...nothing, partitions: [place] })
    if (changed.length === 0) throw new MillraceError('NO_REASSIGNMENT_IN_PROGRESS', left[0]?.reason ?? '')
    return
  }
  if (!mayChangeCount && replicas.length !== partition.replicas.length)
    throw new MillraceError(
      'INVALID_REPLICATION_FACTOR',
      `${replicas.length} replicas in the place of ${partition.replicas.length}`,
    )
  await alterReplicasOf(gateway, { ...nothing, kind: 'reassign', wishes: [{ ...place, replicas }] })
}

export const listPartitionReassignmentsHandler = coldHandler(listPartitionReassignments, (call) => {
  const { gateway, request } = call
  try {
    const denied = call.refusal(CLUSTER)
    if (denied !== undefined) throw new MillraceError(denied)
    const wanted = new Map(request.topics?.map(({ name, partitionIndexes }) => [name, new Set(partitionIndexes)]))
    const byTopic = new Map<string, ReturnType<typeof rowOf>[]>()
    for (const move of movesOf(gateway.router)) {
      if (request.topics !== null && wanted.get(move.topic)?.has(move.partition) !== true) continue
      byTopic.set(move.topic, [...(byTopic.get(move.topic) ?? []), rowOf(move)])
    }
    return { errorCode: 0, topics: [...byTopic].map(([name, partitions]) => ({ name, partitions })) }
  } catch (error) {
    return { ...call.fault(error), topics: [] }
  }
})

function rowOf({ partition, replicas, adding, removing }: ReturnType<typeof movesOf>[number]) {
  return { partitionIndex: partition, replicas, addingReplicas: adding, removingReplicas: removing }
}
