/**
 * Topics: what may be done to them, decided without effects, and done to the store in an order that no crash can halve.
 *
 * Invariants  T1 a topic is visible exactly while its topics/<name> key exists: written last at create, removed first at delete
 *             T2 TopicState.partitions is raised after the new partitions' keys are written: keys beyond it mean nothing
 * Ordering    create: topic-ids, partitions in batches, topics. Delete: topics, partitions in batches, topic-ids
 * Failure     decide… throw MillraceError with the row that the client gets. A name taken meanwhile: TOPIC_ALREADY_EXISTS
 * Not here    the shards (broker/partition-router.ts)
 */
import { MillraceError } from '../model/errors.ts'
import { isTopicName, type LeaderEpoch, type TopicId } from '../model/ids.ts'
import { isInternalTopic } from '../model/internal-topics.ts'
import { BROKER_PARTITIONS_MAX, TOPIC_PARTITIONS_MAX } from '../model/limits.ts'
import { parseTopicConfig, type TopicConfig } from '../model/topic-config.ts'
import {
  decodePartitionState,
  decodeState,
  encodeState,
  PARTITIONS_PREFIX,
  type PartitionState,
  partitionKey,
  type Replica,
  TOPIC_IDS_PREFIX,
  TOPICS_PREFIX,
  type TopicNameState,
  type TopicState,
  topicIdKey,
  topicNameKey,
  topicPartitionsPrefix,
} from './keys.ts'
import {
  type MetadataStore,
  STORE_OPERATIONS_MAX,
  type StoreCondition,
  type StoredValue,
  type StoreOperation,
} from './metadata-store.ts'

/** A topic as the store has it. */
export interface TopicRecord {
  readonly topicId: TopicId
  readonly state: TopicState
  readonly partitions: readonly PartitionState[]
  /** Of each partition's key: the condition of its next change. */
  readonly partitionVersions: readonly number[]
  /** Of the topic-ids key: conditions of the next change. */
  readonly modRevision: number
}

/** Where neither the topic nor the broker says how many: as many as there are brokers, up to these. */
const CLUSTER_REPLICAS_DEFAULT = 3

export interface TopicDefaults {
  readonly partitions: number
  /** -1: CLUSTER_REPLICAS_DEFAULT. */
  readonly replicas: number
  readonly config: TopicConfig
}

export interface CreateTopicWish {
  readonly name: string
  /** -1 = default. */
  readonly partitions: number
  /** -1 = default. */
  readonly replicas: number
  readonly config: Readonly<Record<string, string>>
  readonly ifNotExists: boolean
}

export interface CreateTopicPlan {
  readonly name: string
  readonly partitions: number
  readonly replicas: number
  readonly config: Readonly<Record<string, string>>
}

export type CreateTopicDecision =
  | { readonly kind: 'exists'; readonly topic: TopicRecord }
  | { readonly kind: 'create'; readonly plan: CreateTopicPlan }

export interface CreateTopicContext {
  readonly existing: TopicRecord | undefined
  readonly defaults: TopicDefaults
  readonly brokers: number
  /** In a cluster: those that are known, away or not. No replica less because one is away, where nobody said how many: nobody would add it. */
  readonly brokersKnown?: number
  /** Partitions of all topics now. */
  readonly partitionsNow: number
}

export function decideCreateTopic(wish: CreateTopicWish, context: CreateTopicContext): CreateTopicDecision {
  const { existing, defaults, brokers, partitionsNow } = context
  if (!isTopicName(wish.name))
    throw new MillraceError(
      'INVALID_TOPIC_EXCEPTION',
      `'${String(wish.name).slice(0, 60)}' is not a topic name: [a-zA-Z0-9._-]{1,249}, not . or ..`,
    )
  if (existing !== undefined) {
    if (wish.ifNotExists) return { kind: 'exists', topic: existing }
    throw new MillraceError('TOPIC_ALREADY_EXISTS', `the topic ${wish.name} exists`)
  }
  const partitions = wish.partitions === -1 ? defaults.partitions : wish.partitions
  checkPartitions(partitions, partitionsNow)
  const replicas = wish.replicas === -1 ? defaultReplicas(wish.name, context) : wish.replicas
  if (replicas < 1 || replicas > brokers)
    throw new MillraceError('INVALID_REPLICATION_FACTOR', replicasText(wish, replicas, context))
  const config = parseTopicConfig(wish.config, defaults.config)
  checkReplicasFor(wish.config, config, replicas)
  return { kind: 'create', plan: { name: wish.name, partitions, replicas, config: { ...wish.config } } }
}

/**
 * As many as the configuration says and there are brokers known, away or not. A topic of the broker's own is wanted now, and gets more replicas
 * by itself as brokers come: brokers for more than half of its replicas are enough to make it.
 */
