/** A link to a shard whose ring is full: what waits for room keeps its place. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EMPTY_BYTES } from '../../../src/base/bytes.ts'
import { ShardLink } from '../../../src/broker/shard-link.ts'
import { errorCodeOf } from '../../../src/model/errors.ts'
import type { ShardIndex } from '../../../src/model/ids.ts'
import { ControlOperation } from '../../../src/ring/control-messages.ts'
import { ProduceFields, readProduce } from '../../../src/ring/message-codec.ts'
import { FETCH_REQUEST_ID_AT, MessageType } from '../../../src/ring/messages.ts'
import {
  type ReplicaAppendedFields,
  ReplicaAppendFields,
  readReplicaAppend,
  readReplicaProgress,
} from '../../../src/ring/replica-codec.ts'
import { createSignals } from '../../../src/ring/ring-signal.ts'
import { createShardChannel, openGatewaySide, openShardSide } from '../../../src/ring/shard-channel.ts'

const BATCH_BYTES = 1_000

function open(stagedBytesMax: number, onPatient = () => {}) {
  const channel = createShardChannel({
    ...{
      requestRingBytes: 8_192,
      readRingBytes: 1_024,
      replyRingBytes: 8_192,
      diskRequestRingBytes: 4_096,
      diskReplyRingBytes: 4_096,
    },
    ...{ pageBytes: 64, pageCount: 1, doorbell: createSignals() },
  })
  const link = new ShardLink({
    ...{ shard: 0 as ShardIndex, side: openGatewaySide(channel), stagedBytesMax },
    ...{ onDirty: () => {}, onPatient, onNotice: () => {} },
  })
  link.state = 'serving'
  const taken: number[] = []
  /** Sends an append that is known by its first byte. */
  const produce = (mark: number) =>
    link.produce(
      ...[{ partitionRef: 0, leaderEpoch: -1, acks: 0, timeoutMs: 0, batches: new Uint8Array(BATCH_BYTES).fill(mark) }],
      ...([undefined, 0, () => taken.push(mark)] as const),
    )
  const { requests, reads } = openShardSide(channel)
  const fields = new ProduceFields()
  /** The marks that lie in the ring, in order; gives their space back. */
  const receive = (): number[] => {
    const marks: number[] = []
    while (requests.next()) {
      readProduce(requests, fields)
      assert.equal(fields.batchBytes, BATCH_BYTES)
      marks.push(requests.bytes[fields.batchesAt]!)
    }
    requests.release()
    return marks
  }
  return { link, produce, receive, requests, reads, taken }
}

test('an append that finds room does not overtake those that wait for it', () => {
  const { link, produce, receive, taken } = open(3 * BATCH_BYTES)
  let sent = 0
  while (produce(sent) === 'sent') sent++
  assert.ok(sent >= 4)
  assert.equal(produce(sent + 1), 'staged')
  assert.equal(taken.length, sent, 'bytes that wait are not taken: their credit is withheld')
  link.flush()
  const marks = receive()
  assert.equal(produce(sent + 2), 'staged', 'there is room now, but two wait')
  link.drain(1)
  link.flush()
  marks.push(...receive())
  const wanted = Array.from({ length: sent + 3 }, (_, mark) => mark)
  assert.deepEqual([marks, taken], [wanted, wanted])
  assert.equal(link.stagedBytes, 0)
})

test('what waits is bounded: one more is refused, and nothing of it is sent later', () => {
  const { link, produce, receive } = open(2 * BATCH_BYTES)
  let sent = 0
  while (produce(sent) === 'sent') sent++
  assert.equal(produce(100), 'staged')
  assert.equal(produce(101), 'full')
  receive()
  link.drain(1)
  link.flush()
  assert.deepEqual(receive(), [sent, 100])
})

const WANTED = { replica: undefined, anyReplica: false, waitMs: 0, minBytes: 1, maxBytes: 1, isolation: 0 }
const PART = { partitionRef: 0, leaderEpoch: -1, fetchOffset: 0, maxBytes: 1, lastEpoch: -1 }

