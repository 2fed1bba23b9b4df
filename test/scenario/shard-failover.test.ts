/** What a new leader knows without having led: transactions that are open, producers, groups; and who is told by the old one. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import '../../src/base/node/native-crc32c.ts'
import { errorCodeOf } from '../../src/model/errors.ts'
import type { TopicId } from '../../src/model/ids.ts'
import { type Codec, groupHeartbeat, offsetCommit, offsetFetch, unwrapReply } from '../../src/protocol/index.ts'
import { BatchWriter } from '../../src/record/batch-writer.ts'
import { ControlOperation, type WriteMarkersAnswer } from '../../src/ring/control-messages.ts'
import { makeBatch } from '../support/log-fixture.ts'
import { ReplicaFixture } from '../support/replica-fixture.ts'
import { batchesOf, type ControlAnswer, type FetchAnswer } from '../support/shard-fixture.ts'

const READ_COMMITTED = 1
const PRODUCER = 7

class Cluster extends ReplicaFixture {
  static started(config: ConstructorParameters<typeof ReplicaFixture>[0] = {}): Cluster {
    const cluster = new Cluster(config)
    cluster.elect(1)
    cluster.pump()
    return cluster
  }

  register(producerEpoch = 0): void {
    const body = { producerId: PRODUCER, producerEpoch, partitionRefs: [0] }
    assert.equal(this.control(ControlOperation.REGISTER_PRODUCERS, body).error, 'NONE')
  }

  transactional(sequence: number, epoch = 0): Uint8Array {
    const writer = new BatchWriter({ initialBytes: 256 })
    writer.append(null, new Uint8Array(10), null, 1000)
    const producer = { producerId: PRODUCER, producerEpoch: epoch, baseSequence: sequence }
    return writer.finish({ ...producer, transactional: true }).slice()
  }

  sendMarker(isCommit: boolean, producerEpoch = 1): number {
    const markers = [
      { partitionRef: 0, producerId: PRODUCER, producerEpoch, coordinatorEpoch: 1, isCommit, isClassic: false },
    ]
    return this.shard().sendControl(ControlOperation.WRITE_MARKERS, { markers })
  }

  marker(isCommit: boolean, producerEpoch = 1): string {
    const { body } = this.answer(this.sendMarker(isCommit, producerEpoch)) as ControlAnswer
    return errorCodeOf((body as WriteMarkersAnswer).errorNumbers[0]!)
  }

  /** Last stable offset, base offsets of what is read, first offsets of what is told to be aborted. */
  committed(): { lastStable: number; batches: number[]; aborted: number[] } {
    const { lastStableOffset: lastStable } = this.describe()
    const batches: number[] = []
    const aborted = new Set<number>()
    for (let offset = 0, round = 0; offset < lastStable && round < 100; round++) {
      const requestId = this.shard().sendFetch([{ offset }], { isolation: READ_COMMITTED })
      const line = (this.answer(requestId) as FetchAnswer).partitions[0]
      for (const [baseOffset, nextOffset] of batchesOf(line?.bytes ?? new Uint8Array(0))) {
        batches.push(baseOffset)
        offset = nextOffset
      }
      for (const { firstOffset } of line?.aborted ?? []) aborted.add(firstOffset)
    }
    return { lastStable, batches, aborted: [...aborted] }
  }

  tellTopics(): void {
    const topic = { topicId: 'f'.repeat(32) as TopicId, name: 't', partitions: 4 }
    for (const { nodeId } of this.nodes)
      this.control(ControlOperation.GROUP_TOPICS, { upserted: [topic], removed: [] }, nodeId)
  }

  request<Request>(codec: Codec<Request, unknown>, request: Request, nodeId = this.leader): number {
    return this.shard(nodeId).sendGroupRequest(codec.api, codec.encodeRequest(request))
  }

  commit(offset: number, nodeId = this.leader): number {
    const partitions = [{ partition: 0, offset, leaderEpoch: -1, metadata: '' }]
    const member = { groupId: 'g', memberId: '', memberEpoch: -1, instanceId: null }
    return this.request(offsetCommit, { ...member, topics: [{ topicId: '', topic: 't', partitions }] }, nodeId)
  }

  committedOffset(nodeId = this.leader): number | string {
    const request = { groupId: 'g', memberId: '', memberEpoch: -1, requireStable: true }
    const topics = [{ topicId: '' as const, topic: 't', partitions: [0] }]
    const answer = this.answer(this.request(offsetFetch, { ...request, topics }, nodeId), nodeId) as ControlAnswer
    if (answer.error !== 'NONE') return answer.error
    return unwrapReply(offsetFetch.decodeReply(answer.body as Uint8Array)).topics[0]!.partitions[0]!.offset
  }
}

