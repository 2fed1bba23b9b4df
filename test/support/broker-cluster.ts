/**
 * A cluster in this process: brokers on one metadata store in memory, joined by their engines' transports; each has a disk of its own, which
 * outlives a crash. Clients reach all of them by URL.
 */
import { randomBytes } from 'node:crypto'
import { systemClock } from '../../src/base/node/system-clock.ts'
import { systemPrng } from '../../src/base/node/system-prng.ts'
import { Client } from '../../src/client/client.ts'
import type { ClientOptions } from '../../src/client/client-options.ts'
import { ClusterImage } from '../../src/coordination/cluster-image.ts'
import {
  type BrokerState,
  brokerKey,
  decodeState,
  type PartitionState,
  ROOT_PREFIX,
} from '../../src/coordination/keys.ts'
import { MemoryMetadataStore } from '../../src/coordination/memory-metadata-store.ts'
import type { MetadataStore } from '../../src/coordination/metadata-store.ts'
import { inProcessConfig } from '../../src/in-process/in-process-config.ts'
import { InThreadBroker } from '../../src/in-process/in-thread-broker.ts'
import { MemoryDisk } from '../../src/in-process/local-storage.ts'
import { SILENT } from '../../src/in-process/silent-logger.ts'
import { systemTime } from '../../src/in-process/time-source.ts'
import type { FileSystem } from '../../src/io/file-system.ts'
import { decodeFrame } from '../../src/protocol/index.ts'
import { nodeCodecs } from '../../src/record/node-codecs.ts'
import type { Logger } from '../../src/telemetry/logger.ts'
import type { Transport, TransportConnection } from '../../src/transport/transport.ts'

const URL_PREFIX = 'ws://node-'
const LEASE_TTL_MS = 2_000

export interface BrokerClusterOptions {
  readonly nodes: number
  readonly config?: Readonly<Record<string, unknown>>
  /** Of node 1, 2, …: where it stands. */
  readonly racks?: readonly string[]
  readonly logger?: Logger
}

export class BrokerCluster {
  readonly store = new MemoryMetadataStore(systemClock)
  readonly brokers = new Map<number, InThreadBroker>()
  readonly #disks = new Map<number, MemoryDisk>()
  readonly #runs = new Map<number, StoreOfRun>()
  readonly #clients = new Set<Client>()
  readonly #requests = new Map<number, Map<number, number>>()
  readonly #links = new Set<Link>()
  readonly #cut = new Set<string>()
  readonly #options: BrokerClusterOptions
  #isClosed = false
  /** The brokers' timers keep no process alive. */
  readonly #alive = setInterval(() => {}, 60_000)

  private constructor(options: BrokerClusterOptions) {
    this.#options = options
  }

  static async start(options: BrokerClusterOptions): Promise<BrokerCluster> {
    const cluster = new BrokerCluster(options)
    for (let nodeId = 1; nodeId <= options.nodes; nodeId++) await cluster.add(nodeId)
    return cluster
  }

