/**
 * Topic requests: topics as a cluster makes and changes them: decided as alone (topics.ts), placed over the brokers that live, written
 * under the controller's key.
 *
 * Invariants  TR1 every write asks for the controller's key, and for the revision of what it changes
 *             TR2 min.insync.replicas is raised only after eligible leaders of the lower bound are gone: they need not hold what became
 *             visible under it (KIP-966)
 * Failure     MillraceError with the row that the client gets
 */
import type { Clock } from '../../base/clock.ts'
import { MillraceError } from '../../model/errors.ts'
import type { LeaderEpoch, TopicId } from '../../model/ids.ts'
import type { ClusterImage } from '../cluster-image.ts'
import { checkNotDraining, decideDrain } from '../draining.ts'
import type { PartitionState, Replica } from '../keys.ts'
import type { MetadataStore, StoreCondition } from '../metadata-store.ts'
import {
  type Assignment,
  applyAddPartitions,
  applyAlterConfig,
  applyCreateTopic,
  applyDeleteTopic,
  type CreateTopicWish,
  decideAddPartitions,
  decideAlterConfig,
  decideCreateTopic,
  putTopicState,
  type TopicDefaults,
  type TopicRecord,
} from '../topics.ts'
import { isDiskLow, takesReplicas } from './membership.ts'
import { TopicConfigs } from './partition-decisions.ts'
import { type PartitionWrite, writePartitionStates } from './partition-writer.ts'
import { type PlacementBroker, placeReplicas, rackOf, seedOf } from './placement.ts'

export interface RequestContext {
  readonly store: MetadataStore
  readonly image: ClusterImage
  readonly fence: StoreCondition
  readonly self: Replica
  readonly clock: Clock
  readonly newId: () => string
  readonly defaults: TopicDefaults
}

export interface CreateTopicAnswer {
  readonly topicId: TopicId
  readonly partitions: number
  readonly created: boolean
}

export async function createTopic(
  wish: CreateTopicWish,
  validateOnly: boolean,
  context: RequestContext,
): Promise<CreateTopicAnswer> {
  const { store, image, fence, self, clock, newId, defaults } = context
  const takers = [...image.brokers.keys()].filter((nodeId) => takesReplicas(nodeId, image))
  const decision = decideCreateTopic(wish, {
    existing: image.topicByName(wish.name),
    ...{ defaults, brokers: takers.length, brokersKnown: knownBrokers(image), partitionsNow: image.partitionCount },
  })
  if (decision.kind === 'exists') return { ...countOf(decision.topic), created: false }
  const { plan } = decision
  if (validateOnly) return { topicId: '0'.repeat(32) as TopicId, partitions: plan.partitions, created: false }
  const topicId = newId() as TopicId
  const sets = placeReplicas({
    ...{ brokers: withRoom(placementBrokers(image), plan.replicas, image), existing: [], partitions: plan.partitions },
    ...{ replicas: plan.replicas, seed: seedOf(topicId) },
  })
  const assignment = assignmentOf(sets, 0, image)
  const topic = await applyCreateTopic(plan, {
    ...{ store, replica: self, assignment, fence: [fence], newId: () => topicId, nowMs: clock.nowMs() },
  })
  return { ...countOf(topic), created: true }
}

function countOf({ topicId, state }: TopicRecord): { topicId: TopicId; partitions: number } {
  return { topicId, partitions: state.partitions }
}

function knownBrokers({ nodes }: ClusterImage): number {
  return [...nodes.values()].filter(({ state }) => state.isDecommissioned !== true).length
}

/** Brokers that take new replicas, with what they hold. */
function placementBrokers(image: ClusterImage): PlacementBroker[] {
  const replicas = new Map<number, number>()
  const leaders = new Map<number, number>()
  for (const topic of image.topics.values())
    for (const state of topic.partitions)
      for (const [index, nodeId] of state.replicas.entries()) {
        replicas.set(nodeId, (replicas.get(nodeId) ?? 0) + 1)
        if (index === 0) leaders.set(nodeId, (leaders.get(nodeId) ?? 0) + 1)
      }
  return [...image.brokers].flatMap(([nodeId, { state }]) => {
    if (!takesReplicas(nodeId, image)) return []
    return { nodeId, rack: state.rack, replicas: replicas.get(nodeId) ?? 0, leaders: leaders.get(nodeId) ?? 0 }
  })
}

/** Without those whose disk is low, where the others are enough and are in as many racks as a partition can have. */
function withRoom(
  brokers: readonly PlacementBroker[],
  replicas: number,
  image: ClusterImage,
): readonly PlacementBroker[] {
  const others = brokers.filter(({ nodeId }) => !isDiskLow(nodeId, image))
  const racksOf = (some: readonly PlacementBroker[]) => Math.min(replicas, new Set(some.map(rackOf)).size)
  return others.length >= replicas && racksOf(others) === racksOf(brokers) ? others : brokers
}

