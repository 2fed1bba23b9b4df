/**
 * TransactionService: the gateway's side of transactions: which partition of __transaction_state coordinates a transactional id, what a
 * request names that only the gateway knows (topics, fresh producer ids), and the way of markers. What transactions are and may do is
 * decided on the shard (transaction/, worker/transaction-host.ts).
 *
 * Owns        the internal topic: made when the first transactional id comes
 * Thread      main
 * Ordering    added durably -> registered at the partitions -> the client's reply: its first batch finds the registration
 *             txn-offset-commit: the group's partition added and registered -> the offsets
 * Limits      MARKERS_PER_MESSAGE markers in a control message
 * Failure     a partition that could not be registered: an error, the client adds it again. Markers that could not be written are
 *             reported as such: the coordinator has them tried again
 */
import type { BrokerConfig } from '../config/index.ts'
import { type ErrorCode, errorCodeOf, errorNumberOf, isMillraceError, MillraceError } from '../model/errors.ts'
import type { PartitionRef } from '../model/ids.ts'
import { isInternalTopic, TRANSACTIONS_TOPIC } from '../model/internal-topics.ts'
import { PRODUCER_EPOCH_MAX } from '../model/limits.ts'
import type { ProducerIdentity } from '../model/producer-identity.ts'
import {
  type AddPartitionsToTxnReply,
  type AddPartitionsToTxnRequest,
  Api,
  addPartitionsToTxn,
  type Codec,
  type EndTxnReply,
  type EndTxnRequest,
  endTxn,
  type InitProducerIdReply,
  initProducerId,
  type TransactionPartition,
  type TxnOffsetCommitRequest,
  unwrapReply,
} from '../protocol/index.ts'
import {
  ControlOperation,
  type LoadTransactionsBody,
  type MarkersDoneBody,
  type MarkersRow,
  type MarkerToWrite,
  type RegisterProducersBody,
  type TransactionRequestBody,
  type WriteMarkersAnswer,
  type WriteMarkersBody,
} from '../ring/control-messages.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Caller } from './caller.ts'
import type { GroupService } from './group-service.ts'
import { InternalTopic } from './internal-topic.ts'
import type { PartitionProxy, PartitionRouter } from './partition-router.ts'
import type { ShardLink } from './shard-link.ts'
import type { TopicService } from './topic-service.ts'

const MARKERS_PER_MESSAGE = 1_000

export interface TransactionServiceContext {
  readonly config: BrokerConfig
  readonly router: PartitionRouter
  readonly links: readonly ShardLink[]
  readonly topicService: TopicService
  readonly groups: GroupService
  readonly logger: Logger
  /** A producer id that nobody has had. */
  nextProducerId(): Promise<number>
  /** A partition that serves; throws MillraceError otherwise. */
  servingPartition(topicId: string, number: number): { partition: PartitionProxy; link: ShardLink }
  /** Tells a shard, again and again while it has no room; does not reject. */
  tell(link: ShardLink, operation: ControlOperation, body: unknown): Promise<void>
}

/** What a request adds besides its header. */
type Extras = Partial<Pick<TransactionRequestBody, 'freshProducerId' | 'partitions'>>

export class TransactionService {
  readonly #gateway: TransactionServiceContext
  readonly #topic: InternalTopic

