/** Transactions of a producer: all or nothing, whatever fails on the way, and epochs and sequences as the broker counts them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Client, connect, json, string, topic } from '../../../src/client/index.ts'
import type { Producer } from '../../../src/client/producer.ts'
import { Transaction, type TransactionOwner } from '../../../src/client/transaction/transaction.ts'
import { MillraceError } from '../../../src/model/errors.ts'
import { Api } from '../../../src/protocol/index.ts'
import { hasCode, until } from '../../support/expect.ts'
import { type FakeBroker, type FakeBrokerOptions, type Fault, withFakeBroker } from '../../support/fake-broker.ts'
import { appendedValues, batchesOf, committedValues } from '../../support/transaction-reads.ts'

const NONE: Fault = { kind: 'none' }
const FAST = { backoffMsMin: 2, backoffMsMax: 20 }
const TRANSACTIONAL = { transactionalId: 'p1' } as const

function withClient(
  options: FakeBrokerOptions,
  body: (mq: Client, broker: FakeBroker) => Promise<void>,
): Promise<void> {
  return withFakeBroker(options, async (broker) => {
    await using mq = await connect(broker.url, FAST)
    await body(mq, broker)
  })
}

/** Answers `fault` to the request of that name and index, nothing to the others. */
function faultAt(name: string, at: number, fault: Fault): (request: { name: string; index: number }) => Fault {
  return (request) => (request.name === name && request.index === at ? fault : NONE)
}

test('a transaction writes to several topics at once, and answers what its work answers', () =>
  withClient({ topics: { orders: 2, out: 1 } }, async (mq, broker) => {
    const out = topic('out', { key: string(), value: json<{ id: number }>() })
    const producer = mq.producer('orders', TRANSACTIONAL)
    const answer = await producer.transaction((tx) => {
      tx.send({ value: 'a', partition: 0 })
      tx.send({ value: 'b', partition: 1 })
      tx.send(out, { key: 'k', value: { id: 7 } })
      assert.deepEqual(committedValues(broker, 'orders'), [])
      return 42
    })
    assert.equal(answer, 42)
    assert.deepEqual(committedValues(broker, 'orders'), ['a', 'b'])
    assert.deepEqual(committedValues(broker, 'out'), ['{"id":7}'])
    assert.equal(broker.transactions.unregistered, 0)
    assert.deepEqual(broker.transactions.ends, [{ epoch: 0, isCommit: true }])
    assert.ok([...batchesOf(broker, 'orders', 0), ...batchesOf(broker, 'out')].every((each) => each.isTransactional))
    const { transactionsCommitted, recordsStored } = producer.stats()
    assert.deepEqual([transactionsCommitted, recordsStored], [1, 3])
  }))

test('each transaction has an epoch of its own, and sequences from 0 in each partition', () =>
  withClient({ topics: { t: 2 } }, async (mq, broker) => {
    const producer = mq.producer('t', { ...TRANSACTIONAL, batchBytesMax: 1024 })
    for (let round = 0; round < 3; round++)
      await producer.transaction(async (tx) => {
        await tx.ready()
        for (let index = 0; index < 200; index++)
          while (!tx.enqueue({ value: `${round}-${index}`, partition: index % 2 })) await tx.ready()
      })
    for (const partition of [0, 1]) {
      const batches = batchesOf(broker, 't', partition)
      for (let epoch = 0; epoch < 3; epoch++) {
        let next = 0
        for (const { sequence, recordsCount } of batches.filter((each) => each.epoch === epoch)) {
          assert.equal(sequence, next)
          next += recordsCount
        }
        assert.equal(next, 100)
      }
    }
    assert.equal(committedValues(broker, 't').length, 600)
    assert.deepEqual(broker.transactions.inits, ['p1'])
    assert.equal(broker.transactions.unregistered, 0)
  }))

test('several batches of a partition are in flight within a transaction, five at most', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    const producer = mq.producer('t', { ...TRANSACTIONAL, batchBytesMax: 1024 })
    let most = 0
    broker.faults = ({ name, index }) => {
      if (name !== 'PRODUCE') return NONE
      most = Math.max(most, index + 1 - producer.stats().batchesStored)
      return { kind: 'delay', delayMs: 5 }
    }
    await producer.transaction(async (tx) => {
      await tx.ready()
      for (let index = 0; index < 1_000; index++) assert.ok(tx.enqueue({ value: `${index}` }))
    })
    assert.ok(most > 1 && most <= 5, `${most} in flight`)
    assert.deepEqual(
      committedValues(broker, 't').map(Number),
      Array.from({ length: 1_000 }, (_, index) => index),
    )
  }))

