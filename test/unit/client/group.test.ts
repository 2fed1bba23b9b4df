/** A group's members against a coordinator that keeps KIP-848's rules: join, read, commit, rebalance, be fenced, leave. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type Client,
  connect,
  DecodeError,
  type Group,
  type GroupOptions,
  json,
  topic,
} from '../../../src/client/index.ts'
import { Api } from '../../../src/protocol/index.ts'
import { hasCode, until } from '../../support/expect.ts'
import { type FakeBroker, withFakeBroker } from '../../support/fake-broker.ts'

const FAST = { backoffMsMin: 2, backoffMsMax: 20 }
/** A test that fails should not wait for handlers that never end. */
const START: GroupOptions = { from: 'start', autoCommitIntervalMs: 20, closeTimeoutMs: 2_000 }

async function fill(mq: Client, topic: string, count: number, partitions = 1): Promise<void> {
  const producer = mq.producer(topic, { batchBytesMax: 1024 })
  await producer.ready()
  for (let index = 0; index < count; index++)
    assert.ok(producer.enqueue({ value: String(index), partition: index % partitions }))
  await producer.close()
}

const partitionsOf = (group: Group): number[] =>
  group
    .assignment()
    .map(({ partition }) => partition)
    .sort()

/** A promise and what settles it. */
function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open }
}

async function withClient(
  topics: Readonly<Record<string, number>>,
  body: (mq: Client, broker: FakeBroker) => Promise<void>,
): Promise<void> {
  await withFakeBroker({ topics }, async (broker) => {
    await using mq = await connect(broker.url, FAST)
    await body(mq, broker)
  })
}

/** Reads records until `count` have come, handing each to `each`, then leaves the loop. */
async function read(group: Group, count: number, each: (offset: number, partition: number) => unknown = () => {}) {
  let seen = 0
  for await (const { offset, partition } of group) {
    await each(offset, partition)
    if (++seen === count) break
  }
}

test('a member reads its partitions from the start, commits what it finished, and the next one goes on there', () =>
  withClient({ t: 2 }, async (mq, broker) => {
    await fill(mq, 't', 100, 2)
    const seen: string[] = []
    await read(mq.group('g', 't', START), 60, (offset, partition) => seen.push(`${partition}/${offset}`))
    assert.equal(new Set(seen).size, 60)
    const committed = broker.groups.committed('g', 't/0') + broker.groups.committed('g', 't/1')
    assert.equal(committed, 59, 'the record in hand was not finished')
    assert.deepEqual(
      broker.groups.left.map(({ epoch }) => epoch),
      [-1],
    )
    const last = seen.pop()
    await read(mq.group('g', 't', START), 41, (offset, partition) => seen.push(`${partition}/${offset}`))
    assert.equal(new Set(seen).size, 100)
    assert.equal(seen.filter((each) => each === last).length, 1)
  }))

test('at-least-once commits only what has been handled: never the record in hand', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 50)
    let inHand = -1
    const group = mq.group('g', 't', { ...START, autoCommitIntervalMs: 1 })
    group.on('committed', ({ offsets }) => {
      for (const { offset } of offsets)
        assert.ok(offset <= inHand, `${offset} was committed while ${inHand} was handled`)
    })
    await read(group, 20, async (offset) => {
      inHand = offset
      await new Promise((resolve) => setTimeout(resolve, 3))
      if (offset > 0) await until(() => broker.groups.committed('g', 't/0') === offset)
    })
    assert.equal(broker.groups.committed('g', 't/0'), 19)
  }))

test('at-most-once commits a batch before its first record is handed out', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 500)
    await read(mq.group('g', 't', { from: 'start', semantics: 'at-most-once' }), 500, (offset) =>
      assert.ok(broker.groups.committed('g', 't/0') > offset, `${offset} was handed out before it was committed`),
    )
  }))

