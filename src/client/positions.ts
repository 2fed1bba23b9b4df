/**
 * Positions: 'start', 'end', { offset }, { last }, { skip }, { time } → offsets, asked of the partitions' leaders.
 *
 * Meaning   end = the high watermark now, with read_committed the last stable offset: what whoever reads from there has not been able to
 *           read yet; last n = the end − n, not before the log start; skip n = the log start + n, not after the end; time = the
 *           first record at or after it, the end when there is none
 */
import type { Clock } from '../base/clock.ts'
import { errorCodeOf, MillraceError } from '../model/errors.ts'
import { EARLIEST, errorOf, LATEST, listOffsets, READ_UNCOMMITTED } from '../protocol/index.ts'
import { checkedInteger, UNIT_MS } from './client-options.ts'
import type { ClientRuntime } from './client-runtime.ts'
import { whileLeadersMove } from './leader-changes.ts'
import type { MetadataCache, TopicInfo } from './metadata-cache.ts'
import type { Position } from './record-types.ts'
import type { Requests } from './requests.ts'

/** Milliseconds since the epoch of a time position. Throws INVALID_ARGUMENT. */
export function timeOf(time: number | string | Date, clock: Clock): number {
  if (typeof time === 'number') return checkedInteger('time', time, 0, Number.MAX_SAFE_INTEGER)
  if (time instanceof Date && !Number.isNaN(time.getTime())) return time.getTime()
  const text = String(time)
  if (/^\d{1,16}$/.test(text)) return Number(text)
  const span = /^-(\d{1,9})(ms|s|m|h|d)$/.exec(text)
  if (span !== null) return Math.max(0, clock.nowMs() - Number(span[1]) * UNIT_MS[span[2]!]!)
  const parsed = Date.parse(text)
  if (!Number.isNaN(parsed)) return parsed
  throw new MillraceError(
    'INVALID_ARGUMENT',
    `time '${text}': expected milliseconds since the epoch, an ISO date, or a span back from now such as -1h`,
  )
}

/** Throws INVALID_ARGUMENT unless `position` is one. */
export function checkedPosition(name: string, position: unknown): Position {
  if (position === 'start' || position === 'end') return position
  if (typeof position === 'object' && position !== null) {
    const fields = position as Record<string, unknown>
    if ('offset' in fields)
      return { offset: checkedInteger(`${name}.offset`, fields.offset, 0, Number.MAX_SAFE_INTEGER) }
    if ('last' in fields) return { last: checkedInteger(`${name}.last`, fields.last, 0, Number.MAX_SAFE_INTEGER) }
    if ('skip' in fields) return { skip: checkedInteger(`${name}.skip`, fields.skip, 0, Number.MAX_SAFE_INTEGER) }
    if ('time' in fields) return position as Position
  }
  throw new MillraceError(
    'INVALID_ARGUMENT',
    `${name}: expected 'start', 'end', { offset }, { last }, { skip } or { time }, not ${JSON.stringify(position)}`,
  )
}

export interface ResolveOptions {
  /** Which end is meant. Default read_uncommitted: the high watermark. */
  readonly isolation?: 0 | 1
  readonly signal?: AbortSignal | undefined
  /** How long leaders that move are followed. Default: the client's requestTimeoutMs. */
  readonly patienceMs?: number
}

export interface PartitionOffset {
  readonly partition: number
  readonly offset: number
}

export class Positions {
  readonly #runtime: ClientRuntime
  readonly #requests: Requests
  readonly #metadata: MetadataCache

  constructor(parts: { runtime: ClientRuntime; requests: Requests; metadata: MetadataCache }) {
    this.#runtime = parts.runtime
    this.#requests = parts.requests
    this.#metadata = parts.metadata
  }

  /** The offset of `position` in each of the partitions named. */
  async resolve(
    topic: string,
    partitions: readonly number[],
    position: Position,
    options: ResolveOptions = {},
  ): Promise<PartitionOffset[]> {
    const ask = (timestampMs: number) => this.#list(topic, partitions, timestampMs, options)
    if (position === 'start') return ask(EARLIEST)
    if (position === 'end') return ask(LATEST)
    if ('offset' in position) return partitions.map((partition) => ({ partition, offset: position.offset }))
    const ends = await ask(LATEST)
    const fromStart = 'last' in position || 'skip' in position
    const others = await ask(fromStart ? EARLIEST : timeOf(position.time, this.#runtime.clock))
    return ends.map(({ partition, offset: end }, index) => {
      const other = others[index]!.offset
      if ('last' in position) return { partition, offset: Math.max(other, end - position.last) }
      if ('skip' in position) return { partition, offset: Math.min(end, other + position.skip) }
      return { partition, offset: other < 0 ? end : other }
    })
  }

  /** Lists offsets, every leader asked for its own partitions; asks again while leaders move. */
  async #list(
    topic: string,
    partitions: readonly number[],
    timestampMs: number,
    options: ResolveOptions,
  ): Promise<PartitionOffset[]> {
    const { signal, patienceMs = this.#requests.timeoutMs } = options
    const parts = { runtime: this.#runtime, metadata: this.#metadata }
    return whileLeadersMove(parts, topic, (info) => this.#listOnce(info, partitions, timestampMs, options), {
      ...{ patienceMs, signal },
    })
  }

  async #listOnce(
    topic: TopicInfo,
    partitions: readonly number[],
    timestampMs: number,
    { isolation = READ_UNCOMMITTED, signal }: ResolveOptions,
  ): Promise<PartitionOffset[]> {
    const byLeader = new Map<number, number[]>()
    for (const partition of partitions) {
      // A member of a group may hear of a partition before this client's metadata does.
      const leader = topic.partitions[partition]?.leaderNodeId ?? -1
      if (leader < 0)
        throw new MillraceError('LEADER_NOT_AVAILABLE', `${topic.name}/${partition}: the partition has no leader now`)
      byLeader.set(leader, [...(byLeader.get(leader) ?? []), partition])
    }
    const offsets = new Map<number, number>()
    for (const [nodeId, wanted] of byLeader) {
      const parts = wanted.map((partition) => {
        const { leaderEpoch } = topic.partitions[partition]!
        return { topicId: topic.topicId, partition, leaderEpoch, timestampMs }
      })
      const reply = await this.#requests.ask(listOffsets, { isolation, parts }, { nodeId, signal })
      wanted.forEach((partition, index) => {
        const part = reply.parts[index]
        if (part === undefined) throw new MillraceError('UNKNOWN_SERVER_ERROR', 'a list-offsets reply lacks a part')
        if (errorCodeOf(part.errorNumber) !== 'NONE')
          throw errorOf(
            part.errorNumber,
            `${topic.name}/${partition}: ${part.errorText || errorCodeOf(part.errorNumber)}`,
          )
        offsets.set(partition, part.offset)
      })
    }
    return partitions.map((partition) => ({ partition, offset: offsets.get(partition)! }))
  }
}
