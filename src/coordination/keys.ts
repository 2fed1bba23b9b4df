/**
 * Keys: where everything lies in a MetadataStore, for all makes, from the first release on. Values are JSON, UTF-8.
 *
 * | key                                     | value            | written |
 * | --------------------------------------- | ---------------- | ------- |
 * | /millrace/v1/cluster                    | ClusterState     | once |
 * | /millrace/v1/secret                     | SecretState      | once, where none is configured: what brokers know each other by |
 * | /millrace/v1/nodes/<node id>            | NodeState        | at each start: the incarnation; when it is decommissioned |
 * | /millrace/v1/brokers/<node id>          | BrokerState      | under the broker's lease: there as long as it lives; again when it begins to stop |
 * | /millrace/v1/controller                 | ControllerState  | under the lease of the broker that controls; every write of the controller asks for its revision |
 * | /millrace/v1/controller-epoch           | ControllerEpochState | with each controller, one more |
 * | /millrace/v1/topic-ids/<topic id>       | TopicState       | first of a topic at create, last at delete |
 * | /millrace/v1/partitions/<topic id>/<n>  | PartitionState   | at create; at each change of leader, replicas or ISR |
 * | /millrace/v1/topics/<name>              | TopicNameState   | last of a topic at create: now it is visible; first at delete |
 * | /millrace/v1/producer-ids               | ProducerIdState  | per block of PRODUCER_ID_BLOCK |
 * | /millrace/v1/users/<name>               | UserState        | when a user's credentials change; the name is all that follows, slashes too |
 * | /millrace/v1/sasl-secret                | SecretState      | once, when users are first asked for: what SASL makes up credentials of unknown users from |
 * | /millrace/v1/requests/<client id>/<lane> | a request's id, text | on etcd, with every transaction of a client, under a lease of an hour: what a lost reply is read back by (etcd-transactions.ts); this make shows it to nobody |
 *
 * Partition numbers have five digits, so that keys sort as numbers. A topic-ids key without its topics key is half a
 * topic: left by a crash in create or delete, removed at the next start.
 */
import { assert } from '../base/assert.ts'
import { utf8DecodeStrict, utf8Encode } from '../base/bytes.ts'
import { MillraceError } from '../model/errors.ts'
import type { Incarnation, LeaderEpoch, TopicId } from '../model/ids.ts'
import { TOPIC_PARTITIONS_MAX } from '../model/limits.ts'
import type { ScramMechanism } from '../model/users.ts'

export const KEY_LAYOUT_VERSION = 1
/** Everything lies below it: what a broker watches. */
export const ROOT_PREFIX = `/millrace/v${KEY_LAYOUT_VERSION}/`
const PARTITION_DIGITS = 5
assert(TOPIC_PARTITIONS_MAX <= 10 ** PARTITION_DIGITS, 'partition numbers outgrow their key: bump KEY_LAYOUT_VERSION')

export const CLUSTER_KEY = `${ROOT_PREFIX}cluster`
export const SECRET_KEY = `${ROOT_PREFIX}secret`
export const CONTROLLER_KEY = `${ROOT_PREFIX}controller`
export const CONTROLLER_EPOCH_KEY = `${ROOT_PREFIX}controller-epoch`
export const BROKERS_PREFIX = `${ROOT_PREFIX}brokers/`
export const PRODUCER_IDS_KEY = `${ROOT_PREFIX}producer-ids`
export const NODES_PREFIX = `${ROOT_PREFIX}nodes/`
export const TOPICS_PREFIX = `${ROOT_PREFIX}topics/`
export const TOPIC_IDS_PREFIX = `${ROOT_PREFIX}topic-ids/`
export const PARTITIONS_PREFIX = `${ROOT_PREFIX}partitions/`
export const USERS_PREFIX = `${ROOT_PREFIX}users/`
export const SASL_SECRET_KEY = `${ROOT_PREFIX}sasl-secret`

