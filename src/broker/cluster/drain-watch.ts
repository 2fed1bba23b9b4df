/**
 * DrainWatch: looks after partitions that drain and are led here: when retention has emptied one, whoever decides about topics hears of it.
 *
 * Thread      main
 * Invariants  DW1 a partition is told to be empty only when two looks, LOOK_MS apart, found it so with the same end: what was taken before
 *             the draining was known here and still waits for room in a ring is in the log by then
 * Ordering    told at every look until the partition is gone: who decides keeps it in memory only
 * Limits      one look at a time; a look asks for each draining partition led here, in turn
 * Failure     a shard or a controller that does not answer is asked again at the next look
 */
import { isMillraceError } from '../../model/errors.ts'
import type { TopicId } from '../../model/ids.ts'
import { ControlOperation, type DescribePartitionAnswer } from '../../ring/control-messages.ts'
import type { Logger } from '../../telemetry/logger.ts'
import type { PartitionProxy, PartitionRouter } from '../partition-router.ts'
import type { ShardLink } from '../shard-link.ts'
import type { Timers } from '../timers.ts'

const LOOK_MS = 10_000

export interface DrainWatchOptions {
  readonly router: PartitionRouter
  readonly links: readonly Pick<ShardLink, 'control'>[]
  readonly timers: Pick<Timers, 'every'>
  readonly logger: Pick<Logger, 'info' | 'debug'>
  readonly emptied: (topicId: TopicId, partition: number) => Promise<number>
}

export class DrainWatch {
  readonly #options: DrainWatchOptions
  /** Log end of partitions that the last look found empty. */
  #emptyAt = new Map<PartitionProxy, number>()
  #isLooking = false
  readonly #stop: () => void

  constructor(options: DrainWatchOptions) {
    this.#options = options
    this.#stop = options.timers.every(LOOK_MS, () => void this.look())
  }

  close(): void {
    this.#stop()
  }

  /** Never rejects. */
  async look(): Promise<void> {
    if (this.#isLooking) return
    this.#isLooking = true
    const emptyAt = new Map<PartitionProxy, number>()
    for (const proxy of this.#draining()) {
      const end = await this.#emptyEnd(proxy)
      if (end === undefined) continue
      emptyAt.set(proxy, end)
      if (this.#emptyAt.get(proxy) === end) await this.#tell(proxy)
    }
    this.#emptyAt = emptyAt
    this.#isLooking = false
  }

  /** The last ones first: one goes only after those behind it. */
  #draining(): PartitionProxy[] {
    const draining: PartitionProxy[] = []
    for (const { record, partitions } of this.#options.router.topics()) {
      const { drainFrom } = record.state
      if (drainFrom === undefined) continue
      for (const proxy of partitions.slice(drainFrom).reverse()) if (proxy.state === 'serving') draining.push(proxy)
    }
    return draining
  }

  /** Where the log of an empty partition ends; undefined = it has records, or its shard does not answer. */
  async #emptyEnd({ shard, ref }: PartitionProxy): Promise<number | undefined> {
    try {
      const body = { partitionRef: ref }
      const answer = await this.#options.links[shard]!.control<DescribePartitionAnswer>(
        ControlOperation.DESCRIBE_PARTITION,
        body,
      )
      const { logStartOffset, logEndOffset, role } = answer
      return role === 'leader' && logStartOffset === logEndOffset ? logEndOffset : undefined
    } catch (error) {
      if (!isMillraceError(error)) throw error
      return undefined
    }
  }

  async #tell({ topicId, topicName: topic, partition }: PartitionProxy): Promise<void> {
    const { emptied, logger } = this.#options
    try {
      const removed = await emptied(topicId, partition)
      if (removed > 0) logger.info({ topic, removed }, 'partitions have drained, and are gone')
    } catch (error) {
      logger.debug({ err: error, topic, partition }, 'that a partition has drained could not be told')
    }
  }
}
