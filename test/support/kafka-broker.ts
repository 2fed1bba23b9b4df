/** One broker with a listener for Kafka clients for all tests of a file, and what reads it by the native client. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { type Client, type ConsumedBatch, type ConsumedRecord, connect } from '../../src/client/index.ts'
import { BrokerProcess } from './broker-process.ts'

/** As a first run is: topics made when they are asked for, groups that do not wait for members that may come. */
const SETTINGS = {
  'topics.autoCreate': 'true',
  'topics.partitions': '1',
  'groups.initialRebalanceDelay': '0ms',
  shards: '2',
}

export interface KafkaBrokerOptions {
  readonly settings?: Readonly<Record<string, string>>
}

/** A broker for all tests of a file or of a `describe`: begun before the first of them, gone with its data after the last one. */
export function kafkaBroker(options: KafkaBrokerOptions = {}): KafkaBroker {
  const broker = new KafkaBroker(options)
  before(() => broker.ready())
  after(() => broker.stop())
  return broker
}

export class KafkaBroker {
  readonly #options: KafkaBrokerOptions
  readonly #dataDir = mkdtempSync(join(tmpdir(), 'millrace-kafka-'))
  #ready: Promise<void> | undefined
  #process: BrokerProcess | undefined
  #client: Client | undefined

  constructor(options: KafkaBrokerOptions = {}) {
    this.#options = options
  }

  /** Begun when it is first asked for; hooks of a file begin together, so each may ask. */
  ready(): Promise<void> {
    this.#ready ??= this.#start()
    return this.#ready
  }

  async #start(): Promise<void> {
    const settings = Object.entries({ ...SETTINGS, ...this.#options.settings })
    const args = settings.flatMap(([name, value]) => ['--set', `${name}=${value}`])
    this.#process = await BrokerProcess.start({ dataDir: this.#dataDir, args, kafka: true })
  }

  async stop(): Promise<void> {
    await this.#client?.close()
    await this.#process?.stop()
    rmSync(this.#dataDir, { recursive: true, force: true })
  }

  get process(): BrokerProcess {
    if (this.#process === undefined) throw new Error('the broker is not ready')
    return this.#process
  }

  /** `host:port` for Kafka clients. */
  get kafka(): string {
    return this.process.kafka
  }

  get url(): string {
    return this.process.url
  }

  /** A native client, the same at each call. */
  async client(): Promise<Client> {
    const token = this.#options.settings?.['auth.tokens']
    this.#client ??= await connect(this.url, token === undefined ? {} : { token })
    return this.#client
  }

  /** All records of a topic that are there now, by partition and offset. */
  async records(
    topic: string,
    isolation: 'read_committed' | 'read_uncommitted' = 'read_committed',
  ): Promise<ReadRecord[]> {
    const mq = await this.client()
    const records: ReadRecord[] = []
    for await (const record of mq.consume(topic, { from: 'start', to: 'end', isolation }))
      records.push(readRecord(record))
    return records.sort((a, b) => a.partition - b.partition || a.offset - b.offset)
  }

  /** The headers of all record batches of a topic that are there now. */
  async batches(topic: string): Promise<BatchFacts[]> {
    const mq = await this.client()
    const facts: BatchFacts[] = []
    for await (const batch of mq.consume(topic, { from: 'start', to: 'end', isolation: 'read_uncommitted' }).batches())
      facts.push(...batchFacts(batch))
    return facts
  }
}

/** A record as text. */
export interface ReadRecord {
  readonly partition: number
  readonly offset: number
  readonly timestampMs: number
  readonly key: string | null
  readonly value: string | null
  readonly headers: readonly (readonly [string, string | null])[]
}

const decoder = new TextDecoder()

function readRecord({ partition, offset, timestampMs, key, value, headers }: ConsumedRecord): ReadRecord {
  const text = (bytes: Uint8Array | null): string | null => (bytes === null ? null : decoder.decode(bytes))
  return {
    ...{ partition, offset, timestampMs, key: text(key), value: text(value) },
    headers: headers.map((header) => [header.key, text(header.value)] as const),
  }
}

export interface BatchFacts {
  readonly codec: 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'
  readonly isTransactional: boolean
  readonly producerId: number
  readonly recordsCount: number
}

const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const
/** Of a record batch of magic 2, from its first byte. */
const LENGTH_AT = 8
const ATTRIBUTES_AT = 21
const PRODUCER_ID_AT = 43
const COUNT_AT = 57

function batchFacts({ bytes }: ConsumedBatch): BatchFacts[] {
  const facts: BatchFacts[] = []
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  for (let at = 0; at < bytes.length; at += 12 + view.getInt32(at + LENGTH_AT)) {
    const attributes = view.getInt16(at + ATTRIBUTES_AT)
    facts.push({
      codec: CODECS[attributes & 7]!,
      isTransactional: (attributes & 16) !== 0,
      producerId: Number(view.getBigInt64(at + PRODUCER_ID_AT)),
      recordsCount: view.getInt32(at + COUNT_AT),
    })
  }
  return facts
}
