/** The rules of transactions, one by one (src/transaction/README.md, X1 to X9). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PRODUCER_EPOCH_MAX, TRANSACTION_PARTITIONS_MAX } from '../../../src/model/limits.ts'
import { DEFAULT_TRANSACTION_CONFIG, encodeTransaction } from '../../../src/transaction/index.ts'
import { MARKERS_PER_ATTEMPT } from '../../../src/transaction/marker-delivery.ts'
import { compacted, topicIdOf } from '../../support/group-fixture.ts'
import { TransactionFixture } from '../../support/transaction-fixture.ts'

/** An open transaction of 1000/0 in partitions 0 and 1. */
function ongoing(): TransactionFixture {
  const fixture = new TransactionFixture()
  assert.equal(fixture.init(), '1000/0')
  assert.equal(fixture.add('1000/0', 0, 1), 'added')
  return fixture
}

/** The producer id is at this epoch, in Empty. Its next changes come quickly: init-producer-id asked so often. */
function atEpoch(epoch: number): TransactionFixture {
  const fixture = new TransactionFixture()
  for (let next = 0; next <= epoch; next++) assert.equal(fixture.init(), `1000/${next}`)
  return fixture
}

test('one transaction, from begin to end; the next begins when its markers are written', () => {
  const fixture = ongoing()
  assert.equal(fixture.state, 'ONGOING 1000/0')
  assert.equal(fixture.commit('1000/0'), '1000/1')
  assert.equal(fixture.state, 'PREPARE_COMMIT 1000/1')
  assert.equal(fixture.marking, 'COMMIT 1000/1: 0 1')
  assert.equal(fixture.add('1000/1', 2), 'CONCURRENT_TRANSACTIONS')
  const progress = fixture.written()
  assert.equal(progress?.isComplete, true)
  assert.equal(fixture.state, 'COMPLETE_COMMIT 1000/1')
  assert.deepEqual([...fixture.facts.partitions], [])
  assert.equal(fixture.add('1000/1', 2), 'added')
  assert.equal(fixture.abort('1000/1'), '1000/2')
  assert.equal(fixture.marking, 'ABORT 1000/2: 2')
  fixture.written()
  assert.equal(fixture.state, 'COMPLETE_ABORT 1000/2')
  assert.equal(fixture.log.length, 7, 'a record for each step')
})

test('X1: whatever comes late of an epoch that was ended finds the next epoch', () => {
  const fixture = ongoing()
  fixture.commit('1000/0')
  fixture.written()
  assert.equal(fixture.add('1000/1', 0), 'added')
  const before = fixture.image()
  for (const late of [fixture.commit('1000/0'), fixture.abort('1000/0'), fixture.add('1000/0', 7)])
    assert.equal(late, 'PRODUCER_FENCED')
  assert.deepEqual(fixture.image(), before)
  assert.equal(fixture.markers.length, 0)
})

test('X2: the same end twice is answered again, of the other outcome it is refused', () => {
  for (const [end, again, other] of [
    ['commit', 'commit', 'abort'],
    ['abort', 'abort', 'commit'],
  ] as const) {
    const fixture = ongoing()
    assert.equal(fixture[end]('1000/0'), '1000/1')
    assert.deepEqual([fixture[again]('1000/0'), fixture[other]('1000/0')], ['1000/1', 'INVALID_TXN_STATE'])
    fixture.written()
    assert.deepEqual([fixture[again]('1000/0'), fixture[other]('1000/0')], ['1000/1', 'INVALID_TXN_STATE'])
    fixture.restart()
    assert.deepEqual([fixture[again]('1000/0'), fixture[other]('1000/0')], ['1000/1', 'INVALID_TXN_STATE'])
    assert.equal(fixture.markers.length, 0, 'nothing is written again')
    fixture.add('1000/1', 0)
    assert.deepEqual([fixture[again]('1000/0'), fixture[other]('1000/0')], ['PRODUCER_FENCED', 'PRODUCER_FENCED'])
  }
})

