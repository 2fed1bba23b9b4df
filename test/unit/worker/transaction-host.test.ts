/** TransactionHost on a whole shard: decided, durable, told; markers on their way and again; requests that wait for the end of a transaction. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import '../../../src/base/node/native-crc32c.ts'
import { FaultyFileSystem } from '../../../src/io/faulty-file-system.ts'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import type { PartitionRef } from '../../../src/model/ids.ts'
import { addPartitionsToTxn, type Codec, endTxn, initProducerId, unwrapReply } from '../../../src/protocol/index.ts'
import { ControlOperation, type MarkersRow, type TransactionRequestBody } from '../../../src/ring/control-messages.ts'
import { topicIdOf } from '../../support/group-fixture.ts'
import { type ControlAnswer, ShardFixture, type ShardFixtureOptions } from '../../support/shard-fixture.ts'
import { identityOf } from '../../support/transaction-fixture.ts'

const COORDINATOR = 0 as PartitionRef
const TOPIC = topicIdOf(1)

class Fixture extends ShardFixture {
  #freshIds = 1_000
  #noticesTaken = 0

  constructor(options: ShardFixtureOptions = {}) {
    super(options)
    this.open(2, { retentionMs: -1 })
  }

  init(transactionalId = 't', transactionTimeoutMs = 60_000): number {
    return this.#ask(initProducerId, { transactionalId, transactionTimeoutMs }, { freshProducerId: this.#freshIds++ })
  }

  add(identity: string, partitions: readonly number[], transactionalId = 't'): number {
    const request = { transactionalId, ...identityOf(identity), partitions: [] }
    const named = partitions.map((partition) => ({ topicId: TOPIC, partition }))
    return this.#ask(addPartitionsToTxn, request, { partitions: named })
  }

  end(identity: string, isCommit = true, transactionalId = 't'): number {
    return this.#ask(endTxn, { transactionalId, ...identityOf(identity), isCommit }, {})
  }

  /** `1000/3`, `added`, or an error. */
  told(requestId: number): string {
    return show(this.answer(requestId) as ControlAnswer)
  }

  toldAlready(requestId: number): string | undefined {
    const answer = this.peek(requestId) as ControlAnswer | undefined
    return answer === undefined ? undefined : show(answer)
  }

  /** Rows of the 'write-markers' notices since the last call. */
  markers(): readonly MarkersRow[] {
    this.settle()
    const notices = this.notices.slice(this.#noticesTaken)
    this.#noticesTaken = this.notices.length
    return notices.flatMap((notice) => (notice.kind === 'write-markers' ? notice.rows : []))
  }

  written(row: MarkersRow, fault = ''): void {
    const { transactionalId, producerId, producerEpoch } = row
    const done = fault === '' ? row.partitions : []
    const rows = [{ transactionalId, producerId, producerEpoch, done, fault }]
    this.control(ControlOperation.MARKERS_DONE, { partitionRef: COORDINATOR, rows })
  }

  #ask<Request>(codec: Codec<Request, unknown>, request: Request, extras: Partial<TransactionRequestBody>): number {
    const body: TransactionRequestBody = {
      ...{ partitionRef: COORDINATOR, api: codec.api, header: codec.encodeRequest(request) },
      ...{ freshProducerId: -1, partitions: [], ...extras },
    }
    return this.sendControl(ControlOperation.TRANSACTION_REQUEST, body)
  }
}

function show({ error, body }: ControlAnswer): string {
  if (error !== 'NONE') return error
  const header = body as Uint8Array
  try {
    const { producerId, producerEpoch } = unwrapReply(endTxn.decodeReply(header))
    return `${producerId}/${producerEpoch}`
  } catch {
    return unwrapReply(addPartitionsToTxn.decodeReply(header)).partitions.length === 0 ? 'added' : 'parts'
  }
}

function showRow({ transactionalId, isCommit, producerId, producerEpoch, partitions }: MarkersRow): string {
  const numbers = partitions.map(({ partition }) => partition).join(' ')
  return `${transactionalId} ${isCommit ? 'COMMIT' : 'ABORT'} ${producerId}/${producerEpoch}: ${numbers}`
}

