/** Coordinators of groups as the broker knows them: where other brokers lead some, and where its image is behind. Shards are played by hand. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GroupService, type GroupServiceContext } from '../../../src/broker/group-service.ts'
import { PartitionRouter } from '../../../src/broker/partition-router.ts'
import type { GroupWaiter } from '../../../src/broker/shard-link.ts'
import { SILENT } from '../../../src/in-process/silent-logger.ts'
import { MillraceError } from '../../../src/model/errors.ts'
import type { Incarnation } from '../../../src/model/ids.ts'
import { OFFSETS_TOPIC } from '../../../src/model/internal-topics.ts'
import { TOPIC_CONFIG_DEFAULTS } from '../../../src/model/topic-config.ts'
import { listGroups } from '../../../src/protocol/index.ts'
import { partitionOf, TOPIC } from '../../support/cluster-fixture.ts'

const CALLER = { clientId: new Uint8Array(), clientHost: new Uint8Array(), connectionId: 1 }
const ALL = { states: [], kinds: [] }

class Stage {
  readonly warnings: unknown[] = []
  readonly router = new PartitionRouter({
    ...{ shards: 1, nodeId: 1, incarnation: 1 as Incarnation, isAlone: false, defaults: TOPIC_CONFIG_DEFAULTS },
  })
  readonly groups: GroupService

  constructor(create: () => Promise<unknown> = () => Promise.resolve()) {
    const link = {
      shard: 0,
      control: () => Promise.resolve({}),
      relay: ({ partitionRef }: { partitionRef: number }, waiter: GroupWaiter) => {
        const group = {
          groupId: `g${partitionRef}`,
          kind: 'consumer',
          state: 'Stable',
          memberCount: 1,
          protocolType: 'consumer',
        }
        setImmediate(() => waiter.onGroupReply(listGroups.encodeReply({ groups: [group], nextCursor: null } as never)))
      },
    }
    const context = {
      ...{ config: { groups: { offsetsPartitions: 3 } }, router: this.router, links: [link] },
      topicService: { create },
      logger: { ...SILENT, warn: (...words: unknown[]) => this.warnings.push(words) },
    }
    this.groups = new GroupService(context as unknown as GroupServiceContext)
  }

  /** The offsets topic; its partitions are led by these, those of this broker serve. */
  lead(...leaders: number[]): void {
    const partitions = leaders.map((leader) => partitionOf({ leader }))
    const topic = this.router.add({
      ...{ topicId: TOPIC, partitions, partitionVersions: partitions.map(() => 1), modRevision: 1 },
      state: { name: OFFSETS_TOPIC, partitions: leaders.length, replicas: 3, config: {}, createdMs: 0 },
    })
    for (const proxy of topic.partitions) proxy.state = proxy.leaderNodeId === 1 ? 'serving' : 'following'
  }

  async listed(): Promise<string[][]> {
    const replies = await this.groups.askAll(listGroups, { ...ALL, cursor: null }, CALLER)
    const page = await this.groups.listPage({ ...ALL, cursor: '' }, '', CALLER)
    return [replies.flatMap(({ groups }) => groups), page.groups].map((list) => list.map(({ groupId }) => groupId))
  }
}

test('too few brokers to make the topic of groups: unavailable for now, which a client waits out', async () => {
  const create = () => Promise.reject(new MillraceError('INVALID_REPLICATION_FACTOR', 'too few'))
  const stage = new Stage(create)
  const { groups } = stage
  await assert.rejects(groups.coordinatorOf('g'), {
    code: 'COORDINATOR_NOT_AVAILABLE',
    message: 'too few',
    retriable: true,
  })
  await assert.rejects(groups.coordinatorOf('g'), { code: 'COORDINATOR_NOT_AVAILABLE' })
  assert.equal(stage.warnings.length, 1, 'the same reason is told once')
})

test('groups that another broker coordinates are not missed, nor warned of', async () => {
  const stage = new Stage()
  stage.lead(2, 1, 3, 1)
  assert.deepEqual(await stage.listed(), [
    ['g1', 'g3'],
    ['g1', 'g3'],
  ])
  assert.deepEqual(stage.warnings, [])
})

test('a broker that coordinates none has none; a partition without leader is a fault', async () => {
  const stage = new Stage()
  stage.lead(2, 3)
  assert.deepEqual(await stage.listed(), [[], []])
  const leaderless = new Stage()
  leaderless.lead(2, -1)
  await assert.rejects(leaderless.listed(), { code: 'COORDINATOR_NOT_AVAILABLE' })
})

test('a topic that was made, but is not in the image yet: its coordinators are not available', async () => {
  const stage = new Stage()
  await assert.rejects(stage.groups.coordinatorOf('g'), { code: 'COORDINATOR_NOT_AVAILABLE' })
  stage.lead(1)
  assert.equal((await stage.groups.coordinatorOf('g')).partition, 0)
})
