/** Partitions that drain are told to be gone when they are empty for certain, by who leads them, the last ones first. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DrainWatch } from '../../../../src/broker/cluster/drain-watch.ts'
import { PartitionRouter } from '../../../../src/broker/partition-router.ts'
import { SILENT } from '../../../../src/in-process/silent-logger.ts'
import { MillraceError } from '../../../../src/model/errors.ts'
import type { Incarnation, LeaderEpoch, TopicId } from '../../../../src/model/ids.ts'
import { TOPIC_CONFIG_DEFAULTS } from '../../../../src/model/topic-config.ts'
import { ManualTimers } from '../../../support/manual-timers.ts'

const LOOK_MS = 10_000
const topicId = 'a'.repeat(32) as TopicId

/** A topic of four partitions on one shard, of which those from `drainFrom` on drain. */
class Stage {
  readonly timers = new ManualTimers()
  readonly told: number[] = []
  /** Log start and end, by partition. */
  readonly logs = [0, 1, 2, 3].map(() => ({ logStartOffset: 0, logEndOffset: 0, role: 'leader' }))
  failsToHear = false
  readonly watch: DrainWatch
  readonly topic

  constructor(drainFrom: number | undefined) {
    const router = new PartitionRouter({
      ...{ shards: 1, nodeId: 1, incarnation: 1 as Incarnation, isAlone: true, defaults: TOPIC_CONFIG_DEFAULTS },
    })
    const state = { leader: 1, leaderEpoch: 0 as LeaderEpoch, leaderIncarnation: 1 as Incarnation, replicas: [1] }
    const sets = { inSyncReplicas: [], eligibleLeaders: [], adding: [], removing: [] }
    this.topic = router.add({
      ...{
        topicId,
        modRevision: 1,
        partitionVersions: [1, 1, 1, 1],
        partitions: this.logs.map(() => ({ ...state, ...sets })),
      },
      state: {
        ...{ name: 't', partitions: 4, replicas: 1, config: {}, createdMs: 0 },
        ...(drainFrom === undefined ? {} : { drainFrom }),
      },
    })
    for (const proxy of this.topic.partitions) proxy.state = 'serving'
    const control = async (_: unknown, body: unknown): Promise<never> => {
      const { partition } = router.byRef((body as { partitionRef: number }).partitionRef)!
      const log = this.logs[partition]!
      if (log.logEndOffset < 0) throw new MillraceError('OVERLOADED')
      return log as never
    }
    this.watch = new DrainWatch({
      ...{ router, links: [{ control }], timers: this.timers, logger: SILENT },
      emptied: async (_, partition) => {
        this.told.push(partition)
        if (this.failsToHear) throw new MillraceError('BROKER_NOT_AVAILABLE')
        return 1
      },
    })
  }

  /** What the next look tells. */
  async look(): Promise<number[]> {
    this.told.length = 0
    this.timers.advance(LOOK_MS)
    for (let turn = 0; turn < 50; turn++) await Promise.resolve()
    return [...this.told]
  }
}

test('two looks that found it empty with the same end, then at each look until it is gone, the last one first', async () => {
  const stage = new Stage(2)
  assert.deepEqual(await stage.look(), [])
  assert.deepEqual(await stage.look(), [3, 2])
  stage.failsToHear = true
  assert.deepEqual(await stage.look(), [3, 2], 'nobody heard of it')
})

test('one with records, another end, or a shard that does not answer is not told of', async () => {
  const stage = new Stage(2)
  stage.logs[2] = { logStartOffset: 3, logEndOffset: 4, role: 'leader' }
  stage.logs[3] = { logStartOffset: 5, logEndOffset: 5, role: 'leader' }
  await stage.look()
  stage.logs[3] = { logStartOffset: 6, logEndOffset: 6, role: 'leader' }
  assert.deepEqual(await stage.look(), [], 'something came and went: more may be on its way')
  assert.deepEqual(await stage.look(), [3])
  stage.logs[3] = { logStartOffset: 0, logEndOffset: -1, role: 'leader' }
  assert.deepEqual(await stage.look(), [])
  stage.logs[3] = { logStartOffset: 6, logEndOffset: 6, role: 'leader' }
  assert.deepEqual(await stage.look(), [], 'it counts anew')
  assert.deepEqual(await stage.look(), [3])
})

test('only what drains and is led here', async () => {
  const idle = new Stage(undefined)
  await idle.look()
  assert.deepEqual(await idle.look(), [])
  const stage = new Stage(1)
  stage.topic.partitions[2]!.state = 'following'
  stage.logs[3] = { logStartOffset: 0, logEndOffset: 0, role: 'follower' }
  await stage.look()
  assert.deepEqual(await stage.look(), [1])
  stage.watch.close()
  assert.deepEqual(await stage.look(), [])
})
