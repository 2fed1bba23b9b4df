/** Control and hot codecs over a real channel: what goes in comes out, at any place of the ring, and outlives release(). */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  controlBodyBytesMax,
  encodeControlBody,
  readControl,
  readControlReply,
  readNotice,
  writeControl,
  writeControlReply,
  writeNotice,
} from '../../../src/ring/control-codec.ts'
import { ControlOperation, type Notice } from '../../../src/ring/control-messages.ts'
import {
  claimFetch,
  claimFetchReply,
  claimProduce,
  FetchFields,
  FetchPartitionFields,
  fetchReplyAbortedAt,
  fetchReplyBytes,
  getFetchPartition,
  ProduceFields,
  ProduceReplyFields,
  readAborted,
  readFetch,
  readProduce,
  readProduceReply,
  setFetchPartition,
  writeProduceReply,
} from '../../../src/ring/message-codec.ts'
import {
  ABORTED_BYTES,
  ABORTED_FIRST_OFFSET_AT,
  ABORTED_PRODUCER_ID_AT,
  CONTROL_BODY_BYTES_AT,
  FETCH_REPLY_PARTITION_BYTES,
  FETCH_REPLY_PARTITION_COUNT_AT,
  FETCH_REPLY_PARTITION_FRAGMENTS_AT,
  FETCH_REPLY_PARTITIONS_AT,
  MessageType,
} from '../../../src/ring/messages.ts'
import { createSignals } from '../../../src/ring/ring-signal.ts'
import { createShardChannel, openDiskSide, openGatewaySide, openShardSide } from '../../../src/ring/shard-channel.ts'

const invariant = { name: 'InvariantError' }

function open() {
  const channel = createShardChannel({
    requestRingBytes: 1024,
    readRingBytes: 1024,
    replyRingBytes: 1024,
    diskRequestRingBytes: 1024,
    diskReplyRingBytes: 1024,
    pageBytes: 4096,
    pageCount: 2,
    doorbell: createSignals(),
  })
  return { gateway: openGatewaySide(channel), shard: openShardSide(channel), disk: openDiskSide(channel) }
}

describe('control messages', () => {
  test('go through with numbers beyond 32 bits, bytes, null and nested lists', () => {
    const { gateway, shard } = open()
    const value = {
      offset: 2 ** 52 + 1,
      negative: -(2 ** 40),
      nothing: null,
      bytes: new Uint8Array([1, 2, 3]),
      list: [{ text: 'ä€😀' }, []],
    }
    for (let round = 0; round < 100; round++) {
      const body = encodeControlBody(value)
      assert.ok(writeControl(gateway.requests, { requestId: 2 ** 32 - 1, operation: ControlOperation.TRIM, body }))
      gateway.requests.publish()
      assert.ok(shard.requests.next())
      const control = readControl(shard.requests)
      shard.requests.release()
      gateway.requests.bytes.fill(0xee)
      assert.deepEqual(
        { ...(control.body as object), bytes: [...(control.body as typeof value).bytes] },
        { ...value, bytes: [1, 2, 3] },
      )
      assert.equal(control.requestId, 2 ** 32 - 1)
      assert.equal(control.operation, ControlOperation.TRIM)
    }
  })

  test('replies and notices', () => {
    const { gateway, shard } = open()
    const notice: Notice = { kind: 'partition-offline', partitionRef: 3, reason: 'EIO' }
    assert.ok(writeControlReply(shard.replies, { requestId: 5, errorNumber: -3, body: encodeControlBody('no') }))
    assert.ok(writeNotice(shard.replies, notice))
    shard.replies.publish()
    assert.ok(gateway.replies.next())
    assert.deepEqual(readControlReply(gateway.replies), { requestId: 5, errorNumber: -3, body: 'no' })
    assert.throws(() => readNotice(gateway.replies), { ...invariant, message: /type 35 read as one of type 36/ })
    assert.ok(gateway.replies.next())
    assert.deepEqual(readNotice(gateway.replies), notice)
  })

  test('full is false, too large is told before, garbage is an InvariantError', () => {
    const { gateway, shard } = open()
    const body = new Uint8Array(controlBodyBytesMax(gateway.requests))
    const fields = { requestId: 1, operation: ControlOperation.STATS, body }
    assert.ok(writeControl(gateway.requests, fields))
    assert.ok(writeControl(gateway.requests, fields))
    assert.equal(writeControl(gateway.requests, fields), false)
    gateway.requests.publish()
    assert.throws(() => writeControl(gateway.requests, { ...fields, body: new Uint8Array(body.length + 1) }), invariant)
    assert.ok(shard.requests.next())
    assert.throws(() => readControl(shard.requests), { ...invariant, message: /not msgpack/ })
    shard.requests.view.setUint32(shard.requests.at + CONTROL_BODY_BYTES_AT, 5000, true)
    assert.throws(() => readControl(shard.requests), { ...invariant, message: /body of 5000 bytes/ })
  })
})

