/** Options of a producer, their defaults and their checks. */

import { kindOf } from '../base/bytes.ts'
import { utf8Bytes } from '../base/utf8-write.ts'
import { MillraceError } from '../model/errors.ts'
import { FRAME_BYTES_MAX, PRODUCE_TIMEOUT_MS_MAX, TRANSACTIONAL_ID_BYTES_MAX } from '../model/limits.ts'
import { CODEC_NAMES, type CodecName, codecNumberOf } from '../record/compression.ts'
import { checkedChoice, checkedDuration, checkedInteger, type Duration } from './client-options.ts'
import { IN_FLIGHT_MAX } from './partition-queue.ts'
import { checkedPartitioner, type Partitioner } from './record-router.ts'

export type Acks = 'none' | 'leader' | 'all'

/**
 * How often a record is stored, and what that costs:
 *
 *                    acks   idempotent   retriesMax
 *   at-most-once     none   false        0            never twice, perhaps not at all; nothing is answered
 *   at-least-once    all    false        no bound     never lost once acknowledged, perhaps twice
 *   exactly-once     all    true         no bound     once in the log for each send() of a producer's life
 */
export type Semantics = 'at-most-once' | 'at-least-once' | 'exactly-once'

export interface ProducerOptions {
  /**
   * Sets acks, idempotent and retriesMax together; each can still be set alone, but for what 'exactly-once' rests on. Default:
   * as 'exactly-once', which speaks of one producer's writing. Reading, processing and writing as one thing: transactionalId.
   */
  readonly semantics?: Semantics
  /** Who must have a record before it counts as delivered: nobody, the leader, all in-sync replicas. Default all. */
  readonly acks?: Acks
  /** Retries never duplicate or reorder. Default true; false with acks none. */
  readonly idempotent?: boolean
  /** How often a batch is sent again at most. Default: until deliveryTimeoutMs. */
  readonly retriesMax?: number
  readonly compression?: CodecName
  /**
   * A batch before compression. Default 262,144; less where the topic's max.message.bytes or the broker's frames are smaller.
   * A record that is larger goes alone, as long as those two allow it.
   */
  readonly batchBytesMax?: number
  /**
   * How long a batch that is not full waits for more records. Default 0: it leaves at once when no other of its partition is
   * in flight, and else fills until one is acknowledged, so load makes batches by itself.
   */
  readonly lingerMs?: Duration
  /** Records in memory, delivered to nobody yet. Default 32 MiB. */
  readonly bufferBytesMax?: number
  /** Batches of one partition without an answer. Default and most 5. */
  readonly inFlightMax?: number
  /** From send() or enqueue() to the acknowledgement: waiting for room, or for the topic, and retries included. Default 120,000. */
  readonly deliveryTimeoutMs?: Duration
  /** The broker answers a produce request within this. Default 30,000. */
  readonly requestTimeoutMs?: Duration
  /**
   * Bytes of one request, several partitions together; a batch that is larger goes alone. Default 256 KiB: the gateway joins what
   * comes in pieces, and smaller frames come in fewer.
   */
  readonly requestBytesMax?: number
  /**
   * Where records go that name no partition. 'sticky' (default), 'random' and 'round-robin' speak of records without a key: one
   * random partition a batch, one a record, one after the other; a key's partition is its murmur2 hash, as with Kafka's clients.
   * A function decides for all.
   */
  readonly partitioner?: Partitioner
  /** Told of each stored batch: receipts for enqueue(), without a promise per record. */
  readonly onStored?: (batch: StoredBatch) => void
  /** Told of each batch that was given up. Without it, or when it throws, drain() and close() throw the first such error. */
  readonly onFailed?: (batch: FailedBatch) => void
}

export interface TransactionalProducerOptions extends ProducerOptions {
  /**
   * The producer's name across its lives. A new producer of the same name fences the one before, and what that one had open is aborted;
   * so each process that writes at the same time has a name of its own.
   */
  readonly transactionalId: string
  /** How long a transaction may be open before the broker aborts it, which fences the producer. Default 60,000. */
  readonly transactionTimeoutMs?: Duration
}

export interface StoredBatch {
  readonly topic: string
  readonly partition: number
  /** Offset of the first record; -1 with acks none. */
  readonly baseOffset: number
  readonly recordsCount: number
  readonly durability: 'none' | 'written' | 'fsynced' | 'replicated'
  /** Of 'replicated': how each replica syncs, 'group' before it counts, 'interval' after. */
  readonly fsync?: 'group' | 'interval'
}

export interface FailedBatch {
  readonly topic: string
  readonly partition: number
  readonly recordsCount: number
  readonly error: MillraceError
}

export interface ResolvedProducerOptions {
  readonly acks: -1 | 0 | 1
  readonly idempotent: boolean
  readonly retriesMax: number
  readonly partitioner: Partitioner
  readonly codec: number
  readonly batchBytesMax: number
  readonly lingerMs: number
  readonly bufferBytesMax: number
  readonly inFlightMax: number
  readonly deliveryTimeoutMs: number
  readonly requestTimeoutMs: number
  readonly requestBytesMax: number
  readonly isTransactional: boolean
  readonly transactionTimeoutMs: number
}

