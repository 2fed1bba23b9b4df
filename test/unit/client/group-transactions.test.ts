/** Exactly-once groups: what handlers send and how far they have come is one thing, whatever fails, moves or is lost on the way. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { resolveGroupOptions, transactionalIdOf } from '../../../src/client/group/group-options.ts'
import {
  type Client,
  type ConsumedRecord,
  connect,
  DEAD_LETTER_HEADERS,
  type ExactlyOnceGroupOptions,
  json,
  topic,
} from '../../../src/client/index.ts'
import { MillraceError } from '../../../src/model/errors.ts'
import { Api } from '../../../src/protocol/index.ts'
import { readRecords } from '../../../src/record/batch-reader.ts'
import { hasCode, until } from '../../support/expect.ts'
import { type FakeBroker, type Fault, withFakeBroker } from '../../support/fake-broker.ts'
import { appendedValues, committedValues } from '../../support/transaction-reads.ts'

const NONE: Fault = { kind: 'none' }
const FAST = { backoffMsMin: 2, backoffMsMax: 20 }
const ONCE: ExactlyOnceGroupOptions = {
  semantics: 'exactly-once',
  from: 'start',
  waitMs: 50,
  closeTimeoutMs: 2_000,
  sessionTimeoutMs: 10_000,
}
const decoder = new TextDecoder()
const LONG_MS = 30_000

function withClient(
  topics: Readonly<Record<string, number>>,
  body: (mq: Client, broker: FakeBroker) => Promise<void>,
): Promise<void> {
  return withFakeBroker({ topics }, async (broker) => {
    await using mq = await connect(broker.url, FAST)
    await body(mq, broker)
  })
}

/** `count` records 0, 1, … spread over the partitions. */
async function fill(mq: Client, name: string, count: number, partitions = 1): Promise<void> {
  await using producer = mq.producer(name, { batchBytesMax: 1024 })
  await producer.ready()
  for (let index = 0; index < count; index++)
    assert.ok(producer.enqueue({ key: `k${index % 7}`, value: String(index), partition: index % partitions }))
}

const text = (bytes: Uint8Array | null): string => decoder.decode(bytes ?? undefined)

function committedSum(broker: FakeBroker, name: string, partitions: number): number {
  let sum = 0
  for (let partition = 0; partition < partitions; partition++)
    sum += Math.max(0, broker.groups.committed('g', `${name}/${partition}`))
  return sum
}

/** The values in `out`, as a reader with read_committed sees them: each of 0 … count - 1 once. */
function assertOnce(broker: FakeBroker, count: number): void {
  const values = committedValues(broker, 'out').map(Number)
  assert.deepEqual(
    values.sort((left, right) => left - right),
    Array.from({ length: count }, (_, index) => index),
  )
}

for (const order of ['partition', 'key', 'none'] as const)
  test(`what is handled is sent once, in transactions of several records (order '${order}')`, () =>
    withClient({ in: 3, out: 2 }, async (mq, broker) => {
      await fill(mq, 'in', 300, 3)
      const group = mq.group('g', 'in', { ...ONCE, transaction: { recordsMax: 40 } })
      const running = group.run(
        async ({ value, offset }, { transaction }) => {
          if (offset % 5 === 0) await new Promise((resolve) => setTimeout(resolve, offset % 3))
          transaction.send('out', { value: text(value) })
        },
        { concurrency: 4, order },
      )
      await until(() => committedSum(broker, 'in', 3) === 300, LONG_MS)
      await group.close()
      await running
      assertOnce(broker, 300)
      const commits = broker.transactions.ends.filter(({ isCommit }) => isCommit).length
      assert.ok(commits >= 8 && commits < 300, `${commits} transactions`)
      assert.ok(broker.groups.commits.every(({ memberId }) => memberId !== ''))
    }))

