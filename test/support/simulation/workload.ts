/**
 * Workload: the clients of a simulated run: producers, consumers, an administrator. Each writes down what it did and saw.
 *
 * History    JSON-lines operations for check-history; process numbers are the clients'
 * Failure    what a client may meet (a broken connection, a broker that is away) is part of the run; what it may never meet is told to onBug
 */
import type { Client } from '../../../src/client/client.ts'
import type { Consumer } from '../../../src/client/consumer.ts'
import type { Receipt } from '../../../src/client/producer.ts'
import type { ProducerOptions } from '../../../src/client/producer-options.ts'
import type { Position } from '../../../src/client/record-types.ts'
import { isMillraceError } from '../../../src/model/errors.ts'
import type { HistoryOperation, HistoryRecord, Isolation } from '../../../src/tools/history.ts'
import type { BatchLedger } from './batch-ledger.ts'
import { between, type PlannedTopic, pick } from './seed-plan.ts'
import type { VirtualTime } from './virtual-time.ts'

/** Errors that no client may see, whatever fails beneath. */
const NEVER = new Set(['CORRUPT_MESSAGE', 'UNKNOWN_SERVER_ERROR', 'INVALID_REQUEST', 'INVALID_RECORD', 'UNKNOWN_API'])
/** Of one producer. */
const RECORDS_MAX = 300
const DECODER = new TextDecoder()

export type WorkloadEvent =
  | ('records acknowledged' | 'records polled' | 'batch retried' | 'send in doubt' | 'consumer restarted')
  | ('offset out of range' | 'trim' | 'topic created' | 'topic deleted')

export type Acks = 'leader' | 'all'

export interface WorkloadContext {
  readonly time: VirtualTime
  readonly ledger: BatchLedger
  readonly reach: { add(name: WorkloadEvent, count?: number): void }
  readonly history: HistoryOperation[]
  readonly connect: () => Promise<Client>
  readonly onBug: (error: unknown) => void
  /** Whether acknowledged records of the topic must survive everything this run does. */
  readonly isKept: (topic: PlannedTopic) => boolean
  readonly isOver: () => boolean
  /** With which acks what is acknowledged is there for ever. */
  readonly acksThatHold: readonly Acks[]
  /** Longest that a send may take, ms: only where nothing is wrong. */
  readonly sendMsMax: number
  /** No more misfortunes come. */
  readonly isHealed: () => boolean
}

type Outcome = Pick<HistoryOperation, 'process' | 'type'> &
  (
    | {
        readonly f: 'send' | 'poll'
        readonly records: readonly HistoryRecord[]
        readonly final?: boolean
        readonly isolation?: Isolation
        readonly txn?: string
      }
    | { readonly f: 'begin' | 'commit' | 'abort'; readonly txn: string }
    | { readonly f: 'assign'; readonly positions: readonly { topic: string; partition: number; offset: number }[] }
  )

export function sleep(time: VirtualTime, delayMs: number): Promise<void> {
  return new Promise((resolve) => time.after(delayMs, 'sleep', resolve))
}

export function note(context: WorkloadContext, topic: PlannedTopic, outcome: Outcome): void {
  if (!context.isKept(topic)) return
  const line = context.history.length + 1
  context.history.push({ final: false, ...outcome, line } as unknown as HistoryOperation)
}

export function checkAllowed(context: WorkloadContext, error: unknown): void {
  if (!isMillraceError(error) || NEVER.has(error.code)) context.onBug(error)
  else context.time.trace(error.code)
}

// --- producers

export interface ProducerWish {
  readonly process: number
  readonly topic: PlannedTopic
  readonly records: number
  /** One of them is drawn; any where it is left out. */
  readonly acks?: readonly Acks[]
}

