/**
 * Producers with acks=all and idempotence, and groups of kafkajs whose members join, leave and crash all the time: what was acknowledged
 * is handled by those that commit afterwards, and is in the log once; what a transactional consume-transform-produce loop makes of it is
 * there once for each record, however often its members die.
 *
 *   npm run test:kafka -- --only soak --seconds 60
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeededPrng } from '../../src/base/prng.ts'
import { budgetMs, freshSeed } from '../support/budget.ts'
import { kafkaBroker } from '../support/kafka-broker.ts'
import { kafkajsOf } from '../support/kafkajs.ts'
import { MemberProcess } from '../support/kafkajs-process.ts'
import { sleep, until } from '../support/until.ts'

const PARTITIONS = 4
const MEMBERS = 2
const PRODUCERS = 2
/** Between two accidents of a group, at most. */
const CALM_MS_MAX = 2_500
const BATCH_RECORDS_MAX = 20
const PAUSE_MS = 10
const REST_MS = 120_000

const broker = kafkaBroker()

/** Members of one group, some of which crash, leave and join. */
class Crew {
  readonly members: MemberProcess[] = []
  readonly accidents = { crashed: 0, left: 0, joined: 0, gaveUp: 0 }
  readonly handled = new Map<string, number>()
  readonly #prng: SeededPrng
  readonly #isTransactional: boolean
  #lives = 0
  #talk = ''

  constructor(prng: SeededPrng, { isTransactional }: { readonly isTransactional: boolean }) {
    this.#prng = prng
    this.#isTransactional = isTransactional
    for (let index = 0; index < MEMBERS; index++) this.join()
  }

  join(): void {
    const life = this.#lives++
    const options = this.#isTransactional
      ? { groupId: 'hand-on', output: 'soak-out', transactionalId: `hand-on-${life}` }
      : { groupId: 'handle' }
    const onValue = (value: string): void => void this.handled.set(value, (this.handled.get(value) ?? 0) + 1)
    this.members.push(new MemberProcess({ kafka: broker.kafka, topic: 'soak-in', ...options }, onValue))
  }

  /** Accidents until `isOver`; MEMBERS of them stay. */
  async live(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      await sleep(this.#prng.below(CALM_MS_MAX))
      this.fillUp()
      const index = this.#prng.below(this.members.length)
      const lot = this.#prng.below(3)
      if (lot === 0 && this.members.length <= MEMBERS) {
        this.join()
        this.accidents.joined++
        continue
      }
      const [member] = this.members.splice(index, 1)
      if (lot === 1) this.accidents.crashed++
      else this.accidents.left++
      await member!.end(lot === 1 ? 'SIGKILL' : 'SIGTERM')
      if (this.members.length < MEMBERS) this.join()
    }
  }

  /** Members that gave up are replaced. */
  fillUp(): void {
    for (const member of this.members.filter(({ hasEnded }) => hasEnded)) {
      this.accidents.gaveUp++
      this.#talk += member.talk
      this.members.splice(this.members.indexOf(member), 1)
      this.join()
    }
  }

  get talk(): string {
    return this.#talk + this.members.map(({ talk }) => talk).join('')
  }

  async end(): Promise<void> {
    await Promise.all(this.members.map((member) => member.end('SIGTERM')))
  }
}

test('nothing acknowledged is lost; nothing is there twice that was made by transactions', async (t) => {
  const seed = freshSeed()
  const prng = new SeededPrng(seed)
  t.diagnostic(`seed ${seed}`)
  const mq = await broker.client()
  await mq.admin.topics.create('soak-in', { partitions: PARTITIONS })
  await mq.admin.topics.create('soak-out', { partitions: PARTITIONS })
  const untilMs = performance.now() + budgetMs(9_000)
  const isOver = (): boolean => performance.now() > untilMs
  const acknowledged = new Set<string>()
  const crews = [new Crew(prng, { isTransactional: false }), new Crew(prng, { isTransactional: true })]
  try {
    const producing = Array.from({ length: PRODUCERS }, async (_, number) => {
      const producer = kafkajsOf(broker.kafka).producer({ idempotent: true, maxInFlightRequests: 1 })
      await producer.connect()
      for (let count = 0; !isOver(); ) {
        const values = Array.from({ length: 1 + prng.below(BATCH_RECORDS_MAX) }, () => `${number}-${count++}`)
        await producer.send({ topic: 'soak-in', acks: -1, messages: values.map((value) => ({ key: value, value })) })
        for (const value of values) acknowledged.add(value)
        await sleep(PAUSE_MS)
      }
      await producer.disconnect()
    })
    await Promise.all([...producing, ...crews.map((crew) => crew.live(isOver))])
    for (const crew of crews)
      await until('everything to be handled', REST_MS, () => {
        crew.fillUp()
        return crew.handled.size >= acknowledged.size
      }).catch((error: Error) => {
        throw new Error(`${error.message}: ${crew.handled.size} of ${acknowledged.size}. ${crew.talk}`)
      })
  } finally {
    await Promise.all(crews.map((crew) => crew.end()))
  }
  const stored = (await broker.records('soak-in')).map(({ value }) => value!)
  assert.equal(stored.length, acknowledged.size, 'an idempotent producer writes once')
  assert.deepEqual(new Set(stored), acknowledged)
  for (const { handled } of crews)
    assert.deepEqual(
      [...acknowledged].filter((value) => !handled.has(value)),
      [],
    )

  // A member may die between its commit and the line that tells of it: the log says what was made.
  const made = (await broker.records('soak-out')).map(({ value }) => value!)
  assert.equal(made.length, new Set(made).size, 'nothing twice')
  assert.deepEqual(new Set(made), acknowledged)
  const again = [...crews[0]!.handled.values()].filter((count) => count > 1).length
  const aborted = (await broker.records('soak-out', 'read_uncommitted')).length - made.length
  const all = crews.map(({ accidents }) => accidents)
  const sum = (name: keyof Crew['accidents']): number => all.reduce((count, each) => count + each[name], 0)
  t.diagnostic(
    `reached ${acknowledged.size} records; members: ${sum('crashed')} crashed, ${sum('left')} left, ${sum('joined')} joined, ${sum('gaveUp')} gave up; ` +
      `handled again ${again}, aborted ${aborted}`,
  )
})
