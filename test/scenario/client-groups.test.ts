/** Groups of the client against the real coordinator, in a whole broker in this process: sharing, moving, crashing, offsets, admin. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Client, ClientOptions, Group, GroupOptions } from '../../src/client/index.ts'
import { connect } from '../../src/client/index.ts'
import { createBroker, type InProcessBroker } from '../../src/index.ts'
import { hasCode, until } from '../support/expect.ts'

const WAIT_MS = 30_000
/** Keys and partitions take turns by the index: records so far apart have both in common. */
const [KEYS, PARTITIONS] = [97, 6]
const KEY_STRIDE = KEYS * PARTITIONS
const START: GroupOptions = { from: 'start', autoCommitIntervalMs: 20 }

async function withBroker(body: (broker: InProcessBroker, mq: Client) => Promise<void>): Promise<void> {
  const broker = await createBroker({ storage: 'memory' })
  try {
    await body(broker, broker.client())
  } finally {
    await broker.close()
  }
}

async function fill(mq: Client, topic: string, count: number, partitions: number, from = 0): Promise<void> {
  const producer = mq.producer(topic)
  await producer.ready()
  for (let index = from; index < from + count; index++)
    while (!producer.enqueue({ key: String(index % KEYS), value: String(index), partition: index % partitions }))
      await producer.ready()
  await producer.close()
}

const names = (group: Group): string[] => group.assignment().map(({ topic, partition }) => `${topic}/${partition}`)
const wait = (condition: () => boolean): Promise<void> => until(condition, WAIT_MS)

test('five members, three partitions: three read, two wait; one that leaves is replaced; two groups both read all', () =>
  withBroker(async (_, mq) => {
    await mq.admin.topics.create('t', { partitions: 3 })
    await fill(mq, 't', 300, 3)
    const seen = new Set<string>()
    const members = Array.from({ length: 5 }, () => mq.group('g', 't', START))
    const runs = members.map((group) =>
      group.run(({ partition, offset }) => {
        seen.add(`${partition}/${offset}`)
      }),
    )
    await wait(
      () =>
        members
          .map((group) => names(group).length)
          .sort()
          .join() === '0,0,1,1,1',
    )
    await wait(() => seen.size === 300)
    const leaver = members.find((group) => names(group).length === 1)!
    const [taken] = names(leaver)
    await leaver.close()
    await wait(() => members.some((group) => group !== leaver && names(group)[0] === taken))
    let count = 0
    for await (const _record of mq.group('other', 't', START)) if (++count === 300) break
    await Promise.all(members.map((group) => group.close()))
    await Promise.all(runs)
    assert.deepEqual(
      (await mq.admin.groups.offsets('g')).map(({ offset }) => offset),
      [100, 100, 100],
    )
  }))

test('a fourth member of twelve partitions stops three at most: the others are handled without a break', () =>
  withBroker(async (_, mq) => {
    await mq.admin.topics.create('t', { partitions: 12 })
    const revoked: string[] = []
    const members = Array.from({ length: 3 }, () => mq.group('g', 't', START))
    const handled = new Map<string, number>()
    const runs = members.map((group) => {
      group.on('revoked', ({ partitions }) => {
        for (const { topic, partition } of partitions) revoked.push(`${topic}/${partition}`)
      })
      return group.run(({ topic, partition }) => {
        const name = `${topic}/${partition}`
        handled.set(name, (handled.get(name) ?? 0) + 1)
      })
    })
    await wait(() => members.every((group) => names(group).length === 4))
    revoked.length = 0
    await fill(mq, 't', 1200, 12)
    const fourth = mq.group('g', 't', START)
    runs.push(
      fourth.run(({ topic, partition }) => {
        const name = `${topic}/${partition}`
        handled.set(name, (handled.get(name) ?? 0) + 1)
      }),
    )
    await wait(() => names(fourth).length === 3)
    assert.equal(new Set(revoked).size, 3)
    assert.deepEqual([...revoked].sort(), names(fourth).sort())
    await fill(mq, 't', 1200, 12)
    await wait(() => handled.size === 12 && [...handled.values()].every((count) => count >= 200))
    assert.ok(
      [...handled].every(([name, count]) => count === 200 || revoked.includes(name)),
      'what did not move came once',
    )
    await Promise.all([...members, fourth].map((group) => group.close()))
    await Promise.all(runs)
  }))

