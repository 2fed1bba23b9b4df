/**
 * ReplicaRepair: a replica that is damaged here, or has what its leader lost (replication/truncation.ts, T1), is made anew from its leader:
 * what is left of it is set aside, never deleted.
 *
 * Thread      main
 * Invariants  RR1 nothing is set aside before the metadata store says that this replica is neither in sync nor eligible to lead, and that
 *             another broker leads: what is here counts for nothing then
 *             RR2 one replica at a time: a broker that lost a disk does not rename thousands of folders at once
 *             RR3 a replica that is removed, or hosted anew, while a step is under way is none of this one's any more: no further step
 *             RR4 its folder is being renamed as long as renamed() waits: nobody opens the partition meanwhile, or what a new replica writes would
 *             be set aside with the old one (ReplicaHosting)
 * Ordering    out of the in-sync set -> closed on its shard -> folder renamed, durably -> opened as new -> fetched from the log start
 * Failure     a step that fails leaves the replica offline, and told so, with the reason; it is tried again when its partition changes. A step
 *             that hangs does not hold up the end of the broker
 */

import { NO_LEADER, type PartitionState } from '../../coordination/keys.ts'
import { isMillraceError } from '../../model/errors.ts'
import { partitionFolder, type TopicId } from '../../model/ids.ts'
import { ControlOperation } from '../../ring/control-messages.ts'
import type { Logger } from '../../telemetry/logger.ts'
import { SET_ASIDE } from '../partition-opener.ts'
import { type PartitionProxy, type PartitionRouter, setOffline } from '../partition-router.ts'
import type { ShardLink } from '../shard-link.ts'
import type { Timers } from '../timers.ts'
import type { LocalReplicas } from './local-replicas.ts'

/** At the end, for the step that is under way. */
const CLOSE_WAIT_MS = 5_000

/** Renames the folder of a partition into quarantine/, durably; nothing where there is none. Answers where it is. */
export type SetAside = (topicId: TopicId, partition: number) => Promise<string | null>

export interface ReplicaRepairOptions {
  readonly nodeId: number
  readonly links: readonly ShardLink[]
  readonly router: PartitionRouter
  readonly replicas: Pick<LocalReplicas, 'byRef' | 'forget' | 'open'>
  readonly setAside: SetAside
  readonly timers: Timers
  readonly logger: Logger
  /** It is as good as new. */
  readonly onRepaired: () => void
}

export class ReplicaRepair {
  readonly #options: ReplicaRepairOptions
  readonly #queued = new Set<PartitionProxy>()
  /** By folder. */
  readonly #renames = new Map<string, Promise<unknown>>()
  #last: Promise<void> = Promise.resolve()
  #isClosed = false

  constructor(options: ReplicaRepairOptions) {
    this.#options = options
  }

  /** An offline replica whose partition the store describes so. */
  look(proxy: PartitionProxy, state: PartitionState): void {
    if (proxy.state !== 'offline' || this.#queued.has(proxy) || !this.#mayRepair(state)) return
    this.#queued.add(proxy)
    this.#last = this.#last.then(() => this.#repair(proxy)).finally(() => this.#queued.delete(proxy))
  }

  /** Resolves when the partition's folder is not being renamed, however that ended. */
  async renamed({ topicId, partition }: PartitionProxy): Promise<void> {
    await this.#renames.get(partitionFolder(topicId, partition))?.catch(() => {})
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await new Promise<void>((resolve) => {
      const cancel = this.#options.timers.after(CLOSE_WAIT_MS, resolve)
      void this.#last.finally(() => {
        cancel()
        resolve()
      })
    })
  }

  #mayRepair({ leader, replicas, inSyncReplicas, eligibleLeaders }: PartitionState): boolean {
    const { nodeId } = this.#options
    const counts = [...inSyncReplicas, ...eligibleLeaders].some((replica) => replica.nodeId === nodeId)
    return replicas.includes(nodeId) && !counts && leader !== NO_LEADER && leader !== nodeId
  }

  async #repair(proxy: PartitionProxy): Promise<void> {
    const { links, router, replicas, setAside, logger, onRepaired } = this.#options
    const { topicId, partition, topicName: topic } = proxy
    const routed = router.byId(topicId)
    const link = links[proxy.shard]
    const state = routed?.record.partitions[partition]
    const isCurrent = routed?.partitions[partition] === proxy && link?.state === 'serving'
    if (this.#isClosed || !isCurrent || state === undefined || !this.#mayRepair(state)) return
    const { reason, ref } = proxy
    const name = partitionFolder(topicId, partition)
    // As long as it is offline its shard is told nothing of it, but it may be removed, and even hosted again, whenever this waits.
    const replica = replicas.byRef(ref)
    const isHosted = (): boolean =>
      !this.#isClosed && proxy.ref === ref && router.byId(topicId)?.partitions[partition] === proxy
    const isStillOffline = (): boolean => isHosted() && proxy.state === 'offline' && replicas.byRef(ref) === replica
    try {
      await link.control(ControlOperation.CLOSE_PARTITION, { partitionRef: ref }).catch(ignoreUnknown)
      if (!isStillOffline()) return
      const renaming = setAside(topicId, partition).finally(() => this.#renames.delete(name))
      this.#renames.set(name, renaming)
      const folder = await renaming
      if (!isStillOffline()) return
      // Not earlier: what is forgotten is registered as damaged no more.
      replicas.forget(proxy)
      proxy.state = 'opening'
      proxy.reason = null
      await replicas.open(routed, [proxy], SET_ASIDE)
      if (!isHosted()) return
      logger.warn({ topic, partition, reason, folder }, 'a replica was set aside, and begins anew from its leader')
      onRepaired()
    } catch (error) {
      logger.error({ err: error, topic, partition }, 'a damaged replica could not be set aside')
      if (isHosted()) setOffline(proxy, String(error))
    }
  }
}

/** A replica that could not be opened is not known to its shard. */
function ignoreUnknown(error: unknown): void {
  if (!isMillraceError(error) || error.code !== 'UNKNOWN_TOPIC_OR_PARTITION') throw error
}
