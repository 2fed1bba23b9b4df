/** TransactionService over links that a test answers: the order of effects, fresh ids, and the way of markers. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PartitionRouter, type RoutedTopic, setOffline } from '../../../src/broker/partition-router.ts'
import type { ShardLink } from '../../../src/broker/shard-link.ts'
import { TransactionService, type TransactionServiceContext } from '../../../src/broker/transaction-service.ts'
import type { TopicRecord } from '../../../src/coordination/topics.ts'
import { type ErrorCode, errorNumberOf, MillraceError } from '../../../src/model/errors.ts'
import type { Incarnation, LeaderEpoch, PartitionRef } from '../../../src/model/ids.ts'
import { OFFSETS_TOPIC, TRANSACTIONS_TOPIC } from '../../../src/model/internal-topics.ts'
import { PRODUCER_EPOCH_MAX } from '../../../src/model/limits.ts'
import { TOPIC_CONFIG_DEFAULTS } from '../../../src/model/topic-config.ts'
import { Api, addPartitionsToTxn, endTxn, initProducerId } from '../../../src/protocol/index.ts'
import {
  ControlOperation,
  type MarkersDoneBody,
  type MarkersRow,
  type RegisterProducersBody,
  type TransactionRequestBody,
  type WriteMarkersBody,
} from '../../../src/ring/control-messages.ts'
import { hasCode } from '../../support/expect.ts'
import { topicIdOf } from '../../support/group-fixture.ts'

const incarnation = 1 as Incarnation
const ORDERS = topicIdOf(1)
const producer = { producerId: 7, producerEpoch: 3 }

interface Asked {
  readonly shard: number
  readonly operation: ControlOperation
  readonly body: unknown
  readonly answer: (body: unknown) => void
  readonly refuse: (error: ErrorCode) => void
}

class Fixture {
  readonly router = new PartitionRouter({
    shards: 2,
    nodeId: 1,
    incarnation,
    isAlone: true,
    defaults: TOPIC_CONFIG_DEFAULTS,
  })
  readonly asked: Asked[] = []
  readonly created: string[] = []
  readonly forwarded: number[] = []
  readonly service: TransactionService
  #freshIds = 500

  constructor(peers?: { ask(nodeId: number, codec: unknown, request: unknown): Promise<unknown> }) {
    const links = [0, 1].map((shard) => this.#link(shard))
    const context = {
      ...{ config: { transactions: { statePartitions: 4 } }, router: this.router, links },
      topicService: {
        create: async ({ name, partitions }: { name: string; partitions: number }) => {
          this.created.push(name)
          this.topic(topicIdOf(99), name, partitions)
        },
      },
      groups: {
        coordinatorOf: async () => this.router.byName(OFFSETS_TOPIC)!.partitions[1]!,
        partitionOf: async () => this.router.byName(OFFSETS_TOPIC)!.partitions[0]!,
        forward: async (_groupId: string, api: number, header: Uint8Array) => {
          this.forwarded.push(api)
          return header
        },
      },
      cluster: peers === undefined ? undefined : { peers },
      nextProducerId: async () => this.#freshIds++,
      servingPartition: (topicId: string, number: number) => {
        const partition = this.router.partition(topicId, number)
        if (partition === undefined) throw new MillraceError('UNKNOWN_TOPIC_ID')
        return { partition, link: links[partition.shard]! }
      },
      tell: (link: ShardLink, operation: ControlOperation, body: unknown) => link.control(operation, body),
    }
    this.service = new TransactionService(context as unknown as TransactionServiceContext)
  }

  topic(topicId: TopicRecord['topicId'], name: string, partitions: number): RoutedTopic {
    const leader = {
      leader: 1,
      leaderEpoch: 0 as LeaderEpoch,
      leaderIncarnation: incarnation,
      ...{ inSyncReplicas: [], replicas: [1], eligibleLeaders: [], adding: [], removing: [] },
    }
    const topic = this.router.add({
      ...{ topicId, state: { name, partitions, replicas: 1, config: {}, createdMs: 0 }, modRevision: 1 },
      partitions: Array.from({ length: partitions }, () => leader),
      partitionVersions: Array.from({ length: partitions }, () => 1),
    })
    for (const partition of topic.partitions) partition.state = 'serving'
    return topic
  }

  get link(): ShardLink {
    return this.#link(0)
  }

  /** The next request that came, once the service has got so far. */
  async next(operation: ControlOperation): Promise<Asked> {
    await settled()
    const asked = this.asked.shift()
    assert.equal(asked?.operation, operation)
    return asked!
  }

  #link(shard: number): ShardLink {
    const control = (operation: ControlOperation, body: unknown): Promise<unknown> =>
      new Promise((resolve, reject) => {
        const refuse = (error: ErrorCode) => reject(new MillraceError(error))
        this.asked.push({ shard, operation, body, answer: resolve, refuse })
      })
    return { shard, control } as unknown as ShardLink
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const ADDED = addPartitionsToTxn.encodeReply({ partitions: [] })