test('nothing is committed before it is handled: offsets and records are seen together', () =>
  withClient({ in: 1, out: 1 }, async (mq, broker) => {
    await fill(mq, 'in', 50)
    const group = mq.group('g', 'in', { ...ONCE, transaction: { recordsMax: 7 } })
    group.on('committed', ({ offsets }) => {
      assert.equal(committedValues(broker, 'out').length, offsets[0]!.offset)
    })
    const running = group.run(async ({ value }, { transaction }) => {
      while (!transaction.enqueue('out', { value })) await transaction.ready('out')
    })
    await until(() => committedSum(broker, 'in', 1) === 50, LONG_MS)
    await group.close()
    await running
    assertOnce(broker, 50)
  }))

test('a handler that fails: its transaction is aborted, positions go back, and it is tried again', () =>
  withClient({ in: 2, out: 1 }, async (mq, broker) => {
    await fill(mq, 'in', 60, 2)
    const group = mq.group('g', 'in', { ...ONCE, transaction: { recordsMax: 20 } })
    const attempts: number[] = []
    const retried: number[] = []
    group.on('retried', (event) => retried.push(event.attempts))
    const running = group.run(
      async ({ value }, { transaction, attempt }) => {
        await transaction.send('out', { value })
        if (text(value) !== '25') return
        attempts.push(attempt)
        if (attempt < 3) throw new Error('not yet')
      },
      { concurrency: 3, order: 'none', retry: { attempts: 3, backoff: 1 } },
    )
    await until(() => committedSum(broker, 'in', 2) === 60, LONG_MS)
    await group.close()
    await running
    assert.deepEqual(
      [attempts, retried],
      [
        [1, 2, 3],
        [1, 2],
      ],
    )
    assertOnce(broker, 60)
    assert.ok(appendedValues(broker, 'out').length > 60, 'nothing was aborted')
    assert.equal(broker.transactions.ends.filter(({ isCommit }) => !isCommit).length, 2)
  }))

test('a record that has failed for good goes to the dead letters, as part of a transaction', () =>
  withClient({ in: 1, out: 1, dead: 1 }, async (mq, broker) => {
    await fill(mq, 'in', 20)
    const numbers = topic('in', { value: json<number>() })
    const group = mq.group('g', numbers, { ...ONCE, transaction: { recordsMax: 5 } })
    const told: [number, number][] = []
    group.on('deadLettered', ({ offset, attempts }) => told.push([offset, attempts]))
    const running = group.run(
      ({ value }, { transaction }) => {
        transaction.send('out', { value: `${value}` })
        if (value === 7) throw new RangeError('seven')
      },
      { retry: { attempts: 2, backoff: 1 }, deadLetter: 'dead' },
    )
    await until(() => committedSum(broker, 'in', 1) === 20, LONG_MS)
    await group.close()
    await running
    assert.deepEqual(told, [[7, 2]])
    assert.deepEqual(committedValues(broker, 'dead'), ['7'])
    assert.ok(!committedValues(broker, 'out').includes('7'))
    assert.equal(committedValues(broker, 'out').length, 19)
    const [letter] = readRecords(broker.partition('dead', 0).batches[0]!.bytes)
    assert.equal(text(letter!.headers.find(({ key }) => key === DEAD_LETTER_HEADERS.errorName)!.value), 'RangeError')
  }))

test('a record that cannot be decoded goes there, too; without dead letters run() rejects', () =>
  withClient({ in: 1, dead: 1 }, async (mq, broker) => {
    await mq.producer('in').sendMany([{ value: '1' }, { value: 'not json' }, { value: '3' }])
    const numbers = topic('in', { value: json<number>() })
    const seen: unknown[] = []
    const group = mq.group('g', numbers, ONCE)
    const running = group.run(({ value }) => void seen.push(value), { deadLetter: 'dead' })
    await until(() => committedSum(broker, 'in', 1) === 3, LONG_MS)
    await group.close()
    await running
    assert.deepEqual(committedValues(broker, 'dead'), ['not json'])
    assert.deepEqual([...new Set(seen)], [1, 3])
    const strict = mq.group('strict', numbers, ONCE)
    await assert.rejects(
      strict.run(() => {}),
      /cannot be decoded/,
    )
  }))