test('the compiler knows what may be sent in a transaction', () =>
  withClient({ topics: { t: 1, out: 1 } }, async (mq, broker) => {
    const out = topic('out', { key: string(), value: json<{ id: number }>() })
    const producer = mq.producer(out, TRANSACTIONAL)
    await producer.transaction((tx) => {
      tx.send({ value: { id: 1 } })
      tx.send('t', { value: 'text' })
      const wrong = (): void => {
        // @ts-expect-error the value lacks its id
        tx.send({ value: {} })
        // @ts-expect-error a typed topic takes no bytes
        tx.enqueue(out, { value: 'text' })
        // @ts-expect-error a plain topic takes no objects
        tx.send('t', { value: { id: 1 } })
      }
      assert.equal(typeof wrong, 'function')
    })
    assert.deepEqual([...committedValues(broker, 'out'), ...committedValues(broker, 't')], ['{"id":1}', 'text'])
  }))

test('partitions that become known together are added by one request, each once a transaction', () =>
  withClient({ topics: { a: 3, b: 3 } }, async (mq, broker) => {
    const producer = mq.producer('a', TRANSACTIONAL)
    await producer.transaction((tx) => Promise.all([tx.ready(), tx.ready('b')]))
    await producer.transaction(async (tx) => {
      for (let partition = 0; partition < 3; partition++) {
        tx.enqueue({ value: 'x', partition })
        tx.enqueue('b', { value: 'y', partition })
      }
      await tx.send({ value: 'again', partition: 0 })
    })
    assert.deepEqual(broker.transactions.adds, [6])
  }))

test('a transaction that wrote nothing asks the coordinator nothing', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    const producer = mq.producer('t', TRANSACTIONAL)
    await producer.transaction(() => {})
    await producer.begin().then((tx) => tx.abort())
    assert.deepEqual(broker.transactions.ends, [])
    await producer.transaction((tx) => tx.send({ value: 'x' }))
    assert.deepEqual(committedValues(broker, 't'), ['x'])
  }))

test('what throws aborts, and its error comes out; the next transaction goes on', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    const producer = mq.producer('t', TRANSACTIONAL)
    const mine = new Error('mine')
    const failing = producer.transaction(async (tx) => {
      await tx.send({ value: 'gone' })
      throw mine
    })
    await assert.rejects(failing, (error: Error) => error === mine && error.cause === undefined)
    await producer.transaction((tx) => tx.send({ value: 'kept' }))
    assert.deepEqual(appendedValues(broker, 't'), ['gone', 'kept'])
    assert.deepEqual(committedValues(broker, 't'), ['kept'])
    assert.deepEqual(broker.transactions.ends, [
      { epoch: 0, isCommit: false },
      { epoch: 1, isCommit: true },
    ])
    assert.equal(producer.stats().transactionsAborted, 1)
  }))

test('where the abort fails, that is the cause of the error that comes out', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    broker.faults = ({ name }) => (name === 'END_TXN' ? { kind: 'error', code: 'CLUSTER_AUTHORIZATION_FAILED' } : NONE)
    const producer = mq.producer('t', TRANSACTIONAL)
    const failing = producer.transaction(async (tx) => {
      await tx.send({ value: 'gone' })
      throw new Error('mine')
    })
    await assert.rejects(
      failing,
      (error: Error) => error.message === 'mine' && hasCode('CLUSTER_AUTHORIZATION_FAILED')(error.cause),
    )
  }))

test('`await using`: what is not committed is aborted; commit() twice is one commit', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    const producer = mq.producer('t', TRANSACTIONAL)
    {
      await using tx = await producer.begin()
      await tx.send({ value: 'left' })
    }
    {
      await using tx = await producer.begin()
      tx.send({ value: 'kept' })
      await Promise.all([tx.commit(), tx.commit()])
      await tx.commit()
      await assert.rejects(tx.abort(), hasCode('INVALID_TXN_STATE', /has been committed/))
      assert.throws(() => tx.enqueue({ value: 'late' }), hasCode('INVALID_TXN_STATE', /'p1' has been committed/))
      await assert.rejects(tx.send({ value: 'late' }), hasCode('INVALID_TXN_STATE'))
    }
    assert.deepEqual(committedValues(broker, 't'), ['kept'])
    assert.equal(broker.transactions.ends.length, 2)
  }))

