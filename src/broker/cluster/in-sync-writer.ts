/**
 * InSyncWriter: what leaders on this broker wish of their in-sync sets is written to the metadata store, one change of a partition at a time,
 * those of many partitions together.
 *
 * Thread      main
 * Invariants  IW1 a wish is written only under the version of the state that its leader knew, and for the epoch that it leads under
 *             IW2 a leader that wished hears what became of it: the new state, here or by the image; the old one again only where nothing
 *             was written. Until then it counts both sets: a grown set that is stored, its answer lost, must not be counted without its new member
 *             IW3 nobody joins a set who is not registered under that incarnation: the controller would only take it out again
 *             IW4 a leader that is cut off resigns before its set shrinks, once in RESIGN_PAUSE_MS (coordination/controller, C13)
 * Ordering    wish -> the shard knows that it is proposed, and counts both sets -> compare-and-set -> SET_REPLICAS with what came of it
 * Failure     the store does not answer: it is not known what became of the write, or will yet, so nothing is told; the same is asked for
 *             again every RETRY_MS until there is an answer or another version
 */

import type { Clock } from '../../base/clock.ts'
import type { Versioned } from '../../coordination/cluster-image.ts'
import { withInSync } from '../../coordination/controller/in-sync-changes.ts'
import type { BrokerState, PartitionState, Replica, ResignedLead } from '../../coordination/keys.ts'
import type { MetadataStore } from '../../coordination/metadata-store.ts'
import type { LeaderEpoch } from '../../model/ids.ts'
import { hasReplica, isSameSet, type ReplicaIdentity } from '../../model/replica.ts'
import type { Logger } from '../../telemetry/logger.ts'
import type { Timers } from '../timers.ts'
import { InSyncBatches } from './in-sync-batches.ts'
import type { LocalReplica, LocalReplicas } from './local-replicas.ts'

const RETRY_MS = 500
/** For the controller to see that a partition was resigned, and to write its next leader. */
const RESIGN_WAIT_MS = 3_000
const RESIGN_LOOK_MS = 50
/** The same partition, by this broker: leadership that comes back and goes again is no better than none. */
const RESIGN_PAUSE_MS = 60_000
/** At a time: they are part of what is registered, which has to stay small. The others shrink their sets. */
const RESIGNED_MAX = 1_000

export interface InSyncWish {
  readonly partitionRef: number
  readonly leaderEpoch: number
  readonly version: number
  readonly inSync: readonly ReplicaIdentity[]
  readonly isCutOff: boolean
}

export interface InSyncWriterOptions {
  readonly store: MetadataStore
  readonly replicas: Pick<LocalReplicas, 'byRef' | 'propose' | 'retell' | 'update' | 'withdraw'>
  /** Those that are registered now. */
  readonly brokers: () => ReadonlyMap<number, Versioned<BrokerState>> | undefined
  /** What this broker leads and gives up, from now on: registered with it. */
  readonly onResigned: (leads: readonly ResignedLead[]) => void
  readonly clock: Clock
  readonly timers: Timers
  readonly logger: Logger
}

export class InSyncWriter {
  readonly #options: InSyncWriterOptions
  readonly #batches: InSyncBatches
  readonly #underWay = new Set<LocalReplica>()
  /** Whose wish was cut, because it named somebody who is not registered. */
  readonly #cut = new Set<LocalReplica>()
  /** Whose leadership is given up, and not taken over yet. */
  readonly #resigned = new Map<LocalReplica, ResignedLead>()
  #isClosed = false

  constructor(options: InSyncWriterOptions) {
    this.#options = options
    this.#batches = new InSyncBatches(options.store)
  }