test('X3: a commit without a transaction changes nothing, an abort bumps the epoch: what it gave up may still come', () => {
  const fixture = new TransactionFixture()
  fixture.init()
  assert.equal(fixture.commit('1000/0'), '1000/0')
  assert.equal(fixture.log.length, 1)
  assert.equal(fixture.abort('1000/0'), '1000/1')
  assert.equal(fixture.abort('1000/0'), '1000/1', 'and again')
  assert.equal(fixture.commit('1000/0'), 'INVALID_TXN_STATE')
  assert.equal(fixture.marking, '')
  assert.equal(fixture.add('1000/0', 3), 'PRODUCER_FENCED', 'the addition that was given up')
  fixture.add('1000/1', 3)
  fixture.commit('1000/1')
  assert.equal(fixture.commit('1000/2'), 'CONCURRENT_TRANSACTIONS', 'while markers are on their way it waits')
  fixture.written()
  assert.equal(fixture.commit('1000/2'), '1000/2')
  assert.equal(fixture.state, 'COMPLETE_COMMIT 1000/2')
})

test('what a transaction has is known while it is open; asking begins nothing', () => {
  const fixture = new TransactionFixture()
  fixture.init()
  assert.equal(fixture.knows('1000/0', 0), 'INVALID_TXN_STATE', 'Empty')
  fixture.add('1000/0', 0, 1)
  const records = fixture.log.length
  assert.equal(fixture.knows('1000/0', 1), 'added')
  assert.equal(fixture.knows('1000/0', 2), 'INVALID_TXN_STATE')
  assert.equal(fixture.log.length, records)
  fixture.restart()
  assert.equal(fixture.knows('1000/0', 1), 'added', 'after a restart')
  fixture.commit('1000/0')
  assert.equal(fixture.knows('1000/0', 1), 'PRODUCER_FENCED')
  assert.equal(fixture.knows('1000/1', 1), 'CONCURRENT_TRANSACTIONS', 'Prepare')
  fixture.written()
  assert.equal(fixture.knows('1000/1', 1), 'INVALID_TXN_STATE', 'Complete')
  assert.equal(fixture.state, 'COMPLETE_COMMIT 1000/1')
})

test('X4: init-producer-id by state', () => {
  const fixture = new TransactionFixture()
  assert.equal(fixture.init(), '1000/0', 'new')
  assert.equal(fixture.init(), '1000/1', 'Empty')
  assert.equal(fixture.add('1000/0', 0), 'PRODUCER_FENCED', 'who had it before')
  fixture.add('1000/1', 0)
  assert.equal(fixture.init(), 'CONCURRENT_TRANSACTIONS', 'Ongoing: aborted')
  assert.equal(fixture.state, 'PREPARE_ABORT 1000/2')
  assert.equal(fixture.marking, 'ABORT 1000/2: 0')
  assert.equal(fixture.init(), 'CONCURRENT_TRANSACTIONS', 'Prepare: waited for')
  assert.equal(fixture.commit('1000/1'), 'PRODUCER_FENCED', 'the zombie hears nothing')
  assert.equal(fixture.abort('1000/1'), 'PRODUCER_FENCED')
  fixture.written()
  assert.equal(fixture.init(), '1000/3', 'Complete')
  assert.equal(fixture.state, 'EMPTY 1000/3')
})

test('X4: epochs that are used up: a fresh producer id takes over, by init-producer-id', () => {
  const last = PRODUCER_EPOCH_MAX - 1
  const fixture = atEpoch(last)
  assert.match(fixture.init(), /^\d+\/0$/)
  assert.notEqual(fixture.facts.producerId, 1000)
  assert.equal(fixture.add(`1000/${last}`, 0), 'INVALID_PRODUCER_ID_MAPPING')
})

test('X4: by end-txn: the markers have the old id and the epoch that nobody was given, the reply the fresh id', () => {
  const last = PRODUCER_EPOCH_MAX - 1
  const fixture = atEpoch(last)
  fixture.add(`1000/${last}`, 0, 1)
  const next = fixture.commit(`1000/${last}`)
  assert.match(next, /^\d+\/0$/)
  assert.equal(fixture.marking, `COMMIT 1000/${PRODUCER_EPOCH_MAX}: 0 1`)
  assert.equal(fixture.commit(`1000/${last}`), next, 'X2 across ids')
  assert.equal(fixture.add(next, 0), 'CONCURRENT_TRANSACTIONS')
  fixture.restart()
  assert.equal(fixture.commit(`1000/${last}`), next)
  fixture.advance(0)
  assert.equal(fixture.marking, `COMMIT 1000/${PRODUCER_EPOCH_MAX}: 0 1`, 'the same after a restart')
  fixture.written()
  assert.equal(fixture.state, `COMPLETE_COMMIT ${next}`)
  assert.deepEqual([fixture.commit(`1000/${last}`), fixture.abort(`1000/${last}`)], [next, 'INVALID_TXN_STATE'])
  assert.equal(fixture.add(next, 2), 'added')
  assert.equal(fixture.commit(`1000/${last}`), 'PRODUCER_FENCED')
  assert.equal(fixture.commit(next), next.replace('/0', '/1'))
  assert.equal(fixture.marking, `COMMIT ${next.replace('/0', '/1')}: 2`)
})