/** An open transaction of 1000/0 in partitions 4 and 5. */
function ongoing(options: ShardFixtureOptions = {}): Fixture {
  const shard = new Fixture(options)
  assert.equal(shard.told(shard.init()), '1000/0')
  assert.equal(shard.told(shard.add('1000/0', [4, 5])), 'added')
  return shard
}

test('nothing is told, and no marker leaves, before the decision is synced', () => {
  const shard = ongoing()
  const ended = shard.end('1000/0')
  for (let turn = 0; turn < 20; turn++) shard.shard.doWork()
  shard.drain()
  assert.equal(shard.toldAlready(ended), undefined, 'nothing is synced yet')
  assert.equal(shard.notices.filter(({ kind }) => kind === 'write-markers').length, 0)
  assert.equal(shard.told(ended), '1000/1')
  const rows = shard.markers()
  assert.deepEqual(rows.map(showRow), ['t COMMIT 1000/1: 4 5'])
  assert.equal(rows[0]?.coordinatorEpoch, 3, 'the leader epoch of the partition')
})

test('what finds the transaction being ended waits for its end', () => {
  const shard = ongoing()
  shard.told(shard.end('1000/0'))
  const added = shard.add('1000/1', [6])
  const other = shard.init('u')
  assert.equal(shard.told(other), '1001/0', 'others do not wait')
  assert.equal(shard.toldAlready(added), undefined)
  shard.written(shard.markers()[0]!)
  assert.equal(shard.told(added), 'added')
  assert.equal(shard.told(shard.end('1000/1')), '1000/2')
  assert.deepEqual(shard.markers().map(showRow), ['t COMMIT 1000/2: 6'])
})

test('it waits for some seconds at most, and an end that comes after is no longer its business', () => {
  const shard = ongoing()
  shard.told(shard.end('1000/0'))
  const added = shard.add('1000/1', [6])
  shard.settle()
  shard.pass(2_900)
  assert.equal(shard.toldAlready(added), undefined)
  shard.pass(200)
  assert.equal(shard.toldAlready(added), 'CONCURRENT_TRANSACTIONS')
  shard.written(shard.markers()[0]!)
  assert.equal(shard.told(shard.add('1000/1', [7])), 'added')
  shard.told(shard.end('1000/1', false))
  assert.deepEqual(shard.markers().map(showRow), ['t ABORT 1000/2: 7'], 'what was refused was not added')
})

test('init-producer-id during a transaction: aborted, waited for, answered with the epoch after', () => {
  const shard = ongoing()
  const [first, second] = [shard.init(), shard.init()]
  const rows = shard.markers()
  assert.deepEqual(rows.map(showRow), ['t ABORT 1000/1: 4 5'])
  assert.equal(shard.toldAlready(first), undefined)
  shard.written(rows[0]!)
  assert.deepEqual([shard.told(first), shard.told(second)], ['1000/2', '1000/3'], 'in their order')
  assert.equal(shard.told(shard.end('1000/0')), 'PRODUCER_FENCED')
})

test('markers that could not be written are sent again, later', () => {
  const shard = ongoing()
  shard.told(shard.end('1000/0'))
  shard.written(shard.markers()[0]!, 'orders-4: KAFKA_STORAGE_ERROR')
  assert.deepEqual(shard.markers(), [])
  shard.pass(110)
  assert.deepEqual(shard.markers().map(showRow), ['t COMMIT 1000/1: 4 5'])
  assert.ok(shard.notices.some((notice) => notice.kind === 'log' && /orders-4: KAFKA_STORAGE_ERROR/.test(notice.text)))
})

test('a transaction that is open too long is aborted without anybody asking', () => {
  const shard = ongoing()
  shard.pass(59_000)
  assert.deepEqual(shard.markers(), [])
  shard.pass(1_100)
  assert.deepEqual(shard.markers().map(showRow), ['t ABORT 1000/1: 4 5'])
  assert.equal(shard.shard.stats().transactionTimeouts, 1)
})

