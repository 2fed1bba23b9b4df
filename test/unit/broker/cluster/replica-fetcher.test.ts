/** What a follower's broker asks a leader for, and what it hands on: the leader and the shard are played by hand. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { InvariantError } from '../../../../src/base/assert.ts'
import { CatchUpThrottle } from '../../../../src/broker/cluster/catch-up-throttle.ts'
import { ReplicaFetcher } from '../../../../src/broker/cluster/replica-fetcher.ts'
import type { PartitionProxy } from '../../../../src/broker/partition-router.ts'
import type { ReplicaAppend, ReplicaAppendWaiter, ShardLink } from '../../../../src/broker/shard-link.ts'
import { SILENT } from '../../../../src/in-process/silent-logger.ts'
import { errorNumberOf, MillraceError } from '../../../../src/model/errors.ts'
import type { TopicId } from '../../../../src/model/ids.ts'
import {
  type ReplicaFetchReplyPart,
  type ReplicaFetchRequest,
  type ReplicaProgressMessage,
  replicaProgress,
} from '../../../../src/protocol/index.ts'
import type { ReplicaAppendedFields } from '../../../../src/ring/replica-codec.ts'
import { ManualTimers } from '../../../support/manual-timers.ts'

const TOPIC = 'a'.repeat(32) as TopicId

interface Asked {
  readonly request: ReplicaFetchRequest
  answer(parts: readonly Partial<ReplicaFetchReplyPart>[], body?: Uint8Array): Promise<void>
  fail(error: MillraceError): Promise<void>
}

class Stage {
  readonly timers = new ManualTimers()
  readonly asked: Asked[] = []
  readonly appends: { append: ReplicaAppend; bytes: number; waiter: ReplicaAppendWaiter; tag: number }[] = []
  readonly told: ReplicaProgressMessage[] = []
  connection: object | undefined = this.connect()
  appendAnswer: 'sent' | 'full' | 'throw' = 'sent'
  /** Of batches that the shard's ring takes. */
  appendBytesMax = 4 * 1024 * 1024
  readonly fetcher: ReplicaFetcher

  constructor(catchUpBytes = 0) {
    const stage = this
    const link = {
      get replicaAppendBytesMax() {
        return stage.appendBytesMax
      },
      replicaAppend: (
        append: ReplicaAppend,
        batches: readonly Uint8Array[],
        waiter: ReplicaAppendWaiter,
        tag: number,
      ) => {
        if (this.appendAnswer === 'sent')
          this.appends.push({ append, bytes: batches.reduce((sum, each) => sum + each.length, 0), waiter, tag })
        if (this.appendAnswer === 'throw') throw new InvariantError('a frame larger than the ring takes')
        return this.appendAnswer
      },
    } as unknown as ShardLink
    this.fetcher = new ReplicaFetcher({
      ...{ leaderNodeId: 2, self: { nodeId: 1, incarnation: 7 }, links: [link], logger: SILENT, waitMs: 500 },
      throttle: new CatchUpThrottle(catchUpBytes),
      ...{ clock: this.timers.clock, timers: this.timers },
      peers: {
        call: (_nodeId, _codec, request) =>
          new Promise<never>((resolve, reject) => {
            this.asked.push({
              request: request as ReplicaFetchRequest,
              answer: (parts, body = new Uint8Array()) => {
                resolve({ value: { parts: parts.map((part) => ({ ...QUIET, ...part })) }, body } as never)
                return this.settle()
              },
              fail: (error) => {
                reject(error)
                return this.settle()
              },
            })
          }),
        openTo: () => this.connection as never,
      },
    })
  }

  connect(): object {
    return { sendOneWay: (_api: number, header: Uint8Array) => this.told.push(replicaProgress.decode(header)) }
  }

  /** As [partition, synced end]. */
  takeTold(): number[][] {
    const rows = this.told.splice(0).flatMap((message) => message.rows)
    return rows.map(({ partition, syncedEndOffset }) => [partition, syncedEndOffset])
  }

  async settle(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    this.timers.runSoon()
  }

  /** The shard has written it: its log ends here now. */
  async appended(index: number, logEndOffset: number, more: Partial<ReplicaAppendedFields> = {}): Promise<void> {
    const { waiter, tag } = this.appends[index]!
    waiter.onReplicaAppended(tag, {
      ...{ requestId: 0, partitionRef: tag, errorNumber: 0, lastEpoch: 3, logEndOffset, highWatermark: 0, text: '' },
      ...more,
    })
    await this.settle()
  }

  offsets(index: number): number[][] {
    return this.asked[index]!.request.parts.map(({ partition, fetchOffset }) => [partition, fetchOffset])
  }
}

