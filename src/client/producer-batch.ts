/**
 * ProducerBatch: one record batch on its way to a partition, and whoever waits for it. Its bytes stay as they are until it is
 * acknowledged, so that it can be sent again without being built again.
 */
import { writeSafeInt64 } from '../base/bytes.ts'
import { crc32c } from '../base/crc32c.ts'
import type { MillraceError } from '../model/errors.ts'
import { BASE_SEQUENCE_AT, CRC_AT, CRC_FROM, PRODUCER_EPOCH_AT, PRODUCER_ID_AT } from '../record/batch-layout.ts'
import type { BatchWriter } from '../record/batch-writer.ts'

const NO_SEQUENCE = -1

/** One send() that waits for its record. */
export interface RecordWaiter {
  /** Place of the record in the batch. */
  readonly index: number
  readonly timestampMs: number
  readonly resolve: (receipt: DeliveredRecord) => void
  readonly reject: (error: MillraceError) => void
}

export interface DeliveredRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly timestampMs: number
  readonly durability: 'none' | 'written' | 'fsynced' | 'replicated'
  /** Of 'replicated': how each replica syncs, 'group' before it counts, 'interval' after. */
  readonly fsync?: 'group' | 'interval'
}

export interface ProducerBatchOptions {
  readonly createdMs: number
  readonly deadlineMs: number
  readonly codec: number
  readonly isTransactional: boolean
}

export class ProducerBatch {
  readonly writer: BatchWriter
  readonly createdMs: number
  /** Of its oldest record: it may have waited before the batch was begun. */
  deadlineMs: number
  readonly codec: number
  /** Part of a transaction. */
  readonly isTransactional: boolean
  /** Grows with every batch of the partition. */
  ordinal = 0
  attempts = 0
  epochRestarts = 0
  /** An attempt ended without an answer: the batch may be stored. */
  inDoubt = false
  baseSequence = NO_SEQUENCE
  lastError: MillraceError | undefined
  /** Made when the first send() waits: enqueue() needs none. */
  waiters: RecordWaiter[] | undefined
  /** One of its records, or more, go to no other partition. */
  namesPartition = false
  /** It has left its producer's accounts. */
  released = false
  #countedBytes = 0
  #bytes: Uint8Array | undefined
  #producerId = -1
  #producerEpoch = -1

  constructor(writer: BatchWriter, options: ProducerBatchOptions) {
    this.writer = writer
    this.createdMs = options.createdMs
    this.deadlineMs = options.deadlineMs
    this.codec = options.codec
    this.isTransactional = options.isTransactional
  }

  get recordsCount(): number {
    return this.writer.recordsCount
  }

  /** Bytes of the batch as it is now: compression makes it smaller when it is built. */
  get bufferedBytes(): number {
    return this.writer.sizeInBytes
  }

  /** Bytes it was counted with in its producer's account: those before compression. */
  countedBytes(): number {
    return this.#bytes === undefined ? this.writer.sizeInBytes : this.#countedBytes
  }

  /** It is stored nowhere for certain, and its records may go wherever they are routed. */
  get mayGoElsewhere(): boolean {
    // Of a transaction only what was never sent: the rest is the transaction's to give up.
    return !this.namesPartition && !this.inDoubt && (!this.isTransactional || this.attempts === 0)
  }

  assign(producerId: number, producerEpoch: number, baseSequence: number): void {
    this.baseSequence = baseSequence
    this.#producerId = producerId
    this.#producerEpoch = producerEpoch
    if (this.#bytes !== undefined) this.#restamp(this.#bytes)
  }

  /** It gets a sequence of a new epoch. The new epoch fences older copies, so nothing is in doubt any more. */
  unassign(): void {
    this.baseSequence = NO_SEQUENCE
    this.inDoubt = false
  }

  /** The batch as it goes over the wire. Built once. */
  bytes(): Uint8Array {
    if (this.#bytes === undefined) {
      this.#countedBytes = this.writer.sizeInBytes
      this.#bytes = this.writer.finish({
        producerId: this.#producerId,
        producerEpoch: this.#producerEpoch,
        baseSequence: this.baseSequence,
        codec: this.codec,
        transactional: this.isTransactional,
      })
    }
    return this.#bytes
  }

  #restamp(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    writeSafeInt64(view, PRODUCER_ID_AT, this.#producerId)
    view.setInt16(PRODUCER_EPOCH_AT, this.#producerEpoch)
    view.setInt32(BASE_SEQUENCE_AT, this.baseSequence)
    view.setUint32(CRC_AT, crc32c(bytes.subarray(CRC_FROM)))
  }
}