test('no attempt left and no dead letters: run() rejects with the error, and nothing of its transaction is committed', () =>
  withClient({ in: 1, out: 1 }, async (mq, broker) => {
    await fill(mq, 'in', 10)
    const group = mq.group('g', 'in', { ...ONCE, transaction: { recordsMax: 4 } })
    const mine = new Error('mine')
    const running = group.run(async ({ value, offset }, { transaction }) => {
      await transaction.send('out', { value })
      if (offset === 6) throw mine
    })
    await assert.rejects(running, (error) => error === mine)
    const committed = Math.max(0, broker.groups.committed('g', 'in/0'))
    assert.ok(committed <= 6)
    assertOnce(broker, committed)
    assert.equal(broker.transactions.ids.values().next().value!.state, 'CompleteAbort')
  }))

test('lost replies and broken connections: still everything once', () =>
  withClient({ in: 2, out: 2 }, async (mq, broker) => {
    await fill(mq, 'in', 200, 2)
    const apis = ['PRODUCE', 'ADD_PARTITIONS_TO_TXN', 'END_TXN', 'TXN_OFFSET_COMMIT', 'INIT_PRODUCER_ID']
    broker.faults = ({ name, index }) => {
      if (!apis.includes(name)) return NONE
      if (index % 4 === 1) return { kind: 'break', work: 'done' }
      return index % 4 === 2 ? { kind: 'break', work: 'not-done' } : NONE
    }
    const group = mq.group('g', 'in', { ...ONCE, transaction: { recordsMax: 30 } })
    const running = group.run(({ value }, { transaction }) => void transaction.send('out', { value }), {
      concurrency: 3,
      order: 'key',
      retry: { attempts: 3, backoff: 1 },
    })
    await until(() => committedSum(broker, 'in', 2) === 200, LONG_MS)
    await group.close()
    await running
    assertOnce(broker, 200)
  }))

for (const work of ['done', 'not-done'] as const)
  test(`a commit without an answer: its outcome is learned before anything is handled again (${work})`, () =>
    withClient({ in: 1, out: 1 }, async (mq, broker) => {
      await fill(mq, 'in', 10)
      broker.faults = ({ name, index }) => {
        if (name !== 'END_TXN' || index > 1) return NONE
        return index === 0 ? { kind: 'break', work } : { kind: 'error', code: 'CLUSTER_AUTHORIZATION_FAILED' }
      }
      const group = mq.group('g', 'in', ONCE)
      const running = group.run(({ value }, { transaction }) => void transaction.send('out', { value }), {
        retry: { attempts: 2, backoff: 1 },
      })
      await until(() => broker.groups.committed('g', 'in/0') === 10, LONG_MS)
      await fill(mq, 'in', 1)
      await until(() => broker.groups.committed('g', 'in/0') === 11, LONG_MS)
      await group.close()
      await running
      assert.deepEqual(committedValues(broker, 'out').map(Number), [...Array(10).keys(), 0])
    }))

test('a commit whose outcome cannot be learned ends run(): nothing is handled again on a guess', () =>
  withClient({ in: 1, out: 1 }, async (mq, broker) => {
    await fill(mq, 'in', 10)
    broker.faults = ({ name, index }) => {
      if (name !== 'END_TXN') return NONE
      return index === 0 ? { kind: 'break', work: 'done' } : { kind: 'error', code: 'CLUSTER_AUTHORIZATION_FAILED' }
    }
    const group = mq.group('g', 'in', ONCE)
    const running = group.run(({ value }, { transaction }) => void transaction.send('out', { value }), {
      retry: { attempts: 5, backoff: 1 },
    })
    await assert.rejects(running, hasCode('CLUSTER_AUTHORIZATION_FAILED'))
    assert.deepEqual(appendedValues(broker, 'out'), committedValues(broker, 'out'))
    assert.ok(committedValues(broker, 'out').length > 0)
  }))