function wishOf(...partitions: number[]) {
  return {
    transactionalId: 't',
    ...producer,
    partitions: partitions.map((partition) => ({ topicId: ORDERS, partition })),
  }
}

test('registered when the addition is durable, answered when it is registered', async () => {
  const fixture = new Fixture()
  fixture.topic(ORDERS, 'orders', 3)
  let isAnswered = false
  const reply = fixture.service.addPartitions(wishOf(0, 1, 2)).then((answer) => {
    isAnswered = true
    return answer
  })
  const request = await fixture.next(ControlOperation.TRANSACTION_REQUEST)
  assert.deepEqual(fixture.created, [TRANSACTIONS_TOPIC])
  const body = request.body as TransactionRequestBody
  assert.equal(body.api, Api.ADD_PARTITIONS_TO_TXN)
  assert.deepEqual(
    body.partitions.map(({ partition }) => partition),
    [0, 1, 2],
  )
  await settled()
  assert.equal(fixture.asked.length, 0, 'nothing is registered before')
  request.answer(ADDED)
  await settled()
  const registrations = fixture.asked.splice(0)
  assert.deepEqual(
    registrations.map(({ shard, operation, body }) => {
      const { partitionRefs, ...rest } = body as RegisterProducersBody
      assert.deepEqual(rest, producer)
      return [shard, operation, partitionRefs]
    }),
    [
      [0, ControlOperation.REGISTER_PRODUCERS, [0, 2]],
      [1, ControlOperation.REGISTER_PRODUCERS, [1]],
    ],
  )
  registrations[0]!.answer({})
  await settled()
  assert.equal(isAnswered, false)
  registrations[1]!.answer({})
  assert.deepEqual(
    (await reply).partitions.map(({ errorNumber }) => errorNumber),
    [0, 0, 0],
  )
})

test('a producer is registered again only where its coordinator knows of the partition', async () => {
  const fixture = new Fixture()
  fixture.topic(ORDERS, 'orders', 2)
  const again = () =>
    fixture.service.registerAgain({ transactionalId: 't', ...producer }, { topicId: ORDERS, partition: 1 })
  const known = again()
  const request = await fixture.next(ControlOperation.TRANSACTION_REQUEST)
  const body = request.body as TransactionRequestBody
  assert.equal(addPartitionsToTxn.decodeRequest(body.header).isKnown, true)
  assert.deepEqual(body.partitions, [{ topicId: ORDERS, partition: 1 }])
  request.answer(ADDED)
  const registration = await fixture.next(ControlOperation.REGISTER_PRODUCERS)
  assert.deepEqual(registration.body, { ...producer, partitionRefs: [fixture.router.partition(ORDERS, 1)!.ref] })
  registration.answer({})
  await known
  const unknown = again()
  ;(await fixture.next(ControlOperation.TRANSACTION_REQUEST)).refuse('INVALID_TXN_STATE')
  await assert.rejects(unknown, hasCode('INVALID_TXN_STATE'))
  assert.equal(fixture.asked.length, 0)
})

test('what was deleted while the addition became durable is registered nowhere: its ref may be another partition by then', async () => {
  const fixture = new Fixture()
  const orders = fixture.topic(ORDERS, 'orders', 2)
  const other = topicIdOf(4)
  const kept = fixture.topic(other, 'kept', 1).partitions[0]!
  const wish = wishOf(0, 1)
  const partitions = [...wish.partitions, { topicId: other, partition: 0 }]
  const reply = fixture.service.addPartitions({ ...wish, partitions })
  const request = await fixture.next(ControlOperation.TRANSACTION_REQUEST)
  fixture.router.remove(orders)
  request.answer(ADDED)
  const registration = await fixture.next(ControlOperation.REGISTER_PRODUCERS)
  assert.deepEqual((registration.body as RegisterProducersBody).partitionRefs, [kept.ref])
  registration.answer({})
  await reply
  assert.equal(fixture.asked.length, 0)
})

