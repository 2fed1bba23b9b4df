/**
 * A shard without storage, stepped by hand or by a timer: speaks the ring's messages, keeps batches in memory. It is what the
 * gateway's tests talk to: no threads, no files, and it can be told to misbehave.
 */

import { errorNumberOf } from '../../src/model/errors.ts'
import { encodeControlBody, readControl, writeControlReply, writeNotice } from '../../src/ring/control-codec.ts'
import {
  ControlOperation,
  type ListOffsetsBody,
  type Notice,
  type OpenPartitionsBody,
  type TrimBody,
} from '../../src/ring/control-messages.ts'
import { controlRequestId, GroupRequestReader } from '../../src/ring/group-codec.ts'
import {
  claimFetchReply,
  FetchFields,
  FetchPartitionFields,
  getFetchPartition,
  ProduceFields,
  ProduceReplyFields,
  readFetch,
  readProduce,
  writeProduceReply,
} from '../../src/ring/message-codec.ts'
import {
  CONTROL_OPERATION_AT,
  FETCH_REPLY_PARTITION_ABORTED_AT,
  FETCH_REPLY_PARTITION_BATCH_BYTES_AT,
  FETCH_REPLY_PARTITION_BYTES,
  FETCH_REPLY_PARTITION_DIVERGING_END_AT,
  FETCH_REPLY_PARTITION_DIVERGING_EPOCH_AT,
  FETCH_REPLY_PARTITION_ERROR_AT,
  FETCH_REPLY_PARTITION_FRAGMENTS_AT,
  FETCH_REPLY_PARTITION_HIGH_WATERMARK_AT,
  FETCH_REPLY_PARTITION_LAST_STABLE_AT,
  FETCH_REPLY_PARTITION_LEADER_EPOCH_AT,
  FETCH_REPLY_PARTITION_LOG_START_AT,
  FETCH_REPLY_PARTITION_REF_AT,
  FETCH_REPLY_PARTITIONS_AT,
  FRAGMENT_BYTES,
  FRAGMENT_FROM_AT,
  FRAGMENT_PAGE_AT,
  FRAGMENT_TO_AT,
  MessageType,
} from '../../src/ring/messages.ts'
import type { PageOwner } from '../../src/ring/page-pool.ts'
import type { RingReader } from '../../src/ring/ring-reader.ts'
import { openShardSide, type ShardChannel, type ShardSide } from '../../src/ring/shard-channel.ts'

const RECORDS_COUNT_AT = 57
const BATCH_LENGTH_AT = 8

interface FakePartition {
  readonly leaderEpoch: number
  readonly batches: { readonly baseOffset: number; readonly bytes: Uint8Array }[]
  nextOffset: number
  logStart: number
}

interface WaitingFetch {
  readonly fields: FetchFields
  readonly parts: FetchPartitionFields[]
  readonly deadlineMs: number
}

export class FakeShard {
  readonly side: ShardSide
  readonly partitions = new Map<number, FakePartition>()
  /** Why each was done, in order. */
  readonly seen: string[] = []
  waiting: WaitingFetch[] = []
  /** Requests are not taken while it is set. */
  isPaused = false
  isStopped = false
  readonly #nowMs: () => number
  readonly #groupRequests: GroupRequestReader

  constructor(channel: ShardChannel, nowMs: () => number) {
    this.side = openShardSide(channel)
    this.#groupRequests = new GroupRequestReader(this.side.requests)
    this.#nowMs = nowMs
  }

  get pages(): PageOwner {
    return this.side.pages
  }

  notice(notice: Notice): void {
    writeNotice(this.side.replies, notice)
    this.#publish()
  }

  /** Takes what is there; answers how much. */
  step(): number {
    if (this.isPaused || this.isStopped) return 0
    let done = 0
    const { reads, requests } = this.side
    let wantsRoom = false
    for (const ring of [reads, requests]) {
      while (ring.next()) {
        done++
        this.#take(ring)
      }
      if (ring.release()) wantsRoom = true
    }
    const waiting = this.waiting
    this.waiting = []
    for (const fetch of waiting) this.#fetch(fetch)
    if (done > 0 || wantsRoom) this.#publish()
    return done
  }

