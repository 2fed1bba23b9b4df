/**
 * PipelineWorkload: members of one group that make a result of each record of a topic, exactly once, through everything that a run does.
 *
 *   input a/p@offset  ->  results/p: 'p:offset', in the transaction that commits the group's offsets
 *
 * Invariants checked   the results of a partition name the offsets of its input, in their order, each once; nothing of an aborted transaction
 * Failure              a member outlives every fault; only where another life of it has its transactional id, or its transaction was open for
 *                      too long, run() may end with PRODUCER_FENCED, and the next life begins
 */
import type { Client } from '../../../src/client/client.ts'
import { isMillraceError } from '../../../src/model/errors.ts'
import { between, type PlannedTopic, pick } from '../simulation/seed-plan.ts'
import { sleep, type WorkloadContext } from '../simulation/workload.ts'
import type { ClusterEvent } from './cluster-reach.ts'

export const RESULTS_TOPIC = 'results'
const GROUP = 'pipeline'
const POISON = 'poison'
const FAIL_ONE_IN = 40
const LOOK_MS = 250
const DECODER = new TextDecoder()

export interface PipelineWish {
  readonly input: PlannedTopic
  readonly members: number
  readonly count: (event: ClusterEvent, by?: number) => void
}

export class PipelineWorkload {
  readonly #context: WorkloadContext
  readonly #wish: PipelineWish
  readonly #members: Promise<void>[]
  #isDone = false

  constructor(context: WorkloadContext, wish: PipelineWish) {
    this.#context = context
    this.#wish = wish
    this.#members = Array.from({ length: wish.members }, (_, number) => this.#member(number))
  }

  /** Nothing is written to the input any more: resolves when each record has its result and the members have gone. Throws what is wrong. */
  async finish(): Promise<void> {
    const client = await this.#context.connect()
    for (;;) {
      const inputs = await this.#read(client, this.#wish.input.name, (_text, offset) => offset)
      const results = await this.#read(client, RESULTS_TOPIC, sourceOf)
      if (isSame(inputs, results)) break
      check(inputs, results)
      await sleep(this.#context.time, LOOK_MS)
    }
    this.#isDone = true
    await Promise.all(this.#members)
    await client.close()
  }

  async #member(number: number): Promise<void> {
    const { time, onBug } = this.#context
    const client = await this.#context.connect()
    while (!this.#isDone) {
      await this.#life(client, number).catch((error: unknown) => {
        if (!isMillraceError(error) || error.code !== 'PRODUCER_FENCED') onBug(error)
        time.trace('fenced')
      })
      await sleep(time, between(time.prng, 1, 100))
    }
    await client.close()
  }

  /** Until the run is over, or for a while. */
  async #life(client: Client, number: number): Promise<void> {
    const { time } = this.#context
    const { prng } = time
    const named = prng.below(2) === 0 ? {} : { transactionalId: `pipeline-${number}` }
    const hurry = new AbortController()
    const group = client.group(GROUP, this.#wish.input.name, {
      ...{ from: 'start', semantics: 'exactly-once', sessionTimeoutMs: pick(prng, [6_000, 10_000]), ...named },
      ...{ transaction: { timeoutMs: pick(prng, [2_000, 10_000]), recordsMax: pick(prng, [3, 20]) } },
      signal: hurry.signal,
    })
    this.#wish.count('member of the pipeline begun')
    const endMs = time.monotonicMs() + between(prng, 500, pick(prng, [2_000, 20_000]))
    const isHurried = prng.below(4) === 0
    let isRunning = true
    let failure: unknown
    const running = group
      .run((record, { transaction }) => this.#handle(record, transaction), {
        retry: { attempts: 1_000_000, backoff: 5, backoffMsMax: 50 },
      })
      .catch((error: unknown) => {
        failure = error
      })
      .finally(() => {
        isRunning = false
      })
    while (isRunning && !this.#isDone && time.monotonicMs() < endMs) await sleep(time, 20)
    const early = failure
    if (isHurried) hurry.abort()
    else await group.close()
    await running
    // After an abort run() tells of it; before, or after an orderly end, what it tells is its own.
    if (early !== undefined || (failure !== undefined && !isHurried)) throw early ?? failure
  }

  #handle(
    { partition, offset }: { readonly partition: number; readonly offset: number },
    transaction: { send(topic: string, record: { partition: number; value: string }): Promise<unknown> },
  ): Promise<void> | undefined {
    const { time } = this.#context
    const { prng } = time
    transaction.send(RESULTS_TOPIC, { partition, value: `${partition}:${offset}` }).catch(() => {})
    this.#wish.count('result made')
    if (prng.below(FAIL_ONE_IN) === 0) return this.#fail(partition, transaction)
    return prng.below(8) === 0 ? sleep(time, between(prng, 0, 40)) : undefined
  }

  async #fail(
    partition: number,
    transaction: { send(topic: string, record: { partition: number; value: string }): Promise<unknown> },
  ): Promise<void> {
    await transaction.send(RESULTS_TOPIC, { partition, value: POISON })
    throw new Error('on purpose')
  }

  /** By partition, of committed records only. */
  async #read(
    client: Client,
    topic: string,
    offsetOf: (text: string, offset: number, partition: number) => number,
  ): Promise<number[][]> {
    const found: number[][] = Array.from({ length: this.#wish.input.partitions }, () => [])
    for await (const { partition, offset, value } of client.consume(topic, { from: 'start', to: 'end' }))
      found[partition]!.push(offsetOf(DECODER.decode(value!), offset, partition))
    return found
  }
}

function sourceOf(text: string, offset: number, partition: number): number {
  const [from, source] = text.split(':').map(Number)
  if (text === POISON || from !== partition || !Number.isInteger(source))
    throw new Error(`${RESULTS_TOPIC}-${partition}@${offset} holds '${text}'`)
  return source!
}

/** Results come later than records, never otherwise than they. */
function check(inputs: readonly (readonly number[])[], results: readonly (readonly number[])[]): void {
  for (const [partition, offsets] of results.entries())
    for (const [index, source] of offsets.entries())
      if (inputs[partition]![index] !== source)
        throw new Error(
          `${RESULTS_TOPIC}-${partition}: result ${index} is of offset ${source}, record ${index} has ${inputs[partition]![index]}`,
        )
}

function isSame(inputs: readonly (readonly number[])[], results: readonly (readonly number[])[]): boolean {
  return inputs.every((offsets, partition) => offsets.join() === results[partition]!.join())
}
