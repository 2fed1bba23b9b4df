/**
 * register-producers (1005): a transaction's coordinator to the leader of partitions: this producer may begin a transaction in them; the
 * coordinator knows that durably.
 *
 * Versions  1
 * Reply     a result per partition of the request, in its order
 * Access    brokers only
 * Limits    REQUEST_PARTITIONS_MAX
 */
import { PRODUCER_EPOCH_MAX, REQUEST_PARTITIONS_MAX } from '../model/limits.ts'
import type { ProducerIdentity } from '../model/producer-identity.ts'
import type { TransactionPartition } from './24-add-partitions-to-txn.ts'
import { Api, makeCodec } from './api.ts'
import { INT32_MAX } from './fields.ts'
import { readProducerIdentity } from './producer-fields.ts'

export interface RegisterProducersRequest extends ProducerIdentity {
  readonly partitions: readonly TransactionPartition[]
}

export interface RegisterProducersReply {
  readonly errorNumbers: readonly number[]
}

export const registerProducers = makeCodec<RegisterProducersRequest, RegisterProducersReply>({
  api: Api.REGISTER_PRODUCERS,
  name: 'register-producers',
  writeRequest: (request) => [
    request.producerId,
    request.producerEpoch,
    request.partitions.map((part) => [part.topicId, part.partition]),
  ],
  readRequest: (fields) => ({
    ...readProducerIdentity(fields, PRODUCER_EPOCH_MAX),
    partitions: fields.list('partitions', REQUEST_PARTITIONS_MAX, (part) => ({
      topicId: part.topicId('topicId'),
      partition: part.integer('partition', 0, INT32_MAX),
    })),
  }),
  writeReply: (reply) => [reply.errorNumbers],
  readReply: (fields) => ({
    errorNumbers: fields.integers('errorNumbers', REQUEST_PARTITIONS_MAX, -INT32_MAX, INT32_MAX),
  }),
})
