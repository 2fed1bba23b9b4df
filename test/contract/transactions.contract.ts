/**
 * What the client promises of transactions, whatever is between it and the broker: all or nothing for readers with read_committed,
 * offsets with the records, fencing, timeouts, exactly-once groups. Called by client.contract.ts for each make.
 */
import assert from 'node:assert/strict'
import { type Client, type ExactlyOnceGroupOptions, json, topic } from '../../src/client/index.ts'
import { hasCode, until } from '../support/expect.ts'
import { type ClientTest, numbered, readAll, textOf, valuesOf } from './client.contract.ts'

const WAIT_MS = 60_000
const ONCE: ExactlyOnceGroupOptions = { semantics: 'exactly-once', from: 'start' }

export function transactionContract(each: ClientTest): void {
  outcomeContract(each)
  fencingContract(each)
  readerContract(each)
  groupContract(each)
}

const sorted = (values: readonly (string | null)[]): number[] => values.map(Number).sort((left, right) => left - right)

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

function outcomeContract(each: ClientTest): void {
  each('a transaction over topics and partitions is read as a whole, and only when it is committed', async ({ mq }) => {
    await mq.admin.topics.create('tx-left', { partitions: 3 })
    await mq.admin.topics.create('tx-right', { partitions: 2 })
    const right = topic('tx-right', { value: json<{ n: number }>() })
    const producer = mq.producer('tx-left', { transactionalId: 'tx-whole' })
    const tx = await producer.begin()
    await Promise.all(numbered(30).map(({ value }, index) => tx.send({ value, partition: index % 3 })))
    await Promise.all(upTo(20).map((n) => tx.send(right, { value: { n }, partition: n % 2 })))
    const early = await valuesOf(mq, 'tx-left', { isolation: 'read_uncommitted' })
    assert.deepEqual(sorted(early), upTo(30))
    await tx.commit()
    assert.deepEqual(sorted(await valuesOf(mq, 'tx-left')), upTo(30))
    assert.equal((await readAll(mq, 'tx-right')).length, 20)
  })

  each('what is aborted is never read, by whatever way it was; order and the rest stay', async ({ mq }) => {
    await mq.admin.topics.create('tx-aborted', { partitions: 2 })
    const producer = mq.producer('tx-aborted', { transactionalId: 'tx-aborted' })
    for (let round = 0; round < 12; round++) {
      const values = upTo(10).map((index) => `${round * 10 + index}`)
      const work = producer.transaction(async (transaction) => {
        await Promise.all(values.map((value, index) => transaction.send({ value, partition: index % 2 })))
        if (round % 3 === 1) throw new Error('no')
      })
      if (round % 3 === 1) await assert.rejects(work, /^Error: no$/)
      else await work
    }
    const expected = upTo(120).filter((number) => Math.floor(number / 10) % 3 !== 1)
    for (const partition of [0, 1])
      assert.deepEqual(
        (await valuesOf(mq, 'tx-aborted', { partitions: [partition] })).map(Number),
        expected.filter((number) => number % 2 === partition),
      )
    const everything = await valuesOf(mq, 'tx-aborted', { isolation: 'read_uncommitted' })
    assert.deepEqual(sorted(everything), upTo(120))
  })

  each('large transactions by enqueue(): everything once, in order', async ({ mq }) => {
    await mq.admin.topics.create('tx-large', { partitions: 1 })
    const producer = mq.producer('tx-large', { transactionalId: 'tx-large', batchBytesMax: 4_096 })
    for (let round = 0; round < 2; round++)
      await producer.transaction(async (tx) => {
        for (const record of numbered(5_000, round * 5_000)) while (!tx.enqueue(record)) await tx.ready()
      })
    assert.deepEqual((await valuesOf(mq, 'tx-large')).map(Number), upTo(10_000))
  })

  each('connections that break within transactions: nothing lost, nothing twice, order kept', async ({ mq, make }) => {
    await mq.admin.topics.create('tx-broken', { partitions: 2 })
    const producer = mq.producer('tx-broken', { transactionalId: 'tx-broken', batchBytesMax: 2_048 })
    for (let round = 0; round < 8; round++) {
      const work = producer.transaction(async (tx) => {
        for (const { value } of numbered(200, round * 200))
          while (!tx.enqueue({ value, partition: Number(value) % 2 })) await tx.ready()
        tx.flush()
        await new Promise((resolve) => setTimeout(resolve, round))
        make.dropConnections()
      })
      await new Promise((resolve) => setTimeout(resolve, round))
      await work
      make.dropConnections()
    }
    for (const partition of [0, 1])
      assert.deepEqual(
        (await valuesOf(mq, 'tx-broken', { partitions: [partition] })).map(Number),
        upTo(1_600).filter((number) => number % 2 === partition),
      )
  })

  each('offsets are committed with the records, or not at all', async ({ mq }) => {
    await mq.admin.topics.create('tx-offsets', { partitions: 1 })
    await mq.producer('tx-offsets').sendMany(numbered(10))
    const producer = mq.producer('tx-offsets', { transactionalId: 'tx-offsets' })
    const committed = async (): Promise<number | undefined> => (await mq.admin.groups.offsets('tx-by-hand'))[0]?.offset
    const handled = (offset: number) => ({ topic: 'tx-offsets', partition: 0, offset })
    await producer.transaction((tx) => tx.commitOffsets('tx-by-hand', handled(4)))
    await untilIs(committed, 5)
    const failing = producer.transaction((tx) => {
      tx.commitOffsets('tx-by-hand', handled(7))
      throw new Error('no')
    })
    await assert.rejects(failing, /no/)
    await producer.transaction((tx) => tx.commitOffsets('tx-by-hand', [handled(5), handled(3)]))
    await untilIs(committed, 6)
  })
}