test('a position that was committed under a newer leader waits until that leader is known: the one before may not have it', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 10)
    const first = mq.group('g', 't', START)
    await read(first, 5)
    await until(() => broker.groups.committed('g', 't/0') === 4)
    assert.equal(broker.groups.group('g').leaderEpochs.get('t/0'), 1, 'a commit tells the leader epoch that is known')
    broker.groups.group('g').leaderEpochs.set('t/0', 3)
    const fetchesBefore = broker.counts.get(Api.FETCH)
    const asked = broker.counts.get(Api.METADATA) ?? 0
    const seen: number[] = []
    const reading = read(mq.group('g', 't', START), 6, (offset) => seen.push(offset))
    await until(() => (broker.counts.get(Api.METADATA) ?? 0) >= asked + 3)
    assert.equal(broker.counts.get(Api.FETCH), fetchesBefore, 'nothing is asked of the leader of epoch 1')
    broker.partition('t', 0).leaderEpoch = 3
    await reading
    assert.deepEqual(seen, [4, 5, 6, 7, 8, 9])
    assert.equal(broker.groups.group('g').leaderEpochs.get('t/0'), 3)
  }))

test('a leader epoch that nobody tells of is waited for as long as a request, no longer', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url, { ...FAST, requestTimeoutMs: 500 })
    await fill(mq, 't', 10)
    await read(mq.group('g', 't', START), 5)
    broker.groups.group('g').leaderEpochs.set('t/0', 3)
    const seen: number[] = []
    await read(mq.group('g', 't', START), 6, (offset) => seen.push(offset))
    assert.deepEqual(seen, [4, 5, 6, 7, 8, 9])
  }))

test('a topic that was made anew begins with earlier leader epochs: a position of the one before waits for none', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 10)
    await read(mq.group('g', 't', START), 5)
    broker.groups.group('g').leaderEpochs.set('t/0', 3)
    broker.groups.otherTopicIds.add('t')
    const seen: number[] = []
    await read(mq.group('g', 't', START), 6, (offset) => seen.push(offset))
    assert.deepEqual(seen, [4, 5, 6, 7, 8, 9])
  }))

test('commit(record) resolves when it is durable; commits of a partition never fall, whatever their order', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 1000)
    const group = mq.group('g', 't', { from: 'start', commit: 'manual' })
    const waiting: Promise<void>[] = []
    for await (const record of group) {
      waiting.push(group.commit(record).then(() => assert.ok(broker.groups.committed('g', 't/0') >= record.offset + 1)))
      if (record.offset === 500) waiting.push(group.commit({ topic: 't', partition: 0, offset: 3 }))
      if (record.offset === 999) break
    }
    await Promise.all(waiting)
    const offsets = broker.groups.commits.map(({ offset }) => offset)
    assert.deepEqual(
      offsets,
      [...offsets].sort((left, right) => left - right),
    )
    assert.equal(offsets.at(-1), 1000)
    assert.ok(offsets.length < 500, `${offsets.length} requests for 1,000 commits: they are gathered`)
    await assert.rejects(group.commit({ topic: 't', partition: 0, offset: 3 }), hasCode('STALE_MEMBER_EPOCH'))
  }))

test('of commits that wait together the largest is sent, once', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 10)
    const group = mq.group('g', 't', { ...START, commit: 'manual' })
    await read(group, 7, async (offset) => {
      if (offset === 6)
        await Promise.all([3, 5, 2].map((each) => group.commit({ topic: 't', partition: 0, offset: each })))
    })
    assert.deepEqual(
      broker.groups.commits.map(({ offset }) => offset),
      [6],
    )
  }))

test('with commit manual nothing is committed by itself; commit() takes all that is finished', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 10)
    const group = mq.group('g', 't', { ...START, commit: 'manual', autoCommitIntervalMs: 1 })
    await read(group, 5, async (offset) => {
      if (offset === 3) await group.commit()
    })
    assert.deepEqual(
      broker.groups.commits.map(({ offset }) => offset),
      [3],
    )
  }))

test('batches() are finished when the next one is asked for', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 500)
    const group = mq.group('g', 't', START)
    let [records, next] = [0, 0]
    for await (const batch of group.batches()) {
      assert.equal(batch.fromOffset, next)
      const cursor = batch.reader()
      while (cursor.next()) records++
      await group.commit()
      assert.equal(Math.max(0, broker.groups.committed('g', 't/0')), batch.fromOffset)
      next = batch.nextOffset
      if (records === 500) break
    }
  }))

