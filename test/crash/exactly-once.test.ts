/**
 * Consume, transform, produce, with kill -9 of the broker and of the processes at random, and processes that stand still for longer
 * than their session: each result is there exactly once, nothing aborted is seen, no partition's last stable offset gets stuck.
 *
 * Two pipelines of MEMBERS processes each (test/support/pipeline-member.ts): one makes its transactions itself and writes all it
 * does into a history, which the history checker judges; the other is group.run() with semantics 'exactly-once'. Records of an
 * input partition give records of the output partition of the same number, so the order of results must be that of the
 * inputs, too. A window ends when every record has its result; what was checked is trimmed away.
 *
 *   npm run test:crash -- --results 1000000 [--seed N]
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { SeededPrng } from '../../src/base/prng.ts'
import { type Client, connect, isMillraceError } from '../../src/client/index.ts'
import type { TopicId } from '../../src/model/ids.ts'
import { LATEST, listOffsets } from '../../src/protocol/index.ts'
import { HistoryChecker } from '../../src/tools/check-history.ts'
import { type HistoryOperation, parseHistoryLine } from '../../src/tools/history.ts'
import { BrokerProcess, makeDataDir, removeDataDir } from '../support/broker-process.ts'
import { budgetMs, environmentNumber, freshSeed, withinBudget } from '../support/budget.ts'
import { BareClient } from '../support/gateway-fixture.ts'
import { POISON } from '../support/pipeline-options.ts'
import { PipelineProcess } from '../support/pipeline-process.ts'

const PARTITIONS = 4
const MEMBERS = 3
/** By command; a run of CI has smaller ones, for it waits for every result before it ends. */
const WINDOW_RECORDS = 20_000
const CI_WINDOW_RECORDS = 2_000
const SESSION_MS = 2_000
const TRANSACTION_MS = 4_000
/** A transaction is decided this long after its timeout at the latest. */
const STUCK_MS_MAX = TRANSACTION_MS + 10_000
/** Between two looks at the offsets; a gap that is longer was the machine's, or the broker was down. */
const LOOK_MS = 250
const GAP_MS_MAX = 1_000
const WINDOW_MS_MAX = 600_000
const MODES = ['manual', 'run'] as const
const decoder = new TextDecoder()

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** One pipeline: what was put in, and which results were seen. */
class Pipeline {
  readonly mode: (typeof MODES)[number]
  readonly input: string
  readonly output: string
  readonly members: PipelineProcess[]
  readonly #client: Client
  readonly #folder: string
  /** Records put in, by partition; results seen: the next input that must come. */
  readonly #put = new Array<number>(PARTITIONS).fill(0)
  readonly #seen = new Array<number>(PARTITIONS).fill(0)
  readonly #nextOffsets = new Array<number>(PARTITIONS).fill(0)
  /** Lines of this window's history that this process has written. */
  #history: { readonly atNs: bigint; readonly operation: HistoryOperation }[] = []
  readonly #journalBytesRead = new Map<string, number>()
  results = 0
  /** Records of aborted transactions that lie in the output, as a reader of everything saw them. */
  poison = 0
  transactions = { committed: 0, aborted: 0, unknown: 0, open: 0 }

  constructor(mode: (typeof MODES)[number], client: Client, broker: BrokerProcess, seed: number, folder: string) {
    this.mode = mode
    this.#client = client
    this.#folder = folder
    this.input = `in-${mode}`
    this.output = `out-${mode}`
    this.members = Array.from(
      { length: MEMBERS },
      (_, number) =>
        new PipelineProcess({
          ...{ url: broker.url, mode, groupId: `pipeline-${mode}`, name: `${mode}-${number}` },
          ...{ input: this.input, output: this.output, seed: seed + number * 1_000 },
          ...{ sessionTimeoutMs: SESSION_MS, transactionTimeoutMs: TRANSACTION_MS },
          ...{ journal: join(folder, `${mode}-${number}.jsonl`), process: 1_000_000 * (number + 1) },
        }),
    )
  }