test('a seek() within a transaction comes after it, and may be asked for by a handler', () =>
  withClient({ in: 2, out: 1 }, async (mq, broker) => {
    await mq.producer('in').sendMany(Array.from({ length: 40 }, (_, index) => ({ value: String(index), partition: 0 })))
    await mq.producer('in').sendMany([{ value: 'other', partition: 1 }])
    const group = mq.group('g', 'in', { ...ONCE, transaction: { ms: 10_000 } })
    let hasSought = false
    let hasFailed = false
    const running = group.run(
      async ({ value, offset, partition }, { transaction }) => {
        await transaction.send('out', { value })
        if (partition === 1) {
          // Holds the transaction open for long enough to take what comes after the seek, if it did.
          await until(() => hasSought, LONG_MS)
          await new Promise((resolve) => setTimeout(resolve, 100))
        } else if (offset === 5 && !hasSought) {
          await group.seek({ topic: 'in', partition: 0 }, { offset: 20 })
          hasSought = true
        } else if (offset === 25 && !hasFailed) {
          hasFailed = true
          throw new Error('once')
        }
      },
      { concurrency: 2, retry: { attempts: 2, backoff: 1 } },
    )
    await until(() => broker.groups.committed('g', 'in/0') === 40, LONG_MS)
    await group.close()
    await running
    assert.ok(hasFailed)
    const values = committedValues(broker, 'out')
    assert.equal(new Set(values).size, values.length)
    for (let offset = 20; offset < 40; offset++) assert.ok(values.includes(`${offset}`), `${offset} is missing`)
  }))

test("a handler's error is the record's, though it says that some producer is fenced", () =>
  withClient({ in: 1, out: 1 }, async (mq, broker) => {
    await fill(mq, 'in', 10)
    const group = mq.group('g', 'in', { ...ONCE, transactionalId: 'mine' })
    const running = group.run(
      ({ value, offset }, { transaction, attempt }) => {
        transaction.send('out', { value }).catch(() => {})
        if (offset === 4 && attempt === 1) throw new MillraceError('PRODUCER_FENCED', 'of another producer')
      },
      { retry: { attempts: 2, backoff: 1 } },
    )
    await until(() => broker.groups.committed('g', 'in/0') === 10, LONG_MS)
    await group.close()
    await running
    assertOnce(broker, 10)
  }))

test('what is refused for itself counts against the record whose handler sent it, awaited or not', () =>
  withClient({ in: 1, out: 1, dead: 1 }, async (mq, broker) => {
    await fill(mq, 'in', 6)
    const group = mq.group('g', 'in', ONCE)
    const told: [number, number][] = []
    group.on('deadLettered', ({ offset, attempts }) => told.push([offset, attempts]))
    const huge = new Uint8Array(4 * 1024 * 1024)
    const running = group.run(
      ({ value, offset }, { transaction }) => {
        const given = offset === 2 ? huge : offset === 4 ? (7 as never) : value
        transaction.send('out', { value: given }).catch(() => {})
      },
      { retry: { attempts: 2, backoff: 1 }, deadLetter: 'dead' },
    )
    await until(() => broker.groups.committed('g', 'in/0') === 6, LONG_MS)
    await group.close()
    await running
    assert.deepEqual(told, [
      [2, 2],
      [4, 2],
    ])
    assert.deepEqual(committedValues(broker, 'dead'), ['2', '4'])
    assert.deepEqual(committedValues(broker, 'out').sort(), ['0', '1', '3', '5'])
  }))

test('a partition is let go only when no transaction holds it', () =>
  withClient({ in: 4, out: 2 }, async (mq, broker) => {
    await fill(mq, 'in', 400, 4)
    const options = { ...ONCE, transaction: { recordsMax: 30 } }
    const [first, second] = [mq.group('g', 'in', options), mq.group('g', 'in', options)]
    let isRevoked = false
    first.on('revoked', ({ partitions }) => {
      isRevoked = true
      const pending = broker.groups.group('g').pending.map(({ key }) => key)
      for (const { topic: name, partition } of partitions) assert.ok(!pending.includes(`${name}/${partition}`))
    })
    let slow = 0
    const handler = async (
      { value }: { readonly value: Uint8Array | null },
      { transaction }: Parameters<Parameters<typeof first.run>[0]>[1],
    ): Promise<void> => {
      if (++slow % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 2))
      transaction.send('out', { value })
    }
    const running = [first.run(handler, { concurrency: 4 })]
    await until(() => committedSum(broker, 'in', 4) > 30)
    running.push(second.run(handler, { concurrency: 4 }))
    await until(() => committedSum(broker, 'in', 4) === 400, LONG_MS)
    await Promise.all([first.close(), second.close()])
    await Promise.all(running)
    assert.ok(isRevoked || second.stats().recordsConsumed === 0)
    assertOnce(broker, 400)
  }))

