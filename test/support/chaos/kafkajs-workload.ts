/**
 * KafkajsWorkload: the workload of workload.ts by clients of kafkajs, at the Kafka listeners, written down as the same history.
 *
 *   process 1 …        a producer each: idempotent, acks -1, keyed; up to BATCH_MAX records of a partition in one send. The last one
 *                      gives up soon, as applications do, so that some outcomes are unknown
 *   process 101 …      a reader each, from the first record on
 *   process 1001       reads everything once more at the end: its polls are final
 *   process 10001 …    members of a group that commit what they have handled (kafkajs-group.ts)
 *
 * Invariants  a line of the history is written before the step that it announces, or after the one that it tells of
 * Limits      OPEN_MAX records of a producer without an answer; one send of a partition and producer at a time (kafkajs-client.ts)
 * Failure     a send that failed is `info`: it may have been stored by an attempt before the one that told. Clients of kafkajs give up where
 *             those of this project do not, and are made anew: `note` tells why, by word. What no broker may say is in `readerFaults`
 */
import type { Message } from 'kafkajs'
import { sleep, until } from '../until.ts'
import { HistoryWriter, nameOf } from './history-file.ts'
import { makeKafka, RETRY_SHORT, RETRY_WITHOUT_END, WordCounts, within } from './kafkajs-client.ts'
import { type FollowedRecord, KafkajsFollower } from './kafkajs-follower.ts'
import { KafkajsGroup } from './kafkajs-group.ts'
import { KafkajsProducer } from './kafkajs-producer.ts'
import type { RunningWorkload, WorkloadOptions } from './workload.ts'

export interface KafkajsWorkloadOptions extends Omit<WorkloadOptions, 'urls'> {
  readonly brokers: readonly string[]
}

const OPEN_MAX = 500
const BATCH_MAX = 50
const KEYS = 60
const FILLER_BYTES_MAX = 300
const TICK_MS = 20
const IN_FLIGHT_MAX = 5
const MEMBERS = 3
const FIRST_READER = 101
const FINAL_READER = 1_001
const FIRST_MEMBER = 10_001
const DRAIN_MS_MAX = 200_000
const CLOSE_MS_MAX = 10_000
/** Told to a client only when a broker is at fault, whatever went wrong beneath it. */
const INEXCUSABLE = ['UNKNOWN', 'KAFKAJS_UNKNOWN_ERROR_CODE', 'INVALID_REQUEST', 'CORRUPT_MESSAGE', 'INVALID_RECORD']

/** Records of one producer and partition that wait for their turn. */
interface Lane {
  readonly partition: number
  readonly waiting: { readonly key: string; readonly name: string }[]
  isBusy: boolean
}

export class KafkajsWorkload implements RunningWorkload {
  readonly #options: KafkajsWorkloadOptions
  readonly #history: HistoryWriter
  readonly #readers: KafkajsFollower[]
  readonly #producers: KafkajsProducer[] = []
  readonly #runs: Promise<void>[] = []
  readonly #group: KafkajsGroup
  /** By partition: offsets of what was acknowledged, and of which nobody has seen yet that it was read and handled. */
  readonly #open: Set<number>[]
  readonly #counts = { unknown: 0, stored: 0 }
  /** Why clients were made anew. */
  readonly #replaced = { producers: new WordCounts(), consumers: new WordCounts() }
  readonly readerFaults: string[] = []
  readonly failures = new Map<string, number>()
  #isSending = true

