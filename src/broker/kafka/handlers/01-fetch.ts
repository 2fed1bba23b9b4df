/**
 * Fetch (1): v4–17, by FetchCall: replies are pages of the shards, not re-encoded.
 *
 * Sessions  (KIP-227) are declined: every full request is answered with session 0 and all its partitions, which clients take for
 *           "go on like this"; an incremental one, of a broker before this one, FETCH_SESSION_ID_NOT_FOUND
 * Racks     (KIP-392) a client that names its rack is sent to an in-sync replica there; from v11 on followers answer up to their
 *           high watermark
 * Epochs    (KIP-320, KIP-595) the client's leader epoch is checked, and where its history parts from the log's it is told where
 * Whole     a reply without one of the partitions asked for is thrown away by clients, and asked for again for ever. Those that found no
 *           room (of a frame, or in the header for their aborted transactions) are told with no records and, where the ends are not known,
 *           -1 for them, which clients pass over. What is asked for first is served first: that others have their turn is up to
 *           clients, which move those that were served to the end of their next request
 * Refusal   of other systems' followers: only brokers of this cluster replicate, by the native protocol
 */

import { fetch } from '../../../kafka/apis/01-fetch.ts'
import { hasCodec } from '../../../kafka/batch-header.ts'
import { ZERO_UUID } from '../../../kafka/codec/fields.ts'
import { errorNumberOf } from '../../../model/errors.ts'
import { FETCH_BYTES_MAX, FETCH_WAIT_MS_MAX } from '../../../model/limits.ts'
import type { Outgoing } from '../../connection.ts'
import { FetchCall, type FetchedRow, type FetchPlan, type FetchPlanPart } from '../../handlers/fetch-call.ts'
import type { RoutedTopic } from '../../partition-router.ts'
import { hotHandler, type KafkaCall, type RequestOf, type ResponseOf } from '../kafka-handler.ts'
import { endpointsOf, leaderNow } from './leaders.ts'

type Request = RequestOf<typeof fetch>
type TopicRequest = Request['topics'][number]
type PartitionRequest = TopicRequest['partitions'][number]
type PartitionResponse = ResponseOf<typeof fetch>['responses'][number]['partitions'][number]

const TOPIC_IDS_SINCE = 13
const FOLLOWERS_SINCE = 11
const ENDPOINTS_SINCE = 16
const ZSTD = 4
const ZSTD_SINCE = 10
const READ_COMMITTED = 1
const NO_RECORDS = { bytes: 0, fragments: [] }

/** A partition of the request: what becomes of it. */
interface Asked {
  readonly topic: RoutedTopic | undefined
  readonly partition: PartitionRequest
  /** Known without a look at the log. */
  readonly errorCode: number
  /** -1 = read here. */
  readonly preferredReplica: number
}

export const fetchHandler = hotHandler(fetch, (call, { exchange, correlationId, onTaken }) => {
  onTaken()
  const { gateway, connection, request, version } = call
  const end = (response: Parameters<typeof fetch.encodeResponse>[2]): void => {
    connection.sendOutgoing({ fragments: fetch.encodeResponse(version, correlationId, response) })
    connection.end(exchange, null)
  }
  if (request.sessionEpoch > 0) {
    end({ errorCode: call.code('FETCH_SESSION_ID_NOT_FOUND'), sessionId: 0, responses: [] })
    return
  }
  const asked = request.topics.map((topic) => askedOf(call, topic))
  const flat = asked.flat()
  const parts: FetchPlanPart[] = []
  for (const { topic, partition, errorCode, preferredReplica } of flat)
    if (errorCode === 0 && preferredReplica === -1)
      parts.push({
        topicId: topic?.record.topicId ?? '',
        partition: partition.partition,
        leaderEpoch: partition.currentLeaderEpoch,
        fetchOffset: partition.fetchOffset,
        maxBytes: Math.max(0, partition.partitionMaxBytes),
        lastEpoch: partition.lastFetchedEpoch,
      })
  const isAnswered = parts.length < flat.length || parts.length === 0
  const plan: FetchPlan = {
    name: 'kafka-fetch',
    waitMs: isAnswered ? 0 : Math.min(Math.max(request.maxWaitMs, 0), FETCH_WAIT_MS_MAX),
    minBytes: Math.max(0, request.minBytes),
    maxBytes: Math.min(Math.max(request.maxBytes, 0), FETCH_BYTES_MAX),
    isolation: request.isolationLevel === READ_COMMITTED ? READ_COMMITTED : 0,
    parts,
    replica: undefined,
    anyReplica: version >= FOLLOWERS_SINCE,
    allPartitions: true,
    encode: (rows) => encode(call, correlationId, asked, rows),
  }
  const send = (outgoing: Outgoing): void => {
    connection.sendOutgoing({
      ...outgoing,
      onDone() {
        outgoing.onDone?.()
        if (!connection.isClosed) connection.end(exchange, null)
      },
    })
  }
  new FetchCall({ gateway, connection, plan, send }).begin()
})

