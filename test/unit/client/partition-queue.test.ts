/** The queue of one partition: order and sequences through failures, whatever comes back first. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { faultOf, PartitionQueue } from '../../../src/client/partition-queue.ts'
import { ProducerBatch } from '../../../src/client/producer-batch.ts'
import { MillraceError } from '../../../src/model/errors.ts'
import { BatchWriter } from '../../../src/record/batch-writer.ts'

const NOW_MS = 1_000
const retriable = faultOf(new MillraceError('NOT_LEADER_OR_FOLLOWER'))

function newQueue(isTransactional = false): PartitionQueue {
  const queue = new PartitionQueue('t', 0, {
    ...{ idempotent: true, isTransactional, retriesMax: 1_000, inFlightMax: 5, lingerMs: 0 },
  })
  queue.useProducerId(7, 0)
  return queue
}

/** A sealed batch of two records at the end of the queue. */
function add(queue: PartitionQueue): ProducerBatch {
  const writer = new BatchWriter()
  for (let index = 0; index < 2; index++) writer.append(null, new Uint8Array(10), null, NOW_MS)
  const batch = new ProducerBatch(writer, {
    ...{ createdMs: NOW_MS, deadlineMs: NOW_MS + 60_000, codec: 0, isTransactional: false },
  })
  queue.begin(batch)
  queue.seal()
  return batch
}

/** Everything that may be sent now, in the order it is taken. */
function takeAll(queue: PartitionQueue): ProducerBatch[] {
  const taken: ProducerBatch[] = []
  while (queue.canTake(NOW_MS, true)) taken.push(queue.take(NOW_MS, true))
  return taken
}

/** A queue that may pipeline, with `count` batches in flight. */
function inFlight(count: number): { queue: PartitionQueue; batches: ProducerBatch[] } {
  const queue = newQueue()
  const first = add(queue)
  assert.deepEqual(takeAll(queue), [first])
  queue.succeeded(first)
  const batches = Array.from({ length: count }, () => add(queue))
  assert.deepEqual(takeAll(queue), batches)
  return { queue, batches }
}

describe('batches that come back', () => {
  test('are sent again in their first order, ahead of newer ones, with the sequences they had', () => {
    const { queue, batches } = inFlight(3)
    const sequences = batches.map((batch) => batch.baseSequence)
    assert.deepEqual(sequences, [2, 4, 6])
    const newer = add(queue)
    for (const batch of [batches[1]!, batches[2]!, batches[0]!])
      assert.equal(queue.returned(batch, retriable, NOW_MS), 'again')
    const sent: ProducerBatch[] = []
    for (let round = 0; round < 10 && sent.length < 4; round++)
      for (const batch of takeAll(queue)) {
        sent.push(batch)
        queue.succeeded(batch)
      }
    assert.deepEqual(
      sent.map((batch) => [batch.ordinal, batch.baseSequence]),
      [...batches, newer].map((batch, index) => [batch.ordinal, 2 + 2 * index]),
    )
  })

  test('go alone: nothing newer is in flight beside one that is sent again', () => {
    const { queue, batches } = inFlight(2)
    for (const batch of batches) queue.returned(batch, retriable, NOW_MS)
    assert.deepEqual(takeAll(queue), [batches[0]])
    assert.equal(queue.inFlightCount, 1)
  })

  test('wait for the newer ones that are in flight still', () => {
    const { queue, batches } = inFlight(2)
    queue.returned(batches[0]!, retriable, NOW_MS)
    assert.deepEqual(takeAll(queue), [])
    queue.returned(batches[1]!, retriable, NOW_MS)
    assert.deepEqual(takeAll(queue), [batches[0]])
  })

  test('and fail for good leave a gap: the next go under a new epoch, from sequence 0', () => {
    const { queue, batches } = inFlight(2)
    const [bad, good] = batches as [ProducerBatch, ProducerBatch]
    assert.equal(queue.returned(bad, faultOf(new MillraceError('MESSAGE_TOO_LARGE')), NOW_MS), 'failed')
    assert.equal(queue.returned(good, faultOf(new MillraceError('OUT_OF_ORDER_SEQUENCE_NUMBER')), NOW_MS), 'again')
    assert.deepEqual(takeAll(queue), [good])
    assert.equal(good.baseSequence, 0)
  })

  test('that may be stored and are not known any more fail, also behind one that failed so: nothing says that they are not stored', () => {
    const { queue, batches } = inFlight(3)
    const [first, second, third] = batches as [ProducerBatch, ProducerBatch, ProducerBatch]
    const cut = faultOf(new MillraceError('NETWORK_EXCEPTION'))
    queue.returned(first, cut, NOW_MS)
    queue.returned(second, cut, NOW_MS)
    queue.returned(third, retriable, NOW_MS)
    const forgotten = faultOf(new MillraceError('OUT_OF_ORDER_SEQUENCE_NUMBER'))
    assert.deepEqual(takeAll(queue), [first])
    assert.equal(queue.returned(first, forgotten, NOW_MS), 'failed')
    assert.deepEqual(takeAll(queue), [second])
    assert.equal(queue.returned(second, forgotten, NOW_MS), 'failed')
    // The third was refused and never in doubt: it goes on under a new epoch.
    assert.deepEqual(takeAll(queue), [third])
    assert.equal(third.baseSequence, 0)
  })
})

