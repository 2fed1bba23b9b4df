/**
 * KafkajsGroup: several members of one classic group of kafkajs that handle a topic's records and commit what they have handled; now and then
 * one leaves and comes again.
 *
 * Owns        its members; their lines of the history: what they were handed, what they committed
 * Invariants  what was committed for a partition never goes back (checked by the history); all that was acknowledged is handled, at least
 *             once (`isHandled`)
 * Failure     after a commit of unknown outcome a member is made anew: its next generation fences what may be under way
 */
import type { Consumer, EachBatchPayload } from 'kafkajs'
import type { SeededPrng } from '../../../src/base/prng.ts'
import { sleep } from '../until.ts'
import { type HistoryWriter, nameOf } from './history-file.ts'
import { errorWord } from './kafkajs-client.ts'
import { KafkajsConsumer } from './kafkajs-consumer.ts'

export interface KafkajsGroupOptions {
  readonly brokers: readonly string[]
  readonly topic: string
  readonly partitions: number
  readonly members: number
  /** Of the history: its members have this number and those after it. */
  readonly firstProcess: number
  readonly prng: SeededPrng
  readonly history: HistoryWriter
  readonly onReplaced: (why: string) => void
  readonly onFault: (text: string) => void
}

interface MemberOptions extends KafkajsGroupOptions {
  readonly name: string
  /** By partition: what was handled, by offset; of all members. */
  readonly handled: readonly Set<number>[]
  readonly nextProcess: () => number
}

const GROUP = 'kafkajs-group'
const SESSION_MS = 6_000
const TURNOVER_MS_MIN = 5_000
const TURNOVER_MS_MAX = 20_000
const AWAY_MS_MAX = 3_000
const LOOK_MS = 50

export class KafkajsGroup {
  readonly #options: KafkajsGroupOptions
  readonly #members: Member[]
  /** By partition: what was handled, by offset. */
  readonly #handled: Set<number>[]
  readonly #turnOver: Promise<void>
  #isStopped = false
  #nextProcess: number
  turnovers = 0

  constructor(options: KafkajsGroupOptions) {
    this.#options = options
    this.#nextProcess = options.firstProcess
    this.#handled = Array.from({ length: options.partitions }, () => new Set())
    this.#members = Array.from({ length: options.members }, (_, number) => {
      const name = `member-${number}`
      return new Member({ ...options, name, handled: this.#handled, nextProcess: () => this.#nextProcess++ })
    })
    this.#turnOver = this.#turn()
  }

  isHandled(partition: number, offset: number): boolean {
    return this.#handled[partition]!.has(offset)
  }

  get committed(): number {
    return this.#members.reduce((sum, { committed }) => sum + committed, 0)
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#turnOver
    await Promise.all(this.#members.map((member) => member.stop()))
  }

  async #turn(): Promise<void> {
    const { prng } = this.#options
    while (await this.#pause(TURNOVER_MS_MIN + prng.below(TURNOVER_MS_MAX - TURNOVER_MS_MIN))) {
      const member = this.#members[prng.below(this.#members.length)]!
      this.turnovers++
      await member.stop()
      if (await this.#pause(prng.below(AWAY_MS_MAX))) member.start()
    }
  }

  /** False when all is to end. */
  async #pause(ms: number): Promise<boolean> {
    const untilMs = performance.now() + ms
    while (performance.now() < untilMs && !this.#isStopped) await sleep(LOOK_MS)
    return !this.#isStopped
  }
}

/** A consumer of a member, from its making to its end. */
interface Life {
  /** Of the history: one that does not end in time may still have a commit under way. */
  readonly process: number
  /** Of the partitions it was assigned last: the next offset, undefined before the first batch. */
  positions: Map<number, number | undefined>
}

class Member {
  readonly #options: MemberOptions
  readonly #lives = new WeakMap<Consumer, Life>()
  #consumer: KafkajsConsumer | undefined
  committed = 0

  constructor(options: MemberOptions) {
    this.#options = options
    this.start()
  }

  start(): void {
    const { brokers, topic, name, onReplaced, onFault } = this.#options
    this.#consumer = new KafkajsConsumer({
      ...{ brokers, topic, clientId: name, sessionTimeoutMs: SESSION_MS, isAutoResolved: true, onFault },
      onReplaced: (why) => onReplaced(`${name}: ${why}`),
      groupIdOf: () => GROUP,
      onJoined: (consumer, partitions) => {
        this.#lifeOf(consumer).positions = new Map(partitions.map((partition) => [partition, undefined]))
      },
      onBatch: (payload, consumer) => this.#handle(payload, this.#lifeOf(consumer)),
    })
  }

  async stop(): Promise<void> {
    await this.#consumer?.stop()
    this.#consumer = undefined
  }

  #lifeOf(consumer: Consumer): Life {
    const known = this.#lives.get(consumer)
    if (known !== undefined) return known
    const life: Life = { process: this.#options.nextProcess(), positions: new Map() }
    this.#lives.set(consumer, life)
    return life
  }

  async #handle({ batch, commitOffsetsIfNecessary }: EachBatchPayload, { process, positions }: Life): Promise<void> {
    const { partition, messages } = batch
    // Asked for before the last join, and somebody else's since.
    if (!positions.has(partition)) return
    const position = positions.get(partition)
    const records = messages
      .map(({ offset, value }) => ({ offset: Number(offset), value: nameOf(value?.toString() ?? '') }))
      .filter(({ offset }) => offset >= (position ?? 0))
    const [first, last] = [records[0], records.at(-1)]
    if (first === undefined || last === undefined) return
    const { topic, history, handled } = this.#options
    const at = { topic, partition }
    const line = { process, type: 'ok' }
    if (position === undefined) history.write({ ...line, f: 'assign', positions: [{ ...at, offset: first.offset }] })
    history.write({ ...line, f: 'poll', records: records.map((record) => ({ ...at, ...record })) })
    for (const { offset } of records) handled[partition]!.add(offset)
    const next = last.offset + 1
    positions.set(partition, next)
    await this.#commit(process, { partition, next }, commitOffsetsIfNecessary)
  }

  async #commit(
    process: number,
    { partition, next }: { partition: number; next: number },
    commitOffsets: EachBatchPayload['commitOffsetsIfNecessary'],
  ): Promise<void> {
    const { topic, history } = this.#options
    const line = { process, f: 'commitOffsets', group: GROUP }
    history.write({ ...line, type: 'invoke', positions: [{ topic, partition, offset: next }] })
    try {
      await commitOffsets({ topics: [{ topic, partitions: [{ partition, offset: String(next) }] }] })
      this.committed++
      history.write({ ...line, type: 'ok' })
    } catch (error) {
      history.write({ ...line, type: 'info', error: String(error) })
      if (!isRefused(error)) this.#consumer?.replace(`commit: ${errorWord(error)}`)
      throw error
    }
  }
}

/** Errors after which kafkajs joins anew by itself. */
function isRefused(error: unknown): boolean {
  const words = ['REBALANCE_IN_PROGRESS', 'NOT_COORDINATOR_FOR_GROUP', 'ILLEGAL_GENERATION', 'UNKNOWN_MEMBER_ID']
  return words.includes(errorWord(error))
}