test('a revocation waits for the transaction that is open', () =>
  withClient({ in: 2, out: 1 }, async (mq, broker) => {
    await fill(mq, 'in', 2, 2)
    const first = mq.group('g', 'in', { ...ONCE, transaction: { ms: 10_000 } })
    let go = (): void => {}
    const gate = new Promise<void>((resolve) => {
      go = resolve
    })
    let begun = 0
    const running = first.run(
      async ({ value }, { transaction }) => {
        begun++
        transaction.send('out', { value })
        await gate
      },
      { concurrency: 2, order: 'none' },
    )
    await until(() => begun === 2)
    const revoked: string[] = []
    first.on('revoked', () => revoked.push(committedValues(broker, 'out').sort().join()))
    const second = mq.group('g', 'in', ONCE)
    const other = second.run(() => {})
    await until(() => [...broker.groups.group('g').members.values()].some(({ revoking }) => revoking.size > 0))
    await new Promise((resolve) => setTimeout(resolve, 60))
    assert.deepEqual(revoked, [])
    go()
    await until(() => revoked.length === 1)
    assert.deepEqual(revoked, ['0,1'])
    await Promise.all([first.close(), second.close()])
    await Promise.all([running, other])
    assertOnce(broker, 2)
  }))

test('a member that is fenced within a transaction: it is aborted, and who has the partitions next handles them', () =>
  withClient({ in: 1, out: 1 }, async (mq, broker) => {
    await fill(mq, 'in', 10)
    const group = mq.group('g', 'in', ONCE)
    let isFenced = false
    let lost = 0
    group.on('lost', () => lost++)
    const signals: AbortSignal[] = []
    const running = group.run(async ({ value, offset }, { transaction, signal }) => {
      transaction.send('out', { value })
      if (offset !== 5 || isFenced) return
      isFenced = true
      signals.push(signal)
      const { memberId } = group.stats()
      broker.groups.fence('g', memberId)
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
    })
    await until(() => broker.groups.committed('g', 'in/0') === 10, LONG_MS)
    await group.close()
    await running
    assert.equal(lost, 1)
    assert.ok(signals[0]!.aborted)
    assertOnce(broker, 10)
  }))

test('a commit that meets a fenced member does not count', () =>
  withClient({ in: 1, out: 1 }, async (mq, broker) => {
    await fill(mq, 'in', 10)
    let isFenced = false
    broker.groups.refuse = ({ api }) => {
      if (api !== Api.TXN_OFFSET_COMMIT || isFenced) return undefined
      isFenced = true
      return 'UNKNOWN_MEMBER_ID'
    }
    const group = mq.group('g', 'in', ONCE)
    const running = group.run(({ value }, { transaction }) => void transaction.send('out', { value }))
    await until(() => broker.groups.committed('g', 'in/0') === 10, LONG_MS)
    await group.close()
    await running
    assertOnce(broker, 10)
  }))

test('a stale epoch at the commit: the newest is heard of, and the transaction is committed with it', () =>
  withClient({ in: 1, out: 1 }, async (mq, broker) => {
    await fill(mq, 'in', 10)
    let stale = 0
    broker.groups.refuse = ({ api }) =>
      api === Api.TXN_OFFSET_COMMIT && stale++ < 2 ? 'STALE_MEMBER_EPOCH' : undefined
    const group = mq.group('g', 'in', ONCE)
    const running = group.run(({ value }, { transaction }) => void transaction.send('out', { value }))
    await until(() => broker.groups.committed('g', 'in/0') === 10, LONG_MS)
    await group.close()
    await running
    assertOnce(broker, 10)
    assert.ok(broker.transactions.ends.every(({ isCommit }) => isCommit))
  }))

