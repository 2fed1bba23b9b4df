/**
 * write-txn-markers (27): a transaction's coordinator to the leader of partitions: write how transactions ended.
 *
 * Versions  1
 * Reply     when all markers are durable or have failed: a result per marker, in the request's order
 * Again     is no fault: a marker that is in the log already is answered when that one is durable
 * Access    brokers only
 * Limits    REQUEST_PARTITIONS_MAX
 */
import type { TopicId } from '../model/ids.ts'
import { PRODUCER_EPOCH_MAX, REQUEST_PARTITIONS_MAX } from '../model/limits.ts'
import type { ProducerIdentity } from '../model/producer-identity.ts'
import { Api, makeCodec } from './api.ts'
import { INT32_MAX } from './fields.ts'
import { readProducerIdentity } from './producer-fields.ts'

export interface TxnMarker extends ProducerIdentity {
  readonly topicId: TopicId
  readonly partition: number
  readonly coordinatorEpoch: number
  readonly isCommit: boolean
  /** Of a producer whose epoch is not bumped with each transaction. */
  readonly isClassic: boolean
}

export interface WriteTxnMarkersRequest {
  readonly markers: readonly TxnMarker[]
}

export interface WriteTxnMarkersReply {
  readonly errorNumbers: readonly number[]
}

export const writeTxnMarkers = makeCodec<WriteTxnMarkersRequest, WriteTxnMarkersReply>({
  api: Api.WRITE_TXN_MARKERS,
  name: 'write-txn-markers',
  writeRequest: (request) => [
    request.markers.map((marker) => [
      marker.producerId,
      marker.producerEpoch,
      marker.topicId,
      marker.partition,
      marker.coordinatorEpoch,
      marker.isCommit,
      marker.isClassic,
    ]),
  ],
  readRequest: (fields) => ({
    markers: fields.list('markers', REQUEST_PARTITIONS_MAX, (marker) => ({
      ...readProducerIdentity(marker, PRODUCER_EPOCH_MAX),
      topicId: marker.topicId('topicId'),
      partition: marker.integer('partition', 0, INT32_MAX),
      coordinatorEpoch: marker.integer('coordinatorEpoch', 0, INT32_MAX),
      isCommit: marker.boolean('isCommit'),
      isClassic: marker.boolean('isClassic'),
    })),
  }),
  writeReply: (reply) => [reply.errorNumbers],
  readReply: (fields) => ({
    errorNumbers: fields.integers('errorNumbers', REQUEST_PARTITIONS_MAX, -INT32_MAX, INT32_MAX),
  }),
})
