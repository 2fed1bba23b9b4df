/** Options of a producer, their defaults and their checks. */
import { FRAME_BYTES_MAX, PRODUCE_TIMEOUT_MS_MAX } from '../model/limits.ts'
import { CODEC_NAMES, type CodecName, codecNumberOf } from '../record/compression.ts'
import { checkedChoice, checkedInteger } from './client-options.ts'
import { IN_FLIGHT_MAX } from './partition-queue.ts'
import type { Partitioner } from './record-router.ts'

export type Acks = 'none' | 'leader' | 'all'

export interface ProducerOptions {
  /** Who must have a record before it counts as delivered: nobody, the leader, all in-sync replicas. Default all. */
  readonly acks?: Acks
  /** Retries never duplicate or reorder. Default true; false with acks none. */
  readonly idempotent?: boolean
  readonly compression?: CodecName
  /** A batch before compression. Default 262,144; less where the topic's max.message.bytes or the broker's frames are smaller. */
  readonly batchBytesMax?: number
  /**
   * How long a batch that is not full waits for more records. Default 0: it leaves at once when no other of its partition is
   * in flight, and else fills until one is acknowledged, so load makes batches by itself.
   */
  readonly lingerMs?: number
  /** Records in memory, delivered to nobody yet. Default 32 MiB. */
  readonly bufferBytesMax?: number
  /** Batches of one partition without an answer. Default and most 5. */
  readonly inFlightMax?: number
  /** From send() or enqueue() to the acknowledgement, retries included. Default 120,000. */
  readonly deliveryTimeoutMs?: number
  /** The broker answers a produce request within this. Default 30,000. */
  readonly requestTimeoutMs?: number
  /**
   * Bytes of one request, several partitions together; a batch that is larger goes alone. Default 256 KiB: the gateway joins what
   * comes in pieces, and smaller frames come in fewer.
   */
  readonly requestBytesMax?: number
  readonly partitioner?: Partitioner
  /** Told of each stored batch: receipts for enqueue(), without a promise per record. */
  readonly onStored?: (batch: StoredBatch) => void
  /** Told of each batch that was given up. Without it, drain() and close() throw the first such error. */
  readonly onFailed?: (batch: FailedBatch) => void
}

export interface StoredBatch {
  readonly topic: string
  readonly partition: number
  /** Offset of the first record; -1 with acks none. */
  readonly baseOffset: number
  readonly recordsCount: number
  readonly durability: 'none' | 'written' | 'fsynced' | 'replicated'
}

export interface FailedBatch {
  readonly topic: string
  readonly partition: number
  readonly recordsCount: number
  readonly error: Error
}

export interface ResolvedProducerOptions {
  readonly acks: -1 | 0 | 1
  readonly idempotent: boolean
  readonly codec: number
  readonly batchBytesMax: number
  readonly lingerMs: number
  readonly bufferBytesMax: number
  readonly inFlightMax: number
  readonly deliveryTimeoutMs: number
  readonly requestTimeoutMs: number
  readonly requestBytesMax: number
}

const KIB = 1024
const MIB = 1024 * KIB
const ACKS = { none: 0, leader: 1, all: -1 } as const

export function resolveProducerOptions(options: ProducerOptions): ResolvedProducerOptions {
  const acks = ACKS[checkedChoice('acks', options.acks ?? 'all', ['none', 'leader', 'all'])]
  const idempotent = acks !== 0 && (options.idempotent ?? true)
  const batchBytesMax = checkedInteger('batchBytesMax', options.batchBytesMax ?? 256 * KIB, 1024, FRAME_BYTES_MAX / 2)
  const bufferBytesMax = checkedInteger('bufferBytesMax', options.bufferBytesMax ?? 32 * MIB, batchBytesMax, 2 ** 40)
  // Without sequences a retry could overtake: order is kept by one batch in flight.
  const inFlightDefault = idempotent || acks === 0 ? IN_FLIGHT_MAX : 1
  return {
    acks,
    idempotent,
    codec: codecNumberOf(checkedChoice('compression', options.compression ?? 'none', CODEC_NAMES))!,
    batchBytesMax,
    lingerMs: checkedInteger('lingerMs', options.lingerMs ?? 0, 0, 60_000),
    bufferBytesMax,
    inFlightMax: checkedInteger('inFlightMax', options.inFlightMax ?? inFlightDefault, 1, IN_FLIGHT_MAX),
    deliveryTimeoutMs: checkedInteger('deliveryTimeoutMs', options.deliveryTimeoutMs ?? 120_000, 1, 2 ** 31 - 1),
    requestTimeoutMs: checkedInteger('requestTimeoutMs', options.requestTimeoutMs ?? 30_000, 1, PRODUCE_TIMEOUT_MS_MAX),
    requestBytesMax: checkedInteger(
      'requestBytesMax',
      options.requestBytesMax ?? 256 * KIB,
      1024,
      FRAME_BYTES_MAX - 64 * KIB,
    ),
  }
}