test('X4: after a timeout at the last epoch nobody has an epoch; init-producer-id gives a fresh id', () => {
  const last = PRODUCER_EPOCH_MAX - 1
  const fixture = atEpoch(last)
  fixture.add(`1000/${last}`, 0)
  fixture.advance(60_000)
  assert.equal(fixture.marking, `ABORT 1000/${PRODUCER_EPOCH_MAX}: 0`)
  fixture.written()
  assert.equal(fixture.abort(`1000/${last}`), 'PRODUCER_FENCED')
  assert.match(fixture.init(), /^\d+\/0$/)
})

test('X4: without the fresh id that is needed nothing is decided', () => {
  const last = PRODUCER_EPOCH_MAX - 1
  const fixture = atEpoch(last)
  assert.equal(fixture.init({ freshProducerId: -1 }), 'COORDINATOR_NOT_AVAILABLE')
  assert.equal(fixture.state, `EMPTY 1000/${last}`)
  assert.equal(new TransactionFixture().init({ freshProducerId: -1 }), 'COORDINATOR_NOT_AVAILABLE')
})

test('X5: who may act', () => {
  const unknown = new TransactionFixture()
  assert.equal(unknown.add('1000/0', 0), 'INVALID_PRODUCER_ID_MAPPING')
  assert.equal(unknown.commit('1000/0'), 'INVALID_PRODUCER_ID_MAPPING')
  const fixture = ongoing()
  assert.equal(fixture.add('77/0', 0), 'INVALID_PRODUCER_ID_MAPPING')
  assert.equal(fixture.add('1000/5', 0), 'PRODUCER_FENCED')
  assert.equal(fixture.abort('1000/5'), 'PRODUCER_FENCED')
})

test('X6: a transaction that is open too long is aborted, and its producer fenced', () => {
  const fixture = ongoing()
  fixture.advance(30_000)
  fixture.add('1000/0', 5)
  fixture.advance(29_999)
  assert.equal(fixture.state, 'ONGOING 1000/0', 'adding does not prolong it')
  fixture.advance(1)
  assert.equal(fixture.state, 'PREPARE_ABORT 1000/1')
  assert.equal(fixture.marking, 'ABORT 1000/1: 0 1 5')
  assert.equal(fixture.commit('1000/0'), 'PRODUCER_FENCED')
  assert.equal(fixture.abort('1000/0'), 'PRODUCER_FENCED')
  fixture.written()
  assert.equal(fixture.add('1000/0', 0), 'PRODUCER_FENCED')
  assert.deepEqual(fixture.counters, { committed: 0, aborted: 1, timeouts: 1 })
  assert.equal(fixture.notices.length, 1)
  assert.match(fixture.notices[0]!, /epoch 0 is aborted: it was open longer than 60000 ms/)
})

test('X6: a transaction that was ended has no timeout any more', () => {
  const fixture = ongoing()
  fixture.commit('1000/0')
  fixture.written()
  fixture.advance(120_000)
  assert.equal(fixture.state, 'COMPLETE_COMMIT 1000/1')
  assert.deepEqual(fixture.counters, { committed: 1, aborted: 0, timeouts: 0 })
})

