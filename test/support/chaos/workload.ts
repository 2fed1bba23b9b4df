/**
 * Workload: producers that send keyed, numbered records with acks=all, and readers that follow; all of it written down as a history.
 *
 *   process 1 …      a producer each (idempotent, keyed: a key is always in the same partition)
 *   process 101 …    a reader each, from the first record on
 *   process 1001     reads everything once more at the end: its polls are final
 *
 * Owns        its client, its producers and readers; the history, a file of JSON lines (docs/history.md)
 * Invariants  a line of the history is written before the step that it announces, or after the one that it tells of
 * Limits      OPEN_MAX records of a producer without an answer
 * Failure     what a reader throws is kept in `readerFaults` (a reader must outlive every fault); what a producer gives up is `info`
 */
import type { SeededPrng } from '../../../src/base/prng.ts'
import { type Client, connect, isMillraceError, type Producer } from '../../../src/client/index.ts'
import { sleep, until } from '../until.ts'
import type { AckTimes } from './ack-times.ts'
import { HistoryWriter, nameOf } from './history-file.ts'

export interface WorkloadOptions {
  readonly urls: readonly string[]
  readonly topic: string
  readonly partitions: number
  readonly producers: number
  readonly readers: number
  /** Of all producers together. */
  readonly recordsPerSecond: number
  readonly historyFile: string
  readonly prng: SeededPrng
  readonly acks: AckTimes
}

/** What a run asks of a workload, of whatever clients. */
export interface RunningWorkload {
  /** How many records its topic holds; known when finish() has resolved. */
  readonly records: number
  /** What no client may ever meet. */
  readonly readerFaults: readonly string[]
  /** What producers gave up that may give up nothing, by code. */
  readonly failures: ReadonlyMap<string, number>
  /** What else is worth telling of it. */
  readonly note: string
  finish(): Promise<void>
  close(): Promise<void>
}

const OPEN_MAX = 500
const KEYS = 60
const FILLER_BYTES_MAX = 300
const TICK_MS = 20
/** Longer than any fault: what a producer must give up, it gives up because something is wrong. */
const DELIVERY_MS = 180_000
/** Shorter than the default, so that a connection into nothing is left in time. */
const REQUEST_MS = 5_000
const FIRST_READER = 101
const FINAL_READER = 1_001
const DRAIN_MS_MAX = 200_000
const decoder = new TextDecoder()

export class Workload implements RunningWorkload {
  readonly #options: WorkloadOptions
  readonly #client: Client
  readonly #history: HistoryWriter
  readonly #stop = new AbortController()
  readonly #readers: Promise<void>[] = []
  readonly #producers: Producer[] = []
  readonly #runs: Promise<void>[] = []
  #isSending = true
  readonly readerFaults: string[] = []
  /** What producers gave up, by code. */
  readonly failures = new Map<string, number>()
  #acknowledged = 0
  #polled = 0

  private constructor(options: WorkloadOptions, client: Client) {
    this.#options = options
    this.#client = client
    this.#history = new HistoryWriter(options.historyFile)
  }

  static async start(options: WorkloadOptions): Promise<Workload> {
    const client = await connect(options.urls, { requestTimeoutMs: REQUEST_MS, connectTimeoutMs: 3_000 })
    const workload = new Workload(options, client)
    for (let number = 0; number < options.readers; number++)
      workload.#readers.push(workload.#follow(FIRST_READER + number))
    for (let number = 1; number <= options.producers; number++) workload.#runs.push(workload.#produce(number))
    return workload
  }

  /** All that were acknowledged: where one is unknown the run has failed. */
  get records(): number {
    return this.#acknowledged
  }

  get note(): string {
    return ''
  }

  /** Stops sending, waits for what is open and for the readers to have got it all, reads everything once more. */
  async finish(): Promise<void> {
    this.#isSending = false
    await Promise.all(this.#runs)
    await Promise.all(this.#producers.map((producer) => producer.close()))
    await this.#readAll()
    await until('readers at the end', DRAIN_MS_MAX, () => {
      return this.#polled >= this.#acknowledged * this.#options.readers || this.readerFaults.length > 0
    })
    this.#stop.abort()
    await Promise.all(this.#readers)
  }

  async close(): Promise<void> {
    this.#isSending = false
    this.#stop.abort()
    for (const producer of this.#producers) producer.abort()
    await Promise.allSettled([...this.#readers, ...this.#runs])
    await this.#client.close({ signal: AbortSignal.timeout(5_000) }).catch(() => {})
    this.#history.close()
  }

  async #produce(process: number): Promise<void> {
    const { topic, partitions, producers, recordsPerSecond, prng } = this.#options
    const producer = this.#client.producer(topic, { deliveryTimeoutMs: DELIVERY_MS, requestTimeoutMs: REQUEST_MS })
    this.#producers.push(producer)
    const perMs = recordsPerSecond / 1_000 / producers
    let open = 0
    let dueFromMs = performance.now()
    for (let serial = 0; this.#isSending; await sleep(TICK_MS)) {
      const nowMs = performance.now()
      // What could not be sent is not made up for: a burst after each fault would hide how the cluster comes back.
      let due = open < OPEN_MAX ? Math.round((nowMs - dueFromMs) * perMs) : 0
      dueFromMs += open < OPEN_MAX ? due / perMs : nowMs - dueFromMs
      for (; due > 0 && open < OPEN_MAX; due--, serial++) {
        const key = prng.below(KEYS)
        const at = { key: `k${key}`, partition: key % partitions, value: `${process}:${serial}` }
        open++
        void this.#send(producer, process, at).finally(() => open--)
      }
    }
    await until(`answer to all of producer ${process}`, DRAIN_MS_MAX, () => open === 0)
  }

  async #send(
    producer: Producer,
    process: number,
    { key, partition, value }: { key: string; partition: number; value: string },
  ): Promise<void> {
    const { topic, prng, acks } = this.#options
    const base = { process, f: 'send' }
    const filler = 'x'.repeat(prng.below(FILLER_BYTES_MAX))
    this.#history.write({ ...base, type: 'invoke', records: [{ topic, partition, value }] })
    const sentMs = performance.now()
    try {
      const { offset } = await producer.send({ key, partition, value: `${value}:${filler}` })
      this.#acknowledged++
      acks.add(sentMs, partition)
      this.#history.write({ ...base, type: 'ok', records: [{ topic, partition, offset, value }] })
    } catch (error) {
      this.#history.write({ ...base, type: 'info', records: [{ topic, partition, value }], error: String(error) })
      const code = isMillraceError(error) ? error.code : String(error)
      this.failures.set(code, (this.failures.get(code) ?? 0) + 1)
    }
  }

  async #follow(process: number): Promise<void> {
    const { topic } = this.#options
    const { signal } = this.#stop
    try {
      for await (const record of this.#client.consume(topic, { from: 'start', signal })) {
        this.#polled++
        this.#poll(process, record, {})
      }
    } catch (error) {
      if (!signal.aborted) this.readerFaults.push(`reader ${process}: ${String(error)}`)
    }
  }

  async #readAll(): Promise<void> {
    const { topic } = this.#options
    for await (const record of this.#client.consume(topic, { from: 'start', to: 'end' }))
      this.#poll(FINAL_READER, record, { final: true })
  }

  #poll(process: number, record: { partition: number; offset: number; value: unknown }, more: object): void {
    const { topic } = this.#options
    const { partition, offset } = record
    const records = [{ topic, partition, offset, value: nameOf(decoder.decode(record.value as Uint8Array)) }]
    this.#history.write({ process, type: 'ok', f: 'poll', ...more, records })
  }
}
