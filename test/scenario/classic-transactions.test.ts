/** Transactions as Kafka's clients have them, in a whole broker: one epoch for many, KIP-360, fencing, timeouts, offsets (X8). */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { utf8Encode } from '../../src/base/bytes.ts'
import { systemPrng } from '../../src/base/node/system-prng.ts'
import { callerOf } from '../../src/broker/caller.ts'
import type { InitProducer, TransactionService } from '../../src/broker/transaction-service.ts'
import { inProcessConfig } from '../../src/in-process/in-process-config.ts'
import { InThreadBroker } from '../../src/in-process/in-thread-broker.ts'
import { MemoryDisk } from '../../src/in-process/local-storage.ts'
import { SILENT } from '../../src/in-process/silent-logger.ts'
import { systemTime } from '../../src/in-process/time-source.ts'
import { type ErrorCode, errorCodeOf, isMillraceError } from '../../src/model/errors.ts'
import type { TopicId } from '../../src/model/ids.ts'
import * as protocol from '../../src/protocol/index.ts'
import { BatchWriter } from '../../src/record/batch-writer.ts'
import { readCommitted } from '../support/bare-producer.ts'
import { hasCode } from '../support/expect.ts'
import { BareClient } from '../support/gateway-fixture.ts'
import { until } from '../support/until.ts'

const PATIENCE_MS = 30_000
const CALLER = callerOf('classic', '127.0.0.1', 0)

interface Opened {
  readonly transactions: TransactionService
  readonly client: BareClient
  readonly topicId: TopicId
}

/** A broker of two shards, a topic `t` of three partitions, and what Kafka's listener would call. */
async function withBroker(work: (opened: Opened) => Promise<void>): Promise<void> {
  const disk = new MemoryDisk({ nowMs: () => systemTime.nowMs(), memoryBytesMax: undefined })
  const broker = new InThreadBroker({
    ...{ config: await inProcessConfig(), shards: 2, time: systemTime, prng: systemPrng(), logger: SILENT },
    newId: () => randomBytes(16).toString('hex'),
    storage: async () => disk.storage(),
  })
  await broker.start()
  await broker.gateway.listen({ host: '127.0.0.1', port: 0 })
  const client = await BareClient.hello(broker.gateway.url)
  try {
    const wish = { name: 't', partitions: 3, replicas: -1, config: {}, validateOnly: false, ifNotExists: false }
    const { topicId } = await client.call(protocol.createTopic, wish)
    await work({ transactions: broker.gateway.transactions, client, topicId })
  } finally {
    client.close()
    await broker.stop()
  }
}

/** What a Kafka client does: sequences go on from one transaction to the next. */
class ClassicProducer {
  identity: protocol.ProducerIdentity = { producerId: -1, producerEpoch: -1 }
  readonly #opened: Opened
  readonly #sequences = new Map<number, number>()
  readonly transactionalId: string

  constructor(opened: Opened, transactionalId = 'x') {
    this.#opened = opened
    this.transactionalId = transactionalId
  }

