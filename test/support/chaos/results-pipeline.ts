/**
 * ResultsPipeline: a group of processes that reads the workload's topic and writes each record to another topic, exactly once, through every
 * fault (pipeline-member.ts, mode 'run': now and then one stores what nobody may see, and fails).
 *
 *   members   three processes; now and then one of them is killed, stands still for longer than its session, or ends in order, and is started again
 *   readers   one of the input, one of the results, both read_committed and from the start
 *
 * Owns        its client, its processes, its readers
 * Invariants  the results of a partition are its input's records, in their order, each once: checked as far as both readers are, and for all of
 *             it at the end
 * Failure     what is wrong is in `faults`: the group must outlive every fault
 */
import { join } from 'node:path'
import type { SeededPrng } from '../../../src/base/prng.ts'
import { type Client, connect } from '../../../src/client/index.ts'
import { POISON } from '../pipeline-options.ts'
import { PipelineProcess } from '../pipeline-process.ts'
import { sleep, until } from '../until.ts'
import type { ChaosClients } from './chaos-plan.ts'
import { nameOf } from './history-file.ts'
import { WordCounts } from './kafkajs-client.ts'
import { type FollowedRecord, KafkajsFollower } from './kafkajs-follower.ts'

export interface ResultsPipelineOptions {
  readonly urls: readonly string[]
  /** Where kafkajs clients come in. */
  readonly kafkaBrokers: readonly string[]
  /** Of the members and of the two readers. */
  readonly clients: ChaosClients
  readonly input: string
  readonly output: string
  readonly partitions: number
  /** Of files of the members. */
  readonly folder: string
  readonly prng: SeededPrng
}

export const PIPELINE_GROUP = 'pipeline'
const MEMBERS = 3
const SESSION_MS = 6_000
/** Longer than a broker takes to be replaced: transactions outlive that. */
const TRANSACTION_MS = 15_000
const STALL_MS = 8_000
const TURNOVER_MS_MIN = 5_000
const TURNOVER_MS_MAX = 20_000
const LOOK_MS = 50
const DONE_MS_MAX = 200_000
/** Longer than any fault lasts, after which what it has begun can be done. */
const STOP_MS_MAX = 120_000
const decoder = new TextDecoder()

export class ResultsPipeline {
  readonly #options: ResultsPipelineOptions
  readonly #client: Client
  readonly #stop = new AbortController()
  readonly #members: PipelineProcess[]
  #work: Promise<unknown> = Promise.resolve()
  /** By partition: what both readers have seen, without its filler. */
  readonly #inputs: string[][]
  readonly #results: string[][]
  readonly #faults: string[] = []
  turnovers = 0

  private constructor(options: ResultsPipelineOptions, client: Client) {
    this.#options = options
    this.#client = client
    this.#inputs = Array.from({ length: options.partitions }, () => [])
    this.#results = Array.from({ length: options.partitions }, () => [])
    this.#members = Array.from({ length: MEMBERS }, (_, number) => this.#makeMember(number))
  }