const KIB = 1024
const MIB = 1024 * KIB
const ACKS = { none: 0, leader: 1, all: -1 } as const
const NO_BOUND = Number.MAX_SAFE_INTEGER
const SEMANTICS = {
  'at-most-once': { acks: 'none', idempotent: false, retriesMax: 0 },
  'at-least-once': { acks: 'all', idempotent: false, retriesMax: NO_BOUND },
  'exactly-once': { acks: 'all', idempotent: true, retriesMax: NO_BOUND },
} as const

/** A transactional id of 1 to TRANSACTIONAL_ID_BYTES_MAX bytes. Throws INVALID_ARGUMENT. */
export function checkedTransactionalId(id: unknown): string {
  const bytes = typeof id === 'string' ? utf8Bytes(id) : 0
  if (bytes >= 1 && bytes <= TRANSACTIONAL_ID_BYTES_MAX) return id as string
  throw new MillraceError(
    'INVALID_ARGUMENT',
    `transactionalId: expected text of 1 to ${TRANSACTIONAL_ID_BYTES_MAX} bytes, not ${typeof id === 'string' ? `${bytes}` : kindOf(id)}`,
  )
}

type GivenOptions = ProducerOptions & Partial<TransactionalProducerOptions>

function resolveSemantics(options: GivenOptions): Pick<ResolvedProducerOptions, 'acks' | 'idempotent' | 'retriesMax'> {
  const names = ['at-most-once', 'at-least-once', 'exactly-once'] as const
  const semantics = checkedChoice('semantics', options.semantics ?? 'exactly-once', names)
  const set = SEMANTICS[semantics]
  const acks = checkedChoice('acks', options.acks ?? set.acks, ['none', 'leader', 'all'])
  const idempotent = options.idempotent ?? (set.idempotent && acks !== 'none')
  const isTransactional = options.transactionalId !== undefined
  if (isTransactional) checkedTransactionalId(options.transactionalId)
  if ((options.semantics === 'exactly-once' || isTransactional) && (acks !== 'all' || !idempotent))
    throw new MillraceError(
      'INVALID_ARGUMENT',
      `${isTransactional ? 'a transactionalId' : "semantics 'exactly-once'"} rests on acks 'all' and idempotent true, not acks '${acks}' and idempotent ${idempotent}`,
    )
  return {
    acks: ACKS[acks],
    // Without answers there is nothing to retry, and so nothing to recognise.
    idempotent: idempotent && acks !== 'none',
    retriesMax: checkedInteger('retriesMax', options.retriesMax ?? set.retriesMax, 0, NO_BOUND),
  }
}

export function resolveProducerOptions(options: GivenOptions): ResolvedProducerOptions {
  const { acks, idempotent, retriesMax } = resolveSemantics(options)
  const batchBytesMax = checkedInteger('batchBytesMax', options.batchBytesMax ?? 256 * KIB, 1024, FRAME_BYTES_MAX / 2)
  const bufferBytesMax = checkedInteger('bufferBytesMax', options.bufferBytesMax ?? 32 * MIB, batchBytesMax, 2 ** 40)
  // Without sequences a retry could overtake: order is kept by one batch in flight.
  const inFlightDefault = idempotent || acks === 0 ? IN_FLIGHT_MAX : 1
  return {
    acks,
    idempotent,
    retriesMax,
    isTransactional: options.transactionalId !== undefined,
    transactionTimeoutMs: checkedDuration(
      'transactionTimeoutMs',
      options.transactionTimeoutMs ?? 60_000,
      1,
      2 ** 31 - 1,
    ),
    partitioner: checkedPartitioner(options.partitioner ?? 'sticky'),
    codec: codecNumberOf(checkedChoice('compression', options.compression ?? 'none', CODEC_NAMES))!,
    batchBytesMax,
    lingerMs: checkedDuration('lingerMs', options.lingerMs ?? 0, 0, 60_000),
    bufferBytesMax,
    inFlightMax: checkedInteger('inFlightMax', options.inFlightMax ?? inFlightDefault, 1, IN_FLIGHT_MAX),
    deliveryTimeoutMs: checkedDuration('deliveryTimeoutMs', options.deliveryTimeoutMs ?? 120_000, 1, 2 ** 31 - 1),
    requestTimeoutMs: checkedDuration(
      'requestTimeoutMs',
      options.requestTimeoutMs ?? 30_000,
      1,
      PRODUCE_TIMEOUT_MS_MAX,
    ),
    requestBytesMax: checkedInteger(
      'requestBytesMax',
      options.requestBytesMax ?? 256 * KIB,
      1024,
      FRAME_BYTES_MAX - 64 * KIB,
    ),
  }
}
