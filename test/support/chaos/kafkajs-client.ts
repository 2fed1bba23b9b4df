/**
 * What all kafkajs clients of a run share: how they are made, and how their errors are told.
 *
 * Limits of kafkajs 2.2.4 that its users must know of, and that are no fault of a broker:
 *
 *   a producer    after an error that it does not try again, or that came too often, it takes its sequence numbers back: if the batch was
 *                 stored, the next one of as many records would be taken for it. It is made anew after every send that failed
 *                 two sends to one partition at once share a sequence number while the first of them is tried again; and where a send
 *                 goes to several partitions, one that was stored is sent again when its leader moves. One send at a time, to one
 *                 partition
 *                 a request that timed out is sent to the same broker again until the metadata is too old: metadataMaxAge is short
 *   a transaction when its end failed the producer is of no use any more
 *   a consumer    has only groups, and begins again with what is committed after every join; it joins again whenever a leader moves
 *                 what it had asked for before is still handed out afterwards. It may not be stopped (kafkajs-consumer.ts)
 *   metadata      is refused as a whole while one partition of a topic has no leader
 */
import { Kafka, logLevel } from 'kafkajs'

const REQUEST_MS = 5_000
const CONNECT_MS = 3_000
const CAUSES_MAX = 5

/** Between the attempts of everything but an idempotent producer's sends: some 10 s of them. */
export const RETRY = { initialRetryTime: 100, maxRetryTime: 1_000, retries: 12 }
/** Kafkajs wants them without end for idempotent producers. */
export const RETRY_WITHOUT_END = { ...RETRY, retries: Number.MAX_SAFE_INTEGER }
/** Of producers that give up soon. */
export const RETRY_SHORT = { ...RETRY, retries: 1 }
export const METADATA_MS = 3_000
/** Of consumers: how long a broker keeps a fetch without records. */
export const FETCH_WAIT_MS = 500
export const REBALANCE_MS = 10_000

export interface KafkajsOptions {
  readonly brokers: readonly string[]
  readonly clientId: string
  /** What kafkajs says at level error. */
  readonly onError?: (message: string) => void
}

export function makeKafka({ brokers, clientId, onError }: KafkajsOptions): Kafka {
  return new Kafka({
    ...{ brokers: [...brokers], clientId, requestTimeout: REQUEST_MS, connectionTimeout: CONNECT_MS, retry: RETRY },
    logLevel: logLevel.ERROR,
    logCreator:
      () =>
      ({ log }) =>
        onError?.(log.message),
  })
}

/** The innermost cause of what kafkajs threw, in a word: a code of the protocol, or the name of its class. */
export function errorWord(error: unknown): string {
  let cause = error as { name?: string; type?: string; cause?: unknown }
  for (let depth = 0; depth < CAUSES_MAX && cause.cause instanceof Error; depth++) cause = cause.cause
  if (cause.type !== undefined) return cause.type
  return cause.name?.startsWith('KafkaJS') === true ? cause.name : String(cause)
}

/** Consumers and producers hang, at times, while their brokers are away: what they own ends with this process. */
export async function within(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, ms)
  })
  await Promise.race([work.catch(() => {}), late])
  clearTimeout(timer)
}

/** Counts words. */
export class WordCounts {
  readonly #counts = new Map<string, number>()

  add(word: string): void {
    this.#counts.set(word, (this.#counts.get(word) ?? 0) + 1)
  }

  toString(): string {
    return [...this.#counts].map(([word, count]) => `${word} ${count}`).join(', ') || 'none'
  }
}
