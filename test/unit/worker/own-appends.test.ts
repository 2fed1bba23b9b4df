/** What a shard appends for its coordinators: a transaction's offsets and markers, and who is told of them. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import '../../../src/base/node/native-crc32c.ts'
import { FaultyFileSystem } from '../../../src/io/faulty-file-system.ts'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { PartitionLog } from '../../../src/log/partition-log.ts'
import { errorCodeOf } from '../../../src/model/errors.ts'
import type { LeaderEpoch, Offset, PartitionRef } from '../../../src/model/ids.ts'
import { advanceHighWatermark, lastStableOffset } from '../../../src/partition/high-watermark.ts'
import { advanceSyncedEnd, leaderState } from '../../../src/partition/partition-state.ts'
import { BatchWriter } from '../../../src/record/batch-writer.ts'
import { NO_CODECS } from '../../../src/record/compression.ts'
import { readControlReply } from '../../../src/ring/control-codec.ts'
import type { MarkerToWrite } from '../../../src/ring/control-messages.ts'
import { createSignals } from '../../../src/ring/ring-signal.ts'
import { createShardChannel, openGatewaySide, openShardSide } from '../../../src/ring/shard-channel.ts'
import { ControlReplies } from '../../../src/worker/control-replies.ts'
import { MarkerWriter } from '../../../src/worker/marker-writer.ts'
import { NoticeSender } from '../../../src/worker/notice-sender.ts'
import { PartitionAgent } from '../../../src/worker/partition-agent.ts'
import { PartitionTable } from '../../../src/worker/partition-table.ts'
import { ProduceHandler, type WriteListener } from '../../../src/worker/produce-handler.ts'
import { ProduceReplies } from '../../../src/worker/produce-replies.ts'
import { ReplyOutbox } from '../../../src/worker/reply-outbox.ts'
import { ResidentWindow } from '../../../src/worker/resident-window.ts'
import { SpaceProbe } from '../../../src/worker/space-probe.ts'
import { contextOver, DATA_DIR, ManualClock, sync, TOPIC, topicConfig } from '../../support/log-fixture.ts'

const PRODUCER = 7
const REF = 0 as PartitionRef
const LISTENER: WriteListener = {
  ...{ onWritten: () => {}, onSyncWanted: () => {}, onWriteFailed: () => {}, onOpenLimit: () => {} },
}

/** One partition with the parts of a shard that append to it; written and synced when the test says so. */
class Fixture {
  readonly files = new FaultyFileSystem(new MemoryFileSystem({ capacityBytes: 2 ** 40 }))
  readonly context = contextOver(this.files)
  readonly partition: PartitionAgent
  readonly produces: ProduceHandler
  readonly markers: MarkerWriter
  /** What was told, in order. */
  readonly told: string[] = []
  readonly #replies: ProduceReplies
  readonly #outbox: ReplyOutbox
  readonly #gateway: ReturnType<typeof openGatewaySide>

