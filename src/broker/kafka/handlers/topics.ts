/**
 * CreateTopics (19, v2–7), DeleteTopics (20, v1–6), CreatePartitions (37, v0–3), DeleteRecords (21, v0–2): by the same services as native
 * clients' requests; any broker takes them. A topic of a request has its own error, and one that was named twice is done for neither.
 *
 * Assignments  which broker has which replica is this cluster's to place: an explicit assignment is refused, not passed over
 */
import { createTopics } from '../../../kafka/apis/19-create-topics.ts'
import { deleteTopics } from '../../../kafka/apis/20-delete-topics.ts'
import { deleteRecords } from '../../../kafka/apis/21-delete-records.ts'
import { createPartitions } from '../../../kafka/apis/37-create-partitions.ts'
import { ZERO_UUID } from '../../../kafka/codec/fields.ts'
import { ownConfigOf } from '../../../kafka/topic-configs.ts'
import { MillraceError } from '../../../model/errors.ts'
import { isInternalTopic } from '../../../model/internal-topics.ts'
import { ControlOperation, type TrimAnswer, type TrimBody } from '../../../ring/control-messages.ts'
import { coldHandler, type KafkaCall, type RequestOf } from '../kafka-handler.ts'
import { describedConfigs } from './topic-config-rows.ts'

type CreateTopic = RequestOf<typeof createTopics>['topics'][number]

export const createTopicsHandler = coldHandler(createTopics, async (call) => {
  const { topics, validateOnly } = call.request
  const isTwice = repeatedIn(topics.map(({ name }) => name))
  // One after the other: a name that collides with an earlier one of the same request is seen to.
  const rows: Awaited<ReturnType<typeof create>>[] = []
  for (const topic of topics) rows.push(await create(call, topic, validateOnly, isTwice.has(topic.name)))
  return { topics: rows }
})

async function create(call: KafkaCall<unknown>, topic: CreateTopic, validateOnly: boolean, isTwice: boolean) {
  const { name, numPartitions, replicationFactor, assignments, configs } = topic
  const { gateway } = call
  try {
    call.demand({ kind: 'topic', name })
    if (isTwice) throw new MillraceError('INVALID_REQUEST', `${name} is named twice`)
    if (assignments.length > 0)
      throw new MillraceError('INVALID_REPLICA_ASSIGNMENT', 'replicas are placed by the cluster: give their number')
    mustNotCollide(call, name)
    const wanted: Record<string, string> = {}
    for (const { name: key, value } of configs) if (value !== null) wanted[key] = value
    const made = await gateway.topicService.create(
      {
        ...{ name, config: ownConfigOf(wanted), ifNotExists: false },
        partitions: countOf(numPartitions, 'INVALID_PARTITIONS', 'partitions'),
        replicas: countOf(replicationFactor, 'INVALID_REPLICATION_FACTOR', 'replicas'),
      },
      validateOnly,
    )
    const routed = gateway.router.byName(name)
    return {
      ...{ name, topicId: validateOnly ? ZERO_UUID : made.topicId, errorCode: 0, errorMessage: null },
      ...{ topicConfigErrorCode: 0, numPartitions: made.partitions },
      replicationFactor: routed?.partitions[0]?.replicas.length ?? replicationFactor,
      configs: routed === undefined ? [] : describedConfigs(gateway, routed, null),
    }
  } catch (error) {
    return {
      ...{ name, topicId: ZERO_UUID, topicConfigErrorCode: 0, ...call.fault(error) },
      ...{ numPartitions: -1, replicationFactor: -1, configs: null },
    }
  }
}

/** -1 = the broker's default, 0 and less is a mistake that it should not make good. */
function countOf(count: number, code: 'INVALID_PARTITIONS' | 'INVALID_REPLICATION_FACTOR', what: string): number {
  if (count === 0 || count < -1) throw new MillraceError(code, `${count} ${what}; -1 = the default`)
  return count
}

