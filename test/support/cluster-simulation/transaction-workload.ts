/**
 * Transactions of a simulated run: a transactional producer begins one after the other, sends to some partitions, commits most of them,
 * and writes down what came of each.
 *
 * Failure    a fenced producer (its transaction was open for too long) is followed by another one under the same transactional id
 */
import type { Client } from '../../../src/client/client.ts'
import type { Transaction } from '../../../src/client/transaction/transaction.ts'
import type { TransactionalProducer } from '../../../src/client/transaction/transactional-producer.ts'
import { between, type PlannedTopic, pick } from '../simulation/seed-plan.ts'
import { checkAllowed, note, SendRecorder, sleep, type WorkloadContext } from '../simulation/workload.ts'
import type { ClusterEvent } from './cluster-reach.ts'

const RECORDS_MAX = 5
const TRANSACTIONS_MAX = 60

export interface TransactorWish {
  readonly process: number
  readonly topics: readonly PlannedTopic[]
  /** At least; and as long as there are misfortunes. */
  readonly transactions: number
  readonly count: (event: ClusterEvent) => void
  /** `topic/partition`: a transaction is open there. */
  readonly open: Set<string>
}

/** Resolves when the outcome of every transaction is known, or known to be unknown. */
export async function transact(context: WorkloadContext, wish: TransactorWish): Promise<void> {
  const client = await context.connect()
  let producer = makeProducer(context, client, wish)
  for (let count = 0; count < wish.transactions || (!context.isHealed() && count < TRANSACTIONS_MAX); count++) {
    await sleep(context.time, between(context.time.prng, 0, pick(context.time.prng, [5, 100, 400])))
    try {
      await new TransactionOfRun(context, { ...wish, producer, id: `${wish.process}.t${count}` }).run()
    } catch (error) {
      checkAllowed(context, error)
      await producer.close().catch((fault: unknown) => checkAllowed(context, fault))
      producer = makeProducer(context, client, wish)
    }
  }
  await producer.close().catch((error: unknown) => checkAllowed(context, error))
  await client.close().catch((error: unknown) => checkAllowed(context, error))
}

function makeProducer(
  { time }: WorkloadContext,
  client: Client,
  { process, topics }: TransactorWish,
): TransactionalProducer {
  return client.producer(topics[0]!.name, {
    transactionalId: `transactor-${process}`,
    transactionTimeoutMs: pick(time.prng, [1_500, 10_000, 60_000]),
    requestTimeoutMs: pick(time.prng, [1_000, 5_000]),
    deliveryTimeoutMs: 600_000,
  })
}

interface RunningTransaction extends TransactorWish {
  readonly id: string
  readonly producer: TransactionalProducer
}

class TransactionOfRun {
  readonly #context: WorkloadContext
  readonly #wish: RunningTransaction

  constructor(context: WorkloadContext, wish: RunningTransaction) {
    this.#context = context
    this.#wish = wish
  }

  /** Rejects when this producer can begin no other one. */
  async run(): Promise<void> {
    const { producer, count } = this.#wish
    const { prng } = this.#context.time
    const transaction = await producer.begin()
    this.#note('begin', 'ok')
    const places = await this.#send(transaction)
    const isCommit = prng.below(5) > 0
    const what = isCommit ? 'commit' : 'abort'
    this.#note(what, 'invoke')
    try {
      await (isCommit ? transaction.commit() : transaction.abort())
      this.#note(what, 'ok')
      count(isCommit ? 'transaction committed' : 'transaction aborted')
    } catch (error) {
      checkAllowed(this.#context, error)
      await this.#learn(transaction, what)
    } finally {
      for (const place of places) this.#wish.open.delete(place)
    }
  }

  async #send(transaction: Transaction): Promise<Set<string>> {
    const { process, topics, id, open } = this.#wish
    const { time } = this.#context
    const { prng } = time
    const recorders = new Map<PlannedTopic, SendRecorder>()
    const places = new Set<string>()
    const sends: Promise<void>[] = []
    for (let count = 1 + prng.below(RECORDS_MAX); count > 0; count--) {
      const topic = pick(prng, topics)
      let recorder = recorders.get(topic)
      if (recorder === undefined) {
        recorder = new SendRecorder(this.#context, { process, topic, isHeld: true, txn: id })
        recorders.set(topic, recorder)
      }
      const partition = prng.below(topic.partitions)
      places.add(`${topic.name}/${partition}`)
      open.add(`${topic.name}/${partition}`)
      const name = `${id}.${count}`
      const value = name.padEnd(pick(prng, [10, 300]), '.')
      sends.push(recorder.send({ partition, name }, () => transaction.send(topic.name, { partition, value })))
      if (prng.below(2) === 0) await sleep(time, between(prng, 0, pick(prng, [5, 300])))
    }
    if (prng.below(3) > 0) await Promise.all(sends)
    else if (prng.below(3) === 0) await sleep(time, between(prng, 1, 2_500))
    return places
  }

  /** The answer did not say; the next transaction would have to know. */
  async #learn(transaction: Transaction, what: 'commit' | 'abort'): Promise<void> {
    const { producer, count } = this.#wish
    let failure: unknown
    if (!transaction.isAborted && !transaction.isCommitted)
      await producer.ready().catch((error: unknown) => {
        failure = error
      })
    if (transaction.isCommitted) this.#note(what, 'ok')
    else if (transaction.isAborted) this.#note(what, what === 'commit' ? 'fail' : 'ok')
    else this.#note(what, 'info')
    count(transaction.isAborted ? 'transaction aborted' : 'transaction in doubt')
    if (failure !== undefined) throw failure
    await producer.ready()
  }

  #note(f: 'begin' | 'commit' | 'abort', type: 'invoke' | 'ok' | 'fail' | 'info'): void {
    const { process, topics, id } = this.#wish
    note(this.#context, topics[0]!, { process, type, f, txn: id })
  }
}
