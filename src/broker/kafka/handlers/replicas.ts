/**
 * ElectLeaders (43, v0–2), AlterPartitionReassignments (45, v0–1), ListPartitionReassignments (46, v0): who leads and where replicas lie, decided
 * by the controller, partition by partition (handlers/replica-requests.ts).
 */
import { electLeaders } from '../../../kafka/apis/43-elect-leaders.ts'
import { alterPartitionReassignments } from '../../../kafka/apis/45-alter-partition-reassignments.ts'
import { listPartitionReassignments } from '../../../kafka/apis/46-list-partition-reassignments.ts'
import { errorNumberOf } from '../../../model/errors.ts'
import { CLUSTER } from '../../authorise.ts'
import { movesOf } from '../../handlers/moves.ts'
import {
  electLeaders as electLeadersOf,
  type PartitionOutcome,
  type ReassignmentRequest,
  reassignPartitions,
} from '../../handlers/replica-requests.ts'
import { coldHandler, type KafkaCall } from '../kafka-handler.ts'

const UNCLEAN = 1
const DONE = { errorCode: 0, errorMessage: null }

export const electLeadersHandler = coldHandler(electLeaders, async (call) => {
  const { gateway, request } = call
  try {
    call.demand(CLUSTER)
    const partitions =
      request.topicPartitions?.flatMap(({ topic, partitions: numbers }) =>
        numbers.map((partition) => ({ topic, partition })),
      ) ?? null
    const kind = request.electionType === UNCLEAN ? 'unclean' : 'preferred'
    const replicaElectionResults = [...byTopic(await electLeadersOf(gateway, partitions, kind))].map(
      ([topic, outcomes]) => ({
        topic,
        partitionResult: outcomes.map(({ partition: partitionId, ...outcome }) => ({
          ...{ partitionId, ...resultOf(call, outcome) },
        })),
      }),
    )
    return { errorCode: 0, replicaElectionResults }
  } catch (error) {
    return { ...call.fault(error), replicaElectionResults: [] }
  }
})

export const alterPartitionReassignmentsHandler = coldHandler(alterPartitionReassignments, async (call) => {
  const { gateway, request } = call
  const { allowReplicationFactorChange } = request
  try {
    call.demand(CLUSTER)
    const asked = request.topics.flatMap(({ name: topic, partitions }) =>
      partitions.map(
        ({ partitionIndex: partition, replicas }): ReassignmentRequest => ({ topic, partition, replicas }),
      ),
    )
    const isOther = (one: ReassignmentRequest): boolean => !allowReplicationFactorChange && changesCount(call, one)
    const outcomes = byPlace(
      await reassignPartitions(
        gateway,
        asked.filter((one) => !isOther(one)),
      ),
    )
    const responses = request.topics.map(({ name, partitions }) => ({
      name,
      partitions: partitions.map(({ partitionIndex }) => {
        const outcome = outcomes.get(`${name} ${partitionIndex}`) ?? FACTOR_KEPT
        return { partitionIndex, ...resultOf(call, outcome) }
      }),
    }))
    return { allowReplicationFactorChange, errorCode: 0, responses }
  } catch (error) {
    return { allowReplicationFactorChange, ...call.fault(error), responses: [] }
  }
})

const FACTOR_KEPT = {
  code: 'INVALID_REPLICATION_FACTOR',
  text: 'the number of replicas may not change, says the request',
} as const

function changesCount({ gateway }: KafkaCall<unknown>, { topic, partition, replicas }: ReassignmentRequest): boolean {
  const proxy = gateway.router.byName(topic)?.partitions[partition]
  return proxy !== undefined && replicas !== null && replicas.length !== proxy.replicas.length
}

export const listPartitionReassignmentsHandler = coldHandler(listPartitionReassignments, (call) => {
  const { gateway, request } = call
  try {
    call.demand(CLUSTER)
    const wanted = new Map(request.topics?.map(({ name, partitionIndexes }) => [name, new Set(partitionIndexes)]))
    const moves = movesOf(gateway.router).filter(
      ({ topic, partition }) => request.topics === null || wanted.get(topic)?.has(partition) === true,
    )
    const topics = [...byTopic(moves)].map(([name, ofTopic]) => ({
      name,
      partitions: ofTopic.map(({ partition: partitionIndex, replicas, adding, removing }) => ({
        ...{ partitionIndex, replicas, addingReplicas: adding, removingReplicas: removing },
      })),
    }))
    return { errorCode: 0, topics }
  } catch (error) {
    return { ...call.fault(error), topics: [] }
  }
})

function resultOf(call: KafkaCall<unknown>, { code, text }: Pick<PartitionOutcome, 'code' | 'text'>) {
  return errorNumberOf(code) === 0 ? DONE : { errorCode: call.code(code), errorMessage: text }
}

function byTopic<Row extends { readonly topic: string }>(rows: readonly Row[]): Map<string, Row[]> {
  const grouped = new Map<string, Row[]>()
  for (const row of rows) {
    const rowsOfTopic = grouped.get(row.topic)
    if (rowsOfTopic === undefined) grouped.set(row.topic, [row])
    else rowsOfTopic.push(row)
  }
  return grouped
}

function byPlace(outcomes: readonly PartitionOutcome[]): Map<string, PartitionOutcome> {
  return new Map(outcomes.map((outcome) => [`${outcome.topic} ${outcome.partition}`, outcome]))
}
