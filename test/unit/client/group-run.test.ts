/** run(): order, concurrency, retries and dead letters, and what is committed meanwhile. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runInNewContext } from 'node:vm'
import { type Client, connect, DEAD_LETTER_HEADERS, type GroupOptions, json, topic } from '../../../src/client/index.ts'
import { Api } from '../../../src/protocol/index.ts'
import { hasCode, until } from '../../support/expect.ts'
import { type FakeBroker, withFakeBroker } from '../../support/fake-broker.ts'

const FAST = { backoffMsMin: 2, backoffMsMax: 20 }
/** A test that fails should not wait for handlers that never end. */
const START: GroupOptions = { from: 'start', autoCommitIntervalMs: 1, closeTimeoutMs: 2_000 }
const decoder = new TextDecoder()

async function withClient(
  topics: Readonly<Record<string, number>>,
  body: (mq: Client, broker: FakeBroker) => Promise<void>,
): Promise<void> {
  await withFakeBroker({ topics }, async (broker) => {
    await using mq = await connect(broker.url, FAST)
    await body(mq, broker)
  })
}

/** `count` records with the keys k0, k1, …, in turn. */
async function fill(mq: Client, name: string, count: number, keys: number, partitions = 1): Promise<void> {
  const producer = mq.producer(name, { batchBytesMax: 1024 })
  await producer.ready()
  for (let index = 0; index < count; index++) {
    const key = `k${index % keys}`
    assert.ok(producer.enqueue({ key, value: String(index), partition: (index % keys) % partitions }))
  }
  await producer.close()
}

const text = (bytes: Uint8Array | null): string => decoder.decode(bytes ?? undefined)
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

for (const order of ['partition', 'key', 'none'] as const)
  test(`order '${order}': what is one after the other, what is at once, and nothing is lost`, () =>
    withClient({ t: 2 }, async (mq, broker) => {
      await fill(mq, 't', 300, 6, 2)
      const group = mq.group('g', 't', START)
      const last = new Map<string, number>()
      const busy = new Set<string>()
      let [handled, atOnce, mostAtOnce, overtaken] = [0, 0, 0, 0]
      const running = group.run(
        async ({ partition, key, offset }) => {
          const lane =
            order === 'partition' ? String(partition) : order === 'key' ? text(key) : String(offset) + partition
          assert.ok(!busy.has(lane), `${lane} is handled twice at a time`)
          busy.add(lane)
          mostAtOnce = Math.max(mostAtOnce, ++atOnce)
          await pause((offset * 7) % 4)
          if ((last.get(lane) ?? -1) > offset) overtaken++
          last.set(lane, offset)
          busy.delete(lane)
          atOnce--
          handled++
        },
        { concurrency: 5, order },
      )
      await until(() => handled === 300)
      await group.close()
      await running
      assert.equal(overtaken, 0)
      assert.equal(mostAtOnce, order === 'partition' ? 2 : 5)
      assert.equal(broker.groups.committed('g', 't/0') + broker.groups.committed('g', 't/1'), 300)
    }))

test('what is committed has been handled, every record below it too, in whatever order they end', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 400, 400)
    const done = new Set<number>()
    const group = mq.group('g', 't', START)
    group.on('committed', ({ offsets }) => {
      for (const { offset } of offsets)
        for (let below = 0; below < offset; below++)
          assert.ok(done.has(below), `${offset} is committed without ${below}`)
    })
    const running = group.run(
      async ({ offset }) => {
        await pause((offset * 13) % 7)
        done.add(offset)
      },
      { concurrency: 20, order: 'none' },
    )
    await until(() => done.size === 400)
    await until(() => broker.groups.committed('g', 't/0') === 400)
    await group.close()
    await running
  }))

/** A promise as another realm, or a library of promises, makes it: no instance of this realm's class. */
const foreignPromise: <T>(
  work: (resolve: (value?: T) => void, reject: (error: unknown) => void) => void,
) => Promise<T> = runInNewContext('(work) => new Promise(work)')

test('any promise that a handler answers is waited for, of whatever class it is', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 2, 1)
    const group = mq.group('g', 't', START)
    const begun: number[] = []
    let end: (() => void) | undefined
    const running = group.run(
      ({ offset }, { attempt }) => {
        begun.push(offset)
        return foreignPromise<void>((resolve, reject) => {
          if (attempt === 1) reject(new Error('not yet'))
          else end = resolve
        })
      },
      { retry: { attempts: 2, backoff: 1 } },
    )
    for (const committed of [1, 2]) {
      await until(() => end !== undefined)
      assert.ok(broker.groups.committed('g', 't/0') < committed, 'it is not handled yet')
      end!()
      end = undefined
      await until(() => broker.groups.committed('g', 't/0') === committed)
    }
    await group.close()
    await running
    assert.deepEqual(begun, [0, 0, 1, 1])
  }))

