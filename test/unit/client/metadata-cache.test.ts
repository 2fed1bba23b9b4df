/** What is known of topics: requests that are shared, and whose fault is whose. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../../src/base/node/system-clock.ts'
import { MetadataCache } from '../../../src/client/metadata-cache.ts'
import { ERRORS } from '../../../src/model/errors.ts'
import type { TopicId } from '../../../src/model/ids.ts'
import type { MetadataReply } from '../../../src/protocol/index.ts'
import { hasCode } from '../../support/expect.ts'

const FAULTS: Readonly<Record<string, { errorNumber: number; errorText: string }>> = {
  absent: { errorNumber: ERRORS.UNKNOWN_TOPIC_OR_PARTITION.number, errorText: '' },
  secret: { errorNumber: ERRORS.TOPIC_AUTHORIZATION_FAILED.number, errorText: 'not for you' },
}

function reply(names: readonly string[]): MetadataReply {
  return {
    clusterId: 'c',
    brokers: [],
    controllerId: 1,
    topics: names.map((name) => {
      const fault = FAULTS[name]
      const topicId = fault === undefined ? ('f'.repeat(32) as TopicId) : ''
      return {
        name,
        topicId,
        partitions: [],
        config: {},
        drainFrom: -1,
        revision: -1,
        errorNumber: 0,
        errorText: '',
        ...fault,
      }
    }),
  }
}

test('topics that share a request have each its own fault', async () => {
  const asked: (readonly string[])[] = []
  const cache = new MetadataCache(async ({ topics }) => {
    asked.push(topics!)
    return reply(topics!)
  }, systemClock)
  const outcomes = [cache.refresh('there'), cache.refresh('absent'), cache.refresh('secret'), cache.get('other')]
  await Promise.all([
    outcomes[0],
    assert.rejects(outcomes[1]!, hasCode('UNKNOWN_TOPIC_OR_PARTITION', /'absent'/)),
    assert.rejects(outcomes[2]!, hasCode('TOPIC_AUTHORIZATION_FAILED', /not for you/)),
    outcomes[3],
  ])
  assert.deepEqual(asked, [['there', 'absent', 'secret', 'other']])
  assert.equal(cache.peek('there')?.name, 'there')
  assert.equal(cache.peek('secret'), undefined)
})

test('what a broker that has fallen behind tells of a partition is ignored, and what it tells of others is not', async () => {
  const id = 'a'.repeat(32) as TopicId
  const told = (
    topicId: TopicId,
    ...partitions: readonly (readonly [leader: number, epoch: number])[]
  ): MetadataReply => {
    const [topic] = reply(['t']).topics
    const rows = partitions.map(([leaderNodeId, leaderEpoch]) => ({
      ...{ leaderNodeId, leaderEpoch, offline: null, replicas: [1, 2], inSync: [leaderNodeId] },
    }))
    return { ...reply([]), topics: [{ ...topic!, topicId, partitions: rows }] }
  }
  const answers = [
    told(id, [1, 4], [1, 4]),
    told(id, [2, 3], [2, 5]), // the first row is of the past
    told(id, [3, 4]), // fewer partitions than there are; the same epoch is news
    told('b'.repeat(32) as TopicId, [1, 0]), // another topic of this name: it begins anew
  ]
  const cache = new MetadataCache(async () => answers.shift()!, systemClock)
  const seen: unknown[] = []
  for (let round = 0; round < 4; round++) {
    const { partitions } = await cache.fresh('t')
    seen.push(partitions.map(({ leaderNodeId, leaderEpoch }) => [leaderNodeId, leaderEpoch]))
  }
  const [first, second, third, fourth] = seen
  assert.deepEqual(first, [
    [1, 4],
    [1, 4],
  ])
  assert.deepEqual(second, [
    [1, 4],
    [2, 5],
  ])
  assert.deepEqual(third, [
    [3, 4],
    [2, 5],
  ])
  assert.deepEqual(fourth, [[1, 0]])
})

test('the leader epoch of a topic by its id is not that of another one of its name', async () => {
  const cache = new MetadataCache(async () => told(1, [1, 2]), systemClock)
  const place = { topic: 't', topicId: 'f'.repeat(32) as TopicId, partition: 1 }
  assert.equal(cache.leaderEpochOf(place), -1)
  await cache.get('t')
  assert.equal(cache.leaderEpochOf(place), 3)
  assert.equal(cache.leaderEpochOf({ ...place, topicId: '' }), 3)
  assert.equal(cache.leaderEpochOf({ ...place, topicId: 'a'.repeat(32) as TopicId }), -1)
  assert.equal(cache.leaderEpochOf({ ...place, partition: 2 }), -1)
})

test('who asks again within moments is told so: another broker may know more', async () => {
  const again: boolean[] = []
  let nowMs = 0
  const cache = new MetadataCache(
    async ({ topics }, isAgain) => {
      again.push(isAgain)
      return reply(topics!)
    },
    { monotonicMs: () => nowMs },
  )
  await cache.refresh('t')
  nowMs += 1_000
  await cache.refresh('t')
  await cache.refresh('other')
  nowMs += 60_000
  await cache.refresh('t')
  assert.deepEqual(again, [false, true, false, false])
})

const ROW = { leaderEpoch: 3, offline: null, replicas: [1, 2], inSync: [1, 2] }

/** What a broker tells of the topic `t`: leaders by partition, at this revision. */
function told(revision: number, leaders: readonly number[], change: { epoch?: number; drainFrom?: number } = {}) {
  const { epoch: leaderEpoch = 3, drainFrom = -1 } = change
  const partitions = leaders.map((leaderNodeId) => ({ ...ROW, leaderNodeId, leaderEpoch }))
  const [row] = reply(['t']).topics
  return { ...reply([]), topics: [{ ...row!, partitions, revision, drainFrom }] }
}

test('partitions become fewer, and epochs begin anew, by a newer reply only', async () => {
  const replies: MetadataReply[] = []
  const cache = new MetadataCache(async () => replies.shift()!, systemClock)
  const ask = async (next: MetadataReply) => {
    replies.push(next)
    await cache.refresh('t')
    const { partitions, drainFrom } = cache.peek('t')!
    return { leaders: partitions.map(({ leaderNodeId }) => leaderNodeId).join(), drainFrom }
  }
  assert.deepEqual(await ask(told(5, [1, 1, 1, 1])), { leaders: '1,1,1,1', drainFrom: -1 })
  assert.deepEqual(await ask(told(6, [1, 1, 1, 1], { drainFrom: 2 })), { leaders: '1,1,1,1', drainFrom: 2 })
  assert.deepEqual(await ask(told(5, [2, 2, 2, 2], { epoch: 4 })), { leaders: '1,1,1,1', drainFrom: 2 }, 'it lags')
  assert.deepEqual(await ask(told(6, [2, 2, 1, 1], { epoch: 4, drainFrom: 2 })), { leaders: '2,2,1,1', drainFrom: 2 })
  assert.deepEqual(await ask(told(7, [2, 2], { epoch: 4 })), { leaders: '2,2', drainFrom: -1 })
  assert.deepEqual(await ask(told(6, [2, 2, 1, 1], { drainFrom: 2 })), { leaders: '2,2', drainFrom: -1 })
  assert.deepEqual(await ask(told(8, [2, 2, 3], { epoch: 0 })), { leaders: '2,2,3', drainFrom: -1 })
})