  #note(fields: Readonly<Record<string, unknown>>): void {
    if (this.mode === 'run') return
    const atNs = process.hrtime.bigint()
    this.#history.push({ atNs, operation: operationOf(fields) })
  }

  async put(count: number): Promise<void> {
    const producer = this.#client.producer(this.input, { deliveryTimeoutMs: 600_000 })
    const sends = Array.from({ length: count }, async (_, index) => {
      const partition = index % PARTITIONS
      const value = `${partition}:${this.#put[partition]!++}`
      const records = [{ topic: this.input, partition, value }]
      this.#note({ process: 0, type: 'invoke', f: 'send', records })
      const { offset } = await producer.send({ partition, value })
      this.#note({ process: 0, type: 'ok', f: 'send', records: [{ ...records[0], offset }] })
    })
    await Promise.all(sends)
    await producer.close()
  }

  /** Reads results until every record has its own; each must be the next one of its partition. */
  async awaitResults(signal: AbortSignal): Promise<void> {
    const ends = Array.from({ length: PARTITIONS }, (_, partition) => this.#readPartition(partition, signal))
    await Promise.all(ends)
  }

  async #readPartition(partition: number, signal: AbortSignal): Promise<void> {
    if (this.#seen[partition] === this.#put[partition]) return
    const from = { offset: this.#nextOffsets[partition]! }
    this.#note({
      process: 10 + partition,
      type: 'ok',
      f: 'assign',
      positions: [{ topic: this.output, partition, ...from }],
    })
    for await (const { offset, value } of this.#client.consume(this.output, {
      from,
      partitions: [partition],
      signal,
    })) {
      const text = decoder.decode(value as Uint8Array)
      const where = `${this.output}/${partition}@${offset}`
      assert.notEqual(text, POISON, `${where}: a record of a transaction that was aborted`)
      const next = this.#seen[partition]!
      const [source] = text.split('.', 1)
      assert.equal(source, `${partition}:${next}`, `${where}: the result of ${source} where that of ${next} is next`)
      this.#seen[partition] = next + 1
      this.#nextOffsets[partition] = offset + 1
      this.results++
      const records = [{ topic: this.output, partition, offset, value: text }]
      this.#note({ process: 10 + partition, type: 'ok', f: 'poll', final: true, records })
      if (next + 1 === this.#put[partition]) return
    }
  }

  /** Nothing may follow the results; the history is judged, and what was checked goes. */
  async endWindow(): Promise<void> {
    assert.deepEqual(
      this.members.flatMap(({ faults }) => faults),
      [],
    )
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const from = { offset: this.#nextOffsets[partition]! }
      const reader = this.#client.consume(this.output, { from, to: 'end', partitions: [partition] })
      for await (const { offset, value } of reader)
        assert.fail(
          `${this.output}/${partition}@${offset}: ${decoder.decode(value as Uint8Array)}, which nobody waits for`,
        )
      await this.#countPoison(partition, from.offset)
      const { admin } = this.#client
      await admin.topics.trim(this.output, { before: from.offset, partitions: [partition] })
    }
    if (this.mode === 'manual') await this.#judge()
  }

  async #countPoison(partition: number, before: number): Promise<void> {
    const options = {
      from: 'start',
      to: { offset: before },
      isolation: 'read_uncommitted',
      partitions: [partition],
    } as const
    for await (const { value } of this.#client.consume(this.output, options))
      if (decoder.decode(value as Uint8Array) === POISON) this.poison++
  }

  async #judge(): Promise<void> {
    await this.#readInputs()
    this.#note({ process: 9, type: 'ok', f: 'drained', input: this.input, output: this.output })
    const lines = [...this.#history, ...this.#journals()]
    this.#history = []
    lines.sort((left, right) => (left.atNs < right.atNs ? -1 : left.atNs > right.atNs ? 1 : 0))
    const checker = new HistoryChecker()
    for (const [index, { operation }] of lines.entries()) checker.add({ ...operation, line: index + 1 })
    const { anomalies, transactions } = checker.verdict()
    assert.deepEqual(anomalies.slice(0, 10), [])
    for (const fate of ['committed', 'aborted', 'unknown', 'open'] as const)
      this.transactions[fate] += transactions[fate]
  }

  /** The inputs of the window as a final reader sees them. */
  async #readInputs(): Promise<void> {
    const reader = this.#client.consume(this.input, { from: 'start', to: 'end' })
    const ends = new Map<number, number>()
    for await (const { partition, offset, value } of reader) {
      const records = [{ topic: this.input, partition, offset, value: decoder.decode(value as Uint8Array) }]
      if (!ends.has(partition)) {
        const positions = [{ topic: this.input, partition, offset }]
        this.#note({ process: 20 + partition, type: 'ok', f: 'assign', positions })
      }
      ends.set(partition, offset + 1)
      this.#note({ process: 20 + partition, type: 'ok', f: 'poll', final: true, records })
    }
    for (const [partition, before] of ends)
      await this.#client.admin.topics.trim(this.input, { before, partitions: [partition] })
  }

  /** What the members have written since the last window; a last line that was cut short is what a kill left. */
  #journals(): { atNs: bigint; operation: HistoryOperation }[] {
    return this.members.flatMap(({ options: { journal } }) => {
      const bytes = readFileSync(journal)
      const from = this.#journalBytesRead.get(journal) ?? 0
      const end = bytes.lastIndexOf(0x0a) + 1
      this.#journalBytesRead.set(journal, end)
      const text = decoder.decode(bytes.subarray(from, end))
      return text.split('\n').filter(Boolean).map(lineOf)
    })
  }

  get talk(): string {
    return this.members.map(({ talk }) => talk).join('')
  }

  async stop(): Promise<void> {
    await Promise.all(this.members.map((member) => member.kill()))
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** Checked as a line of a file would be. */
function operationOf(fields: Readonly<Record<string, unknown>>): HistoryOperation {
  return parseHistoryLine(JSON.stringify(fields), 1)!
}

function lineOf(text: string): { atNs: bigint; operation: HistoryOperation } {
  const { atNs, ...rest } = JSON.parse(text) as { atNs: string }
  return { atNs: BigInt(atNs), operation: operationOf(rest) }
}

/** Looks at the last stable offsets of the outputs: how long one has stood below the high watermark. */
class StableOffsets {
  readonly #broker: BrokerProcess
  readonly #topics: readonly string[]
  readonly #client: Client
  readonly #standing = new Map<string, { offset: number; ms: number }>()
  #lastMs = 0
  stuckMsMax = 0
  looks = 0
  /** What went wrong besides a broker that is down, which is no time of anybody's. */
  fault: unknown
  /** Between looks that count. */
  lookedMs = 0

  constructor(broker: BrokerProcess, client: Client, topics: readonly string[]) {
    this.#broker = broker
    this.#client = client
    this.#topics = topics
  }

  async run(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      await sleep(LOOK_MS)
      await this.#look().catch((error: unknown) => {
        if (!isOfConnection(error)) this.fault ??= error
      })
    }
  }

  async #look(): Promise<void> {
    const bare = await BareClient.hello(this.#broker.url)
    try {
      for (const topic of this.#topics) {
        const { topicId } = await this.#client.admin.topics.describe(topic)
        const [stable, high] = await Promise.all([this.#ends(bare, topicId, 1), this.#ends(bare, topicId, 0)])
        const nowMs = performance.now()
        const passedMs = nowMs - this.#lastMs
        if (passedMs < GAP_MS_MAX) this.lookedMs += passedMs
        for (let partition = 0; partition < PARTITIONS; partition++) {
          const key = `${topic}/${partition}`
          const before = this.#standing.get(key)
          const isStanding =
            before !== undefined && before.offset === stable[partition] && stable[partition]! < high[partition]!
          const ms = isStanding ? before.ms + (passedMs < GAP_MS_MAX ? passedMs : 0) : 0
          this.#standing.set(key, { offset: stable[partition]!, ms })
          this.stuckMsMax = Math.max(this.stuckMsMax, ms)
        }
      }
      this.looks++
    } finally {
      this.#lastMs = performance.now()
      bare.socket.terminate()
    }
  }

  async #ends(bare: BareClient, topicId: string, isolation: 0 | 1): Promise<number[]> {
    const parts = Array.from({ length: PARTITIONS }, (_, partition) => ({
      ...{ topicId: topicId as TopicId, partition, leaderEpoch: -1, timestampMs: LATEST },
    }))
    const reply = await bare.call(listOffsets, { isolation, parts })
    return reply.parts.map(({ offset }) => offset)
  }
}