test('a fetch does not wait behind appends, its end stays behind it, and one that never left is answered here', () => {
  const { link, produce, reads } = open(10 * BATCH_BYTES)
  while (produce(0) === 'sent');
  const failed: [number, string][] = []
  const waiter = {
    onFetched: () => assert.fail('nobody has replied'),
    onFetchFailed: (_: unknown, tag: number, code: string) => void failed.push([tag, code]),
  }
  const ids: number[] = []
  const fetch = (tag: number) => {
    const id = link.fetch({ ...WANTED, parts: [PART] }, waiter, tag)
    assert.ok(typeof id === 'number', `fetch ${tag} was refused: ${id}`)
    ids.push(id)
  }
  fetch(0)
  link.flush()
  assert.ok(reads.next(), 'the fetch is there, though the request ring is full')
  assert.equal(reads.view.getUint32(reads.at + FETCH_REQUEST_ID_AT, true), ids[0])
  const { stagedTotal } = link
  while (link.stagedTotal === stagedTotal) fetch(ids.length)
  const last = ids.length - 1
  link.finish(ids[last]!)
  assert.deepEqual(failed, [[last, 'NONE']])
  link.cancel(ids[0]!)
  link.flush()
  const seen: number[] = []
  while (reads.next()) seen.push(reads.type)
  assert.deepEqual(seen, [...new Array(last - 1).fill(MessageType.FETCH), MessageType.FETCH_CANCEL])
})

test('what a leader answered gets past the appends of producers; every waiter is told, at the end of the shard too', () => {
  const { link, produce, requests, reads } = open(10 * BATCH_BYTES)
  while (produce(0) === 'sent');
  const told: [number, string, number][] = []
  const waiter = {
    onReplicaAppended: (tag: number, { errorNumber, logEndOffset }: Readonly<ReplicaAppendedFields>) =>
      void told.push([tag, errorCodeOf(errorNumber), logEndOffset]),
  }
  const append = {
    ...{ partitionRef: 7, leaderEpoch: 3, divergingEpoch: -1, divergingEndOffset: -1 },
    ...{ highWatermark: 5, logStartOffset: 1 },
  }
  const pieces = [new Uint8Array([1, 2]), new Uint8Array([3])]
  assert.equal(link.replicaAppend(append, pieces, waiter, 4), 'sent', 'the reserved quarter has room')
  assert.ok(
    link.replicaProgress([{ ...{ partitionRef: 7, leaderEpoch: 3, nodeId: 2 }, incarnation: 8, syncedEndOffset: 9 }]),
  )
  assert.equal(link.replicaAppend(append, [], waiter, 5), 'sent')
  link.flush()
  const seen: unknown[] = []
  const fields = new ReplicaAppendFields()
  assert.ok(reads.next() && reads.type === MessageType.REPLICA_PROGRESS, 'it does not queue behind appends')
  seen.push(readReplicaProgress(reads)[0]?.syncedEndOffset)
  while (requests.next()) {
    if (requests.type !== MessageType.REPLICA_APPEND) continue
    readReplicaAppend(requests, fields)
    seen.push([...requests.bytes.subarray(fields.batchesAt, fields.batchesAt + fields.batchBytes)])
  }
  assert.deepEqual(seen, [9, [1, 2, 3], []])
  link.fail('it ended')
  assert.deepEqual(told, [
    [4, 'KAFKA_STORAGE_ERROR', -1],
    [5, 'KAFKA_STORAGE_ERROR', -1],
  ])
  assert.equal(link.replicaAppend(append, [], waiter, 6), 'failed')
  assert.equal(link.replicaProgress([]), false)
})

