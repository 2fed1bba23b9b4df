/**
 * LocalReplicas: the replicas that lie on this broker: what the metadata store says of each is told to its shard, and those that follow are
 * fetched from where their leader is.
 *
 * Owns        which replica was told what, and which is followed where; a fetcher per leader broker
 * Thread      main
 * Invariants  LR1 a partition serves here only after its shard has taken the lead, and stops before its shard is told to
 *             LR2 it is followed under one leader epoch at one broker, from where its shard said that its log ends under that epoch
 *             LR3 what a shard answers to its role counts only while that is the last role it was told
 *             LR4 a set that is proposed is part of all that a shard is told until the outcome is known: told without it, a leader would
 *                 acknowledge without a member that the stored set may have by then
 * Ordering    image -> proxy -> shard (in line with data) -> its answer -> serving, or followed
 * Failure     a shard that cannot be told: it has ended, and its partitions are offline. No room in its ring: told again
 * Not here    who leads (coordination/controller), what a follower does with what comes (worker/)
 */
import { NO_LEADER, type PartitionState } from '../../coordination/keys.ts'
import { isMillraceError } from '../../model/errors.ts'
import type { ReplicaIdentity, ReplicaRole } from '../../model/replica.ts'
import { ControlOperation, type SetReplicasAnswer, type SetReplicasBody } from '../../ring/control-messages.ts'
import type { ReplicaSyncedRow } from '../../ring/replica-codec.ts'
import type { Logger } from '../../telemetry/logger.ts'
import type { PartitionOpener, RecoveredOf } from '../partition-opener.ts'
import { type PartitionProxy, type PartitionRouter, type RoutedTopic, setOffline } from '../partition-router.ts'
import type { ShardLink } from '../shard-link.ts'
import type { Timers } from '../timers.ts'
import type { ReplicaFetcher } from './replica-fetcher.ts'

const RETRY_MS = 200

export interface LocalReplica {
  readonly proxy: PartitionProxy
  readonly topic: RoutedTopic
  state: PartitionState
  /** Revision of the state in the store. */
  version: number
  /** Counts the roles that its shard was told. */
  told: number
  /** The set that is proposed under this version; null = none is, or it came to nothing. */
  pending: readonly ReplicaIdentity[] | null
  /** The epoch under which its shard took the lead last; -1 = it never did. */
  ledEpoch: number
  /** When this broker last wanted another leader for it, on the monotonic clock. */
  resignedMs?: number
  /** Where it is followed, and under which epoch; undefined = nowhere. */
  followed: { readonly leader: number; readonly leaderEpoch: number } | undefined
}

export interface LocalReplicasOptions {
  readonly self: ReplicaIdentity
  readonly links: readonly ShardLink[]
  readonly router: PartitionRouter
  readonly opener: PartitionOpener
  readonly timers: Timers
  readonly logger: Logger
  readonly makeFetcher: (leaderNodeId: number) => ReplicaFetcher
  /** It has taken the lead under a new epoch, or has a new in-sync set under the same. */
  readonly onLeads: (replica: LocalReplica, isNew: boolean) => void
  /** Some are offline from now on: they could not be opened, or told what they are. */
  readonly onOffline: () => void
}

export class LocalReplicas {
  readonly #options: LocalReplicasOptions
  readonly #byRef = new Map<number, LocalReplica>()
  readonly #fetchers = new Map<number, ReplicaFetcher>()
  #isClosed = false
  #areShardsStopping = false

  constructor(options: LocalReplicasOptions) {
    this.#options = options
  }

  byRef(ref: number): LocalReplica | undefined {
    return this.#byRef.get(ref)
  }

  get size(): number {
    return this.#byRef.size
  }

  all(): IterableIterator<LocalReplica> {
    return this.#byRef.values()
  }

