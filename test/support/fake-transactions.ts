/**
 * FakeTransactions: the transaction coordinator that the fake broker has, and what its partitions know of transactions: small, and true to
 * the rules a producer depends on (src/transaction/README.md): an epoch a transaction, fencing, the same end twice, timeouts,
 * registration at the partition, markers, the last stable offset, aborted transactions, offsets that are pending. What it saw is
 * kept for tests. Not here: durability, several coordinators, limits.
 */
import { writeSafeInt64 } from '../../src/base/bytes.ts'
import { crc32c } from '../../src/base/crc32c.ts'
import { PRODUCER_EPOCH_MAX } from '../../src/client/partition-queue.ts'
import { type ErrorCode, errorNumberOf, MillraceError } from '../../src/model/errors.ts'
import * as wire from '../../src/protocol/index.ts'
import { ATTRIBUTES_AT, CONTROL_BIT, CRC_AT, CRC_FROM } from '../../src/record/batch-layout.ts'
import { BatchView } from '../../src/record/batch-view.ts'
import { BatchWriter } from '../../src/record/batch-writer.ts'
import type { FakePartition } from './fake-broker.ts'
import type { FakeCoordinator } from './fake-coordinator.ts'

type State = 'Empty' | 'Ongoing' | 'PrepareCommit' | 'PrepareAbort' | 'CompleteCommit' | 'CompleteAbort'

export interface FakeTransaction {
  producerId: number
  epoch: number
  state: State
  timeoutMs: number
  beganMs: number
  readonly partitions: Set<FakePartition>
  readonly groupIds: Set<string>
  /** The epoch whose end led to the state. */
  endedEpoch: number
}

/** What a partition knows of transactions. */
export interface PartitionTransactions {
  /** Producer -> epoch that may begin one. */
  readonly registered: Map<number, number>
  /** Producer -> first offset of what is open. */
  readonly open: Map<number, number>
}

export function noTransactions(): PartitionTransactions {
  return { registered: new Map(), open: new Map() }
}

interface Surroundings {
  readonly find: (topicId: string, partition: number) => FakePartition | undefined
  readonly groups: FakeCoordinator
  readonly newProducerId: () => number
  /** Readers that wait may have something. */
  readonly onChange: () => void
}

export class FakeTransactions {
  readonly ids = new Map<string, FakeTransaction>()
  readonly inits: string[] = []
  /** How many partitions each add-partitions request named. */
  readonly adds: number[] = []
  readonly ends: { readonly epoch: number; readonly isCommit: boolean }[] = []
  /** Batches that came for a partition that was not told of their transaction. */
  unregistered = 0
  /** Markers are not written: what comes next is answered CONCURRENT_TRANSACTIONS. */
  isHoldingMarkers = false
  readonly #around: Surroundings

  constructor(around: Surroundings) {
    this.#around = around
  }