test('who takes over waits until the offsets that are pending are decided', () =>
  withClient({ in: 1, out: 1 }, async (mq, broker) => {
    await fill(mq, 'in', 10)
    const dead = mq.producer('out', { transactionalId: 'dead' })
    const tx = await dead.begin()
    await tx.send({ value: '0' })
    broker.groups.group('g').pending.push({ producerId: 7, key: 'in/0', offset: 5 })
    const group = mq.group('g', 'in', ONCE)
    const offsets: number[] = []
    const running = group.run(({ offset }) => void offsets.push(offset))
    await until(() => (broker.counts.get(Api.OFFSET_FETCH) ?? 0) >= 3)
    assert.deepEqual(offsets, [])
    broker.groups.endPending('g', 7, true)
    await until(() => broker.groups.committed('g', 'in/0') === 10, LONG_MS)
    await group.close()
    await running
    assert.deepEqual(offsets, [5, 6, 7, 8, 9])
    await tx.abort()
  }))

test('a transaction that is open for too long is an attempt that failed; under a name of its own run() goes on', () =>
  withClient({ in: 1, out: 1 }, async (mq, broker) => {
    await fill(mq, 'in', 5)
    let isExpired = false
    const handler = (
      { value, offset }: { readonly value: Uint8Array | null; readonly offset: number },
      {
        transaction,
      }: {
        readonly transaction: {
          send(name: string, record: { value: Uint8Array | null }): unknown
          transactionalId: string
        }
      },
    ): void => {
      transaction.send('out', { value })
      if (offset !== 4 || isExpired) return
      isExpired = true
      broker.transactions.expire(transaction.transactionalId)
    }
    const group = mq.group('g', 'in', ONCE)
    const running = group.run(
      async (record, context) => {
        // What is expired has begun at the coordinator.
        await context.transaction.send('out', { value: 'first' }).catch(() => {})
        handler(record, context)
      },
      { retry: { attempts: 2, backoff: 1 } },
    )
    await until(() => broker.groups.committed('g', 'in/0') === 5, LONG_MS)
    await group.close()
    await running
    const values = committedValues(broker, 'out')
    assert.equal(values.filter((value) => value !== 'first').length, 5)
    assert.ok(isExpired)
  }))

test('a transactional id that was given: whoever takes it over ends the group', () =>
  withClient({ in: 1, out: 1 }, async (mq, broker) => {
    await fill(mq, 'in', 1)
    const group = mq.group('g', 'in', { ...ONCE, transactionalId: 'mine' })
    let handled = 0
    const running = group.run(({ value }, { transaction }) => {
      handled++
      transaction.send('out', { value })
    })
    running.catch(() => {})
    await until(() => broker.groups.committed('g', 'in/0') === 1, LONG_MS)
    assert.deepEqual([...broker.transactions.ids.keys()], ['mine'])
    await mq.producer('out', { transactionalId: 'mine' }).ready()
    await fill(mq, 'in', 1)
    await assert.rejects(running, hasCode('PRODUCER_FENCED', /'mine'/))
    assert.equal(broker.groups.committed('g', 'in/0'), 1)
    assert.ok(handled >= 1)
  }))

test("ids: a static member's is its group and instance, else nobody has had it", () =>
  withClient({ in: 1 }, async (mq, broker) => {
    await fill(mq, 'in', 1)
    for (const options of [{ instanceId: 'i1' }, {}]) {
      const group = mq.group('g', 'in', { ...ONCE, ...options })
      const running = group.run(() => {})
      await until(() => group.stats().recordsConsumed > 0 || broker.transactions.inits.length > 0)
      await group.close()
      await running
      broker.groups.group('g').offsets.clear()
    }
    assert.equal(broker.transactions.inits[0], 'g/i1')
  }))