  private constructor(options: KafkajsWorkloadOptions) {
    const { brokers, topic, partitions, prng, historyFile, readers, producers } = options
    const history = new HistoryWriter(historyFile)
    this.#options = options
    this.#history = history
    this.#open = Array.from({ length: partitions }, () => new Set())
    const onFault = (text: string): void => void this.readerFaults.push(text)
    this.#readers = Array.from({ length: readers }, (_, number) => this.#follow(FIRST_READER + number, {}))
    this.#group = new KafkajsGroup({
      ...{ brokers, topic, partitions, members: MEMBERS, firstProcess: FIRST_MEMBER, prng, history, onFault },
      onReplaced: (why) => this.#onReplaced(this.#replaced.consumers, why),
    })
    for (let number = 1; number <= producers; number++) this.#runs.push(this.#produce(number))
  }

  static async start(options: KafkajsWorkloadOptions): Promise<KafkajsWorkload> {
    return new KafkajsWorkload(options)
  }

  get records(): number {
    return this.#counts.stored
  }

  get note(): string {
    const { unknown } = this.#counts
    const { producers, consumers } = this.#replaced
    const { committed, turnovers } = this.#group
    return (
      `kafkajs: ${unknown} records unknown; producers made anew: ${producers}; consumers made anew: ${consumers}; the group committed ` +
      `${committed} times, a member left ${turnovers} times`
    )
  }

  async finish(): Promise<void> {
    this.#isSending = false
    await Promise.all(this.#runs)
    await Promise.all(this.#producers.map((producer) => producer.close()))
    await this.#readAll()
    await until('readers and group at the end', DRAIN_MS_MAX, () => this.readerFaults.length > 0 || !this.#isBehind())
    await Promise.all([this.#group.stop(), ...this.#readers.map((reader) => reader.stop())])
  }

  async close(): Promise<void> {
    this.#isSending = false
    await Promise.all(this.#producers.map((producer) => producer.close()))
    await within(DRAIN_MS_MAX, Promise.all([this.#group.stop(), ...this.#readers.map((reader) => reader.stop())]))
    this.#history.close()
  }

  /** A reader has not got, or the group not handled, all that was acknowledged. */
  #isBehind(): boolean {
    for (const [partition, offsets] of this.#open.entries()) {
      const position = Math.min(...this.#readers.map((reader) => reader.positionOf(partition)))
      for (const offset of offsets) {
        if (offset >= position || !this.#group.isHandled(partition, offset)) return true
        offsets.delete(offset)
      }
    }
    return false
  }

  async #produce(process: number): Promise<void> {
    const { brokers, partitions, producers, recordsPerSecond, prng } = this.#options
    const producer = new KafkajsProducer({
      ...{ brokers, clientId: `producer-${process}`, maxInFlightRequests: 1 + prng.below(IN_FLIGHT_MAX) },
      retry: process === producers ? RETRY_SHORT : RETRY_WITHOUT_END,
      onReplaced: (why) => this.#onReplaced(this.#replaced.producers, why),
    })
    this.#producers.push(producer)
    const lanes = Array.from(
      { length: partitions },
      (_, partition): Lane => ({ partition, waiting: [], isBusy: false }),
    )
    const perMs = recordsPerSecond / 1_000 / producers
    let open = 0
    let dueFromMs = performance.now()
    for (let serial = 0; this.#isSending; await sleep(TICK_MS)) {
      const nowMs = performance.now()
      // As in workload.ts: what could not be sent is not made up for.
      let due = open < OPEN_MAX ? Math.round((nowMs - dueFromMs) * perMs) : 0
      dueFromMs += open < OPEN_MAX ? due / perMs : nowMs - dueFromMs
      for (; due > 0 && open < OPEN_MAX; due--, serial++) {
        const key = prng.below(KEYS)
        open++
        lanes[key % partitions]!.waiting.push({ key: `k${key}`, name: `${process}:${serial}` })
      }
      for (const lane of lanes) void this.#sendLane(producer, process, lane, (count) => (open -= count))
    }
    await until(`answer to all of producer ${process}`, DRAIN_MS_MAX, () => open === 0)
  }

  async #sendLane(
    producer: KafkajsProducer,
    process: number,
    lane: Lane,
    onAnswered: (count: number) => void,
  ): Promise<void> {
    if (lane.isBusy) return
    lane.isBusy = true
    while (lane.waiting.length > 0) {
      const rows = lane.waiting.splice(0, BATCH_MAX)
      await this.#send(producer, process, lane.partition, rows)
      onAnswered(rows.length)
    }
    lane.isBusy = false
  }

  async #send(
    producer: KafkajsProducer,
    process: number,
    partition: number,
    rows: readonly Lane['waiting'][number][],
  ): Promise<void> {
    const { topic, prng, acks } = this.#options
    const line = { process, f: 'send' }
    const records = rows.map(({ name: value }) => ({ topic, partition, value }))
    const messages = rows.map(({ key, name }): Message => {
      return { key, partition, value: `${name}:${'x'.repeat(prng.below(FILLER_BYTES_MAX))}` }
    })
    this.#history.write({ ...line, type: 'invoke', records })
    const sentMs = performance.now()
    try {
      const baseOffset = await producer.send(topic, messages)
      this.#history.write({
        ...{ ...line, type: 'ok' },
        records: records.map((record, index) => ({ ...record, offset: baseOffset + index })),
      })
      for (const index of rows.keys()) {
        acks.add(sentMs, partition)
        this.#open[partition]!.add(baseOffset + index)
      }
    } catch (error) {
      this.#history.write({ ...line, type: 'info', records, error: String(error) })
      this.#counts.unknown += rows.length
    }
  }

  #follow(process: number, more: object): KafkajsFollower {
    const { brokers, topic } = this.#options
    return new KafkajsFollower({
      ...{ brokers, topic, name: `reader-${process}` },
      onRecord: ({ partition, offset, value }: FollowedRecord) => {
        const records = [{ topic, partition, offset, value: nameOf(value) }]
        this.#history.write({ process, type: 'ok', f: 'poll', ...more, records })
      },
      onReplaced: (why) => this.#onReplaced(this.#replaced.consumers, why),
      onFault: (text) => void this.readerFaults.push(text),
    })
  }

  async #readAll(): Promise<void> {
    const ends = await until('ends of the log', DRAIN_MS_MAX, () => this.#ends().catch(() => undefined))
    const reader = this.#follow(FINAL_READER, { final: true })
    this.#counts.stored = ends.reduce((sum, { high }) => sum + Number(high), 0)
    await until('final reader at the end', DRAIN_MS_MAX, () => {
      return ends.every(({ partition, high }) => reader.positionOf(partition) >= Number(high))
    })
    await reader.stop()
  }

  async #ends(): Promise<{ partition: number; high: string }[]> {
    const { brokers, topic } = this.#options
    const admin = makeKafka({ brokers, clientId: 'ends' }).admin()
    try {
      await admin.connect()
      return await admin.fetchTopicOffsets(topic)
    } finally {
      await within(CLOSE_MS_MAX, admin.disconnect())
    }
  }

  #onReplaced(counts: WordCounts, why: string): void {
    const word = why.replace(/^\S+-\d+: /, '')
    counts.add(word)
    if (INEXCUSABLE.some((each) => word.endsWith(each))) this.readerFaults.push(`kafkajs was told ${word}`)
  }
}