/** Metrics of Kafka's tools take . for _: two topics must not differ in that alone. */
function mustNotCollide({ gateway }: KafkaCall<unknown>, name: string): void {
  if (!name.includes('.') && !name.includes('_')) return
  const plain = name.replaceAll('.', '_')
  for (const topic of gateway.router.topics()) {
    const other = topic.record.state.name
    if (other !== name && other.replaceAll('.', '_') === plain)
      throw new MillraceError('INVALID_TOPIC_EXCEPTION', `${name} collides with ${other}: . and _ count as one`)
  }
}

export const deleteTopicsHandler = coldHandler(deleteTopics, async (call) => {
  const { request, version } = call
  const wanted =
    version >= 6
      ? request.topics
      : request.topicNames.map((name) => ({ name: name as string | null, topicId: ZERO_UUID }))
  const isTwice = repeatedIn(wanted.map(({ name, topicId }) => name ?? topicId))
  const responses = wanted.map(async ({ name, topicId }) => {
    try {
      const topic = name === null ? call.gateway.router.byId(topicId) : call.gateway.router.byName(name)
      const known = topic?.record.state.name ?? name
      if (known === null) throw new MillraceError('UNKNOWN_TOPIC_ID')
      call.demand({ kind: 'topic', name: known })
      if (isTwice.has(name ?? topicId)) throw new MillraceError('INVALID_REQUEST', `${known} is named twice`)
      await call.gateway.topicService.delete(known)
      return { name: known, topicId: topic?.record.topicId ?? topicId, errorCode: 0, errorMessage: null }
    } catch (error) {
      return { name, topicId, ...call.fault(error) }
    }
  })
  return { responses: await Promise.all(responses) }
})

export const createPartitionsHandler = coldHandler(createPartitions, async (call) => {
  const { topics, validateOnly } = call.request
  const isTwice = repeatedIn(topics.map(({ name }) => name))
  const results = topics.map(async ({ name, count, assignments }) => {
    try {
      call.demand({ kind: 'topic', name })
      if (isTwice.has(name)) throw new MillraceError('INVALID_REQUEST', `${name} is named twice`)
      if (assignments !== null && assignments.length > 0)
        throw new MillraceError(
          'INVALID_REPLICA_ASSIGNMENT',
          'replicas are placed by the cluster: give the count alone',
        )
      const { length } = call.topic(name).partitions
      if (count <= length)
        throw new MillraceError(
          'INVALID_PARTITIONS',
          `the topic currently has ${length} partitions; ${count} are no more`,
        )
      if (!validateOnly) await call.gateway.topicService.addPartitions(name, count)
      return { name, errorCode: 0, errorMessage: null }
    } catch (error) {
      return { name, ...call.fault(error) }
    }
  })
  return { results: await Promise.all(results) }
})

export const deleteRecordsHandler = coldHandler(deleteRecords, async (call) => ({
  topics: await Promise.all(
    call.request.topics.map(async ({ name, partitions }) => ({
      name,
      partitions: await Promise.all(
        partitions.map(({ partitionIndex, offset }) => trim(call, name, partitionIndex, offset)),
      ),
    })),
  ),
}))

async function trim(call: KafkaCall<unknown>, name: string, partitionIndex: number, beforeOffset: number) {
  try {
    const topic = call.topic(name)
    if (isInternalTopic(name)) throw new MillraceError('INVALID_TOPIC_EXCEPTION', `${name} belongs to the broker`)
    if (topic.config.cleanupPolicy === 'compact')
      throw new MillraceError('POLICY_VIOLATION', `${name} is compacted: cleanup.policy has no delete in it`)
    const { partition, link } = call.gateway.servingPartition(topic.record.topicId, partitionIndex)
    const body: TrimBody = { partitionRef: partition.ref, beforeOffset }
    const { logStartOffset } = await link.control<TrimAnswer>(ControlOperation.TRIM, body)
    return { partitionIndex, lowWatermark: logStartOffset, errorCode: 0 }
  } catch (error) {
    return { partitionIndex, lowWatermark: -1, errorCode: call.fault(error).errorCode }
  }
}

function repeatedIn(names: readonly string[]): ReadonlySet<string> {
  const seen = new Set<string>()
  return new Set(names.filter((name) => seen.size === seen.add(name).size))
}