function defaultReplicas(name: string, { defaults, brokers, brokersKnown = brokers }: CreateTopicContext): number {
  const byDefault = defaults.replicas === -1 ? CLUSTER_REPLICAS_DEFAULT : defaults.replicas
  const wanted = Math.min(byDefault, brokersKnown)
  return isInternalTopic(name) && brokers > wanted / 2 ? Math.min(wanted, brokers) : wanted
}

function replicasText(wish: CreateTopicWish, replicas: number, { brokers }: CreateTopicContext): string {
  if (wish.replicas !== -1) return `replicas: 1 to ${brokers} (the brokers there are), not ${replicas}`
  return `a topic has ${replicas} replicas where nobody says how many, and ${brokers} brokers take some now: say how many, or wait until more are there`
}

function checkPartitions(partitions: number, partitionsNow: number): void {
  if (partitions < 1 || partitions > TOPIC_PARTITIONS_MAX)
    throw new MillraceError('INVALID_PARTITIONS', `partitions: 1 to ${TOPIC_PARTITIONS_MAX}, not ${partitions}`)
  if (partitionsNow + partitions > BROKER_PARTITIONS_MAX)
    throw new MillraceError(
      'INVALID_PARTITIONS',
      `${partitions} partitions more than the ${partitionsNow} there are would pass the bound of ${BROKER_PARTITIONS_MAX}`,
    )
}

/** A topic that could never take an acks=all record is a mistake; one that inherits the bound is not its own. */
function checkReplicasFor(own: Readonly<Record<string, string>>, config: TopicConfig, replicas: number): void {
  if (Object.hasOwn(own, 'min.insync.replicas') && config.minInsyncReplicas > replicas)
    throw new MillraceError(
      'INVALID_CONFIG',
      `min.insync.replicas: ${config.minInsyncReplicas} is more than the topic's ${replicas} replicas`,
    )
}

export function decideAddPartitions(topic: TopicRecord, total: number, partitionsNow: number): void {
  const before = topic.state.partitions
  if (total <= before)
    throw new MillraceError(
      'INVALID_PARTITIONS',
      `${topic.state.name} has ${before} partitions: the new total must be larger, not ${total}`,
    )
  if (total > TOPIC_PARTITIONS_MAX)
    throw new MillraceError('INVALID_PARTITIONS', `partitions: at most ${TOPIC_PARTITIONS_MAX}, not ${total}`)
  checkPartitions(total - before, partitionsNow)
}

/** The topic's own keys after the change; throws INVALID_CONFIG when they would not be valid. */
export function decideAlterConfig(
  topic: TopicRecord,
  change: { readonly set: Readonly<Record<string, string>>; readonly remove: readonly string[] },
  defaults: TopicConfig,
): Record<string, string> {
  const config: Record<string, string> = { ...topic.state.config, ...change.set }
  for (const key of change.remove) {
    if (Object.hasOwn(change.set, key)) throw new MillraceError('INVALID_CONFIG', `${key} is both set and removed`)
    // A key that does not exist is a spelling mistake, one that is not set is not.
    parseTopicConfigKey(key)
    delete config[key]
  }
  checkReplicasFor(change.set, parseTopicConfig(config, defaults), topic.state.replicas)
  return config
}

function parseTopicConfigKey(key: string): void {
  try {
    parseTopicConfig({ [key]: '' })
  } catch (error) {
    if (error instanceof MillraceError && error.message.startsWith('unknown')) throw error
  }
}

/** Where a new partition lies and who leads it. */
export type Assignment = (partition: number) => PartitionState

export interface ApplyContext {
  readonly store: MetadataStore
  /** Who asks. Alone, it leads the new partitions. */
  readonly replica: Replica
  /** In a cluster: where the new partitions lie. */
  readonly assignment?: Assignment
  /** Hold with every write: that whoever writes is the controller still. None alone. */
  readonly fence?: readonly StoreCondition[]
}

export interface CreateTopicContextApply extends ApplyContext {
  readonly newId: () => string
  readonly nowMs: number
}

/** Makes a decided topic. Resolves once it is visible. */
export async function applyCreateTopic(plan: CreateTopicPlan, context: CreateTopicContextApply): Promise<TopicRecord> {
  const { store, fence = [], newId, nowMs } = context
  const topicId = newId() as TopicId
  const { name, partitions: count, replicas, config } = plan
  const state: TopicState = { name, partitions: count, replicas, config, createdMs: nowMs }
  const idKey = topicIdKey(topicId)
  const first = await store.transact(
    [...fence, { kind: 'absent', key: idKey }, { kind: 'absent', key: topicNameKey(name) }],
    [{ kind: 'put', key: idKey, value: encodeState(state) }],
  )
  if (!first.applied) throw await refusalOf(context, nameTaken(name))
  const made = { topicId, state: { ...state, partitions: 0 }, modRevision: first.revision }
  const written = await writePartitions(context, made, count)
  const nameState: TopicNameState = { topicId }
  const last = await store.transact(
    [...fence, { kind: 'absent', key: topicNameKey(name) }],
    [{ kind: 'put', key: topicNameKey(name), value: encodeState(nameState) }],
  )
  if (last.applied) return { topicId, state, ...written, modRevision: first.revision }
  const refusal = await refusalOf(context, nameTaken(name))
  await removeTopicKeys(store, topicId, fence)
  throw refusal
}