test('one transaction at a time: begin() says so, transaction() waits its turn', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    const producer = mq.producer('t', TRANSACTIONAL)
    const tx = await producer.begin()
    await assert.rejects(producer.begin(), hasCode('INVALID_TXN_STATE', /'p1' is open/))
    const order: number[] = []
    const others = [1, 2, 3].map((number) =>
      producer.transaction(async (mine) => {
        order.push(number)
        await mine.send({ value: `${number}` })
      }),
    )
    const controller = new AbortController()
    const givenUp = producer.transaction(() => order.push(4), { signal: controller.signal })
    controller.abort()
    await assert.rejects(givenUp, hasCode('ABORTED'))
    await tx.send({ value: '0' })
    assert.deepEqual(order, [])
    await tx.commit()
    await Promise.all(others)
    assert.deepEqual(order, [1, 2, 3])
    assert.deepEqual(committedValues(broker, 't'), ['0', '1', '2', '3'])
  }))

test('outside of a transaction a transactional producer sends nothing, and says what to do', () =>
  withClient({ topics: { t: 1 } }, async (mq) => {
    const producer = mq.producer('t', TRANSACTIONAL)
    const says = hasCode('INVALID_TXN_STATE', /producer\.transaction\(/)
    await assert.rejects(producer.send({ value: 'x' }), says)
    await assert.rejects(producer.sendMany([]), says)
    assert.throws(() => producer.enqueue({ value: 'x' }), says)
    assert.throws(() => producer.writable(), says)
    for (const transactionalId of ['', 'x'.repeat(256), 7 as never])
      assert.throws(() => mq.producer('t', { transactionalId }), hasCode('INVALID_ARGUMENT', /transactionalId: /))
    assert.throws(
      () => mq.producer('t', { ...TRANSACTIONAL, acks: 'leader' }),
      hasCode('INVALID_ARGUMENT', /a transactionalId rests on acks 'all'/),
    )
  }))

test('commit() waits until everything is stored', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    let stored = false
    broker.faults = ({ name }) => {
      if (name === 'END_TXN') assert.ok(stored, 'the end was asked for before the batch was acknowledged')
      return name === 'PRODUCE' ? { kind: 'delay', delayMs: 30 } : NONE
    }
    const producer = mq.producer('t', { ...TRANSACTIONAL, lingerMs: 60_000 })
    producer.on('batchStored', () => {
      stored = true
    })
    const tx = await producer.begin()
    await tx.ready()
    assert.ok(tx.enqueue({ value: 'x' }))
    await tx.commit()
    assert.ok(stored)
    assert.deepEqual(committedValues(broker, 't'), ['x'])
  }))

for (const how of ['send', 'enqueue'] as const)
  test(`a ${how}() that fails dooms its transaction: it is aborted, and says why`, () =>
    withClient({ topics: { t: 2 } }, async (mq, broker) => {
      broker.faults = ({ name, produce }) =>
        name === 'PRODUCE' && produce!.parts.some(({ partition }) => partition === 1)
          ? { kind: 'error', code: 'INVALID_RECORD' }
          : NONE
      const producer = mq.producer('t', TRANSACTIONAL)
      const tx = await producer.begin()
      await tx.ready()
      await tx.send({ value: 'fine', partition: 0 })
      if (how === 'send') tx.send({ value: 'bad', partition: 1 })
      else tx.enqueue({ value: 'bad', partition: 1 })
      const says = hasCode('INVALID_RECORD', /^the transaction is aborted: t\/1/)
      await assert.rejects(tx.commit(), (error: Error) => says(error) && hasCode('INVALID_RECORD')(error.cause))
      assert.ok(tx.signal.aborted && tx.isAborted)
      assert.deepEqual(committedValues(broker, 't'), [])
      assert.deepEqual(broker.transactions.ends, [{ epoch: 0, isCommit: false }])
      await producer.transaction((next) => next.send({ value: 'next', partition: 0 }))
      assert.deepEqual(committedValues(broker, 't'), ['next'])
    }))

test('a record that never got into a batch dooms the transaction, too', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    const producer = mq.producer('t', TRANSACTIONAL)
    await producer.transaction(async (tx) => {
      await tx.ready()
      assert.throws(() => tx.enqueue({ value: 7 as never }), hasCode('INVALID_RECORD'))
      assert.ok(!tx.isOpen)
      assert.throws(() => tx.enqueue({ value: 'x' }), hasCode('INVALID_RECORD', /can only be aborted/))
      await assert.rejects(tx.commit(), hasCode('INVALID_RECORD', /aborted/))
    })
    for (const given of [null, 'text', 7] as never[])
      await assert.rejects(
        producer.transaction((tx) => void tx.send('t', given)),
        hasCode('INVALID_RECORD', /expected a record/),
      )
    const unknown = producer.transaction((tx) => void tx.send('absent', { value: 'x' }))
    await assert.rejects(unknown, hasCode('UNKNOWN_TOPIC_OR_PARTITION', /absent/))
    assert.deepEqual(appendedValues(broker, 't'), [])
  }))