test('X6: after a restart it has what is left of its timeout, never more than all of it', () => {
  for (const [passedMs, awayMs, leftMs] of [
    [20_000, 10_000, 30_000],
    [20_000, 3_600_000, 0],
    // The wall clock went back.
    [0, -3_600_000, 60_000],
  ] as const) {
    const fixture = ongoing()
    fixture.advance(passedMs)
    fixture.restart(awayMs)
    if (leftMs > 0) fixture.advance(leftMs - 1)
    if (leftMs > 0) assert.equal(fixture.state, 'ONGOING 1000/0')
    fixture.advance(leftMs > 0 ? 1 : 0)
    assert.equal(fixture.state, 'PREPARE_ABORT 1000/1')
  }
})

test('X7: what an attempt leaves is tried again, later and later; one attempt at a time', () => {
  const fixture = ongoing()
  fixture.commit('1000/0')
  fixture.written(1)
  assert.equal(fixture.state, 'PREPARE_COMMIT 1000/1')
  const waits: number[] = []
  for (let attempt = 0; attempt < 9; attempt++) {
    const startMs = fixture.nowMs
    while (fixture.markers.length === 0) fixture.advance(100)
    waits.push(fixture.nowMs - startMs)
    assert.equal(fixture.marking, 'COMMIT 1000/1: 1', 'of those that are left')
    fixture.advance(1_000)
    assert.equal(fixture.markers.length, 1, 'not before this one is over')
    fixture.written(1)
  }
  assert.deepEqual(waits, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000])
  assert.deepEqual(
    fixture.notices.map((text) => /attempt (\d+)/.exec(text)?.[1]),
    ['1', '2', '4', '8'],
  )
  fixture.advance(5_000)
  assert.equal(fixture.written()?.isComplete, true)
  assert.equal(fixture.state, 'COMPLETE_COMMIT 1000/1')
})

test('X7: after a restart all are written anew, with the coordinator epoch of today', () => {
  const fixture = ongoing()
  fixture.abort('1000/0')
  assert.equal(fixture.markers[0]?.coordinatorEpoch, 5)
  fixture.written(1)
  fixture.restart()
  fixture.advance(0)
  assert.equal(fixture.marking, 'ABORT 1000/1: 0 1')
  assert.equal(fixture.markers[0]?.coordinatorEpoch, 6)
  assert.equal(fixture.abort('1000/0'), '1000/1')
  assert.equal(fixture.commit('1000/0'), 'INVALID_TXN_STATE', 'it keeps its outcome')
  fixture.written()
  assert.equal(fixture.state, 'COMPLETE_ABORT 1000/1')
})

test('X7: an attempt that was lost is made again, and its late answer does no harm', () => {
  const fixture = ongoing()
  fixture.commit('1000/0')
  const [lost] = fixture.markers
  fixture.advance(60_000)
  assert.equal(fixture.markers.length, 2)
  fixture.written()
  fixture.markers.length = 0
  const late = { ...lost!, done: lost!.partitions, fault: '' }
  assert.equal(fixture.coordinator.onMarkersDone(late, fixture.nowMs), undefined)
  fixture.add('1000/1', 0)
  fixture.commit('1000/1')
  assert.equal(fixture.coordinator.onMarkersDone(late, fixture.nowMs), undefined, 'not even of the next transaction')
  assert.equal(fixture.state, 'PREPARE_COMMIT 1000/2')
})

test('X7: a large transaction is marked in pieces', () => {
  const fixture = new TransactionFixture()
  fixture.init()
  fixture.add('1000/0', ...Array.from({ length: 2_500 }, (_, index) => index))
  fixture.commit('1000/0')
  const sizes: number[] = []
  while (fixture.markers.length > 0) {
    sizes.push(fixture.markers[0]!.partitions.length)
    fixture.written()
  }
  assert.deepEqual(sizes, [1_000, 1_000, 500])
  assert.equal(fixture.state, 'COMPLETE_COMMIT 1000/1')
})