/** Sends its records, some one by one, some in bursts; resolves when every one of them has an answer. */
export async function produce(context: WorkloadContext, wish: ProducerWish): Promise<void> {
  const { time, reach } = context
  const { prng } = time
  const client = await context.connect()
  const options = {
    acks: pick<Acks>(prng, wish.acks ?? ['leader', 'all']),
    lingerMs: pick(prng, [0, 0, 5]),
    batchBytesMax: pick(prng, [3 * 1024, 6 * 1024, 16 * 1024]),
    inFlightMax: 1 + prng.below(5),
    requestTimeoutMs: pick(prng, [500, 3000, 30_000]),
    deliveryTimeoutMs: prng.below(6) === 0 ? 1500 : 600_000,
  } satisfies ProducerOptions
  const recorder = new SendRecorder(context, { ...wish, isHeld: context.acksThatHold.includes(options.acks) })
  const producer = client.producer(wish.topic.name, {
    ...options,
    onStored: (batch) => recorder.onStored(batch.partition, batch.baseOffset, batch.recordsCount),
    onFailed: () => recorder.onFailed(),
  })
  const usesSend = options.deliveryTimeoutMs < 600_000 || prng.below(2) === 0
  const open: Promise<void>[] = []
  try {
    for (let count = 0; count < wish.records || (count < RECORDS_MAX && !context.isHealed()); count++) {
      const partition = prng.below(wish.topic.partitions)
      const name = `${wish.process}.${count}`
      const value = name.padEnd(pick(prng, [10, 100, 700, 2500]), '.')
      if (usesSend) open.push(recorder.send({ partition, name }, () => producer.send({ partition, value })))
      else {
        while (!producer.enqueue({ partition, value })) await producer.ready()
        recorder.enqueued(partition, name)
      }
      if (prng.below(4) === 0) await sleep(time, between(prng, 0, pick(prng, [2, 40, 200])))
      if (context.isOver()) break
    }
    await Promise.all(open)
    await producer.drain().catch((error: unknown) => checkAllowed(context, error))
    if (!usesSend) recorder.settleEnqueued()
  } catch (error) {
    checkAllowed(context, error)
  }
  reach.add('batch retried', producer.stats().batchesRetried)
  // The client tells of a listener that throws, and goes on: the recorder's faults must not pass so.
  if (client.stats().listenerErrors > 0) throw new Error('a listener of the workload failed')
  await client.close().catch((error: unknown) => checkAllowed(context, error))
}

export interface RecordedSends {
  readonly process: number
  readonly topic: PlannedTopic
  /** Its acknowledgements are promises. */
  readonly isHeld: boolean
  /** The transaction they belong to. */
  readonly txn?: string
}

/** Writes down what is sent to one topic, and what came of it. */
export class SendRecorder {
  readonly #context: WorkloadContext
  readonly #wish: RecordedSends
  /** By partition: what was enqueued and not answered, oldest first. */
  readonly #enqueued: string[][] = []
  #isOrderKnown = true
  readonly #storedBatches: { baseOffset: number; recordsCount: number }[][] = []
  /** By partition: sends in their order, with what is written down once those before them have an answer too. */
  readonly #open: { name: string; settle: (() => void) | undefined }[][] = []

  constructor(context: WorkloadContext, wish: RecordedSends) {
    this.#context = context
    this.#wish = wish
  }

