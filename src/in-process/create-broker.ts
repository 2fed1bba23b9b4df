/**
 * createBroker(): a whole broker in the caller's process, without sockets unless a door is opened, and without threads unless asked for.
 *
 * Thread    the caller's. With `workers` each shard has two threads of its own, as in `millrace start`
 * Ordering  close(): clients drained and closed -> the broker stops in order -> the data dir is clean, its lock given back
 * Limits    CLIENT_DRAIN_MS_MAX for what clients still have to send
 * Failure   a client that could not deliver what it had makes close() reject with that, after all is closed
 */
import { randomBytes } from 'node:crypto'
import { systemPrng } from '../base/node/system-prng.ts'
import type { Gateway } from '../broker/gateway.ts'
import { abortError, throwIfAborted } from '../client/abort.ts'
import type { Client } from '../client/client.ts'
import type { ClientOptions } from '../client/client-options.ts'
import type { BrokerConfig } from '../config/index.ts'
import { MillraceError } from '../model/errors.ts'
import type { Logger } from '../telemetry/logger.ts'
import { doorConfig, type InProcessConfig, inProcessConfig } from './in-process-config.ts'
import { InThreadBroker } from './in-thread-broker.ts'
import { LocalClients } from './local-clients.ts'
import { LocalEngine } from './local-engine.ts'
import { MemoryDisk, openDirectory } from './local-storage.ts'
import { SILENT } from './silent-logger.ts'
import { systemTime } from './time-source.ts'

export interface CreateBrokerOptions {
  /** `memory` forgets all at close(); `dir` is a data dir as `millrace start` has it, made when it is missing. */
  readonly storage: 'memory' | { readonly dir: string }
  /** How many shards own the partitions. Default 1. */
  readonly shards?: number
  /** Two threads for each shard, as `millrace start` does it, instead of the caller's. Needs a `dir`. Default false. */
  readonly workers?: boolean
  /** Keys of config/millrace.yaml by their dotted paths: `{ 'storage.fsync': 'interval', 'topics.autoCreate': true }`. */
  readonly config?: InProcessConfig
  /** Bytes that `memory` may hold; beyond it produce is refused with DISK_FULL. Default 1 GiB. With a `dir`: INVALID_ARGUMENT. */
  readonly memoryBytesMax?: number
  /** Told what a broker's log says. Default: nobody, or JSON lines on stderr where `log.level` is set. */
  readonly logger?: Logger
  /** Gives the start up: what was begun is undone, then ABORTED. */
  readonly signal?: AbortSignal
}

export interface CloseOptions {
  /** Gives up what clients still have to send; the broker stops in order all the same. */
  readonly signal?: AbortSignal
}

export interface ListenOptions {
  /** HOST:PORT; default any free port of 127.0.0.1. Another host needs `auth.tokens`, or `insecure`, in the configuration. */
  readonly listen?: string
  /** HOST:PORT for Kafka clients too, such as 127.0.0.1:0; see kafkaAddress. Default: none can come in. */
  readonly kafka?: string
}

const SHARDS_MAX = 999

/** Starts a broker in this process; resolves when it serves. */
export async function createBroker(options: CreateBrokerOptions): Promise<InProcessBroker> {
  const { storage, shards = 1, workers = false, signal } = checked(options)
  throwIfAborted(signal)
  const config = await inProcessConfig(options.config)
  const parts = { config, settings: options.config ?? {} }
  if (workers) return new InProcessBroker(await startWithWorkers(options, config), parts)
  const disk = new MemoryDisk({ nowMs: () => systemTime.nowMs(), memoryBytesMax: options.memoryBytesMax })
  const broker = new InThreadBroker({
    ...{ config, shards, time: systemTime, prng: systemPrng() },
    logger: options.logger ?? (await loggerOf(config)),
    newId: () => randomBytes(16).toString('hex'),
    storage: async () => (storage === 'memory' ? disk.storage() : openDirectory(storage.dir)),
  })
  await broker.start()
  const stop = async (): Promise<void> => {
    await broker.stop()
    broker.loop.close()
  }
  if (signal?.aborted) {
    await stop()
    throw abortError(signal)
  }
  return new InProcessBroker({ engine: broker.engine, gateway: broker.gateway, stop }, parts)
}

/** A broker that runs, whoever runs it. */
interface Running {
  readonly engine: LocalEngine
  readonly gateway: Gateway
  readonly stop: () => Promise<void>
}

export class InProcessBroker {
  readonly #running: Running
  readonly #config: BrokerConfig
  readonly #settings: InProcessConfig
  readonly #clients: LocalClients
  #door: Promise<string> | undefined
  #closing: Promise<void> | undefined
  readonly #drain = new AbortController()

