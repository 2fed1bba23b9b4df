/** A fetch over two shards that are played by hand: its pages come back once each, however it ends; aborted transactions are told on. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Connection, type ConnectionPool } from '../../../../src/broker/connection.ts'
import { fetchHandler } from '../../../../src/broker/handlers/01-fetch.ts'
import { FetchCall, type FetchedRow, type FetchPlan } from '../../../../src/broker/handlers/fetch-call.ts'
import type { Call } from '../../../../src/broker/handlers/handler.ts'
import type { HandlerContext } from '../../../../src/broker/handlers/handler-context.ts'
import type { EngineSocket } from '../../../../src/broker/listeners/web-socket-engine.ts'
import type { FetchWaiter, ShardLink } from '../../../../src/broker/shard-link.ts'
import type { AbortedTransaction } from '../../../../src/model/aborted-transaction.ts'
import type { TopicId } from '../../../../src/model/ids.ts'
import { FETCH_ABORTED_MAX, FRAME_HEADER_BYTES_MAX } from '../../../../src/model/limits.ts'
import {
  type FetchReply,
  type FetchRequest,
  fetch,
  PROLOGUE_BYTES,
  unwrapReply,
} from '../../../../src/protocol/index.ts'
import { fetchReplyBytes } from '../../../../src/ring/message-codec.ts'
import * as M from '../../../../src/ring/messages.ts'
import type { RingReader } from '../../../../src/ring/ring-reader.ts'

const PAGE_BYTES = 64
const TOPIC = 'a'.repeat(32) as TopicId

/** A shard's link: keeps the waiter, lends pages in its replies, counts what comes back. */
class PlayedLink {
  state = 'serving'
  reason = null
  readonly lent: number[] = []
  readonly cancelled: number[] = []
  readonly finished: number[] = []
  readonly shard: number
  #waiter: FetchWaiter | undefined
  #tag = 0

  constructor(shard: number) {
    this.shard = shard
  }

  readonly side = {
    pages: {
      view: (_page: number, from: number, to: number) => new Uint8Array(to - from).fill(this.shard),
      release: (page: number) => {
        const at = this.lent.indexOf(page)
        assert.notEqual(at, -1, `page ${page} is given back though it is not lent`)
        this.lent.splice(at, 1)
      },
    },
  }

  fetch(_request: unknown, waiter: FetchWaiter, tag: number): number {
    this.#waiter = waiter
    this.#tag = tag
    return 100 + this.shard
  }

  cancel(requestId: number): void {
    this.cancelled.push(requestId)
  }

  finish(requestId: number): void {
    this.finished.push(requestId)
  }

  /** Answers that the reader's history parts from this one. */
  replyParting(): void {
    const view = new DataView(new ArrayBuffer(fetchReplyBytes(1, 0)))
    view.setUint32(M.FETCH_REPLY_PARTITION_COUNT_AT, 1, true)
    view.setUint32(M.FETCH_REPLY_PARTITIONS_AT + M.FETCH_REPLY_PARTITION_REF_AT, this.shard, true)
    view.setInt32(M.FETCH_REPLY_PARTITIONS_AT + M.FETCH_REPLY_PARTITION_DIVERGING_EPOCH_AT, 2, true)
    this.#waiter!.onFetched(this as unknown as ShardLink, this.#tag, { view, at: 0 } as RingReader)
  }