test('a second member takes its share: what moves is handled to its end first, what stays goes on meanwhile', () =>
  withClient({ t: 4 }, async (mq, broker) => {
    await fill(mq, 't', 4, 4)
    const holds = [gate(), gate(), gate(), gate()]
    const handled: string[] = []
    const first = mq.group('g', 't', {
      ...START,
      onRevoked: (partitions) => {
        handled.push(`onRevoked ${partitions.length}`)
      },
    })
    const running = first.run(
      async ({ partition, offset }) => {
        if (offset === 0) await holds[partition]!.opened
        handled.push(`${partition}/${offset}`)
      },
      { concurrency: 4 },
    )
    await until(
      () => first.stats().partitions.length === 4 && first.stats().partitions.every(({ offset }) => offset === 1),
    )
    const second = mq.group('g', 't', START)
    second.start()
    const coordinator = broker.groups.group('g')
    const { memberId } = first.stats()
    await until(() => coordinator.members.get(memberId)!.revoking.size === 2)
    const moving = [...coordinator.members.get(memberId)!.revoking.keys()].map((key) => Number(key.slice(2)))
    const staying = [0, 1, 2, 3].filter((partition) => !moving.includes(partition))
    for (const partition of staying) holds[partition]!.open()
    for (const partition of staying) await mq.producer('t').send({ value: 'more', partition })
    await until(() => staying.every((partition) => handled.includes(`${partition}/1`)))
    const heartbeats = broker.groups.heartbeats.length
    await until(() => broker.groups.heartbeats.length > heartbeats + 6)
    assert.equal(coordinator.members.get(memberId)!.revoking.size, 2, 'not confirmed while a handler is at work')
    assert.deepEqual(second.assignment(), [])
    for (const { open } of holds) open()
    await until(() => partitionsOf(second).length === 2)
    assert.deepEqual(partitionsOf(second), moving)
    assert.deepEqual(partitionsOf(first), staying)
    const at = handled.indexOf('onRevoked 2')
    for (const partition of moving) assert.ok(handled.indexOf(`${partition}/0`) < at)
    for (const partition of moving) assert.equal(broker.groups.committed('g', `t/${partition}`), 1)
    await second.close()
    await until(() => partitionsOf(first).length === 4)
    await first.close()
    await running
    assert.equal(coordinator.members.size, 0)
  }))

test('for await: a partition is let go when the next record is asked for, and nothing of it comes after that', () =>
  withClient({ t: 2 }, async (mq, broker) => {
    await fill(mq, 't', 200, 2)
    const first = mq.group('g', 't', START)
    const iterator = first[Symbol.asyncIterator]()
    const { value: inHand } = await iterator.next()
    const second = mq.group('g', 't', START)
    second.start()
    const coordinator = broker.groups.group('g')
    const { memberId } = first.stats()
    const member = coordinator.members.get(memberId)!
    await until(() => coordinator.members.size === 2 && member.revoking.size + member.assigned.size <= 2)
    await until(() => partitionsOf(first).length === 1 || member.revoking.size === 1)
    // Only one of the two moves; that of the record in hand waits for its handler, the other does not.
    const isInHand = member.revoking.has(`t/${inHand.partition}`)
    if (isInHand) assert.deepEqual(second.assignment(), [])
    const kept = [...member.assigned].map((key) => Number(key.slice(2)))
    for (let count = 0; count < 30; count++) {
      const { value } = await iterator.next()
      if (count > 0 || isInHand)
        assert.ok(kept.includes(value.partition), `${value.partition}/${value.offset} was revoked`)
      await until(() => partitionsOf(second).length === 1)
    }
    const moved = 1 - kept[0]!
    const finished = moved === inHand.partition ? 1 : 0
    assert.equal(Math.max(0, broker.groups.committed('g', `t/${moved}`)), finished)
    await first.close({ signal: AbortSignal.abort() })
    await second.close()
  }))

test('a fenced member loses everything at once, tells it, joins anew, and its late commit is refused', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 100)
    const told: string[] = []
    const group = mq.group('g', 't', {
      ...START,
      commit: 'manual',
      onAssigned: () => told.push('onAssigned'),
      onRevoked: () => told.push('onRevoked'),
      onLost: () => told.push('onLost'),
    })
    group.on('fenced', ({ error }) => told.push(error.code))
    const iterator = group[Symbol.asyncIterator]()
    const { value: record } = await iterator.next()
    broker.groups.fence('g', group.stats().memberId)
    await until(() => told.includes('onLost'))
    await assert.rejects(group.commit(record), hasCode('STALE_MEMBER_EPOCH', /t\/0/))
    assert.deepEqual(group.assignment(), [])
    const joins = () => broker.groups.heartbeats.filter(({ memberEpoch }) => memberEpoch === 0).length
    assert.equal(joins(), 1, 'it does not come back while the record is in hand')
    const { value: again } = await iterator.next()
    assert.equal(joins(), 2)
    assert.equal(again.offset, record.offset)
    await group.commit(again)
    assert.equal(broker.groups.committed('g', 't/0'), 1)
    assert.deepEqual(told, ['onAssigned', 'UNKNOWN_MEMBER_ID', 'onLost', 'onAssigned'])
    await iterator.return!()
    assert.equal(told.at(-1), 'onRevoked')
  }))