/** New partitions: all replicas are in sync, for there is nothing to have; the first one leads. */
function assignmentOf(sets: readonly (readonly number[])[], from: number, image: ClusterImage): Assignment {
  // As whom they live now: the image goes on while the topic is written, and one of them may have gone by then.
  const incarnations = new Map([...image.brokers].map(([nodeId, { state }]) => [nodeId, state.incarnation]))
  return (partition): PartitionState => {
    const replicas = sets[partition - from]!
    const entries = replicas.map((nodeId): Replica => ({ nodeId, incarnation: incarnations.get(nodeId)! }))
    return {
      ...{ leader: replicas[0]!, leaderEpoch: 0 as LeaderEpoch, leaderIncarnation: entries[0]!.incarnation },
      ...{ replicas, inSyncReplicas: entries, eligibleLeaders: [], adding: [], removing: [] },
    }
  }
}

export async function addPartitions(name: string, total: number, context: RequestContext): Promise<void> {
  const { store, image, fence, self } = context
  const topic = topicOf(name, image)
  checkNotDraining(topic)
  decideAddPartitions(topic, total, image.partitionCount)
  const brokers = placementBrokers(image)
  const { partitions: before, replicas: wanted } = topic.state
  if (brokers.length < wanted)
    throw new MillraceError(
      'INVALID_REPLICATION_FACTOR',
      `${name} has ${wanted} replicas: ${brokers.length} brokers take replicas now`,
    )
  const sets = placeReplicas({
    ...{
      brokers: withoutTopic(withRoom(brokers, wanted, image), topic),
      existing: topic.partitions.map(({ replicas }) => replicas),
    },
    ...{ partitions: total - before, replicas: wanted, seed: seedOf(topic.topicId) },
  })
  const assignment = assignmentOf(sets, before, image)
  await applyAddPartitions(topic, total, { store, replica: self, assignment, fence: [fence] })
}

/** What brokers hold of other topics. */
function withoutTopic(brokers: readonly PlacementBroker[], topic: TopicRecord): PlacementBroker[] {
  return brokers.map((broker) => {
    const own = topic.partitions.filter(({ replicas }) => replicas.includes(broker.nodeId))
    const led = own.filter(({ replicas }) => replicas[0] === broker.nodeId)
    return { ...broker, replicas: broker.replicas - own.length, leaders: broker.leaders - led.length }
  })
}

export async function deleteTopic(name: string, { store, image, fence }: RequestContext): Promise<void> {
  await applyDeleteTopic(topicOf(name, image), store, [fence])
}

export async function alterConfig(
  name: string,
  change: { readonly set: Readonly<Record<string, string>>; readonly remove: readonly string[] },
  context: RequestContext,
): Promise<Readonly<Record<string, string>>> {
  const { store, image, fence, defaults } = context
  const topic = topicOf(name, image)
  const config = decideAlterConfig(topic, change, defaults.config)
  const configs = new TopicConfigs(defaults.config)
  const before = configs.of(topic.state).minInsyncReplicas
  if (configs.of({ ...topic.state, config }).minInsyncReplicas > before) await settleEligible(topic, before, context)
  await applyAlterConfig(topic, config, store, [fence])
  return config
}

/** Eligible leaders whose in-sync set is large enough go: what was visible since is not theirs. */
async function settleEligible(topic: TopicRecord, minInsync: number, { store, fence }: RequestContext): Promise<void> {
  const writes = topic.partitions.flatMap((state, partition): PartitionWrite | [] => {
    if (state.eligibleLeaders.length === 0 || state.inSyncReplicas.length < minInsync) return []
    const version = topic.partitionVersions[partition]!
    return { topic, partition, version, next: { ...state, eligibleLeaders: [] } }
  })
  const { overtaken } = await writePartitionStates(store, fence, writes)
  if (overtaken.length > 0)
    throw new MillraceError('INVALID_UPDATE_VERSION', `the topic ${topic.state.name} was changed meanwhile: look again`)
}

/** From partition `total` on the topic takes no new records (T5); with as many as it has, all do again. */
export async function drainPartitions(name: string, total: number, context: RequestContext): Promise<void> {
  const { store, image, fence } = context
  const topic = topicOf(name, image)
  await putTopicState(topic, decideDrain(topic, total), { store, fence: [fence] })
}

export function topicOf(name: string, image: ClusterImage): TopicRecord {
  const topic = image.topicByName(name)
  if (topic === undefined)
    throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic '${name.slice(0, 249)}'`)
  return topic
}