test('X8: a classic producer keeps its epoch; its markers carry it', () => {
  const fixture = new TransactionFixture()
  assert.equal(fixture.init({ isClassic: true }), '1000/0')
  assert.deepEqual([fixture.commit('1000/0'), fixture.abort('1000/0')], ['INVALID_TXN_STATE', 'INVALID_TXN_STATE'])
  fixture.add('1000/0', 0)
  assert.equal(fixture.commit('1000/0'), '1000/0')
  assert.equal(fixture.marking, 'COMMIT 1000/0: 0')
  assert.equal(fixture.markers[0]?.isClassic, true)
  assert.deepEqual(
    [fixture.commit('1000/0'), fixture.abort('1000/0'), fixture.add('1000/0', 1)],
    ['CONCURRENT_TRANSACTIONS', 'INVALID_TXN_STATE', 'CONCURRENT_TRANSACTIONS'],
  )
  fixture.written()
  assert.deepEqual([fixture.commit('1000/0'), fixture.abort('1000/0')], ['1000/0', 'INVALID_TXN_STATE'])
  assert.equal(fixture.add('1000/0', 1), 'added')
  assert.equal(fixture.abort('1000/0'), '1000/0')
  fixture.written()
  assert.equal(fixture.state, 'COMPLETE_ABORT 1000/0')
})

test('X8: a txn-offset-commit of a classic producer adds nothing, a native one adds its partition', () => {
  const fixture = new TransactionFixture()
  fixture.init({ isClassic: true })
  assert.equal(fixture.addForCommit('1000/0', 9), 'INVALID_TXN_STATE')
  fixture.add('1000/0', 0)
  assert.equal(fixture.addForCommit('1000/0', 9), 'INVALID_TXN_STATE')
  fixture.add('1000/0', 9)
  const before = fixture.log.length
  assert.equal(fixture.addForCommit('1000/0', 9), 'added')
  assert.equal(fixture.log.length, before)
  fixture.abort('1000/0')
  assert.equal(fixture.addForCommit('1000/0', 9), 'CONCURRENT_TRANSACTIONS')
  fixture.written()
  assert.equal(fixture.addForCommit('1000/0', 9), 'INVALID_TXN_STATE')
  assert.equal(fixture.state, 'COMPLETE_ABORT 1000/0')

  const native = new TransactionFixture()
  native.init()
  assert.equal(native.addForCommit('1000/0', 9), 'added')
  assert.equal(native.state, 'ONGOING 1000/0')
})

test('X8: its epoch is bumped by a timeout and by init-producer-id', () => {
  const fixture = new TransactionFixture()
  fixture.init({ isClassic: true })
  fixture.add('1000/0', 0)
  fixture.advance(60_000)
  assert.equal(fixture.marking, 'ABORT 1000/1: 0')
  assert.equal(fixture.abort('1000/0'), 'PRODUCER_FENCED')
  fixture.written()
  assert.equal(fixture.init({ isClassic: true }), '1000/2')
  fixture.add('1000/2', 0)
  assert.equal(fixture.init({ isClassic: true }), 'CONCURRENT_TRANSACTIONS')
  assert.equal(fixture.marking, 'ABORT 1000/3: 0')
})

test('X8: init-producer-id of the producer itself (KIP-360): the same answer when it asks again, nobody else gets one', () => {
  const own = (epoch: number) => ({ isClassic: true, producerId: 1000, producerEpoch: epoch })
  const fixture = new TransactionFixture()
  assert.equal(fixture.init({ isClassic: true, producerId: 9, producerEpoch: 0 }), '1000/0', 'it was forgotten')
  assert.equal(fixture.init(own(0)), '1000/1')
  assert.equal(fixture.init(own(0)), '1000/1', 'the reply was lost')
  assert.equal(fixture.init(own(1)), '1000/2')
  assert.equal(fixture.init(own(0)), 'PRODUCER_FENCED')
  assert.equal(fixture.init({ ...own(2), producerId: 9 }), 'PRODUCER_FENCED')
  fixture.add('1000/2', 0)
  assert.equal(fixture.init(own(1)), 'PRODUCER_FENCED', 'a zombie may not abort')
  assert.equal(fixture.state, 'ONGOING 1000/2')
  assert.equal(fixture.init(own(2)), 'CONCURRENT_TRANSACTIONS')
  assert.equal(fixture.init(own(2)), 'CONCURRENT_TRANSACTIONS')
  fixture.written()
  assert.equal(fixture.init(own(2)), '1000/3', 'with which it was aborted')
  assert.equal(fixture.init({ isClassic: true }), '1000/4')
  assert.equal(fixture.init(own(3)), 'PRODUCER_FENCED', 'somebody new came')
})

