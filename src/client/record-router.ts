/**
 * RecordRouter: which partition a record goes to. A record's own partition first; then its key's (murmur2, as Kafka's
 * clients do); without a key, by the partitioner's name: 'sticky' a random one that stays until its batch is full or sent
 * (KIP-480), so that batches fill; 'random' one drawn for each record; 'round-robin' each in turn. Partitions without a leader
 * are passed over while any has one. A function of the user's decides for all records that name no partition. Partitions that drain are
 * chosen by none of them.
 */
import { utf8Encode } from '../base/bytes.ts'
import type { Prng } from '../base/prng.ts'
import { utf8Write } from '../base/utf8-write.ts'
import { MillraceError } from '../model/errors.ts'
import { murmur2 } from '../record/partitioner.ts'
import type { PartitionInfo } from './metadata-cache.ts'

/** Answers the partition of a record, an integer in [0, partitions), from its key as it is written. */
export type PartitionFunction = (key: Uint8Array | string | null, partitions: number) => number

const SPREADS = ['sticky', 'random', 'round-robin'] as const
type Spread = (typeof SPREADS)[number]

export type Partitioner = Spread | PartitionFunction

/** Throws INVALID_ARGUMENT unless `partitioner` is one. */
export function checkedPartitioner(partitioner: unknown): Partitioner {
  if (typeof partitioner === 'function') return partitioner as PartitionFunction
  if ((SPREADS as readonly unknown[]).includes(partitioner)) return partitioner as Spread
  throw new MillraceError(
    'INVALID_ARGUMENT',
    `partitioner: expected ${SPREADS.join(', ')} or a function of key and number of partitions, not '${String(partitioner)}'`,
  )
}

const SCRATCH_BYTES = 256
/** UTF-8 takes at most three bytes for a UTF-16 unit. */
const SHORT_KEY_LENGTH_MAX = Math.floor(SCRATCH_BYTES / 3)
/** Of all routers: a key is hashed as soon as it is written there. */
const SCRATCH = new Uint8Array(SCRATCH_BYTES)
/** VIEWS[n] = the first n bytes of the scratch, made when first needed: text keys are hashed without an allocation each. */
const VIEWS: Uint8Array[] = []

function scratchView(bytes: number): Uint8Array {
  for (let next = VIEWS.length; next <= bytes; next++) VIEWS.push(SCRATCH.subarray(0, next))
  return VIEWS[bytes]!
}

export class RecordRouter {
  readonly #prng: Prng
  readonly #custom: PartitionFunction | undefined
  readonly #spread: Spread
  #sticky = -1
  #turn = -1

  constructor(prng: Prng, partitioner: Partitioner) {
    this.#prng = prng
    this.#custom = typeof partitioner === 'function' ? partitioner : undefined
    this.#spread = typeof partitioner === 'function' ? 'sticky' : partitioner
  }

  /**
   * The partition of a record: of the first `count`, but for a record that names another one. Throws INVALID_ARGUMENT when the record or
   * the custom partitioner names none of the topic's.
   */
  route(
    partition: number | undefined,
    key: Uint8Array | string | null | undefined,
    partitions: readonly PartitionInfo[],
    count: number = partitions.length,
  ): number {
    if (partition !== undefined) return checked(partition, partitions.length, 'partition')
    if (this.#custom !== undefined) return checked(this.#custom(key ?? null, count), count, 'partitioner')
    if (key !== null && key !== undefined) return (this.#hash(key) & 0x7fffffff) % count
    if (this.#spread !== 'sticky') return this.#spreadOut(partitions, count)
    if (this.#sticky < 0 || this.#sticky >= count)
      this.#sticky = this.#withLeader(this.#prng.below(count), partitions, count)
    return this.#sticky
  }

  #spreadOut(partitions: readonly PartitionInfo[], count: number): number {
    if (this.#spread === 'random') return this.#withLeader(this.#prng.below(count), partitions, count)
    // The first turn is drawn: producers that begin together do not all begin with the same partition.
    const next = this.#turn < 0 ? this.#prng.below(count) : (this.#turn + 1) % count
    this.#turn = this.#withLeader(next, partitions, count)
    return this.#turn
  }

  /** A batch of `partition` is closed: records without a key go elsewhere. */
  batchClosed(partition: number): void {
    if (this.#sticky === partition) this.#sticky = -1
  }

  #hash(key: Uint8Array | string): number {
    if (typeof key !== 'string') return murmur2(key)
    if (key.length > SHORT_KEY_LENGTH_MAX) return murmur2(utf8Encode(key))
    return murmur2(scratchView(utf8Write(SCRATCH, 0, key)))
  }

  /** `from`, or the first after it that has a leader if any has. */
  #withLeader(from: number, partitions: readonly PartitionInfo[], count: number): number {
    for (let step = 0; step < count; step++) {
      const index = (from + step) % count
      const info = partitions[index]!
      if (info.leaderNodeId >= 0 && info.offline === null) return index
    }
    return from
  }
}

function checked(partition: number, count: number, what: string): number {
  if (Number.isInteger(partition) && partition >= 0 && partition < count) return partition
  throw new MillraceError('INVALID_ARGUMENT', `${what} ${partition}: the topic has partitions 0 to ${count - 1}`)
}