  onWish(wish: InSyncWish): void {
    const { replicas } = this.#options
    const replica = replicas.byRef(wish.partitionRef)
    if (replica === undefined || this.#underWay.has(replica)) return
    if (replica.version !== wish.version || replica.state.leaderEpoch !== wish.leaderEpoch) {
      // It did not know the newest state yet, which is on its way; told again, it need not wait for what it wished.
      replicas.retell(replica)
      return
    }
    const inSync = this.#allowed(replica, wish.inSync)
    if (inSync.length < wish.inSync.length) this.#cut.add(replica)
    // Nothing is left of it. Its shard is not told so: it would wish the same again with the next fetch, not after a while.
    if (isSameSet(inSync, replica.state.inSyncReplicas)) return
    this.#underWay.add(replica)
    void this.#write(replica, { ...wish, inSync }).finally(() => this.#underWay.delete(replica))
  }

  /** Other brokers are registered than before: shards whose wishes were cut wish again. */
  onBrokersChanged(): void {
    const { replicas } = this.#options
    const cut = [...this.#cut]
    this.#cut.clear()
    // What comes of a write that is under way is told anyhow, and until then both sets count.
    for (const replica of cut) if (!this.#underWay.has(replica)) replicas.retell(replica)
  }

  close(): void {
    this.#isClosed = true
    this.#cut.clear()
  }

  /** Without those that the set would gain and that are not registered, or not as whom the leader knows them. */
  #allowed({ state }: LocalReplica, wanted: InSyncWish['inSync']): InSyncWish['inSync'] {
    const brokers = this.#options.brokers()
    return wanted.filter(
      (member) =>
        hasReplica(state.inSyncReplicas, member) ||
        brokers?.get(member.nodeId)?.state.incarnation === member.incarnation,
    )
  }

  async #write(replica: LocalReplica, wish: InSyncWish): Promise<void> {
    const { replicas } = this.#options
    if (wish.isCutOff && this.#mayResign(replica)) {
      await this.#resign(replica, wish)
      // Nobody took over. The wish is as old as that: a follower that is back by now would be dropped.
      if (!this.#isClosed && replica.version === wish.version) replicas.retell(replica)
      return
    }
    const next = withInSync(replica.state, wish.inSync as readonly Replica[], replica.topic.config.minInsyncReplicas)
    try {
      await replicas.propose(replica, wish.inSync)
    } catch {
      // The shard has no room, or has ended: nothing is proposed.
      replicas.withdraw(replica)
      return
    }
    if (replica.version !== wish.version) return
    try {
      await this.#apply(replica, wish.version, next)
    } catch (error) {
      const { topicName: topic, partition } = replica.proxy
      this.#options.logger.warn({ err: error, topic, partition }, 'it is not known whether the in-sync set has changed')
      await this.#again(replica, wish.version, next)
    }
  }

  #mayResign({ resignedMs = Number.NEGATIVE_INFINITY }: LocalReplica): boolean {
    return this.#options.clock.monotonicMs() >= resignedMs + RESIGN_PAUSE_MS && this.#resigned.size < RESIGNED_MAX
  }

  /**
   * Has the controller give the lead to one of those that are not heard, and waits until the partition has another version, or for
   * RESIGN_WAIT_MS. The set is as it was until then, and whoever is in it holds all that was acknowledged; smaller, it would leave nobody to
   * take over.
   */
  async #resign(replica: LocalReplica, { version, leaderEpoch }: InSyncWish): Promise<void> {
    const { clock, timers, logger } = this.#options
    const { topicId, partition, topicName: topic } = replica.proxy
    const startMs = clock.monotonicMs()
    replica.resignedMs = startMs
    logger.warn(
      { topic, partition, leaderEpoch },
      'followers are not heard, and are enough without this leader: it resigns',
    )
    this.#resigned.set(replica, { topicId, partition, leaderEpoch: leaderEpoch as LeaderEpoch })
    this.#tellResigned()
    while (!this.#isClosed && replica.version === version && clock.monotonicMs() < startMs + RESIGN_WAIT_MS)
      await new Promise<void>((resolve) => void timers.after(RESIGN_LOOK_MS, resolve))
    this.#resigned.delete(replica)
    this.#tellResigned()
  }

  #tellResigned(): void {
    if (!this.#isClosed) this.#options.onResigned([...this.#resigned.values()])
  }

  /** A write without an answer may take effect yet: the same is asked for again until there is one, or the partition has another version. */
  async #again(replica: LocalReplica, version: number, next: PartitionState): Promise<void> {
    const { timers, replicas } = this.#options
    while (!this.#isClosed && replica.version === version) {
      await new Promise<void>((resolve) => void timers.after(RETRY_MS, resolve))
      if (this.#isClosed || replica.version !== version) return
      try {
        await this.#apply(replica, version, next)
        return
      } catch {
        // Not yet. The leader counts both sets.
      }
    }
    if (!this.#isClosed) replicas.retell(replica)
  }

  async #apply(replica: LocalReplica, version: number, next: PartitionState): Promise<void> {
    const { replicas, logger } = this.#options
    const { topicId, partition, topicName: topic } = replica.proxy
    const outcome = await this.#batches.apply({ topicId, partition, version, next })
    // The version is over, by whatever change the image shows next. Told the old state now, the leader would acknowledge without a member
    // that an earlier write of ours may have brought into the stored set.
    if (!outcome.applied) return
    const inSync = next.inSyncReplicas.map(({ nodeId }) => nodeId)
    logger.info({ topic, partition, inSync, leaderEpoch: next.leaderEpoch }, 'the in-sync set has changed')
    replicas.update(replica.proxy, next, outcome.version)
  }
}
