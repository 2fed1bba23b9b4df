/**
 * What a consumer group costs whoever reads by it, and what moving partitions costs whoever waits for their records.
 *
 *   iterate  `for await` over a group with auto-commit against `for await` over the same topic without one, in pairs, in turn: the
 *            client's time and CPU a record, from the first to the last, as ratios of the pair
 *   move     12 partitions, 3 members, records at a steady rate; a fourth joins. Of each partition that moves: from the last record
 *            that its old owner handled to the first that its new one did. Of the others: the longest gap between two records
 *            while the fourth came, and as long before it
 *
 *   node dist/native-free-bench/macro/group-consume.js [--smoke] [--only iterate|move] [--pairs 7] [--records 1000000] [--runs 3]
 *     [--rate 2400] [--seconds 4] [--json]
 */
import { type BenchTarget, withTopic } from '../../src/cli/bench/bench-target.ts'
import { runProduce } from '../../src/cli/bench/produce-workload.ts'
import { type Client, type ConsumedRecord, connect } from '../../src/client/index.ts'
import { withBroker } from '../harness/bench-broker.ts'
import { benchOptions } from '../harness/options.ts'
import { Report } from '../harness/report.ts'

const options = benchOptions()
const report = new Report('macro/group-consume', options)
const only = options.text('only', '')
const pairs = options.number('pairs', 7, 1)
const records = options.number('records', 1_000_000, 5_000)
const runs = options.number('runs', 3, 1)
const ratePerSec = options.number('rate', 2_400, 1_200)
const seconds = options.number('seconds', 4, 1)
const RECORD_BYTES = 100
const ITERATED_PARTITIONS = 6
const MOVED_PARTITIONS = 12
const MEMBERS = 3
const TICK_MS = 5
const BROKER = { profile: 'balanced', fsync: 'interval' } as const

interface Cost {
  readonly milliseconds: number
  readonly cpuMicroseconds: number
}

/** From the first record to the last of all that are stored. */
async function costOf(source: AsyncIterable<unknown>): Promise<Cost> {
  let count = 0
  let startedMs = 0
  let before = process.cpuUsage()
  for await (const _record of source) {
    if (count === 0) {
      startedMs = performance.now()
      before = process.cpuUsage()
    }
    if (++count === records) break
  }
  if (count !== records) throw new Error(`read ${count} records of ${records}`)
  const { user, system } = process.cpuUsage(before)
  return { milliseconds: performance.now() - startedMs, cpuMicroseconds: user + system }
}

async function iterate(): Promise<void> {
  const time: number[] = []
  const cpu: number[] = []
  const plainRates: number[] = []
  await withBroker(BROKER, (target) =>
    withTopic(target, 'iterate', ITERATED_PARTITIONS, async ({ name: topic }) => {
      await runProduce(target.client, { topic, api: 'enqueue', records, recordBytes: RECORD_BYTES })
      const plain = () => costOf(target.client.consume(topic, { from: 'start' }))
      const grouped = (pair: number) => costOf(target.client.group(`iterate-${pair}`, topic, { from: 'start' }))
      // Before the first pair both are compiled.
      await plain()
      await grouped(-1)
      for (let pair = 0; pair < pairs; pair++) {
        const isGroupFirst = pair % 2 === 1
        const first = isGroupFirst ? await grouped(pair) : await plain()
        const second = isGroupFirst ? await plain() : await grouped(pair)
        const [one, other] = isGroupFirst ? [second, first] : [first, second]
        time.push(other.milliseconds / one.milliseconds)
        cpu.push(other.cpuMicroseconds / one.cpuMicroseconds)
        plainRates.push(records / one.milliseconds)
      }
    }),
  )
  report.figure('for await without a group', plainRates, { unit: 'k/s', better: 'higher', digits: 0 })
  report.figure('for await with auto-commit: time, of that without', time, { unit: '×', better: 'lower', digits: 3 })
  report.figure('for await with auto-commit: client CPU, of that', cpu, { unit: '×', better: 'lower', digits: 3 })
}

/** Who handled records of one partition, and when. */
interface Handled {
  readonly member: number
  readonly atMs: number
}

interface Moves {
  /** Of each partition that moved. */
  readonly pauses: number[]
  /** Of all others together. */
  readonly gapBeforeMs: number
  readonly gapMs: number
}