test('a commit that finds the member fenced fails, and takes the partitions away', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 10)
    broker.groups.heartbeatIntervalMs = 60_000
    const group = mq.group('g', 't', { ...START, commit: 'manual' })
    const iterator = group[Symbol.asyncIterator]()
    const { value: record } = await iterator.next()
    const failed: string[] = []
    group.on('commitFailed', ({ error }) => failed.push(error.code))
    broker.groups.fence('g', group.stats().memberId)
    await assert.rejects(group.commit(record), hasCode('UNKNOWN_MEMBER_ID'))
    assert.deepEqual(failed, ['UNKNOWN_MEMBER_ID'])
    assert.equal((await iterator.next()).value.offset, 0, 'handled again by whoever has it now: this member')
    await iterator.return!()
  }))

test('a stale epoch is no fencing: the commit goes again with the newest one', () =>
  withClient({ t: 2 }, async (mq, broker) => {
    await fill(mq, 't', 10, 2)
    const group = mq.group('g', 't', { ...START, commit: 'manual' })
    const iterator = group[Symbol.asyncIterator]()
    const { value: record } = await iterator.next()
    const epoch = ++broker.groups.group('g').epoch
    let refusals = 3
    broker.groups.refuse = ({ api }) => (api === Api.OFFSET_COMMIT && refusals-- > 0 ? 'STALE_MEMBER_EPOCH' : undefined)
    await group.commit(record)
    assert.equal(broker.groups.committed('g', `t/${record.partition}`), 1)
    assert.equal(group.stats().memberEpoch, epoch)
    await iterator.return!()
  }))

test('weather: connections break and coordinators move, and the member stays who it is', () =>
  withClient({ t: 2 }, async (mq, broker) => {
    await fill(mq, 't', 200, 2)
    let count = 0
    const apis: readonly number[] = [Api.GROUP_HEARTBEAT, Api.OFFSET_COMMIT, Api.OFFSET_FETCH, Api.FETCH]
    broker.faults = ({ api }) => {
      if (!apis.includes(api)) return { kind: 'none' }
      count++
      if (count % 7 === 3) return { kind: 'break', work: 'done' }
      if (count % 7 === 5) return { kind: 'break', work: 'not-done' }
      return { kind: 'none' }
    }
    broker.groups.refuse = () => {
      if (count % 3 === 0) return 'NOT_COORDINATOR'
      return count % 5 === 0 ? 'COORDINATOR_LOAD_IN_PROGRESS' : undefined
    }
    const group = mq.group('g', 't', { ...START, autoCommitIntervalMs: 2 })
    group.on('lost', () => assert.fail('nothing is lost'))
    const seen: string[] = []
    await read(group, 200, async (offset, partition) => {
      seen.push(`${partition}/${offset}`)
      if (offset % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    })
    assert.equal(new Set(seen).size, 200)
    assert.equal(seen.length, 200, 'none twice')
    assert.equal(new Set(broker.groups.heartbeats.map(({ memberId }) => memberId)).size, 1)
    const offsets = broker.groups.commits.filter(({ key }) => key === 't/0').map(({ offset }) => offset)
    assert.deepEqual(
      offsets,
      [...offsets].sort((left, right) => left - right),
    )
  }))

test('while the session may have ended nothing is handed out; when the broker answers again it goes on', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 100)
    let isDeaf = false
    broker.groups.refuse = ({ api }) => {
      // The broker keeps the session, as one does that restarts; the member cannot know.
      for (const member of broker.groups.group('g').members.values()) member.heardMs = performance.now()
      return isDeaf && api === Api.GROUP_HEARTBEAT ? 'COORDINATOR_NOT_AVAILABLE' : undefined
    }
    const group = mq.group('g', 't', { ...START, sessionTimeoutMs: 60 })
    const iterator = group[Symbol.asyncIterator]()
    assert.equal((await iterator.next()).value.offset, 0)
    isDeaf = true
    await new Promise((resolve) => setTimeout(resolve, 150))
    let isHandedOut = false
    const next = iterator.next().then(({ value }) => {
      isHandedOut = true
      return value.offset
    })
    await new Promise((resolve) => setTimeout(resolve, 50))
    assert.ok(!isHandedOut)
    isDeaf = false
    assert.equal(await next, 1)
    await iterator.return!()
  }))

