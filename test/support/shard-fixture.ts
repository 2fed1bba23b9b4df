/** A whole shard and its disk thread in the test's thread: real rings, a disk in memory, a clock that is moved by hand. */
import assert from 'node:assert/strict'
import { AgentInvoker } from '../../src/agent/agent-invoker.ts'
import { utf8Encode } from '../../src/base/bytes.ts'
import { SeededPrng } from '../../src/base/prng.ts'
import type { FileSystem } from '../../src/io/file-system.ts'
import { MemoryFileSystem } from '../../src/io/memory-file-system.ts'
import { STATE_FOLDER } from '../../src/log/data-dir.ts'
import { finishRecovery } from '../../src/log/finish-recovery.ts'
import type { AbortedTransaction } from '../../src/model/aborted-transaction.ts'
import { type ErrorCode, errorCodeOf } from '../../src/model/errors.ts'
import type { LeaderEpoch, PartitionRef } from '../../src/model/ids.ts'
import type { TopicConfig } from '../../src/model/topic-config.ts'
import { BatchView } from '../../src/record/batch-view.ts'
import { encodeControlBody, readControlReply, readNotice, writeControl } from '../../src/ring/control-codec.ts'
import { type ControlOperation, type Notice, ControlOperation as Operation } from '../../src/ring/control-messages.ts'
import {
  controlErrorNumber,
  controlRequestId,
  groupReplyHeader,
  writeGroupRequest,
} from '../../src/ring/group-codec.ts'
import {
  claimFetch,
  claimProduce,
  FetchFields,
  fetchReplyAbortedAt,
  ProduceFields,
  ProduceReplyFields,
  readAborted,
  readProduceReply,
  setFetchPartition,
} from '../../src/ring/message-codec.ts'
import * as M from '../../src/ring/messages.ts'
import {
  claimReplicaAppend,
  ReplicaAppendedFields,
  ReplicaAppendFields,
  type ReplicaProgressRow,
  type ReplicaSyncedRow,
  readReplicaAppended,
  readReplicaSynced,
  writeReplicaProgress,
} from '../../src/ring/replica-codec.ts'
import { createSignals } from '../../src/ring/ring-signal.ts'
import {
  createShardChannel,
  type GatewaySide,
  openDiskSide,
  openGatewaySide,
  openShardSide,
  type ShardChannelOptions,
} from '../../src/ring/shard-channel.ts'
import { DiskAgent } from '../../src/worker/disk-agent.ts'
import { ShardAgent } from '../../src/worker/shard-agent.ts'
import { SHARD_DEFAULTS, type ShardOptions } from '../../src/worker/shard-options.ts'
import { DATA_DIR, ManualClock, TOPIC, topicConfig } from './log-fixture.ts'

export interface ShardFixtureOptions {
  readonly files?: FileSystem
  readonly channel?: Partial<ShardChannelOptions>
  readonly shard?: Partial<ShardOptions>
  readonly clock?: ManualClock
}

export interface ProduceAnswer {
  readonly kind: 'produce'
  readonly requestId: number
  readonly error: ErrorCode
  readonly text: string
  readonly baseOffset: number
  readonly durability: number
  readonly logAppendTimeMs: number
}

export interface FetchedPartition {
  readonly ref: number
  readonly error: ErrorCode
  readonly highWatermark: number
  readonly lastStableOffset: number
  readonly logStartOffset: number
  readonly leaderEpoch: number
  readonly divergingEpoch: number
  readonly divergingEndOffset: number
  readonly aborted: readonly AbortedTransaction[]
  readonly bytes: Uint8Array
  readonly pages: readonly number[]
}

export interface FetchAnswer {
  readonly kind: 'fetch'
  readonly requestId: number
  readonly partitions: readonly FetchedPartition[]
}

export interface ControlAnswer {
  readonly kind: 'control'
  readonly requestId: number
  readonly error: ErrorCode
  readonly body: unknown
}

export interface AppendedAnswer {
  readonly kind: 'appended'
  readonly requestId: number
  readonly error: ErrorCode
  readonly text: string
  readonly lastEpoch: number
  readonly logEndOffset: number
  readonly highWatermark: number
}

export type Answer = ProduceAnswer | FetchAnswer | ControlAnswer | AppendedAnswer

const MIB = 1024 * 1024