const QUIET: ReplicaFetchReplyPart = {
  ...{ index: 0, errorNumber: 0, errorText: '', leaderEpoch: 3, highWatermark: 0, logStartOffset: 0 },
  ...{ divergingEpoch: -1, divergingEndOffset: -1, batchBytes: 0 },
}

function proxyOf(partition: number, inSync: readonly number[] = [2]): PartitionProxy {
  return {
    ...{ ref: partition, shard: 0, topicId: TOPIC, topicName: 't', partition, leaderNodeId: 2, leaderEpoch: 3 },
    ...{ replicas: [2, 1], inSync, state: 'following', reason: null },
  } as unknown as PartitionProxy
}

const position = (logEndOffset: number) => ({ logEndOffset, lastEpoch: 2 })

test('one request for all, from where each log ends; what comes is handed on, and asked for again behind it', async () => {
  const stage = new Stage()
  stage.fetcher.follow(proxyOf(0), position(10))
  stage.fetcher.follow(proxyOf(1), position(20))
  await stage.settle()
  assert.equal(stage.asked.length, 1)
  const { request } = stage.asked[0]!
  assert.deepEqual([request.nodeId, request.incarnation, request.minBytes], [1, 7, 1])
  assert.deepEqual(request.parts[1], {
    ...{ topicId: TOPIC, partition: 1, leaderEpoch: 3, fetchOffset: 20, lastEpoch: 2 },
    maxBytes: request.parts[1]!.maxBytes,
  })
  await stage.asked[0]!.answer([{ index: 1, batchBytes: 5, highWatermark: 18, logStartOffset: 2 }], new Uint8Array(5))
  assert.equal(stage.asked.length, 1, 'not before the shard has written')
  const { append, bytes } = stage.appends[0]!
  assert.deepEqual([append.partitionRef, append.leaderEpoch, append.highWatermark, bytes], [1, 3, 18, 5])
  await stage.appended(0, 23)
  assert.deepEqual(stage.offsets(1), [
    [0, 10],
    [1, 23],
  ])
})

test('what says nothing new goes to no shard; a moved watermark does', async () => {
  const stage = new Stage()
  stage.fetcher.follow(proxyOf(0), position(10))
  await stage.settle()
  await stage.asked[0]!.answer([{ highWatermark: 7 }])
  await stage.appended(0, 10)
  await stage.asked[1]!.answer([{ highWatermark: 7 }])
  await stage.asked[2]!.answer([])
  assert.equal(stage.appends.length, 1)
  await stage.asked[3]!.answer([{ highWatermark: 9 }])
  assert.equal(stage.appends.length, 2)
})

test('who comes while a request waits has one at once, and late answers about other offsets count for nothing', async () => {
  const stage = new Stage()
  stage.fetcher.follow(proxyOf(0), position(10))
  await stage.settle()
  stage.fetcher.follow(proxyOf(1), position(0))
  await stage.settle()
  assert.deepEqual(stage.offsets(1), [
    [0, 10],
    [1, 0],
  ])
  stage.fetcher.follow(proxyOf(2), position(0))
  await stage.settle()
  assert.equal(stage.asked.length, 2, 'two under way at most')
  await stage.asked[1]!.answer([{ batchBytes: 3 }], new Uint8Array(3))
  await stage.appended(0, 12)
  // The first request asked for offset 10.
  await stage.asked[0]!.answer([{ batchBytes: 3 }], new Uint8Array(3))
  assert.equal(stage.appends.length, 1)
})

