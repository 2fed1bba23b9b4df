/**
 * KafkajsProducer: an idempotent producer of kafkajs that is made anew, with another producer id, after every send that failed
 * (kafkajs-client.ts says why).
 *
 * Owns        its producers of kafkajs: the one in use, and those whose last sends are under way
 * Invariants  a partition has one send under way at most: its caller's
 */
import type { Message, Producer, RetryOptions } from 'kafkajs'
import { sleep } from '../until.ts'
import { errorWord, type KafkajsOptions, METADATA_MS, makeKafka, within } from './kafkajs-client.ts'

export interface KafkajsProducerOptions extends KafkajsOptions {
  readonly maxInFlightRequests: number
  readonly retry: RetryOptions
  /** A producer could not be made, or is not used any more. */
  readonly onReplaced: (why: string) => void
}

/** One producer id. */
interface Life {
  readonly producer: Producer
  open: number
  isSpent: boolean
}

const ACKS_ALL = -1
const CLOSE_MS_MAX = 10_000
const PAUSE_MS = 200

export class KafkajsProducer {
  readonly #options: KafkajsProducerOptions
  #life: Promise<Life> | undefined
  #isClosed = false

  constructor(options: KafkajsProducerOptions) {
    this.#options = options
  }

  /** Answers the offset of the first record. What it throws says nothing of whether they are stored. */
  async send(topic: string, messages: Message[]): Promise<number> {
    this.#life ??= this.#begin()
    const life = await this.#life
    life.open++
    try {
      const [row] = await life.producer.send({ topic, acks: ACKS_ALL, messages })
      return Number(row?.baseOffset)
    } catch (error) {
      if (!life.isSpent) this.#options.onReplaced(errorWord(error))
      if (!life.isSpent) this.#life = undefined
      life.isSpent = true
      throw error
    } finally {
      life.open--
      if (life.isSpent && life.open === 0) void within(CLOSE_MS_MAX, life.producer.disconnect())
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    const life = await this.#life?.catch(() => undefined)
    if (life !== undefined) await within(CLOSE_MS_MAX, life.producer.disconnect())
  }

  async #begin(): Promise<Life> {
    const { maxInFlightRequests, retry } = this.#options
    while (!this.#isClosed) {
      const producer = makeKafka(this.#options).producer({
        ...{ idempotent: true, maxInFlightRequests, retry },
        ...{ metadataMaxAge: METADATA_MS, allowAutoTopicCreation: false },
      })
      try {
        await producer.connect()
        return { producer, open: 0, isSpent: false }
      } catch (error) {
        this.#options.onReplaced(`connect: ${errorWord(error)}`)
        void within(CLOSE_MS_MAX, producer.disconnect())
        await sleep(PAUSE_MS)
      }
    }
    throw new Error('the producer is closed')
  }
}
