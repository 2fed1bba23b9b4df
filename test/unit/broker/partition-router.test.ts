/** Which partition has which ref, and what is counted. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PartitionRouter, setOffline } from '../../../src/broker/partition-router.ts'
import type { TopicRecord } from '../../../src/coordination/topics.ts'
import type { Incarnation, LeaderEpoch, TopicId } from '../../../src/model/ids.ts'
import { TOPIC_CONFIG_DEFAULTS } from '../../../src/model/topic-config.ts'

const incarnation = 1 as Incarnation

function record(name: string, partitions: number): TopicRecord {
  const leader = {
    leader: 1,
    leaderEpoch: 0 as LeaderEpoch,
    leaderIncarnation: incarnation,
    ...{ inSyncReplicas: [], replicas: [1], eligibleLeaders: [], adding: [], removing: [] },
  }
  return {
    topicId: name.padEnd(32, '0') as TopicId,
    state: { name, partitions, replicas: 1, config: {}, createdMs: 0 },
    partitions: Array.from({ length: partitions }, () => leader),
    partitionVersions: Array.from({ length: partitions }, () => 1),
    modRevision: 1,
  }
}

test('a deleted topic counts nowhere; its refs are used again, but for those a shard may still know', () => {
  const router = new PartitionRouter({
    shards: 2,
    nodeId: 1,
    incarnation,
    isAlone: true,
    defaults: TOPIC_CONFIG_DEFAULTS,
  })
  const gone = router.add(record('a', 4))
  for (const partition of gone.partitions) partition.state = 'serving'
  setOffline(gone.partitions[2]!, 'damaged')
  assert.deepEqual([router.offlineCount(), router.countsOf(gone.partitions[2]!.shard).offline], [1, 1])
  router.remove(gone)
  router.releaseRefs(gone.partitions)
  assert.deepEqual([router.partitionCount, router.offlineCount(), router.byRef(2)], [0, 0, undefined])
  assert.deepEqual(router.countsOf(gone.partitions[2]!.shard), { partitions: 0, offline: 0 })
  const refs = router.add(record('b', 5)).partitions.map(({ ref }) => ref as number)
  assert.deepEqual(refs.sort(), [0, 1, 3, 4, 5])
})

test('a configuration that cannot be read: a new topic is not known, one that is known keeps what it had', () => {
  const unread: string[] = []
  const router = new PartitionRouter({
    ...{ shards: 2, nodeId: 1, incarnation, isAlone: true, defaults: TOPIC_CONFIG_DEFAULTS },
    onUnreadable: (topic, error) => unread.push(`${topic.record.state.name}: ${error.code}`),
  })
  const { state, ...rest } = record('a', 2)
  const unreadable = { ...rest, state: { ...state, config: { 'of.a.later.release': '1' } } }
  assert.throws(() => router.add(unreadable), { code: 'INVALID_CONFIG' })
  assert.deepEqual([router.topicCount, router.partitionCount, router.byRef(0)], [0, 0, undefined])
  const topic = router.add(record('a', 2))
  const { config } = topic
  router.updateConfig(topic, unreadable)
  assert.deepEqual([topic.config, topic.record, unread], [config, unreadable, ['a: INVALID_CONFIG']])
})