test('a divergence is the shard’s to settle; then it is asked from where it was cut', async () => {
  const stage = new Stage()
  stage.fetcher.follow(proxyOf(0), position(10))
  await stage.settle()
  await stage.asked[0]!.answer([{ divergingEpoch: 1, divergingEndOffset: 6, highWatermark: 6 }])
  assert.deepEqual(
    [stage.appends[0]!.append.divergingEpoch, stage.appends[0]!.append.divergingEndOffset, stage.appends[0]!.bytes],
    [1, 6, 0],
  )
  await stage.appended(0, 6, { lastEpoch: 1 })
  assert.deepEqual([stage.offsets(1)[0], stage.asked[1]!.request.parts[0]!.lastEpoch], [[0, 6], 1])
})

test('the answer after a cut is news, though it tells the high watermark of the answer that led to the cut', async () => {
  for (const cut of [{ divergingEpoch: 2, divergingEndOffset: 9 }, { logStartOffset: 12 }]) {
    const stage = new Stage()
    stage.fetcher.follow(proxyOf(0), position(10))
    await stage.settle()
    await stage.asked[0]!.answer([{ highWatermark: 9, ...cut }])
    const end = cut.logStartOffset ?? 9
    await stage.appended(0, end)
    assert.deepEqual(stage.offsets(1), [[0, end]])
    await stage.asked[1]!.answer([{ highWatermark: 9, logStartOffset: cut.logStartOffset ?? 0 }])
    assert.equal(stage.appends.length, 2, 'else its log is never verified, and it never counts as synced')
    await stage.appended(1, end)
    await stage.asked[2]!.answer([{ highWatermark: 9, logStartOffset: cut.logStartOffset ?? 0 }])
    assert.equal(stage.appends.length, 2)
  }
})

test('a partition that fails waits, the others go on; a broker that fails is asked again after a while', async () => {
  const stage = new Stage()
  stage.fetcher.follow(proxyOf(0), position(10))
  stage.fetcher.follow(proxyOf(1), position(20))
  await stage.settle()
  await stage.asked[0]!.answer([{ index: 0, errorNumber: errorNumberOf('NOT_LEADER_OR_FOLLOWER') }])
  assert.deepEqual(stage.offsets(1), [[1, 20]])
  await stage.asked[1]!.fail(new MillraceError('CONNECTION_FAILED', 'refused'))
  assert.equal(stage.asked.length, 2)
  stage.timers.advance(1_000)
  await stage.settle()
  assert.deepEqual(stage.offsets(2), [[1, 20]])
  assert.deepEqual(stage.offsets(3), [
    [0, 10],
    [1, 20],
  ])
})

test('a partition that is offline is not asked for: at the log end its leader would take it for in sync', async () => {
  const stage = new Stage()
  const [failed, other] = [proxyOf(0, [2, 1]), proxyOf(1, [2, 1])]
  stage.fetcher.follow(failed, position(10))
  stage.fetcher.follow(other, position(20))
  await stage.settle()
  failed.state = 'offline'
  for (let request = 0; request < 3; request++) {
    stage.timers.advance(1_000)
    await stage.asked.at(-1)!.answer([])
  }
  assert.deepEqual(stage.offsets(3), [[1, 20]])
  failed.state = 'following'
  stage.timers.advance(1_000)
  await stage.asked.at(-1)!.answer([])
  assert.deepEqual(stage.offsets(4), [
    [0, 10],
    [1, 20],
  ])
})

