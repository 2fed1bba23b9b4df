/** A damaged replica is set aside and made anew, step by step; what happens to it between the steps is played by hand. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { LocalReplica } from '../../../../src/broker/cluster/local-replicas.ts'
import { ReplicaRepair } from '../../../../src/broker/cluster/replica-repair.ts'
import { type PartitionProxy, PartitionRouter } from '../../../../src/broker/partition-router.ts'
import type { ShardLink } from '../../../../src/broker/shard-link.ts'
import { SILENT } from '../../../../src/in-process/silent-logger.ts'
import type { Incarnation } from '../../../../src/model/ids.ts'
import { TOPIC_CONFIG_DEFAULTS } from '../../../../src/model/topic-config.ts'
import { partitionOf, TOPIC } from '../../../support/cluster-fixture.ts'
import { ManualTimers } from '../../../support/manual-timers.ts'

const STATE = partitionOf({ leader: 2, inSync: '2' })

class Stage {
  readonly timers = new ManualTimers()
  readonly steps: string[] = []
  readonly router = new PartitionRouter({
    ...{ shards: 1, nodeId: 1, incarnation: 1 as Incarnation, isAlone: false, defaults: TOPIC_CONFIG_DEFAULTS },
  })
  /** What happens while a step is under way. */
  during: Partial<Record<'close' | 'set aside' | 'open', () => unknown>> = {}
  entry: LocalReplica | undefined = {} as LocalReplica
  readonly proxy: PartitionProxy
  readonly repair: ReplicaRepair

  constructor() {
    const link = { state: 'serving', control: () => this.#step('close') } as unknown as ShardLink
    this.repair = new ReplicaRepair({
      ...{ nodeId: 1, links: [link], router: this.router, timers: this.timers, logger: SILENT },
      replicas: {
        byRef: () => this.entry,
        forget: () => {
          this.entry = undefined
          this.steps.push('forget')
          return true
        },
        open: async () => {
          this.entry = {} as LocalReplica
          await this.#step('open')
          this.proxy.state = 'following'
        },
      },
      setAside: async () => {
        await this.#step('set aside')
        return 'quarantine/x'
      },
      onRepaired: () => this.steps.push('repaired'),
    })
    const topic = this.router.add({
      ...{ topicId: TOPIC, partitions: [STATE], partitionVersions: [1], modRevision: 1 },
      state: { name: 't', partitions: 1, replicas: 3, config: {}, createdMs: 0 },
    })
    this.proxy = topic.partitions[0]!
    Object.assign(this.proxy, { state: 'offline', reason: 'a batch is damaged' })
  }

  async #step(name: 'close' | 'set aside' | 'open'): Promise<unknown> {
    this.steps.push(name)
    return this.during[name]?.()
  }

  async run(): Promise<string[]> {
    this.repair.look(this.proxy, STATE)
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
    return this.steps
  }

  /** As the agent does it. */
  remove(): void {
    this.entry = undefined
    this.router.unhost(this.proxy)
  }
}

test('closed, set aside, only then forgotten, and opened as new', async () => {
  const stage = new Stage()
  assert.deepEqual(await stage.run(), ['close', 'set aside', 'forget', 'open', 'repaired'])
  assert.deepEqual([stage.proxy.state, stage.proxy.reason], ['following', null])
})

test('a step that fails leaves the replica known and offline; it is tried again', async () => {
  for (const step of ['close', 'set aside', 'open'] as const) {
    const stage = new Stage()
    stage.during = { [step]: () => Promise.reject(new Error('EIO')) }
    await stage.run()
    assert.equal(stage.proxy.state, 'offline', step)
    assert.notEqual(stage.entry, undefined, step)
    stage.during = {}
    assert.equal((await stage.run()).at(-1), 'repaired', step)
  }
})

test('a replica that is removed, or hosted anew, meanwhile is left as it is', async () => {
  for (const step of ['close', 'set aside', 'open'] as const) {
    const stage = new Stage()
    stage.during = {
      [step]: () => {
        stage.remove()
        return step === 'open' ? Promise.reject(new Error('it is gone')) : undefined
      },
    }
    const steps = await stage.run()
    assert.deepEqual([stage.proxy.state, steps.at(-1)], ['elsewhere', step])
  }
  const again = new Stage()
  again.during = {
    close: () => {
      again.remove()
      again.router.host(again.proxy)
      again.entry = {} as LocalReplica
    },
  }
  assert.deepEqual([await again.run(), again.proxy.state], [['close'], 'opening'])
})

test('while a folder is being renamed it is waited for, also when that fails', async () => {
  for (const end of ['resolve', 'reject'] as const) {
    const stage = new Stage()
    let isRenamed = false
    let finish = (): void => {}
    stage.during = {
      'set aside': () =>
        new Promise<void>((resolve, reject) => {
          finish = end === 'resolve' ? resolve : () => reject(new Error('EIO'))
        }),
    }
    await stage.repair.renamed(stage.proxy)
    await stage.run()
    const waiting = stage.repair.renamed(stage.proxy).then(() => {
      isRenamed = true
    })
    stage.remove()
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
    assert.equal(isRenamed, false)
    finish()
    await waiting
    assert.deepEqual([stage.steps, stage.proxy.state], [['close', 'set aside'], 'elsewhere'])
  }
})

test('a step that hangs does not hold up the end', async () => {
  const stage = new Stage()
  stage.during = { 'set aside': () => new Promise(() => {}) }
  await stage.run()
  const closed = stage.repair.close()
  stage.timers.advance(5_000)
  await closed
  const idle = new Stage()
  await idle.repair.close()
})