  answer(frame: wire.Frame): Uint8Array | undefined {
    const { header } = frame
    switch (frame.api) {
      case wire.Api.INIT_PRODUCER_ID:
        return wire.initProducerId.encodeReply(this.#init(wire.initProducerId.decodeRequest(header)))
      case wire.Api.ADD_PARTITIONS_TO_TXN:
        return wire.addPartitionsToTxn.encodeReply(this.#add(wire.addPartitionsToTxn.decodeRequest(header)))
      case wire.Api.END_TXN:
        return wire.endTxn.encodeReply(this.#end(wire.endTxn.decodeRequest(header)))
      case wire.Api.TXN_OFFSET_COMMIT:
        return wire.txnOffsetCommit.encodeReply(this.#commitOffsets(wire.txnOffsetCommit.decodeRequest(header)))
      default:
        return undefined
    }
  }

  /** Markers that were held back are written. */
  releaseMarkers(): void {
    this.isHoldingMarkers = false
    for (const transaction of this.ids.values()) this.#complete(transaction)
  }

  /** As the coordinator's clock does: aborts what has been open for too long. */
  expire(transactionalId: string): void {
    const transaction = this.ids.get(transactionalId)!
    this.#decide(transaction, false)
  }

  #init(request: wire.InitProducerIdRequest): wire.InitProducerIdReply {
    const { transactionalId, transactionTimeoutMs } = request
    if (transactionalId === null) return { producerId: this.#around.newProducerId(), producerEpoch: 0 }
    this.inits.push(transactionalId)
    let transaction = this.ids.get(transactionalId)
    if (transaction === undefined) {
      const places = { partitions: new Set<FakePartition>(), groupIds: new Set<string>() }
      const start = { epoch: -1, state: 'Empty' as const, beganMs: 0, endedEpoch: -1, timeoutMs: transactionTimeoutMs }
      transaction = { producerId: this.#around.newProducerId(), ...start, ...places }
      this.ids.set(transactionalId, transaction)
    }
    if (transaction.state === 'Ongoing') this.#decide(transaction, false)
    this.#checkDecided(transaction)
    transaction.timeoutMs = transactionTimeoutMs
    if (transaction.epoch >= PRODUCER_EPOCH_MAX - 1) {
      transaction.producerId = this.#around.newProducerId()
      transaction.epoch = -1
    }
    transaction.epoch++
    transaction.state = 'Empty'
    return { producerId: transaction.producerId, producerEpoch: transaction.epoch }
  }

  #known(request: wire.ProducerIdentity & { readonly transactionalId: string }): FakeTransaction {
    const transaction = this.ids.get(request.transactionalId)
    if (transaction?.producerId !== request.producerId) throw new MillraceError('INVALID_PRODUCER_ID_MAPPING')
    const isLate = transaction.state === 'Ongoing' && performance.now() - transaction.beganMs > transaction.timeoutMs
    if (isLate) this.#decide(transaction, false)
    return transaction
  }

  #begun(request: wire.ProducerIdentity & { readonly transactionalId: string }): FakeTransaction {
    const transaction = this.#known(request)
    if (transaction.epoch !== request.producerEpoch) throw new MillraceError('PRODUCER_FENCED')
    this.#checkDecided(transaction)
    if (transaction.state !== 'Ongoing') {
      transaction.state = 'Ongoing'
      transaction.beganMs = performance.now()
    }
    return transaction
  }

  #checkDecided({ state }: FakeTransaction): void {
    if (state.startsWith('Prepare')) throw new MillraceError('CONCURRENT_TRANSACTIONS')
  }

  #add(request: wire.AddPartitionsToTxnRequest): wire.AddPartitionsToTxnReply {
    const found = request.partitions.map(({ topicId, partition }) => this.#around.find(topicId, partition))
    this.adds.push(found.length)
    if (found.includes(undefined)) {
      const code = (isKnown: boolean): ErrorCode => (isKnown ? 'OPERATION_NOT_ATTEMPTED' : 'UNKNOWN_TOPIC_ID')
      const faults = found.map((each) => ({ errorNumber: errorNumberOf(code(each !== undefined)), errorText: '' }))
      return { partitions: faults }
    }
    const transaction = this.#begun(request)
    for (const partition of found) {
      transaction.partitions.add(partition!)
      partition!.transactions.registered.set(request.producerId, request.producerEpoch)
    }
    return { partitions: found.map(() => ({ errorNumber: 0, errorText: '' })) }
  }

  #commitOffsets(request: wire.TxnOffsetCommitRequest): wire.OffsetCommitReply {
    const transaction = this.#begun(request)
    transaction.groupIds.add(request.groupId)
    return this.#around.groups.commitPending(request)
  }

  #end(request: wire.EndTxnRequest): wire.EndTxnReply {
    const { isCommit, producerEpoch } = request
    this.ends.push({ epoch: producerEpoch, isCommit })
    const transaction = this.#known(request)
    const { producerId, state } = transaction
    const outcome = isCommit ? /Commit$/ : /Abort$/
    if (producerEpoch === transaction.endedEpoch && /^(Prepare|Complete)/.test(state)) {
      if (!outcome.test(state)) throw new MillraceError('INVALID_TXN_STATE')
      return { producerId, producerEpoch: transaction.epoch }
    }
    if (producerEpoch !== transaction.epoch) throw new MillraceError('PRODUCER_FENCED')
    this.#checkDecided(transaction)
    if (state === 'Ongoing') {
      this.#decide(transaction, isCommit)
      transaction.endedEpoch = producerEpoch
    }
    return { producerId, producerEpoch: transaction.epoch }
  }