  /** `work` sends the record of this name. */
  async send({ partition, name }: { partition: number; name: string }, work: () => Promise<Receipt>): Promise<void> {
    const { time, sendMsMax, onBug } = this.#context
    const startedMs = time.monotonicMs()
    this.#invoke(partition, name)
    try {
      const receipt = await work()
      const tookMs = time.monotonicMs() - startedMs
      if (tookMs > sendMsMax) onBug(new Error(`a send took ${tookMs} ms although nothing was wrong`))
      this.#stored(partition, receipt.offset, name)
    } catch (error) {
      checkAllowed(this.#context, error)
      this.#context.reach.add('send in doubt')
      this.#settle(partition, name, () => this.#note('info', [{ partition, value: name }]))
    }
  }

  enqueued(partition: number, name: string): void {
    this.#invoke(partition, name)
    this.#enqueued[partition] ??= []
    this.#enqueued[partition].push(name)
  }

  onStored(partition: number, baseOffset: number, recordsCount: number): void {
    this.#storedBatches[partition] ??= []
    this.#storedBatches[partition].push({ baseOffset, recordsCount })
    if (baseOffset >= 0 && this.#isPromised)
      this.#context.ledger.acknowledged(this.#wish.topic.name, partition, baseOffset + recordsCount - 1)
  }

  /** All is answered: what was enqueued first stands first. Answers alone come in any order, when batches were sent again. */
  settleEnqueued(): void {
    if (!this.#isOrderKnown) return
    for (const [partition, names = []] of this.#enqueued.entries()) {
      const batches = (this.#storedBatches[partition] ?? []).sort((left, right) => left.baseOffset - right.baseOffset)
      for (const { baseOffset, recordsCount } of batches)
        for (let index = 0; index < recordsCount; index++) this.#stored(partition, baseOffset + index, names.shift()!)
    }
  }

  /** Which records a failed batch had is not told: from here on outcomes are unknown. */
  onFailed(): void {
    this.#isOrderKnown = false
  }

  #stored(partition: number, offset: number, name: string): void {
    const { topic } = this.#wish
    this.#context.reach.add('records acknowledged')
    if (this.#isPromised) this.#context.ledger.acknowledged(topic.name, partition, offset)
    const [type, record] = this.#wish.isHeld
      ? (['ok', { partition, offset, value: name }] as const)
      : (['info', { partition, value: name }] as const)
    this.#settle(partition, name, () => this.#note(type, [record]))
  }

  get #isPromised(): boolean {
    return this.#wish.isHeld && this.#context.isKept(this.#wish.topic)
  }

  #invoke(partition: number, name: string): void {
    this.#note('invoke', [{ partition, value: name }])
    this.#open[partition] ??= []
    this.#open[partition].push({ name, settle: undefined })
  }

  /** The checker takes answers in the order of the sends; a batch that was sent again may be answered after those behind it. */
  #settle(partition: number, name: string, settle: () => void): void {
    const open = this.#open[partition]!
    open.find((each) => each.name === name)!.settle = settle
    while (open[0]?.settle !== undefined) open.shift()!.settle!()
  }

  #note(type: 'invoke' | 'ok' | 'info', records: readonly Omit<HistoryRecord, 'topic'>[]): void {
    const { topic, process, txn } = this.#wish
    const named = records.map((record) => ({ topic: topic.name, ...record }))
    note(this.#context, topic, { process, type, f: 'send', records: named, ...(txn === undefined ? {} : { txn }) })
  }
}

// --- consumers

/** Reads a topic again and again, from changing positions, until the run is over. */
export async function consume(
  context: WorkloadContext,
  process: number,
  topic: PlannedTopic,
  isolation: Isolation = 'read_committed',
): Promise<void> {
  const { time, reach } = context
  const client = await context.connect()
  while (!context.isOver()) {
    const consumer = client.consume(topic.name, {
      from: drawPosition(context),
      waitMs: pick(time.prng, [10, 100, 500]),
      fetchBytesMax: pick(time.prng, [4 * 1024, 64 * 1024, 1024 * 1024]),
      partitionBytesMax: pick(time.prng, [2 * 1024, 64 * 1024]),
      ...{ isolation },
    })
    const closeTimer = time.after(between(time.prng, 20, 2500), 'consumer-close', () => void consumer.close())
    try {
      await consumer.start()
      noteAssign(context, process, topic, consumer)
      for await (const batch of consumer.batches())
        notePoll(context, { process, topic, isolation, final: false }, batch)
    } catch (error) {
      if (isMillraceError(error) && error.code === 'OFFSET_OUT_OF_RANGE') reach.add('offset out of range')
      if (!isMillraceError(error) || error.code !== 'CLOSED') checkAllowed(context, error)
      await sleep(time, 20)
    }
    time.cancel(closeTimer)
    reach.add('consumer restarted')
    await consumer.close()
  }
  await client.close()
}

function drawPosition(context: WorkloadContext): Position {
  const { prng } = context.time
  return pick<Position>(prng, ['start', 'end', { last: prng.below(30) }, { skip: prng.below(30) }])
}

function noteAssign(context: WorkloadContext, process: number, topic: PlannedTopic, consumer: Consumer): void {
  const positions = consumer.positions().map(({ partition, offset }) => ({ topic: topic.name, partition, offset }))
  note(context, topic, { process, type: 'ok', f: 'assign', positions })
}

type Batch = Parameters<Consumer['batches']> extends [] ? AsyncItem<ReturnType<Consumer['batches']>> : never
type AsyncItem<T> = T extends AsyncIterable<infer Item> ? Item : never

interface Reading {
  readonly process: number
  readonly topic: PlannedTopic
  readonly isolation: Isolation
  readonly final: boolean
}

function notePoll(context: WorkloadContext, { process, topic, isolation, final }: Reading, batch: Batch): number {
  const { partition } = batch
  const records: HistoryRecord[] = []
  const reader = batch.reader()
  while (reader.next()) {
    const text = DECODER.decode(reader.value!)
    const end = /\.*$/.exec(text)!.index
    records.push({ topic: topic.name, partition, offset: reader.offset, value: text.slice(0, end) })
  }
  if (context.isKept(topic)) context.ledger.read(topic.name, partition, batch.bytes)
  context.reach.add('records polled', records.length)
  if (batch.highWatermark < batch.nextOffset)
    context.onBug(
      new Error(`${topic.name}-${partition}: read to ${batch.nextOffset}, past its HW ${batch.highWatermark}`),
    )
  note(context, topic, { process, type: 'ok', f: 'poll', records, final, isolation })
  return records.length
}

/** Reads a topic from its start to its end, after everything was healed. */
export async function readAll(context: WorkloadContext, process: number, topic: PlannedTopic): Promise<number> {
  const client = await context.connect()
  const consumer = client.consume(topic.name, { from: 'start', to: 'end' })
  await consumer.start()
  noteAssign(context, process, topic, consumer)
  let records = 0
  const reading: Reading = { process, topic, isolation: 'read_committed', final: true }
  for await (const batch of consumer.batches()) records += notePoll(context, reading, batch)
  note(context, topic, { process, type: 'ok', f: 'poll', records: [], final: true })
  await client.close()
  return records
}

// --- the administrator

/** Trims the topics that may be trimmed; what it asked for is in `asked`, by topic and partition. */
export async function trimNow(
  context: WorkloadContext,
  topic: PlannedTopic,
  asked: Map<string, number>,
): Promise<void> {
  const { time, reach } = context
  const client = await context.connect()
  try {
    const partition = time.prng.below(topic.partitions)
    const end = (await client.admin.topics.offsets(topic.name, 'end')).find((each) => each.partition === partition)
    const before = time.prng.below((end?.offset ?? 0) + 1)
    const key = `${topic.name}/${partition}`
    asked.set(key, Math.max(asked.get(key) ?? 0, before))
    await client.admin.topics.trim(topic.name, { before, partitions: [partition] })
    reach.add('trim')
  } catch (error) {
    checkAllowed(context, error)
  }
  await client.close()
}

/** Makes a topic, writes a little into it, and deletes it: always under the same name. */
export async function churnOnce(context: WorkloadContext): Promise<void> {
  const { time, reach } = context
  const client = await context.connect()
  try {
    const partitions = 1 + time.prng.below(4)
    await client.admin.topics.create('churn', { partitions, ifNotExists: true })
    reach.add('topic created')
    const producer = client.producer('churn', { deliveryTimeoutMs: 2000 })
    await Promise.all([1, 2, 3].map((count) => producer.send({ value: `churn ${count}` })))
    await client.admin.topics.delete('churn')
    reach.add('topic deleted')
  } catch (error) {
    checkAllowed(context, error)
  }
  await client.close().catch((error: unknown) => checkAllowed(context, error))
}
