/** What must hold with every transaction of the store, with every acknowledged record, and at the end. */
import assert from 'node:assert/strict'
import { ClusterImage } from '../../../src/coordination/cluster-image.ts'
import { standingOf } from '../../../src/coordination/controller/membership.ts'
import { isMoving } from '../../../src/coordination/controller/reassignment.ts'
import {
  CONTROLLER_KEY,
  type ControllerState,
  decodePartitionState,
  decodeState,
  NO_LEADER,
  type NodeState,
  nodeKey,
  PARTITIONS_PREFIX,
  type PartitionName,
  type PartitionState,
  ROOT_PREFIX,
  TOPICS_PREFIX,
  type TopicState,
  topicIdKey,
} from '../../../src/coordination/keys.ts'
import type { StoreOperation } from '../../../src/coordination/metadata-store.ts'
import type { TopicId } from '../../../src/model/ids.ts'
import { parseTopicConfig, type TopicConfig } from '../../../src/model/topic-config.ts'
import { givenUpLead } from '../given-up-lead.ts'
import { commonEnd } from './replica-model.ts'
import { nameOf, type SimulatedBroker, type World } from './simulated-broker.ts'
import type { SimulatedStoreClient } from './simulated-store.ts'

export class ControllerChecker {
  readonly #world: World
  /** The longest prefix of each partition that was acknowledged. */
  readonly #acknowledged = new Map<string, readonly number[]>()
  #controllerEpoch = 0

  constructor(world: World) {
    this.#world = world
  }

  get acknowledgedCount(): number {
    return [...this.#acknowledged.values()].reduce((sum, { length }) => sum + length, 0)
  }

  transaction(client: SimulatedStoreClient, operations: readonly StoreOperation[]): void {
    for (const operation of operations) {
      const { key } = operation
      if (key === CONTROLLER_KEY && operation.kind === 'put') this.#newController(client, operation.value)
      else if (key.startsWith(TOPICS_PREFIX)) this.#mustControl(client, key)
      else if (key.startsWith(PARTITIONS_PREFIX))
        this.#partition(client, key, operation.kind === 'put' ? decodePartitionState(key, operation.value) : undefined)
    }
  }

  #newController({ nodeId, incarnation }: SimulatedStoreClient, value: Uint8Array): void {
    const state = decodeState<ControllerState>(CONTROLLER_KEY, value)
    assert.deepEqual([state.nodeId, state.incarnation], [nodeId, incarnation])
    assert.equal(state.controllerEpoch, this.#controllerEpoch + 1, 'controller epochs are counted')
    assert.equal(this.#world.store.state.get(CONTROLLER_KEY), undefined, 'the key was free')
    this.#controllerEpoch = state.controllerEpoch
  }

  #mustControl({ nodeId, incarnation }: SimulatedStoreClient, what: string): void {
    const stored = this.#world.store.state.get(CONTROLLER_KEY)
    const state = stored && decodeState<ControllerState>(CONTROLLER_KEY, stored.value)
    const holder = state && `${state.nodeId}@${state.incarnation}`
    assert.equal(`${nodeId}@${incarnation}`, holder, `${what} was written by one that does not control`)
  }

  #partition(client: SimulatedStoreClient, key: string, next: PartitionState | undefined): void {
    const stored = this.#world.store.state.get(key)
    // Beyond the topic's partitions it means nothing: somebody adds partitions, for the second time.
    const isSeen = Number(key.split('/').at(-1)) < (this.#topicOf(key)?.partitions ?? 0)
    if (stored === undefined || next === undefined || !isSeen) {
      this.#mustControl(client, key)
      return
    }
    const before = decodePartitionState(key, stored.value)
    const isOfLeader =
      next.leaderEpoch === before.leaderEpoch &&
      next.leader === before.leader &&
      String([next.replicas, next.adding, next.removing]) === String([before.replicas, before.adding, before.removing])
    if (!isOfLeader || client.nodeId !== before.leader) this.#mustControl(client, key)
    this.#wellFormed(key, before, next)
    if (next.leaderEpoch !== before.leaderEpoch && next.leader !== NO_LEADER) this.#elected(key, before, next)
  }

  #wellFormed(key: string, before: PartitionState, next: PartitionState): void {
    const isChanged = next.leader !== before.leader || next.leaderIncarnation !== before.leaderIncarnation
    const epochs = next.leaderEpoch - before.leaderEpoch
    assert.ok(
      epochs === (isChanged ? 1 : 0) || epochs === 1,
      `${key}: epoch ${before.leaderEpoch} to ${next.leaderEpoch}`,
    )
    assert.ok(next.inSyncReplicas.length > 0, `${key}: the in-sync set is empty`)
    const replicas = this.#topicOf(key)?.replicas ?? 1
    assert.ok(next.replicas.length >= replicas, `${key}: ${next.replicas} are fewer than ${replicas}`)
    // A move that is taken back keeps those that it would have removed.
    const isDone = isMoving(before) && !isMoving(next) && !next.replicas.some((node) => before.removing.includes(node))
    const late = before.adding.filter((node) => !next.inSyncReplicas.some(({ nodeId }) => nodeId === node))
    if (isDone && next.replicas.some((node) => before.adding.includes(node)))
      assert.deepEqual(late, [], `${key}: a move is done, and ${late} are not in sync`)
    for (const { nodeId, incarnation } of [...next.inSyncReplicas, ...next.eligibleLeaders]) {
      const node = this.#world.store.state.get(nodeKey(nodeId))!
      assert.ok(incarnation <= decodeState<NodeState>('', node.value).incarnation, `${key}: unknown incarnation`)
      assert.ok(next.replicas.includes(nodeId), `${key}: ${nodeId} is no replica`)
    }
  }