test('X8: the epochs of a classic producer that are used up, across ids', () => {
  const last = PRODUCER_EPOCH_MAX - 1
  const fixture = atEpoch(last)
  const own = { isClassic: true, producerId: 1000, producerEpoch: last }
  const next = fixture.init(own)
  assert.match(next, /^\d+\/0$/)
  assert.equal(fixture.init(own), next)
  fixture.add(next, 0)
  assert.equal(fixture.commit(next), next)
  assert.equal(fixture.marking, `COMMIT ${next}: 0`, 'not of the id before')
})

test('X4: the last epoch is given to nobody, and who guesses it is fenced', () => {
  const last = PRODUCER_EPOCH_MAX - 1
  const fixture = atEpoch(last)
  const guess = `1000/${PRODUCER_EPOCH_MAX}`
  fixture.add(`1000/${last}`, 0)
  assert.equal(fixture.init(), 'CONCURRENT_TRANSACTIONS')
  assert.equal(fixture.marking, `ABORT ${guess}: 0`)
  fixture.written()
  const before = fixture.image()
  const own = { producerId: 1000, producerEpoch: PRODUCER_EPOCH_MAX }
  for (const guessed of [fixture.add(guess, 0), fixture.commit(guess), fixture.abort(guess), fixture.init(own)])
    assert.equal(guessed, 'PRODUCER_FENCED')
  assert.deepEqual(fixture.image(), before)
  assert.match(fixture.init(), /^(?!1000)\d+\/0$/)
})

test('X8: a classic producer that asks again, once its last epoch was aborted, gets a fresh id', () => {
  const last = PRODUCER_EPOCH_MAX - 1
  const fixture = atEpoch(last)
  const own = { isClassic: true, producerId: 1000, producerEpoch: last }
  fixture.add(`1000/${last}`, 0)
  assert.equal(fixture.init(own), 'CONCURRENT_TRANSACTIONS')
  fixture.written()
  assert.equal(fixture.abort(`1000/${last}`), 'PRODUCER_FENCED', 'and nobody is told of the epoch after it')
  const next = fixture.init(own)
  assert.match(next, /^(?!1000)\d+\/0$/)
  assert.equal(fixture.init(own), next, 'the reply was lost')
})

test('X4: a transaction of the last epoch that is in the log all the same is aborted, by its timeout and by init-producer-id', () => {
  for (const end of ['timeout', 'init'] as const) {
    const fixture = atEpoch(PRODUCER_EPOCH_MAX - 1)
    fixture.add(`1000/${PRODUCER_EPOCH_MAX - 1}`, 0)
    const facts = { ...fixture.facts, producerEpoch: PRODUCER_EPOCH_MAX }
    fixture.log.push(encodeTransaction({ transactionalId: 't', value: facts }))
    fixture.restart()
    if (end === 'timeout') fixture.advance(60_000)
    else assert.equal(fixture.init(), 'CONCURRENT_TRANSACTIONS')
    assert.equal(fixture.marking, `ABORT 1000/${PRODUCER_EPOCH_MAX}: 0`)
    assert.equal(fixture.markers[0]?.isClassic, true, 'a marker of the same epoch ends what is open')
    fixture.written()
    assert.match(fixture.init(), /^(?!1000)\d+\/0$/)
  }
})

test('X7: partitions that cannot take a marker keep it from no other', () => {
  const fixture = new TransactionFixture()
  fixture.init()
  const offline = Array.from({ length: 2 * MARKERS_PER_ATTEMPT }, (_, partition) => partition)
  const healthy = [2_000, 2_001]
  fixture.add('1000/0', ...offline, ...healthy)
  fixture.commit('1000/0')
  const attempted = () => fixture.markers[0]!.partitions.map(({ partition }) => partition)
  for (let attempt = 0; attempt < 2; attempt++) {
    assert.deepEqual(attempted(), offline.slice(attempt * MARKERS_PER_ATTEMPT, (attempt + 1) * MARKERS_PER_ATTEMPT))
    fixture.written(...offline)
  }
  assert.deepEqual(attempted(), healthy, 'before the first are tried again')
  fixture.written(...offline)
  assert.equal(fixture.markers.length, 0, 'the round is over: what is left waits')
  assert.match(fixture.notices.at(-1)!, /attempt 1\).*the disk is gone/)
  fixture.advance(DEFAULT_TRANSACTION_CONFIG.markerRetryMs)
  assert.deepEqual(attempted(), offline.slice(0, MARKERS_PER_ATTEMPT))
  fixture.written(...offline.slice(1))
  assert.deepEqual(
    attempted(),
    offline.slice(MARKERS_PER_ATTEMPT),
    'what was written meanwhile moves nobody out of turn',
  )
  fixture.written()
  fixture.advance(60_000)
  assert.deepEqual(attempted(), offline.slice(1, MARKERS_PER_ATTEMPT))
  assert.equal(fixture.written()?.isComplete, true)
})