test('a decision that could not be stored is none; the coordinator comes back by itself, and so do its markers and timeouts', () => {
  const files = new FaultyFileSystem(new MemoryFileSystem())
  const shard = ongoing({ files })
  shard.told(shard.end('1000/0'))
  const waiting = shard.add('1000/1', [6])
  assert.equal(shard.markers().length, 1)
  assert.equal(shard.told(shard.init('u')), '1001/0')
  assert.equal(shard.told(shard.add('1001/0', [9], 'u')), 'added')
  files.inject({ on: 'write', path: '.log', effect: { kind: 'fail', code: 'ENOSPC' } })
  assert.equal(shard.told(shard.end('1001/0', true, 'u')), 'COORDINATOR_NOT_AVAILABLE')
  assert.equal(shard.told(waiting), 'COORDINATOR_NOT_AVAILABLE', 'who waited is told')
  assert.deepEqual(shard.markers(), [], 'nothing of it went out')
  shard.pass(1_100)
  assert.deepEqual(shard.markers().map(showRow), ['t COMMIT 1000/1: 4 5'], 'from Prepare on, again')
  shard.pass(60_000)
  assert.ok(shard.markers().map(showRow).includes('u ABORT 1001/1: 9'))
})

test('a coordinator that nobody asks is loaded when the gateway says so', () => {
  const files = new FaultyFileSystem(new MemoryFileSystem())
  const shard = ongoing({ files })
  files.inject({ on: 'write', path: '.log', effect: { kind: 'fail', code: 'ENOSPC' } })
  assert.equal(shard.told(shard.init('u')), 'COORDINATOR_NOT_AVAILABLE')
  assert.equal(shard.shard.stats().coordinatedOpen, 0)
  assert.equal(shard.control(ControlOperation.LOAD_TRANSACTIONS, { partitionRef: 0 }).error, 'NONE')
  shard.settle()
  assert.equal(shard.shard.stats().coordinatedOpen, 1)
  assert.equal(shard.control(ControlOperation.LOAD_TRANSACTIONS, { partitionRef: 7 }).error, 'NOT_COORDINATOR')
})

test('markers of many transactions leave together, and none larger than a frame', () => {
  const shard = new Fixture()
  const count = 300
  const inits = Array.from({ length: count }, (_, index) => shard.init(`t${index}`))
  const identities = inits.map((requestId) => shard.told(requestId))
  const partitions = Array.from({ length: 40 }, (_, index) => index)
  const adds = identities.map((identity, index) => shard.add(identity, partitions, `t${index}`))
  for (const added of adds) assert.equal(shard.told(added), 'added')
  const ends = identities.map((identity, index) => shard.end(identity, true, `t${index}`))
  for (const ended of ends) shard.told(ended)
  const notices = shard.notices.filter((notice) => notice.kind === 'write-markers')
  assert.ok(notices.length < 20, `${notices.length} notices`)
  assert.equal(new Set(notices.flatMap(({ rows }) => rows.map(({ transactionalId }) => transactionalId))).size, count)
  const { transactionalIds, coordinatedEnding, coordinatedCommits } = shard.shard.stats()
  assert.deepEqual([transactionalIds, coordinatedEnding, coordinatedCommits], [count, count, count])
})

test('a partition that goes takes its coordinator along: who waits is told', () => {
  const shard = ongoing()
  shard.told(shard.end('1000/0'))
  const waiting = shard.add('1000/1', [6])
  shard.settle()
  assert.equal(shard.control(ControlOperation.DELETE_PARTITION, { partitionRef: 0 }).error, 'NONE')
  assert.equal(shard.told(waiting), 'NOT_COORDINATOR')
  assert.equal(shard.told(shard.init()), 'NOT_COORDINATOR')
})

test('what is none is refused', () => {
  const shard = ongoing()
  const body = { partitionRef: COORDINATOR, api: 99, header: new Uint8Array(0), freshProducerId: -1, partitions: [] }
  const unknown = shard.sendControl(ControlOperation.TRANSACTION_REQUEST, body)
  assert.equal(shard.told(unknown), 'UNKNOWN_API')
  const garbled = shard.sendControl(ControlOperation.TRANSACTION_REQUEST, { ...body, api: endTxn.api })
  assert.equal(shard.told(garbled), 'INVALID_REQUEST')
  assert.equal(shard.told(shard.init('v', 0)), 'INVALID_TRANSACTION_TIMEOUT')
})
