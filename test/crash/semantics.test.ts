/**
 * What at-least-once and at-most-once are worth when consumers and the broker are killed (kill -9) at random moments: the history
 * shows what the mode allows, and nothing else.
 *
 *   at-least-once   nothing lost; handled again only what somebody killed (or fenced) had handled and not committed
 *   at-most-once    nothing handled twice; lost only what somebody killed (or fenced) had committed and not handled
 *
 * A producer (acks all) sends numbered records, three member processes handle and journal them. The order within a member is
 *
 *   at-least-once   hand out -> handle -> journal -> commit        killed before `commit`: it comes again
 *   at-most-once    commit a batch -> hand out -> handle -> journal  killed before `journal`: lost, its batch's rest too
 *
 * The journal is written synchronously: what was handled when a member died is known to the record. So each repeated and each lost
 * record is laid at the door of the ownership (a partition while it is assigned to a member) it belonged to, which must have ended
 * by a crash: a crash of the broker ends none, so alone it may neither repeat nor lose anything. A member may also be fenced because
 * the machine was too slow for its session; that counts like a crash, and is printed. Rules: test/support/group-crashes.
 *
 *   npm run test:crash -- --crashes 100 [--seed N]       so many of members and so many of the broker, in each mode
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeededPrng } from '../../src/base/prng.ts'
import { type Client, connect } from '../../src/client/index.ts'
import { BrokerProcess, makeDataDir, removeDataDir } from '../support/broker-process.ts'
import { budgetMs, environmentNumber, freshSeed, withinBudget } from '../support/budget.ts'
import type { MemberPlan } from '../support/group-crashes/churn-member.ts'
import { TestedGroup } from '../support/group-crashes/tested-group.ts'
import { sleep } from '../support/until.ts'

type Semantics = MemberPlan['semantics']

const PARTITIONS = 4
const MEMBERS = 3
const RECORDS_PER_SECOND = 400
const SESSION_MS = 2_000
/** Between crashes; so some come in the middle of the takeover before. */
const CALM_MS_MAX = 1_200
const BROKER_AWAY_MS_MAX = 300
const CRASHES_PER_WINDOW = 10
/** The end takes a session or two. */
const END_MS = 6_000

class CrashRun {
  readonly group: TestedGroup
  memberCrashes = 0
  brokerCrashes = 0
  readonly #broker: BrokerProcess
  readonly #prng: SeededPrng

  constructor(broker: BrokerProcess, client: Client, semantics: Semantics, prng: SeededPrng) {
    this.#broker = broker
    this.#prng = prng
    this.group = new TestedGroup({
      ...{ client, url: broker.url, name: semantics, folder: broker.dataDir, prng, semantics },
      ...{ order: 'partition', partitions: PARTITIONS },
      ...{ recordsPerSecond: RECORDS_PER_SECOND, sessionTimeoutMs: SESSION_MS },
    })
  }

  get crashes(): number {
    return this.memberCrashes + this.brokerCrashes
  }

  async run(mayGoOn: () => boolean): Promise<void> {
    await this.group.open()
    for (let count = 0; count < MEMBERS; count++) this.group.join()
    await this.group.whole()
    while (mayGoOn()) {
      await sleep(this.#prng.below(CALM_MS_MAX))
      if (this.#isBrokersTurn()) await this.#crashBroker()
      else this.#crashMember()
      if (this.crashes % CRASHES_PER_WINDOW === 0) await this.group.endWindow()
      assert.deepEqual(this.group.checker.violations.slice(0, 10), [])
    }
    await this.group.endWindow()
    assert.deepEqual(this.group.checker.violations.slice(0, 10), [])
  }

  /** Drawn, and neither kind falls far behind the other. */
  #isBrokersTurn(): boolean {
    const ahead = this.brokerCrashes - this.memberCrashes
    return this.#prng.below(4) >= 2 + ahead
  }

  #crashMember(): void {
    this.memberCrashes++
    const { running } = this.group
    this.group.kill(running[this.#prng.below(running.length)]!)
    this.group.join()
  }

  async #crashBroker(): Promise<void> {
    this.brokerCrashes++
    await this.#broker.kill()
    await sleep(this.#prng.below(BROKER_AWAY_MS_MAX))
    await this.#broker.start()
  }
}

async function crash(semantics: Semantics): Promise<void> {
  const seed = freshSeed()
  const asked = process.env.MILLRACE_CRASHES === undefined ? undefined : environmentNumber('MILLRACE_CRASHES', 0)
  const limitMs = Math.max(0, budgetMs(24_000) / 2 - END_MS)
  const startedMs = performance.now()
  const dataDir = makeDataDir()
  const broker = await BrokerProcess.start({ dataDir })
  const client = await connect(broker.url, { backoffMsMin: 10, backoffMsMax: 200 })
  const run = new CrashRun(broker, client, semantics, new SeededPrng(seed))
  try {
    await run.run(() => {
      const done = Math.min(run.memberCrashes, run.brokerCrashes)
      return done === 0 || withinBudget({ startedMs, done, asked, budgetMs: limitMs })
    })
  } catch (error) {
    console.log(`seed ${seed}, ${run.crashes} crashes; the broker said:\n${broker.talk.slice(-4_000)}`)
    console.log(`repeat: npm run test:crash -- --crashes ${Math.ceil(run.crashes / 2)} --seed ${seed}`)
    throw error
  } finally {
    await run.group.close()
    await client.close().catch(() => {})
    await broker.kill()
    removeDataDir(dataDir)
  }
  const { handled, repeated, unhandled, revoked, lost, died } = run.group.checker.counts
  console.log(
    `semantics: ${semantics}: reached ${run.memberCrashes} crashes of members and ${run.brokerCrashes} of the broker; ` +
      `of ${handled - repeated + unhandled} acknowledged records ${unhandled} lost, ${repeated} handled twice; ` +
      `ownerships: ${revoked} given up, ${died} died, ${lost} fenced; seed ${seed}`,
  )
}

for (const semantics of ['at-least-once', 'at-most-once'] as const)
  test(`${semantics} under kill -9 of members and of the broker`, { timeout: 24 * 3_600_000 }, () => crash(semantics))