test("a record that fails is tried again, and holds up its key only (order 'key')", () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 40, 4)
    const group = mq.group('g', 't', START)
    const handled: string[] = []
    const attempts: number[] = []
    let isOpen = false
    const running = group.run(
      ({ key, value }, { attempt }) => {
        if (text(value) === '1') {
          attempts.push(attempt)
          if (!isOpen) throw new Error('not yet')
        }
        handled.push(`${text(key)}:${text(value)}`)
      },
      { concurrency: 1, order: 'key', retry: { attempts: 1_000, backoff: 2, backoffMsMax: 5 } },
    )
    await until(() => handled.length === 30)
    await until(() => attempts.length > 3)
    assert.deepEqual(attempts.slice(0, 4), [1, 2, 3, 4])
    assert.ok(handled.every((each) => !each.startsWith('k1')))
    assert.ok(broker.groups.committed('g', 't/0') <= 1, 'the first record that is not handled is the bound')
    isOpen = true
    await until(() => handled.length === 40)
    assert.deepEqual(
      handled.filter((each) => each.startsWith('k1')),
      Array.from({ length: 10 }, (_, index) => `k1:${4 * index + 1}`),
    )
    await group.close()
    await running
    assert.equal(broker.groups.committed('g', 't/0'), 40)
  }))

test("a record that fails holds up its partition, not the others (order 'partition')", () =>
  withClient({ t: 2 }, async (mq) => {
    await fill(mq, 't', 40, 2, 2)
    const group = mq.group('g', 't', START)
    const handled = [0, 0]
    const running = group.run(
      ({ partition }) => {
        if (partition === 0) throw new Error('never')
        handled[partition]!++
      },
      { retry: { attempts: 1_000, backoff: 1, backoffMsMax: 2 } },
    )
    await until(() => handled[1] === 20)
    await group.close()
    await running
    assert.equal(handled[0], 0)
  }))

test('a record that has failed for good is stored with its origin, then committed; the others go on', () =>
  withClient({ t: 1, dead: 1 }, async (mq, broker) => {
    await fill(mq, 't', 10, 10)
    let [stored, isHeld] = [0, true]
    broker.faults = ({ api, produce }) => {
      if (api !== Api.PRODUCE || produce === undefined) return { kind: 'none' }
      stored++
      return isHeld ? { kind: 'error', code: 'NOT_ENOUGH_REPLICAS' } : { kind: 'none' }
    }
    const group = mq.group('g', 't', START)
    const letters: string[] = []
    group.on('deadLettered', ({ offset, attempts }) => letters.push(`${offset} after ${attempts}`))
    let handled = 0
    const running = group.run(
      ({ offset }) => {
        if (offset === 4) throw new RangeError('no such airport')
        handled++
      },
      { order: 'none', concurrency: 3, retry: { attempts: 3, backoff: 1 }, deadLetter: 'dead' },
    )
    await until(() => stored > 1 && handled === 9)
    await pause(20)
    assert.ok(broker.groups.committed('g', 't/0') <= 4, 'not committed before its dead letter is stored')
    isHeld = false
    await until(() => broker.groups.committed('g', 't/0') === 10)
    assert.deepEqual(letters, ['4 after 3'])
    await group.close()
    await running
    for await (const record of mq.consume('dead', { from: 'start', to: 'end' })) {
      const headers = Object.fromEntries(record.headers.map(({ key, value }) => [key, text(value)]))
      assert.deepEqual([text(record.key), text(record.value)], ['k4', '4'])
      assert.equal(headers[DEAD_LETTER_HEADERS.topic], 't')
      assert.equal(headers[DEAD_LETTER_HEADERS.partition], '0')
      assert.equal(headers[DEAD_LETTER_HEADERS.offset], '4')
      assert.equal(headers[DEAD_LETTER_HEADERS.group], 'g')
      assert.equal(headers[DEAD_LETTER_HEADERS.attempts], '3')
      assert.equal(headers[DEAD_LETTER_HEADERS.errorName], 'RangeError')
      assert.equal(headers[DEAD_LETTER_HEADERS.errorMessage], 'no such airport')
      assert.match(headers[DEAD_LETTER_HEADERS.timestampMs]!, /^\d{13}$/)
      handled++
    }
    assert.equal(handled, 10)
  }))