test('a handler that hangs beyond pollIntervalMsMax gives its partitions up, and comes back when it is done', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 10)
    const group = mq.group('g', 't', { ...START, pollIntervalMsMax: 100 })
    const other = mq.group('g', 't', START)
    const iterator = group[Symbol.asyncIterator]()
    const { value: record } = await iterator.next()
    other.start()
    await until(() => partitionsOf(other).length === 1)
    assert.deepEqual(broker.groups.left, [{ memberId: group.stats().memberId, epoch: -1 }])
    await assert.rejects(group.commit(record), hasCode('STALE_MEMBER_EPOCH'))
    assert.equal(broker.groups.group('g').members.size, 1)
    const next = iterator.next()
    await until(() => broker.groups.group('g').members.size === 2)
    await other.close()
    assert.equal((await next).value.offset, 0)
    await iterator.return!()
  }))

test('pause, resume and seek, each for a partition; commits follow a seek backwards', () =>
  withClient({ t: 2 }, async (mq, broker) => {
    await fill(mq, 't', 200, 2)
    const group = mq.group('g', 't', { ...START, commit: 'manual' })
    const iterator = group[Symbol.asyncIterator]()
    await iterator.next()
    await until(() => group.stats().partitions.every(({ highWatermark }) => highWatermark === 100))
    group.pause([{ topic: 't', partition: 0 }])
    const offsets: number[] = []
    for (let count = 0; count < 50; count++) {
      const { value } = await iterator.next()
      if (count > 0) assert.equal(value.partition, 1)
      offsets.push(value.offset)
    }
    await group.commit({ topic: 't', partition: 1, offset: 40 })
    await group.seek({ topic: 't', partition: 1 }, { offset: 10 })
    const { value: sought } = await iterator.next()
    assert.deepEqual([sought.partition, sought.offset], [1, 10])
    await group.commit(sought)
    assert.equal(broker.groups.committed('g', 't/1'), 11)
    group.pause([{ topic: 't', partition: 1 }])
    group.resume([{ topic: 't', partition: 0 }])
    for (let count = 0; count < 50; count++) assert.equal((await iterator.next()).value.partition, 0)
    const [zero, one] = group.stats().partitions
    assert.equal(one?.lag, 100 - 11)
    assert.ok(zero!.isPaused === false && one!.isPaused)
    await assert.rejects(group.seek({ topic: 't', partition: 7 }, 'start'), hasCode('INVALID_ARGUMENT', /t\/7/))
    await iterator.return!()
  }))

test("a static member leaves for a while; a pattern is the broker's to match; a static name in use is waited for", () =>
  withClient({ 'a-1': 1, 'a-2': 1, b: 1 }, async (mq, broker) => {
    for (const topic of ['a-1', 'a-2', 'b']) await fill(mq, topic, 1)
    const group = mq.group('g', { pattern: /a-\d/ }, { ...START, instanceId: 'i1' })
    let refusals = 3
    broker.groups.refuse = ({ api }) =>
      api === Api.GROUP_HEARTBEAT && refusals-- > 0 ? 'UNRELEASED_INSTANCE_ID' : undefined
    const topics: string[] = []
    for await (const { topic } of group) if (topics.push(topic) === 2) break
    assert.deepEqual(topics.sort(), ['a-1', 'a-2'])
    assert.deepEqual(
      broker.groups.left.map(({ epoch }) => epoch),
      [-2],
    )
  }))

test('what cannot mend ends the group with its error', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    broker.groups.refuse = () => 'GROUP_MAX_SIZE_REACHED'
    const group = mq.group('g', 't', START)
    await assert.rejects(read(group, 1), hasCode('GROUP_MAX_SIZE_REACHED'))
    assert.throws(() => group.start(), hasCode('GROUP_MAX_SIZE_REACHED'))
    assert.throws(() => mq.group('', 't'), hasCode('INVALID_GROUP_ID'))
    assert.throws(() => mq.group('g', []), hasCode('INVALID_ARGUMENT'))
    assert.throws(() => mq.group('g', { pattern: /a/i }), hasCode('INVALID_ARGUMENT', /flags/))
  }))