  get #asking() {
    return { transactionalId: this.transactionalId, ...this.identity }
  }

  async init(more: Partial<InitProducer> = {}): Promise<number> {
    const { transactionalId } = this
    const wish = { transactionalId, transactionTimeoutMs: 60_000, isClassic: true, ...more }
    this.identity = await patiently(() => this.#opened.transactions.initProducer(wish))
    this.#sequences.clear()
    return this.identity.producerEpoch
  }

  async add(...partitions: number[]): Promise<void> {
    const { topicId, transactions } = this.#opened
    const named = partitions.map((partition) => ({ topicId, partition }))
    const reply = await patiently(() => transactions.addPartitions({ ...this.#asking, partitions: named }))
    for (const { errorNumber } of reply.partitions) assert.equal(errorNumber, 0)
  }

  async produce(partition: number, value: string): Promise<ErrorCode> {
    const baseSequence = this.#sequences.get(partition) ?? 0
    const writer = new BatchWriter({})
    writer.append(null, utf8Encode(value), null, 1_000)
    const batch = writer.finish({ ...this.identity, baseSequence, transactional: true }).slice()
    const part = { topicId: this.#opened.topicId, partition, leaderEpoch: -1, batchBytes: batch.length }
    const request = { acks: -1 as const, timeoutMs: 10_000, parts: [part] }
    const { errorNumber } = (await this.#opened.client.call(protocol.produce, request, [batch])).parts[0]!
    if (errorNumber === 0) this.#sequences.set(partition, baseSequence + 1)
    return errorCodeOf(errorNumber)
  }

  async end(isCommit = true): Promise<void> {
    const reply = await patiently(() => this.#opened.transactions.end({ ...this.#asking, isCommit }))
    assert.deepEqual(reply, this.identity, 'its epoch stays')
  }

  async addOffsets(groupId: string): Promise<void> {
    await patiently(() => this.#opened.transactions.addOffsets({ ...this.#asking, groupId }))
  }

  async commitOffsets(groupId: string, offset: number): Promise<ErrorCode[]> {
    const partitions = [{ partition: 0, offset, leaderEpoch: -1, metadata: 'm' }]
    const request = {
      ...{ ...this.#asking, groupId, memberId: '', memberEpoch: -1, instanceId: null },
      topics: [{ topicId: '' as const, topic: 't', partitions }],
    }
    const { topics } = await patiently(() => this.#opened.transactions.commitOffsets(request, CALLER))
    return topics.flatMap((topic) => topic.partitions.map(({ errorNumber }) => errorCodeOf(errorNumber)))
  }
}

/** As clients do while the transaction before is being ended, or a coordinator comes up. */
async function patiently<Reply>(ask: () => Promise<Reply>): Promise<Reply> {
  for (let attempt = 1; ; attempt++)
    try {
      return await ask()
    } catch (error) {
      const isPassing = isMillraceError(error) && PASSING.includes(error.code)
      if (!isPassing || attempt === 50) throw error
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
}

const PASSING: readonly ErrorCode[] = ['CONCURRENT_TRANSACTIONS', 'COORDINATOR_LOAD_IN_PROGRESS']

/** Values that were committed, once all that began is decided. */
async function committed({ client, topicId }: Opened, partition: number): Promise<string[]> {
  let values: string[] = []
  await until('everything is decided', PATIENCE_MS, async () => {
    const view = await readCommitted(client, topicId, partition)
    values = view.values
    return view.lastStableOffset === view.highWatermark
  })
  return values
}

test('many transactions of one epoch: what is committed is read, what is aborted is not, sequences go on', () =>
  withBroker(async (opened) => {
    const producer = new ClassicProducer(opened)
    assert.equal(await producer.init(), 0)
    for (let round = 0; round < 6; round++) {
      await producer.add(0, 1)
      assert.equal(await producer.produce(0, `a${round}`), 'NONE')
      assert.equal(await producer.produce(0, `b${round}`), 'NONE')
      if (round % 2 === 0) assert.equal(await producer.produce(1, `c${round}`), 'NONE')
      if (round === 0) assert.deepEqual((await readCommitted(opened.client, opened.topicId, 0)).values, [])
      await producer.end(round % 3 !== 1)
    }
    assert.deepEqual(await committed(opened, 0), ['a0', 'b0', 'a2', 'b2', 'a3', 'b3', 'a5', 'b5'])
    assert.deepEqual(await committed(opened, 1), ['c0', 'c2'])
    assert.equal(producer.identity.producerEpoch, 0)
  }))

test("ends as Kafka has them: none without a transaction, the same again, never the other's", () =>
  withBroker(async (opened) => {
    const producer = new ClassicProducer(opened)
    await producer.init()
    await assert.rejects(producer.end(), hasCode('INVALID_TXN_STATE'))
    assert.equal(await producer.produce(0, 'stray'), 'INVALID_TXN_STATE')
    await producer.add(0)
    assert.equal(await producer.produce(0, 'a'), 'NONE')
    await producer.end()
    await producer.end()
    await assert.rejects(producer.end(false), hasCode('INVALID_TXN_STATE'))
    assert.equal(await producer.produce(0, 'late'), 'INVALID_TXN_STATE')
    await producer.add(0)
    await producer.end(false)
    assert.deepEqual(await committed(opened, 0), ['a'])
  }))

test('a second producer of the id fences the first, whose transaction is aborted', () =>
  withBroker(async (opened) => {
    const zombie = new ClassicProducer(opened)
    await zombie.init()
    await zombie.add(0, 2)
    assert.equal(await zombie.produce(0, 'zombie'), 'NONE')
    const heir = new ClassicProducer(opened)
    // Epoch 1 is that of the abort.
    assert.equal(await heir.init(), 2)
    assert.equal(heir.identity.producerId, zombie.identity.producerId)
    assert.equal(await zombie.produce(0, 'late'), 'INVALID_PRODUCER_EPOCH')
    assert.notEqual(await zombie.produce(2, 'late'), 'NONE')
    for (const isCommit of [true, false]) await assert.rejects(zombie.end(isCommit), hasCode('PRODUCER_FENCED'))
    await assert.rejects(zombie.add(1), hasCode('PRODUCER_FENCED'))
    await assert.rejects(zombie.addOffsets('g'), hasCode('PRODUCER_FENCED'))
    await heir.add(0)
    assert.equal(await heir.produce(0, 'heir'), 'NONE')
    await heir.end()
    assert.deepEqual(await committed(opened, 0), ['heir'])
    assert.deepEqual(await committed(opened, 2), [])
  }))

test('a transaction that is open too long is aborted, and its producer is fenced', () =>
  withBroker(async (opened) => {
    const slow = new ClassicProducer(opened)
    await slow.init({ transactionTimeoutMs: 200 })
    await slow.add(0)
    assert.equal(await slow.produce(0, 'slow'), 'NONE')
    assert.deepEqual(await committed(opened, 0), [])
    await assert.rejects(slow.end(), hasCode('PRODUCER_FENCED'))
    assert.equal(await slow.produce(0, 'later'), 'INVALID_PRODUCER_EPOCH')
    assert.equal(await slow.init(), 2)
    await slow.add(0)
    assert.equal(await slow.produce(0, 'again'), 'NONE')
    await slow.end()
    assert.deepEqual(await committed(opened, 0), ['again'])
  }))

test('the id and epoch that a producer has: bumped once, told again, fenced when they are old (KIP-360)', () =>
  withBroker(async (opened) => {
    const producer = new ClassicProducer(opened)
    // What some clients send that have none yet.
    assert.equal(await producer.init({ producerId: 0, producerEpoch: 0 }), 0)
    const first = producer.identity
    assert.equal(await producer.init(first), 1)
    assert.equal(await producer.init(first), 1, 'asked again')
    assert.equal(await producer.init(producer.identity), 2)
    await assert.rejects(producer.init(first), hasCode('PRODUCER_FENCED'))
    const other = { producerId: first.producerId + 1, producerEpoch: 2 }
    await assert.rejects(producer.init(other), hasCode('PRODUCER_FENCED'))
    await assert.rejects(producer.init({ producerId: first.producerId }), hasCode('INVALID_REQUEST'))
    await assert.rejects(producer.init({ producerEpoch: 2 }), hasCode('INVALID_REQUEST'))
    // In the middle of a transaction: aborted, and the producer hears of the epoch after.
    await producer.add(0)
    assert.equal(await producer.produce(0, 'open'), 'NONE')
    assert.equal(await producer.init(producer.identity), 3)
    assert.deepEqual(await committed(opened, 0), [])
  }))

test('what no producer has is refused as a coordinator would: timeouts, ids, epochs, the empty id', () =>
  withBroker(async (opened) => {
    const producer = new ClassicProducer(opened)
    for (const transactionTimeoutMs of [-1, 0, 900_001])
      await assert.rejects(producer.init({ transactionTimeoutMs }), hasCode('INVALID_TRANSACTION_TIMEOUT'))
    await assert.rejects(producer.init({ transactionalId: '' }), hasCode('INVALID_REQUEST'))
    await assert.rejects(producer.add(0), hasCode('INVALID_PRODUCER_ID_MAPPING'))
    await assert.rejects(producer.end(), hasCode('INVALID_PRODUCER_ID_MAPPING'))
    producer.identity = { producerId: 12_345, producerEpoch: 0 }
    await assert.rejects(producer.addOffsets('g'), hasCode('INVALID_PRODUCER_ID_MAPPING'))
    await producer.init()
    producer.identity = { ...producer.identity, producerEpoch: 32_767 }
    await assert.rejects(producer.add(0), hasCode('PRODUCER_FENCED'))
    producer.identity = { ...producer.identity, producerEpoch: -1 }
    await assert.rejects(producer.commitOffsets('g', 1), hasCode('PRODUCER_FENCED'))
  }))

test("a group's offsets are published by the commit, and dropped by the abort", () =>
  withBroker(async (opened) => {
    const producer = new ClassicProducer(opened)
    await producer.init()
    const offsetOf = async (requireStable: boolean): Promise<number | ErrorCode> => {
      const request = { groupId: 'g', memberId: '', memberEpoch: -1, requireStable, topics: null }
      const { topics } = await patiently(() => opened.client.call(protocol.offsetFetch, request))
      const part = topics[0]?.partitions[0]
      if (part === undefined) return -1
      return part.errorNumber === 0 ? part.offset : errorCodeOf(part.errorNumber)
    }
    for (const [offset, isCommit] of [
      [5, true],
      [7, false],
      [9, true],
    ] as const) {
      await producer.addOffsets('g')
      assert.deepEqual(await producer.commitOffsets('g', offset), ['NONE'])
      if (offset === 7) assert.equal(await offsetOf(false), 5)
      await producer.end(isCommit)
      if (offset === 7) continue
      await until(`offset ${offset}`, PATIENCE_MS, async () => (await offsetOf(true)) === offset)
    }
  }))

test('offsets are committed in the transaction they were added to, in no other', () =>
  withBroker(async (opened) => {
    const producer = new ClassicProducer(opened)
    await producer.init()
    const offsetOf = async (): Promise<number | undefined> => {
      const request = { groupId: 'g', memberId: '', memberEpoch: -1, requireStable: true, topics: null }
      const { topics } = await patiently(() => opened.client.call(protocol.offsetFetch, request))
      return topics[0]?.partitions[0]?.offset
    }
    await assert.rejects(producer.commitOffsets('g', 1), hasCode('INVALID_TXN_STATE'))
    await producer.add(0)
    assert.equal(await producer.produce(0, 'a'), 'NONE')
    await assert.rejects(producer.commitOffsets('g', 2), hasCode('INVALID_TXN_STATE'))
    await producer.addOffsets('g')
    await producer.end(false)
    // Of the transaction that was aborted.
    await assert.rejects(producer.commitOffsets('g', 5), hasCode('INVALID_TXN_STATE'))
    const isEnded = async () => (await opened.transactions.describe('x')).state === 'CompleteAbort'
    await until('it is complete', PATIENCE_MS, isEnded)
    await assert.rejects(producer.commitOffsets('g', 5), hasCode('INVALID_TXN_STATE'))
    assert.equal((await opened.transactions.describe('x')).state, 'CompleteAbort')
    await producer.add(0)
    assert.equal(await producer.produce(0, 'b'), 'NONE')
    await producer.end()
    assert.deepEqual(await committed(opened, 0), ['b'])
    assert.equal(await offsetOf(), undefined)
    await producer.addOffsets('g')
    assert.deepEqual(await producer.commitOffsets('g', 9), ['NONE'])
    await producer.end()
    await until('offset 9', PATIENCE_MS, async () => (await offsetOf()) === 9)
  }))

test('what is told of transactional ids: which there are, what they do, and where', () =>
  withBroker(async (opened) => {
    const { transactions } = opened
    const all = { states: [], producerIds: [], longerThanMs: -1 }
    await assert.rejects(transactions.describe('x'), hasCode('TRANSACTIONAL_ID_NOT_FOUND'))
    assert.deepEqual(await transactions.list(all), [])
    const ids = ['x', 'y', 'z', 'w']
    for (const id of ids) await new ClassicProducer(opened, id).init()
    const producer = new ClassicProducer(opened, 'x')
    await producer.init()
    await producer.add(2, 0)
    await producer.addOffsets('g')
    const listed = await transactions.list(all)
    assert.deepEqual(listed.map(({ transactionalId }) => transactionalId).toSorted(), ids.toSorted())
    assert.deepEqual(await transactions.list({ ...all, states: ['Ongoing'] }), [
      { transactionalId: 'x', producerId: producer.identity.producerId, state: 'Ongoing' },
    ])
    const { partitions, startTimeMs, ...rest } = await transactions.describe('x')
    assert.deepEqual(rest, { ...producer.identity, transactionalId: 'x', state: 'Ongoing', timeoutMs: 60_000 })
    assert.ok(Math.abs(startTimeMs - Date.now()) < PATIENCE_MS)
    const names = partitions.map(({ topic, partition }) => (topic === 't' ? `t-${partition}` : topic))
    assert.deepEqual(names.toSorted(), ['__consumer_offsets', 't-0', 't-2'])
    await producer.end()
    await until(
      'it is complete',
      PATIENCE_MS,
      async () => (await transactions.describe('x')).state === 'CompleteCommit',
    )
    assert.deepEqual((await transactions.describe('x')).partitions, [])
    await assert.rejects(transactions.describe('nobody'), hasCode('TRANSACTIONAL_ID_NOT_FOUND'))
  }))
