/** What shards are told of their replicas, and what follows from their answers: the shard is played by hand. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LocalReplicas } from '../../../../src/broker/cluster/local-replicas.ts'
import type { ReplicaFetcher, ReplicaPosition } from '../../../../src/broker/cluster/replica-fetcher.ts'
import { PartitionOpener } from '../../../../src/broker/partition-opener.ts'
import { leadRefusal, type PartitionProxy, PartitionRouter } from '../../../../src/broker/partition-router.ts'
import type { ShardLink } from '../../../../src/broker/shard-link.ts'
import type { PartitionState } from '../../../../src/coordination/keys.ts'
import type { TopicRecord } from '../../../../src/coordination/topics.ts'
import { SILENT } from '../../../../src/in-process/silent-logger.ts'
import { MillraceError } from '../../../../src/model/errors.ts'
import type { Incarnation, LeaderEpoch, TopicId } from '../../../../src/model/ids.ts'
import { TOPIC_CONFIG_DEFAULTS } from '../../../../src/model/topic-config.ts'
import {
  ControlOperation,
  type OpenPartitionsBody,
  type SetReplicasBody,
} from '../../../../src/ring/control-messages.ts'
import { ManualTimers } from '../../../support/manual-timers.ts'

const SELF = { nodeId: 1, incarnation: 5 }
const TOPIC = 'b'.repeat(32) as TopicId

interface Told {
  readonly body: SetReplicasBody
  answer(logEndOffset?: number): Promise<void>
  fail(error: MillraceError): Promise<void>
}

function stateOf(leader: number, epoch: number, more: Partial<PartitionState> = {}): PartitionState {
  return {
    ...{ leader, leaderEpoch: epoch as LeaderEpoch, leaderIncarnation: 5 as Incarnation, replicas: [1, 2, 3] },
    inSyncReplicas: [1, 2, 3].map((nodeId) => ({ nodeId, incarnation: 5 as Incarnation })),
    ...{ eligibleLeaders: [], adding: [], removing: [] },
    ...more,
  }
}

class Stage {
  readonly timers = new ManualTimers()
  readonly told: Told[] = []
  readonly opened: OpenPartitionsBody[] = []
  readonly deleted: number[] = []
  readonly followed: string[] = []
  readonly led: string[] = []
  readonly progress: number[] = []
  /** How many were, each time it was told. */
  readonly offline: number[] = []
  openAnswer: () => Promise<unknown> = () => Promise.resolve({ failed: [] })
  readonly fetchers = new Map<number, number>()
  readonly router = new PartitionRouter({
    ...{ shards: 1, nodeId: 1, incarnation: 5 as Incarnation, isAlone: false, defaults: TOPIC_CONFIG_DEFAULTS },
  })
  readonly replicas: LocalReplicas

  constructor() {
    const link = {
      control: (operation: number, body: unknown) => this.#control(operation, body),
    } as unknown as ShardLink
    this.replicas = new LocalReplicas({
      ...{ self: SELF, links: [link], router: this.router, timers: this.timers, logger: SILENT },
      opener: new PartitionOpener([link], SILENT, this.timers),
      makeFetcher: (leader) => this.#fetcher(leader),
      onLeads: ({ proxy }, isNew) => this.led.push(`${proxy.partition}${isNew ? '' : ' again'}`),
      onOffline: () => this.offline.push(this.router.offlineCount()),
    })
  }

  #control(operation: number, body: unknown): Promise<unknown> {
    if (operation === ControlOperation.OPEN_PARTITIONS) {
      this.opened.push(body as OpenPartitionsBody)
      return this.openAnswer()
    }
    if (operation === ControlOperation.DELETE_PARTITION) {
      this.deleted.push((body as { partitionRef: number }).partitionRef)
      return Promise.resolve({})
    }
    return new Promise((resolve, reject) => {
      this.told.push({
        body: body as SetReplicasBody,
        answer: (logEndOffset = 0) => {
          resolve({ logEndOffset, lastEpoch: 1, highWatermark: 0, syncedEndOffset: logEndOffset })
          return settle()
        },
        fail: (error) => {
          reject(error)
          return settle()
        },
      })
    })
  }

  #fetcher(leader: number): ReplicaFetcher {
    let size = 0
    this.fetchers.set(leader, (this.fetchers.get(leader) ?? 0) + 1)
    return {
      get size() {
        return size
      },
      follow: (proxy: PartitionProxy, position: ReplicaPosition) => {
        size++
        this.followed.push(`${proxy.partition}@${proxy.leaderEpoch} at ${leader} from ${position.logEndOffset}`)
      },
      unfollow: (ref: number) => {
        size--
        this.followed.push(`no ${ref}`)
      },
      progress: (rows: readonly unknown[]) => this.progress.push(rows.length),
      close: () => this.followed.push(`closed ${leader}`),
    } as unknown as ReplicaFetcher
  }

  async open(states: readonly PartitionState[]): Promise<readonly PartitionProxy[]> {
    const record: TopicRecord = {
      ...{ topicId: TOPIC, partitions: states, partitionVersions: states.map(() => 10), modRevision: 1 },
      state: { name: 't', partitions: states.length, replicas: 3, config: {}, createdMs: 0 },
    }
    const topic = this.router.add(record)
    await this.replicas.open(
      topic,
      topic.partitions.filter(({ state }) => state === 'opening'),
      () => null,
    )
    return topic.partitions
  }

  /** As the agent does it. */
  change(proxy: PartitionProxy, state: PartitionState, version: number): void {
    this.router.updatePartition(proxy, state)
    this.replicas.update(proxy, state, version)
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
}

