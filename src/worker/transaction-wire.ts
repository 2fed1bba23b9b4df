/**
 * From a TRANSACTION_REQUEST to the coordinator and back: its requests and replies have types of their own (transaction/requests.ts),
 * those of the wire are the protocol's. Those that came in Kafka's protocol are put in the same way.
 */
import { isRefusal, refuse } from '../model/refusal.ts'
import type { TransactionQuery } from '../model/transaction-query.ts'
import * as protocol from '../protocol/index.ts'
import { encodeControlBody } from '../ring/control-codec.ts'
import type { TransactionRequestBody } from '../ring/control-messages.ts'
import { setOf, type TransactionCoordinator, type TransactionDecision } from '../transaction/index.ts'
import type { CoordinatorReply } from './coordinator-host.ts'

const { Api } = protocol

export interface TransactionAnswer extends Omit<TransactionDecision<never>, 'reply'> {
  readonly transactionalId: string
  readonly reply: CoordinatorReply
}

/** Has the coordinator decide; what the reply tells is so when the records are durable. Throws MillraceError for a bad header. */
export function answerTransactionRequest(
  coordinator: TransactionCoordinator,
  { api, header, freshProducerId, partitions, classic, query }: TransactionRequestBody,
  nowMs: number,
): TransactionAnswer {
  if (query !== undefined) return answerQuery(coordinator, query)
  switch (api) {
    case Api.INIT_PRODUCER_ID: {
      const { transactionalId, transactionTimeoutMs: timeoutMs } = protocol.initProducerId.decodeRequest(header)
      const id = transactionalId ?? ''
      const asking = classic === undefined ? ANYBODY : { ...classic, isClassic: true }
      const request = { transactionalId: id, timeoutMs, freshProducerId, ...asking }
      return answerOf(protocol.initProducerId, id, coordinator.initProducer(request, nowMs), (reply) => reply)
    }
    case Api.ADD_PARTITIONS_TO_TXN: {
      const request = protocol.addPartitionsToTxn.decodeRequest(header)
      const decision = coordinator.addPartitions({ ...request, partitions: setOf(partitions) }, nowMs)
      return answerOf(protocol.addPartitionsToTxn, request.transactionalId, decision, () => ({ partitions: [] }))
    }
    case Api.END_TXN: {
      const request = protocol.endTxn.decodeRequest(header)
      const decision = coordinator.end({ ...request, freshProducerId }, nowMs)
      return answerOf(protocol.endTxn, request.transactionalId, decision, (reply) => reply)
    }
    default: {
      const reply = refuse('UNKNOWN_API', `api ${api} is none of transactions`)
      return { transactionalId: '', records: [], markers: undefined, reply }
    }
  }
}

function answerQuery(coordinator: TransactionCoordinator, query: TransactionQuery): TransactionAnswer {
  const page = coordinator.query(query)
  const reply = isRefusal(page) ? page : ({ kind: 'reply', header: encodeControlBody(page) } as const)
  return { transactionalId: '', records: [], markers: undefined, reply }
}

/** Native clients say nothing of an epoch they have, and each of their transactions has its own. */
const ANYBODY = { producerId: -1, producerEpoch: -1, isClassic: false } as const

function answerOf<Reply extends object, Body>(
  codec: Pick<protocol.Codec<unknown, Body>, 'encodeReply'>,
  transactionalId: string,
  { records, markers, reply }: TransactionDecision<Reply>,
  bodyOf: (reply: Reply) => Body,
): TransactionAnswer {
  if (isRefusal(reply)) return { transactionalId, records, markers, reply }
  return { transactionalId, records, markers, reply: { kind: 'reply', header: codec.encodeReply(bodyOf(reply)) } }
}