  #topicOf(key: string): TopicState | undefined {
    const topicId = key.slice(PARTITIONS_PREFIX.length).split('/')[0] as TopicId
    const stored = this.#world.store.state.get(topicIdKey(topicId))
    return stored && decodeState<TopicState>('', stored.value)
  }

  #configOf(key: string): TopicConfig {
    return parseTopicConfig(this.#topicOf(key)?.config ?? {}, this.#world.defaults)
  }

  /** The new leader holds everything that was acknowledged, or there is a reason that is told. */
  #elected(key: string, before: PartitionState, next: PartitionState): void {
    const leader = this.#world.brokers.get(next.leader)!
    this.#world.note('leader changed', `${key.slice(-39)}: ${next.leader} epoch ${next.leaderEpoch}`)
    const name = nameOfKey(key)
    const givenUp = givenUpLead(this.#world.store.state, placeOfKey(key), before, next)
    if (givenUp !== undefined) this.#world.note(givenUp, key.slice(-39))
    const acknowledged = this.#acknowledged.get(name) ?? []
    const held = leader.directory.logs.get(name)?.records ?? []
    const end = commonEnd(acknowledged, held)
    if (end === acknowledged.length) return
    const reason = this.#excuseOf(key, before, next, acknowledged)
    // It died meanwhile: it will not lead under this incarnation, and whether it may the next time is seen then.
    if (reason === undefined && leader.incarnation !== next.leaderIncarnation) return
    assert.ok(
      reason !== undefined,
      `${key}: ${next.leader} leads and lacks ${acknowledged.length - end} of ${acknowledged.length} acknowledged records: ` +
        `${JSON.stringify(before)} to ${JSON.stringify(next)}`,
    )
    this.#world.note(reason)
    this.#acknowledged.set(name, acknowledged.slice(0, end))
  }

  #excuseOf(
    key: string,
    before: PartitionState,
    next: PartitionState,
    acknowledged: readonly number[],
  ): string | undefined {
    const config = this.#configOf(key)
    const entry = before.inSyncReplicas.find(({ nodeId }) => nodeId === next.leader)
    const node = decodeState<NodeState>('', this.#world.store.state.get(nodeKey(next.leader))!.value)
    if (config.uncleanLeaderElection) return 'loss by unclean election'
    if (config.fsync === 'interval' && entry !== undefined && node.cleanSince! > entry.incarnation)
      return 'loss since last sync'
    const name = nameOfKey(key)
    const copies = [...this.#world.brokers.values()].filter(({ directory }) => {
      return commonEnd(directory.logs.get(name)?.records ?? [], acknowledged) === acknowledged.length
    })
    return copies.length === 0 ? 'loss of all copies' : undefined
  }

  acknowledged(name: string, records: readonly number[], leader: SimulatedBroker): void {
    const key = `${PARTITIONS_PREFIX}${name.split('/')[0]}/${name.split('/')[1]!.padStart(5, '0')}`
    const stored = this.#world.store.state.get(key)
    if (stored === undefined) return
    const state = decodePartitionState(key, stored.value)
    const isCurrent = state.leader === leader.nodeId && state.leaderIncarnation === leader.incarnation
    if (!isCurrent) {
      if (this.#configOf(key).uncleanLeaderElection) return
      this.#world.note('acknowledged by an old leader')
      const now = this.#world.brokers.get(state.leader)
      if (now !== undefined && now.incarnation === state.leaderIncarnation) {
        const held = now.directory.logs.get(name)?.records ?? []
        assert.equal(
          commonEnd(held, records),
          records.length,
          `${key}: an old leader acknowledged what the new one lacks`,
        )
      }
    }
    const known = this.#acknowledged.get(name) ?? []
    const end = Math.min(known.length, records.length)
    assert.equal(commonEnd(known, records), end, `${key}: two histories were acknowledged`)
    if (records.length > known.length) this.#acknowledged.set(name, records)
  }

  /** Leaderships of now: in quiet nobody takes one from another. */
  leaderEpochs(): readonly string[] {
    const { values } = this.#world.store.state.list(PARTITIONS_PREFIX)
    return values.map(({ key, value }) => `${key} ${decodePartitionState(key, value).leaderEpoch}`)
  }

  /** All brokers run and talk, and it was quiet for long. */
  end(): void {
    const { state } = this.#world.store
    const { revision, values } = state.list(ROOT_PREFIX)
    const image = ClusterImage.of(revision, values)
    const active = [...this.#world.brokers.values()].filter(({ controller }) => controller !== undefined)
    assert.deepEqual(
      active.map(({ nodeId }) => nodeId),
      [image.controller?.state.nodeId],
      'one broker controls',
    )
    assert.deepEqual(image.halfTopics(), [])
    for (const topic of image.topics.values())
      for (const partition of topic.partitions.keys()) this.#endOf(image, topic.topicId, partition)
  }

  #endOf(image: ClusterImage, topicId: TopicId, partition: number): void {
    const topic = image.topicById(topicId)!
    const state = topic.partitions[partition]!
    const name = `${topicId}/${partition}`
    const config = parseTopicConfig(topic.state.config, this.#world.defaults)
    const context = { topicId, partition, members: image, fsync: config.fsync }
    const text = `${topic.state.name}-${partition}: ${JSON.stringify(state)}`
    if (state.leader === NO_LEADER) {
      const live = [...state.inSyncReplicas, ...state.eligibleLeaders].filter(
        (one) => standingOf(one, context).kind === 'live',
      )
      assert.deepEqual(live, [], `${text} has no leader`)
      this.#world.note('leaderless for good')
      return
    }
    const leader = this.#world.brokers.get(state.leader)!
    assert.equal(leader.incarnation, state.leaderIncarnation, `${text}: its leader lives`)
    const acknowledged = this.#acknowledged.get(name) ?? []
    const held = leader.directory.logs.get(name)?.records ?? []
    assert.equal(commonEnd(acknowledged, held), acknowledged.length, `${text}: acknowledged records are there`)
    assert.ok(!isMoving(state), `${text}: moves have ended`)
    assert.equal(state.replicas.length, topic.state.replicas, text)
    assert.equal(state.inSyncReplicas.length, state.replicas.length, `${text}: all are in sync`)
    assert.deepEqual(state.eligibleLeaders, [], text)
    const hasRoom = state.replicas.some((nodeId) => !this.#world.brokers.get(nodeId)!.isDiskLow)
    assert.ok(!leader.isDiskLow || !hasRoom, `${text}: its leader's disk is full, another one's is not`)
  }
}

function placeOfKey(key: string): PartitionName {
  const [topicId = '', partition = ''] = key.slice(PARTITIONS_PREFIX.length).split('/')
  return { topicId: topicId as TopicId, partition: Number(partition) }
}

function nameOfKey(key: string): string {
  return nameOf(placeOfKey(key))
}