test('opened as what they are; a leader serves when its shard has taken the lead, a follower follows from its log end', async () => {
  const stage = new Stage()
  const [mine, theirs, nobodys, foreign] = await stage.open([
    ...[stateOf(1, 3), stateOf(2, 4), stateOf(-1, 5), stateOf(2, 1, { replicas: [2, 3] })],
  ])
  assert.deepEqual(
    stage.opened[0]!.partitions.map(({ replicas }) => [replicas!.role, replicas!.leaderEpoch, replicas!.version]),
    [
      ['leader', 3, 10],
      ['follower', 4, 10],
      ['follower', 5, 10],
    ],
  )
  for (const told of stage.told) await told.answer(7)
  assert.deepEqual(
    [mine, theirs, nobodys, foreign].map((proxy) => [proxy!.state, leadRefusal(proxy!)?.code]),
    [
      ['serving', undefined],
      ['following', 'NOT_LEADER_OR_FOLLOWER'],
      ['following', 'LEADER_NOT_AVAILABLE'],
      ['elsewhere', 'NOT_LEADER_OR_FOLLOWER'],
    ],
  )
  assert.deepEqual([stage.led, stage.followed], [['0'], ['1@4 at 2 from 7']])
})

test('another incarnation of this broker leads nothing', async () => {
  const stage = new Stage()
  const [proxy] = await stage.open([stateOf(1, 3, { leaderIncarnation: 4 as Incarnation })])
  await stage.told[0]!.answer()
  assert.deepEqual([stage.told[0]!.body.role, proxy!.state, stage.followed], ['follower', 'following', []])
})

test('a leader that stops serves no more at once; a follower that takes the lead follows no more at once', async () => {
  const stage = new Stage()
  const [mine, theirs] = await stage.open([stateOf(1, 3), stateOf(2, 3)])
  for (const told of stage.told) await told.answer()
  stage.change(mine!, stateOf(2, 4), 11)
  stage.change(theirs!, stateOf(1, 4), 12)
  assert.deepEqual([mine!.state, theirs!.state], ['following', 'following'])
  assert.deepEqual(stage.followed.slice(1), ['no 1', 'closed 2'])
  await stage.told[3]!.answer()
  await stage.told[2]!.answer(5)
  assert.deepEqual([theirs!.state, stage.led], ['serving', ['0', '1']])
  assert.equal(stage.followed.at(-1), '0@4 at 2 from 5')
})

test('only the answer to what was told last counts', async () => {
  const stage = new Stage()
  const [proxy] = await stage.open([stateOf(2, 3)])
  stage.change(proxy!, stateOf(3, 4), 11)
  await stage.told[1]!.answer(9)
  await stage.told[0]!.answer(2)
  assert.deepEqual(stage.followed, ['0@4 at 3 from 9'])
  stage.change(proxy!, stateOf(1, 3), 10)
  assert.equal(stage.told.length, 2, 'what is older is not told')
})

test('another in-sync set under the same leader: told, and followed on as it was', async () => {
  const stage = new Stage()
  const [mine, theirs] = await stage.open([stateOf(1, 3), stateOf(2, 3)])
  for (const told of stage.told) await told.answer()
  const fewer = { inSyncReplicas: [{ nodeId: 1, incarnation: 5 as Incarnation }] }
  stage.change(mine!, stateOf(1, 3, fewer), 11)
  stage.change(theirs!, stateOf(2, 3, fewer), 12)
  assert.deepEqual(stage.told[2]!.body.inSync, [{ nodeId: 1, incarnation: 5 }])
  await stage.told[2]!.answer()
  await stage.told[3]!.answer(9)
  assert.deepEqual([stage.led, stage.followed], [['0', '0 again'], ['1@3 at 2 from 0']])
})

test('a ring without room is told again; a shard that fails takes the replica offline', async () => {
  const stage = new Stage()
  const [proxy] = await stage.open([stateOf(1, 3)])
  await stage.told[0]!.fail(new MillraceError('OVERLOADED'))
  stage.timers.advance(1_000)
  assert.equal(stage.told.length, 2)
  await stage.told[1]!.fail(new MillraceError('KAFKA_STORAGE_ERROR', 'EIO'))
  assert.deepEqual([proxy!.state, leadRefusal(proxy!)?.code], ['offline', 'KAFKA_STORAGE_ERROR'])
  assert.deepEqual(stage.offline, [1])
})