  constructor() {
    const clock = new ManualClock()
    const channel = createShardChannel({
      ...{ requestRingBytes: 65_536, readRingBytes: 65_536, replyRingBytes: 65_536 },
      ...{ diskRequestRingBytes: 65_536, diskReplyRingBytes: 65_536, pageBytes: 4096, pageCount: 1 },
      doorbell: createSignals(),
    })
    const side = openShardSide(channel)
    this.#gateway = openGatewaySide(channel)
    this.#outbox = new ReplyOutbox(side.replies, side.doorbell)
    const notices = new NoticeSender(this.#outbox)
    this.#replies = new ProduceReplies({ outbox: this.#outbox, notices, clock, waitingMax: 100 })
    const config = topicConfig()
    const log = PartitionLog.create(this.context, { topicId: TOPIC, partition: 0, config })
    const { logStartOffset, logEndOffset, transactions } = log
    const marks = { partitionRef: REF, leaderEpoch: 3 as LeaderEpoch, logStartOffset, logEndOffset }
    const state = leaderState({ ...marks, config, transactions })
    this.partition = new PartitionAgent({ topicId: TOPIC, partition: 0, state, log })
    const partitions = new PartitionTable()
    partitions.add(this.partition)
    const space = new SpaceProbe({
      ...{ files: this.files, clock, dataDir: DATA_DIR, lowBytes: 1, probeBytes: 1e6, probeMs: 1000 },
      onChange: () => {},
    })
    this.produces = new ProduceHandler({
      ...{ requests: side.requests, partitions, replies: this.#replies, space, clock, codecs: NO_CODECS },
      ...{ resident: new ResidentWindow(1e6), onUnreadable: (_, reason) => assert.fail(reason) },
    })
    this.markers = new MarkerWriter({
      ...{ partitions, produces: this.produces, replies: new ControlReplies(this.#outbox) },
      listener: {
        onMarkerStaged: (partition, marker) => {
          assert.equal(partition, this.partition)
          this.told.push(`marker ${marker.type} of ${marker.producerId} staged`)
          return this.own('marker')
        },
      },
    })
  }

  own(name: string): { onDurable(): void; onFailed(error: string, text: string): void } {
    return {
      onDurable: () => void this.told.push(`${name} durable`),
      onFailed: (error) => void this.told.push(`${name} ${error}`),
    }
  }

  appendOwn(name: string, producer?: { epoch: number }): void {
    const writer = new BatchWriter()
    writer.append('key', name, null, 1)
    const options =
      producer === undefined ? {} : { producerId: PRODUCER, producerEpoch: producer.epoch, transactional: true }
    this.produces.appendOwn(this.partition, writer.finish(options).slice(), this.own(name))
  }

  writeMarker(requestId: number, epoch: number, isCommit = true): void {
    const marker = { partitionRef: REF, producerId: PRODUCER, producerEpoch: epoch, coordinatorEpoch: 0 }
    const markers: MarkerToWrite[] = [{ ...marker, isCommit, isClassic: false }]
    this.markers.onWrite(requestId, { markers })
  }

  register(epoch: number): void {
    const body = { producerId: PRODUCER, producerEpoch: epoch, partitionRefs: [REF, 9 as PartitionRef] }
    this.markers.onRegister(99, body)
  }

  write(): void {
    this.produces.writeTouched(LISTENER)
  }

  sync(): void {
    const { state, log } = this.partition
    sync(this.context, log)
    advanceSyncedEnd(state, log.syncedEndOffset as Offset, state.appendedBytes)
    advanceHighWatermark(state)
    this.#replies.acknowledgeDue(this.partition)
    this.#drain()
  }

  #drain(): void {
    this.#outbox.publish()
    const { replies } = this.#gateway
    while (replies.next()) {
      const { requestId, body } = readControlReply(replies)
      if (requestId === 99) continue
      const { errorNumbers } = body as { errorNumbers: number[] }
      this.told.push(`answer ${requestId}: ${errorNumbers.map(errorCodeOf).join()}`)
    }
    replies.release()
  }

  take(): string[] {
    this.#drain()
    return this.told.splice(0)
  }
}

describe('a batch of a transaction without a sequence', () => {
  test('needs its coordinator to know of the partition, and begins the transaction there', () => {
    const shard = new Fixture()
    shard.appendOwn('a', { epoch: 0 })
    assert.deepEqual(shard.take(), ['a INVALID_TXN_STATE'])
    assert.equal(shard.produces.checkTransaction(shard.partition, PRODUCER, 0)?.error, 'INVALID_TXN_STATE')
    shard.register(0)
    assert.equal(shard.produces.checkTransaction(shard.partition, PRODUCER, 0), undefined)
    shard.appendOwn('plain')
    shard.appendOwn('b', { epoch: 0 })
    shard.appendOwn('c', { epoch: 0 })
    shard.write()
    assert.deepEqual(shard.take(), [], 'nothing is durable yet')
    shard.sync()
    assert.deepEqual(shard.take(), ['plain durable', 'b durable', 'c durable'])
    const { state } = shard.partition
    assert.deepEqual([state.highWatermark, lastStableOffset(state)], [3, 1])
  })

  test('is fenced by a newer epoch, and refused for an older transaction that has not ended', () => {
    const shard = new Fixture()
    shard.register(1)
    shard.appendOwn('a', { epoch: 1 })
    shard.appendOwn('b', { epoch: 0 })
    shard.appendOwn('c', { epoch: 2 })
    assert.deepEqual(shard.take(), ['b INVALID_PRODUCER_EPOCH', 'c CONCURRENT_TRANSACTIONS'])
    shard.write()
    shard.sync()
    shard.writeMarker(1, 2)
    shard.write()
    shard.sync()
    shard.take()
    shard.appendOwn('d', { epoch: 1 })
    assert.deepEqual(shard.take(), ['d INVALID_PRODUCER_EPOCH'])
  })

  test('whose write fails has begun nothing', () => {
    const shard = new Fixture()
    shard.register(0)
    shard.files.inject({ on: 'write', path: '.log', effect: { kind: 'fail', code: 'ENOSPC' } })
    shard.appendOwn('a', { epoch: 0 })
    shard.write()
    assert.deepEqual(shard.take(), ['a DISK_FULL'])
    assert.equal(shard.partition.log.transactions.count, 0)
    shard.appendOwn('b', { epoch: 0 })
    shard.write()
    shard.sync()
    assert.deepEqual(shard.take(), ['b durable'])
    assert.equal(shard.partition.log.transactions.firstOffsetOf(PRODUCER), 0)
  })
})

describe('a marker', () => {
  test('is told to who coordinates in the partition when it is staged and when it is durable, then answered', () => {
    const shard = new Fixture()
    shard.register(0)
    shard.appendOwn('offsets', { epoch: 0 })
    shard.write()
    shard.sync()
    shard.take()
    shard.writeMarker(1, 1)
    assert.deepEqual(shard.take(), ['marker COMMIT of 7 staged'])
    shard.write()
    assert.deepEqual(shard.take(), [])
    assert.equal(lastStableOffset(shard.partition.state), 0, 'written, and not durable')
    shard.sync()
    assert.deepEqual(shard.take(), ['marker durable', 'answer 1: NONE'])
    assert.equal(lastStableOffset(shard.partition.state), 2)
    shard.writeMarker(2, 1)
    shard.write()
    assert.deepEqual(shard.take(), ['answer 2: NONE'], 'written before: nobody is told again')
    shard.writeMarker(3, 0)
    shard.write()
    assert.deepEqual(shard.take(), ['answer 3: NONE'], 'of an epoch that is over: there is nothing to end')
    shard.register(1)
    shard.appendOwn('next', { epoch: 1 })
    shard.writeMarker(4, 0)
    assert.deepEqual(shard.take(), ['answer 4: INVALID_PRODUCER_EPOCH'], 'it may not end the next one')
    assert.equal(shard.partition.log.logEndOffset, 2)
  })

  test('that comes again before it is durable is answered when it is', () => {
    const shard = new Fixture()
    shard.register(0)
    shard.appendOwn('offsets', { epoch: 0 })
    shard.write()
    shard.sync()
    shard.writeMarker(1, 1, false)
    shard.write()
    shard.writeMarker(2, 1, false)
    shard.write()
    assert.deepEqual(shard.take(), ['offsets durable', 'marker ABORT of 7 staged'])
    assert.equal(shard.markers.abortedTransactions, 0)
    shard.sync()
    assert.deepEqual(shard.take(), ['marker durable', 'answer 1: NONE', 'answer 2: NONE'])
    assert.equal(shard.markers.abortedTransactions, 1)
  })

  test('whose write fails leaves the transaction open, and is written when it comes again', () => {
    const shard = new Fixture()
    shard.register(0)
    shard.appendOwn('offsets', { epoch: 0 })
    shard.write()
    shard.sync()
    shard.take()
    shard.files.inject({ on: 'write', path: '.log', effect: { kind: 'fail', code: 'ENOSPC' } })
    shard.writeMarker(1, 1)
    shard.write()
    assert.deepEqual(shard.take(), ['marker COMMIT of 7 staged', 'marker DISK_FULL', 'answer 1: DISK_FULL'])
    assert.equal(lastStableOffset(shard.partition.state), 0)
    shard.writeMarker(2, 1)
    shard.write()
    shard.sync()
    assert.deepEqual(shard.take(), ['marker COMMIT of 7 staged', 'marker durable', 'answer 2: NONE'])
    assert.equal(lastStableOffset(shard.partition.state), 2)
  })

  test('ends what nobody has begun here: the old epoch is fenced all the same', () => {
    const shard = new Fixture()
    shard.writeMarker(1, 1)
    shard.write()
    shard.sync()
    assert.deepEqual(shard.take(), ['marker COMMIT of 7 staged', 'marker durable', 'answer 1: NONE'])
    shard.register(0)
    shard.appendOwn('late', { epoch: 0 })
    assert.deepEqual(shard.take(), ['late INVALID_PRODUCER_EPOCH'])
  })
})