async function oneMove(target: BenchTarget, topic: string, run: number): Promise<Moves> {
  const handled: Handled[][] = Array.from({ length: MOVED_PARTITIONS }, () => [])
  const clients: Client[] = []
  const join = async (member: number) => {
    const client = await connect(target.url)
    clients.push(client)
    const group = client.group(`move-${run}`, topic, { from: 'start' })
    const running = group.run(({ partition }: ConsumedRecord) => {
      handled[partition]!.push({ member, atMs: performance.now() })
    })
    return { group, running }
  }
  const members = await Promise.all(Array.from({ length: MEMBERS }, (_, member) => join(member)))
  const partitionsOf = ({ group }: (typeof members)[number]) => group.assignment().length
  const until = async (isDone: () => boolean) => {
    while (!isDone()) await new Promise((resolve) => setTimeout(resolve, TICK_MS))
  }
  await until(() => members.every((member) => partitionsOf(member) === MOVED_PARTITIONS / MEMBERS))
  const load = new Load(target.client, topic)
  const windowMs = seconds * 1000
  const startedMs = await load.runFor(windowMs)
  const joinedMs = performance.now()
  members.push(await join(MEMBERS))
  await load.runFor(windowMs)
  await until(() => partitionsOf(members[MEMBERS]!) === MOVED_PARTITIONS / (MEMBERS + 1))
  await load.runFor(windowMs / 2)
  await load.close()
  await Promise.all(members.map(({ group }) => group.close()))
  await Promise.all(members.map(({ running }) => running))
  for (const client of clients) await client.close()
  return movesOf(handled, startedMs, joinedMs)
}

/** A record to each partition in turn, at the rate. */
class Load {
  readonly #producer: ReturnType<Client['producer']>
  #count = 0

  constructor(client: Client, topic: string) {
    this.#producer = client.producer(topic)
  }

  /** Answers when it began. */
  async runFor(milliseconds: number): Promise<number> {
    const startedMs = performance.now()
    const from = this.#count
    for (let nowMs = startedMs; nowMs < startedMs + milliseconds; nowMs = performance.now()) {
      const due = from + ((nowMs - startedMs) / 1000) * ratePerSec
      for (; this.#count < due; this.#count++)
        this.#producer.enqueue({ value: new Uint8Array(RECORD_BYTES), partition: this.#count % MOVED_PARTITIONS })
      await new Promise((resolve) => setTimeout(resolve, TICK_MS))
    }
    return startedMs
  }

  close(): Promise<void> {
    return this.#producer.close()
  }
}

function movesOf(handled: readonly Handled[][], startedMs: number, joinedMs: number): Moves {
  const pauses: number[] = []
  let gapBeforeMs = 0
  let gapMs = 0
  for (const entries of handled) {
    const moved = entries.findIndex(({ member }, index) => index > 0 && member !== entries[index - 1]!.member)
    if (moved > 0) pauses.push(entries[moved]!.atMs - entries[moved - 1]!.atMs)
    else
      for (let index = 1; index < entries.length; index++) {
        const gap = entries[index]!.atMs - entries[index - 1]!.atMs
        if (entries[index]!.atMs >= joinedMs) gapMs = Math.max(gapMs, gap)
        else if (entries[index - 1]!.atMs >= startedMs) gapBeforeMs = Math.max(gapBeforeMs, gap)
      }
  }
  return { pauses, gapBeforeMs, gapMs }
}

async function move(): Promise<void> {
  const moves: Moves[] = []
  await withBroker(BROKER, async (target) => {
    for (let run = 0; run < runs; run++)
      await withTopic(target, 'move', MOVED_PARTITIONS, async ({ name }) => {
        moves.push(await oneMove(target, name, run))
      })
  })
  const name = `${MOVED_PARTITIONS} partitions, ${MEMBERS} → ${MEMBERS + 1} members`
  const unit = { unit: 'ms', better: 'lower' } as const
  const counts = moves.map(({ pauses }) => pauses.length)
  report.figure(`${name}: partitions that move`, counts, { ...unit, unit: '', digits: 0 })
  report.figure(
    `${name}: pause of one that moves`,
    moves.flatMap(({ pauses }) => pauses),
    unit,
  )
  report.figure(
    `${name}: longest gap of the others`,
    moves.map(({ gapMs }) => gapMs),
    unit,
  )
  report.figure(
    `${name}: the same before`,
    moves.map(({ gapBeforeMs }) => gapBeforeMs),
    unit,
  )
}

if (only === '' || only === 'iterate') await iterate()
if (only === '' || only === 'move') await move()