export class ShardFixture {
  readonly files: FileSystem
  readonly clock: ManualClock
  readonly gateway: GatewaySide
  readonly shard: ShardAgent
  readonly disk: DiskAgent
  readonly agents: AgentInvoker
  readonly notices: Notice[] = []
  /** Rows of REPLICA_SYNCED, in order. */
  readonly synced: ReplicaSyncedRow[] = []
  /** Pages of answers are given back as they are read, unless the test holds them. */
  holdsPages = false
  readonly #answers = new Map<number, Answer>()
  /** Requests whose answers are headers. */
  readonly #relayed = new Set<number>()
  #nextRequestId = 1

  constructor(options: ShardFixtureOptions = {}) {
    this.files = options.files ?? new MemoryFileSystem()
    this.clock = options.clock ?? new ManualClock()
    if (this.files.stat(`${DATA_DIR}/${STATE_FOLDER}`).kind === 'absent') finishFirstRecovery(this.files)
    const channel = createShardChannel({
      requestRingBytes: 4 * MIB,
      readRingBytes: MIB,
      replyRingBytes: MIB,
      diskRequestRingBytes: 64 * 1024,
      diskReplyRingBytes: 64 * 1024,
      pageBytes: 16 * 1024,
      pageCount: 256,
      doorbell: createSignals(),
      ...options.channel,
    })
    this.gateway = openGatewaySide(channel)
    this.shard = new ShardAgent({
      options: { ...SHARD_DEFAULTS, shard: 0, incarnation: 1, dataDir: DATA_DIR, journalBytes: MIB, ...options.shard },
      side: openShardSide(channel),
      files: this.files,
      clock: this.clock,
      prng: new SeededPrng(1),
    })
    this.disk = new DiskAgent({ name: 'disk', side: openDiskSide(channel), files: this.files, clock: this.clock })
    this.agents = new AgentInvoker([this.shard, this.disk])
  }

  /** Opens partitions 0 … count − 1 of one topic, handle = number. */
  open(count = 1, config: Partial<TopicConfig> = {}, recovered: (partition: number) => unknown = () => null): unknown {
    const partitions = Array.from({ length: count }, (_, partition) => ({
      partitionRef: partition as PartitionRef,
      topicId: TOPIC,
      partition,
      leaderEpoch: 3 as LeaderEpoch,
      config: topicConfig(config),
      recovered: recovered(partition),
      replicas: null,
    }))
    return this.control(Operation.OPEN_PARTITIONS, { partitions })
  }

  sendProduce(batches: Uint8Array, fields: Partial<ProduceFields> = {}): number {
    const produce = Object.assign(new ProduceFields(), { acks: -1, timeoutMs: 30_000 }, fields)
    produce.requestId = produce.acks === 0 ? 0 : this.#nextRequestId++
    produce.batchBytes = batches.length
    const at = claimProduce(this.gateway.requests, produce)
    assert.notEqual(at, -1, 'the request ring is full')
    this.gateway.requests.bytes.set(batches, at)
    this.gateway.requests.publish()
    return produce.requestId
  }

  sendFetch(
    parts: readonly { ref?: number; offset: number; maxBytes?: number; leaderEpoch?: number; lastEpoch?: number }[],
    fields: Partial<FetchFields> = {},
  ): number {
    const fetch = Object.assign(new FetchFields(), { minBytes: 1, maxBytes: MIB }, fields)
    fetch.requestId = this.#nextRequestId++
    fetch.partitionCount = parts.length
    const at = claimFetch(this.gateway.reads, fetch)
    assert.notEqual(at, -1, 'the read ring is full')
    for (const [index, part] of parts.entries())
      setFetchPartition(this.gateway.reads.view, at, index, {
        partitionRef: part.ref ?? 0,
        leaderEpoch: part.leaderEpoch ?? -1,
        fetchOffset: part.offset,
        maxBytes: part.maxBytes ?? MIB,
        lastEpoch: part.lastEpoch ?? -1,
      })
    this.gateway.reads.publish()
    return fetch.requestId
  }

  sendEnd(type: typeof M.MessageType.FETCH_FINISH | typeof M.MessageType.FETCH_CANCEL, requestId: number): void {
    const at = this.gateway.reads.claim(type, M.FETCH_END_BYTES, 'control')
    this.gateway.reads.view.setUint32(at, requestId, true)
    this.gateway.reads.publish()
  }

  sendReplicaAppend(fields: Partial<ReplicaAppendFields>, batches: Uint8Array): number {
    const append = Object.assign(new ReplicaAppendFields(), fields)
    append.requestId = this.#nextRequestId++
    append.batchBytes = batches.length
    const at = claimReplicaAppend(this.gateway.requests, append)
    assert.notEqual(at, -1, 'the request ring is full')
    this.gateway.requests.bytes.set(batches, at)
    this.gateway.requests.publish()
    return append.requestId
  }