test('X7: a last attempt that is lost begins the round anew', () => {
  const fixture = ongoing()
  fixture.commit('1000/0')
  fixture.markers.length = 0
  fixture.advance(60_000)
  assert.equal(fixture.marking, 'COMMIT 1000/1: 0 1')
  assert.equal(fixture.written()?.isComplete, true)
})

test('what cannot be: an id, a timeout, too many partitions', () => {
  const fixture = new TransactionFixture({ timeoutMsMax: 1_000 })
  assert.equal(fixture.init({ timeoutMs: 1_001 }), 'INVALID_TRANSACTION_TIMEOUT')
  assert.equal(fixture.init({ timeoutMs: 0 }), 'INVALID_TRANSACTION_TIMEOUT')
  assert.equal(fixture.init({ transactionalId: '' }), 'INVALID_REQUEST')
  assert.equal(fixture.init({ transactionalId: 'é'.repeat(128) }), 'INVALID_REQUEST')
  fixture.init({ timeoutMs: 1_000 })
  const many = Array.from({ length: TRANSACTION_PARTITIONS_MAX }, (_, index) => index)
  assert.equal(fixture.add(`${fixture.facts.producerId}/0`, ...many, TRANSACTION_PARTITIONS_MAX), 'INVALID_REQUEST')
  assert.equal(fixture.add(`${fixture.facts.producerId}/0`, ...many), 'added')
  assert.equal(fixture.add(`${fixture.facts.producerId}/0`, TRANSACTION_PARTITIONS_MAX), 'INVALID_REQUEST')
})

test('adding again, or nothing, writes nothing', () => {
  const fixture = ongoing()
  const records = fixture.log.length
  assert.deepEqual([fixture.add('1000/0', 1), fixture.add('1000/0')], ['added', 'added'])
  assert.equal(fixture.log.length, records)
  assert.equal(fixture.add('1000/0', 1, 2), 'added')
  assert.deepEqual([...fixture.facts.partitions], [[topicIdOf(1), [0, 1, 2]]])
})

test('ids without a transaction are forgotten in the end, those with one are not', () => {
  const fixture = new TransactionFixture({ idExpirationMs: 3_600_000, idSweepMs: 600_000 })
  fixture.init()
  fixture.init({ transactionalId: 'other' })
  fixture.advance(3_000_000)
  fixture.add('1000/0', 0)
  fixture.commit('1000/0')
  fixture.advance(3_000_000)
  assert.deepEqual([...fixture.coordinator.state.entries.keys()], ['t'], 'its markers are not written')
  fixture.written()
  fixture.advance(3_000_000)
  assert.equal(fixture.coordinator.state.entries.size, 1)
  fixture.advance(1_200_000)
  assert.equal(fixture.coordinator.state.entries.size, 0)
  assert.deepEqual(fixture.coordinator.state.counts, [0, 0, 0, 0, 0, 0])
  assert.equal(fixture.commit('1000/1'), 'INVALID_PRODUCER_ID_MAPPING')
  fixture.restart()
  assert.equal(fixture.coordinator.state.entries.size, 0)
  assert.notEqual(fixture.init(), '1000/0', 'a producer id is not given twice')
})

test('a replay of the log, whole or compacted, gives the same state', () => {
  const fixture = ongoing()
  fixture.commit('1000/0')
  fixture.written()
  fixture.init({ transactionalId: 'u', isClassic: true })
  fixture.add('1000/1', 3, 4)
  const image = fixture.image()
  fixture.restart()
  assert.deepEqual(fixture.image(), image)
  fixture.log.splice(0, fixture.log.length, ...compacted(fixture.log, false))
  fixture.restart()
  assert.deepEqual(fixture.image(), image)
  assert.equal(fixture.commit('1000/1'), '1000/2')
})
