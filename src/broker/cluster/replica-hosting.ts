/**
 * ReplicaHosting: replicas come to this broker and go from it, one after the other where it is the same partition.
 *
 * Owns        what is being opened or removed
 * Thread      main
 * Invariants  RH1 a partition is opened only after an earlier replica of it is removed: it may lie on another shard, in the same folder, which
 *             may be being renamed
 *             RH2 a replica is removed once, and its ref is free only after its shard has let go of it
 *             RH3 a partition that came back while its replica was removed is hosted again
 * Failure     what cannot be opened or removed is offline (partition-opener.ts); anything else fails the start, and is logged later
 */
import type { Logger } from '../../telemetry/logger.ts'
import type { RecoveredOf } from '../partition-opener.ts'
import { NOTHING_RECOVERED } from '../partition-opener.ts'
import type { PartitionProxy, PartitionRouter, RoutedTopic } from '../partition-router.ts'
import type { LocalReplicas } from './local-replicas.ts'

export interface ReplicaHostingOptions {
  readonly nodeId: number
  readonly router: PartitionRouter
  readonly replicas: Pick<LocalReplicas, 'byRef' | 'open' | 'remove'>
  /** Resolves when the partition's folder is not being set aside. */
  readonly renamed: (proxy: PartitionProxy) => Promise<void>
  readonly logger: Logger
}

export class ReplicaHosting {
  readonly #options: ReplicaHostingOptions
  readonly #underWay = new Set<Promise<void>>()
  readonly #removing = new Set<PartitionProxy>()
  /** By partition: a topic that shrinks and grows again has another proxy under the same name. */
  readonly #removals = new Map<string, Promise<void>>()
  #isClosed = false

  constructor(options: ReplicaHostingOptions) {
    this.#options = options
  }

  /** Its replica goes; what is to become of the partition is looked at when it is gone. */
  isRemoving(proxy: PartitionProxy): boolean {
    return this.#removing.has(proxy)
  }

  /** Opens those of the partitions that are hosted here. */
  open(topic: RoutedTopic, proxies: readonly PartitionProxy[], recovered: RecoveredOf): void {
    const here = proxies.filter(({ state }) => state === 'opening')
    const free = here.filter((proxy) => !this.#removals.has(keyOf(proxy)))
    if (free.length > 0) this.#track(this.#options.replicas.open(topic, free, recovered))
    for (const proxy of here) {
      const removal = this.#removals.get(keyOf(proxy))
      if (removal !== undefined) this.#track(removal.then(() => this.#openLate(topic, proxy)))
    }
  }

  remove(proxy: PartitionProxy): void {
    if (proxy.state === 'elsewhere' || this.#removing.has(proxy)) return
    const key = keyOf(proxy)
    const removal = this.#remove(proxy, this.#removals.get(key)).finally(() => {
      this.#removing.delete(proxy)
      if (this.#removals.get(key) === removal) this.#removals.delete(key)
    })
    this.#removing.add(proxy)
    this.#removals.set(key, removal)
    this.#track(removal.then(() => this.#lookAgain(proxy)))
  }

  /** Resolves when nothing is opened or removed any more. */
  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay)
  }

  /** Nothing is opened from now on. */
  close(): void {
    this.#isClosed = true
  }

  async #remove(proxy: PartitionProxy, earlier: Promise<void> | undefined): Promise<void> {
    const { replicas, router, renamed } = this.#options
    // First it is forgotten: from then on no rename begins.
    await Promise.all([replicas.remove(proxy), earlier, renamed(proxy)])
    router.unhost(proxy)
  }

  /** The partition may have been given back to this broker meanwhile. */
  #lookAgain(proxy: PartitionProxy): void {
    const { router, nodeId } = this.#options
    const topic = router.byId(proxy.topicId)
    const isMine = topic?.partitions[proxy.partition] === proxy && proxy.replicas.includes(nodeId)
    if (topic === undefined || !isMine || proxy.state !== 'elsewhere' || this.#isClosed) return
    router.host(proxy)
    this.open(topic, [proxy], NOTHING_RECOVERED)
  }

  /** Unless it went again while it waited, or is opened already. */
  async #openLate(topic: RoutedTopic, proxy: PartitionProxy): Promise<void> {
    const { replicas } = this.#options
    if (this.#isClosed || topic.partitions[proxy.partition] !== proxy || this.#removing.has(proxy)) return
    if (proxy.state === 'opening' && replicas.byRef(proxy.ref)?.proxy !== proxy)
      this.open(topic, [proxy], NOTHING_RECOVERED)
  }

  /** The start waits for it, and fails with it; later nobody does. It is forgotten when it is over, failed or not. */
  #track(work: Promise<void>): void {
    const tracked = work.finally(() => this.#underWay.delete(tracked))
    this.#underWay.add(tracked)
    tracked.catch((err: unknown) => this.#options.logger.error({ err }, 'replicas could not be opened or removed'))
  }
}

function keyOf({ topicId, partition }: PartitionProxy): string {
  return `${topicId}/${partition}`
}