export const nodeKey = (nodeId: number): string => `${NODES_PREFIX}${nodeId}`
export const brokerKey = (nodeId: number): string => `${BROKERS_PREFIX}${nodeId}`
export const topicNameKey = (name: string): string => `${TOPICS_PREFIX}${name}`
export const userKey = (name: string): string => `${USERS_PREFIX}${name}`
export const topicIdKey = (topicId: TopicId): string => `${TOPIC_IDS_PREFIX}${topicId}`
export const topicPartitionsPrefix = (topicId: TopicId): string => `${PARTITIONS_PREFIX}${topicId}/`
export const partitionKey = (topicId: TopicId, partition: number): string =>
  `${topicPartitionsPrefix(topicId)}${String(partition).padStart(PARTITION_DIGITS, '0')}`

export interface ClusterState {
  readonly clusterId: string
}

export interface NodeState {
  readonly incarnation: Incarnation
  /** Of the data dir that the node's replicas lie in: another one has none of them. Left out by one node alone. */
  readonly directoryId?: string
  /** The first incarnation that had this data dir and every one after it too: what an earlier one held is not in it. */
  readonly directorySince?: Incarnation
  /** The first incarnation from which on every run ended in order (the running one's end is not known): nothing written since was lost. */
  readonly cleanSince?: Incarnation
  /** Its replicas are to go to others, and nothing new comes to it. */
  readonly isDecommissioned?: boolean
}

/** What brokers of a cluster show each other instead of a client's token. */
export interface SecretState {
  readonly secret: string
}

/** A user as SCRAM knows one: what was derived from the password, by mechanism. Bytes are base64. */
export interface UserState {
  readonly credentials: Readonly<Partial<Record<ScramMechanism, CredentialState>>>
}

export interface CredentialState {
  readonly salt: string
  readonly iterations: number
  readonly storedKey: string
  readonly serverKey: string
}

export interface PartitionName {
  readonly topicId: TopicId
  readonly partition: number
}

/** A broker that lives: it serves, or is about to stop. */
export interface BrokerState {
  readonly incarnation: Incarnation
  /** Where clients and brokers reach it. */
  readonly url: string
  /** HOST:PORT where Kafka clients reach it; left out: they do not. */
  readonly kafka?: string
  readonly rack: string | null
  readonly version: string
  readonly directoryId: string
  /** Its last run ended in order: its logs hold all that it has acknowledged, whatever fsync their topics ask for. */
  readonly isClean: boolean
  /**
   * Replicas that it found damaged or gone at its start: they are not in sync, whatever the partition's state says of an earlier
   * incarnation. A replica is told at every start until it has been in sync again.
   */
  readonly damaged: readonly PartitionName[]
  /** Replicas that failed while it runs: they neither lead nor are in sync, under this incarnation too, until it takes them off the list. */
  readonly failed?: readonly PartitionName[]
  /** What it leads without being able to acknowledge: those who would have to are there and it does not hear them. */
  readonly resigned?: readonly ResignedLead[]
  /** Its disk is nearly full: as a leader it takes nothing. */
  readonly isDiskLow?: boolean
  /** It wants to stop: its leaderships are to go to others first. */
  readonly isStopping: boolean
  /** Of its lease: whoever has proof that it is gone may revoke it. */
  readonly leaseId: string
}

/** Under another epoch of the partition it counts for nothing. */
export interface ResignedLead extends PartitionName {
  readonly leaderEpoch: LeaderEpoch
}

export interface ControllerState extends Replica {
  readonly controllerEpoch: number
}

export interface ControllerEpochState {
  readonly controllerEpoch: number
}

export interface TopicNameState {
  readonly topicId: TopicId
}

export interface TopicState {
  readonly name: string
  /** Partitions from this number on do not exist, whatever keys there are. */
  readonly partitions: number
  readonly replicas: number
  /** From this partition on they take no new records and go when retention has emptied them; left out: none. */
  readonly drainFrom?: number
  /** What the topic sets itself, dotted keys. */
  readonly config: Readonly<Record<string, string>>
  readonly createdMs: number
}