test('a refused word that is told again does not take back a set that was proposed meanwhile', async () => {
  const stage = new Stage()
  await stage.open([stateOf(1, 3)])
  await stage.told[0]!.answer()
  const replica = stage.replicas.byRef(0)!
  stage.replicas.retell(replica)
  await stage.told[1]!.fail(new MillraceError('OVERLOADED'))
  const pending = [1, 2, 3, 4].map((nodeId) => ({ nodeId, incarnation: 5 }))
  const proposed = stage.replicas.propose(replica, pending)
  await stage.told[2]!.answer()
  await proposed
  // The set is being written under this version: until the outcome is known both sets count.
  stage.timers.advance(1_000)
  assert.deepEqual(stage.told.at(-1)!.body.pending, pending)
  stage.replicas.retell(replica)
  assert.deepEqual(stage.told.at(-1)!.body.pending, pending, 'also where it is told the same again')
  stage.replicas.withdraw(replica)
  assert.equal(stage.told.at(-1)!.body.pending, null, 'nothing was written')
  const again = stage.replicas.propose(replica, pending)
  await stage.told.at(-1)!.answer()
  await again
  stage.change(replica.proxy, stateOf(1, 3), 11)
  assert.equal(stage.told.at(-1)!.body.pending, null, 'it is over with its version')
})

test('a shard whose answer is still on its way when it proposes a set has taken the lead all the same', async () => {
  const stage = new Stage()
  const [proxy] = await stage.open([stateOf(1, 3)])
  // Both are in one turn of the ring: the answer's promise is heard after the notice.
  void stage.replicas.propose(stage.replicas.byRef(0)!, [{ nodeId: 1, incarnation: 5 }])
  await stage.told[0]!.answer()
  assert.deepEqual([proxy!.state, stage.led], ['serving', ['0']])
})

test('a replica that cannot be opened is told of as offline; one whose shard had no room is opened later', async () => {
  const stage = new Stage()
  stage.openAnswer = () => Promise.reject(new MillraceError('OVERLOADED'))
  const opening = stage.open([stateOf(1, 3), stateOf(1, 3)])
  await settle()
  stage.openAnswer = () => Promise.resolve({ failed: [{ partitionRef: 1, reason: 'EIO' }] })
  stage.timers.advance(1_000)
  const proxies = await opening
  assert.equal(stage.opened.length, 2)
  await stage.told[0]!.answer()
  assert.deepEqual([proxies.map(({ state }) => state), stage.offline], [['serving', 'offline'], [1]])
})

test('a replica that went while its shard had no room is not opened later', async () => {
  const stage = new Stage()
  stage.openAnswer = () => Promise.reject(new MillraceError('OVERLOADED'))
  const opening = stage.open([stateOf(1, 3)])
  await settle()
  await stage.replicas.remove(stage.router.byRef(0)!)
  stage.timers.advance(1_000)
  await opening
  assert.deepEqual([stage.opened.length, stage.told.length], [1, 0])
})

test('a replica that goes: followed no more, deleted, and its answers count no more', async () => {
  const stage = new Stage()
  const [theirs, mine] = await stage.open([stateOf(2, 3), stateOf(1, 3)])
  await stage.told[0]!.answer()
  await Promise.all([stage.replicas.remove(theirs!), stage.replicas.remove(mine!)])
  await stage.told[1]!.answer()
  assert.deepEqual([stage.deleted, stage.led, stage.followed.slice(1)], [[0, 1], [], ['no 0', 'closed 2']])
})

test('synced ends go to where the partition is followed, under the epoch it is followed in', async () => {
  const stage = new Stage()
  await stage.open([stateOf(2, 3)])
  await stage.told[0]!.answer()
  stage.replicas.progress([{ partitionRef: 0, leaderEpoch: 2, syncedEndOffset: 5 }])
  assert.deepEqual(stage.progress, [])
  stage.replicas.progress([{ partitionRef: 0, leaderEpoch: 3, syncedEndOffset: 5 }])
  assert.deepEqual(stage.progress, [1])
})

test('when shards stop nothing is fetched any more: not what was followed, and not what a late answer would have followed', async () => {
  const stage = new Stage()
  const [, second] = await stage.open([stateOf(2, 3), stateOf(3, 3)])
  await stage.told[0]!.answer()
  stage.followed.length = 0
  stage.replicas.onShardsStop()
  assert.deepEqual(stage.followed, ['closed 2'])
  await stage.told[1]!.answer()
  stage.replicas.progress([{ partitionRef: second!.ref, leaderEpoch: 3, syncedEndOffset: 1 }])
  assert.deepEqual([stage.followed, stage.progress], [['closed 2'], []])
})

test('what a shard refuses because the broker ends makes no replica offline', async () => {
  const stage = new Stage()
  const [proxy] = await stage.open([stateOf(2, 3)])
  stage.replicas.onShardsStop()
  stage.change(proxy!, stateOf(3, 4), 11)
  await stage.told.at(-1)!.fail(new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', 'its shard has ended'))
  assert.deepEqual([proxy!.state, stage.offline], ['following', []])
})