describe('transactions', () => {
  test('one that is open holds readers back at the new leader too, until its marker is safe', () => {
    for (const isRestarted of [false, true]) {
      const cluster = Cluster.started()
      cluster.register()
      assert.equal(cluster.produce(cluster.transactional(0)).error, 'NONE')
      assert.equal(cluster.produce(makeBatch()).baseOffset, 1)
      assert.equal(cluster.committed().lastStable, 0)
      if (isRestarted) {
        cluster.crash(2)
        cluster.start(2)
        cluster.pump()
      }
      cluster.crash(1)
      cluster.elect(2, [2, 3])
      cluster.pump()
      assert.equal(cluster.describe().highWatermark, 2)
      assert.deepEqual(cluster.committed(), { lastStable: 0, batches: [], aborted: [] })
      assert.equal(cluster.produce(cluster.transactional(1)).baseOffset, 2, 'it goes on')
      assert.equal(cluster.marker(false), 'NONE')
      assert.deepEqual(cluster.committed(), { lastStable: 4, batches: [0, 1, 2, 3], aborted: [0] })
      // And the next leader knows that it was aborted, though it did not write the marker.
      cluster.elect(3, [2, 3])
      cluster.pump()
      assert.deepEqual(cluster.committed(), { lastStable: 4, batches: [0, 1, 2, 3], aborted: [0] })
    }
  })

  test('a marker above the high watermark decides nothing, also where recovery has read it', () => {
    const cluster = Cluster.started()
    cluster.register()
    cluster.produce(cluster.transactional(0))
    cluster.cut(3)
    cluster.sendMarker(true)
    cluster.pump()
    assert.deepEqual([cluster.describe(2).logEndOffset, cluster.describe().highWatermark], [2, 1])
    cluster.crash(1)
    cluster.crash(2)
    cluster.start(2)
    cluster.elect(2, [2, 3])
    let damages = true
    cluster.onCarry = (bytes) => (damages && bytes.length > 0 ? bytes.map((byte) => byte ^ 1) : bytes)
    cluster.heal(3)
    cluster.pump()
    assert.deepEqual([cluster.describe().highWatermark, cluster.committed().lastStable], [1, 0])
    damages = false
    cluster.pump()
    assert.deepEqual(cluster.committed(), { lastStable: 2, batches: [0, 1], aborted: [] })
  })

  test('a marker that waits when its leader goes has failed; at the new leader it is written, once', () => {
    const cluster = Cluster.started()
    cluster.register()
    cluster.produce(cluster.transactional(0))
    cluster.cut(1)
    const waiting = cluster.sendMarker(true)
    cluster.shard(1).settle()
    cluster.elect(2, [2, 3])
    assert.equal(cluster.marker(true), 'NONE')
    assert.equal(cluster.marker(true), 'NONE', 'it is there')
    assert.equal(cluster.describe().logEndOffset, 2)
    cluster.heal(1)
    const { body } = cluster.answer(waiting, 1) as ControlAnswer
    assert.equal(errorCodeOf((body as WriteMarkersAnswer).errorNumbers[0]!), 'NOT_LEADER_OR_FOLLOWER')
    cluster.pump()
    cluster.assertEqualLogs()
    cluster.elect(1)
    cluster.pump()
    assert.deepEqual(cluster.committed(), { lastStable: 2, batches: [0, 1], aborted: [] })
  })
})

describe('coordinators', () => {
  test('groups go on at the new leader with what was acknowledged; the old one coordinates nothing', () => {
    const cluster = Cluster.started({ config: { retentionMs: -1 } })
    cluster.tellTopics()
    assert.equal((cluster.answer(cluster.commit(5)) as ControlAnswer).error, 'NONE')
    assert.equal(cluster.committedOffset(2), 'NOT_COORDINATOR')
    // What waits for its followers when it stops leading was not decided.
    cluster.cut(1)
    const waiting = cluster.commit(9, 1)
    cluster.shard(1).settle()
    cluster.elect(2, [2, 3])
    cluster.pump()
    assert.equal(cluster.committedOffset(), 5)
    assert.equal((cluster.answer(cluster.commit(6)) as ControlAnswer).error, 'NONE')
    cluster.heal(1)
    assert.equal((cluster.answer(waiting, 1) as ControlAnswer).error, 'NOT_COORDINATOR')
    assert.equal(cluster.committedOffset(1), 'NOT_COORDINATOR')
    // It leads again, and reads anew what it once knew better.
    cluster.pump()
    cluster.elect(1)
    cluster.pump()
    assert.equal(cluster.committedOffset(), 6)
    const joined = cluster.request(groupHeartbeat, {
      ...{ groupId: 'g', memberId: '', memberEpoch: 0, instanceId: null, rackId: null, rebalanceTimeoutMs: 60_000 },
      ...{ sessionTimeoutMs: 10_000, subscribedTopics: ['t'], subscribedPattern: '', serverAssignor: null },
      ownedPartitions: [],
    })
    assert.equal((cluster.answer(joined) as ControlAnswer).error, 'NONE')
  })

  test('a request waits for the followers, as acks all does', () => {
    const cluster = Cluster.started({ config: { retentionMs: -1 } })
    cluster.tellTopics()
    assert.equal((cluster.answer(cluster.commit(1)) as ControlAnswer).error, 'NONE')
    cluster.cut(3)
    const waiting = cluster.commit(2)
    cluster.pump()
    assert.equal(cluster.shard().peek(waiting), undefined)
    cluster.heal(3)
    assert.equal((cluster.answer(waiting) as ControlAnswer).error, 'NONE')
  })
})
