/** A link to a shard whose ring is full: what waits for room keeps its place. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ShardLink } from '../../../src/broker/shard-link.ts'
import type { ShardIndex } from '../../../src/model/ids.ts'
import { ProduceFields, readProduce } from '../../../src/ring/message-codec.ts'
import { createSignals } from '../../../src/ring/ring-signal.ts'
import { createShardChannel, openGatewaySide, openShardSide } from '../../../src/ring/shard-channel.ts'

const BATCH_BYTES = 1_000

function open(stagedBytesMax: number) {
  const channel = createShardChannel({
    ...{ requestRingBytes: 8_192, replyRingBytes: 8_192, diskRequestRingBytes: 4_096, diskReplyRingBytes: 4_096 },
    ...{ pageBytes: 64, pageCount: 1, doorbell: createSignals() },
  })
  const link = new ShardLink({
    ...{ shard: 0 as ShardIndex, side: openGatewaySide(channel), stagedBytesMax },
    ...{ onDirty: () => {}, onNotice: () => {} },
  })
  link.state = 'serving'
  const taken: number[] = []
  /** Sends an append that is known by its first byte. */
  const produce = (mark: number) =>
    link.produce(
      ...[{ partitionRef: 0, leaderEpoch: -1, acks: 0, timeoutMs: 0, batches: new Uint8Array(BATCH_BYTES).fill(mark) }],
      ...([undefined, 0, () => taken.push(mark)] as const),
    )
  const { requests } = openShardSide(channel)
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
  return { link, produce, receive, taken }
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