function nameTaken(name: string): MillraceError {
  return new MillraceError('TOPIC_ALREADY_EXISTS', `the topic ${name} exists`)
}

/** Why a transaction was not applied: the fence does not hold any more, or what `otherwise` says. */
async function refusalOf(context: Fenced, otherwise: MillraceError): Promise<MillraceError> {
  const { store, fence = [] } = context
  if (fence.length === 0 || (await store.transact(fence, [])).applied) return otherwise
  return new MillraceError('NOT_CONTROLLER', 'another broker has become the controller')
}

type Fenced = Pick<ApplyContext, 'store' | 'fence'>

/**
 * Resolves once the topic is invisible. Keys that could not be removed then (no room, say) are loadTopics' to remove: to fail
 * here would leave a topic that is served until the next start and gone after it, with what was acknowledged meanwhile.
 */
export async function applyDeleteTopic(
  topic: TopicRecord,
  store: MetadataStore,
  fence: readonly StoreCondition[] = [],
): Promise<void> {
  const key = topicNameKey(topic.state.name)
  const { applied } = await store.transact([...fence, { kind: 'present', key }], [{ kind: 'delete', key }])
  if (!applied) {
    const text = `the topic ${topic.state.name} was deleted already`
    throw await refusalOf({ store, fence }, new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', text))
  }
  await removeTopicKeys(store, topic.topicId, fence).catch(() => {})
}

export async function applyAddPartitions(
  topic: TopicRecord,
  total: number,
  context: ApplyContext,
): Promise<TopicRecord> {
  const added = await writePartitions(context, topic, total)
  const changed = await putTopicState(topic, { ...topic.state, partitions: total }, context)
  return {
    ...changed,
    partitions: [...topic.partitions, ...added.partitions],
    partitionVersions: [...topic.partitionVersions, ...added.partitionVersions],
  }
}

export async function applyAlterConfig(
  topic: TopicRecord,
  config: Readonly<Record<string, string>>,
  store: MetadataStore,
  fence: readonly StoreCondition[] = [],
): Promise<TopicRecord> {
  return putTopicState(topic, { ...topic.state, config }, { store, fence })
}

/** Writes a topic's state if it is still the one that `topic` says. */
export async function putTopicState(topic: TopicRecord, state: TopicState, context: Fenced): Promise<TopicRecord> {
  const key = topicIdKey(topic.topicId)
  const { applied, revision } = await context.store.transact(
    [...(context.fence ?? []), { kind: 'revision', key, modRevision: topic.modRevision }],
    [{ kind: 'put', key, value: encodeState(state) }],
  )
  if (applied) return { ...topic, state, modRevision: revision }
  throw await refusalOf(context, changedMeanwhile(topic.state.name))
}

function changedMeanwhile(name: string): MillraceError {
  return new MillraceError('INVALID_UPDATE_VERSION', `the topic ${name} was changed meanwhile: look again`)
}

/** Alone: one replica, which leads. */
function aloneOn(replica: Replica): Assignment {
  const { nodeId, incarnation } = replica
  const state: PartitionState = {
    leader: nodeId,
    leaderEpoch: 0 as LeaderEpoch,
    leaderIncarnation: incarnation,
    replicas: [nodeId],
    inSyncReplicas: [replica],
    ...{ eligibleLeaders: [], adding: [], removing: [] },
  }
  return () => state
}

/** Keys of partitions that do not exist yet, written only while the topic is what `topic` says: else they may exist by now. */
async function writePartitions(
  context: ApplyContext,
  topic: Pick<TopicRecord, 'topicId' | 'state' | 'modRevision'>,
  to: number,
): Promise<Pick<TopicRecord, 'partitions' | 'partitionVersions'>> {
  const { assignment = aloneOn(context.replica), store, fence = [] } = context
  const { topicId, state, modRevision } = topic
  const from = state.partitions
  const partitions: PartitionState[] = []
  for (let partition = from; partition < to; partition++) partitions.push(assignment(partition))
  const puts = partitions.map((added, index): StoreOperation => {
    return { kind: 'put', key: partitionKey(topicId, from + index), value: encodeState(added) }
  })
  const conditions: StoreCondition[] = [...fence, { kind: 'revision', key: topicIdKey(topicId), modRevision }]
  const partitionVersions = await transactAll(store, puts, conditions)
  if (partitionVersions === undefined) throw await refusalOf(context, changedMeanwhile(state.name))
  return { partitions, partitionVersions }
}

/** Removes every key of a topic but its name; the topic-ids key goes last, so that a crash leaves a trace to clean. */
export async function removeTopicKeys(
  store: MetadataStore,
  topicId: TopicId,
  fence: readonly StoreCondition[] = [],
): Promise<void> {
  const { values } = await store.list(topicPartitionsPrefix(topicId))
  await transactAll(
    store,
    values.map(({ key }) => ({ kind: 'delete', key })),
    fence,
  )
  await store.transact(fence, [{ kind: 'delete', key: topicIdKey(topicId) }])
}

/**
 * Removes the keys of partitions [from, …) that the topic has lost, each only as `topic` knows it: a delete that comes late finds the
 * next partition of that number changed. Keys beyond TopicState.partitions mean nothing, so what cannot be removed now may stay.
 */
export async function removePartitionKeys(topic: TopicRecord, from: number, context: Fenced): Promise<void> {
  const { store, fence = [] } = context
  const removals = topic.partitionVersions.slice(from).map(async (modRevision, index) => {
    const key = partitionKey(topic.topicId, from + index)
    await store.transact([...fence, { kind: 'revision', key, modRevision }], [{ kind: 'delete', key }])
  })
  await Promise.all(removals).catch(() => {})
}

/**
 * In batches that every make of the store takes, at the same time: a store that syncs gathers them. Answers the revision of each
 * operation; undefined when a batch found that the conditions do not hold.
 */
async function transactAll(
  store: MetadataStore,
  operations: readonly StoreOperation[],
  conditions: readonly StoreCondition[] = [],
): Promise<number[] | undefined> {
  const batches: Promise<number[] | undefined>[] = []
  for (let from = 0; from < operations.length; from += STORE_OPERATIONS_MAX) {
    const batch = operations.slice(from, from + STORE_OPERATIONS_MAX)
    const written = store.transact(conditions, batch)
    batches.push(written.then(({ applied, revision }) => (applied ? batch.map(() => revision) : undefined)))
  }
  const revisions = await Promise.all(batches)
  return revisions.every((batch) => batch !== undefined) ? revisions.flat() : undefined
}

/** All visible topics; what crashes left of others is removed. */
export async function loadTopics(store: MetadataStore): Promise<TopicRecord[]> {
  const [names, ids, partitions] = await Promise.all([
    store.list(TOPICS_PREFIX),
    store.list(TOPIC_IDS_PREFIX),
    store.list(PARTITIONS_PREFIX),
  ])
  const visible = new Set(
    names.values.map(({ key, value }) => decodeState<TopicNameState>(key, value).topicId as string),
  )
  const partitionsOf = new Map<string, StoredValue[]>()
  for (const stored of partitions.values) {
    const [topicId = '', number = ''] = stored.key.slice(PARTITIONS_PREFIX.length).split('/')
    let states = partitionsOf.get(topicId)
    if (states === undefined) partitionsOf.set(topicId, (states = []))
    states[Number(number)] = stored
  }
  const topics: TopicRecord[] = []
  for (const { key, value, modRevision } of ids.values) {
    const topicId = key.slice(TOPIC_IDS_PREFIX.length) as TopicId
    if (!visible.has(topicId)) {
      await removeTopicKeys(store, topicId)
      continue
    }
    const state = decodeState<TopicState>(key, value)
    topics.push({ topicId, state, modRevision, ...partitionsFrom(topicId, state, partitionsOf.get(topicId) ?? []) })
  }
  return topics
}

function partitionsFrom(
  topicId: TopicId,
  state: TopicState,
  stored: readonly (StoredValue | undefined)[],
): Pick<TopicRecord, 'partitions' | 'partitionVersions'> {
  const partitions: PartitionState[] = []
  const partitionVersions: number[] = []
  for (let partition = 0; partition < state.partitions; partition++) {
    const one = stored[partition]
    if (one === undefined) throw missingPartition(topicId, partition)
    partitions.push(decodePartitionState(one.key, one.value))
    partitionVersions.push(one.modRevision)
  }
  return { partitions, partitionVersions }
}

/** A visible topic lacks a partition's key: no crash leaves that. */
export function missingPartition(topicId: TopicId, partition: number): MillraceError {
  const text = `metadata: partition ${partition} of ${topicIdKey(topicId)} is missing`
  return new MillraceError('KAFKA_STORAGE_ERROR', text)
}
