/** What becomes of the in-sync sets that leaders here wish for: the store loses answers on command, the shard is a list of what it was told. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type InSyncWish, InSyncWriter } from '../../../../src/broker/cluster/in-sync-writer.ts'
import type { LocalReplica } from '../../../../src/broker/cluster/local-replicas.ts'
import {
  decodePartitionState,
  encodeState,
  type PartitionState,
  partitionKey,
} from '../../../../src/coordination/keys.ts'
import { MemoryMetadataStore } from '../../../../src/coordination/memory-metadata-store.ts'
import type { MetadataStore } from '../../../../src/coordination/metadata-store.ts'
import { SILENT } from '../../../../src/in-process/silent-logger.ts'
import { MillraceError } from '../../../../src/model/errors.ts'
import type { PartitionWords } from '../../../support/cluster-fixture.ts'
import { membersOf, partitionOf, replicasOf, TOPIC, textOf } from '../../../support/cluster-fixture.ts'
import { ManualTimers } from '../../../support/manual-timers.ts'

const KEY = partitionKey(TOPIC, 0)

class Stage {
  readonly timers = new ManualTimers()
  readonly store = new MemoryMetadataStore(this.timers.clock)
  /** Sets as the shard counts them: proposed, then what came of it. */
  readonly told: string[] = []
  readonly resigned: string[] = []
  isRingFull = false
  /** What each of the next writes does before its answer is lost; later ones get theirs. */
  readonly lost: ('takes effect' | 'does not')[] = []
  brokers = membersOf({ 1: {}, 2: {}, 3: {} }).brokers
  replica!: LocalReplica
  readonly writer: InSyncWriter

  constructor() {
    const { timers, told } = this
    this.writer = new InSyncWriter({
      ...{ store: this.#losing(), clock: timers.clock, timers, logger: SILENT, brokers: () => this.brokers },
      onResigned: (leads) =>
        this.resigned.push(leads.map(({ partition, leaderEpoch }) => `${partition}@${leaderEpoch}`).join(' ')),
      replicas: {
        byRef: () => this.replica,
        propose: async (replica, pending) => {
          if (this.isRingFull) throw new MillraceError('OVERLOADED')
          replica.pending = pending
          told.push(`proposed ${textOf(pending as PartitionState['inSyncReplicas'])}`)
        },
        retell: (replica) => this.#again(replica),
        withdraw: (replica) => {
          replica.pending = null
          this.#again(replica)
        },
        update: (_proxy, state, version) => {
          if (version <= this.replica.version) return
          Object.assign(this.replica, { state, version, pending: null })
          told.push(textOf(state.inSyncReplicas))
        },
      },
    })
  }

  #again({ state, pending }: LocalReplica): void {
    const proposed = pending === null ? '' : ` or ${textOf(pending as PartitionState['inSyncReplicas'])}`
    this.told.push(`again ${textOf(state.inSyncReplicas)}${proposed}`)
  }

  #losing(): MetadataStore {
    const losing: MemoryMetadataStore = Object.create(this.store)
    losing.get = (key) => this.store.get(key)
    losing.transact = async (conditions, operations) => {
      const what = this.lost.shift()
      if (what !== 'does not') await this.store.transact(conditions, operations).then((result) => (this.#last = result))
      if (what !== undefined) throw new Error('no answer')
      return this.#last
    }
    return losing
  }
  #last: Awaited<ReturnType<MetadataStore['transact']>> = { applied: false, revision: 0 }

  async put(words: PartitionWords): Promise<number> {
    const { revision } = await this.store.transact(
      [],
      [{ kind: 'put', key: KEY, value: encodeState(partitionOf(words)) }],
    )
    return revision
  }

  async start(words: PartitionWords): Promise<void> {
    const version = await this.put(words)
    const topic = { config: { minInsyncReplicas: 1 } }
    const proxy = { topicId: TOPIC, partition: 0, topicName: 't', ref: 0 }
    this.replica = { proxy, topic, state: partitionOf(words), version, pending: null } as unknown as LocalReplica
  }

  async wish(inSync: string, isCutOff = false): Promise<void> {
    const { leaderEpoch } = this.replica.state
    const { version } = this.replica
    const wish: InSyncWish = { partitionRef: 0, leaderEpoch, version, inSync: replicasOf(inSync), isCutOff }
    this.writer.onWish(wish)
    await settle()
  }

  async stored(): Promise<string> {
    return textOf(decodePartitionState(KEY, (await this.store.get(KEY))!.value).inSyncReplicas)
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
}

test('a wish is proposed, written and told', async () => {
  const stage = new Stage()
  await stage.start({ inSync: '1' })
  await stage.wish('1 2')
  assert.deepEqual([stage.told, await stage.stored()], [['proposed 1 2', '1 2'], '1 2'])
})

test('a grown set whose answers are all lost is found in the store; never is the smaller one told in between', async () => {
  const stage = new Stage()
  await stage.start({ inSync: '1' })
  stage.lost.push('takes effect', 'does not', 'does not')
  await stage.wish('1 2')
  assert.deepEqual([stage.told, await stage.stored()], [['proposed 1 2'], '1 2'])
  stage.timers.advance(600)
  await settle()
  assert.deepEqual(stage.told, ['proposed 1 2', '1 2'])
})

test('a write that was overtaken is left to the image: the old set is not told again', async () => {
  const stage = new Stage()
  await stage.start({ inSync: '1' })
  stage.lost.push('takes effect', 'does not', 'does not')
  await stage.wish('1 2')
  // The controller changes what our write had stored.
  await stage.put({ inSync: '1 2', replicas: [1, 2, 3, 4], adding: [4] })
  stage.timers.advance(600)
  await settle()
  assert.deepEqual(stage.told, ['proposed 1 2'])
})

test('who is not registered, or not under that incarnation, joins no set; who is stored is not asked for', async () => {
  const stage = new Stage()
  await stage.start({ inSync: '1 2' })
  stage.brokers = membersOf({ 1: {}, 2: { isAlive: false }, 3: { incarnation: 4 } }).brokers
  await stage.wish('1 2 3@3')
  assert.deepEqual(stage.told, [], 'nothing is left to be written')
  await stage.wish('1 3@3')
  assert.deepEqual(stage.told, ['proposed 1', '1'], 'the rest of the wish is')
  await stage.wish('1 3@4')
  assert.deepEqual(stage.told.slice(2), ['proposed 1 3@4', '1 3@4'])
})

test('a leader that is cut off resigns before its set shrinks; when nobody took over it wishes anew, and the set shrinks', async () => {
  const stage = new Stage()
  await stage.start({ inSync: '1 2 3' })
  await stage.wish('1', true)
  assert.deepEqual(
    [stage.resigned, stage.told, await stage.stored()],
    [['0@5'], [], '1 2 3'],
    'whoever follows needs the set',
  )
  for (let step = 0; step < 80; step++) {
    stage.timers.advance(50)
    await settle()
  }
  assert.deepEqual(
    [stage.resigned, stage.told],
    [['0@5', ''], ['again 1 2 3']],
    'the wish is seconds old: who is back by now stays',
  )
  await stage.wish('1 2', true)
  assert.deepEqual(
    [stage.resigned, stage.told.slice(1), await stage.stored()],
    [['0@5', ''], ['proposed 1 2', '1 2'], '1 2'],
    'it does not resign again so soon',
  )
  await stage.put({ inSync: '1 2 3' })
  stage.replica.state = partitionOf({ inSync: '1 2 3' })
  stage.replica.version = (await stage.store.get(KEY))!.modRevision
  await stage.wish('1', true)
  assert.deepEqual([stage.resigned.length, stage.told.slice(3)], [2, ['proposed 1', '1']], 'nor does its next set')
})

test('a leader that resigned and has a successor writes nothing', async () => {
  const stage = new Stage()
  await stage.start({ inSync: '1 2 3' })
  await stage.wish('1', true)
  // As the image tells it.
  const version = await stage.put({ leader: 2, epoch: 6, inSync: '2 3' })
  Object.assign(stage.replica, { state: partitionOf({ leader: 2, epoch: 6, inSync: '2 3' }), version })
  stage.timers.advance(100)
  await settle()
  assert.deepEqual([stage.resigned, stage.told, await stage.stored()], [['0@5', ''], [], '2 3'])
})

test('a wish that was cut is looked at again when brokers change, once', async () => {
  const stage = new Stage()
  await stage.start({ inSync: '1' })
  stage.brokers = membersOf({ 1: {} }).brokers
  await stage.wish('1 2')
  stage.brokers = membersOf({ 1: {}, 2: {} }).brokers
  stage.writer.onBrokersChanged()
  stage.writer.onBrokersChanged()
  assert.deepEqual(stage.told, ['again 1'])
})

test('while a write is under way a change of brokers tells nothing', async () => {
  const stage = new Stage()
  await stage.start({ inSync: '1' })
  stage.brokers = membersOf({ 1: {}, 2: {} }).brokers
  stage.lost.push('takes effect', 'does not', 'does not')
  await stage.wish('1 2 3')
  stage.writer.onBrokersChanged()
  assert.deepEqual(stage.told, ['proposed 1 2'])
})

test('a set that may have been stored is counted until the image tells, whoever registers meanwhile', async () => {
  const stage = new Stage()
  await stage.start({ inSync: '1' })
  stage.brokers = membersOf({ 1: {}, 2: {} }).brokers
  stage.lost.push('takes effect', 'does not', 'does not')
  await stage.wish('1 2 3')
  // The controller changes what our write had stored; the image does not show it yet.
  await stage.put({ inSync: '1 2', replicas: [1, 2, 3, 4], adding: [4] })
  stage.timers.advance(600)
  await settle()
  stage.brokers = membersOf({ 1: {}, 2: {}, 3: {} }).brokers
  stage.writer.onBrokersChanged()
  assert.deepEqual([stage.told, stage.replica.pending], [['proposed 1 2', 'again 1 or 1 2'], replicasOf('1 2')])
})

test('a set that a shard could not be told is not counted', async () => {
  const stage = new Stage()
  await stage.start({ inSync: '1' })
  stage.isRingFull = true
  await stage.wish('1 2')
  assert.deepEqual([stage.told, stage.replica.pending, await stage.stored()], [['again 1'], null, '1'])
})