function askedOf(call: KafkaCall<Request>, request: TopicRequest): Asked[] {
  const { gateway, version } = call
  const topic = version >= TOPIC_IDS_SINCE ? gateway.router.byId(request.topicId) : gateway.router.byName(request.topic)
  const refused = refusalOf(call, request, topic)
  return request.partitions.map((partition) => ({
    topic,
    partition,
    errorCode: refused,
    preferredReplica: refused === 0 ? preferredReplicaOf(call, topic, partition.partition) : -1,
  }))
}

function refusalOf(call: KafkaCall<Request>, request: TopicRequest, topic: RoutedTopic | undefined): number {
  const { replicaId, replicaState } = call.request
  if (replicaId >= 0 || replicaState.replicaId >= 0) return errorNumberOf('CLUSTER_AUTHORIZATION_FAILED')
  if (topic === undefined && call.version >= TOPIC_IDS_SINCE) return call.code('UNKNOWN_TOPIC_ID')
  const denied = call.refusal({ kind: 'topic', name: topic?.record.state.name ?? request.topic })
  return denied === undefined ? 0 : call.code(denied)
}

/** An in-sync replica in the client's rack that lives, where this broker leads and stands in another one. */
function preferredReplicaOf(
  { gateway, request }: KafkaCall<Request>,
  topic: RoutedTopic | undefined,
  number: number,
): number {
  const partition = topic?.partitions[number]
  if (request.rackId === '' || partition?.state !== 'serving') return -1
  const inRack = gateway.kafkaBrokers().filter(({ rack }) => rack === request.rackId)
  if (inRack.some(({ nodeId }) => nodeId === gateway.identity.nodeId)) return -1
  return inRack.find(({ nodeId }) => partition.inSync.includes(nodeId))?.nodeId ?? -1
}

function encode(
  call: KafkaCall<Request>,
  correlationId: number,
  asked: readonly (readonly Asked[])[],
  rows: readonly FetchedRow[],
): Uint8Array[] {
  const { request, version } = call
  const moved = new Set<number>()
  let [next, at] = [0, 0]
  const responses = request.topics.map(({ topic, topicId }, index) => {
    const partitions: PartitionResponse[] = []
    for (const each of asked[index]!) {
      const { partition, errorCode, preferredReplica } = each
      if (errorCode !== 0 || preferredReplica !== -1) {
        partitions.push(emptyPartition(call, partition.partition, errorCode, preferredReplica))
        continue
      }
      // Rows are in the order of the request.
      while (at < rows.length && rows[at]!.part.index < next) at++
      const row = rows[at]
      if (row?.part.index !== next++) {
        partitions.push(emptyPartition(call, partition.partition, 0))
        continue
      }
      const response = partitionOf(call, partition.partition, row)
      const leader = leaderNow(call, each.topic?.record.state.name ?? '', partition.partition, response.errorCode)
      if (leader !== undefined) moved.add(leader.leaderId)
      partitions.push(leader === undefined ? response : { ...response, currentLeader: leader })
    }
    return { topic, topicId: topicId === '' ? ZERO_UUID : topicId, partitions }
  })
  const nodeEndpoints = version >= ENDPOINTS_SINCE && moved.size > 0 ? endpointsOf(call, moved) : undefined
  return fetch.encodeResponse(version, correlationId, { errorCode: 0, sessionId: 0, responses, nodeEndpoints })
}

function emptyPartition(
  { request }: KafkaCall<Request>,
  partitionIndex: number,
  errorCode: number,
  preferred = -1,
): PartitionResponse {
  return {
    partitionIndex,
    errorCode,
    highWatermark: -1,
    lastStableOffset: -1,
    logStartOffset: -1,
    divergingEpoch: undefined,
    abortedTransactions: request.isolationLevel === READ_COMMITTED ? [] : null,
    preferredReadReplica: preferred,
    records: NO_RECORDS,
  }
}

/** Literals without spreads: a poll at the tail of a thousand partitions makes a thousand of them. */
function partitionOf(call: KafkaCall<Request>, partitionIndex: number, { part, views }: FetchedRow): PartitionResponse {
  const errorCode = call.codeOf(part.errorNumber)
  if (errorCode !== 0) return emptyPartition(call, partitionIndex, errorCode)
  if (call.version < ZSTD_SINCE && hasCodec(views, ZSTD))
    return emptyPartition(call, partitionIndex, call.code('UNSUPPORTED_COMPRESSION_TYPE'))
  const { divergingEpoch: epoch, divergingEndOffset: endOffset } = part
  return {
    partitionIndex,
    errorCode,
    highWatermark: part.highWatermark,
    lastStableOffset: part.lastStableOffset,
    logStartOffset: part.logStartOffset,
    divergingEpoch: epoch === -1 ? undefined : { epoch, endOffset },
    abortedTransactions: call.request.isolationLevel === READ_COMMITTED ? part.aborted : null,
    preferredReadReplica: -1,
    records: part.batchBytes === 0 ? NO_RECORDS : { bytes: part.batchBytes, fragments: views },
  }
}