  #publish(): void {
    this.side.replies.publish()
    this.side.doorbell.ring()
  }

  #take(ring: RingReader): void {
    switch (ring.type) {
      case MessageType.PRODUCE:
        this.#produce()
        return
      case MessageType.FETCH: {
        const fields = new FetchFields()
        readFetch(ring, fields)
        const parts = Array.from({ length: fields.partitionCount }, (_, index) => {
          const part = new FetchPartitionFields()
          getFetchPartition(ring.view, fields.partitionsAt, index, part)
          return part
        })
        this.seen.push(`fetch minBytes=${fields.minBytes} maxBytes=${fields.maxBytes} parts=${parts.length}`)
        this.#fetch({ fields, parts, deadlineMs: this.#nowMs() + fields.waitMs })
        return
      }
      case MessageType.FETCH_FINISH:
      case MessageType.FETCH_CANCEL: {
        const requestId = ring.view.getUint32(ring.at, true)
        this.seen.push(ring.type === MessageType.FETCH_FINISH ? 'finish' : 'cancel')
        const fetch = this.waiting.find((waiting) => waiting.fields.requestId === requestId)
        if (fetch === undefined) return
        this.waiting = this.waiting.filter((waiting) => waiting !== fetch)
        this.#fetch({ ...fetch, deadlineMs: 0 })
        return
      }
      default:
        this.#control()
    }
  }

  #produce(): void {
    const { requests, replies } = this.side
    const fields = new ProduceFields()
    readProduce(requests, fields)
    const partition = this.partitions.get(fields.partitionRef)
    const reply = new ProduceReplyFields()
    reply.requestId = fields.requestId
    reply.partitionRef = fields.partitionRef
    if (partition === undefined) {
      reply.errorNumber = 3
      reply.text = 'the shard does not have it'
    } else {
      reply.baseOffset = partition.nextOffset
      reply.durability = 2
      reply.leaderEpoch = partition.leaderEpoch
      this.#append(partition, requests.bytes.slice(fields.batchesAt, fields.batchesAt + fields.batchBytes))
    }
    if (fields.requestId !== 0) writeProduceReply(replies, reply)
  }

  #append(partition: FakePartition, bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer)
    for (let at = 0; at < bytes.length; ) {
      const batchBytes = 12 + view.getInt32(at + BATCH_LENGTH_AT)
      const records = view.getInt32(at + RECORDS_COUNT_AT)
      view.setBigInt64(at, BigInt(partition.nextOffset))
      partition.batches.push({ baseOffset: partition.nextOffset, bytes: bytes.subarray(at, at + batchBytes) })
      partition.nextOffset += records
      at += batchBytes
    }
  }

  #fetch(fetch: WaitingFetch): void {
    const found = fetch.parts.map((part) => this.#batchesOf(part, fetch.fields.maxBytes))
    const bytes = found.reduce((sum, { batches }) => sum + batches.reduce((inner, batch) => inner + batch.length, 0), 0)
    const hasError = found.some(({ errorNumber }) => errorNumber !== 0)
    if (bytes < fetch.fields.minBytes && !hasError && this.#nowMs() < fetch.deadlineMs) {
      this.waiting.push(fetch)
      return
    }
    this.#reply(fetch, found)
  }

  #batchesOf(part: FetchPartitionFields, maxBytes: number): { errorNumber: number; batches: Uint8Array[] } {
    const partition = this.partitions.get(part.partitionRef)
    if (partition === undefined) return { errorNumber: 3, batches: [] }
    if (part.fetchOffset > partition.nextOffset) return { errorNumber: 1, batches: [] }
    const batches: Uint8Array[] = []
    let bytes = 0
    for (const batch of partition.batches) {
      if (batch.baseOffset < part.fetchOffset) continue
      if (batches.length > 0 && bytes + batch.bytes.length > Math.min(maxBytes, part.maxBytes)) break
      batches.push(batch.bytes)
      bytes += batch.bytes.length
    }
    return { errorNumber: 0, batches }
  }

  #reply(fetch: WaitingFetch, found: { errorNumber: number; batches: Uint8Array[] }[]): void {
    const fragments = found.map(({ batches }) => batches.flatMap((batch) => this.#pagesOf(batch)))
    const fragmentCount = fragments.reduce((sum, list) => sum + list.length, 0)
    const { replies } = this.side
    const head = { requestId: fetch.fields.requestId, partitionCount: found.length, fragmentCount }
    let at = claimFetchReply(replies, head) + FETCH_REPLY_PARTITIONS_AT
    const { view } = replies
    for (let index = 0; index < found.length; index++, at += FETCH_REPLY_PARTITION_BYTES) {
      const partition = this.partitions.get(fetch.parts[index]!.partitionRef)
      view.setUint32(at + FETCH_REPLY_PARTITION_REF_AT, fetch.parts[index]!.partitionRef, true)
      view.setInt32(at + FETCH_REPLY_PARTITION_ERROR_AT, found[index]!.errorNumber, true)
      view.setFloat64(at + FETCH_REPLY_PARTITION_HIGH_WATERMARK_AT, partition?.nextOffset ?? -1, true)
      view.setFloat64(at + FETCH_REPLY_PARTITION_LAST_STABLE_AT, partition?.nextOffset ?? -1, true)
      view.setFloat64(at + FETCH_REPLY_PARTITION_LOG_START_AT, partition?.logStart ?? -1, true)
      view.setUint32(at + FETCH_REPLY_PARTITION_FRAGMENTS_AT, fragments[index]!.length, true)
      view.setInt32(at + FETCH_REPLY_PARTITION_LEADER_EPOCH_AT, partition?.leaderEpoch ?? -1, true)
      const batchBytes = fragments[index]!.reduce((sum, fragment) => sum + fragment.to, 0)
      view.setUint32(at + FETCH_REPLY_PARTITION_BATCH_BYTES_AT, batchBytes, true)
      view.setUint32(at + FETCH_REPLY_PARTITION_ABORTED_AT, 0, true)
      view.setInt32(at + FETCH_REPLY_PARTITION_DIVERGING_EPOCH_AT, -1, true)
      view.setFloat64(at + FETCH_REPLY_PARTITION_DIVERGING_END_AT, -1, true)
    }
    for (const { page, to } of fragments.flat()) {
      view.setUint32(at + FRAGMENT_PAGE_AT, page, true)
      view.setUint32(at + FRAGMENT_FROM_AT, 0, true)
      view.setUint32(at + FRAGMENT_TO_AT, to, true)
      at += FRAGMENT_BYTES
    }
    this.#publish()
  }

  #pagesOf(batch: Uint8Array): { page: number; to: number }[] {
    const pages: { page: number; to: number }[] = []
    for (let from = 0; from < batch.length; from += this.pages.pageBytes) {
      const page = this.pages.acquire()
      if (page === -1) throw new Error('the fake shard has no page left')
      const part = batch.subarray(from, from + this.pages.pageBytes)
      this.pages.bytes(page).set(part)
      pages.push({ page, to: part.length })
    }
    return pages
  }

  #control(): void {
    const { requests, replies } = this.side
    if (requests.view.getInt32(requests.at + CONTROL_OPERATION_AT, true) === ControlOperation.GROUP_REQUEST) {
      this.seen.push(`group request ${this.#groupRequests.read().api}`)
      const errorNumber = errorNumberOf('COORDINATOR_NOT_AVAILABLE')
      const body = encodeControlBody('a fake shard coordinates no groups')
      writeControlReply(replies, { requestId: controlRequestId(requests), errorNumber, body })
      return
    }
    const { requestId, operation, body } = readControl(this.side.requests)
    this.seen.push(`control ${operation}`)
    const answer = this.#answer(operation, body)
    writeControlReply(this.side.replies, { requestId, errorNumber: 0, body: encodeControlBody(answer) })
    if (operation === ControlOperation.SHUTDOWN) this.isStopped = true
  }

  #answer(operation: number, body: unknown): unknown {
    switch (operation) {
      case ControlOperation.OPEN_PARTITIONS: {
        for (const { partitionRef, leaderEpoch } of (body as OpenPartitionsBody).partitions)
          this.partitions.set(partitionRef, { leaderEpoch, batches: [], nextOffset: 0, logStart: 0 })
        return { failed: [] }
      }
      case ControlOperation.DELETE_PARTITION:
        this.partitions.delete((body as { partitionRef: number }).partitionRef)
        return {}
      case ControlOperation.LIST_OFFSETS: {
        const { partitionRef, timestampMs } = body as ListOffsetsBody
        const partition = this.partitions.get(partitionRef)!
        const offset = timestampMs === -2 ? partition.logStart : partition.nextOffset
        return { offset, timestampMs: -1, leaderEpoch: partition.leaderEpoch }
      }
      case ControlOperation.TRIM: {
        const { partitionRef, beforeOffset } = body as TrimBody
        const partition = this.partitions.get(partitionRef)!
        partition.logStart = beforeOffset === -1 ? partition.nextOffset : beforeOffset
        return { logStartOffset: partition.logStart }
      }
      case ControlOperation.STATS:
        return { partitions: this.partitions.size, appendedRecords: 1, syncMicroseconds: 1_000_000 }
      default:
        return {}
    }
  }
}