function isOfConnection(error: unknown): boolean {
  const { code = '', message = '' } = error as { code?: string; message?: string }
  return isMillraceError(error) || /^E(CONN|PIPE)/.test(code) || /closed|socket hang up|503/.test(message)
}

/** Draws what goes wrong, until it is stopped. */
async function misfortunes(
  prng: SeededPrng,
  broker: BrokerProcess,
  members: readonly PipelineProcess[],
  counts: { brokerKills: number; memberKills: number; stalls: number },
  isOver: () => boolean,
): Promise<void> {
  while (!isOver()) {
    await sleep(300 + prng.below(1_500))
    if (isOver()) return
    const member = members[prng.below(members.length)]!
    const kind = prng.below(6)
    if (kind === 0) {
      counts.brokerKills++
      await broker.kill()
      await broker.start()
    } else if (kind === 1) {
      counts.stalls++
      member.pause()
      await sleep(SESSION_MS + prng.below(2 * TRANSACTION_MS))
      member.resume()
    } else {
      counts.memberKills++
      await member.kill()
      member.start()
    }
  }
}

test('each result exactly once, whoever dies', { timeout: 24 * 3_600_000 }, async () => {
  const seed = freshSeed()
  const prng = new SeededPrng(seed)
  const asked = process.env.MILLRACE_RESULTS === undefined ? undefined : environmentNumber('MILLRACE_RESULTS', 0)
  const limitMs = budgetMs(25_000)
  const startedMs = performance.now()
  const dataDir = makeDataDir()
  const broker = await BrokerProcess.start({ dataDir })
  const client = await connect(broker.url, { backoffMsMax: 200 })
  const config = { 'segment.bytes': String(1024 * 1024) }
  for (const mode of MODES)
    for (const topic of [`in-${mode}`, `out-${mode}`])
      await client.admin.topics.create(topic, { partitions: PARTITIONS, config })
  const pipelines = MODES.map(
    (mode, index) =>
      new Pipeline(mode, client, broker, seed + index, mkdtempSync(join(tmpdir(), 'millrace-pipeline-'))),
  )
  const stableOffsets = new StableOffsets(
    broker,
    client,
    MODES.map((mode) => `out-${mode}`),
  )
  const counts = { brokerKills: 0, memberKills: 0, stalls: 0 }
  const results = (): number => pipelines.reduce((sum, pipeline) => sum + pipeline.results, 0)
  const poison = (): number => pipelines.reduce((sum, pipeline) => sum + pipeline.poison, 0)
  let isOver = false
  const looking = stableOffsets.run(() => isOver)
  try {
    while (results() === 0 || withinBudget({ startedMs, done: results(), asked, budgetMs: limitMs })) {
      let isDrained = false
      const members = pipelines.flatMap((pipeline) => pipeline.members)
      const failing = misfortunes(prng, broker, members, counts, () => isDrained)
      const signal = AbortSignal.timeout(WINDOW_MS_MAX)
      await Promise.all(
        pipelines.map(async (pipeline) => {
          await pipeline.put(asked === undefined ? CI_WINDOW_RECORDS : WINDOW_RECORDS)
          await pipeline.awaitResults(signal)
        }),
      )
      isDrained = true
      await failing
      for (const pipeline of pipelines) await pipeline.endWindow()
      assert.ok(
        stableOffsets.stuckMsMax <= STUCK_MS_MAX,
        `a last stable offset stood for ${stableOffsets.stuckMsMax} ms`,
      )
    }
    assert.ok(counts.memberKills + counts.brokerKills > 0, 'somebody was killed')
    assert.ok(poison() > 0, 'transactions were aborted on purpose')
    assert.equal(stableOffsets.fault, undefined)
    assert.ok(stableOffsets.looks > 0 && stableOffsets.lookedMs > 0, 'the last stable offsets were looked at')
  } catch (error) {
    console.log(`seed ${seed}, ${results()} results; the broker said:\n${broker.talk.slice(-4_000)}`)
    console.log(`the members said:\n${pipelines.map(({ talk }) => talk).join('')}`)
    console.log(`repeat: npm run test:crash -- --seed ${seed} --results ${results() + 1}`)
    throw error
  } finally {
    isOver = true
    await looking
    for (const pipeline of pipelines) await pipeline.stop()
    await broker.kill()
    await client.close().catch(() => {})
    removeDataDir(dataDir)
  }
  const { transactions } = pipelines[0]!
  console.log(
    `exactly-once: ${results()} results, each once and in order, none of ${poison()} poisoned ones seen; ${JSON.stringify(counts)}; ` +
      `by hand: ${JSON.stringify(transactions)}; LSO stood for ${stableOffsets.stuckMsMax.toFixed(0)} ms at most (${stableOffsets.looks} looks over ${(stableOffsets.lookedMs / 1000).toFixed(0)} s); ` +
      `${((performance.now() - startedMs) / 1000).toFixed(0)} s; seed ${seed}`,
  )
})
