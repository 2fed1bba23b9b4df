/**
 * TestedGroup: a topic, a load on it, and a group whose members are processes; what they did is collected and judged window by window.
 *
 * Owns        the load's producer, the members' processes and journals, the checker
 * Ordering    endWindow(): the load stops -> all is handled and committed -> journals are read -> judged -> the load goes on
 * Failure     until() throws after WAIT_MS: nothing that is waited for may take so long on any machine
 */
import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SeededPrng } from '../../../src/base/prng.ts'
import type { Client, Producer } from '../../../src/client/index.ts'
import { sleep, until } from '../until.ts'
import type { MemberPlan } from './churn-member.ts'
import { KeyedLoad } from './keyed-load.ts'
import { type JournalEntry, machineMs } from './member-journal.ts'
import { MemberProcess } from './member-process.ts'
import { type CheckerOptions, type Observation, OwnershipChecker } from './ownership-checker.ts'

export interface TestedGroupOptions extends CheckerOptions {
  readonly client: Client
  readonly url: string
  readonly name: string
  /** For the journals. */
  readonly folder: string
  readonly prng: SeededPrng
  readonly recordsPerSecond: number
  readonly sessionTimeoutMs: number
}

const WAIT_MS = 180_000
/** Committed offsets are asked for so often. */
const OBSERVE_MS = 400
const DELIVERY_MS = 180_000

export class TestedGroup {
  readonly checker: OwnershipChecker
  /** Whose end has not been seen to the last line of their journals. */
  readonly members = new Set<MemberProcess>()
  readonly faults: string[] = []
  readonly #options: TestedGroupOptions
  readonly #producer: Producer
  readonly #load: KeyedLoad
  readonly #killed = new Set<number>()
  #isClosed = false
  #entries: (JournalEntry | Observation)[] = []
  #lastMember = 0
  /** Windows that were written down for whoever looks into a failure. */
  #kept = 0

  constructor(options: TestedGroupOptions) {
    this.#options = options
    this.checker = new OwnershipChecker(options)
    const { client, name: topic, partitions, recordsPerSecond } = options
    this.#producer = client.producer(topic, { acks: 'all', deliveryTimeoutMs: DELIVERY_MS })
    this.#load = new KeyedLoad({ producer: this.#producer, topic, partitions, recordsPerSecond })
  }

  get acknowledged(): number {
    return this.#load.acknowledged
  }

  async open(): Promise<void> {
    const { client, name, partitions } = this.#options
    await client.admin.topics.create(name, { partitions })
    this.#load.start()
    void this.#observe()
  }

  /** Members that work, or are about to. */
  get running(): MemberProcess[] {
    return [...this.members].filter(({ state }) => state === 'running')
  }

  join(): MemberProcess {
    const { url, name, folder, prng, semantics, order, sessionTimeoutMs } = this.#options
    const member = ++this.#lastMember
    const plan: MemberPlan = {
      ...{ url, groupId: name, topic: name, journal: join(folder, `${name}-${member}.jsonl`), member },
      ...{ seed: prng.uint32(), semantics, order, sessionTimeoutMs },
    }
    const process = new MemberProcess(plan)
    this.members.add(process)
    return process
  }

  kill(member: MemberProcess): void {
    this.#killed.add(member.plan.member)
    member.kill()
  }

  /** Reads the journals. */
  collect(): void {
    for (const member of this.members) {
      const { hasExited } = member // what it has written is there to be read
      for (const entry of member.readNew()) this.#entries.push(entry)
      if (!hasExited) continue
      if (member.fault !== undefined) this.faults.push(member.fault)
      member.forget()
      this.members.delete(member)
    }
  }

  /** Every partition has an owner that works. */
  get isOwned(): boolean {
    this.collect()
    const owned = new Set(this.running.flatMap((member) => [...member.owned.keys()]))
    return owned.size === this.#options.partitions
  }

  whole(): Promise<true> {
    return this.#until('owner of every partition', () => this.isOwned)
  }

  async #until(what: string, ask: () => Promise<boolean> | boolean): Promise<true> {
    const { name } = this.#options
    return until(`${name}: ${what}`, WAIT_MS, async () => {
      if (this.faults.length > 0) throw new Error(`${name}: ${this.faults.join('\n')}`)
      return (await ask()) as true
    })
  }

  /** Brings it to rest, judges, goes on. Answers what was judged. */
  async endWindow(): Promise<(JournalEntry | Observation)[]> {
    await this.#load.stop()
    if (this.#load.failures.length > 0)
      throw new Error(`${this.#options.name}: a send failed: ${this.#load.failures[0]}`)
    const { ends } = this.#load
    await this.#until('end of the log', () => this.isOwned && this.#hasReached(ends))
    await this.#until('commit of all that was handled', async () => {
      const committed = await this.#committed()
      return ends.every((end, partition) => end === 0 || committed.get(partition) === end)
    })
    const gone = [...this.members].filter(({ state }) => state === 'killed' || state === 'leaving')
    await this.#until('end of those that have left', () => gone.every(({ hasExited }) => hasExited))
    this.collect()
    const entries = this.#entries
    this.#entries = []
    const sends = this.#load.takeHistory()
    this.checker.endWindow({ sends, entries, ends, wasKilled: (member) => this.#killed.has(member) })
    if (this.checker.violations.length > 0) this.#keep([...sends, ...entries])
    this.#load.start()
    return entries
  }

  /** For whoever looks into a failure. */
  #keep(lines: readonly object[]): void {
    const path = join(tmpdir(), `millrace-${this.#options.name}-${process.pid}-${++this.#kept}.jsonl`)
    writeFileSync(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
    console.log(`${this.#options.name}: what its members did in this window: ${path}`)
  }

  #hasReached(ends: readonly number[]): boolean {
    return ends.every((end, partition) =>
      this.running.some((member) => member.owned.has(partition) && member.reached.get(partition)! >= end),
    )
  }

  async #committed(): Promise<Map<number, number>> {
    const { client, name } = this.#options
    const offsets = await client.admin.groups.offsets(name)
    return new Map(offsets.map(({ partition, offset }) => [partition, offset]))
  }

  async #observe(): Promise<void> {
    while (!this.#isClosed) {
      const askedAtMs = machineMs()
      try {
        const offsets = await this.#committed()
        this.#entries.push({ kind: 'observed', askedAtMs, atMs: machineMs(), offsets })
      } catch {
        // The broker is away.
      }
      await sleep(OBSERVE_MS)
    }
  }

  /** Ends the load and kills what lives. */
  async close(): Promise<void> {
    this.#isClosed = true
    for (const member of this.members) this.kill(member)
    await Promise.all([...this.members].map(({ exited }) => exited))
    this.#producer.abort()
    await this.#load.stop()
  }
}