test('a ring without room: asked for again later, from the same offset', async () => {
  const stage = new Stage()
  stage.appendAnswer = 'full'
  stage.fetcher.follow(proxyOf(0), position(10))
  await stage.settle()
  await stage.asked[0]!.answer([{ batchBytes: 3 }], new Uint8Array(3))
  stage.appendAnswer = 'sent'
  stage.timers.advance(1_000)
  await stage.settle()
  assert.deepEqual(stage.offsets(1), [[0, 10]])
})

test('what is followed no more is not handed on, whatever was on its way', async () => {
  const stage = new Stage()
  stage.fetcher.follow(proxyOf(0), position(10))
  await stage.settle()
  stage.fetcher.unfollow(0)
  await stage.asked[0]!.answer([{ batchBytes: 3 }], new Uint8Array(3))
  assert.deepEqual([stage.appends.length, stage.asked.length], [0, 1])
})

test('synced ends are told beside the requests', () => {
  const stage = new Stage()
  stage.fetcher.follow(proxyOf(0), position(10))
  stage.fetcher.progress([{ partitionRef: 0, leaderEpoch: 3, syncedEndOffset: 9 }])
  assert.deepEqual(stage.told, [
    { nodeId: 1, incarnation: 7, rows: [{ topicId: TOPIC, partition: 0, leaderEpoch: 3, syncedEndOffset: 9 }] },
  ])
})

test('replicas that are not in sync fetch no more than the rate; those in sync do not wait for it', async () => {
  const stage = new Stage(1_000)
  stage.fetcher.follow(proxyOf(0), position(10))
  stage.fetcher.follow(proxyOf(1, [2, 1]), position(20))
  await stage.settle()
  await stage.asked[0]!.answer([{ index: 0, batchBytes: 3_000 }], new Uint8Array(3_000))
  await stage.appended(0, 12)
  assert.deepEqual(stage.offsets(1), [[1, 20]])
  stage.timers.advance(1_900)
  await stage.settle()
  assert.equal(stage.asked.length, 2)
  stage.timers.advance(200)
  await stage.settle()
  assert.deepEqual(stage.offsets(2), [
    [1, 20],
    [0, 12],
  ])
})

test('no more is asked for than the ring of the shard takes; a batch that is larger is asked for again after a while', async () => {
  const stage = new Stage()
  stage.appendBytesMax = 500
  stage.fetcher.follow(proxyOf(0), position(10))
  await stage.settle()
  assert.equal(stage.asked[0]!.request.parts[0]!.maxBytes, 500)
  await stage.asked[0]!.answer([{ batchBytes: 501 }], new Uint8Array(501))
  stage.timers.advance(9_000)
  await stage.settle()
  assert.deepEqual([stage.appends.length, stage.asked.length], [0, 1])
  stage.timers.advance(1_500)
  await stage.settle()
  assert.deepEqual(stage.offsets(1), [[0, 10]])
  await stage.asked[1]!.answer([{ batchBytes: 500 }], new Uint8Array(500))
  assert.equal(stage.appends[0]!.bytes, 500)
})

test('what cannot be handed on is postponed: it ends nothing, and the others have what came for them', async () => {
  const stage = new Stage()
  stage.fetcher.follow(proxyOf(0), position(10))
  await stage.settle()
  stage.appendAnswer = 'throw'
  await stage.asked[0]!.answer([{ batchBytes: 3 }], new Uint8Array(3))
  stage.appendAnswer = 'sent'
  stage.timers.advance(1_000)
  await stage.settle()
  assert.deepEqual(stage.offsets(1), [[0, 10]])
})

test('partitions take turns: who has got data is asked for behind the others', async () => {
  const stage = new Stage()
  for (let partition = 0; partition < 4; partition++) stage.fetcher.follow(proxyOf(partition), position(0))
  await stage.settle()
  // The reply is full after two.
  await stage.asked[0]!.answer([{ batchBytes: 3 }, { index: 1, batchBytes: 3 }], new Uint8Array(6))
  await stage.appended(0, 5)
  await stage.appended(1, 5)
  assert.deepEqual(
    stage.offsets(1).map(([partition]) => partition),
    [2, 3, 0, 1],
  )
})