test('lost replies and broken connections within a transaction: everything once, in order', () =>
  withClient({ topics: { t: 2 } }, async (mq, broker) => {
    const schedule: readonly Fault[] = [
      NONE,
      { kind: 'break', work: 'done' },
      { kind: 'error', code: 'NOT_LEADER_OR_FOLLOWER' },
      { kind: 'break', work: 'not-done' },
      NONE,
    ]
    broker.faults = ({ name, index }) =>
      ['PRODUCE', 'ADD_PARTITIONS_TO_TXN', 'END_TXN', 'INIT_PRODUCER_ID'].includes(name)
        ? name === 'PRODUCE' || schedule[index % 5]!.kind !== 'error'
          ? schedule[index % 5]!
          : { kind: 'error', code: 'COORDINATOR_LOAD_IN_PROGRESS' }
        : NONE
    const producer = mq.producer('t', { ...TRANSACTIONAL, batchBytesMax: 1024 })
    const expected: string[] = []
    for (let round = 0; round < 6; round++)
      await producer.transaction(async (tx) => {
        await tx.ready()
        for (let index = 0; index < 150; index++) {
          expected.push(`${round}-${index}`)
          while (!tx.enqueue({ value: `${round}-${index}`, partition: 0 })) await tx.ready()
          if (index % 30 === 0) await new Promise((resolve) => setImmediate(resolve))
        }
      })
    assert.deepEqual(committedValues(broker, 't'), expected)
    assert.deepEqual(appendedValues(broker, 't'), expected)
    assert.ok(producer.stats().batchesRetried > 0)
    assert.equal(producer.stats().transactionsCommitted, 6)
  }))

test('a broker that restarts within a transaction: batches go again with the same sequences', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    const producer = mq.producer('t', TRANSACTIONAL)
    const tx = await producer.begin()
    await tx.send({ value: '0' })
    await broker.stop()
    const waiting = [tx.send({ value: '1' }), tx.send({ value: '2' })]
    // Whoever led the partition has lost what the coordinator told it; what is open stands in its log.
    broker.partition('t', 0).transactions.registered.clear()
    await broker.listen()
    await Promise.all(waiting)
    await tx.commit()
    assert.deepEqual(committedValues(broker, 't'), ['0', '1', '2'])
    assert.deepEqual(
      batchesOf(broker, 't').map(({ epoch, sequence }) => [epoch, sequence]),
      [
        [0, 0],
        [0, 1],
      ],
    )
  }))

test('a partition that does not know of the transaction is added again, and the batch goes again', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    let hasForgotten = false
    broker.faults = ({ name }) => {
      if (name === 'PRODUCE' && !hasForgotten) {
        hasForgotten = true
        broker.partition('t', 0).transactions.registered.clear()
      }
      return NONE
    }
    const producer = mq.producer('t', TRANSACTIONAL)
    await producer.transaction((tx) => tx.send({ value: 'x' }))
    assert.deepEqual(committedValues(broker, 't'), ['x'])
    assert.deepEqual([broker.transactions.unregistered, broker.transactions.adds], [1, [1, 1]])
  }))

test('one that goes on saying so fails the transaction', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    broker.faults = ({ name }) => {
      if (name === 'PRODUCE') broker.partition('t', 0).transactions.registered.clear()
      return NONE
    }
    const producer = mq.producer('t', TRANSACTIONAL)
    const failing = producer.transaction((tx) => tx.send({ value: 'x' }))
    await assert.rejects(failing, hasCode('INVALID_TXN_STATE'))
    assert.ok(broker.transactions.adds.length < 10)
  }))

test('the transaction before is still being ended: the next one waits for it', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    const producer = mq.producer('t', TRANSACTIONAL)
    broker.transactions.isHoldingMarkers = true
    await producer.transaction((tx) => tx.send({ value: '0' }))
    const next = producer.transaction((tx) => tx.send({ value: '1' }))
    await until(() => (broker.counts.get(Api.ADD_PARTITIONS_TO_TXN) ?? 0) >= 3)
    assert.deepEqual(appendedValues(broker, 't'), ['0'])
    broker.transactions.releaseMarkers()
    await next
    assert.deepEqual(committedValues(broker, 't'), ['0', '1'])
  }))

for (const isCommit of [true, false])
  test(`a lost reply of the end is asked for again, and answered as before (${isCommit ? 'commit' : 'abort'})`, () =>
    withClient({ topics: { t: 1 } }, async (mq, broker) => {
      broker.faults = faultAt('END_TXN', 0, { kind: 'break', work: 'done' })
      const producer = mq.producer('t', TRANSACTIONAL)
      const tx = await producer.begin()
      await tx.send({ value: '0' })
      await (isCommit ? tx.commit() : tx.abort())
      await producer.transaction((next) => next.send({ value: '1' }))
      assert.deepEqual(committedValues(broker, 't'), isCommit ? ['0', '1'] : ['1'])
      assert.deepEqual(
        broker.transactions.ends.map(({ epoch }) => epoch),
        [0, 0, 1],
      )
      assert.deepEqual(broker.transactions.inits, ['p1'])
    }))