  /** Made by createBroker(). */
  constructor(running: Running, parts: { readonly config: BrokerConfig; readonly settings: InProcessConfig }) {
    this.#running = running
    this.#config = parts.config
    this.#settings = parts.settings
    const [token] = parts.config.auth.tokens
    this.#clients = new LocalClients({ time: systemTime, prng: systemPrng(), engine: running.engine, token })
  }

  /** A client of this broker, over memory; it connects when it is first used. Ends with the broker, or by its own close(). */
  client(options: ClientOptions = {}): Client {
    this.#checkOpen()
    return this.#clients.create(options)
  }

  /** Opens the door for others: WebSocket and HTTP on one port. Resolves with its ws:// URL. Once. */
  async listen(options: ListenOptions = {}): Promise<string> {
    this.#checkOpen()
    if (this.#door !== undefined)
      throw new MillraceError('INVALID_ARGUMENT', `this broker listens already, on ${await this.#door}`)
    this.#door = this.#listen(options)
    this.#door.catch(() => {
      this.#door = undefined
    })
    return this.#door
  }

  async #listen(options: ListenOptions): Promise<string> {
    const { listen, kafka } = await doorConfig(this.#settings, options)
    const { gateway } = this.#running
    await gateway.listen(listen)
    if (kafka.listen !== undefined) {
      const { TcpEngine } = await import('../broker/listeners/tcp-engine.ts')
      const { nodeTimers } = await import('../base/node/node-timers.ts')
      await gateway.listenKafka(new TcpEngine(nodeTimers), kafka.listen)
    }
    return gateway.url
  }

  /** HOST:PORT where Kafka clients come in; undefined: none can. */
  get kafkaAddress(): string | undefined {
    return this.#running.gateway.kafkaAddress
  }

  /** Breaks the connections of all its clients, as a network's fault would; they connect again by themselves. */
  cutConnections(): void {
    this.#checkOpen()
    this.#running.engine.cutConnections()
  }

  get config(): BrokerConfig {
    return this.#config
  }

  /** Closes its clients, then stops in order. The same promise each time. */
  close(options: CloseOptions = {}): Promise<void> {
    const { signal } = options
    if (signal?.aborted) this.#drain.abort(signal.reason)
    else signal?.addEventListener('abort', () => this.#drain.abort(signal.reason), { once: true })
    this.#closing ??= this.#clients.closeBefore(() => this.#running.stop(), this.#drain.signal)
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new MillraceError('CLOSED', 'the broker is closed')
  }
}

function checked(options: CreateBrokerOptions): CreateBrokerOptions {
  const { storage, shards = 1, workers = false } = options
  const isDirectory = typeof storage === 'object' && storage !== null && typeof storage.dir === 'string'
  if (storage !== 'memory' && !isDirectory)
    throw new MillraceError(
      'INVALID_ARGUMENT',
      `storage: expected 'memory' or { dir: 'PATH' }, not ${JSON.stringify(storage)}`,
    )
  if (isDirectory && options.memoryBytesMax !== undefined)
    throw new MillraceError(
      'INVALID_ARGUMENT',
      "memoryBytesMax bounds storage 'memory'; a { dir } has the disk, of which 'storage.reserve' stays free",
    )
  if (!Number.isSafeInteger(shards) || shards < 1 || shards > SHARDS_MAX)
    throw new MillraceError('INVALID_ARGUMENT', `shards: expected a number from 1 to ${SHARDS_MAX}, not ${shards}`)
  if (workers && storage === 'memory')
    throw new MillraceError(
      'INVALID_ARGUMENT',
      "workers: threads do not see this thread's memory: give storage a { dir }, or leave workers out",
    )
  return options
}

async function loggerOf(config: BrokerConfig): Promise<Logger> {
  if (config.logLevel === 'silent') return SILENT
  const { createLogger } = await import('../telemetry/logger.ts')
  return createLogger(config.logLevel)
}

async function startWithWorkers(options: CreateBrokerOptions, config: BrokerConfig): Promise<Running> {
  const { shards = 1, storage, logger } = options
  const dataDir = storage === 'memory' ? '' : storage.dir
  const { startBroker } = await import('../main.ts')
  const engine = new LocalEngine({
    soon: (task) => void setImmediate(task),
    makeDoor: async () => {
      const { chooseEngine } = await import('../broker/listeners/choose-engine.ts')
      const { nodeTimers } = await import('../base/node/node-timers.ts')
      return chooseEngine(config.engine, nodeTimers)
    },
  })
  const running = await startBroker({
    ...{ config: { ...config, dataDir, shards }, engine },
    ...(logger === undefined ? {} : { logger }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  })
  const { gateway } = running
  engine.serve(gateway, gateway.socketLimits)
  return { engine, gateway, stop: () => running.close() }
}