  /** Opens replicas on their shards, and tells what they are. `versions` by partition number. */
  async open(topic: RoutedTopic, proxies: readonly PartitionProxy[], recovered: RecoveredOf): Promise<void> {
    const { record } = topic
    const added = proxies.map((proxy): LocalReplica => {
      const { partition } = proxy
      const replica: LocalReplica = {
        ...{ proxy, topic, state: record.partitions[partition]!, version: record.partitionVersions[partition]! },
        ...{ told: 0, pending: null, ledEpoch: -1, followed: undefined },
      }
      this.#byRef.set(proxy.ref, replica)
      return replica
    })
    const roleOf = (proxy: PartitionProxy): ReplicaRole | undefined => {
      const replica = this.#byRef.get(proxy.ref)
      return replica?.proxy === proxy ? this.#roleOf(replica) : undefined
    }
    await this.#options.opener.open(proxies, topic, recovered, roleOf)
    for (const replica of added) if (this.#isHere(replica)) this.#tell(replica)
    if (!this.#isClosed && proxies.some(({ state }) => state === 'offline')) this.#options.onOffline()
  }

  /** The store has another state of it. */
  update(proxy: PartitionProxy, state: PartitionState, version: number): void {
    const replica = this.#byRef.get(proxy.ref)
    if (replica === undefined || version <= replica.version) return
    replica.state = state
    replica.version = version
    replica.pending = null
    if (this.#isHere(replica)) this.#tell(replica)
  }

  /**
   * A set that is about to be proposed to the store: from the answer on it counts for the high watermark beside the stored one, until there
   * is another version, or withdraw().
   */
  async propose(replica: LocalReplica, pending: readonly ReplicaIdentity[]): Promise<void> {
    const { proxy } = replica
    replica.pending = pending
    const body: SetReplicasBody = { partitionRef: proxy.ref, ...this.#roleOf(replica) }
    await this.#options.links[proxy.shard]!.control<SetReplicasAnswer>(ControlOperation.SET_REPLICAS, body)
  }

  /** Tells its shard the same again, so that it need not wait for what it wished; what is proposed stays so (LR4). */
  retell(replica: LocalReplica): void {
    if (this.#isHere(replica)) this.#tell(replica)
  }

  /** Nothing was written of the set that was proposed, nor will be. */
  withdraw(replica: LocalReplica): void {
    replica.pending = null
    this.retell(replica)
  }

  /** The replica is no longer this broker's, or its topic is gone: its files go. */
  async remove(proxy: PartitionProxy): Promise<void> {
    if (this.forget(proxy)) await this.#options.opener.delete(proxy)
  }

  /** Nothing is told to its shard any more, and nothing fetched. */
  forget(proxy: PartitionProxy): boolean {
    const replica = this.#byRef.get(proxy.ref)
    if (replica === undefined) return false
    this.#byRef.delete(proxy.ref)
    replica.told++
    this.#unfollow(replica)
    return true
  }

  /** A broker can be reached, perhaps: those who follow there need not wait. */
  wake(leaderNodeId: number): void {
    this.#fetchers.get(leaderNodeId)?.wake()
  }

  /** Shards have synced what they follow: their leaders are told. */
  progress(rows: readonly ReplicaSyncedRow[]): void {
    const byFetcher = new Map<ReplicaFetcher, ReplicaSyncedRow[]>()
    for (const row of rows) {
      const replica = this.#byRef.get(row.partitionRef)
      if (replica?.followed?.leaderEpoch !== row.leaderEpoch) continue
      const fetcher = this.#fetchers.get(replica.followed.leader)
      if (fetcher === undefined) continue
      const list = byFetcher.get(fetcher)
      if (list === undefined) byFetcher.set(fetcher, [row])
      else list.push(row)
    }
    for (const [fetcher, list] of byFetcher) fetcher.progress(list)
  }

  /**
   * The broker ends, and its shards before this: what they cannot be told any more does not make their partitions offline. Nothing is fetched
   * any more either: a leader that hears of a replica which is out of the set by now would count it as one that joins, and wait for it.
   */
  onShardsStop(): void {
    this.#areShardsStopping = true
    for (const fetcher of this.#fetchers.values()) fetcher.close()
    this.#fetchers.clear()
  }

  close(): void {
    this.#isClosed = true
    for (const fetcher of this.#fetchers.values()) fetcher.close()
    this.#fetchers.clear()
    this.#byRef.clear()
  }

  #isHere(replica: LocalReplica): boolean {
    return !this.#isClosed && this.#byRef.get(replica.proxy.ref) === replica && replica.proxy.state !== 'offline'
  }

  #roleOf({ state, version, pending }: Pick<LocalReplica, 'state' | 'version' | 'pending'>): ReplicaRole {
    const { nodeId, incarnation } = this.#options.self
    const isLeader = state.leader === nodeId && state.leaderIncarnation === incarnation
    return {
      ...{ role: isLeader ? 'leader' : 'follower', leaderEpoch: state.leaderEpoch, nodeId, incarnation },
      ...{ replicas: state.replicas, addingCount: state.adding.length, inSync: state.inSyncReplicas },
      ...{ pending, version },
    }
  }

  #tell(replica: LocalReplica): void {
    const { proxy } = replica
    const role = this.#roleOf(replica)
    if (role.role === 'follower') {
      proxy.state = 'following'
      if (!isSameLead(replica.followed, replica.state)) this.#unfollow(replica)
    } else this.#unfollow(replica)
    const told = ++replica.told
    const isLast = (): boolean => told === replica.told && this.#isHere(replica)
    const body: SetReplicasBody = { partitionRef: proxy.ref, ...role }
    this.#options.links[proxy.shard]!.control<SetReplicasAnswer>(ControlOperation.SET_REPLICAS, body).then(
      (answer) => {
        if (!isLast()) return
        if (role.role === 'follower') this.#follow(replica, answer)
        else {
          const isNew = replica.ledEpoch !== role.leaderEpoch
          replica.ledEpoch = role.leaderEpoch
          proxy.state = 'serving'
          this.#options.onLeads(replica, isNew)
        }
      },
      (error: unknown) => this.#untold(replica, error, isLast),
    )
  }

  #untold(replica: LocalReplica, error: unknown, isLast: () => boolean): void {
    if (!isLast() || this.#areShardsStopping) return
    const { proxy } = replica
    const { timers, logger } = this.#options
    if (isMillraceError(error) && error.code === 'OVERLOADED') {
      timers.after(RETRY_MS, () => {
        if (isLast()) this.#tell(replica)
      })
      return
    }
    logger.error(
      { err: error, topic: proxy.topicName, partition: proxy.partition },
      'a shard does not know its replica',
    )
    setOffline(proxy, String(error))
    this.#options.onOffline()
  }

  #follow(replica: LocalReplica, position: SetReplicasAnswer): void {
    const { leader, leaderEpoch } = replica.state
    if (this.#areShardsStopping || replica.followed !== undefined) return
    if (leader === NO_LEADER || leader === this.#options.self.nodeId) return
    let fetcher = this.#fetchers.get(leader)
    if (fetcher === undefined) this.#fetchers.set(leader, (fetcher = this.#options.makeFetcher(leader)))
    replica.followed = { leader, leaderEpoch }
    fetcher.follow(replica.proxy, position)
  }

  #unfollow(replica: LocalReplica): void {
    const { followed } = replica
    if (followed === undefined) return
    replica.followed = undefined
    const fetcher = this.#fetchers.get(followed.leader)
    fetcher?.unfollow(replica.proxy.ref)
    if (fetcher?.size !== 0) return
    fetcher.close()
    this.#fetchers.delete(followed.leader)
  }
}

function isSameLead(followed: LocalReplica['followed'], state: PartitionState): boolean {
  return followed?.leader === state.leader && followed.leaderEpoch === state.leaderEpoch
}