test('an end without an answer in time says that it may or may not be committed', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    let isBroken = true
    broker.faults = ({ name }) => (name === 'END_TXN' && isBroken ? { kind: 'break', work: 'not-done' } : NONE)
    // Long enough for the record, on any machine.
    const producer = mq.producer('t', { ...TRANSACTIONAL, deliveryTimeoutMs: 2_000 })
    const events: boolean[] = []
    producer.on('transactionAborted', ({ isCertain }) => events.push(isCertain))
    const failing = producer.transaction((tx) => tx.send({ value: '0' }))
    await assert.rejects(failing, hasCode('REQUEST_TIMED_OUT', /may or may not be committed/))
    assert.deepEqual(events, [false])
    isBroken = false
    await producer.transaction((tx) => tx.send({ value: '1' }))
    assert.deepEqual(committedValues(broker, 't'), ['1'])
  }))

/** A transaction with one record whose commit is given up while its end is not answered: `work` says whether it was done. */
async function unknownEnd(mq: Client, broker: FakeBroker, work: 'done' | 'not-done') {
  let isBroken = true
  broker.faults = ({ name }) => (name === 'END_TXN' && isBroken ? { kind: 'break', work } : NONE)
  const producer = mq.producer('t', TRANSACTIONAL)
  const tx = await producer.begin()
  await tx.send({ value: '0' })
  const controller = new AbortController()
  const failing = tx.commit({ signal: controller.signal })
  failing.catch(() => {})
  await until(() => (broker.counts.get(Api.END_TXN) ?? 0) >= (work === 'done' ? 2 : 1))
  controller.abort()
  await assert.rejects(failing, hasCode('ABORTED', /may or may not be committed/))
  isBroken = false
  return producer
}

for (const work of ['done', 'not-done'] as const)
  test(`after an end whose outcome is not known the next transaction learns what it was (${work})`, () =>
    withClient({ topics: { t: 1 } }, async (mq, broker) => {
      const producer = await unknownEnd(mq, broker, work)
      await producer.transaction((tx) => tx.send({ value: '1' }))
      assert.deepEqual(committedValues(broker, 't'), work === 'done' ? ['0', '1'] : ['1'])
      assert.deepEqual(broker.transactions.inits, ['p1'], 'init-producer-id would fence whoever took over')
    }))

for (const work of ['done', 'not-done'] as const)
  test(`ready() learns what became of a commit without an answer, and its transaction tells (${work})`, () =>
    withClient({ topics: { t: 1 } }, async (mq, broker) => {
      broker.faults = ({ name, index }) => {
        if (name !== 'END_TXN' || index > 1) return NONE
        return index === 0 ? { kind: 'break', work } : { kind: 'error', code: 'CLUSTER_AUTHORIZATION_FAILED' }
      }
      const producer = mq.producer('t', TRANSACTIONAL)
      const told: string[] = []
      producer.on('transactionCommitted', () => told.push('committed'))
      producer.on('transactionAborted', ({ isCertain }) => told.push(isCertain ? 'aborted' : 'in doubt'))
      const tx = await producer.begin()
      await tx.send({ value: '0' })
      await assert.rejects(tx.commit(), /may or may not be committed/)
      assert.ok(tx.isInDoubt && !tx.isCommitted)
      await producer.ready()
      assert.deepEqual([tx.isInDoubt, tx.isCommitted, tx.isAborted], [false, work === 'done', work !== 'done'])
      assert.deepEqual(told, ['in doubt', work === 'done' ? 'committed' : 'aborted'])
      const { transactionsCommitted, transactionsAborted } = producer.stats()
      assert.deepEqual([transactionsCommitted, transactionsAborted], work === 'done' ? [1, 0] : [0, 1])
    }))

test('an error that the program gives up with does not fence its producer, whatever it is', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    const producer = mq.producer('t', { ...TRANSACTIONAL, lingerMs: 60_000 })
    const tx = await producer.begin()
    await tx.ready()
    const sent = tx.send({ value: 'given up' })
    tx.fail(new MillraceError('PRODUCER_FENCED', 'of another producer'))
    await assert.rejects(sent, hasCode('PRODUCER_FENCED', /of another producer/))
    await tx.abort()
    await producer.transaction((next) => {
      next.enqueue({ value: 'next' })
    })
    assert.deepEqual(committedValues(broker, 't'), ['next'])
  }))