  sendReplicaProgress(rows: readonly ReplicaProgressRow[]): void {
    assert.ok(writeReplicaProgress(this.gateway.reads, rows))
    this.gateway.reads.publish()
  }

  sendControl(operation: ControlOperation, body: unknown): number {
    const requestId = this.#nextRequestId++
    assert.ok(writeControl(this.gateway.requests, { requestId, operation, body: encodeControlBody(body) }))
    this.gateway.requests.publish()
    return requestId
  }

  /** Its answer's body is the header of the reply. */
  sendGroupRequest(api: number, header: Uint8Array, partitionRef = 0): number {
    const requestId = this.#nextRequestId++
    const fields = {
      partitionRef,
      api,
      header,
      clientId: utf8Encode('c'),
      clientHost: utf8Encode('h'),
      connectionId: 5,
      isSteady: false,
    }
    assert.ok(writeGroupRequest(this.gateway.requests, requestId, fields))
    this.gateway.requests.publish()
    this.#relayed.add(requestId)
    return requestId
  }

  /** Steps shard and disk until both are idle, taking answers meanwhile. */
  settle(): void {
    for (let round = 0; round < 100_000; round++) if (this.agents.turn() + this.drain() === 0) return
    assert.fail('the shard does not come to rest')
  }

  /** Moves the clock and settles. */
  pass(ms: number): void {
    this.clock.ms += ms
    this.settle()
  }

  answer(requestId: number): Answer | undefined {
    this.settle()
    return this.#answers.get(requestId)
  }

  /** The answer if it has been drained already; steps nothing. */
  peek(requestId: number): Answer | undefined {
    return this.#answers.get(requestId)
  }

  produce(batches: Uint8Array, fields: Partial<ProduceFields> = {}): ProduceAnswer {
    const answer = this.answer(this.sendProduce(batches, fields))
    assert.equal(answer?.kind, 'produce')
    return answer as ProduceAnswer
  }

  fetch(
    parts: readonly { ref?: number; offset: number; maxBytes?: number; leaderEpoch?: number }[],
    fields: Partial<FetchFields> = {},
  ): FetchAnswer {
    const answer = this.answer(this.sendFetch(parts, fields))
    assert.equal(answer?.kind, 'fetch')
    return answer as FetchAnswer
  }

  control(operation: ControlOperation, body: unknown): ControlAnswer {
    const answer = this.answer(this.sendControl(operation, body))
    assert.equal(answer?.kind, 'control')
    return answer as ControlAnswer
  }

  /** Takes what is in the reply ring. */
  drain(): number {
    const { replies } = this.gateway
    let taken = 0
    while (replies.next()) {
      taken++
      if (replies.type === M.MessageType.PRODUCE_REPLY) this.#onProduceReply()
      else if (replies.type === M.MessageType.FETCH_REPLY) this.#onFetchReply()
      else if (replies.type === M.MessageType.NOTICE) this.notices.push(readNotice(replies))
      else if (replies.type === M.MessageType.REPLICA_SYNCED) this.synced.push(...readReplicaSynced(replies))
      else if (replies.type === M.MessageType.REPLICA_APPENDED) this.#onAppended()
      else {
        const isRelayed = this.#relayed.delete(controlRequestId(replies)) && controlErrorNumber(replies) === 0
        const { requestId, errorNumber, body } = isRelayed
          ? { requestId: controlRequestId(replies), errorNumber: 0, body: groupReplyHeader(replies).slice() }
          : readControlReply(replies)
        this.#keep({ kind: 'control', requestId, error: errorCodeOf(errorNumber), body })
      }
    }
    replies.release()
    return taken
  }