  constructor(gateway: TransactionServiceContext) {
    this.#gateway = gateway
    this.#topic = new InternalTopic({
      ...{ name: TRANSACTIONS_TOPIC, partitions: gateway.config.transactions.statePartitions, router: gateway.router },
      topicService: () => gateway.topicService,
    })
  }

  /** The broker has started: open transactions have timeouts, decided ones want their markers, whether anybody asks or not. */
  start(): void {
    for (const { state, shard, ref } of this.#topic.partitions) {
      if (state !== 'serving') continue
      const body: LoadTransactionsBody = { partitionRef: ref }
      void this.#gateway.tell(this.#gateway.links[shard]!, ControlOperation.LOAD_TRANSACTIONS, body)
    }
  }

  /** The partition of the transactions' topic that coordinates the id, wherever it is led and whether it serves or not. */
  partitionOf(transactionalId: string): Promise<PartitionProxy> {
    return this.#topic.partitionOf(transactionalId)
  }

  async initProducer(transactionalId: string, transactionTimeoutMs: number): Promise<InitProducerIdReply> {
    const freshProducerId = await this.#gateway.nextProducerId()
    return this.#ask(transactionalId, initProducerId, { transactionalId, transactionTimeoutMs }, { freshProducerId })
  }

  async addPartitions(request: AddPartitionsToTxnRequest): Promise<AddPartitionsToTxnReply> {
    const found = request.partitions.map((part) => this.#find(part))
    if (found.some((each) => each.kind === 'refused')) return { partitions: found.map(refusalOfPart) }
    await this.#add(
      request,
      found.flatMap((each) => (each.kind === 'found' ? [each.partition] : [])),
    )
    return { partitions: found.map(() => ADDED) }
  }

  async end(request: EndTxnRequest): Promise<EndTxnReply> {
    // The next epoch would be the one that is given to nobody.
    const isLast = request.producerEpoch + 1 >= PRODUCER_EPOCH_MAX
    const freshProducerId = isLast ? await this.#gateway.nextProducerId() : -1
    return this.#ask(request.transactionalId, endTxn, request, { freshProducerId })
  }

  /** `header` is the request's; the answer is the reply's, from the group's coordinator. */
  async commitOffsets(request: TxnOffsetCommitRequest, header: Uint8Array, caller: Caller): Promise<Uint8Array> {
    const { groups } = this.#gateway
    await this.#add(request, [await groups.coordinatorOf(request.groupId)])
    return groups.forward(request.groupId, Api.TXN_OFFSET_COMMIT, header, caller)
  }

  /** A coordinator wants markers; `partitionRef` is its own. */
  async writeMarkers(link: ShardLink, partitionRef: PartitionRef, rows: readonly MarkersRow[]): Promise<void> {
    const attempts = rows.map((row) => new MarkersAttempt(row))
    const byLink = new Map<ShardLink, Marker[]>()
    for (const attempt of attempts)
      for (const part of attempt.row.partitions) {
        const proxy = this.#gateway.router.partition(part.topicId, part.partition)
        // The topic was deleted: there is nothing to mark any more.
        if (proxy === undefined) attempt.done.push(part)
        else if (proxy.state !== 'serving') attempt.fail(proxy, 'KAFKA_STORAGE_ERROR', proxy.reason ?? proxy.state)
        else addTo(byLink, this.#gateway.links[proxy.shard]!, { attempt, proxy })
      }
    await Promise.all([...byLink].map(([to, markers]) => writeOn(to, markers)))
    const body: MarkersDoneBody = { partitionRef, rows: attempts.map((attempt) => attempt.toRow()) }
    await this.#gateway.tell(link, ControlOperation.MARKERS_DONE, body)
  }

  /** Durably at the coordinator, then at the partitions. */
  async #add(
    { transactionalId, producerId, producerEpoch }: ProducerIdentity & { readonly transactionalId: string },
    partitions: readonly PartitionProxy[],
  ): Promise<void> {
    const names = partitions.map(({ topicId, partition }) => ({ topicId, partition }))
    const request = { transactionalId, producerId, producerEpoch, partitions: [] }
    await this.#ask(transactionalId, addPartitionsToTxn, request, { partitions: names })
    const refs = new Map<ShardLink, PartitionProxy['ref'][]>()
    for (const proxy of partitions) {
      const { topicId, partition, shard, ref } = proxy
      // Deleted meanwhile: its ref may be another partition's by now.
      if (this.#gateway.router.partition(topicId, partition) !== proxy) continue
      addTo(refs, this.#gateway.links[shard]!, ref)
    }
    await Promise.all(
      [...refs].map(([link, partitionRefs]) => {
        const body: RegisterProducersBody = { producerId, producerEpoch, partitionRefs }
        return link.control(ControlOperation.REGISTER_PRODUCERS, body)
      }),
    )
  }

  async #ask<Request, Reply>(
    transactionalId: string,
    codec: Codec<Request, Reply>,
    request: Request,
    extras: Extras,
  ): Promise<Reply> {
    const { ref, shard } = await this.#topic.coordinatorOf(transactionalId)
    const body: TransactionRequestBody = {
      ...{ partitionRef: ref, api: codec.api, header: codec.encodeRequest(request) },
      ...{ freshProducerId: -1, partitions: [], ...extras },
    }
    const header = await this.#gateway.links[shard]!.control<Uint8Array>(ControlOperation.TRANSACTION_REQUEST, body)
    return unwrapReply(codec.decodeReply(header))
  }

  #find({ topicId, partition }: TransactionPartition): FoundPart {
    try {
      const found = this.#gateway.servingPartition(topicId, partition)
      if (isInternalTopic(found.partition.topicName))
        throw new MillraceError('INVALID_TOPIC_EXCEPTION', `${found.partition.topicName} belongs to the broker`)
      return { kind: 'found', partition: found.partition }
    } catch (error) {
      if (!isMillraceError(error)) throw error
      return { kind: 'refused', error: error.code, text: error.message }
    }
  }
}