test('another producer with the id takes over: the older one is fenced for good', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    const older = mq.producer('t', TRANSACTIONAL)
    const tx = await older.begin()
    await tx.send({ value: 'older' })
    const newer = mq.producer('t', TRANSACTIONAL)
    await newer.transaction((mine) => mine.send({ value: 'newer' }))
    const fenced = hasCode('PRODUCER_FENCED', /'p1': another producer took it over/)
    await assert.rejects(tx.commit(), fenced)
    await assert.rejects(
      older.transaction(() => {}),
      fenced,
    )
    await assert.rejects(older.begin(), fenced)
    await newer.transaction((mine) => mine.send({ value: 'newer 2' }))
    assert.deepEqual(committedValues(broker, 't'), ['newer', 'newer 2'])
  }))

test('a producer whose end has no outcome does not fence the one that took over meanwhile', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    const older = await unknownEnd(mq, broker, 'not-done')
    const newer = mq.producer('t', TRANSACTIONAL)
    const tx = await newer.begin()
    await tx.send({ value: 'newer' })
    await assert.rejects(
      older.transaction(() => {}),
      hasCode('PRODUCER_FENCED'),
    )
    await tx.commit()
    assert.deepEqual(committedValues(broker, 't'), ['newer'])
  }))

test('a batch that is refused for its epoch says that the producer is fenced', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    const producer = mq.producer('t', TRANSACTIONAL)
    const tx = await producer.begin()
    await tx.send({ value: '0' })
    broker.transactions.expire('p1')
    const late = tx.send({ value: '1' })
    await assert.rejects(late, hasCode('PRODUCER_FENCED', /open for longer than transactionTimeoutMs/))
    await assert.rejects(tx.commit(), hasCode('PRODUCER_FENCED'))
    await assert.rejects(producer.begin(), hasCode('PRODUCER_FENCED'))
    assert.deepEqual(committedValues(broker, 't'), [])
  }))

test('epochs that are used up: a fresh one is asked for before the next transaction', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    await mq.producer('t', TRANSACTIONAL).ready()
    broker.transactions.ids.get('p1')!.epoch = 0x7ffc
    const producer = mq.producer('t', TRANSACTIONAL)
    for (const value of ['0', '1']) await producer.transaction((tx) => tx.send({ value }))
    const batches = batchesOf(broker, 't')
    assert.deepEqual(
      batches.map(({ epoch, sequence }) => [epoch, sequence]),
      [
        [0x7ffd, 0],
        [0, 0],
      ],
    )
    assert.notEqual(batches[0]!.producerId, batches[1]!.producerId)
    assert.deepEqual(committedValues(broker, 't'), ['0', '1'])
  }))

test('an abort gives up what is in flight and what waits; none of it is committed, nothing of it disturbs the next', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    let isSlow = true
    broker.faults = ({ name }) => (name === 'PRODUCE' && isSlow ? { kind: 'delay', delayMs: 50 } : NONE)
    const producer = mq.producer('t', { ...TRANSACTIONAL, batchBytesMax: 1024 })
    const tx = await producer.begin()
    await tx.ready()
    const sends = Array.from({ length: 100 }, (_, index) => tx.send({ value: `${index}-${'x'.repeat(50)}` }))
    const outcomes = Promise.allSettled(sends)
    await until(() => (broker.counts.get(Api.PRODUCE) ?? 0) > 0)
    await tx.abort()
    for (const outcome of await outcomes) assert.equal(outcome.status, 'rejected')
    isSlow = false
    await producer.transaction((next) => next.send({ value: 'next' }))
    await until(() => producer.stats().bufferedBytes === 0)
    assert.deepEqual(committedValues(broker, 't'), ['next'])
    await producer.transaction((next) => next.send({ value: 'after' }))
    assert.deepEqual(committedValues(broker, 't'), ['next', 'after'])
  }))

test('a late answer to what was given up says nothing to the transaction that is open by then', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    let answer = (): void => {}
    const after = new Promise<void>((resolve) => {
      answer = resolve
    })
    broker.faults = faultAt('PRODUCE', 0, { kind: 'error', code: 'INVALID_TXN_STATE', after })
    const producer = mq.producer('t', TRANSACTIONAL)
    const first = await producer.begin()
    first.send({ value: 'gone' }).catch(() => {})
    await until(() => broker.counts.get(Api.PRODUCE) === 1)
    await first.abort()
    const second = await producer.begin()
    await second.send({ value: '0' })
    answer()
    await second.send({ value: '1' }) // answered on the same connection, after it
    await second.commit()
    assert.deepEqual(broker.transactions.adds, [1, 1])
    assert.deepEqual(committedValues(broker, 't'), ['0', '1'])
  }))