test('what the coordinator refuses is registered nowhere; what a shard does not register is refused', async () => {
  const fixture = new Fixture()
  fixture.topic(ORDERS, 'orders', 1)
  const fenced = fixture.service.addPartitions(wishOf(0))
  ;(await fixture.next(ControlOperation.TRANSACTION_REQUEST)).refuse('PRODUCER_FENCED')
  await assert.rejects(fenced, hasCode('PRODUCER_FENCED'))
  assert.equal(fixture.asked.length, 0)
  const failed = fixture.service.addPartitions(wishOf(0))
  ;(await fixture.next(ControlOperation.TRANSACTION_REQUEST)).answer(ADDED)
  ;(await fixture.next(ControlOperation.REGISTER_PRODUCERS)).refuse('KAFKA_STORAGE_ERROR')
  await assert.rejects(failed, hasCode('KAFKA_STORAGE_ERROR'))
})

test("a group's offsets: its partition is added and registered before they are sent on", async () => {
  const fixture = new Fixture()
  const offsets = fixture.topic(topicIdOf(2), OFFSETS_TOPIC, 2)
  const commit = { ...producer, groupId: 'g', transactionalId: 't', memberId: '', memberEpoch: -1, instanceId: null }
  const reply = fixture.service.forwardOffsets({ ...commit, topics: [] }, Uint8Array.of(1), {} as never)
  const request = await fixture.next(ControlOperation.TRANSACTION_REQUEST)
  const { partitions, header } = request.body as TransactionRequestBody
  assert.deepEqual(partitions, [{ topicId: topicIdOf(2), partition: 1 }])
  assert.equal(addPartitionsToTxn.decodeRequest(header).isOffsetCommit, true)
  request.answer(ADDED)
  const registration = await fixture.next(ControlOperation.REGISTER_PRODUCERS)
  assert.deepEqual((registration.body as RegisterProducersBody).partitionRefs, [offsets.partitions[1]!.ref])
  assert.deepEqual(fixture.forwarded, [])
  registration.answer({})
  assert.deepEqual([...(await reply)], [1])
  assert.deepEqual(fixture.forwarded, [Api.TXN_OFFSET_COMMIT])
})

test("a group's offsets whose transaction is coordinated by another broker: it is asked as for a commit", async () => {
  const asked: { nodeId: number; request: unknown }[] = []
  const refused = { errorNumber: errorNumberOf('INVALID_TXN_STATE'), errorText: 'none is open' }
  const ask = async (nodeId: number, _codec: unknown, request: unknown) => {
    asked.push({ nodeId, request })
    return { partitions: [refused] }
  }
  const fixture = new Fixture({ ask })
  fixture.topic(topicIdOf(2), OFFSETS_TOPIC, 2)
  for (const partition of fixture.topic(topicIdOf(99), TRANSACTIONS_TOPIC, 4).partitions)
    Object.assign(partition, { state: 'following', leaderNodeId: 2 })
  const commit = { ...producer, groupId: 'g', transactionalId: 't', memberId: '', memberEpoch: -1, instanceId: null }
  const reply = fixture.service.forwardOffsets({ ...commit, topics: [] }, Uint8Array.of(1), {} as never)
  await assert.rejects(reply, hasCode('INVALID_TXN_STATE'))
  const partitions = [{ topicId: topicIdOf(2), partition: 1 }]
  const request = { transactionalId: 't', ...producer, partitions, isKnown: false, isOffsetCommit: true }
  assert.deepEqual(asked, [{ nodeId: 2, request }])
  assert.deepEqual(fixture.forwarded, [])
})

test('a broker that asks for a commit has that said to the coordinator', async () => {
  const fixture = new Fixture()
  fixture.topic(ORDERS, 'orders', 1)
  const added = fixture.service.addPartitions({ ...wishOf(0), isOffsetCommit: true }, 'broker')
  const request = await fixture.next(ControlOperation.TRANSACTION_REQUEST)
  const { header } = request.body as TransactionRequestBody
  assert.equal(addPartitionsToTxn.decodeRequest(header).isOffsetCommit, true)
  request.refuse('INVALID_TXN_STATE')
  await assert.rejects(added, hasCode('INVALID_TXN_STATE'))
})

test("a group's offsets as Kafka's clients add them: the partition alone, wherever the group is coordinated", async () => {
  const fixture = new Fixture()
  const offsets = fixture.topic(topicIdOf(2), OFFSETS_TOPIC, 2)
  const added = fixture.service.addOffsets({ ...producer, transactionalId: 't', groupId: 'g' })
  const request = await fixture.next(ControlOperation.TRANSACTION_REQUEST)
  const { partitions, header } = request.body as TransactionRequestBody
  assert.deepEqual(partitions, [{ topicId: topicIdOf(2), partition: 0 }])
  assert.equal(addPartitionsToTxn.decodeRequest(header).isOffsetCommit, undefined)
  request.answer(ADDED)
  const registration = await fixture.next(ControlOperation.REGISTER_PRODUCERS)
  assert.deepEqual((registration.body as RegisterProducersBody).partitionRefs, [offsets.partitions[0]!.ref])
  registration.answer({})
  await added
  assert.deepEqual(fixture.forwarded, [])
})