export interface Replica {
  readonly nodeId: number
  readonly incarnation: Incarnation
}

/**
 * Who leads, as of the last change. Alone (embedded store) the epoch in force is not stored at each start: it is
 * leaderEpoch + (incarnation of the leader now − leaderIncarnation), see leaderEpochOf. In a cluster it is leaderEpoch, and only that
 * incarnation leads.
 */
export interface PartitionState {
  /** NO_LEADER: none now. */
  readonly leader: number
  readonly leaderEpoch: LeaderEpoch
  readonly leaderIncarnation: Incarnation
  /** Node ids, the preferred leader first. */
  readonly replicas: readonly number[]
  /** Never empty: with no leader, who may become one. */
  readonly inSyncReplicas: readonly Replica[]
  /** Left the in-sync set while it was smaller than min.insync.replicas: they hold all below the high watermark (KIP-966). */
  readonly eligibleLeaders: readonly Replica[]
  /** Of `replicas`: those that a move brings; it is done when they are in sync. */
  readonly adding: readonly number[]
  /** Of `replicas`: those that go when all of `adding` are in sync. */
  readonly removing: readonly number[]
}

export const NO_LEADER = -1

export interface ProducerIdState {
  /** The first id that no block has taken. */
  readonly next: number
}

/**
 * The leader epoch in force. Leadership is never resumed under an earlier incarnation's epoch: a start of the leader is a
 * new incarnation, which by this rule is a new epoch of every partition it leads, with one key written in all (10,000
 * partitions need no 10,000 writes). Whoever writes a new leader stores the epoch in force + 1 under the new leader's incarnation,
 * so epochs only grow.
 */
export function leaderEpochOf(state: PartitionState, incarnation: Incarnation): LeaderEpoch {
  assert(
    incarnation >= state.leaderIncarnation,
    `incarnation ${incarnation} is older than the partition's leader's, ${state.leaderIncarnation}`,
  )
  return (state.leaderEpoch + (incarnation - state.leaderIncarnation)) as LeaderEpoch
}

export function encodeState(state: object): Uint8Array {
  return utf8Encode(JSON.stringify(state))
}

/** Reads a value that encodeState wrote; throws MillraceError naming the key where it is something else. */
export function decodeState<T extends object>(key: string, value: Uint8Array): T {
  const text = utf8DecodeStrict(value)
  try {
    const state: unknown = JSON.parse(text ?? '')
    if (typeof state === 'object' && state !== null) return state as T
  } catch {
    // The text below says it.
  }
  throw new MillraceError('UNKNOWN_SERVER_ERROR', `metadata: the value of ${key} is not readable`)
}

/** A partition's state; what earlier releases left out has the meaning it had then: its leader is the only replica. */
export function decodePartitionState(key: string, value: Uint8Array): PartitionState {
  const state = decodeState<Partial<PartitionState> & Pick<PartitionState, 'leader' | 'inSyncReplicas'>>(key, value)
  const none = { replicas: [state.leader], eligibleLeaders: [], adding: [], removing: [] }
  const whole = { ...none, ...state } as PartitionState
  const { leader, leaderEpoch, leaderIncarnation, replicas, inSyncReplicas, eligibleLeaders, adding, removing } = whole
  const areNumbers = [
    leader,
    leaderEpoch,
    leaderIncarnation,
    ...listOf(replicas),
    ...listOf(adding),
    ...listOf(removing),
  ]
  const members = [...listOf(inSyncReplicas), ...listOf(eligibleLeaders)] as (Replica | null)[]
  const numbers = [...areNumbers, ...members.flatMap((one) => [one?.nodeId, one?.incarnation])]
  if (numbers.every((one) => Number.isSafeInteger(one))) return whole
  throw new MillraceError(
    'UNKNOWN_SERVER_ERROR',
    `metadata: the value of ${key} is not readable: it is no partition's state`,
  )
}

/** A list, or something that fails where a list's items must be numbers. */
function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [undefined]
}