for (const isRefused of [false, true])
  test(`a commit waits for the outcome of each send(), by whatever way it comes (${isRefused ? 'refused' : 'stored'})`, async () => {
    let settle = (): void => {}
    const receipt = new Promise<never>((resolve, reject) => {
      settle = () => (isRefused ? reject(new MillraceError('INVALID_RECORD', 'no')) : resolve({} as never))
    })
    const ends: boolean[] = []
    const nothing = async (): Promise<void> => {}
    const owner: TransactionOwner = {
      transactionalId: 'p1',
      sinkOf: () => ({ encode: (given) => given as never, producer: { send: () => receipt } as unknown as Producer }),
      ...{ drain: nothing, commitOffsets: nothing, flush: () => {}, abandon: () => {}, over: () => {} },
      end: async (isCommit) => void ends.push(isCommit),
    }
    const tx = new Transaction(owner)
    tx.send({ value: 'x' }).catch(() => {})
    const committing = tx.commit()
    committing.catch(() => {})
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual(ends, [])
    settle()
    if (isRefused) await assert.rejects(committing, hasCode('INVALID_RECORD', /aborted: no/))
    else await committing
    assert.deepEqual(ends, [!isRefused])
  })

test('a commit that is given up before the end is asked for is an abort', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    broker.faults = ({ name }) => (name === 'PRODUCE' ? { kind: 'drop-reply' } : NONE)
    const producer = mq.producer('t', TRANSACTIONAL)
    const tx = await producer.begin()
    tx.send({ value: '0' })
    const controller = new AbortController()
    const committing = tx.commit({ signal: controller.signal })
    await until(() => appendedValues(broker, 't').length === 1)
    controller.abort(new Error('enough'))
    await assert.rejects(committing, hasCode('ABORTED'))
    assert.deepEqual(committedValues(broker, 't'), [])
    assert.deepEqual(broker.transactions.ends, [{ epoch: 0, isCommit: false }])
  }))

test('offsets of a group are committed with the records: by a group id, the last of each partition, in one request', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    const producer = mq.producer('t', TRANSACTIONAL)
    await producer.transaction((tx) => {
      tx.send({ value: 'x' })
      for (const offset of [3, 9, 7]) tx.commitOffsets('g', { topic: 't', partition: 0, offset })
      tx.commitOffsets('g', [{ topic: 't', partition: 1, offset: 0 }])
      assert.equal(broker.groups.committed('g', 't/0'), -1)
    })
    assert.deepEqual([broker.groups.committed('g', 't/0'), broker.groups.committed('g', 't/1')], [10, 1])
    assert.equal(broker.counts.get(Api.TXN_OFFSET_COMMIT), 1)
    const failing = producer.transaction((tx) => {
      tx.commitOffsets('g', { topic: 't', partition: 0, offset: 20 })
      throw new Error('no')
    })
    await assert.rejects(failing, /no/)
    assert.equal(broker.groups.committed('g', 't/0'), 10)
    await producer
      .transaction((tx) => {
        const says = hasCode('INVALID_ARGUMENT', /commitOffsets\(\): expected/)
        assert.throws(() => tx.commitOffsets('g', { topic: 't' } as never), says)
      })
      .catch(hasCode('INVALID_ARGUMENT'))
  }))

test('offsets that the group refuses abort the transaction', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    broker.groups.refuse = ({ api }) => (api === 28 ? 'GROUP_AUTHORIZATION_FAILED' : undefined)
    const producer = mq.producer('t', TRANSACTIONAL)
    const failing = producer.transaction((tx) => {
      tx.send({ value: 'x' })
      tx.commitOffsets('g', { topic: 't', partition: 0, offset: 3 })
    })
    await assert.rejects(failing, hasCode('GROUP_AUTHORIZATION_FAILED', /aborted/))
    assert.deepEqual(committedValues(broker, 't'), [])
  }))

test('close() waits for the transaction that runs, aborts one that was only begun, and refuses those that wait', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    const producer = mq.producer('t', TRANSACTIONAL)
    let go: () => void = () => {}
    const gate = new Promise<void>((resolve) => {
      go = resolve
    })
    let isRunning = false
    const running = producer.transaction(async (tx) => {
      isRunning = true
      await gate
      await tx.send({ value: 'kept' })
    })
    const waiting = producer.transaction(() => {})
    const refused = assert.rejects(waiting, hasCode('CLOSED'))
    await until(() => isRunning)
    const closing = producer.close()
    await refused
    go()
    await running
    await closing
    assert.deepEqual(committedValues(broker, 't'), ['kept'])
    const other = mq.producer('t', TRANSACTIONAL)
    const tx = await other.begin()
    await tx.send({ value: 'left' })
    await other.close()
    assert.ok(tx.isAborted)
    await assert.rejects(other.begin(), hasCode('CLOSED'))
    assert.equal(mq.stats().producers, 0)
  }))