  #onAppended(): void {
    const fields = new ReplicaAppendedFields()
    readReplicaAppended(this.gateway.replies, fields)
    const { requestId, errorNumber, text, lastEpoch, logEndOffset, highWatermark } = fields
    this.#keep({
      kind: 'appended',
      requestId,
      error: errorCodeOf(errorNumber),
      text,
      lastEpoch,
      logEndOffset,
      highWatermark,
    })
  }

  #onProduceReply(): void {
    const fields = new ProduceReplyFields()
    readProduceReply(this.gateway.replies, fields)
    const { requestId, errorNumber, text, baseOffset, durability, logAppendTimeMs } = fields
    const error = errorCodeOf(errorNumber)
    this.#keep({ kind: 'produce', requestId, error, text, baseOffset, durability, logAppendTimeMs })
  }

  #onFetchReply(): void {
    const { view, at } = this.gateway.replies
    const count = view.getUint32(at + M.FETCH_REPLY_PARTITION_COUNT_AT, true)
    const partitions: FetchedPartition[] = []
    let abortedAt = fetchReplyAbortedAt(view, at)
    let fragmentAt = at + M.FETCH_REPLY_PARTITIONS_AT + count * M.FETCH_REPLY_PARTITION_BYTES
    for (let index = 0; index < count; index++) {
      const line = at + M.FETCH_REPLY_PARTITIONS_AT + index * M.FETCH_REPLY_PARTITION_BYTES
      const pages: number[] = []
      const pieces: Uint8Array[] = []
      for (let left = view.getUint32(line + M.FETCH_REPLY_PARTITION_FRAGMENTS_AT, true); left > 0; left--) {
        const page = view.getUint32(fragmentAt + M.FRAGMENT_PAGE_AT, true)
        const from = view.getUint32(fragmentAt + M.FRAGMENT_FROM_AT, true)
        const to = view.getUint32(fragmentAt + M.FRAGMENT_TO_AT, true)
        pieces.push(this.gateway.pages.view(page, from, to).slice())
        pages.push(page)
        if (!this.holdsPages) this.gateway.pages.release(page)
        fragmentAt += M.FRAGMENT_BYTES
      }
      const bytes = new Uint8Array(Buffer.concat(pieces))
      assert.equal(bytes.length, view.getUint32(line + M.FETCH_REPLY_PARTITION_BATCH_BYTES_AT, true))
      const abortedCount = view.getUint32(line + M.FETCH_REPLY_PARTITION_ABORTED_AT, true)
      const aborted = readAborted(view, abortedAt, abortedCount)
      abortedAt += abortedCount * M.ABORTED_BYTES
      partitions.push({
        ref: view.getUint32(line + M.FETCH_REPLY_PARTITION_REF_AT, true),
        error: errorCodeOf(view.getInt32(line + M.FETCH_REPLY_PARTITION_ERROR_AT, true)),
        highWatermark: view.getFloat64(line + M.FETCH_REPLY_PARTITION_HIGH_WATERMARK_AT, true),
        lastStableOffset: view.getFloat64(line + M.FETCH_REPLY_PARTITION_LAST_STABLE_AT, true),
        logStartOffset: view.getFloat64(line + M.FETCH_REPLY_PARTITION_LOG_START_AT, true),
        leaderEpoch: view.getInt32(line + M.FETCH_REPLY_PARTITION_LEADER_EPOCH_AT, true),
        divergingEpoch: view.getInt32(line + M.FETCH_REPLY_PARTITION_DIVERGING_EPOCH_AT, true),
        divergingEndOffset: view.getFloat64(line + M.FETCH_REPLY_PARTITION_DIVERGING_END_AT, true),
        aborted,
        bytes,
        pages,
      })
    }
    assert.equal(abortedAt, at + this.gateway.replies.length, 'the reply ends with the last aborted transaction')
    const requestId = view.getUint32(at + M.FETCH_REPLY_REQUEST_ID_AT, true)
    this.#keep({ kind: 'fetch', requestId, partitions })
  }

  #keep(answer: Answer): void {
    assert.ok(!this.#answers.has(answer.requestId), `request ${answer.requestId} is answered twice`)
    this.#answers.set(answer.requestId, answer)
  }
}

/**
 * A new data dir as every first start leaves it to its shards: the checkpoint that ends a recovery is there. Without it the next
 * start must take it for lost, and then it cuts nothing but torn tails.
 */
function finishFirstRecovery(files: FileSystem): void {
  files.makeFolder(DATA_DIR)
  files.syncFolder('/')
  finishRecovery(files, { dataDir: DATA_DIR, incarnation: 1, results: [] })
}

/** [base offset, next offset] of each batch in `bytes`, which must be whole batches. */
export function batchesOf(bytes: Uint8Array): [number, number][] {
  const batches: [number, number][] = []
  const view = new BatchView()
  for (let at = 0; at < bytes.length; at = view.end) {
    view.reset(bytes, at)
    assert.ok(view.end <= bytes.length, 'a batch is cut')
    assert.equal(view.computeCrc(), view.crc)
    batches.push([view.baseOffset, view.nextOffset])
  }
  return batches
}
