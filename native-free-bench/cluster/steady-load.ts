/**
 * SteadyLoad: one client with its defaults that sends to the partitions in turn at a steady rate, with acks=all, and when its
 * acknowledgements came. What cannot be sent because too much is open is not made up for.
 *
 * Limits   OPEN_MAX records without an answer; ENDED_MS_MAX for the last answers
 * Failure  what the application would have been told is kept in `failures`
 */

import { RatePace } from '../../src/cli/bench/rate-pace.ts'
import { type Client, connect, type Producer } from '../../src/client/index.ts'
import { AckTimes } from '../../test/support/chaos/ack-times.ts'
import { sleep, until } from '../../test/support/until.ts'
import type { ClusterTopic } from './bench-cluster.ts'

const OPEN_MAX = 5_000
const ENDED_MS_MAX = 150_000
const TICK_MS = 5
const FLOWING_MS_MAX = 60_000

export class SteadyLoad {
  readonly #client: Client
  readonly #producer: Producer
  readonly #partitions: number
  readonly #sending: Promise<void>
  #isSending = true
  #open = 0
  /** Of now: begun anew before what is looked at. */
  acks = new AckTimes()
  acknowledged = 0
  readonly failures: Error[] = []

  private constructor(client: Client, topic: ClusterTopic, ratePerSec: number) {
    this.#client = client
    this.#producer = client.producer(topic.name)
    this.#partitions = topic.partitions
    this.#sending = this.#send(ratePerSec)
  }

  /** Resolves when every partition has acknowledged a record. */
  static async start(url: string, topic: ClusterTopic, ratePerSec: number): Promise<SteadyLoad> {
    const load = new SteadyLoad(await connect(url), topic, ratePerSec)
    await load.flowing()
    return load
  }

  /** Resolves when every partition has acknowledged a record that was sent from now on. */
  async flowing(): Promise<void> {
    const fromMs = performance.now()
    const all = Array.from({ length: this.#partitions }, (_, partition) => partition)
    await until('acknowledgements in every partition', FLOWING_MS_MAX, () =>
      all.every((partition) => this.acks.firstAfter(fromMs, partition) !== undefined),
    )
  }

  /** Throws the first failure that an application would have seen. */
  check(): void {
    const [first] = this.failures
    if (first !== undefined)
      throw new Error(`the client was told of ${this.failures.length} failures`, { cause: first })
  }

  /** Resolves when all is answered. */
  async end(): Promise<void> {
    this.#isSending = false
    await this.#sending
    await until('the last acknowledgements', ENDED_MS_MAX, () => this.#open === 0)
    await this.#client.close()
  }

  async #send(ratePerSec: number): Promise<void> {
    const pace = new RatePace(ratePerSec)
    for (let serial = 0; this.#isSending; await sleep(TICK_MS))
      for (let due = pace.take(performance.now(), OPEN_MAX); due > 0 && this.#open < OPEN_MAX; due--, serial++)
        this.#sendOne(serial)
  }

  #sendOne(serial: number): void {
    const partition = serial % this.#partitions
    const sentMs = performance.now()
    this.#open++
    this.#producer
      .send({ key: `k${serial}`, value: `record ${serial}`, partition })
      .then(
        () => {
          this.acknowledged++
          this.acks.add(sentMs, partition)
        },
        (error: Error) => void this.failures.push(error),
      )
      .finally(() => this.#open--)
  }
}
