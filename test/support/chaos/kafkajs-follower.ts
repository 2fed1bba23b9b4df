/**
 * KafkajsFollower: reads every partition of a topic from its start, each record once and in order, with a consumer of kafkajs (read_committed).
 * It keeps its place itself: it commits nothing, and goes to its place after every join.
 */
import { KafkajsConsumer } from './kafkajs-consumer.ts'

export interface FollowedRecord {
  readonly partition: number
  readonly offset: number
  readonly value: string
}

export interface KafkajsFollowerOptions {
  readonly brokers: readonly string[]
  readonly topic: string
  /** A group of its own. */
  readonly name: string
  readonly onRecord: (record: FollowedRecord) => void
  readonly onReplaced: (why: string) => void
  readonly onFault: (text: string) => void
}

const SESSION_MS = 10_000

export class KafkajsFollower {
  readonly #options: KafkajsFollowerOptions
  readonly #consumer: KafkajsConsumer
  /** By partition: the next offset. */
  readonly #positions = new Map<number, number>()

  constructor(options: KafkajsFollowerOptions) {
    const { brokers, topic, name, onReplaced, onFault } = options
    this.#options = options
    this.#consumer = new KafkajsConsumer({
      ...{ brokers, topic, clientId: name, sessionTimeoutMs: SESSION_MS, isAutoResolved: true, onFault },
      onReplaced: (why) => onReplaced(`${name}: ${why}`),
      // Another group each time: the one before need not be left in order.
      groupIdOf: (life) => `${name}-${life}`,
      onJoined: (consumer, partitions) => {
        for (const partition of partitions) {
          const offset = this.#positions.get(partition)
          if (offset !== undefined) consumer.seek({ topic, partition, offset: String(offset) })
        }
      },
      onBatch: async ({ batch: { partition, messages } }) => {
        for (const { offset, value } of messages) this.#take(partition, Number(offset), value)
      },
    })
  }

  positionOf(partition: number): number {
    return this.#positions.get(partition) ?? 0
  }

  stop(): Promise<void> {
    return this.#consumer.stop()
  }

  #take(partition: number, offset: number, value: Buffer | null): void {
    // Asked for before the last join, and got again since.
    if (offset < this.positionOf(partition)) return
    this.#positions.set(partition, offset + 1)
    this.#options.onRecord({ partition, offset, value: value?.toString() ?? '' })
  }
}