  /** Starts one more broker, on an empty disk. */
  async add(nodeId: number): Promise<InThreadBroker> {
    const config = await inProcessConfig({
      ...{ nodeId, 'listeners.advertised': `${URL_PREFIX}${nodeId}`, 'cluster.leaseTtl': `${LEASE_TTL_MS}ms` },
      ...(this.#options.racks === undefined ? {} : { 'cluster.rack': this.#options.racks[nodeId - 1] }),
      ...this.#options.config,
    })
    const disk = new MemoryDisk({ nowMs: () => systemTime.nowMs(), memoryBytesMax: undefined })
    this.#disks.set(nodeId, disk)
    const broker = new InThreadBroker({
      ...{ config, shards: 1, time: systemTime, prng: systemPrng(), logger: this.#options.logger ?? SILENT },
      newId: () => randomBytes(16).toString('hex'),
      storage: async () => disk.storage(),
      cluster: () => {
        const store = new StoreOfRun(this.store)
        this.#runs.set(nodeId, store)
        return { store, transport: this.#transportOf(nodeId), onOver: () => {} }
      },
    })
    this.brokers.set(nodeId, broker)
    await broker.start()
    return broker
  }

  /** By the host of the URL: ws://node-N. */
  readonly transport: Transport = {
    connect: (url, options, handlers) => {
      const broker = this.brokers.get(nodeIdOf(url))
      if (broker !== undefined) return broker.engine.transport.connect(url, options, handlers)
      setImmediate(() => handlers.onClose({ code: 1006, text: 'there is no such node', isRefused: true }))
      return { bufferedBytes: 0, send: () => {}, close: () => {}, terminate: () => {} }
    },
  }

  /** How often clients have asked a node for something: api number -> count. */
  requestsTo(nodeId: number): ReadonlyMap<number, number> {
    return this.#requests.get(nodeId) ?? new Map()
  }

  readonly #countingTransport: Transport = {
    connect: (url, options, handlers) => {
      const connection = this.transport.connect(url, options, handlers)
      const nodeId = nodeIdOf(url)
      const counts = this.#requests.get(nodeId) ?? new Map<number, number>()
      this.#requests.set(nodeId, counts)
      const count = (parts: readonly Uint8Array[]): void => {
        const decoded = decodeFrame(Buffer.concat(parts))
        if (decoded.kind === 'frame') counts.set(decoded.frame.api, (counts.get(decoded.frame.api) ?? 0) + 1)
      }
      return {
        send: (parts, done) => {
          count(parts)
          connection.send(parts, done)
        },
        get bufferedBytes() {
          return connection.bufferedBytes
        },
        close: (code, text) => connection.close(code, text),
        terminate: () => connection.terminate(),
      }
    },
  }

  /** As a broker has it: what it is cut from is silent. */
  #transportOf(from: number): Transport {
    return {
      connect: (url, options, handlers) => {
        const to = nodeIdOf(url)
        if (this.#cut.has(linkName(from, to))) {
          const timer = setTimeout(() => handlers.onClose({ code: 1006, text: 'no answer' }), options.connectTimeoutMs)
          const close = () => clearTimeout(timer.unref())
          return { bufferedBytes: 0, send: () => {}, close, terminate: close }
        }
        const connection = this.transport.connect(url, options, handlers)
        this.#links.add({ name: linkName(from, to), connection })
        return connection
      },
    }
  }

  /** Neither of the two brokers reaches the other; what is open between them ends. */
  cutBetween(one: number, other: number): void {
    const name = linkName(one, other)
    this.#cut.add(name)
    for (const link of this.#links)
      if (link.name === name) {
        this.#links.delete(link)
        link.connection.terminate()
      }
  }

  /** Brokers reach each other again. */
  heal(): void {
    this.#cut.clear()
  }

  /** It runs, clients reach it, and neither the store nor another broker does: its lease ends here and there. */
  async isolate(nodeId: number): Promise<void> {
    for (const other of this.brokers.keys()) if (other !== nodeId) this.cutBetween(nodeId, other)
    const leaseId = await this.#leaseOf(nodeId)
    this.#runs.get(nodeId)!.isDead = true
    await new Promise((resolve) => setTimeout(resolve, LEASE_TTL_MS))
    if (leaseId !== undefined) await this.store.revokeLease(leaseId)
  }

  /** What the store says of a topic's partitions. */
  async partitionsOf(topic: string): Promise<readonly PartitionState[]> {
    const { revision, values } = await this.store.list(ROOT_PREFIX)
    const record = ClusterImage.of(revision, values).topicByName(topic)
    if (record === undefined) throw new Error(`the store has no topic ${topic}`)
    return record.partitions
  }

  /** What the store says of the brokers that live. */
  async brokersNow(): Promise<readonly BrokerState[]> {
    const { revision, values } = await this.store.list(ROOT_PREFIX)
    return [...ClusterImage.of(revision, values).brokers.values()].map(({ state }) => state)
  }

  /** A client that is told of these brokers, of all when none are named. */
  client(options: ClientOptions & { readonly nodes?: readonly number[] } = {}): Client {
    const { nodes = [...this.brokers.keys()], ...clientOptions } = options
    const startTimer = (delayMs: number, task: () => void) => systemTime.startTimer(delayMs, task)
    const runtime = {
      ...{
        clock: systemTime,
        prng: systemPrng(),
        transport: this.#countingTransport,
        codecs: nodeCodecs(),
        startTimer,
      },
    }
    const client = Client.create(
      runtime,
      nodes.map((nodeId) => `${URL_PREFIX}${nodeId}`),
      clientOptions,
    )
    this.#clients.add(client)
    return client
  }

  /** The broker is gone at once. Its lease goes when it is found out, or when its time is over. */
  kill(nodeId: number): void {
    void this.#leaseOf(nodeId).then((leaseId) => {
      const end = (): void => {
        if (!this.#isClosed && leaseId !== undefined) void this.store.revokeLease(leaseId)
      }
      setTimeout(end, LEASE_TTL_MS).unref()
    })
    this.#runs.get(nodeId)!.isDead = true
    this.brokers.get(nodeId)!.die()
    this.#disks.get(nodeId)!.crash('kill', systemPrng())
  }

  /** The disk of a broker that does not run, and where its data dir is. */
  diskOf(nodeId: number): { readonly files: FileSystem; readonly dataDir: string } {
    const { files, dataDir } = this.#disks.get(nodeId)!.storage()
    return { files, dataDir }
  }

  /** The store finds that the lease of a broker is over, as it does after its time. */
  async expire(nodeId: number): Promise<void> {
    const leaseId = await this.#leaseOf(nodeId)
    if (leaseId !== undefined) await this.store.revokeLease(leaseId)
  }

  async #leaseOf(nodeId: number): Promise<string | undefined> {
    const key = brokerKey(nodeId)
    const stored = await this.store.get(key)
    return stored && decodeState<BrokerState>(key, stored.value).leaseId
  }