test('for await goes on when its partitions hold all they may: what has been handled makes room', () =>
  withBroker(async (_, mq) => {
    await mq.admin.topics.create('t', { partitions: 2 })
    const producer = mq.producer('t')
    await producer.ready()
    const value = new Uint8Array(1024)
    // Of each partition several fetches, each more than it may hold (64 KiB).
    const total = 8_000
    for (let index = 0; index < total; index++)
      while (!producer.enqueue({ value, partition: index % 2 })) await producer.ready()
    await producer.close()
    let count = 0
    const signal = AbortSignal.timeout(WAIT_MS)
    for await (const _record of mq.group('g', 't', { ...START, prefetchBytesMax: 1, signal }))
      if (++count === total) break
    assert.equal(count, total)
  }))

test('members come and go, some in a hurry: every record is handled, none of a key overtakes, offsets never go back', () =>
  withBroker(async (broker, mq) => {
    const partitions = PARTITIONS
    const total = 6_000
    await mq.admin.topics.create('t', { partitions })
    const clients: Client[] = []
    const handled = new Map<number, number>()
    const finished = new Map<string, number>()
    const errors: unknown[] = []
    const join = (): Group => {
      const client = broker.client({ backoffMsMin: 5, backoffMsMax: 50 } satisfies ClientOptions)
      clients.push(client)
      const group = client.group('g', 't', { ...START, sessionTimeoutMs: 1_000, heartbeatIntervalMs: 100 })
      group
        .run(
          async ({ value }) => {
            const index = Number(new TextDecoder().decode(value!))
            if (index % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 1))
            const before = index - KEY_STRIDE
            if (before >= 0 && !handled.has(before)) errors.push(new Error(`${index} overtook ${before} of its key`))
            handled.set(index, (handled.get(index) ?? 0) + 1)
          },
          { concurrency: 8, order: 'key' },
        )
        .catch((error: unknown) => errors.push(error))
      group.on('committed', ({ offsets }) => {
        for (const { partition, offset } of offsets) {
          const key = `${partition}`
          if (offset < (finished.get(key) ?? 0)) errors.push(new Error(`${key} went back to ${offset}`))
          finished.set(key, offset)
        }
      })
      return group
    }
    const members = [join(), join()]
    for (let round = 0; round < 10; round++) {
      await fill(mq, 't', total / 10, partitions, (round * total) / 10)
      if (round % 3 === 0) members.push(join())
      else if (round % 3 === 1) await members.shift()!.close(round % 2 === 0 ? {} : { signal: AbortSignal.abort() })
      else await new Promise((resolve) => setTimeout(resolve, 50))
    }
    await wait(() => handled.size === total)
    await Promise.all(members.map((group) => group.close()))
    assert.deepEqual(errors, [])
    const offsets = await mq.admin.groups.offsets('g')
    assert.equal(
      offsets.reduce((sum, { offset }) => sum + offset, 0),
      total,
    )
    for (const client of clients) await client.close()
  }))