  #decide(transaction: FakeTransaction, isCommit: boolean): void {
    transaction.state = isCommit ? 'PrepareCommit' : 'PrepareAbort'
    transaction.endedEpoch = -1
    transaction.epoch++
    if (!this.isHoldingMarkers) this.#complete(transaction)
  }

  #complete(transaction: FakeTransaction): void {
    if (!transaction.state.startsWith('Prepare')) return
    const isCommit = transaction.state === 'PrepareCommit'
    for (const partition of transaction.partitions) writeMarker(partition, transaction, isCommit)
    for (const groupId of transaction.groupIds)
      this.#around.groups.endPending(groupId, transaction.producerId, isCommit)
    transaction.partitions.clear()
    transaction.groupIds.clear()
    transaction.state = isCommit ? 'CompleteCommit' : 'CompleteAbort'
    this.#around.onChange()
  }

  /** A batch of a transaction was stored: the first one opens it there. */
  appended(partition: FakePartition, view: BatchView): void {
    const { open } = partition.transactions
    if (!open.has(view.producerId)) open.set(view.producerId, view.baseOffset)
    moveOpenOffset(partition)
  }

  /** Why a partition refuses a batch that is new to it; undefined = it takes it. */
  refusal(partition: FakePartition, view: BatchView): ErrorCode | undefined {
    const { open, registered } = partition.transactions
    const { producerId, producerEpoch, isTransactional } = view
    if (!isTransactional) return open.has(producerId) ? 'INVALID_TXN_STATE' : undefined
    if (open.has(producerId) || registered.get(producerId) === producerEpoch) return undefined
    this.unregistered++
    return 'INVALID_TXN_STATE'
  }
}

/** The end of a transaction in a partition: a control batch, and the producer's epoch is the next one. */
function writeMarker(partition: FakePartition, transaction: FakeTransaction, isCommit: boolean): void {
  const { producerId, epoch } = transaction
  const { transactions } = partition
  const bytes = markerBytes(producerId, epoch, isCommit)
  const view = new BatchView().reset(bytes, 0)
  const baseOffset = partition.highWatermark
  view.stamp(baseOffset, partition.leaderEpoch)
  partition.highWatermark = view.nextOffset
  partition.batches.push({ baseOffset, nextOffset: view.nextOffset, bytes })
  partition.producers.set(producerId, { epoch, batches: [] })
  const firstOffset = transactions.open.get(producerId)
  transactions.open.delete(producerId)
  transactions.registered.delete(producerId)
  if (firstOffset !== undefined && !isCommit)
    partition.aborted.push({ producerId, firstOffset, lastOffset: baseOffset })
  moveOpenOffset(partition)
}

function moveOpenOffset(partition: FakePartition): void {
  partition.openOffset = Math.min(Number.POSITIVE_INFINITY, ...partition.transactions.open.values())
}

function markerBytes(producerId: number, producerEpoch: number, isCommit: boolean): Uint8Array {
  const writer = new BatchWriter()
  const value = new Uint8Array(6)
  writer.append(Uint8Array.of(0, 0, 0, isCommit ? 1 : 0), value, null, 1)
  const bytes = writer.finish({ producerId, producerEpoch, transactional: true }).slice()
  const data = new DataView(bytes.buffer)
  data.setInt16(ATTRIBUTES_AT, data.getInt16(ATTRIBUTES_AT) | CONTROL_BIT)
  data.setUint32(CRC_AT, crc32c(bytes.subarray(CRC_FROM)))
  writeSafeInt64(data, 0, 0)
  return bytes
}

/** The batches of records that a reader with read_committed sees. */
export function committedBatches(partition: FakePartition): FakePartition['batches'] {
  return partition.batches.filter(({ bytes, baseOffset }) => {
    const view = new BatchView().reset(bytes, 0)
    const { producerId, isTransactional } = view
    if (view.isControl || baseOffset >= partition.openOffset) return false
    const isOf = (each: FakePartition['aborted'][number]): boolean =>
      each.producerId === producerId && each.firstOffset <= baseOffset && baseOffset < each.lastOffset
    return !(isTransactional && partition.aborted.some(isOf))
  })
}
