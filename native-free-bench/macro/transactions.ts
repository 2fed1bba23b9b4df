/**
 * What "exactly once" costs: idempotence against none, transactions of 100 records and of one against plain produce, and what
 * read_committed costs a reader. One client process, one broker process, acks=all, fsync group, 100 B records.
 *
 *   idempotence    enqueue, the same records with idempotent: true and false, in pairs that take turns
 *   transactions   N producers (`--ids`), each with one transaction after the other; the ratio is to as many producers that enqueue
 *                  as many records and wait for them, and to one that enqueues all
 *   one record     a transaction of one record: begin, send, commit; told in times of a plain send(), which waits for one group commit.
 *                  Alone: the markers of the one before are written. In a row: each waits for them, which is a group commit more
 *
 *   node dist/native-free-bench/macro/transactions.js [--smoke] [--pairs 5] [--records 2000000] [--transactions 2000] [--ids 1,16,64] [--json]
 */
import type { BenchTarget } from '../../src/cli/bench/bench-target.ts'
import type { Client, Producer, TransactionalProducer } from '../../src/client/index.ts'
import { withBroker } from '../harness/bench-broker.ts'
import { benchOptions } from '../harness/options.ts'
import { Report } from '../harness/report.ts'

const options = benchOptions()
const report = new Report('macro/transactions', options)
const pairs = options.number('pairs', 5, 1)
const records = options.number('records', 2_000_000, 20_000)
const transactions = options.number('transactions', 2_000, 20)
const idCounts = options
  .text('ids', options.smoke ? '1,4' : '1,16,64')
  .split(',')
  .map(Number)
const PARTITIONS = 6
const PER_TRANSACTION = 100
/** For the markers of the transaction before. */
const PAUSE_MS = options.smoke ? 1 : 5
const VALUE = new Uint8Array(100).fill(120)
let topicNumber = 0

async function withTopic<T>({ client }: BenchTarget, body: (topic: string, client: Client) => Promise<T>): Promise<T> {
  const topic = `bench-${++topicNumber}`
  await client.admin.topics.create(topic, { partitions: PARTITIONS })
  try {
    return await body(topic, client)
  } finally {
    await client.admin.topics.delete(topic)
  }
}

/** Records a second of one producer that enqueues `count`, spread over partitions. */
async function enqueueAll(producer: Producer, count: number): Promise<number> {
  await producer.ready()
  const startedMs = performance.now()
  for (let sent = 0; sent < count; ) {
    if (producer.enqueue({ value: VALUE })) sent++
    else await producer.ready()
  }
  await producer.drain()
  return (count / (performance.now() - startedMs)) * 1000
}

async function idempotence(target: BenchTarget): Promise<void> {
  const [ratios, plain]: [number[], number[]] = [[], []]
  const rate = (idempotent: boolean) =>
    withTopic(target, async (topic, client) => {
      const producer = client.producer(topic, { idempotent, acks: 'all' })
      const perSec = await enqueueAll(producer, records)
      await producer.close()
      return perSec
    })
  await rate(true)
  for (let pair = 0; pair < pairs; pair++) {
    // Who goes first takes turns: the machine drifts.
    const first = await rate(pair % 2 === 0)
    const second = await rate(pair % 2 !== 0)
    const [withIt, without] = pair % 2 === 0 ? [first, second] : [second, first]
    ratios.push(withIt / without)
    plain.push(without / 1000)
  }
  report.figure('idempotent / not idempotent', ratios, { unit: '', better: 'higher', digits: 3 })
  report.figure('not idempotent', plain, { unit: 'k/s', better: 'higher', digits: 0 })
}

/** One after the other, until `count` are committed. */
async function commitMany(producer: TransactionalProducer, count: number, perTransaction: number): Promise<void> {
  for (let done = 0; done < count; done++)
    await producer.transaction(async (transaction) => {
      for (let sent = 0; sent < perTransaction; ) {
        if (transaction.enqueue({ value: VALUE })) sent++
        else await transaction.ready()
      }
    })
}