  /** Answers with one partition of one page. */
  reply(page: number, aborted: readonly AbortedTransaction[] = []): void {
    this.lent.push(page)
    const abortedAt = fetchReplyBytes(1, 1)
    const view = new DataView(new ArrayBuffer(fetchReplyBytes(1, 1, aborted.length)))
    const partAt = M.FETCH_REPLY_PARTITIONS_AT
    view.setUint32(M.FETCH_REPLY_PARTITION_COUNT_AT, 1, true)
    view.setUint32(partAt + M.FETCH_REPLY_PARTITION_REF_AT, this.shard, true)
    view.setUint32(partAt + M.FETCH_REPLY_PARTITION_FRAGMENTS_AT, 1, true)
    view.setFloat64(partAt + M.FETCH_REPLY_PARTITION_HIGH_WATERMARK_AT, 40, true)
    view.setInt32(partAt + M.FETCH_REPLY_PARTITION_DIVERGING_EPOCH_AT, -1, true)
    view.setUint32(partAt + M.FETCH_REPLY_PARTITION_BATCH_BYTES_AT, PAGE_BYTES, true)
    const fragmentAt = partAt + M.FETCH_REPLY_PARTITION_BYTES
    view.setUint32(fragmentAt + M.FRAGMENT_PAGE_AT, page, true)
    view.setUint32(fragmentAt + M.FRAGMENT_TO_AT, PAGE_BYTES, true)
    view.setUint32(partAt + M.FETCH_REPLY_PARTITION_ABORTED_AT, aborted.length, true)
    for (const [index, { producerId, firstOffset }] of aborted.entries()) {
      view.setFloat64(abortedAt + index * M.ABORTED_BYTES + M.ABORTED_PRODUCER_ID_AT, producerId, true)
      view.setFloat64(abortedAt + index * M.ABORTED_BYTES + M.ABORTED_FIRST_OFFSET_AT, firstOffset, true)
    }
    this.#waiter!.onFetched(this as unknown as ShardLink, this.#tag, { view, at: 0 } as RingReader)
  }
}

function open(shards = 2) {
  const links = Array.from({ length: shards }, (_, shard) => new PlayedLink(shard))
  const pool: ConnectionPool = {
    ...{ pendingReceiveBytes: 0, pendingSendBytes: 0, isSendPressed: false, receiveBytesMax: 1e9 },
    ...{
      connectionSendBytesMax: 100,
      windowBytes: 1e6,
      markDirty: () => {},
      markStarved: () => {},
      markWaiting: () => {},
    },
  }
  const connection = new Connection(pool, undefined)
  const sends: { bytes: number; header: Uint8Array; onWritten: () => void }[] = []
  const socket = {
    ...{ bufferedBytes: 0, isOpen: true, context: connection, remoteAddress: '', keepsFragments: true },
    cork: (work: () => void) => work(),
    send(fragments: readonly Uint8Array[], onWritten: () => void) {
      const bytes = fragments.reduce((sum, { length }) => sum + length, 0)
      sends.push({ bytes, header: fragments[0]!.slice(PROLOGUE_BYTES), onWritten })
      return 'kept' as const
    },
    close: () => {},
  }
  connection.socket = socket as EngineSocket<Connection>
  const partitions = links.map(({ shard }) => ({ ref: shard, shard, state: 'serving', reason: null }))
  const gateway = {
    router: { byId: () => ({ partitions }) },
    links,
    pool,
    clock: { nowMs: () => 0, monotonicMs: () => 0 },
    metrics: { observeFetchedBytes() {}, observeRequest() {} },
  }
  const part = (partition: number) => ({ topicId: TOPIC, partition, leaderEpoch: -1, fetchOffset: 0, maxBytes: 1000 })
  const request: FetchRequest = {
    waitMs: 500,
    minBytes: 1000,
    maxBytes: 1000,
    isolation: 0,
    parts: links.map(({ shard }) => part(shard)),
  }
  const start = () =>
    fetchHandler.start({
      ...{ gateway: gateway as unknown as HandlerContext, connection, correlationId: 1 },
      ...{ request, body: new Uint8Array(0), frameBytes: 10 },
    } as Call<never>)
  /** The same, every partition of which is to have a row; answers the rows. */
  const startWhole = (): FetchedRow[][] => {
    const replies: FetchedRow[][] = []
    const plan: FetchPlan = {
      ...{ ...request, name: 'test', replica: undefined, anyReplica: false, allPartitions: true },
      encode(rows) {
        replies.push([...rows])
        return []
      },
    }
    new FetchCall({ gateway: gateway as unknown as HandlerContext, connection, plan }).begin()
    return replies
  }
  return { links: links as [PlayedLink, PlayedLink, PlayedLink], connection, sends, socket, start, startWhole }
}

