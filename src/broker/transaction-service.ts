/**
 * TransactionService: the gateway's side of transactions: which partition of __transaction_state coordinates a transactional id, what a
 * request names that only the gateway knows (topics, fresh producer ids), and the way of markers. What transactions are and may do is
 * decided on the shard (transaction/, worker/transaction-host.ts).
 *
 * Owns        the internal topic: made when the first transactional id comes
 * Thread      main
 * Ordering    added durably -> registered at the partitions -> the client's reply: its first batch finds the registration
 *             txn-offset-commit: the group's partition added (classic: found in the transaction) and registered -> the offsets
 * Kafka       its listener asks here as the native handlers do: initProducer with isClassic, addPartitions, addOffsets, commitOffsets, end.
 *             What a codec of the native wire would have refused comes as far as here: INVALID_TRANSACTION_TIMEOUT,
 *             INVALID_PRODUCER_ID_MAPPING and PRODUCER_FENCED, as if the coordinator had said so
 * Limits      MARKERS_PER_MESSAGE markers in a control message
 * Failure     a partition that could not be registered: an error, the client adds it again. Markers that could not be written are
 *             reported as such: the coordinator has them tried again
 */
import { EMPTY_BYTES } from '../base/bytes.ts'
import type { BrokerConfig } from '../config/index.ts'
import { type ErrorCode, errorCodeOf, errorNumberOf, isMillraceError, MillraceError } from '../model/errors.ts'
import type { PartitionRef } from '../model/ids.ts'
import { isInternalTopic, TRANSACTIONS_TOPIC } from '../model/internal-topics.ts'
import { PRODUCER_EPOCH_MAX } from '../model/limits.ts'
import type { ProducerIdentity } from '../model/producer-identity.ts'
import type {
  ListedTransaction,
  TransactionFilter,
  TransactionPage,
  TransactionQuery,
  TransactionSummary,
  TransactionsPage,
} from '../model/transaction-query.ts'
import {
  type AddPartitionsToTxnReply,
  type AddPartitionsToTxnRequest,
  Api,
  addPartitionsToTxn,
  type Codec,
  type EndTxnReply,
  type EndTxnRequest,
  endTxn,
  GIVEN_EPOCH_MAX,
  type InitProducerIdReply,
  initProducerId,
  type OffsetCommitReply,
  type RegisterProducersRequest,
  registerProducers,
  type TransactionalIdentity,
  type TransactionPartition,
  type TxnMarker,
  type TxnOffsetCommitRequest,
  txnOffsetCommit,
  unwrapReply,
  writeTxnMarkers,
} from '../protocol/index.ts'
import { decodeControlBody } from '../ring/control-codec.ts'
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
import type { Peers } from './cluster/peers.ts'
import type { GroupService } from './group-service.ts'
import { checkServes, InternalTopic, isLedElsewhere } from './internal-topic.ts'
import { leadRefusal, type PartitionProxy, type PartitionRouter } from './partition-router.ts'
import type { ShardLink } from './shard-link.ts'
import type { TopicAdmin } from './topic-admin.ts'

const MARKERS_PER_MESSAGE = 1_000
/** Of a description whose transaction went on between its pages. */
const DESCRIBE_ATTEMPTS_MAX = 5
/** What the transaction's coordinator says while its broker's image is behind: it passes, and says nothing of the group's coordinator. */
const BEHIND_CODES: readonly ErrorCode[] = ['UNKNOWN_TOPIC_ID', 'UNKNOWN_TOPIC_OR_PARTITION', 'NOT_COORDINATOR']

export interface TransactionServiceContext {
  readonly config: BrokerConfig
  readonly router: PartitionRouter
  readonly links: readonly ShardLink[]
  readonly topicService: TopicAdmin
  readonly groups: GroupService
  readonly logger: Logger
  /** A producer id that nobody has had. */
  nextProducerId(): Promise<number>
  /** The way to other brokers; undefined where this one is alone. */
  readonly cluster: { readonly peers: Pick<Peers, 'ask'> } | undefined
  /** Tells a shard, again and again while it has no room; does not reject. */
  tell(link: ShardLink, operation: ControlOperation, body: unknown): Promise<void>
}

/** What a request adds besides its header. */
type Extras = Partial<Pick<TransactionRequestBody, 'freshProducerId' | 'partitions' | 'classic'>>