/** Two partitions, of which the leader was told over its first connection. */
async function synced(): Promise<Stage> {
  const stage = new Stage()
  for (const partition of [0, 1]) stage.fetcher.follow(proxyOf(partition, [2, 1]), position(10))
  await stage.settle()
  const news = [0, 1].map((index) => ({ index, highWatermark: 9 }))
  await stage.asked[0]!.answer(news)
  for (const index of [0, 1]) await stage.appended(index, 10)
  stage.fetcher.progress([0, 1].map((partitionRef) => ({ partitionRef, leaderEpoch: 3, syncedEndOffset: 9 })))
  assert.deepEqual(stage.takeTold(), [
    [0, 9],
    [1, 9],
  ])
  return stage
}

test('synced ends are told again over a new connection, those too that came while there was none', async () => {
  const stage = await synced()
  stage.connection = undefined
  stage.fetcher.progress([{ partitionRef: 1, leaderEpoch: 3, syncedEndOffset: 10 }])
  await stage.asked.at(-1)!.fail(new MillraceError('NETWORK_EXCEPTION', 'it broke'))
  stage.connection = stage.connect()
  stage.timers.advance(200)
  await stage.settle()
  assert.deepEqual(stage.takeTold(), [])
  await stage.asked.at(-1)!.answer([])
  assert.deepEqual(stage.takeTold(), [
    [0, 9],
    [1, 10],
  ])
  await stage.asked.at(-1)!.answer([])
  assert.deepEqual(stage.takeTold(), [], 'once')
})

test('a request that failed: synced ends are told again, though the connection is the same', async () => {
  const stage = await synced()
  await stage.asked.at(-1)!.fail(new MillraceError('REQUEST_TIMED_OUT', 'no answer'))
  stage.timers.advance(200)
  await stage.settle()
  await stage.asked.at(-1)!.answer([])
  assert.equal(stage.takeTold().length, 2)
})

test('what the leader does not seem to have heard is told again now and then', async () => {
  const stage = await synced()
  // It answers with nothing new to say: nobody has told it anything under this epoch.
  for (let reply = 0; reply < 3; reply++) await stage.asked.at(-1)!.answer([{ index: 1, highWatermark: 9 }])
  assert.deepEqual(stage.takeTold(), [])
  stage.timers.advance(2_000)
  await stage.asked.at(-1)!.answer([])
  assert.deepEqual(stage.takeTold(), [[1, 9]])
  // Its watermark stays behind what was synced.
  stage.fetcher.progress([{ partitionRef: 0, leaderEpoch: 3, syncedEndOffset: 10 }])
  stage.takeTold()
  stage.timers.advance(2_000)
  await stage.asked.at(-1)!.answer([])
  assert.deepEqual(stage.takeTold(), [[0, 10]])
})

test('an offline partition, and a log that was cut, have no synced end that is told again', async () => {
  const stage = new Stage()
  const proxies = [0, 1].map((partition) => proxyOf(partition))
  for (const proxy of proxies) stage.fetcher.follow(proxy, position(10))
  await stage.settle()
  stage.fetcher.progress([0, 1].map((partitionRef) => ({ partitionRef, leaderEpoch: 3, syncedEndOffset: 10 })))
  stage.takeTold()
  proxies[0]!.state = 'offline'
  await stage.asked[0]!.answer([{ index: 1, divergingEpoch: 1, divergingEndOffset: 6 }])
  await stage.appended(0, 6)
  stage.timers.advance(5_000)
  stage.takeTold()
  await stage.asked.at(-1)!.answer([])
  assert.deepEqual(stage.takeTold(), [])
})