test('ids: no two groups and instances make the same; what is too long says so when the group is made', () =>
  withClient({ in: 1 }, async (mq) => {
    const idOf = (groupId: string, instanceId?: string): string =>
      transactionalIdOf(
        groupId,
        'member',
        resolveGroupOptions(instanceId === undefined ? ONCE : { ...ONCE, instanceId }),
      )
    const parts = ['a', 'a-b', 'b-c', 'c', 'a/b', 'b/c', 'a%2Fb', '%2F', '/', '%']
    const ids = parts.flatMap((groupId) => parts.map((instanceId) => idOf(groupId, instanceId)))
    assert.equal(new Set(ids).size, ids.length)
    const long = 'g'.repeat(250)
    assert.equal(idOf(long), 'member')
    assert.throws(
      () => mq.group(long, 'in', { ...ONCE, instanceId: 'instance' }),
      hasCode('INVALID_ARGUMENT', /transactionalId: group id and instanceId make one of 259 bytes/),
    )
    await mq.group(long, 'in', { ...ONCE, instanceId: 'instance', transactionalId: 'mine' }).close()
  }))

test('close() commits what is under way; an aborted signal does not', () =>
  withClient({ in: 1, out: 1 }, async (mq, broker) => {
    await fill(mq, 'in', 3)
    for (const how of ['abort', 'close'] as const) {
      const controller = new AbortController()
      const group = mq.group('g', 'in', { ...ONCE, signal: controller.signal, transaction: { ms: 10_000 } })
      let go = (): void => {}
      const gate = new Promise<void>((resolve) => {
        go = resolve
      })
      let begun = false
      const running = group.run(async ({ value }, { transaction }) => {
        transaction.send('out', { value })
        begun = true
        await gate
      })
      await until(() => begun)
      if (how === 'abort') {
        controller.abort()
        await assert.rejects(running, hasCode('ABORTED'))
        go()
      } else {
        const closing = group.close()
        go()
        await closing
        await running
      }
      const count = how === 'abort' ? -1 : 1
      assert.ok(broker.groups.committed('g', 'in/0') >= count)
      assert.equal(committedValues(broker, 'out').length, Math.max(0, broker.groups.committed('g', 'in/0')))
    }
  }))

test('only run() works in transactions: the others name it, and the way by hand', () =>
  withClient({ in: 1 }, async (mq) => {
    const group = mq.group('g', 'in', ONCE)
    const says = hasCode('INVALID_ARGUMENT', /run\(\).*tx\.commitOffsets\(group, record\)/)
    assert.throws(() => group[Symbol.asyncIterator](), says)
    assert.throws(() => group.batches(), says)
    await assert.rejects(group.commit(), hasCode('INVALID_ARGUMENT', /transactions of run\(\)/))
    for (const wrong of [{ commit: 'manual' }, { isolation: 'read_uncommitted' }] as const)
      assert.throws(() => mq.group('g', 'in', { ...ONCE, ...wrong }), hasCode('INVALID_ARGUMENT', /exactly-once/))
    assert.throws(
      () => mq.group('g', 'in', { transaction: { ms: 5 } }),
      hasCode('INVALID_ARGUMENT', /go with semantics 'exactly-once'/),
    )
    for (const transaction of [{ recordsMax: 0 }, { ms: '20s' }, { timeoutMs: 0 }] as const)
      assert.throws(() => mq.group('g', 'in', { ...ONCE, transaction }), hasCode('INVALID_ARGUMENT', /^transaction\./))
  }))

test('by hand: `for await`, a transaction a record, and the offsets of any group', () =>
  withClient({ in: 2, out: 1 }, async (mq, broker) => {
    await fill(mq, 'in', 20, 2)
    const group = mq.group('g', 'in', { from: 'start', commit: 'manual' })
    const producer = mq.producer('out', { transactionalId: 'by-hand' })
    const committed: number[] = []
    group.on('committed', ({ offsets }) => committed.push(...offsets.map(({ offset }) => offset)))
    let handled = 0
    for await (const record of group) {
      await producer.transaction((tx) => {
        tx.send({ value: record.value })
        tx.commitOffsets(group, record)
      })
      if (++handled === 20) break
    }
    assert.equal(committedSum(broker, 'in', 2), 20)
    assert.equal(committed.length, 20)
    assertOnce(broker, 20)
  }))

