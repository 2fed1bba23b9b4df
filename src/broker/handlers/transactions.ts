/**
 * The requests of transactional producers: 22, 24 and 26 to the coordinator of the transactional id, 28 to the group's, which asks that one. The
 * service has the order of effects (transaction-service.ts). Versions: 1.
 */
import * as protocol from '../../protocol/index.ts'
import { CLUSTER } from '../authorise.ts'
import type { AnyHandler, ColdHandler } from './handler.ts'

const byTransactionalId = ({ transactionalId }: { readonly transactionalId: string }) =>
  ({ kind: 'transactional-id', transactionalId }) as const

const initProducerIdHandler: ColdHandler<protocol.InitProducerIdRequest, protocol.InitProducerIdReply> = {
  kind: 'cold',
  codec: protocol.initProducerId,
  isShort: true,
  resources: ({ transactionalId }) => [transactionalId === null ? CLUSTER : byTransactionalId({ transactionalId })],
  async answer(gateway, { transactionalId, transactionTimeoutMs }) {
    if (transactionalId !== null) return gateway.transactions.initProducer({ transactionalId, transactionTimeoutMs })
    return { producerId: await gateway.nextProducerId(), producerEpoch: 0 }
  },
}

const addPartitionsToTxnHandler: ColdHandler<protocol.AddPartitionsToTxnRequest, protocol.AddPartitionsToTxnReply> = {
  kind: 'cold',
  codec: protocol.addPartitionsToTxn,
  isShort: true,
  resources: (request) => [
    byTransactionalId(request),
    ...request.partitions.map(({ topicId }) => ({ kind: 'topic-id', topicId }) as const),
  ],
  answer: (gateway, request, { principal }) =>
    gateway.transactions.addPartitions(request, principal?.isBroker === true ? 'broker' : 'client'),
}

const endTxnHandler: ColdHandler<protocol.EndTxnRequest, protocol.EndTxnReply> = {
  kind: 'cold',
  codec: protocol.endTxn,
  isShort: true,
  resources: (request) => [byTransactionalId(request)],
  answer: (gateway, request) => gateway.transactions.end(request),
}

/** The header goes to the group's coordinator as it came, and its answer to the client. */
interface ForwardedCommit {
  readonly request: protocol.TxnOffsetCommitRequest
  readonly header: Uint8Array
}

const { txnOffsetCommit } = protocol

const txnOffsetCommitHandler: ColdHandler<ForwardedCommit, Uint8Array> = {
  kind: 'cold',
  codec: {
    ...{ api: txnOffsetCommit.api, name: txnOffsetCommit.name },
    encodeRequest: ({ header }) => header,
    encodeReply: (header) => header,
    decodeRequest: (header) => ({ request: txnOffsetCommit.decodeRequest(header), header: header.slice() }),
    decodeReply: () => {
      throw new Error('the gateway does not read what coordinators answer')
    },
  },
  isShort: true,
  resources: ({ request }) => [{ kind: 'group', groupId: request.groupId }, byTransactionalId(request)],
  answer: (gateway, { request, header }, { caller }) => gateway.transactions.forwardOffsets(request, header, caller),
}

export const TRANSACTION_HANDLERS = [
  initProducerIdHandler,
  addPartitionsToTxnHandler,
  endTxnHandler,
  txnOffsetCommitHandler,
] as unknown as readonly AnyHandler[]