test("without a dead letter topic run() rejects with the handler's error, and the record comes again", () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 10, 10)
    const failing = mq.group('g', 't', START).run(({ offset }) => {
      if (offset === 4) throw new RangeError('no such airport')
    })
    await assert.rejects(failing, RangeError)
    assert.equal(broker.groups.committed('g', 't/0'), 4)
    assert.equal(broker.groups.group('g').members.size, 0)
  }))

test('a record that cannot be decoded goes to the dead letters at once, as it was stored', () =>
  withClient({ t: 1, dead: 1 }, async (mq, broker) => {
    const producer = mq.producer('t')
    for (const value of ['1', '{', '3']) await producer.send({ value })
    const typed = topic('t', { value: json<number>() })
    const group = mq.group('g', typed, START)
    const values: unknown[] = []
    const running = group.run(({ value }) => values.push(value), {
      retry: { attempts: 5 },
      deadLetter: 'dead',
    })
    await until(() => broker.groups.committed('g', 't/0') === 3)
    await group.close()
    await running
    assert.deepEqual(values, [1, 3])
    const dead: string[] = []
    for await (const { value } of mq.consume('dead', { from: 'start', to: 'end' })) dead.push(text(value))
    assert.deepEqual(dead, ['{'])
    assert.equal(group.stats().recordsUndecodable, 1)
  }))

test('close() lets handlers end and commits what they did; what has not begun does not begin', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 100, 100)
    const group = mq.group('g', 't', { ...START, autoCommitIntervalMs: 60_000 })
    let open = (): void => {}
    const opened = new Promise<void>((resolve) => {
      open = resolve
    })
    const begun: number[] = []
    const running = group.run(
      async ({ offset }) => {
        begun.push(offset)
        await opened
      },
      { concurrency: 3, order: 'none' },
    )
    await until(() => begun.length === 3)
    const closed = group.close()
    await pause(20)
    assert.equal(broker.groups.group('g').members.size, 1)
    open()
    await closed
    await running
    assert.deepEqual(begun, [0, 1, 2])
    assert.equal(broker.groups.committed('g', 't/0'), 3)
    assert.equal(broker.groups.group('g').members.size, 0)
  }))

test('at-most-once: close() lets what is committed be handled', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 300, 3)
    const group = mq.group('g', 't', { ...START, semantics: 'at-most-once', closeTimeoutMs: 60_000 })
    let handled = 0
    const running = group.run(async () => {
      await pause(1)
      if (++handled === 3) void group.close()
    })
    await running
    assert.ok(handled > 3)
    assert.equal(broker.groups.committed('g', 't/0'), handled)
  }))

test('handlers that return at once let the event loop turn', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 20_000, 3)
    const group = mq.group('g', 't', START)
    let [handled, turns, seen] = [0, 0, 0]
    const running = group.run(() => {
      handled++
    })
    const timer = setInterval(() => {
      if (handled > seen && handled < 20_000) turns++
      seen = handled
    }, 0)
    await until(() => broker.groups.committed('g', 't/0') === 20_000)
    clearInterval(timer)
    assert.ok(turns > 0)
    await group.close()
    await running
  }))

test('a handler hears that its partition is lost; what it does then counts for nothing', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 10, 10)
    const group = mq.group('g', 't', START)
    const heard: string[] = []
    let isFirst = true
    const running = group.run(async ({ offset }, { signal }) => {
      if (!isFirst) return
      isFirst = false
      broker.groups.fence('g', group.stats().memberId)
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      heard.push(`${offset} lost`)
    })
    await until(() => broker.groups.committed('g', 't/0') === 10)
    assert.deepEqual(heard, ['0 lost'])
    assert.equal(group.stats().recordsConsumed, 11)
    await group.close()
    await running
  }))

test('retries that are waited for do not hold a revocation up', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 10, 10)
    const group = mq.group('g', 't', START)
    let failures = 0
    const running = group.run(
      () => {
        failures++
        throw new Error('never')
      },
      { retry: { attempts: 3, backoff: '10m', backoffMsMax: '10m' } },
    )
    await until(() => failures === 1)
    await group.close()
    await running
    assert.equal(broker.groups.committed('g', 't/0'), -1)
  }))

test('options are checked', () =>
  withClient({ t: 1 }, async (mq) => {
    const group = mq.group('g', 't')
    await assert.rejects(
      group.run(() => {}, { concurrency: 0 }),
      hasCode('INVALID_ARGUMENT', /concurrency/),
    )
    await assert.rejects(
      group.run(() => {}, { order: 'topic' as 'key' }),
      hasCode('INVALID_ARGUMENT', /order/),
    )
    await assert.rejects(
      group.run(() => {}, { retry: { attempts: 0 } }),
      hasCode('INVALID_ARGUMENT', /attempts/),
    )
    assert.equal(group.stats().state, 'idle')
  }))