test('close() does not wait for a transaction that cannot begin', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    broker.faults = ({ name }) =>
      name === 'INIT_PRODUCER_ID' ? { kind: 'error', code: 'COORDINATOR_NOT_AVAILABLE' } : NONE
    const producer = mq.producer('t', TRANSACTIONAL)
    const beginning = assert.rejects(producer.begin(), hasCode('CLOSED'))
    await until(() => (broker.counts.get(Api.INIT_PRODUCER_ID) ?? 0) > 0)
    await producer.close()
    await beginning
  }))

test('closing twice is one close: both wait for the transaction that runs', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    const producer = mq.producer('t', TRANSACTIONAL)
    let go = (): void => {}
    const gate = new Promise<void>((resolve) => {
      go = resolve
    })
    let isRunning = false
    const running = producer.transaction(async (tx) => {
      isRunning = true
      await gate
      await tx.send({ value: 'kept' })
    })
    await until(() => isRunning)
    let closed = 0
    const closing = [producer.close(), producer.close()].map((each) => each.then(() => closed++))
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
    assert.equal(closed, 0)
    go()
    await Promise.all([running, ...closing])
    assert.deepEqual(committedValues(broker, 't'), ['kept'])
  }))

test('work that throws once its signal has fired: the error is told while the abort goes on', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    let isAnswering = false
    broker.faults = ({ name }) =>
      name === 'END_TXN' && !isAnswering ? { kind: 'error', code: 'COORDINATOR_NOT_AVAILABLE' } : NONE
    const producer = mq.producer('t', TRANSACTIONAL)
    const controller = new AbortController()
    const { signal } = controller
    const mine = new Error('mine')
    const failing = producer.transaction(
      async (tx) => {
        await tx.send({ value: 'gone' })
        controller.abort()
        throw mine
      },
      { signal },
    )
    await assert.rejects(failing, (error: Error) => error === mine && error.cause === undefined)
    isAnswering = true
    await producer.transaction((tx) => tx.send({ value: 'next' }))
    assert.deepEqual(committedValues(broker, 't'), ['next'])
  }))

test('begin() waits for ready()', () =>
  withClient({ topics: { t: 1 } }, async (mq, broker) => {
    broker.faults = faultAt('INIT_PRODUCER_ID', 0, { kind: 'delay', delayMs: 20 })
    const producer = mq.producer('t', TRANSACTIONAL)
    const ready = [producer.ready(), producer.ready()]
    const tx = await producer.begin()
    await Promise.all(ready)
    await assert.rejects(producer.begin(), hasCode('INVALID_TXN_STATE', /is open/))
    await tx.send({ value: 'x' })
    await tx.commit()
    assert.deepEqual(broker.transactions.inits, ['p1'])
    assert.deepEqual(committedValues(broker, 't'), ['x'])
  }))

test('memory stays bounded within a transaction', () =>
  withClient({ topics: { t: 1 }, creditBytes: 70_000 }, async (mq, broker) => {
    const bufferBytesMax = 64 * 1024
    const producer = mq.producer('t', { ...TRANSACTIONAL, bufferBytesMax, batchBytesMax: 16 * 1024 })
    await producer.transaction(async (tx) => {
      await tx.ready()
      let refused = 0
      for (let index = 0; index < 2_000; index++)
        while (!tx.enqueue({ value: 'x'.repeat(200) })) {
          refused++
          assert.ok(producer.stats().bufferedBytes <= bufferBytesMax + 16 * 1024)
          await tx.ready()
        }
      assert.ok(refused > 0)
    })
    assert.equal(committedValues(broker, 't').length, 2_000)
  }))

test('a listener is told how transactions end', () =>
  withClient({ topics: { t: 1 } }, async (mq) => {
    const producer = mq.producer('t', TRANSACTIONAL)
    const told: string[] = []
    producer.on('transactionCommitted', ({ transactionalId }) => told.push(`committed ${transactionalId}`))
    producer.on('transactionAborted', ({ error }) => told.push(`aborted ${error?.code}`))
    producer.on('batchStored', ({ topic: name, recordsCount }) => told.push(`stored ${name} ${recordsCount}`))
    await producer.transaction((tx) => tx.send({ value: 'x' }))
    await producer.begin().then((tx) => tx.abort())
    const tx = await producer.begin()
    tx.fail(new MillraceError('INVALID_ARGUMENT'))
    await assert.rejects(tx.commit())
    assert.deepEqual(told, ['stored t 1', 'committed p1', 'aborted undefined', 'aborted INVALID_ARGUMENT'])
  }))
