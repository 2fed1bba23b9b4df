/** Options of consume(), their defaults and their checks. */
import { MillraceError } from '../model/errors.ts'
import { FETCH_BYTES_MAX, FETCH_WAIT_MS_MAX } from '../model/limits.ts'
import { checkedChoice, checkedDuration, checkedInteger, type Duration } from './client-options.ts'
import { checkedPosition } from './positions.ts'
import type { DecodeErrorPolicy } from './record-decoder.ts'
import type { Position } from './record-types.ts'

export interface ConsumerOptions {
  /** Where to begin, in each partition. Default 'end': what cannot be read yet, by `isolation`. */
  readonly from?: Position
  /** Where to stop, exclusive; 'end' = the high watermark when the call began: open transactions below it are waited for. Default: never. */
  readonly to?: Position
  /** Default: all, those added later included only by a new consumer. */
  readonly partitions?: readonly number[]
  /** What to do where the offset wanted is gone or not there yet. Default 'fail'; never silently. */
  readonly onOutOfRange?: 'fail' | 'earliest' | 'latest'
  /** Which records of transactions are read: those that were committed (default), or all. */
  readonly isolation?: 'read_uncommitted' | 'read_committed'
  /**
   * Where this consumer stands: partitions are read from an in-sync replica of a broker with that `cluster.rack`, where there is one, instead
   * of from their leader. What is read there may come a moment later. Default: leaders.
   */
  readonly rackId?: string
  /** Typed topics: what becomes of a record that its serdes cannot read. Default 'fail'. */
  readonly onDecodeError?: DecodeErrorPolicy
  readonly signal?: AbortSignal
  /** Bytes of one fetch. Default 1 MiB: what the kernel takes at once, so that nobody waits for a reader in between. */
  readonly fetchBytesMax?: number
  /** Bytes of one partition in one fetch. Default 1 MiB. */
  readonly partitionBytesMax?: number
  /** Bytes that wait for the handler; fetching pauses there. Default 16 MiB. */
  readonly prefetchBytesMax?: number
  /** How long the broker may hold a fetch that has fewer than minBytes. Defaults 500 ms and 1 byte. */
  readonly waitMs?: Duration
  readonly minBytes?: number
  /** Check each batch's CRC-32C. Default true. */
  readonly checkCrc?: boolean
}

export interface ResolvedConsumerOptions {
  readonly from: Position
  readonly to: Position | undefined
  readonly partitions: readonly number[] | undefined
  readonly onOutOfRange: 'fail' | 'earliest' | 'latest'
  readonly isolation: 0 | 1
  readonly rackId: string | null
  readonly onDecodeError: DecodeErrorPolicy
  readonly fetchBytesMax: number
  readonly partitionBytesMax: number
  readonly prefetchBytesMax: number
  readonly waitMs: number
  readonly minBytes: number
  readonly checkCrc: boolean
}

const MIB = 1024 * 1024
const RACK_LENGTH_MAX = 1024

/** The text of a rack, or null where none is named. Throws INVALID_ARGUMENT. */
export function checkedRackId(rackId: string | undefined): string | null {
  if (rackId === undefined) return null
  if (typeof rackId === 'string' && rackId.length >= 1 && rackId.length <= RACK_LENGTH_MAX) return rackId
  throw new MillraceError('INVALID_ARGUMENT', `rackId: expected text of 1 to ${RACK_LENGTH_MAX} characters`)
}

export function resolveConsumerOptions(options: ConsumerOptions): ResolvedConsumerOptions {
  const isolation = checkedChoice('isolation', options.isolation ?? 'read_committed', [
    'read_uncommitted',
    'read_committed',
  ])
  return {
    from: checkedPosition('from', options.from ?? 'end'),
    to: options.to === undefined ? undefined : checkedPosition('to', options.to),
    partitions: options.partitions,
    onOutOfRange: checkedChoice('onOutOfRange', options.onOutOfRange ?? 'fail', ['fail', 'earliest', 'latest']),
    isolation: isolation === 'read_committed' ? 1 : 0,
    rackId: checkedRackId(options.rackId),
    onDecodeError: checkedChoice('onDecodeError', options.onDecodeError ?? 'fail', ['fail', 'skip', 'pass']),
    fetchBytesMax: checkedInteger('fetchBytesMax', options.fetchBytesMax ?? MIB, 1, FETCH_BYTES_MAX),
    partitionBytesMax: checkedInteger('partitionBytesMax', options.partitionBytesMax ?? MIB, 1, FETCH_BYTES_MAX),
    prefetchBytesMax: checkedInteger('prefetchBytesMax', options.prefetchBytesMax ?? 16 * MIB, 1, 2 ** 40),
    waitMs: checkedDuration('waitMs', options.waitMs ?? 500, 0, FETCH_WAIT_MS_MAX),
    minBytes: checkedInteger('minBytes', options.minBytes ?? 1, 0, FETCH_BYTES_MAX),
    checkCrc: options.checkCrc ?? true,
  }
}