  static async start(options: ResultsPipelineOptions): Promise<ResultsPipeline> {
    const pipeline = new ResultsPipeline(options, await connect(options.urls))
    const { input, output } = options
    pipeline.#work = Promise.all([
      pipeline.#read(input, pipeline.#inputs),
      pipeline.#read(output, pipeline.#results),
      pipeline.#turnOver(),
    ])
    return pipeline
  }

  get results(): number {
    return countOf(this.#results)
  }

  /** Resolves when all that was read of the input by now has its results, of each partition one at least; answers how long that took, ms. */
  async flowing(withinMs: number): Promise<number> {
    const fromMs = performance.now()
    const wanted = this.#inputs.map(({ length }) => Math.max(1, length))
    const behind = (): number[] =>
      [...wanted.keys()].filter((partition) => this.#results[partition]!.length < wanted[partition]!)
    try {
      await until('results of every partition', withinMs, () => this.faults.length > 0 || behind().length === 0)
    } catch (error) {
      throw new Error(`${String(error)}: partitions ${behind().join()} are stuck\n${this.talk}`)
    }
    return performance.now() - fromMs
  }

  /** The workload has written `records` and ends: each has its result, and nothing comes after them. */
  async finish(records: number): Promise<void> {
    await until('a result of every record', DONE_MS_MAX, () => {
      return this.faults.length > 0 || (this.results >= records && countOf(this.#inputs) >= records)
    })
    this.#stop.abort()
    await this.#work
    await Promise.all(this.#members.map((member) => this.#stopMember(member)))
    const found = this.#results.map(() => 0)
    const signal = AbortSignal.timeout(DONE_MS_MAX)
    for await (const { partition } of this.#client.consume(this.#options.output, { from: 'start', to: 'end', signal }))
      found[partition]!++
    for (const [partition, count] of found.entries())
      if (count !== this.#inputs[partition]!.length)
        this.#faults.push(
          `pipeline: partition ${partition}: ${count} results of ${this.#inputs[partition]!.length} records`,
        )
  }

  async close(): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#members.map((member) => member.kill()))
    await this.#work
    await this.#client.close({ signal: AbortSignal.timeout(5_000) }).catch(() => {})
  }

  /** What may never be. */
  get faults(): readonly string[] {
    return [...this.#faults, ...this.#members.flatMap(({ faults }) => faults)]
  }

  /** Why members of kafkajs began anew, and how often. */
  get told(): string {
    const counts = new WordCounts()
    for (const { retold } of this.#members) for (const why of retold) counts.add(why)
    return String(counts)
  }

  /** The ends of what the members said. */
  get talk(): string {
    return this.#members.map(({ talk }) => talk).join('')
  }

  #makeMember(number: number): PipelineProcess {
    const { urls, kafkaBrokers, clients, input, output, folder, prng } = this.#options
    const [addresses, mode] = clients === 'kafkajs' ? ([kafkaBrokers, 'kafkajs'] as const) : ([urls, 'run'] as const)
    return new PipelineProcess({
      ...{ url: addresses.join(), mode, groupId: PIPELINE_GROUP, name: `pipeline-${number}`, input, output },
      ...{ sessionTimeoutMs: SESSION_MS, transactionTimeoutMs: TRANSACTION_MS },
      ...{ journal: join(folder, `pipeline-${number}.jsonl`), process: number, seed: prng.uint32() },
    })
  }

  async #stopMember(member: PipelineProcess): Promise<void> {
    if (!(await member.stop(STOP_MS_MAX))) this.#faults.push(`pipeline: a member did not end within ${STOP_MS_MAX} ms`)
  }

  async #turnOver(): Promise<void> {
    const { prng } = this.#options
    while (await this.#pause(TURNOVER_MS_MIN + prng.below(TURNOVER_MS_MAX - TURNOVER_MS_MIN))) {
      const member = this.#members[prng.below(MEMBERS)]!
      const how = prng.below(3)
      this.turnovers++
      if (how === 2) {
        member.pause()
        await this.#pause(STALL_MS)
        member.resume()
        continue
      }
      await (how === 0 ? member.kill() : this.#stopMember(member))
      if (await this.#pause(prng.below(3_000))) member.start()
    }
  }

  /** False when all is to end. */
  async #pause(ms: number): Promise<boolean> {
    const { signal } = this.#stop
    const untilMs = performance.now() + ms
    while (performance.now() < untilMs && !signal.aborted) await sleep(LOOK_MS)
    return !signal.aborted
  }

  async #read(topic: string, into: string[][]): Promise<void> {
    const { signal } = this.#stop
    const take = ({ partition, offset, value }: { partition: number; offset: number; value: string }): void => {
      const values = into[partition]!
      values.push(nameOf(value))
      this.#compare(partition, values.length - 1, `${topic}/${partition}@${offset}`)
    }
    try {
      await (this.#options.clients === 'kafkajs' ? this.#followByKafkajs(topic, take) : this.#follow(topic, take))
    } catch (error) {
      if (!signal.aborted) this.#faults.push(`pipeline: ${String(error)}`)
    }
  }

  async #follow(topic: string, take: (record: FollowedRecord) => void): Promise<void> {
    const { signal } = this.#stop
    for await (const { partition, offset, value } of this.#client.consume(topic, { from: 'start', signal }))
      take({ partition, offset, value: decoder.decode(value!) })
  }

  async #followByKafkajs(topic: string, take: (record: FollowedRecord) => void): Promise<void> {
    const { signal } = this.#stop
    const onFault = (text: string): void => void this.#faults.push(`pipeline: ${text}`)
    const follower = new KafkajsFollower({
      ...{ brokers: this.#options.kafkaBrokers, topic, name: `pipeline-reader-of-${topic}`, onFault },
      onRecord: (record) => {
        try {
          take(record)
        } catch (error) {
          onFault(String(error))
        }
      },
      onReplaced: () => {},
    })
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
    await follower.stop()
  }

  #compare(partition: number, at: number, where: string): void {
    const [input, result] = [this.#inputs[partition]![at], this.#results[partition]![at]]
    if (result === POISON) throw new Error(`${where}: a record of a transaction that was aborted`)
    if (input !== undefined && result !== undefined && input !== result)
      throw new Error(`${where}: the ${at + 1}th result is of ${result}, the ${at + 1}th record is ${input}`)
  }
}

function countOf(lists: readonly (readonly string[])[]): number {
  return lists.reduce((sum, { length }) => sum + length, 0)
}
