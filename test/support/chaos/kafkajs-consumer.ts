/**
 * KafkajsConsumer: a consumer of kafkajs that is made anew when it has crashed and does not start again by itself, or when its owner asks for
 * another.
 *
 * Owns      its consumer of kafkajs
 * Failure   that it was made anew is told to `onReplaced`: it must outlive every fault. A fetch that is out of range, which kafkajs
 *           answers by beginning again, is told to `onFault`: no broker may say so of a log that only grows
 */
import type { Consumer, EachBatchPayload } from 'kafkajs'
import { sleep } from '../until.ts'
import { errorWord, FETCH_WAIT_MS, METADATA_MS, makeKafka, REBALANCE_MS, RETRY, within } from './kafkajs-client.ts'

export interface KafkajsConsumerOptions {
  readonly brokers: readonly string[]
  readonly topic: string
  /** Of each life: the first is 0. */
  readonly groupIdOf: (life: number) => string
  readonly clientId: string
  readonly sessionTimeoutMs: number
  readonly isAutoResolved: boolean
  /** It has joined, and fetches next. */
  readonly onJoined: (consumer: Consumer, partitions: readonly number[]) => void
  readonly onBatch: (payload: EachBatchPayload, consumer: Consumer) => Promise<void>
  readonly onReplaced: (why: string) => void
  readonly onFault: (text: string) => void
}

const HEARTBEAT_MS = 1_000
const CLOSE_MS_MAX = 15_000
const PAUSE_MS = 200

export class KafkajsConsumer {
  readonly #options: KafkajsConsumerOptions
  #isStopped = false
  #leave: ((why: string | undefined) => void) | undefined
  readonly #work: Promise<void>

  constructor(options: KafkajsConsumerOptions) {
    this.#options = options
    this.#work = this.#run()
  }

  /** Another one takes its place. */
  replace(why: string): void {
    this.#leave?.(why)
  }

  /** It leaves its group in order. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#leave?.(undefined)
    await this.#work
  }

  async #run(): Promise<void> {
    for (let life = 0; !this.#isStopped; life++) {
      const why = await this.#live(life)
      if (why === undefined) continue
      this.#options.onReplaced(why)
      await sleep(PAUSE_MS)
    }
  }

  /** Answers why it is over; undefined = it was stopped. */
  async #live(life: number): Promise<string | undefined> {
    const { topic, isAutoResolved: eachBatchAutoResolve, onBatch } = this.#options
    const over = new Promise<string | undefined>((resolve) => {
      this.#leave = resolve
    })
    if (this.#isStopped) return undefined
    const consumer = this.#make(life)
    try {
      await consumer.connect()
      await consumer.subscribe({ topics: [topic], fromBeginning: true })
      await consumer.run({
        ...{ autoCommit: false, eachBatchAutoResolve },
        eachBatch: (payload) => onBatch(payload, consumer),
      })
      return await over
    } catch (error) {
      return this.#isStopped ? undefined : errorWord(error)
    } finally {
      await within(CLOSE_MS_MAX, consumer.disconnect())
    }
  }

  #make(life: number): Consumer {
    const { brokers, topic, clientId, groupIdOf, sessionTimeoutMs: sessionTimeout, onJoined, onFault } = this.#options
    const onError = (message: string): void => {
      if (message.startsWith('Offset out of range')) onFault(`${clientId}: ${message}`)
    }
    const consumer = makeKafka({ brokers, clientId, onError }).consumer({
      ...{ groupId: groupIdOf(life), sessionTimeout, heartbeatInterval: HEARTBEAT_MS, rebalanceTimeout: REBALANCE_MS },
      ...{ retry: RETRY, maxWaitTimeInMs: FETCH_WAIT_MS, metadataMaxAge: METADATA_MS, allowAutoTopicCreation: false },
    })
    consumer.on('consumer.group_join', ({ payload }) => onJoined(consumer, payload.memberAssignment[topic] ?? []))
    consumer.on('consumer.crash', ({ payload: { restart, error } }) => {
      if (!restart) this.#leave?.(errorWord(error))
    })
    return consumer
  }
}