test('synced ends that there is no room for wait for it, the newest of each follower', () => {
  const { link, reads } = open(10 * BATCH_BYTES)
  const rowOf = (partitionRef: number, syncedEndOffset: number) => ({
    ...{ partitionRef, leaderEpoch: 3, nodeId: 2, incarnation: 8, syncedEndOffset },
  })
  const { stagedTotal } = link
  let sent = 0
  let staged = 0
  // Until the reads' lane takes no more: it holds twice its ring.
  for (let before = -1; link.stagedTotal !== before || staged === 0; sent++) {
    before = link.stagedTotal
    link.replicaProgress([rowOf(0, sent)])
    staged = link.stagedTotal - stagedTotal
  }
  for (const end of [7, 8, 9]) link.replicaProgress([rowOf(1, end), rowOf(2, end + 100)])
  const ends = new Map<number, number[]>([0, 1, 2].map((ref) => [ref, []]))
  for (let round = 0; round < 50; round++) {
    link.flush()
    while (reads.next())
      for (const row of readReplicaProgress(reads)) ends.get(row.partitionRef)!.push(row.syncedEndOffset)
    reads.release()
    link.drain(1)
  }
  assert.equal(ends.get(0)!.at(-1), sent - 1)
  assert.deepEqual([ends.get(1), ends.get(2)], [[9], [109]])
})

test('control messages that wait for room are bounded; all of them end with the shard', async () => {
  const { link } = open(BATCH_BYTES)
  const codes: string[] = []
  const all: Promise<unknown>[] = []
  const ask = () => all.push(link.control(ControlOperation.STATS, {}).catch((error) => codes.push(error.code)))
  for (let count = 0; count < 110_000; count++) ask()
  await new Promise((resolve) => setImmediate(resolve))
  assert.ok(codes.length >= 9_000 && codes.length < 10_000, `${codes.length} refused`)
  assert.deepEqual([...new Set(codes)], ['OVERLOADED'])
  codes.length = 0
  link.fail('it ended')
  await Promise.all(all)
  assert.ok(codes.length > 100_000)
  assert.deepEqual([...new Set(codes)], ['KAFKA_STORAGE_ERROR'])
})

test('a request larger than a frame of the ring is refused, and those behind it go on', async () => {
  const { link, reads } = open(BATCH_BYTES)
  assert.ok(reads)
  await assert.rejects(link.control(ControlOperation.STATS, { of: new Uint8Array(5_000) }), {
    code: 'MESSAGE_TOO_LARGE',
  })
  const told: string[] = []
  const waiter = { onGroupReply: () => told.push('a reply'), onGroupFailed: () => told.push('a failure') }
  const fields = {
    partitionRef: 0,
    api: 68,
    clientId: EMPTY_BYTES,
    clientHost: EMPTY_BYTES,
    connectionId: 1,
    isSteady: false,
  }
  assert.equal(link.relay({ ...fields, header: new Uint8Array(5_000) }, waiter)?.code, 'MESSAGE_TOO_LARGE')
  assert.deepEqual(told, [], 'who was refused is not told again')
  void link.control(ControlOperation.STATS, {})
  assert.equal(link.drain(1_000), 0, 'nothing is stuck before it')
})

test('a steady heartbeat waits for company, and leaves with the next that is not; the link says once that it waits', () => {
  let asked = 0
  const { link, produce } = open(BATCH_BYTES, () => asked++)
  const waiter = { onGroupReply: () => {}, onGroupFailed: () => {} }
  const fields = { partitionRef: 0, api: 68, header: EMPTY_BYTES, clientId: EMPTY_BYTES, clientHost: EMPTY_BYTES }
  const beat = () => assert.equal(link.relay({ ...fields, connectionId: 1, isSteady: true }, waiter), undefined)
  beat()
  beat()
  assert.deepEqual([link.isDue, link.side.requests.hasUnpublished, asked], [false, true, 1])
  produce(1)
  assert.equal(link.isDue, true)
  link.flush()
  assert.equal(link.side.requests.hasUnpublished, false)
  beat()
  assert.equal(asked, 2)
  link.flush()
  assert.equal(link.side.requests.hasUnpublished, false, 'what waits leaves when it is told to')
})