function addTo<Value>(byLink: Map<ShardLink, Value[]>, link: ShardLink, value: Value): void {
  const values = byLink.get(link)
  if (values === undefined) byLink.set(link, [value])
  else values.push(value)
}

type FoundPart =
  | { readonly kind: 'found'; readonly partition: PartitionProxy }
  | { readonly kind: 'refused'; readonly error: ErrorCode; readonly text: string }

const ADDED = { errorNumber: 0, errorText: '' }
const NOT_ATTEMPTED = { errorNumber: errorNumberOf('OPERATION_NOT_ATTEMPTED'), errorText: '' }

function refusalOfPart(part: FoundPart): { errorNumber: number; errorText: string } {
  return part.kind === 'found' ? NOT_ATTEMPTED : { errorNumber: errorNumberOf(part.error), errorText: part.text }
}

interface Marker {
  readonly attempt: MarkersAttempt
  readonly proxy: PartitionProxy
}

/** What becomes of one row of a notice. */
class MarkersAttempt {
  readonly row: MarkersRow
  readonly done: TransactionPartition[] = []
  #fault = ''

  constructor(row: MarkersRow) {
    this.row = row
  }

  fail({ topicName, partition }: PartitionProxy, error: ErrorCode, text: string): void {
    if (this.#fault === '') this.#fault = `${topicName}-${partition}: ${error}${text === '' ? '' : `: ${text}`}`
  }

  toRow(): MarkersDoneBody['rows'][number] {
    const { transactionalId, producerId, producerEpoch } = this.row
    return { transactionalId, producerId, producerEpoch, done: this.done, fault: this.#fault }
  }
}

async function writeOn(link: ShardLink, markers: readonly Marker[]): Promise<void> {
  const messages: Promise<void>[] = []
  for (let from = 0; from < markers.length; from += MARKERS_PER_MESSAGE)
    messages.push(writeSome(link, markers.slice(from, from + MARKERS_PER_MESSAGE)))
  await Promise.all(messages)
}

async function writeSome(link: ShardLink, markers: readonly Marker[]): Promise<void> {
  const body: WriteMarkersBody = { markers: markers.map(markerToWrite) }
  try {
    const { errorNumbers } = await link.control<WriteMarkersAnswer>(ControlOperation.WRITE_MARKERS, body)
    for (const [index, { attempt, proxy }] of markers.entries()) {
      const number = errorNumbers[index] ?? errorNumberOf('UNKNOWN_SERVER_ERROR')
      const { topicId, partition } = proxy
      if (number === 0) attempt.done.push({ topicId, partition })
      else attempt.fail(proxy, errorCodeOf(number), '')
    }
  } catch (error) {
    if (!isMillraceError(error)) throw error
    for (const { attempt, proxy } of markers) attempt.fail(proxy, error.code, error.message)
  }
}

function markerToWrite({ attempt, proxy }: Marker): MarkerToWrite {
  const { producerId, producerEpoch, coordinatorEpoch, isCommit, isClassic } = attempt.row
  return { partitionRef: proxy.ref, producerId, producerEpoch, coordinatorEpoch, isCommit, isClassic }
}
