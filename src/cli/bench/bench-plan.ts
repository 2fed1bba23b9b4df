/** What `millrace bench` was asked for: flags into a plan, each fault named. */
import { PROFILE_NAMES, type ProfileName } from '../../config/profiles.ts'
import { BATCH_BYTES_DEFAULT } from '../../model/limits.ts'
import { integerOf } from '../arguments.ts'
import { UsageError } from '../errors.ts'
import { RECORD_BYTES_MIN } from './record-pool.ts'

export const BENCH_KINDS = ['produce', 'consume', 'latency', 'shards'] as const
export type BenchKind = (typeof BENCH_KINDS)[number]

export const BENCH_FLAGS = [
  'api',
  'profile',
  'size',
  'records',
  'rate',
  'seconds',
  'producers',
  'consumers',
  'partitions',
] as const
export type BenchFlags = { readonly [flag in (typeof BENCH_FLAGS)[number]]?: string }

export interface ProducePlan {
  readonly kind: 'produce' | 'shards'
  readonly api: 'enqueue' | 'send'
  readonly profile: ProfileName | undefined
  /** Keys plus values. */
  readonly recordBytes: number
  readonly records: number
  readonly seconds: number | undefined
  /** Of all producers together. */
  readonly ratePerSec: number | undefined
  /** Undefined: 1, and with shards as many as shards are written to. */
  readonly producers: number | undefined
  /** Undefined: the broker's default, and with shards two a shard. */
  readonly partitions: number | undefined
}

export interface ConsumePlan {
  readonly kind: 'consume'
  readonly api: 'batches' | 'iterate'
  readonly profile: ProfileName | undefined
  readonly recordBytes: number
  readonly records: number
  readonly seconds: number | undefined
  /** Share the partitions among them. */
  readonly consumers: number
  readonly partitions: number | undefined
}

export interface LatencyPlan {
  readonly kind: 'latency'
  readonly profile: ProfileName | undefined
  readonly recordBytes: number
  readonly records: number
  readonly ratePerSec: number
  readonly producers: number
  readonly consumers: number
  readonly partitions: number | undefined
}

export type BenchPlan = ProducePlan | ConsumePlan | LatencyPlan

/** Flags that parse and that a kind has no use for. */
const UNUSED: Readonly<Record<BenchKind, readonly (keyof BenchFlags)[]>> = {
  produce: ['consumers'],
  consume: ['rate', 'producers'],
  latency: [],
  shards: ['consumers'],
}
const APIS: Readonly<Record<BenchKind, readonly string[]>> = {
  produce: ['enqueue', 'send'],
  consume: ['batches', 'iterate'],
  latency: ['send', 'iterate'],
  shards: ['enqueue', 'send'],
}

const CLIENTS_MAX = 256
const RECORDS_MAX = 1e10
const RECORDS_DEFAULT = 1_000_000
const RATE_DEFAULT = 1_000
const LATENCY_SECONDS_DEFAULT = 10
/** A record with its batch's header must fit a batch of the default size. */
const RECORD_BYTES_MAX = BATCH_BYTES_DEFAULT - 1024

/** Throws UsageError. */
export function benchPlanOf(kind: BenchKind, flags: BenchFlags): BenchPlan {
  const api = choiceOf('--api', flags.api ?? APIS[kind][0]!, APIS[kind])
  const integer = (flag: keyof BenchFlags, max: number, min = 1): number | undefined =>
    flags[flag] === undefined ? undefined : integerOf(`--${flag}`, flags[flag], min, max)
  const profile = flags.profile === undefined ? undefined : choiceOf('--profile', flags.profile, PROFILE_NAMES)
  const seconds = integer('seconds', 86_400)
  const records = integer('records', RECORDS_MAX)
  const ratePerSec = integer('rate', 1e7)
  const recordBytes = integer('size', RECORD_BYTES_MAX, RECORD_BYTES_MIN) ?? 1024
  const [producers, consumers] = [integer('producers', CLIENTS_MAX), integer('consumers', CLIENTS_MAX)]
  const common = { profile, recordBytes, partitions: integer('partitions', 1e6) }
  if (kind === 'latency') {
    const rate = ratePerSec ?? RATE_DEFAULT
    const count = Math.min(records ?? Number.POSITIVE_INFINITY, rate * (seconds ?? LATENCY_SECONDS_DEFAULT))
    return {
      ...{ ...common, kind, ratePerSec: rate, producers: producers ?? 1, consumers: consumers ?? 1 },
      records: seconds === undefined ? (records ?? count) : count,
    }
  }
  if (kind === 'consume') {
    const read = { api: api as ConsumePlan['api'], consumers: consumers ?? 1 }
    return { ...common, ...read, kind, records: records ?? RECORDS_DEFAULT, seconds }
  }
  // With --seconds alone the time ends it.
  const recordsDefault = seconds === undefined ? RECORDS_DEFAULT : RECORDS_MAX
  const written = { api: api as ProducePlan['api'], ratePerSec, producers, seconds }
  return { ...common, ...written, kind, records: records ?? recordsDefault }
}

/** Flags given that change nothing: to be told, so that nobody takes a figure for something else. */
export function unusedFlags(kind: BenchKind, flags: BenchFlags): readonly string[] {
  return UNUSED[kind].filter((flag) => flags[flag] !== undefined).map((flag) => `--${flag}`)
}

function choiceOf<T extends string>(flag: string, text: string, choices: readonly T[]): T {
  if ((choices as readonly string[]).includes(text)) return text as T
  throw new UsageError(`${flag}: expected ${choices.join(' or ')}, not '${text}'`)
}

/** `total` in `parts` whole numbers that differ by one at most. */
export function sharesOf(total: number, parts: number): number[] {
  return Array.from(
    { length: parts },
    (_, index) => Math.floor((total * (index + 1)) / parts) - Math.floor((total * index) / parts),
  )
}