test('admin.groups: list, describe, offsets with lag, seek, dry run, deleteOffsets, delete', () =>
  withBroker(async (_, mq) => {
    await mq.admin.topics.create('t', { partitions: 2 })
    await fill(mq, 't', 100, 2)
    const group = mq.group('g', 't', { ...START, commit: 'manual', rackId: 'r1' })
    for await (const record of group)
      if (record.partition === 0 && record.offset === 9) {
        await group.commit(record)
        const { members, state, kind } = await mq.admin.groups.describe('g')
        assert.deepEqual([kind, state, members.length], ['consumer', 'Stable', 1])
        assert.equal(members[0]!.memberId, group.stats().memberId)
        assert.equal(members[0]!.assignment.length, 2)
        assert.equal(members[0]!.rackId, 'r1')
        await assert.rejects(mq.admin.groups.seek('g', 'start'), hasCode('NON_EMPTY_GROUP', /'g' has 1 members/))
        await assert.rejects(mq.admin.groups.delete('g'), hasCode('NON_EMPTY_GROUP', /'g'/))
        break
      }
    assert.deepEqual(
      (await mq.admin.groups.list()).map(({ groupId, state }) => [groupId, state]),
      [['g', 'Empty']],
    )
    const [offset] = await mq.admin.groups.offsets('g')
    assert.deepEqual([offset!.topic, offset!.partition, offset!.offset, offset!.highWatermark], ['t', 0, 10, 50])
    assert.equal(offset!.lag, 40)
    assert.ok(offset!.lagMs! >= 0 && offset!.lagMs! < 120_000, String(offset!.lagMs))
    const planned = await mq.admin.groups.seek('g', 'end', { dryRun: true })
    assert.deepEqual(planned, [
      { topic: 't', partition: 0, fromOffset: 10, toOffset: 50 },
      { topic: 't', partition: 1, fromOffset: undefined, toOffset: 50 },
    ])
    assert.equal((await mq.admin.groups.offsets('g')).length, 1)
    await mq.admin.groups.seek('g', { skip: 5 }, { topics: 't', partitions: [1] })
    assert.deepEqual(
      (await mq.admin.groups.offsets('g')).map((each) => each.offset),
      [10, 5],
    )
    await mq.admin.groups.seek('g', 'end')
    assert.deepEqual(
      (await mq.admin.groups.offsets('g')).map(({ lag, lagMs }) => [lag, lagMs]),
      [
        [0, 0],
        [0, 0],
      ],
    )
    await mq.admin.groups.deleteOffsets('g', 't', { partitions: [0] })
    assert.equal((await mq.admin.groups.offsets('g')).length, 1)
    await mq.admin.groups.delete('g')
    assert.deepEqual(await mq.admin.groups.list(), [])
    await assert.rejects(mq.admin.groups.describe('g'), hasCode('GROUP_ID_NOT_FOUND', /'g'/))
    await assert.rejects(mq.admin.groups.seek('none', 'end'), hasCode('INVALID_ARGUMENT', /name the topics/))
  }))

test('over a real connection: a cut is no leave, a static member finds its partitions again, a pattern sees a new topic', () =>
  withBroker(async (broker, mq) => {
    const url = String(await broker.listen())
    await mq.admin.topics.create('a-1', { partitions: 2 })
    await using other = await connect(url, { backoffMsMin: 5, backoffMsMax: 50 })
    const told: string[] = []
    const options: GroupOptions = { ...START, instanceId: 'one' }
    const group = other.group('g', { pattern: 'a-\\d' }, options)
    group.on('lost', () => told.push('lost'))
    group.start()
    await wait(() => names(group).length === 2)
    const { memberId } = group.stats()
    await mq.admin.topics.create('a-2', { partitions: 1 })
    await wait(() => names(group).length === 3)
    await mq.admin.topics.delete('a-2')
    await wait(() => names(group).length === 2)
    await mq.admin.topics.create('a-3', { partitions: 1 })
    await wait(() => names(group).length === 3)
    await group.close()
    const [member] = (await mq.admin.groups.describe('g')).members
    assert.equal(member?.instanceId, 'one', 'it is waited for')
    const again = other.group('g', { pattern: 'a-\\d' }, options)
    again.start()
    await wait(() => names(again).length === 3)
    assert.notEqual(again.stats().memberId, memberId)
    await again.close()
    assert.deepEqual(told, [])
  }))
