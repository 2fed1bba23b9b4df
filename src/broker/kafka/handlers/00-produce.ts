/**
 * Produce (0): v3–11, on to the shards by ProduceCall, batches as they came.
 *
 * Here    what the shard does not know of a Kafka client: one batch for each partition, magic 2, base offset 0, no more than a segment, zstd only from v7 on, a
 *         transactional batch only with a transactional id, each partition once
 * Unknown transactions  transactional-batches.ts
 * acks 0  no response, and the next request begins when the rings have taken this one; where a part is refused the connection is
 *         closed, as in Kafka: its client asks for metadata anew
 */
import { joinBytes } from '../../../base/bytes.ts'
import { produce } from '../../../kafka/apis/00-produce.ts'
import { peekBatch, producerOf } from '../../../kafka/batch-header.ts'
import type { ErrorCode } from '../../../model/errors.ts'
import { PRODUCE_TIMEOUT_MS_MAX } from '../../../model/limits.ts'
import type { ProduceReplyPart } from '../../../protocol/index.ts'
import { ACKS_ALL, ACKS_LEADER, ACKS_NONE, type Acks } from '../../../ring/messages.ts'
import { ProduceCall, type ProduceCallPart } from '../../handlers/produce-call.ts'
import { hotHandler, type KafkaCall, type KafkaExchange, type RequestOf } from '../kafka-handler.ts'
import { endpointsOf, leaderNow } from './leaders.ts'
import { answerUnknown, isUnknown, type TransactionalPart } from './transactional-batches.ts'

type Request = RequestOf<typeof produce>
type Refusal = NonNullable<ProduceCallPart['refusal']>

const ZSTD = 4
const ZSTD_SINCE = 7

export const produceHandler = hotHandler(
  produce,
  (call, exchange) => {
    const { gateway, connection, request } = call
    const refused = refusalOfAll(call)
    const seen = new Set<string>()
    const ofTransactions: (TransactionalPart | undefined)[] = []
    const parts = request.topicData.flatMap(({ name, partitionData }): ProduceCallPart[] => {
      const topic = gateway.router.byName(name)
      const topicId = topic?.record.topicId ?? ''
      const segmentBytes = topic?.config.segmentBytes ?? Infinity
      const denied = call.refusal({ kind: 'topic', name })
      return partitionData.map(({ index: partition, records }) => {
        const place = `${name}/${partition}`
        const refusal =
          refused ??
          (denied !== undefined ? { code: denied, text: '' } : undefined) ??
          (seen.has(place) ? refuse('INVALID_REQUEST', 'the partition is named twice') : undefined) ??
          refusalOfBatch(call, records, segmentBytes)
        seen.add(place)
        ofTransactions.push(
          refusal === undefined ? transactionalOf(request, records, { topicId, partition }) : undefined,
        )
        return {
          topicId,
          partition,
          leaderEpoch: -1,
          batches: records ?? new Uint8Array(0),
          ...(refusal && { refusal }),
        }
      })
    })
    const acks = (isAcks(request.acks) ? request.acks : ACKS_ALL) as Acks
    let refusedWithoutReply = ''
    new ProduceCall({
      gateway,
      connection,
      acks,
      parts,
      timeoutMs: Math.min(Math.max(request.timeoutMs, 1), PRODUCE_TIMEOUT_MS_MAX),
      onTaken() {
        exchange.onTaken()
        if (acks !== ACKS_NONE) return
        // Before the next one begins: what it sent behind this is not to be stored without it.
        if (refusedWithoutReply !== '')
          connection.closeForPolicy(`produce with acks 0 was refused: ${refusedWithoutReply}`)
        connection.end(exchange.exchange, null)
      },
      onRefused: (code, text) => {
        refusedWithoutReply = text === '' ? code : `${code}: ${text}`
      },
      onReplies: (replies) => {
        const end = (told: readonly ProduceReplyPart[]): void => {
          connection.end(exchange.exchange, encode(call, exchange, told))
        }
        if (isUnknown(replies, ofTransactions)) void answerUnknown(gateway, replies, ofTransactions).then(end)
        else end(replies)
      },
    }).start()
  },
  hasRoom,
)