  async restart(nodeId: number): Promise<void> {
    await this.brokers.get(nodeId)!.start()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.allSettled([...this.#clients].map((client) => client.close({ signal: AbortSignal.timeout(2_000) })))
    const stopping: Promise<void>[] = []
    for (const [nodeId, broker] of this.brokers) {
      if (!broker.isRunning) continue
      // Cut off from the store it would wait for ever for what the store never answers.
      if (this.#runs.get(nodeId)!.isDead) broker.die()
      else stopping.push(broker.stop())
    }
    await Promise.all(stopping)
    for (const broker of this.brokers.values()) broker.loop.close()
    await this.store.close()
    clearInterval(this.#alive)
  }
}

/** What a broker has connected to another one. */
interface Link {
  readonly name: string
  readonly connection: TransportConnection
}

function linkName(one: number, other: number): string {
  return [one, other].sort().join('-')
}

/** Of ws://node-N. */
function nodeIdOf(url: string): number {
  return Number(url.replace(URL_PREFIX, '').replace(/\/$/, ''))
}

/** One run of a broker and what it has of the common store: it closes for itself alone, and a dead process asks and hears nothing more. */
class StoreOfRun implements MetadataStore {
  isDead = false
  readonly #store: MetadataStore

  constructor(store: MetadataStore) {
    this.#store = store
  }

  get: MetadataStore['get'] = (key) => this.#ask(() => this.#store.get(key))
  list: MetadataStore['list'] = (prefix) => this.#ask(() => this.#store.list(prefix))
  transact: MetadataStore['transact'] = (conditions, operations) =>
    this.#ask(() => this.#store.transact(conditions, operations))
  revokeLease: MetadataStore['revokeLease'] = (leaseId) => this.#ask(() => this.#store.revokeLease(leaseId))

  watch: MetadataStore['watch'] = (prefix, fromRevision, onEvents, onResync) =>
    this.#ask(() =>
      this.#store.watch(
        prefix,
        fromRevision,
        (events) => {
          if (!this.isDead) onEvents(events)
        },
        () => {
          if (!this.isDead) onResync()
        },
      ),
    )

  lease: MetadataStore['lease'] = (ttlMs) =>
    this.#ask(async () => {
      const lease = await this.#store.lease(ttlMs)
      let knownMs = lease.deadlineMs()
      // Nothing of what keeps it alive is heard any more.
      const deadlineMs = (): number => (this.isDead ? knownMs : (knownMs = lease.deadlineMs()))
      const onLost = (listener: () => void): void =>
        lease.onLost(() => {
          if (!this.isDead) listener()
        })
      return { leaseId: lease.leaseId, deadlineMs, revoke: () => lease.revoke(), onLost }
    })

  async close(): Promise<void> {}

  async #ask<T>(work: () => Promise<T>): Promise<T> {
    const answer = this.isDead ? undefined : await work()
    // Nobody is there to hear it.
    if (this.isDead) return new Promise<T>(() => {})
    return answer as T
  }
}
