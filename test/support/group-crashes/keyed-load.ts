/**
 * KeyedLoad: a producer that sends records of a few keys, numbered by key, at an even pace until it is stopped; what was sent and
 * what was acknowledged is written down as a history. Value = `key:number`, so it names its record.
 *
 * Limits   IN_FLIGHT_MAX records without an answer: a broker that is away holds the load up
 */
import type { Producer } from '../../../src/client/index.ts'
import type { HistoryRecord, SendOperation } from '../../../src/tools/history.ts'
import { machineMs } from './member-journal.ts'

export interface KeyedLoadOptions {
  readonly producer: Producer
  readonly topic: string
  readonly partitions: number
  readonly recordsPerSecond: number
}

const KEYS_PER_PARTITION = 4
const IN_FLIGHT_MAX = 500
const TICK_MS = 20
/** Of the one sender. */
const PROCESS = 0

export class KeyedLoad {
  readonly #options: KeyedLoadOptions
  /** By key. */
  readonly #serials: number[]
  #operations: SendOperation[] = []
  #timer: NodeJS.Timeout | undefined
  #due = 0
  #nextKey = 0
  #line = 0
  #open = 0
  #onSettled: () => void = () => {}
  /** By partition: the offset after the last one acknowledged. */
  readonly ends: number[]
  acknowledged = 0
  readonly failures: unknown[] = []

  constructor(options: KeyedLoadOptions) {
    this.#options = options
    this.#serials = Array.from({ length: options.partitions * KEYS_PER_PARTITION }, () => 0)
    this.ends = Array.from({ length: options.partitions }, () => 0)
  }

  start(): void {
    let beforeMs = machineMs()
    this.#timer = setInterval(() => {
      const nowMs = machineMs()
      const added = (this.#options.recordsPerSecond * (nowMs - beforeMs)) / 1_000
      beforeMs = nowMs
      this.#due = Math.min(this.#due + added, IN_FLIGHT_MAX)
      for (; this.#due >= 1 && this.#open < IN_FLIGHT_MAX; this.#due--) this.#send()
    }, TICK_MS)
  }

  /** Resolves when all that was sent is answered. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    while (this.#open > 0)
      await new Promise<void>((resolve) => {
        this.#onSettled = resolve
      })
  }

  /** The history since this was last asked. */
  takeHistory(): SendOperation[] {
    const operations = this.#operations
    this.#operations = []
    return operations
  }

  #send(): void {
    const { producer, topic, partitions } = this.#options
    const key = this.#nextKey
    this.#nextKey = (key + 1) % this.#serials.length
    const partition = key % partitions
    const value = `k${key}:${this.#serials[key]!++}`
    this.#note('invoke', { topic, partition, value })
    this.#open++
    producer
      .send({ key: `k${key}`, value, partition })
      .then(
        ({ offset }) => {
          this.acknowledged++
          this.ends[partition] = Math.max(this.ends[partition]!, offset + 1)
          this.#note('ok', { topic, partition, value, offset })
        },
        (error: unknown) => {
          this.failures.push(error)
          this.#note('info', { topic, partition, value })
        },
      )
      .finally(() => {
        this.#open--
        this.#onSettled()
      })
  }

  #note(type: 'invoke' | 'ok' | 'info', record: HistoryRecord): void {
    this.#operations.push({ process: PROCESS, type, f: 'send', line: ++this.#line, records: [record] })
  }
}