/** Of the shards that it goes to: another one that is full holds up nobody. */
function hasRoom({ gateway, request }: KafkaCall<Request>): boolean {
  const { pool, links, router } = gateway
  if (pool.pendingReceiveBytes > pool.receiveBytesMax && links.some((link) => link.isCrowded)) return false
  for (const { name, partitionData } of request.topicData) {
    const partitions = router.byName(name)?.partitions
    for (const { index } of partitionData) if (links[partitions?.[index]?.shard ?? -1]?.isCrowded === true) return false
  }
  return true
}

/** Undefined where the batch is of no transaction. The request's bytes are gone when its replies come. */
function transactionalOf(
  { transactionalId }: Request,
  records: Uint8Array | null,
  place: Pick<TransactionalPart, 'topicId' | 'partition'>,
): TransactionalPart | undefined {
  if (transactionalId === null || records === null || peekBatch(records)?.isTransactional !== true) return undefined
  return { ...place, identity: { transactionalId, ...producerOf(records) } }
}

function isAcks(acks: number): boolean {
  return acks === ACKS_ALL || acks === ACKS_LEADER || acks === ACKS_NONE
}

function refuse(code: ErrorCode, text: string): Refusal {
  return { code, text }
}

/** What is wrong with every part of the request. */
function refusalOfAll(call: KafkaCall<Request>): Refusal | undefined {
  const { gateway, request } = call
  // Known not to be stored: the client sends it again, to whoever leads then.
  if (gateway.isClosing) return refuse('LEADER_NOT_AVAILABLE', 'the broker is stopping')
  const { transactionalId } = request
  const denied = transactionalId === null ? undefined : call.refusal({ kind: 'transactional-id', transactionalId })
  if (denied !== undefined) return refuse(denied, '')
  if (!isAcks(request.acks)) return refuse('INVALID_REQUIRED_ACKS', `acks ${request.acks}`)
  return undefined
}

function refusalOfBatch(
  call: KafkaCall<Request>,
  records: Uint8Array | null,
  segmentBytes: number,
): Refusal | undefined {
  if (records === null) return refuse('INVALID_RECORD', 'there is no record batch')
  const batch = peekBatch(records)
  if (batch === undefined) return refuse('CORRUPT_MESSAGE', `${records.length} bytes are no record batch`)
  if (batch.magic !== 2)
    return refuse('INVALID_RECORD', `records of magic ${batch.magic}: only record batches of magic 2 are stored`)
  if (batch.bytes !== records.length)
    return refuse('INVALID_RECORD', `a batch of ${batch.bytes} bytes in ${records.length}: one for each partition`)
  if (batch.bytes > segmentBytes)
    return refuse(
      'RECORD_LIST_TOO_LARGE',
      `a batch of ${batch.bytes} bytes; segments of the topic have ${segmentBytes}`,
    )
  if (batch.baseOffset !== 0) return refuse('INVALID_RECORD', `base offset ${batch.baseOffset}: the broker gives it`)
  if (batch.codec === ZSTD && call.version < ZSTD_SINCE)
    return refuse('UNSUPPORTED_COMPRESSION_TYPE', `zstd needs Produce ${ZSTD_SINCE} or later`)
  if (batch.isTransactional && call.request.transactionalId === null)
    return refuse('TRANSACTIONAL_ID_AUTHORIZATION_FAILED', 'a transactional batch without a transactional id')
  return undefined
}

function encode(call: KafkaCall<Request>, exchange: KafkaExchange, replies: readonly ProduceReplyPart[]): Uint8Array {
  const { request, version } = call
  const moved = new Set<number>()
  let next = 0
  const responses = request.topicData.map(({ name, partitionData }) => ({
    name,
    partitionResponses: partitionData.map(({ index }) => {
      const reply = replies[next++]!
      const errorCode = call.codeOf(reply.errorNumber)
      const leader = errorCode === 0 ? undefined : leaderNow(call, name, index, errorCode)
      if (leader !== undefined) moved.add(leader.leaderId)
      return {
        index,
        errorCode,
        baseOffset: reply.baseOffset,
        logAppendTimeMs: reply.logAppendTimeMs,
        logStartOffset: reply.logStartOffset,
        recordErrors: [],
        errorMessage: errorCode === 0 || reply.errorText === '' ? null : reply.errorText,
        ...(leader && { currentLeader: leader }),
      }
    }),
  }))
  const response = { responses, ...(moved.size > 0 && { nodeEndpoints: endpointsOf(call, moved) }) }
  return joinBytes(produce.encodeResponse(version, exchange.correlationId, response))
}