/** Whoever asks for the epoch of a transactional id. */
export interface InitProducer extends Partial<ProducerIdentity> {
  readonly transactionalId: string
  readonly transactionTimeoutMs: number
  /** Its transactions do not bump its epoch: a Kafka client's (src/transaction, X8). */
  readonly isClassic?: boolean
  // producerId and producerEpoch: those that a classic producer has (KIP-360); left out, or -1 both: none.
}

interface NamedPartition {
  readonly topic: string
  readonly partition: number
}

export interface TransactionDescription extends TransactionSummary {
  readonly transactionalId: string
  readonly partitions: readonly NamedPartition[]
}

/** The offsets of a group become part of a transaction. */
export interface AddOffsets extends TransactionalIdentity {
  readonly groupId: string
}

export class TransactionService {
  readonly #gateway: TransactionServiceContext
  readonly #topic: InternalTopic

  constructor(gateway: TransactionServiceContext) {
    this.#gateway = gateway
    this.#topic = new InternalTopic({
      ...{ name: TRANSACTIONS_TOPIC, partitions: gateway.config.transactions.statePartitions, router: gateway.router },
      topicService: () => gateway.topicService,
      logger: gateway.logger,
    })
  }

  /** The broker has started: open transactions have timeouts, decided ones want their markers, whether anybody asks or not. */
  start(): void {
    for (const partition of this.#topic.partitions) if (partition.state === 'serving') this.onLeads(partition)
  }

  /** A partition leads here from now on: if it coordinates transactions, they are loaded. */
  onLeads({ topicName, shard, ref }: PartitionProxy): void {
    if (topicName !== TRANSACTIONS_TOPIC) return
    const body: LoadTransactionsBody = { partitionRef: ref }
    void this.#gateway.tell(this.#gateway.links[shard]!, ControlOperation.LOAD_TRANSACTIONS, body)
  }

  /** The partition of the transactions' topic that coordinates the id, wherever it is led and whether it serves or not. */
  partitionOf(transactionalId: string): Promise<PartitionProxy> {
    return this.#topic.partitionOf(transactionalId)
  }

  /** The next epoch of a transactional id. Throws MillraceError: what the codec names, and PRODUCER_FENCED to a classic producer. */
  async initProducer({
    transactionalId,
    transactionTimeoutMs,
    isClassic = false,
    producerId = -1,
    producerEpoch = -1,
  }: InitProducer): Promise<InitProducerIdReply> {
    if ((producerId === -1) !== (producerEpoch === -1))
      throw new MillraceError('INVALID_REQUEST', 'a producer id and its epoch come both, or neither')
    const freshProducerId = await this.#gateway.nextProducerId()
    // None is below 0 in the native protocol; the coordinator refuses 0 in the same words.
    const request = { transactionalId, transactionTimeoutMs: Math.max(0, transactionTimeoutMs) }
    const classic = isClassic ? { classic: { producerId, producerEpoch } } : {}
    return this.#ask(transactionalId, initProducerId, request, { freshProducerId, ...classic })
  }

  /** `by` a broker: partitions of internal topics too. */
  async addPartitions(
    request: AddPartitionsToTxnRequest,
    by: 'client' | 'broker' = 'client',
  ): Promise<AddPartitionsToTxnReply> {
    checkIdentity(request)
    const found = request.partitions.map((part) => this.#find(part, by))
    if (found.some((each) => each.kind === 'refused')) return { partitions: found.map(refusalOfPart) }
    const partitions = found.flatMap((each) => (each.kind === 'found' ? [each.partition] : []))
    await this.#add(request, partitions)
    return { partitions: found.map(() => ADDED) }
  }

  /**
   * What comes before commitOffsets() in Kafka's protocol: the group's partition of the offsets topic, wherever it is led, becomes part of
   * the transaction, at its coordinator, which is here. Throws as addPartitions().
   */
  async addOffsets({ groupId, ...identity }: AddOffsets): Promise<void> {
    checkIdentity(identity)
    await this.#add(identity, [await this.#gateway.groups.partitionOf(groupId)])
  }

  /**
   * A batch of a transaction came to a partition that is led here and does not know the producer: it has another leader than when it was
   * added, and registrations are in memory. Its coordinator knows: it is registered anew. Throws INVALID_TXN_STATE where the partition
   * is part of no open transaction, and as addPartitions().
   */
  async registerAgain(identity: TransactionalIdentity, { topicId, partition }: TransactionPartition): Promise<void> {
    checkIdentity(identity)
    const proxy = this.#gateway.router.partition(topicId, partition)
    if (proxy === undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION')
    await this.#addAnywhere(identity, proxy, { isKnown: true })
  }

  async end(request: EndTxnRequest): Promise<EndTxnReply> {
    checkIdentity(request)
    // The next epoch would be the one that is given to nobody.
    const isLast = request.producerEpoch + 1 >= PRODUCER_EPOCH_MAX
    const freshProducerId = isLast ? await this.#gateway.nextProducerId() : -1
    return this.#ask(request.transactionalId, endTxn, request, { freshProducerId })
  }

  /** Pending until the transaction ends; the group's coordinator is here. */
  async commitOffsets(request: TxnOffsetCommitRequest, caller: Caller): Promise<OffsetCommitReply> {
    checkIdentity(request)
    return unwrapReply(
      txnOffsetCommit.decodeReply(await this.forwardOffsets(request, txnOffsetCommit.encodeRequest(request), caller)),
    )
  }

  /** The same from header to header: `header` is the request's; the answer is the reply's, from the group's coordinator. */
  async forwardOffsets(request: TxnOffsetCommitRequest, header: Uint8Array, caller: Caller): Promise<Uint8Array> {
    const { groups } = this.#gateway
    await this.#addAnywhere(request, await groups.coordinatorOf(request.groupId), { isOffsetCommit: true })
    return groups.forward(request.groupId, Api.TXN_OFFSET_COMMIT, header, caller)
  }

  /**
   * The transactional ids that are coordinated here, and pass the filter. A coordinator that does not answer is left out, unless none
   * does: others answer for theirs.
   */
  async list(filter: TransactionFilter): Promise<ListedTransaction[]> {
    const here = this.#topic.partitions.filter((partition) => !isLedElsewhere(partition))
    const outcomes = await Promise.allSettled(here.map((partition) => this.#listOne(partition, filter)))
    const listed: ListedTransaction[] = []
    const faults: unknown[] = []
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') faults.push(outcome.reason)
      else for (const each of outcome.value) listed.push(each)
    if (faults.length > 0 && faults.length === outcomes.length) throw faults[0]
    for (const err of faults)
      this.#gateway.logger.warn({ err }, 'a coordinator did not answer: its transactional ids are left out')
    return listed
  }

  /** Throws TRANSACTIONAL_ID_NOT_FOUND for one that nobody has used, NOT_COORDINATOR where another broker knows. */
  async describe(transactionalId: string): Promise<TransactionDescription> {
    if (this.#topic.partitions.length === 0) throw new MillraceError('TRANSACTIONAL_ID_NOT_FOUND')
    const coordinator = await this.#topic.partitionOf(transactionalId)
    let partitions: TransactionPartition[] = []
    let first: TransactionPage | undefined
    for (let attempts = 0; ; ) {
      const query = { kind: 'describe', transactionalId, from: partitions.length } as const
      const page = (await this.#query(coordinator, query)) as TransactionPage
      first ??= page
      // It went on between two pages.
      if (page.updateMs !== first.updateMs && ++attempts < DESCRIBE_ATTEMPTS_MAX) {
        partitions = []
        first = undefined
        continue
      }
      partitions.push(...page.partitions)
      if (page.partitions.length === 0 || partitions.length >= page.partitionCount) break
    }
    const { producerId, producerEpoch, state, timeoutMs, startTimeMs } = first
    const named = this.#namesOf(partitions)
    return { transactionalId, producerId, producerEpoch, state, timeoutMs, startTimeMs, partitions: named }
  }

  async #listOne(partition: PartitionProxy, filter: TransactionFilter): Promise<ListedTransaction[]> {
    const listed: ListedTransaction[] = []
    for (let after: string | null = ''; after !== null; ) {
      const page = (await this.#query(partition, { kind: 'list', filter, after })) as TransactionsPage
      for (const each of page.transactions) listed.push(each)
      after = page.nextAfter
    }
    return listed
  }

  async #query(coordinator: PartitionProxy, query: TransactionQuery): Promise<unknown> {
    checkServes(coordinator)
    const { ref, shard } = coordinator
    const body: TransactionRequestBody = {
      ...{ partitionRef: ref, api: 0, header: EMPTY_BYTES, freshProducerId: -1, partitions: [], query },
    }
    const bytes = await this.#gateway.links[shard]!.control<Uint8Array>(ControlOperation.TRANSACTION_REQUEST, body)
    return decodeControlBody(bytes)
  }

  /** Those of topics that are gone have no name, and are left out. */
  #namesOf(partitions: readonly TransactionPartition[]): NamedPartition[] {
    return partitions.flatMap(({ topicId, partition }) => {
      const topic = this.#gateway.router.byId(topicId)
      return topic === undefined ? [] : [{ topic: topic.record.state.name, partition }]
    })
  }

  /** A coordinator wants markers; `partitionRef` is its own. */
  async writeMarkers(link: ShardLink, partitionRef: PartitionRef, rows: readonly MarkersRow[]): Promise<void> {
    const attempts = rows.map((row) => new MarkersAttempt(row))
    const byLink = new Map<ShardLink, Marker[]>()
    const byNode = new Map<number, Marker[]>()
    for (const attempt of attempts)
      for (const part of attempt.row.partitions) {
        const proxy = this.#gateway.router.partition(part.topicId, part.partition)
        // The topic was deleted: there is nothing to mark any more.
        if (proxy === undefined) {
          attempt.done.push(part)
          continue
        }
        const refusal = leadRefusal(proxy)
        if (refusal === undefined) addTo(byLink, this.#gateway.links[proxy.shard]!, { attempt, proxy })
        else if (refusal.code === 'NOT_LEADER_OR_FOLLOWER') addTo(byNode, proxy.leaderNodeId, { attempt, proxy })
        else attempt.fail(proxy, refusal.code, refusal.text)
      }
    await Promise.all([
      ...[...byLink].map(([to, markers]) => writeInParts(markers, (some) => writeOn(to, some))),
      ...[...byNode].map(([nodeId, markers]) => writeInParts(markers, (some) => this.#writeAt(nodeId, some))),
    ])
    const body: MarkersDoneBody = { partitionRef, rows: attempts.map((attempt) => attempt.toRow()) }
    await this.#gateway.tell(link, ControlOperation.MARKERS_DONE, body)
  }

  /** Durably at the coordinator, then at the partitions. */
  async #add(
    {
      transactionalId,
      producerId,
      producerEpoch,
      isKnown = false,
      isOffsetCommit = false,
    }: TransactionalIdentity & { readonly isKnown?: boolean; readonly isOffsetCommit?: boolean },
    partitions: readonly PartitionProxy[],
  ): Promise<void> {
    const names = partitions.map(({ topicId, partition }) => ({ topicId, partition }))
    const request = { transactionalId, producerId, producerEpoch, partitions: [], isKnown, isOffsetCommit }
    await this.#ask(transactionalId, addPartitionsToTxn, request, { partitions: names })
    await this.#register({ producerId, producerEpoch }, partitions)
  }

  /** At the leaders of the partitions, wherever they are. */
  async #register(producer: ProducerIdentity, partitions: readonly PartitionProxy[]): Promise<void> {
    const refs = new Map<ShardLink, PartitionProxy['ref'][]>()
    const names = new Map<number, TransactionPartition[]>()
    for (const proxy of partitions) {
      const { topicId, partition, shard, ref, leaderNodeId } = proxy
      // Deleted meanwhile: its ref may be another partition's by now.
      if (this.#gateway.router.partition(topicId, partition) !== proxy) continue
      const refusal = leadRefusal(proxy)
      if (refusal === undefined) addTo(refs, this.#gateway.links[shard]!, ref)
      else if (refusal.code === 'NOT_LEADER_OR_FOLLOWER') addTo(names, leaderNodeId, { topicId, partition })
      else throw new MillraceError(refusal.code, refusal.text)
    }
    await Promise.all([
      ...[...refs].map(([link, partitionRefs]) => {
        const body: RegisterProducersBody = { ...producer, partitionRefs }
        return link.control(ControlOperation.REGISTER_PRODUCERS, body)
      }),
      ...[...names].map(([nodeId, list]) => this.#registerAt(nodeId, producer, list)),
    ])
  }

  async #registerAt(
    nodeId: number,
    producer: ProducerIdentity,
    partitions: readonly TransactionPartition[],
  ): Promise<void> {
    const { errorNumbers } = await this.#peers.ask(nodeId, registerProducers, { ...producer, partitions })
    const errorNumber = errorNumbers.find((number) => number !== 0)
    if (errorNumber !== undefined)
      throw new MillraceError(errorCodeOf(errorNumber), `broker ${nodeId} did not register the producer`)
  }

  /** A coordinator on another broker registers a producer at partitions that are led here: an error number each. */
  async registerHere({ partitions, ...producer }: RegisterProducersRequest): Promise<number[]> {
    const results: number[] = []
    const refs = new Map<ShardLink, { refs: PartitionProxy['ref'][]; indexes: number[] }>()
    for (const [index, { topicId, partition }] of partitions.entries()) {
      const proxy = this.#gateway.router.partition(topicId, partition)
      const code = proxy === undefined ? 'UNKNOWN_TOPIC_OR_PARTITION' : leadRefusal(proxy)?.code
      results[index] = code === undefined ? 0 : errorNumberOf(code)
      if (code !== undefined) continue
      const link = this.#gateway.links[proxy!.shard]!
      const share = refs.get(link) ?? { refs: [], indexes: [] }
      refs.set(link, share)
      share.refs.push(proxy!.ref)
      share.indexes.push(index)
    }
    await Promise.all(
      [...refs].map(async ([link, share]) => {
        const body: RegisterProducersBody = { ...producer, partitionRefs: share.refs }
        try {
          await link.control(ControlOperation.REGISTER_PRODUCERS, body)
        } catch (error) {
          if (!isMillraceError(error)) throw error
          for (const index of share.indexes) results[index] = errorNumberOf(error.code)
        }
      }),
    )
    return results
  }

  /** A coordinator on another broker has markers written to partitions that are led here: an error number each. */
  async writeHere(markers: readonly TxnMarker[]): Promise<number[]> {
    const results: number[] = []
    const shares = new Map<ShardLink, { index: number; marker: MarkerToWrite }[]>()
    for (const [index, { topicId, partition, ...marker }] of markers.entries()) {
      const proxy = this.#gateway.router.partition(topicId, partition)
      const code = proxy === undefined ? 'UNKNOWN_TOPIC_OR_PARTITION' : leadRefusal(proxy)?.code
      results[index] = code === undefined ? 0 : errorNumberOf(code)
      if (code === undefined)
        addTo(shares, this.#gateway.links[proxy!.shard]!, { index, marker: { ...marker, partitionRef: proxy!.ref } })
    }
    await Promise.all(
      [...shares].map(async ([link, share]) => {
        const body: WriteMarkersBody = { markers: share.map(({ marker }) => marker) }
        try {
          const { errorNumbers } = await link.control<WriteMarkersAnswer>(ControlOperation.WRITE_MARKERS, body)
          for (const [at, { index }] of share.entries())
            results[index] = errorNumbers[at] ?? errorNumberOf('UNKNOWN_SERVER_ERROR')
        } catch (error) {
          if (!isMillraceError(error)) throw error
          for (const { index } of share) results[index] = errorNumberOf(error.code)
        }
      }),
    )
    return results
  }

  async #writeAt(nodeId: number, markers: readonly Marker[]): Promise<readonly number[]> {
    const request = {
      markers: markers.map(({ attempt, proxy }): TxnMarker => {
        const { producerId, producerEpoch, coordinatorEpoch, isCommit, isClassic } = attempt.row
        const { topicId, partition } = proxy
        return { producerId, producerEpoch, topicId, partition, coordinatorEpoch, isCommit, isClassic }
      }),
    }
    return (await this.#peers.ask(nodeId, writeTxnMarkers, request)).errorNumbers
  }

  /** A partition that is led here becomes part of the transaction, at its coordinator, which may be on another broker. */
  async #addAnywhere(
    identity: TransactionalIdentity,
    proxy: PartitionProxy,
    { isKnown = false, isOffsetCommit = false }: { readonly isKnown?: boolean; readonly isOffsetCommit?: boolean },
  ): Promise<void> {
    const { transactionalId, producerId, producerEpoch } = identity
    const { topicId, partition } = proxy
    const request = { transactionalId, producerId, producerEpoch, isKnown, isOffsetCommit }
    const coordinator = await this.#topic.partitionOf(transactionalId)
    if (leadRefusal(coordinator)?.code !== 'NOT_LEADER_OR_FOLLOWER') {
      await this.#add(request, [proxy])
      return
    }
    const { partitions } = await this.#peers
      .ask(coordinator.leaderNodeId, addPartitionsToTxn, { ...request, partitions: [{ topicId, partition }] })
      .catch((error: unknown) => {
        throw isMillraceError(error) ? ofTransaction(error.code, error.message) : error
      })
    const [result] = partitions
    if (result !== undefined && result.errorNumber !== 0)
      throw ofTransaction(errorCodeOf(result.errorNumber), result.errorText)
  }

  get #peers(): Pick<Peers, 'ask'> {
    const { cluster } = this.#gateway
    if (cluster === undefined) throw new MillraceError('NOT_LEADER_OR_FOLLOWER', 'this broker is alone')
    return cluster.peers
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

  #find({ topicId, partition }: TransactionPartition, by: 'client' | 'broker'): FoundPart {
    const topic = this.#gateway.router.byId(topicId)
    if (topic === undefined) return { kind: 'refused', error: 'UNKNOWN_TOPIC_ID', text: '' }
    const proxy = topic.partitions[partition]
    const { name } = topic.record.state
    if (proxy === undefined) {
      const text = `${name} has partitions 0 to ${topic.partitions.length - 1}, not ${partition}`
      return { kind: 'refused', error: 'UNKNOWN_TOPIC_OR_PARTITION', text }
    }
    if (by === 'client' && isInternalTopic(name))
      return { kind: 'refused', error: 'INVALID_TOPIC_EXCEPTION', text: `${name} belongs to the broker` }
    const refusal = leadRefusal(proxy)
    if (refusal === undefined || refusal.code === 'NOT_LEADER_OR_FOLLOWER') return { kind: 'found', partition: proxy }
    return { kind: 'refused', error: refusal.code, text: refusal.text }
  }
}

/** What no producer is given is nobody's, whichever way it came. */
function checkIdentity({ producerId, producerEpoch }: ProducerIdentity): void {
  if (producerId < 0)
    throw new MillraceError('INVALID_PRODUCER_ID_MAPPING', `${producerId} is no producer id: call init-producer-id`)
  if (producerEpoch < 0 || producerEpoch > GIVEN_EPOCH_MAX)
    throw new MillraceError('PRODUCER_FENCED', `epoch ${producerEpoch} is given to no producer`)
}

function ofTransaction(code: ErrorCode, text: string): MillraceError {
  return new MillraceError(BEHIND_CODES.includes(code) ? 'COORDINATOR_NOT_AVAILABLE' : code, text)
}

function addTo<Key, Value>(byKey: Map<Key, Value[]>, key: Key, value: Value): void {
  const values = byKey.get(key)
  if (values === undefined) byKey.set(key, [value])
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

/** As many at once as a message takes; `write` answers an error number each. */
async function writeInParts(
  markers: readonly Marker[],
  write: (some: readonly Marker[]) => Promise<readonly number[]>,
): Promise<void> {
  const messages: Promise<void>[] = []
  for (let from = 0; from < markers.length; from += MARKERS_PER_MESSAGE)
    messages.push(writeSome(markers.slice(from, from + MARKERS_PER_MESSAGE), write))
  await Promise.all(messages)
}

async function writeSome(
  markers: readonly Marker[],
  write: (some: readonly Marker[]) => Promise<readonly number[]>,
): Promise<void> {
  try {
    const errorNumbers = await write(markers)
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

async function writeOn(link: ShardLink, markers: readonly Marker[]): Promise<readonly number[]> {
  const body: WriteMarkersBody = { markers: markers.map(markerToWrite) }
  return (await link.control<WriteMarkersAnswer>(ControlOperation.WRITE_MARKERS, body)).errorNumbers
}

function markerToWrite({ attempt, proxy }: Marker): MarkerToWrite {
  const { producerId, producerEpoch, coordinatorEpoch, isCommit, isClassic } = attempt.row
  return { partitionRef: proxy.ref, producerId, producerEpoch, coordinatorEpoch, isCommit, isClassic }
}