describe('answers in another order than the batches', () => {
  test('let none leave that would push the oldest out of what the partition remembers', () => {
    const { queue, batches } = inFlight(5)
    for (const batch of batches.slice(1, 4)) queue.succeeded(batch)
    const newer = Array.from({ length: 6 }, () => add(queue))
    assert.deepEqual(takeAll(queue), [])
    assert.equal(queue.dueAtMs(), Number.POSITIVE_INFINITY)
    queue.succeeded(batches[0]!)
    assert.deepEqual(takeAll(queue), newer.slice(0, 4), 'as far as five from the oldest without an answer')
    queue.succeeded(batches[4]!)
    assert.deepEqual(takeAll(queue), newer.slice(4, 5))
  })
})

describe('a partition that takes no records any more', () => {
  const drains = { ...faultOf(new MillraceError('POLICY_VIOLATION')), isMending: true }
  const lost = faultOf(new MillraceError('NETWORK_EXCEPTION'))

  test('gives up what is certainly not stored and may go elsewhere, the oldest first', () => {
    const { queue, batches } = inFlight(3)
    const waiting = add(queue)
    const named = add(queue)
    named.namesPartition = true
    for (const batch of [batches[2]!, batches[0]!]) assert.equal(queue.returned(batch, drains, NOW_MS), 'again')
    assert.deepEqual(queue.takeElsewhere(), [batches[0], batches[2], waiting])
    assert.equal(queue.returned(batches[1]!, drains, NOW_MS), 'again')
    assert.deepEqual(queue.takeElsewhere(), [batches[1]])
    assert.deepEqual(takeAll(queue), [named], 'the broker says so to who named it')
    assert.equal(named.baseSequence, 0, 'under a new epoch: those before it left a gap')
  })

  test('keeps what may be stored there already: elsewhere it would be there twice', () => {
    const { queue, batches } = inFlight(1)
    queue.returned(batches[0]!, lost, NOW_MS)
    assert.deepEqual(queue.takeElsewhere(), [])
    assert.deepEqual(takeAll(queue), batches)
    const refused = faultOf(new MillraceError('POLICY_VIOLATION'))
    assert.equal(queue.returned(batches[0]!, { ...refused, isMending: batches[0]!.mayGoElsewhere }, NOW_MS), 'failed')
  })
})

test('under another leader epoch one batch goes first: the new leader may not know the producer', () => {
  const { queue, batches } = inFlight(2)
  for (const batch of batches) queue.succeeded(batch)
  queue.leaderChanged()
  const next = Array.from({ length: 4 }, () => add(queue))
  assert.deepEqual(takeAll(queue), next.slice(0, 1))
  queue.succeeded(next[0]!)
  assert.deepEqual(takeAll(queue), next.slice(1))
})
