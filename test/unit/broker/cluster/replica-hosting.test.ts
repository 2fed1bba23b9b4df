/** Replicas that go and come again: shards that take their time are played by hand. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { LocalReplica } from '../../../../src/broker/cluster/local-replicas.ts'
import { ReplicaHosting } from '../../../../src/broker/cluster/replica-hosting.ts'
import { NOTHING_RECOVERED } from '../../../../src/broker/partition-opener.ts'
import { type PartitionProxy, PartitionRouter, type RoutedTopic } from '../../../../src/broker/partition-router.ts'
import type { TopicRecord } from '../../../../src/coordination/topics.ts'
import { SILENT } from '../../../../src/in-process/silent-logger.ts'
import type { Incarnation } from '../../../../src/model/ids.ts'
import { TOPIC_CONFIG_DEFAULTS } from '../../../../src/model/topic-config.ts'
import { partitionOf, TOPIC } from '../../../support/cluster-fixture.ts'

const MINE = partitionOf({})
const THEIRS = partitionOf({ replicas: [2, 3] })

function recordOf(partitions: number): TopicRecord {
  const states = Array.from({ length: partitions }, () => MINE)
  return {
    ...{ topicId: TOPIC, partitions: states, partitionVersions: states.map(() => 1), modRevision: 1 },
    state: { name: 't', partitions, replicas: 3, config: {}, createdMs: 0 },
  }
}

class Stage {
  readonly log: string[] = []
  readonly router = new PartitionRouter({
    ...{ shards: 1, nodeId: 1, incarnation: 1 as Incarnation, isAlone: false, defaults: TOPIC_CONFIG_DEFAULTS },
  })
  readonly entries = new Map<number, LocalReplica>()
  /** Shards that delete: each answers when it is called. */
  readonly deleting: (() => void)[] = []
  /** The folder of a damaged replica is being set aside. */
  renaming: Promise<void> = Promise.resolve()
  readonly topic: RoutedTopic
  readonly hosting: ReplicaHosting

  constructor() {
    this.hosting = new ReplicaHosting({
      ...{ nodeId: 1, router: this.router, logger: SILENT },
      renamed: () => this.renaming,
      replicas: {
        byRef: (ref) => this.entries.get(ref),
        open: async (_topic, proxies) => {
          for (const proxy of proxies) {
            this.log.push(`open ${proxy.partition}`)
            this.entries.set(proxy.ref, { proxy } as LocalReplica)
            proxy.state = 'following'
          }
        },
        remove: async (proxy) => {
          if (!this.entries.delete(proxy.ref)) return
          this.log.push(`delete ${proxy.partition}`)
          await new Promise<void>((resolve) => this.deleting.push(resolve))
        },
      },
    })
    this.topic = this.router.add(recordOf(2))
    this.hosting.open(this.topic, this.topic.partitions, NOTHING_RECOVERED)
  }

  get first(): PartitionProxy {
    return this.topic.partitions[0]!
  }

  async deleted(): Promise<void> {
    this.deleting.shift()!()
    await this.hosting.settled()
  }
}

test('a replica is removed once, and its ref is not free before its shard has let go of it', async () => {
  const stage = new Stage()
  const { first, router } = stage
  const { ref } = first
  router.updatePartition(first, THEIRS)
  stage.hosting.remove(first)
  stage.hosting.remove(first)
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual([first.ref, stage.hosting.isRemoving(first), stage.log.slice(2)], [ref, true, ['delete 0']])
  await stage.deleted()
  assert.deepEqual([first.state, stage.hosting.isRemoving(first), stage.log.length], ['elsewhere', false, 3])
})

test('a partition that came back while its replica was removed is hosted again', async () => {
  const stage = new Stage()
  const { first, router } = stage
  router.updatePartition(first, THEIRS)
  stage.hosting.remove(first)
  router.updatePartition(first, MINE)
  await stage.deleted()
  assert.deepEqual([first.state, stage.log.slice(2)], ['following', ['delete 0', 'open 0']])
})

test('a partition that came back while its folder is being set aside is hosted when that is done', async () => {
  const stage = new Stage()
  const { first, router } = stage
  let renamed = (): void => {}
  stage.renaming = new Promise((resolve) => {
    renamed = resolve
  })
  router.updatePartition(first, THEIRS)
  stage.hosting.remove(first)
  router.updatePartition(first, MINE)
  stage.deleting.shift()!()
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual([first.state, stage.log.slice(2)], ['following', ['delete 0']], 'it is not opened yet')
  renamed()
  await stage.hosting.settled()
  assert.deepEqual([first.state, stage.log.slice(2)], ['following', ['delete 0', 'open 0']])
})

test('a topic that shrinks and grows again: the new partition is opened when the old one is gone', async () => {
  const stage = new Stage()
  const { topic, router } = stage
  for (const proxy of router.shrink(topic, recordOf(1))) stage.hosting.remove(proxy)
  stage.hosting.open(topic, router.extend(topic, recordOf(2)), NOTHING_RECOVERED)
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual([topic.partitions[1]!.state, stage.log.slice(2)], ['opening', ['delete 1']])
  await stage.deleted()
  assert.deepEqual([topic.partitions[1]!.state, stage.log.slice(2)], ['following', ['delete 1', 'open 1']])
})

test('one that goes again while it waits is not opened', async () => {
  const stage = new Stage()
  const { topic, router } = stage
  for (const proxy of router.shrink(topic, recordOf(1))) stage.hosting.remove(proxy)
  stage.hosting.open(topic, router.extend(topic, recordOf(2)), NOTHING_RECOVERED)
  const second = topic.partitions[1]!
  router.updatePartition(second, THEIRS)
  stage.hosting.remove(second)
  await stage.deleted()
  assert.deepEqual([second.state, stage.log.slice(2)], ['elsewhere', ['delete 1']])
})
