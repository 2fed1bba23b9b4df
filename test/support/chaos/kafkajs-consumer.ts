/**
 * KafkajsConsumer: a consumer of kafkajs that is made anew when it has crashed and does not start again by itself, or when its owner asks for
 * another.
 *
 * Owns      its consumer of kafkajs
 * Leaving   a consumer that is stopped while the list of brokers changes makes new fetchers, which ask on and on within one turn of the event
 *           loop: nothing else of the process ever runs again (kafkajs 2.2.4: runner.stop() beside fetchManager.start()). So nobody stops
 *           one from without: it is made to crash at its next fetch, after which it leaves its group and disconnects by itself
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
/** It may have to end a join first. One that takes longer is left alone: it crashes at its first fetch. */
const LEAVE_MS_MAX = 30_000
const PAUSE_MS = 200
const LEAVING = 'leaving'

export class KafkajsConsumer {
  readonly #options: KafkajsConsumerOptions
  #isStopped = false
  #leave: ((why: string) => void) | undefined
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
    this.#leave?.(LEAVING)
    await this.#work
  }

  async #run(): Promise<void> {
    for (let life = 0; !this.#isStopped; life++) {
      const why = await this.#live(life)
      if (this.#isStopped) return
      this.#options.onReplaced(why)
      await sleep(PAUSE_MS)
    }
  }

  /** Answers why it is over. */
  async #live(life: number): Promise<string> {
    const { topic, isAutoResolved: eachBatchAutoResolve, onBatch } = this.#options
    const leaving = new Promise<string>((resolve) => {
      this.#leave = resolve
    })
    let isLeaving = false
    const consumer = this.#make(life, () => isLeaving)
    const crashed = new Promise<string>((resolve) => {
      consumer.on('consumer.crash', ({ payload: { restart, error } }) => {
        if (!restart) resolve(errorWord(error))
      })
    })
    try {
      await consumer.connect()
      await consumer.subscribe({ topics: [topic], fromBeginning: true })
      await consumer.run({
        ...{ autoCommit: false, eachBatchAutoResolve },
        eachBatch: (payload) => onBatch(payload, consumer),
      })
    } catch (error) {
      await within(LEAVE_MS_MAX, consumer.disconnect())
      return errorWord(error)
    }
    const why = await Promise.race([crashed, leaving])
    isLeaving = true
    await within(LEAVE_MS_MAX, crashed)
    return why
  }

  #make(life: number, isLeaving: () => boolean): Consumer {
    const { brokers, topic, clientId, groupIdOf, sessionTimeoutMs: sessionTimeout, onJoined, onFault } = this.#options
    const onError = (message: string): void => {
      if (message.startsWith('Offset out of range')) onFault(`${clientId}: ${message}`)
    }
    const consumer = makeKafka({ brokers, clientId, onError }).consumer({
      ...{ groupId: groupIdOf(life), sessionTimeout, heartbeatInterval: HEARTBEAT_MS, rebalanceTimeout: REBALANCE_MS },
      ...{ maxWaitTimeInMs: FETCH_WAIT_MS, metadataMaxAge: METADATA_MS, allowAutoTopicCreation: false, retry: RETRY },
    })
    consumer.on('consumer.group_join', ({ payload }) => onJoined(consumer, payload.memberAssignment[topic] ?? []))
    consumer.on('consumer.fetch_start', () => {
      if (isLeaving()) throw new Leaving(LEAVING)
    })
    return consumer
  }
}

/** What a listener throws is thrown to whoever fetches; not to be tried again. */
class Leaving extends Error {
  override readonly name = LEAVING
  readonly retriable = false
}