async function sendMany(producer: Producer, count: number): Promise<void> {
  for (let done = 0; done < count; done++) {
    for (let sent = 0; sent < PER_TRANSACTION; )
      if (producer.enqueue({ value: VALUE })) sent++
      else await producer.ready()
    await producer.drain()
  }
}

/** Records a second over all producers. */
async function together<P>(producers: readonly P[], run: (producer: P) => Promise<void>): Promise<number> {
  const startedMs = performance.now()
  await Promise.all(producers.map(run))
  const each = Math.ceil(transactions / producers.length) * PER_TRANSACTION
  return ((each * producers.length) / (performance.now() - startedMs)) * 1000
}

async function hundreds(target: BenchTarget, ids: number): Promise<void> {
  const [rates, toWaiting, toPlain]: [number[], number[], number[]] = [[], [], []]
  const count = Math.ceil(transactions / ids)
  for (let pair = 0; pair < pairs; pair++)
    await withTopic(target, async (topic, client) => {
      const numbers = Array.from({ length: ids }, (_, number) => number)
      const transactional = numbers.map((number) => client.producer(topic, { transactionalId: `${topic}-${number}` }))
      const waiting = numbers.map(() => client.producer(topic))
      await Promise.all([...transactional, ...waiting].map((producer) => producer.ready()))
      await together(transactional, (producer) => commitMany(producer, 1, PER_TRANSACTION))
      const inTransactions = await together(transactional, (producer) => commitMany(producer, count, PER_TRANSACTION))
      const waited = await together(waiting, (producer) => sendMany(producer, count))
      const plain = await enqueueAll(waiting[0]!, count * ids * PER_TRANSACTION)
      rates.push(inTransactions / 1000)
      toWaiting.push(inTransactions / waited)
      toPlain.push(inTransactions / plain)
      await Promise.all([...transactional, ...waiting].map((producer) => producer.close()))
    })
  const name = `${ids} transactional ${ids === 1 ? 'id' : 'ids'}, 100 records each`
  report.figure(name, rates, { unit: 'k/s', better: 'higher' })
  report.figure(`${name} / as many that wait for 100`, toWaiting, { unit: '', better: 'higher', digits: 2 })
  report.figure(`${name} / one that enqueues all`, toPlain, { unit: '', better: 'higher', digits: 2 })
}

async function oneRecord(target: BenchTarget): Promise<void> {
  const [alone, row, sends]: [number[], number[], number[]] = [[], [], []]
  for (let pair = 0; pair < pairs; pair++)
    await withTopic(target, async (topic, client) => {
      const producer = client.producer(topic, { transactionalId: topic })
      const plain = client.producer(topic)
      await Promise.all([producer.ready(), plain.ready()])
      const median = async (work: () => Promise<unknown>, pauseMs = 0): Promise<number> => {
        const ms: number[] = []
        for (let run = 0; run < Math.min(transactions, 500); run++) {
          const startedMs = performance.now()
          await work()
          ms.push(performance.now() - startedMs)
          if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs))
        }
        return ms.sort((left, right) => left - right)[ms.length >> 1]!
      }
      const one = () => producer.transaction((tx) => tx.send({ value: VALUE, partition: 0 }))
      alone.push(await median(one, PAUSE_MS))
      row.push(await median(one))
      sends.push(await median(() => plain.send({ value: VALUE, partition: 0 }), PAUSE_MS))
      await Promise.all([producer.close(), plain.close()])
    })
  const inSends = (times: readonly number[]) => times.map((ms, run) => ms / sends[run]!)
  report.figure('a plain send(), p50', sends, { unit: 'ms', better: 'lower', digits: 2 })
  report.figure('a transaction of one record, alone, p50', alone, { unit: 'ms', better: 'lower', digits: 2 })
  report.figure('the same in times of a send()', inSends(alone), { unit: '', better: 'lower', digits: 1 })
  report.figure('a transaction of one record, in a row, p50', row, { unit: 'ms', better: 'lower', digits: 2 })
  report.figure('the same in times of a send()', inSends(row), { unit: '', better: 'lower', digits: 1 })
}

await withBroker({ profile: 'balanced', fsync: 'group' }, async (target) => {
  await idempotence(target)
  for (const ids of idCounts) await hundreds(target, ids)
  await oneRecord(target)
})