test('by hand: what is committed does not fall', () =>
  withClient({ in: 1, out: 1 }, async (mq, broker) => {
    await fill(mq, 'in', 10)
    const group = mq.group('g', 'in', { from: 'start', commit: 'manual' })
    const producer = mq.producer('out', { transactionalId: 'by-hand' })
    const seen: ConsumedRecord[] = []
    for await (const record of group) {
      seen.push(record)
      if (seen.length < 10) continue
      for (const { offset } of [seen[7]!, seen[3]!, seen[7]!, seen[9]!])
        await producer.transaction((tx) => {
          tx.commitOffsets(group, seen[offset]!)
        })
      break
    }
    assert.deepEqual(
      broker.groups.commits.map(({ offset }) => offset),
      [8, 10],
    )
    assert.equal(broker.groups.committed('g', 'in/0'), 10)
  }))

test('by hand: a record of an earlier ownership aborts the transaction, though the partition is back', () =>
  withClient({ in: 1, out: 1 }, async (mq, broker) => {
    await fill(mq, 'in', 10)
    const group = mq.group('g', 'in', { from: 'start', commit: 'manual', heartbeatIntervalMs: 50 })
    const producer = mq.producer('out', { transactionalId: 'by-hand' })
    let lost = 0
    group.on('lost', () => lost++)
    const seen: ConsumedRecord[] = []
    for await (const record of group) {
      seen.push(record)
      if (seen.length === 2) {
        // Another member has it meanwhile, and handles and commits up to 7.
        broker.groups.group('g').offsets.set('in/0', 8)
        broker.groups.fence('g', group.stats().memberId)
        await until(() => lost === 1, LONG_MS)
      }
      if (record.offset < 8) continue
      const work = producer.transaction((tx) => {
        tx.send({ value: seen[1]!.value })
        tx.commitOffsets(group, seen[1]!)
      })
      await assert.rejects(work, hasCode('STALE_MEMBER_EPOCH', /offset 1 was read before .* begins at 8/))
      break
    }
    assert.equal(broker.groups.committed('g', 'in/0'), 8)
    assert.deepEqual(committedValues(broker, 'out'), [])
  }))

test('by hand: a group that commits by itself is refused, with what to do', () =>
  withClient({ in: 1, out: 1 }, async (mq) => {
    const producer = mq.producer('out', { transactionalId: 'by-hand' })
    const handled = { topic: 'in', partition: 0, offset: 0 }
    for (const options of [{}, { semantics: 'at-most-once', commit: 'manual' }, ONCE] as const) {
      const group = mq.group('g', 'in', options)
      await assert.rejects(
        producer.transaction((tx) => tx.commitOffsets(group, handled)),
        hasCode('INVALID_ARGUMENT', options === ONCE ? /transactions of run\(\)/ : /commit: 'manual'/),
      )
      await group.close()
    }
  }))

test('by hand: offsets of a partition that has gone to others abort the transaction', () =>
  withClient({ in: 1, out: 1 }, async (mq, broker) => {
    await fill(mq, 'in', 5)
    const group = mq.group('g', 'in', { from: 'start', commit: 'manual' })
    const producer = mq.producer('out', { transactionalId: 'by-hand' })
    for await (const record of group) {
      const tx = await producer.begin()
      tx.send({ value: record.value })
      tx.commitOffsets(group, record)
      broker.groups.fence('g', group.stats().memberId)
      await until(() => group.assignment().length === 0 || group.stats().state !== 'member')
      await assert.rejects(tx.commit(), hasCode('STALE_MEMBER_EPOCH', /aborted/))
      assert.throws(() => tx.commitOffsets(group, record), hasCode('INVALID_TXN_STATE'))
      break
    }
    assert.equal(broker.groups.committed('g', 'in/0'), -1)
    assert.deepEqual(committedValues(broker, 'out'), [])
  }))