describe('hot messages', () => {
  test('PRODUCE and its reply', () => {
    const { gateway, shard } = open()
    const fields = Object.assign(new ProduceFields(), {
      requestId: 9,
      partitionRef: 4,
      leaderEpoch: 2,
      acks: -1,
      timeoutMs: 30_000,
      batchBytes: 5,
    })
    const batchesAt = claimProduce(gateway.requests, fields)
    gateway.requests.bytes.set([1, 2, 3, 4, 5], batchesAt)
    gateway.requests.publish()
    assert.ok(shard.requests.next())
    const read = new ProduceFields()
    readProduce(shard.requests, read)
    assert.deepEqual({ ...read, batchesAt: 0 }, { ...fields, batchesAt: 0 })
    assert.deepEqual([...shard.requests.bytes.subarray(read.batchesAt, read.batchesAt + 5)], [1, 2, 3, 4, 5])

    const reply = Object.assign(new ProduceReplyFields(), {
      requestId: 9,
      partitionRef: 4,
      errorNumber: 87,
      baseOffset: 2 ** 50,
      logStartOffset: 7,
      leaderEpoch: 2,
      text: 'ä: bad batch',
    })
    assert.ok(writeProduceReply(shard.replies, reply))
    const silent = Object.assign(new ProduceReplyFields(), { requestId: 10 })
    assert.ok(writeProduceReply(shard.replies, silent))
    shard.replies.publish()
    const readReply = new ProduceReplyFields()
    assert.ok(gateway.replies.next())
    readProduceReply(gateway.replies, readReply)
    assert.deepEqual({ ...readReply }, { ...reply })
    assert.ok(gateway.replies.next())
    readProduceReply(gateway.replies, readReply)
    assert.deepEqual({ ...readReply }, { ...silent })
    writeProduceReply(shard.replies, { ...reply, text: 'x'.repeat(9000) })
    shard.replies.publish()
    assert.ok(gateway.replies.next())
    readProduceReply(gateway.replies, readReply)
    assert.match(readReply.text, /^x{300,400}$/)
  })

  test('FETCH and its reply', () => {
    const { gateway, shard } = open()
    const fields = Object.assign(new FetchFields(), {
      requestId: 9,
      waitMs: 500,
      minBytes: 1,
      maxBytes: 1 << 20,
      isolation: 1,
      partitionCount: 2,
      replicaNodeId: 2 ** 31 - 1,
      replicaIncarnation: 2 ** 40,
    })
    const partitionsAt = claimFetch(gateway.requests, fields)
    const wanted = [
      { partitionRef: 1, leaderEpoch: -1, fetchOffset: 2 ** 51, maxBytes: 1000, lastEpoch: 2 ** 31 - 1 },
      { partitionRef: 2, leaderEpoch: 5, fetchOffset: 0, maxBytes: 2 ** 32 - 1, lastEpoch: -1 },
    ]
    for (const [index, partition] of wanted.entries())
      setFetchPartition(gateway.requests.view, partitionsAt, index, partition)
    gateway.requests.publish()
    assert.ok(shard.requests.next())
    const read = new FetchFields()
    readFetch(shard.requests, read)
    assert.deepEqual({ ...read, partitionsAt: 0 }, { ...fields, partitionsAt: 0 })
    const partition = new FetchPartitionFields()
    for (const [index, expected] of wanted.entries()) {
      getFetchPartition(shard.requests.view, read.partitionsAt, index, partition)
      assert.deepEqual({ ...partition }, expected)
    }
    const at = claimFetchReply(shard.replies, { requestId: 9, partitionCount: 2, fragmentCount: 3, abortedCount: 2 })
    const { view } = shard.replies
    const secondPart = at + FETCH_REPLY_PARTITIONS_AT + FETCH_REPLY_PARTITION_BYTES
    view.setUint32(at + FETCH_REPLY_PARTITIONS_AT + FETCH_REPLY_PARTITION_FRAGMENTS_AT, 2, true)
    view.setUint32(secondPart + FETCH_REPLY_PARTITION_FRAGMENTS_AT, 1, true)
    const abortedAt = at + fetchReplyBytes(2, 3)
    view.setFloat64(abortedAt + ABORTED_BYTES + ABORTED_PRODUCER_ID_AT, 2 ** 53 - 1, true)
    view.setFloat64(abortedAt + ABORTED_BYTES + ABORTED_FIRST_OFFSET_AT, 2 ** 40, true)
    shard.replies.publish()
    assert.ok(gateway.replies.next())
    assert.deepEqual(
      [gateway.replies.type, gateway.replies.at, gateway.replies.length],
      [MessageType.FETCH_REPLY, at, fetchReplyBytes(2, 3, 2)],
    )
    assert.equal(gateway.replies.view.getUint32(at + FETCH_REPLY_PARTITION_COUNT_AT, true), 2)
    assert.equal(fetchReplyAbortedAt(gateway.replies.view, at), abortedAt)
    assert.deepEqual(readAborted(gateway.replies.view, abortedAt + ABORTED_BYTES, 1), [
      { producerId: 2 ** 53 - 1, firstOffset: 2 ** 40 },
    ])
    assert.deepEqual(readAborted(gateway.replies.view, abortedAt, 0), [])
    // A count that a broken writer made too large is refused.
    shard.requests.view.setUint32(shard.requests.at + 20, 100, true)
    assert.throws(() => readFetch(shard.requests, read), invariant)
  })
})
