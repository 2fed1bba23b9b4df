/** Codecs of replication over a real channel: what goes in comes out; rows and texts that do not fit are refused or cut. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { batchBytesOfRing } from '../../../src/config/config.ts'
import {
  PRODUCE_BATCHES_AT,
  REPLICA_APPEND_BATCH_BYTES_AT,
  REPLICA_PROGRESS_COUNT_AT,
  REPLICA_SYNCED_COUNT_AT,
} from '../../../src/ring/messages.ts'
import {
  claimReplicaAppend,
  ReplicaAppendedFields,
  ReplicaAppendFields,
  readReplicaAppend,
  readReplicaAppended,
  readReplicaProgress,
  readReplicaSynced,
  replicaAppendBytesMax,
  replicaProgressRowsMax,
  replicaSyncedRowsMax,
  writeReplicaAppended,
  writeReplicaProgress,
  writeReplicaSynced,
} from '../../../src/ring/replica-codec.ts'
import { createSignals } from '../../../src/ring/ring-signal.ts'
import { createShardChannel, openGatewaySide, openShardSide } from '../../../src/ring/shard-channel.ts'

const invariant = { name: 'InvariantError' }

function open(requestRingBytes = 1024) {
  const channel = createShardChannel({
    ...{ requestRingBytes, readRingBytes: 1024, replyRingBytes: 1024, diskRequestRingBytes: 1024 },
    ...{ diskReplyRingBytes: 1024, pageBytes: 4096, pageCount: 2, doorbell: createSignals() },
  })
  return { gateway: openGatewaySide(channel), shard: openShardSide(channel) }
}

test('any ring carries, to a leader and to a follower, the batches that the configuration says it carries', () => {
  for (const requestRingBytes of [1, 4, 16].map((mib) => mib * 1024 * 1024)) {
    const { requests } = open(requestRingBytes).gateway
    const bytes = batchBytesOfRing(requestRingBytes)
    assert.ok(replicaAppendBytesMax(requests) >= bytes)
    assert.ok(requests.frameBytesMax - PRODUCE_BATCHES_AT >= bytes)
  }
})

test('REPLICA_APPEND and its answer', () => {
  const { gateway, shard } = open()
  const fields = Object.assign(new ReplicaAppendFields(), {
    ...{ requestId: 2 ** 32 - 1, partitionRef: 4, leaderEpoch: 7, divergingEpoch: 6, divergingEndOffset: 2 ** 52 },
    ...{ highWatermark: 2 ** 51, logStartOffset: 2 ** 50, batchBytes: 3 },
  })
  gateway.requests.bytes.set([1, 2, 3], claimReplicaAppend(gateway.requests, fields))
  gateway.requests.publish()
  assert.ok(shard.requests.next())
  const read = new ReplicaAppendFields()
  readReplicaAppend(shard.requests, read)
  assert.deepEqual({ ...read, batchesAt: 0 }, { ...fields, batchesAt: 0 })
  assert.deepEqual([...shard.requests.bytes.subarray(read.batchesAt, read.batchesAt + 3)], [1, 2, 3])
  shard.requests.view.setUint32(shard.requests.at + REPLICA_APPEND_BATCH_BYTES_AT, 1000, true)
  assert.throws(() => readReplicaAppend(shard.requests, read), invariant)
  shard.requests.release()
  const fullest = { ...fields, batchBytes: replicaAppendBytesMax(gateway.requests) }
  assert.notEqual(claimReplicaAppend(gateway.requests, fullest), -1)
  assert.equal(claimReplicaAppend(gateway.requests, { ...fullest, batchBytes: fullest.batchBytes - 1 }) > 0, true)
  assert.equal(claimReplicaAppend(gateway.requests, fullest), -1, 'full')

  const answer = Object.assign(new ReplicaAppendedFields(), {
    ...{ requestId: 9, partitionRef: 4, errorNumber: 6, lastEpoch: 7, logEndOffset: 2 ** 52, highWatermark: 2 ** 51 },
    text: 'ä: it leads',
  })
  assert.ok(writeReplicaAppended(shard.replies, answer))
  assert.ok(writeReplicaAppended(shard.replies, { ...answer, text: '' }))
  shard.replies.publish()
  const readAnswer = new ReplicaAppendedFields()
  for (const text of [answer.text, '']) {
    assert.ok(gateway.replies.next())
    readReplicaAppended(gateway.replies, readAnswer)
    assert.deepEqual({ ...readAnswer }, { ...answer, text })
  }
  gateway.replies.release()
  assert.ok(writeReplicaAppended(shard.replies, { ...answer, text: 'x'.repeat(9000) }))
  shard.replies.publish()
  assert.ok(gateway.replies.next())
  readReplicaAppended(gateway.replies, readAnswer)
  assert.match(readAnswer.text, /^x{300,400}$/)
})

test('progress and synced ends: as many rows as a frame holds', () => {
  const { gateway, shard } = open()
  const progress = Array.from({ length: replicaProgressRowsMax(gateway.requests) }, (_, index) => ({
    ...{ partitionRef: index, leaderEpoch: index + 1, nodeId: index + 2, incarnation: 2 ** 40 + index },
    syncedEndOffset: 2 ** 52 - index,
  }))
  assert.ok(progress.length >= 10)
  assert.ok(writeReplicaProgress(gateway.requests, progress))
  gateway.requests.publish()
  assert.ok(shard.requests.next())
  assert.deepEqual(readReplicaProgress(shard.requests), progress)
  shard.requests.view.setUint32(shard.requests.at + REPLICA_PROGRESS_COUNT_AT, progress.length + 1, true)
  assert.throws(() => readReplicaProgress(shard.requests), invariant)
  assert.throws(() => writeReplicaProgress(gateway.requests, [...progress, progress[0]!]), invariant)

  const synced = progress
    .slice(0, replicaSyncedRowsMax(shard.replies.frameBytesMax))
    .map(({ partitionRef, leaderEpoch, syncedEndOffset }) => ({ partitionRef, leaderEpoch, syncedEndOffset }))
  assert.ok(writeReplicaSynced(shard.replies, synced))
  shard.replies.publish()
  assert.ok(gateway.replies.next())
  assert.deepEqual(readReplicaSynced(gateway.replies), synced)
  gateway.replies.view.setUint32(gateway.replies.at + REPLICA_SYNCED_COUNT_AT, 1000, true)
  assert.throws(() => readReplicaSynced(gateway.replies), invariant)
})
