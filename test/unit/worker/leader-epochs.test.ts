/** Leader epochs as consumers meet them: where one ended, and whether what they took is what is here (KIP-101, KIP-279, KIP-320). */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ControlOperation, type OffsetForLeaderEpochAnswer } from '../../../src/ring/control-messages.ts'
import { makeBatch } from '../../support/log-fixture.ts'
import { ReplicaFixture } from '../../support/replica-fixture.ts'
import { batchesOf, type FetchAnswer } from '../../support/shard-fixture.ts'

/** Epochs 1: [0, 3), 2: nothing, 3: [3, 5), 4 and 5: nothing, led by node 1. */
function withEpochs(nodes = 1): ReplicaFixture {
  const cluster = new ReplicaFixture({ nodes })
  cluster.elect(1)
  cluster.produce(makeBatch({ records: 3 }))
  cluster.elect(1)
  cluster.elect(1)
  cluster.produce(makeBatch({ records: 2 }))
  cluster.elect(1)
  cluster.elect(1)
  cluster.pump()
  return cluster
}

function endOf(cluster: ReplicaFixture, leaderEpoch: number, fields: object = {}) {
  const body = { partitionRef: 0, leaderEpoch, ...fields }
  const answer = cluster.control(ControlOperation.OFFSET_FOR_LEADER_EPOCH, body)
  if (answer.error !== 'NONE') return answer.error
  const end = answer.body as OffsetForLeaderEpochAnswer
  return [end.leaderEpoch, end.endOffset]
}

function fetch(
  cluster: ReplicaFixture,
  part: { offset: number; lastEpoch: number; leaderEpoch?: number },
  { nodeId = 1, anyReplica = false } = {},
) {
  const id = cluster.shard(nodeId).sendFetch([part], { waitMs: 500, anyReplica, allPartitions: true })
  cluster.pump()
  const [line] = (cluster.shard(nodeId).peek(id) as FetchAnswer | undefined)?.partitions ?? []
  if (line === undefined) return 'waits'
  if (line.error !== 'NONE') return line.error
  return line.divergingEpoch === -1 ? batchesOf(line.bytes).length : [line.divergingEpoch, line.divergingEndOffset]
}

describe('offset-for-leader-epoch', () => {
  test('the largest epoch that is not above the one asked for, and where it ended', () => {
    const cluster = withEpochs()
    const ends = [-1, 0, 1, 2, 3, 4, 5, 6].map((epoch) => endOf(cluster, epoch))
    assert.deepEqual(ends, [
      [-1, -1],
      [0, 0],
      [1, 3],
      [1, 3],
      [3, 5],
      [3, 5],
      [5, 5],
      [-1, -1],
    ])
  })

  test('a log without records has ended where it begins', () => {
    const cluster = new ReplicaFixture({ nodes: 1 })
    cluster.elect(1)
    assert.deepEqual(
      [endOf(cluster, 0), endOf(cluster, 1)],
      [
        [0, 0],
        [1, 0],
      ],
    )
  })

  test('who knows another leader epoch is told so, and a follower does not answer', () => {
    const cluster = withEpochs(2)
    assert.deepEqual(endOf(cluster, 1, { currentLeaderEpoch: 5 }), [1, 3])
    assert.equal(endOf(cluster, 1, { currentLeaderEpoch: 4 }), 'FENCED_LEADER_EPOCH')
    assert.equal(endOf(cluster, 1, { currentLeaderEpoch: 6 }), 'UNKNOWN_LEADER_EPOCH')
    const body = { partitionRef: 0, leaderEpoch: 1 }
    assert.equal(cluster.control(ControlOperation.OFFSET_FOR_LEADER_EPOCH, body, 2).error, 'NOT_LEADER_OR_FOLLOWER')
    assert.equal(endOf(cluster, 1, { partitionRef: 7 }), 'UNKNOWN_TOPIC_OR_PARTITION')
  })
})

describe("a consumer's fetch that tells the epoch of the last batch it took", () => {
  test('reads on where its history is the one here, and is told where it parts at once', () => {
    const cluster = withEpochs()
    const answers = [
      { offset: 0, lastEpoch: -1 },
      { offset: 2, lastEpoch: 1 },
      { offset: 3, lastEpoch: 1 },
      { offset: 4, lastEpoch: 3 },
      { offset: 5, lastEpoch: 3 },
      { offset: 5, lastEpoch: 5 },
      // What it took lies where epoch 3 has something else.
      { offset: 4, lastEpoch: 1 },
      { offset: 4, lastEpoch: 2 },
      { offset: 6, lastEpoch: 3 },
      { offset: 6, lastEpoch: -1 },
      // Of an epoch that there was not: truncated.
      { offset: 5, lastEpoch: 6 },
      { offset: 3, lastEpoch: 6, leaderEpoch: 5 },
      { offset: 3, lastEpoch: 6, leaderEpoch: 6 },
    ].map((part) => fetch(cluster, part))
    assert.deepEqual(answers, [
      2,
      2,
      1,
      1,
      'waits',
      'waits',
      [1, 3],
      [1, 3],
      [3, 5],
      'OFFSET_OUT_OF_RANGE',
      'OFFSET_OUT_OF_RANGE',
      'OFFSET_OUT_OF_RANGE',
      'UNKNOWN_LEADER_EPOCH',
    ])
  })

  test('what is below the log start is out of range, whatever its epoch', () => {
    const cluster = withEpochs()
    cluster.control(ControlOperation.TRIM, { partitionRef: 0, beforeOffset: 4 })
    assert.equal(fetch(cluster, { offset: 3, lastEpoch: 1 }), 'OFFSET_OUT_OF_RANGE')
    assert.equal(fetch(cluster, { offset: 4, lastEpoch: 1 }), 1, 'where the log begins nothing contradicts')
    assert.deepEqual(fetch(cluster, { offset: 5, lastEpoch: 1 }), [1, 4])
  })

  test('a follower compares up to its high watermark: what lies above may be cut yet', () => {
    const cluster = withEpochs(2)
    cluster.produce(makeBatch())
    cluster.pass(500)
    assert.equal(cluster.describe(2).highWatermark, 6)
    const at = { nodeId: 2, anyReplica: true }
    assert.equal(fetch(cluster, { offset: 3, lastEpoch: 1 }, at), 2)
    assert.deepEqual(fetch(cluster, { offset: 4, lastEpoch: 1 }, at), [1, 3])
    assert.equal(fetch(cluster, { offset: 7, lastEpoch: 5 }, at), 'OFFSET_OUT_OF_RANGE')
    assert.equal(fetch(cluster, { offset: 5, lastEpoch: 6 }, at), 'UNKNOWN_LEADER_EPOCH', 'it may be the one behind')
    assert.equal(fetch(cluster, { offset: 5, lastEpoch: 6, leaderEpoch: 5 }, at), 'OFFSET_OUT_OF_RANGE')
  })
})
