/** read_committed as a client sees it: what is handed out, where positions stand, and when a reader ends. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Client, type ConsumerOptions, connect } from '../../../src/client/index.ts'
import { BatchWriter } from '../../../src/record/batch-writer.ts'
import { type MarkerType, writeMarker } from '../../../src/record/control-batch.ts'
import { until } from '../../support/expect.ts'
import { type FakeBroker, withFakeBroker } from '../../support/fake-broker.ts'

const decoder = new TextDecoder()

/** One producer's transactions in t/0. */
class Transactions {
  readonly #broker: FakeBroker
  readonly #producerId: number
  #firstOffset = -1

  constructor(broker: FakeBroker, producerId: number) {
    this.#broker = broker
    this.#producerId = producerId
  }

  write(...values: string[]): void {
    const writer = new BatchWriter()
    for (const value of values) writer.append(null, value, null, 1)
    const partition = this.#broker.partition('t', 0)
    if (this.#firstOffset < 0) {
      this.#firstOffset = partition.highWatermark
      partition.openOffset = Math.min(partition.openOffset, this.#firstOffset)
    }
    const producer = { producerId: this.#producerId, producerEpoch: 0, baseSequence: 0 }
    this.#broker.store('t', 0, writer.finish({ ...producer, transactional: true }).slice())
  }

  /** `openOffset`: of the transactions that are still open. */
  end(type: MarkerType, openOffset = Number.POSITIVE_INFINITY): void {
    const partition = this.#broker.partition('t', 0)
    const producer = { producerId: this.#producerId, producerEpoch: 0 }
    const lastOffset = this.#broker.store(
      't',
      0,
      writeMarker({ type, ...producer, coordinatorEpoch: 0, timestampMs: 1 }),
    )
    if (type === 'ABORT')
      partition.aborted.push({ producerId: this.#producerId, firstOffset: this.#firstOffset, lastOffset })
    this.#firstOffset = -1
    partition.openOffset = openOffset
    this.#broker.wake()
  }
}

async function values(mq: Client, options: ConsumerOptions): Promise<string[]> {
  const all: string[] = []
  for await (const record of mq.consume('t', options)) all.push(decoder.decode(record.value!))
  return all
}

test('aborted records are handed out with read_uncommitted only, by every way of reading', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    const [one, two] = [new Transactions(broker, 1), new Transactions(broker, 2)]
    one.write('a', 'b')
    two.write('c')
    one.end('ABORT', 2)
    one.write('d')
    two.end('COMMIT', 4)
    one.end('COMMIT')
    const whole = { from: 'start', to: 'end' } as const
    assert.deepEqual(await values(mq, whole), ['c', 'd'])
    assert.deepEqual(await values(mq, { ...whole, isolation: 'read_uncommitted' }), ['a', 'b', 'c', 'd'])
    assert.deepEqual(
      await values(mq, { ...whole, from: { offset: 1 } }),
      ['c', 'd'],
      'from within an aborted transaction',
    )
    assert.deepEqual(await values(mq, { ...whole, partitionBytesMax: 1 }), ['c', 'd'], 'a batch a fetch')
    const byBatch: number[] = []
    for await (const batch of mq.consume('t', whole).batches()) {
      const reader = batch.reader()
      while (reader.next()) byBatch.push(reader.offset)
      assert.deepEqual(
        [...batch].map(({ offset }) => offset),
        byBatch.slice(byBatch.length - [...batch].length),
      )
    }
    assert.deepEqual(byBatch, [2, 4])
    const streamed: number[] = []
    const reading = mq.consume('t', whole).readable().getReader()
    for (let next = await reading.read(); !next.done; next = await reading.read()) streamed.push(next.value.offset)
    assert.deepEqual(streamed, [2, 4])
  }))

test('a position moves past a tail of markers and aborted records, and the reader ends there', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    const one = new Transactions(broker, 1)
    one.write('kept')
    one.end('COMMIT')
    one.write('gone', 'gone too')
    one.end('ABORT')
    const consumer = mq.consume('t', { from: 'start', to: 'end', partitionBytesMax: 1 })
    const all: string[] = []
    for await (const record of consumer) all.push(decoder.decode(record.value!))
    assert.deepEqual(all, ['kept'])
    assert.deepEqual(
      consumer.positions().map(({ offset, highWatermark }) => [offset, highWatermark]),
      [[5, 5]],
    )
    assert.deepEqual(
      await values(mq, { from: { offset: 2 }, to: 'end' }),
      [],
      'nothing but aborted records and a marker',
    )
  }))

test("to: 'end' is the high watermark when the call began: transactions below it are waited for", () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    const [one, two] = [new Transactions(broker, 1), new Transactions(broker, 2)]
    one.write('a')
    const consumer = mq.consume('t', { from: 'start', to: 'end', waitMs: 50 })
    await consumer.start()
    const all: string[] = []
    const reading = (async () => {
      for await (const record of consumer) all.push(decoder.decode(record.value!))
    })()
    two.write('after the call began')
    assert.deepEqual(all, [])
    one.end('COMMIT', 1)
    await reading
    assert.deepEqual(all, ['a'])
  }))

test("from: 'end' is the last stable offset: what is open then is seen whole when it is committed", () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    const one = new Transactions(broker, 1)
    one.write('first half')
    const consumer = mq.consume('t', { from: 'end', waitMs: 50 })
    await consumer.start()
    assert.equal(consumer.positions()[0]!.offset, 0)
    const uncommitted = mq.consume('t', { from: 'end', isolation: 'read_uncommitted' })
    await uncommitted.start()
    assert.equal(uncommitted.positions()[0]!.offset, 1)
    one.write('second half')
    one.end('COMMIT')
    const records = consumer[Symbol.asyncIterator]()
    assert.equal(decoder.decode((await records.next()).value.value), 'first half')
    assert.equal(decoder.decode((await records.next()).value.value), 'second half')
  }))

test('a group that has read everything has no lag, also with markers and aborted records at the tail', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    const one = new Transactions(broker, 1)
    one.write('kept')
    one.end('COMMIT')
    one.write('gone')
    one.end('ABORT')
    const group = mq.group('g', ['t'], { from: 'start', autoCommitIntervalMs: 10 })
    const seen: string[] = []
    const running = group.run((record) => void seen.push(decoder.decode(record.value!)))
    await until(() => group.stats().partitions[0]?.committedOffset === 4)
    const { lag, partitions } = group.stats()
    assert.equal(lag, 0)
    assert.equal(partitions[0]!.finishedOffset, 4)
    await group.close()
    await running
    assert.deepEqual(seen, ['kept'])
    const offsets = await mq.admin.groups.offsets('g')
    assert.deepEqual(
      offsets.map(({ offset, lag: behind }) => [offset, behind]),
      [[4, 0]],
    )
  }))
