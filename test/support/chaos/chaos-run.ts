/**
 * The program in the laboratory: a cluster, a workload, one fault after the other, and the judgement at the end.
 *
 *   node chaos-run.js PLAN        a ChaosPlan as JSON; says on stdout what it does; exit code 0, 1 (something is wrong), EXIT_UNAVAILABLE
 *
 * Ordering  per fault: begin, hold, heal, all in sync again, records acknowledged in every partition. At the end: all answered, all read,
 *           brokers stopped in order, replicas compared, history checked
 */
import { copyFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SeededPrng } from '../../../src/base/prng.ts'
import { connect, type TopicDescription } from '../../../src/client/index.ts'
import type { TopicId } from '../../../src/model/ids.ts'
import { HistoryChecker, type HistoryVerdict } from '../../../src/tools/check-history.ts'
import { until } from '../until.ts'
import { AckTimes } from './ack-times.ts'
import { BROKERS, ChaosCluster, type ChaosClusterOptions, ToolMissing } from './chaos-cluster.ts'
import { type ChaosClients, type ChaosPlan, EXIT_UNAVAILABLE, parsePlan } from './chaos-plan.ts'
import { FAILOVERS } from './failovers.ts'
import { FAULTS, type Fault, type FaultContext } from './faults.ts'
import { readHistoryFile } from './history-file.ts'
import { KafkajsWorkload } from './kafkajs-workload.ts'
import { compareReplicas } from './replica-comparison.ts'
import { ResultsPipeline } from './results-pipeline.ts'
import { type RunningWorkload, Workload } from './workload.ts'

const TOPIC = 'chaos'
const RESULTS_TOPIC = 'results'
const PROBE_TOPIC = 'probe'
const PARTITIONS = 6
const ALL_PARTITIONS: readonly number[] = Array.from({ length: PARTITIONS }, (_, partition) => partition)
const PRODUCERS = 3
const READERS = 2
const FLOWING_MS_MAX = 60_000
/** Of the pipeline. Members of kafkajs join anew whenever a leader moves, and when they do none of them works. */
const RESULTS_MS_MAX: Readonly<Record<ChaosClients, number>> = { native: 60_000, kafkajs: 150_000 }
const STARTED_MS_MAX = 60_000
/** Small, so that replicas have several segments. */
const SEGMENT_BYTES = 1024 * 1024
const TOPIC_CONFIG = { 'min.insync.replicas': '2', 'segment.bytes': String(SEGMENT_BYTES) }
const ANOMALIES_SHOWN_MAX = 10

class ChaosRun {
  readonly #plan: ChaosPlan
  readonly #prng: SeededPrng
  readonly #cluster: ChaosCluster
  readonly #acks = new AckTimes()
  readonly #faults: readonly (readonly [string, Fault])[]
  #workload: RunningWorkload | undefined
  /** None while failovers are timed: its processes would share the cores. */
  #pipeline: ResultsPipeline | undefined
  readonly wrong: string[] = []