test('a hook that throws ends the group; nothing is handed out after it', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 1)
    const onAssigned = () => Promise.reject(new Error('no disk'))
    await assert.rejects(read(mq.group('g', 't', { ...START, onAssigned }), 1), /no disk/)
    assert.equal(broker.groups.group('g').members.size, 0)
  }))

test('onAssigned may seek, and records come after it', () =>
  withClient({ t: 1 }, async (mq) => {
    await fill(mq, 't', 10)
    const group: Group = mq.group('g', 't', {
      ...START,
      onAssigned: async ([partition]) => group.seek(partition!, { offset: 7 }),
    })
    const offsets: number[] = []
    await read(group, 3, (offset) => offsets.push(offset))
    assert.deepEqual(offsets, [7, 8, 9])
  }))

test('records that cannot be decoded: the group stops before them, passes them over, or hands them out as they are', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    for (const value of ['1', '{', '3']) await mq.producer('t').send({ value })
    const typed = topic('t', { value: json<number>() })
    const seen: unknown[] = []
    const failing = async (): Promise<void> => {
      for await (const { value } of mq.group('fail', typed, START)) seen.push(value)
    }
    await assert.rejects(failing(), (error) => error instanceof DecodeError && error.offset === 1)
    assert.deepEqual(seen, [1])
    assert.equal(broker.groups.committed('fail', 't/0'), 1, 'it comes again')
    const skipping = mq.group('skip', typed, { ...START, onDecodeError: 'skip' })
    for await (const { value } of skipping) if (value === 3) break
    assert.equal(broker.groups.committed('skip', 't/0'), 2)
    assert.equal(skipping.stats().recordsUndecodable, 1)
    let undecodable = 0
    for await (const record of mq.group('pass', typed, { ...START, onDecodeError: 'pass' })) {
      if (record.decodeError !== undefined) undecodable++
      if (record.offset === 2) break
    }
    assert.equal(undecodable, 1)
  }))

test("from 'end' is committed before anything is handed out, so that the next owner begins there", () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 10)
    const group = mq.group('g', 't', { from: 'end' })
    const assigned = gate()
    group.on('assigned', assigned.open)
    group.start()
    await assigned.opened
    assert.equal(broker.groups.committed('g', 't/0'), 10)
    await group.close()
    await fill(mq, 't', 5)
    const offsets: number[] = []
    await read(mq.group('g', 't', { from: 'end' }), 5, (offset) => offsets.push(offset))
    assert.deepEqual(offsets, [10, 11, 12, 13, 14])
  }))

test('calls of next() that overlap get a record each, and a partition can still be let go', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 10)
    const group = mq.group('g', 't', START)
    const iterator = group[Symbol.asyncIterator]()
    const records = await Promise.all(Array.from({ length: 5 }, () => iterator.next()))
    assert.deepEqual(
      records.map(({ value }) => value.offset),
      [0, 1, 2, 3, 4],
    )
    await iterator.return!()
    assert.equal(broker.groups.committed('g', 't/0'), 4)
    assert.equal(broker.groups.group('g').members.size, 0)
  }))

test('an aborted signal ends the waiting; a group is consumed in one way, once', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    const abort = new AbortController()
    const group = mq.group('g', 't', { ...START, signal: abort.signal })
    const next = group[Symbol.asyncIterator]().next()
    assert.throws(() => group.batches(), hasCode('INVALID_ARGUMENT', /for await/))
    await until(() => group.stats().state === 'member')
    abort.abort(new Error('enough'))
    await assert.rejects(next, hasCode('ABORTED'))
    await group.close()
    assert.equal(broker.groups.group('g').members.size, 0)
    assert.equal(mq.stats().groups, 0)
  }))

test('the client closes its groups: they leave', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    const mq = await connect(broker.url)
    const group = mq.group('g', 't', START)
    group.start()
    await until(() => partitionsOf(group).length === 1)
    await mq.close()
    assert.equal(broker.groups.group('g').members.size, 0)
    assert.throws(() => mq.group('g', 't'), hasCode('CLOSED'))
  }))