test('who asks in the protocol of Kafka is classic, with the id and epoch it has or none', async () => {
  const fixture = new Fixture()
  const classicOf = async (more: object): Promise<unknown> => {
    const asked = fixture.service.initProducer({ transactionalId: 't', transactionTimeoutMs: 1_000, ...more })
    const request = await fixture.next(ControlOperation.TRANSACTION_REQUEST)
    request.answer(initProducerId.encodeReply(producer))
    await asked
    return (request.body as TransactionRequestBody).classic
  }
  assert.equal(await classicOf({}), undefined)
  assert.deepEqual(await classicOf({ isClassic: true }), { producerId: -1, producerEpoch: -1 })
  assert.deepEqual(await classicOf({ isClassic: true, ...producer }), producer)
})

test('a fresh producer id goes along where one may be needed, and nowhere else', async () => {
  const fixture = new Fixture()
  const freshOf = async (call: Promise<unknown>): Promise<number> => {
    const request = await fixture.next(ControlOperation.TRANSACTION_REQUEST)
    request.answer(endTxn.encodeReply(producer))
    await call
    return (request.body as TransactionRequestBody).freshProducerId
  }
  const end = (producerEpoch: number) =>
    fixture.service.end({ transactionalId: 't', producerId: 7, producerEpoch, isCommit: true })
  assert.equal(await freshOf(fixture.service.initProducer({ transactionalId: 't', transactionTimeoutMs: 1_000 })), 500)
  assert.equal(await freshOf(end(PRODUCER_EPOCH_MAX - 2)), -1)
  assert.equal(await freshOf(end(PRODUCER_EPOCH_MAX - 1)), 501)
  assert.equal(initProducerId.api, Api.INIT_PRODUCER_ID)
})

test('markers go to the shards of their partitions; what is gone is done, what does not serve has failed', async () => {
  const fixture = new Fixture()
  const orders = fixture.topic(ORDERS, 'orders', 4)
  setOffline(orders.partitions[3]!, 'the disk is gone')
  const rowOf = (transactionalId: string, topicId: TopicRecord['topicId'], ...numbers: number[]): MarkersRow => ({
    ...{ transactionalId, ...producer, coordinatorEpoch: 2, isCommit: true, isClassic: false },
    partitions: numbers.map((partition) => ({ topicId, partition })),
  })
  const rows = [rowOf('a', ORDERS, 0, 1, 2), rowOf('b', ORDERS, 1, 3), rowOf('c', topicIdOf(8), 0)]
  const done = fixture.service.writeMarkers(fixture.link, 9 as PartitionRef, rows)
  await settled()
  const writes = fixture.asked.splice(0)
  assert.deepEqual(
    writes.map(({ shard, body }) => [
      shard,
      (body as WriteMarkersBody).markers.map(({ partitionRef }) => partitionRef),
    ]),
    [
      [0, [0, 2]],
      [1, [1, 1]],
    ],
  )
  writes[0]!.answer({ errorNumbers: [0, 47] })
  writes[1]!.refuse('OVERLOADED')
  const told = await fixture.next(ControlOperation.MARKERS_DONE)
  told.answer({})
  await done
  const body = told.body as MarkersDoneBody
  assert.equal(body.partitionRef, 9)
  assert.deepEqual(
    body.rows.map(({ transactionalId, done, fault }) => [
      transactionalId,
      done.map(({ partition }) => partition),
      fault,
    ]),
    [
      ['a', [0], 'orders-2: INVALID_PRODUCER_EPOCH'],
      ['b', [], 'orders-3: KAFKA_STORAGE_ERROR: the disk is gone'],
      ['c', [0], ''],
    ],
  )
})

test('when the broker starts, every coordinator that serves is loaded', async () => {
  const fixture = new Fixture()
  fixture.service.start()
  assert.equal(fixture.asked.length, 0, 'nobody has had a transaction yet')
  const topic = fixture.topic(topicIdOf(3), TRANSACTIONS_TOPIC, 4)
  setOffline(topic.partitions[2]!, 'damaged')
  fixture.service.start()
  const refs = fixture.asked.map(({ operation, body }) => {
    assert.equal(operation, ControlOperation.LOAD_TRANSACTIONS)
    return (body as { partitionRef: number }).partitionRef
  })
  assert.deepEqual(refs, [0, 1, 3])
})