  constructor(plan: ChaosPlan) {
    this.#plan = plan
    this.#prng = new SeededPrng(plan.seed)
    this.#faults = plan.faults.map((name) => [name, faultNamed(name)])
    const needs: Partial<ChaosClusterOptions> = Object.assign({}, ...this.#faults.map(([, fault]) => fault.needs))
    this.#cluster = new ChaosCluster({ ...needs, etcdProgram: plan.etcdProgram, leaseTtlMs: plan.leaseTtlMs })
  }

  get #historyFile(): string {
    return join(this.#cluster.folder, 'history.jsonl')
  }

  async run(): Promise<void> {
    try {
      await this.#start()
      await this.#rounds()
      await this.#judge()
    } catch (error) {
      this.wrong.push(error instanceof Error ? (error.stack ?? error.message) : String(error))
    }
    if (this.wrong.length > 0) this.#tellMore()
    await this.#pipeline?.close()
    await this.#workload?.close()
    await this.#cluster.close()
  }

  async #start(): Promise<void> {
    const { topic, partitions, urls } = { ...this.#context('start'), urls: this.#cluster.urls }
    // Its own: how much the workload draws depends on time, and must not change what the faults draw.
    const prng = new SeededPrng(this.#prng.uint32())
    await this.#cluster.start()
    const client = await connect(urls)
    await until('topics', STARTED_MS_MAX, () => this.#makeTopics(client))
    await client.close()
    await this.#cluster.settle()
    const { clients, recordsPerSecond } = this.#plan
    const { kafkaBrokers } = this.#cluster
    const options = {
      ...{ topic, partitions, producers: PRODUCERS, readers: READERS, prng },
      ...{ recordsPerSecond, historyFile: this.#historyFile, acks: this.#acks },
    }
    this.#workload =
      clients === 'kafkajs'
        ? await KafkajsWorkload.start({ ...options, brokers: kafkaBrokers })
        : await Workload.start({ ...options, urls })
    await this.#flowing()
    say(`started: ${partitions} partitions flow`)
    if (!this.#plan.isPipelined) return
    this.#pipeline = await ResultsPipeline.start({
      ...{ urls, kafkaBrokers, clients, input: topic, output: RESULTS_TOPIC, partitions, folder: this.#cluster.folder },
      prng: new SeededPrng(this.#prng.uint32()),
    })
    const resultsMs = await this.#pipeline.flowing(RESULTS_MS_MAX[clients])
    say(`the pipeline has its first results after ${resultsMs.toFixed(0)} ms`)
  }

  async #makeTopics(client: Awaited<ReturnType<typeof connect>>): Promise<boolean> {
    const options = { replicas: 3, config: TOPIC_CONFIG, ifNotExists: true }
    try {
      await client.admin.topics.create(TOPIC, { ...options, partitions: PARTITIONS })
      await client.admin.topics.create(RESULTS_TOPIC, { ...options, partitions: PARTITIONS })
      await client.admin.topics.create(PROBE_TOPIC, { ...options, partitions: 1 })
      return true
    } catch {
      return false // no controller, or not three brokers yet
    }
  }

  async #rounds(): Promise<void> {
    const startedMs = performance.now()
    for (let round = 0; ; round++) {
      const [name, fault] = this.#faults[round % this.#faults.length]!
      const isOver = performance.now() - startedMs > this.#plan.budgetMs
      if (isOver && round > 0 && (this.#plan.isCut || round >= this.#faults.length)) return
      await this.#round(name, fault)
    }
  }

  async #round(name: string, fault: Fault): Promise<void> {
    const { span, acksMin = 0 } = await fault.run(this.#context(name))
    this.#cluster.network.heal()
    const settledMs = await this.#cluster.settle()
    const flowMs = await this.#flowing()
    const acked = this.#acks.count(span, true)
    const whole = { ...span, toMs: performance.now() }
    const gaps = ALL_PARTITIONS.map((partition) => this.#acks.longestGapMs(whole, partition).toFixed(0))
    say(
      `${name}: ${((span.toMs - span.fromMs) / 1000).toFixed(1)} s, ${acked} acknowledged meanwhile, longest time without ` +
        `${this.#acks.longestGapMs(whole).toFixed(0)} ms, by partition ${gaps.join(' ')}; all in sync ${settledMs.toFixed(0)} ms ` +
        `after, all partitions flow ${flowMs.toFixed(0)} ms after that`,
    )
    if (acked < acksMin) this.wrong.push(`${name}: ${acked} acknowledged meanwhile, not ${acksMin}`)
    const { readerFaults, failures, note } = this.#workload!
    if (note !== '') say(`${name}: ${note}`)
    if (readerFaults.length > 0) throw new Error(readerFaults.join('; '))
    if (failures.size > 0) throw new Error(`producers gave up: ${JSON.stringify([...failures])}`)
    const resultsMs = await this.#pipeline?.flowing(RESULTS_MS_MAX[this.#plan.clients])
    if (resultsMs !== undefined) say(`${name}: all have their results ${resultsMs.toFixed(0)} ms after that`)
    this.#checkPipeline()
  }

  #checkPipeline(): void {
    const faults = this.#pipeline?.faults ?? []
    if (faults.length > 0) throw new Error(`${faults.join('; ')}\n${this.#pipeline!.talk}`)
  }

  #context(name: string): FaultContext {
    return {
      ...{ cluster: this.#cluster, topic: TOPIC, partitions: PARTITIONS, probeTopic: PROBE_TOPIC },
      ...{ prng: this.#prng, acks: this.#acks, holdMs: this.#plan.holdMs, runs: this.#plan.runs },
      note: (text) => say(`${name}: ${text}`),
      fail: (text) => void this.wrong.push(`${name}: ${text}`),
    }
  }

  /** Every partition acknowledges what is sent from now on; answers after how long. */
  async #flowing(): Promise<number> {
    const fromMs = performance.now()
    let stuck: readonly number[] = []
    try {
      await until('acknowledgement in every partition', FLOWING_MS_MAX, () => {
        stuck = ALL_PARTITIONS.filter((partition) => this.#acks.firstAfter(fromMs, partition) === undefined)
        return stuck.length === 0
      })
    } catch (error) {
      throw new Error(`${String(error)}: partitions ${stuck.join()} are stuck`)
    }
    return performance.now() - fromMs
  }

  async #judge(): Promise<void> {
    const workload = this.#workload!
    await workload.finish()
    await this.#endPipeline(workload.records)
    if (workload.note !== '') say(workload.note)
    await this.#cluster.settle()
    // Without a pipeline nobody has written to its topic.
    const topics = await this.#describe(this.#pipeline === undefined ? [TOPIC] : [TOPIC, RESULTS_TOPIC])
    for (const nodeId of BROKERS) {
      const code = await this.#cluster.broker(nodeId).stop()
      if (code !== 0) this.wrong.push(`broker ${nodeId} ended with ${code} when it was asked to stop`)
    }
    this.wrong.push(...workload.readerFaults)
    for (const topic of topics) this.#compareReplicas(topic)
    this.#judgeHistory(await checkFile(this.#historyFile))
  }

  async #endPipeline(records: number): Promise<void> {
    const pipeline = this.#pipeline
    if (pipeline === undefined) return
    await pipeline.finish(records)
    this.#checkPipeline()
    if (this.#plan.clients === 'kafkajs') say(`pipeline: members began anew: ${pipeline.told}`)
    say(
      `pipeline: reached ${pipeline.results} results, each once and in order; a member killed, stalled or ended ${pipeline.turnovers} times`,
    )
  }

  async #describe(names: readonly string[]): Promise<TopicDescription[]> {
    const client = await connect(this.#cluster.urls)
    try {
      return await Promise.all(names.map((name) => client.admin.topics.describe(name)))
    } finally {
      await client.close()
    }
  }

  #compareReplicas({ name, topicId, partitions }: TopicDescription): void {
    const dataDirs = BROKERS.map((nodeId) => this.#cluster.dataDirOf(nodeId))
    let bytes = 0
    for (const { partition, highWatermark = 0 } of partitions)
      bytes += compareReplicas(dataDirs, { topicId: topicId as TopicId, partition, highWatermark }).bytes
    say(
      `replicas of ${name}: ${partitions.length} partitions on ${dataDirs.length} brokers are byte-equal, ${bytes} bytes each`,
    )
  }

  #judgeHistory(verdict: HistoryVerdict): void {
    const { acknowledged, unknown, polled, anomalies, counts } = verdict
    say(`history: reached ${acknowledged} acknowledged, ${unknown} unknown, ${polled} read`)
    if (anomalies.length === 0) return
    this.wrong.push(`history: ${JSON.stringify(counts)}`)
    for (const anomaly of anomalies.slice(0, ANOMALIES_SHOWN_MAX)) this.wrong.push(JSON.stringify(anomaly))
  }

  /** What helps to find out why; the history is kept. */
  #tellMore(): void {
    const kept = join(tmpdir(), `millrace-chaos-${this.#plan.seed}.jsonl`)
    try {
      copyFileSync(this.#historyFile, kept)
      say(`the history is kept in ${kept}`)
    } catch {
      say('there is no history')
    }
    for (const nodeId of BROKERS) {
      const talk = this.#cluster.broker(nodeId)?.talk ?? ''
      console.error(`--- broker ${nodeId} said:\n${talk.slice(-12_000)}`)
    }
  }
}

async function checkFile(file: string): Promise<HistoryVerdict> {
  const checker = new HistoryChecker()
  for await (const operation of readHistoryFile(file)) checker.add(operation)
  return checker.verdict()
}

function faultNamed(name: string): Fault {
  const known = { ...FAULTS, ...FAILOVERS }
  const fault = known[name]
  if (fault === undefined) throw new Error(`no fault '${name}'. Known: ${Object.keys(known).join(', ')}`)
  return fault
}

const startedMs = performance.now()

function say(text: string): void {
  console.log(`${((performance.now() - startedMs) / 1000).toFixed(1)} s ${text}`)
}

async function main(): Promise<void> {
  const run = makeRun()
  if (run === undefined) return
  await run.run()
  for (const text of run.wrong) console.log(`WRONG ${text}`)
  process.exit(run.wrong.length === 0 ? 0 : 1)
}

function makeRun(): ChaosRun | undefined {
  try {
    return new ChaosRun(parsePlan(process.argv[2]))
  } catch (error) {
    if (!(error instanceof ToolMissing)) throw error
    console.log(`UNAVAILABLE ${error.message}`)
    process.exit(EXIT_UNAVAILABLE)
  }
}

await main()