describe('the pages of a fetch', () => {
  test('are given back when the socket has written the reply, and not before', () => {
    const { links, connection, sends, start } = open()
    start()
    links[0].reply(7)
    links[1].reply(8)
    connection.flush()
    assert.equal(sends.length, 1)
    assert.ok(sends[0]!.bytes > 2 * PAGE_BYTES)
    assert.deepEqual([links[0].lent, links[1].lent, connection.openRequests], [[7], [8], 1])
    sends[0]!.onWritten()
    assert.deepEqual([links[0].lent, links[1].lent, connection.openRequests], [[], [], 0])
  })

  test('come back when the connection ends between the two replies, and from a reply that comes after it', () => {
    const { links, connection, sends, start } = open()
    start()
    links[0].reply(7)
    connection.onClosed()
    assert.deepEqual(links[0].lent, [], 'what had come')
    assert.deepEqual([links[0].cancelled, links[1].cancelled], [[], [101]])
    links[1].reply(8)
    assert.deepEqual(links[1].lent, [], 'what the shard had sent before it heard of it')
    connection.flush()
    assert.equal(sends.length, 0)
  })

  test('come back when the reply finds no room, and the fetch is asked again when there is', () => {
    const { links, connection, sends, socket, start } = open()
    start()
    links[0].reply(7)
    links[1].reply(8)
    socket.bufferedBytes = 101
    connection.flush()
    assert.deepEqual([links[0].lent, links[1].lent, sends.length], [[], [], 0])
    socket.bufferedBytes = 0
    connection.onDrain()
    links[0].reply(9)
    links[1].reply(10)
    connection.flush()
    assert.equal(sends.length, 1)
    sends[0]!.onWritten()
    assert.deepEqual([links[0].lent, links[1].lent, connection.openRequests], [[], [], 0])
  })
})

test('aborted transactions are told with the partition they are of', () => {
  const { links, connection, sends, start } = open()
  start()
  const [first, second] = [
    [{ producerId: 7, firstOffset: 10 }],
    [
      { producerId: 2 ** 53 - 1, firstOffset: 0 },
      { producerId: 7, firstOffset: 2 ** 40 },
    ],
  ]
  links[1].reply(8, second)
  links[0].reply(7, first)
  connection.flush()
  const reply: FetchReply = unwrapReply(fetch.decodeReply(sends[0]!.header))
  assert.deepEqual(
    reply.parts.map(({ aborted }) => aborted),
    [first, second],
  )
})

test('a part that would make the header too large comes with a later fetch; its pages are given back', () => {
  const { links, connection, sends, start } = open(3)
  start()
  const many = Array.from({ length: FETCH_ABORTED_MAX }, (_, index) => {
    return { producerId: 2 ** 52 + index, firstOffset: 2 ** 52 + index }
  })
  links[0].reply(7, many)
  links[1].reply(8, many)
  links[2].reply(9, many.slice(0, 1))
  connection.flush()
  const { header, bytes, onWritten } = sends[0]!
  assert.ok(header.length < FRAME_HEADER_BYTES_MAX)
  const { parts } = unwrapReply(fetch.decodeReply(header))
  assert.deepEqual(
    parts.map(({ index, aborted }) => [index, aborted.length]),
    [
      [0, FETCH_ABORTED_MAX],
      [1, FETCH_ABORTED_MAX],
    ],
  )
  assert.equal(bytes, PROLOGUE_BYTES + header.length + 2 * PAGE_BYTES)
  onWritten()
  assert.deepEqual(
    links.map(({ lent }) => lent),
    [[], [], []],
  )
})

test('where every partition is to have a row, such a part has one without batches, with its ends', () => {
  const { links, startWhole } = open(3)
  const replies = startWhole()
  const many = Array.from({ length: FETCH_ABORTED_MAX }, (_, index) => ({ producerId: index, firstOffset: index }))
  for (const [index, link] of links.entries()) link.reply(7 + index, many)
  const rows = replies[0]!.map(({ part, views }) => [
    ...[part.index, part.highWatermark, part.batchBytes, part.aborted.length, views.length],
  ])
  assert.deepEqual(rows, [
    [0, 40, PAGE_BYTES, FETCH_ABORTED_MAX, 1],
    [1, 40, PAGE_BYTES, FETCH_ABORTED_MAX, 1],
    [2, 40, 0, 0, 0],
  ])
})

test('a history that parts is told at once: the others are to finish', () => {
  const { links, start } = open()
  start()
  links[0].reply(7)
  assert.deepEqual(links[1].finished, [], 'too little for minBytes')
  const parting = open()
  parting.start()
  parting.links[0].replyParting()
  assert.deepEqual(parting.links[1].finished, [101])
})
