/**
 * Transactional batches whose partition does not know their producer: who may begin a transaction there is in the leader's memory
 * (src/transaction/README.md), and the leader is another one than when the client added the partition. Clients of Kafka add it once, and
 * give the transaction up at INVALID_TXN_STATE; so the coordinator is asked here, and the client sends the batch again.
 *
 *   the coordinator says          the client is told
 *   it is part of it              NOT_ENOUGH_REPLICAS: again, and this time it is known. As Kafka's brokers say it (KIP-890)
 *   nothing, or to ask again      the same
 *   it is part of no transaction  INVALID_TXN_STATE, as the partition said
 *   the producer is fenced        PRODUCER_FENCED, in the words that the version has for it
 */
import { errorNumberOf, isMillraceError } from '../../../model/errors.ts'
import type { TopicId } from '../../../model/ids.ts'
import type { ProduceReplyPart, TransactionalIdentity } from '../../../protocol/index.ts'
import type { KafkaContext } from '../kafka-handler.ts'

/** A part of a produce whose batch is of a transaction. */
export interface TransactionalPart {
  readonly identity: TransactionalIdentity
  readonly topicId: string
  readonly partition: number
}

const INVALID_TXN_STATE = errorNumberOf('INVALID_TXN_STATE')

/** Whether `answerUnknown` has something to ask; `parts` are those of the replies, undefined where a batch is of no transaction. */
export function isUnknown(
  replies: readonly ProduceReplyPart[],
  parts: readonly (TransactionalPart | undefined)[],
): boolean {
  return replies.some(({ errorNumber }, index) => errorNumber === INVALID_TXN_STATE && parts[index] !== undefined)
}

/** The replies, with those of producers that are not known in the words above. Does not reject. */
export function answerUnknown(
  gateway: Pick<KafkaContext, 'transactions' | 'logger'>,
  replies: readonly ProduceReplyPart[],
  parts: readonly (TransactionalPart | undefined)[],
): Promise<ProduceReplyPart[]> {
  return Promise.all(
    replies.map(async (reply, index) => {
      const part = parts[index]
      if (part === undefined || reply.errorNumber !== INVALID_TXN_STATE) return reply
      const { identity, topicId, partition } = part
      try {
        await gateway.transactions.registerAgain(identity, { topicId: topicId as TopicId, partition })
        return again(reply, 'the partition has another leader, which knows of the transaction now')
      } catch (error) {
        if (!isMillraceError(error)) {
          gateway.logger.error({ err: error }, 'a coordinator could not be asked for a transaction')
          return reply
        }
        if (error.retriable) return again(reply, `the coordinator was asked for the transaction: ${error.message}`)
        const isFenced = error.code === 'PRODUCER_FENCED'
        return isFenced ? { ...reply, errorNumber: errorNumberOf(error.code), errorText: error.message } : reply
      }
    }),
  )
}

function again(reply: ProduceReplyPart, errorText: string): ProduceReplyPart {
  return { ...reply, errorNumber: errorNumberOf('NOT_ENOUGH_REPLICAS'), errorText }
}
