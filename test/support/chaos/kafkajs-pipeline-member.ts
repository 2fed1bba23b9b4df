/**
 * A process of a results pipeline (results-pipeline.ts) that is made of kafkajs: it reads one topic and writes its results to another, exactly
 * once. node kafkajs-pipeline-member.js '{"url": "host:port,…", …}' (PipelineMemberOptions); ends in order at SIGTERM.
 *
 * Kafkajs commits the offsets of a transaction without the member's generation (TxnOffsetCommit v1), so that the group does not fence a
 * member that lost its partitions. The transactional id does: there is one for each partition of the input, as before KIP-447, and whoever
 * is assigned a partition makes a producer of it before it asks where the group is. After that nothing of an owner before can be committed.
 *
 * Now and then a transaction writes a record that nobody may ever see, and is aborted.
 */
import type { Admin, Consumer, EachBatchPayload, KafkaMessage, Producer, Transaction } from 'kafkajs'
import { SeededPrng } from '../../../src/base/prng.ts'
import { ANEW_MARK, FAULT_MARK, type PipelineMemberOptions, POISON } from '../pipeline-options.ts'
import { errorWord, METADATA_MS, makeKafka, RETRY, within } from './kafkajs-client.ts'
import { KafkajsConsumer } from './kafkajs-consumer.ts'

/** A transaction of kafkajs is a dozen requests one after the other, however much is in it. */
const RECORDS_MAX = 500
const FAIL_ONE_IN = 15
const CLOSE_MS_MAX = 10_000

/** A partition that this process owns, as it believes. */
interface Owned {
  readonly producer: Producer
  /** The next record that has no result. */
  next: number
}

class KafkajsPipelineMember {
  readonly #options: PipelineMemberOptions
  readonly #prng: SeededPrng
  readonly #brokers: readonly string[]
  readonly #admin: Admin
  readonly #consumer: KafkajsConsumer
  readonly #owned = new Map<number, Owned>()

  constructor(options: PipelineMemberOptions) {
    const { name: clientId, url, input: topic, groupId, sessionTimeoutMs } = options
    this.#options = options
    this.#prng = new SeededPrng(options.seed)
    this.#brokers = url.split(',')
    this.#admin = makeKafka({ brokers: this.#brokers, clientId }).admin()
    this.#consumer = new KafkajsConsumer({
      ...{ brokers: this.#brokers, topic, clientId, sessionTimeoutMs, isAutoResolved: false },
      groupIdOf: () => groupId,
      onJoined: () => this.#giveUpAll(),
      onBatch: (payload, consumer) => this.#onBatch(payload, consumer),
      onReplaced: (why) => console.error(`${ANEW_MARK}consumer: ${why}`),
      onFault: (text) => console.error(`${FAULT_MARK}${text}`),
    })
  }

  async stop(): Promise<void> {
    await this.#consumer.stop()
    this.#giveUpAll()
    await within(CLOSE_MS_MAX, this.#admin.disconnect())
  }

  async #onBatch(payload: EachBatchPayload, consumer: Consumer): Promise<void> {
    const { batch, resolveOffset, heartbeat, isRunning, isStale } = payload
    const { partition, messages } = batch
    const owned = this.#owned.get(partition) ?? (await this.#own(partition))
    const first = Number(messages[0]?.offset)
    if (first !== owned.next) {
      consumer.seek({ topic: this.#options.input, partition, offset: String(owned.next) })
      return
    }
    for (let at = 0; at < messages.length; at += RECORDS_MAX) {
      // Joined anew meanwhile: another may own it.
      if (!isRunning() || isStale() || this.#owned.get(partition) !== owned) return
      const chunk = messages.slice(at, at + RECORDS_MAX)
      await this.#work(partition, owned, chunk)
      resolveOffset(chunk.at(-1)!.offset)
      await heartbeat()
    }
  }

  /** Fences whoever had the partition before; then asks where the group is. */
  async #own(partition: number): Promise<Owned> {
    const { groupId, transactionTimeoutMs: transactionTimeout, name: clientId, input: topic } = this.#options
    const producer = makeKafka({ brokers: this.#brokers, clientId }).producer({
      ...{ transactionalId: `${groupId}-${partition}`, transactionTimeout, maxInFlightRequests: 1, idempotent: true },
      ...{
        metadataMaxAge: METADATA_MS,
        retry: RETRY,
        allowAutoTopicCreation: false,
      },
    })
    try {
      await producer.connect()
      // The first begin of a producer is what makes its producer id; nothing is in this transaction.
      await (await producer.transaction()).abort()
      const owned = { producer, next: await this.#committed(topic, partition) }
      this.#owned.set(partition, owned)
      return owned
    } catch (error) {
      void within(CLOSE_MS_MAX, producer.disconnect())
      throw told(error, 'own')
    }
  }

  async #committed(topic: string, partition: number): Promise<number> {
    await this.#admin.connect()
    const [row] = await this.#admin.fetchOffsets({ groupId: this.#options.groupId, topics: [topic] })
    const offset = Number(row?.partitions.find((each) => each.partition === partition)?.offset ?? -1)
    return Math.max(0, offset)
  }

  async #work(partition: number, owned: Owned, messages: readonly KafkaMessage[]): Promise<void> {
    const { groupId, input, output } = this.#options
    const next = Number(messages.at(-1)!.offset) + 1
    let step = 'begin'
    try {
      if (this.#prng.below(FAIL_ONE_IN) === 0) {
        const failing = await owned.producer.transaction()
        step = 'send'
        await failing.send({ topic: output, messages: [{ partition, value: POISON }] })
        step = 'abort'
        await failing.abort()
      }
      const transaction: Transaction = await owned.producer.transaction()
      step = 'send'
      await transaction.send({ topic: output, messages: messages.map(({ value }) => ({ partition, value })) })
      const offsets = [{ partition, offset: String(next) }]
      step = 'offsets'
      await transaction.sendOffsets({ consumerGroupId: groupId, topics: [{ topic: input, partitions: offsets }] })
      step = 'commit'
      await transaction.commit()
      owned.next = next
    } catch (error) {
      // What came of it the next producer of this transactional id finds out.
      this.#giveUp(partition, owned)
      throw told(error, step)
    }
  }

  #giveUpAll(): void {
    for (const [partition, owned] of this.#owned) this.#giveUp(partition, owned)
  }

  #giveUp(partition: number, owned: Owned): void {
    if (this.#owned.get(partition) === owned) this.#owned.delete(partition)
    void within(CLOSE_MS_MAX, owned.producer.disconnect())
  }
}

/** For the consumer's retries: kafkajs takes an error of its own that it would not try again for the consumer's end. */
function told(error: unknown, step: string): Error {
  console.error(`${ANEW_MARK}${step}: ${errorWord(error)}`)
  return new Error(`${step}: ${errorWord(error)}`)
}

const member = new KafkajsPipelineMember(JSON.parse(process.argv[2] ?? '') as PipelineMemberOptions)
process.on('SIGTERM', () => void member.stop().finally(() => process.exit(0)))