/** Markers are written after the decision: what they publish comes within moments. */
async function untilIs(look: () => Promise<number | undefined>, wanted: number): Promise<void> {
  const deadlineMs = performance.now() + WAIT_MS
  let found = await look()
  while (found !== wanted) {
    assert.ok(performance.now() < deadlineMs, `expected ${wanted}, found ${found}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
    found = await look()
  }
}

function fencingContract(each: ClientTest): void {
  each(
    'a new producer with the transactional id fences the older one, and aborts what that had open',
    async ({ mq }) => {
      await mq.admin.topics.create('tx-fenced', { partitions: 1 })
      const older = mq.producer('tx-fenced', { transactionalId: 'tx-fenced' })
      const tx = await older.begin()
      await tx.send({ value: 'older' })
      const newer = mq.producer('tx-fenced', { transactionalId: 'tx-fenced' })
      await newer.transaction((mine) => mine.send({ value: 'newer' }))
      await assert.rejects(tx.commit(), hasCode('PRODUCER_FENCED', /'tx-fenced'/))
      await assert.rejects(older.begin(), hasCode('PRODUCER_FENCED'))
      assert.deepEqual(await valuesOf(mq, 'tx-fenced'), ['newer'])
    },
  )

  each('a transaction that is open for too long is aborted by the broker; readers go on', async ({ mq }) => {
    await mq.admin.topics.create('tx-late', { partitions: 1 })
    const late = mq.producer('tx-late', { transactionalId: 'tx-late', transactionTimeoutMs: 2_000 })
    const tx = await late.begin()
    await tx.send({ value: 'late' })
    await mq.producer('tx-late').send({ value: 'behind it' })
    assert.deepEqual(await valuesOf(mq, 'tx-late'), ['behind it'])
    await assert.rejects(tx.commit(), hasCode('PRODUCER_FENCED', /transactionTimeoutMs/))
  })

  each('a timeout beyond what the broker allows is refused', async ({ mq }) => {
    await mq.admin.topics.create('tx-timeout', { partitions: 1 })
    const options = { transactionalId: 'tx-timeout', transactionTimeoutMs: 2 ** 31 - 1 }
    await assert.rejects(mq.producer('tx-timeout', options).ready(), hasCode('INVALID_TRANSACTION_TIMEOUT'))
  })
}

function readerContract(each: ClientTest): void {
  each("reading to 'end' waits until what is open below it is decided", async ({ mq }) => {
    await mq.admin.topics.create('tx-end', { partitions: 1 })
    const producer = mq.producer('tx-end', { transactionalId: 'tx-end' })
    const tx = await producer.begin()
    await tx.send({ value: 'open' })
    await mq.producer('tx-end').send({ value: 'plain' })
    let isRead = false
    const reading = valuesOf(mq, 'tx-end', { waitMs: 50 }).finally(() => {
      isRead = true
    })
    assert.deepEqual(await valuesOf(mq, 'tx-end', { isolation: 'read_uncommitted' }), ['open', 'plain'])
    assert.ok(!isRead)
    await tx.commit()
    assert.deepEqual(await reading, ['open', 'plain'])
  })

  each('a tail of read_committed gets each transaction when it is committed', async ({ mq }) => {
    await mq.admin.topics.create('tx-tail', { partitions: 1 })
    const producer = mq.producer('tx-tail', { transactionalId: 'tx-tail' })
    const consumer = mq.consume('tx-tail', { from: 'start' })
    await consumer.start()
    const seen: (string | null)[] = []
    const reading = (async () => {
      for await (const { value } of consumer) {
        seen.push(textOf(value))
        if (seen.length === 6) return
      }
    })()
    for (let round = 0; round < 3; round++) {
      await producer.transaction(async (tx) => {
        for (const half of [0, 1]) await tx.send({ value: `${round}-${half}` })
        assert.ok(seen.length <= 2 * round)
      })
      await producer.begin().then(async (tx) => {
        await tx.send({ value: 'aborted' })
        await tx.abort()
      })
    }
    await reading
    assert.deepEqual(seen, ['0-0', '0-1', '1-0', '1-1', '2-0', '2-1'])
  })
}

function groupContract(each: ClientTest): void {
  each('exactly-once groups: each input once in the output, whatever fails, moves or breaks', async ({ make }) => {
    const clients = await Promise.all([1, 2].map(() => make.connect({ backoffMsMin: 5, backoffMsMax: 50 })))
    const [mq] = clients as [Client, Client]
    const count = 600
    await mq.admin.topics.create('tx-in', { partitions: 4 })
    await mq.admin.topics.create('tx-out', { partitions: 2 })
    await mq.producer('tx-in').sendMany(numbered(count).map(({ value }) => ({ key: value, value })))
    let failures = 0
    const groups = clients.map((client) =>
      client.group('tx-group', 'tx-in', { ...ONCE, transaction: { recordsMax: 25 } }),
    )
    const running = groups.map(async (group, index) => {
      // The second joins while the first is at work.
      if (index === 1) await until(() => groups[0]!.stats().recordsConsumed > 50, WAIT_MS)
      await group.run(
        async ({ value }, { transaction, attempt }) => {
          await transaction.send('tx-out', { key: value, value })
          if (Number(textOf(value)) % 97 === 5 && attempt === 1) throw new Error(`failure ${failures++}`)
        },
        { concurrency: 3, order: 'key', retry: { attempts: 5, backoff: 5 } },
      )
    })
    const handled = async (): Promise<number> => {
      const offsets = await mq.admin.groups.offsets('tx-group')
      return offsets.reduce((sum, { offset }) => sum + offset, 0)
    }
    let rounds = 0
    while ((await handled()) < count) {
      await new Promise((resolve) => setTimeout(resolve, 20))
      if (++rounds % 10 === 0 && rounds < 50) make.dropConnections()
      assert.ok(rounds < WAIT_MS / 20, 'the groups do not get to the end')
    }
    await Promise.all(groups.map((group) => group.close()))
    await Promise.all(running)
    assert.ok(failures > 0)
    assert.deepEqual(sorted(await valuesOf(mq, 'tx-out')), upTo(count))
    await Promise.all(clients.map((client) => client.close()))
  })

  each('by hand: a transaction a record, with the offsets of an ordinary group', async ({ mq }) => {
    await mq.admin.topics.create('tx-hand-in', { partitions: 1 })
    await mq.admin.topics.create('tx-hand-out', { partitions: 1 })
    await mq.producer('tx-hand-in').sendMany(numbered(10))
    const group = mq.group('tx-hand', 'tx-hand-in', { from: 'start', commit: 'manual' })
    const producer = mq.producer('tx-hand-out', { transactionalId: 'tx-hand' })
    let handled = 0
    for await (const record of group) {
      await producer.transaction((tx) => {
        tx.send({ value: record.value })
        tx.commitOffsets(group, record)
      })
      if (++handled === 10) break
    }
    assert.deepEqual(sorted(await valuesOf(mq, 'tx-hand-out')), upTo(10))
    await untilIs(async () => (await mq.admin.groups.offsets('tx-hand'))[0]?.offset, 10)
  })
}
