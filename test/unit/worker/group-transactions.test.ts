/** Offsets of transactions on a whole shard: from the request to the log, to the marker, and back from the log. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import '../../../src/base/node/native-crc32c.ts'
import { FaultyFileSystem } from '../../../src/io/faulty-file-system.ts'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { errorCodeOf } from '../../../src/model/errors.ts'
import type { PartitionRef } from '../../../src/model/ids.ts'
import { offsetFetch, txnOffsetCommit } from '../../../src/protocol/index.ts'
import { ControlOperation, type WriteMarkersAnswer } from '../../../src/ring/control-messages.ts'
import { GroupShard } from '../../support/group-shard.ts'
import type { ControlAnswer } from '../../support/shard-fixture.ts'

const REF = 0 as PartitionRef
const PRODUCER = 7

class TransactionShard extends GroupShard {
  register(producerEpoch: number): void {
    this.control(ControlOperation.REGISTER_PRODUCERS, { producerId: PRODUCER, producerEpoch, partitionRefs: [REF] })
  }

  commitTxn(offset: number, producerEpoch: number): number {
    const partitions = [{ partition: 0, offset, leaderEpoch: -1, metadata: '' }]
    return this.ask(txnOffsetCommit, {
      ...{ groupId: 'g', transactionalId: 't', producerId: PRODUCER, producerEpoch },
      ...{ memberId: '', memberEpoch: -1, instanceId: null },
      topics: [{ topicId: '', topic: 't', partitions }],
    })
  }

  marker(isCommit: boolean, producerEpoch: number): string {
    const marker = {
      partitionRef: REF,
      producerId: PRODUCER,
      producerEpoch,
      coordinatorEpoch: 1,
      isCommit,
      isClassic: false,
    }
    const answer = this.answer(this.sendControl(ControlOperation.WRITE_MARKERS, { markers: [marker] })) as ControlAnswer
    return errorCodeOf((answer.body as WriteMarkersAnswer).errorNumbers[0]!)
  }

  stable(requireStable = true): string | number {
    const request = { groupId: 'g', memberId: '', memberEpoch: -1, requireStable }
    const topics = [{ topicId: '' as const, topic: 't', partitions: [0] }]
    const { errorNumber, offset } = this.replyOf(offsetFetch, this.ask(offsetFetch, { ...request, topics })).topics[0]!
      .partitions[0]!
    return errorNumber === 0 ? offset : errorCodeOf(errorNumber)
  }
}

test('offsets of a transaction count from its marker on', () => {
  const shard = new TransactionShard()
  shard.register(0)
  assert.equal(shard.errorOf(shard.commitTxn(10, 0)), 'NONE')
  assert.equal(shard.stable(), 'UNSTABLE_OFFSET_COMMIT')
  assert.equal(shard.stable(false), -1)
  assert.equal(shard.marker(true, 1), 'NONE')
  assert.equal(shard.stable(), 10)
  shard.register(1)
  assert.equal(shard.errorOf(shard.commitTxn(20, 1)), 'NONE')
  assert.equal(shard.marker(false, 2), 'NONE')
  assert.equal(shard.stable(), 10)
})

test('a producer that may not write here is refused before the coordinator hears of it, and the groups go on', () => {
  const shard = new TransactionShard()
  assert.equal(shard.errorOf(shard.commitTxn(10, 0)), 'INVALID_TXN_STATE')
  shard.register(0)
  assert.equal(shard.errorOf(shard.commitTxn(10, 0)), 'NONE')
  assert.equal(shard.marker(true, 1), 'NONE')
  assert.equal(shard.errorOf(shard.commitTxn(11, 0)), 'INVALID_PRODUCER_EPOCH', 'a zombie')
  assert.equal(shard.stable(), 10)
  assert.equal(shard.errorOf(shard.commit('g', 12)), 'NONE')
  assert.equal(shard.stable(), 12)
})

test('what is read from the log is what was there: pending, decided, and of plain commits the later one', () => {
  const files = new FaultyFileSystem(new MemoryFileSystem())
  const shard = new TransactionShard({ files })
  /** A write that fails drops the coordinator: the next request has the log read again. */
  const reload = (): void => {
    files.inject({ on: 'write', path: '.log', effect: { kind: 'fail', code: 'ENOSPC' } })
    assert.equal(shard.errorOf(shard.commit('other', 1)), 'COORDINATOR_NOT_AVAILABLE')
  }
  shard.register(0)
  shard.answer(shard.commitTxn(10, 0))
  reload()
  assert.equal(shard.stable(), 'UNSTABLE_OFFSET_COMMIT')
  assert.equal(shard.marker(true, 1), 'NONE')
  reload()
  assert.equal(shard.stable(), 10)
  shard.register(1)
  shard.answer(shard.commitTxn(20, 1))
  assert.equal(shard.errorOf(shard.commit('g', 15)), 'NONE')
  assert.equal(shard.marker(true, 2), 'NONE')
  assert.equal(shard.stable(), 15, 'the later record counts, whichever was decided last')
  reload()
  assert.equal(shard.stable(), 15)
})

test('a marker that could not be written has decided nothing; the next attempt does', () => {
  const files = new FaultyFileSystem(new MemoryFileSystem())
  const shard = new TransactionShard({ files })
  shard.register(0)
  shard.answer(shard.commitTxn(10, 0))
  files.inject({ on: 'write', path: '.log', effect: { kind: 'fail', code: 'ENOSPC' } })
  assert.notEqual(shard.marker(true, 1), 'NONE')
  assert.equal(shard.stable(), 'UNSTABLE_OFFSET_COMMIT')
  assert.equal(shard.marker(true, 1), 'NONE')
  assert.equal(shard.stable(), 10)
})

test('a marker and what is decided around it in one turn: in the order of the requests', () => {
  const shard = new TransactionShard()
  shard.register(0)
  shard.groups()
  const marker = {
    partitionRef: REF,
    producerId: PRODUCER,
    producerEpoch: 1,
    coordinatorEpoch: 1,
    isCommit: true,
    isClassic: false,
  }
  const pending = shard.commitTxn(10, 0)
  const written = shard.sendControl(ControlOperation.WRITE_MARKERS, { markers: [marker] })
  const plain = shard.commit('g', 9)
  for (const requestId of [pending, written, plain]) assert.equal(shard.errorOf(requestId), 'NONE')
  assert.equal(shard.stable(), 9)
})
