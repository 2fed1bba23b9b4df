/**
 * The one authorisation hook: every request of every door (native, HTTP) passes here before its handler runs.
 *
 * The table below says which operation on which kind of resource a request is. Without configured tokens everybody is
 * `anonymous` and may do everything (the listener is on loopback then, or the owner said --insecure); with tokens, a
 * connection without a valid one does not get as far as a request. Rules per principal will come into `authorise` alone.
 */

import { KafkaKey } from '../kafka/keys.ts'
import type { ErrorCode } from '../model/errors.ts'
import { Api } from '../protocol/index.ts'

export interface Principal {
  readonly name: string
  /** It showed the cluster's secret. */
  readonly isBroker?: boolean
}

export const ANONYMOUS: Principal = { name: 'anonymous' }
export const TOKEN_HOLDER: Principal = { name: 'token' }
export const BROKER: Principal = { name: 'broker', isBroker: true }

/** A user that has authenticated; no user's name makes it one of those above. */
export function userPrincipal(name: string): Principal {
  return { name: `User:${name}` }
}

export type Operation = 'read' | 'write' | 'describe' | 'create' | 'delete' | 'alter' | 'replicate'

export type Resource =
  | { readonly kind: 'cluster' }
  | { readonly kind: 'topic'; readonly name: string }
  | { readonly kind: 'topic-id'; readonly topicId: string }
  | { readonly kind: 'group'; readonly groupId: string }
  | { readonly kind: 'transactional-id'; readonly transactionalId: string }

export const CLUSTER: Resource = { kind: 'cluster' }

/** operation × resource, by request */
export const OPERATIONS: Readonly<
  Record<number, { readonly operation: Operation; readonly resource: Resource['kind'] }>
> = {
  [Api.PRODUCE]: { operation: 'write', resource: 'topic-id' },
  [Api.FETCH]: { operation: 'read', resource: 'topic-id' },
  [Api.LIST_OFFSETS]: { operation: 'describe', resource: 'topic-id' },
  [Api.METADATA]: { operation: 'describe', resource: 'topic' },
  [Api.CREATE_TOPIC]: { operation: 'create', resource: 'topic' },
  [Api.DELETE_TOPIC]: { operation: 'delete', resource: 'topic' },
  [Api.TRIM]: { operation: 'delete', resource: 'topic-id' },
  [Api.INIT_PRODUCER_ID]: { operation: 'write', resource: 'cluster' },
  [Api.ADD_PARTITIONS_TO_TXN]: { operation: 'write', resource: 'transactional-id' },
  [Api.END_TXN]: { operation: 'write', resource: 'transactional-id' },
  [Api.TXN_OFFSET_COMMIT]: { operation: 'read', resource: 'group' },
  [Api.ADD_PARTITIONS]: { operation: 'alter', resource: 'topic' },
  [Api.ALTER_TOPIC_CONFIG]: { operation: 'alter', resource: 'topic' },
  [Api.ALTER_REPLICAS]: { operation: 'alter', resource: 'cluster' },
  [Api.LIST_MOVES]: { operation: 'describe', resource: 'cluster' },
  [Api.OFFSET_COMMIT]: { operation: 'read', resource: 'group' },
  [Api.OFFSET_FETCH]: { operation: 'describe', resource: 'group' },
  // Of a transactional id: describe on that; the handler names which.
  [Api.FIND_COORDINATOR]: { operation: 'describe', resource: 'group' },
  // Of Kafka's listener alone.
  [Api.JOIN_GROUP]: { operation: 'read', resource: 'group' },
  [Api.SYNC_GROUP]: { operation: 'read', resource: 'group' },
  [Api.CLASSIC_HEARTBEAT]: { operation: 'read', resource: 'group' },
  [Api.LEAVE_GROUP]: { operation: 'read', resource: 'group' },
  [Api.DESCRIBE_CLASSIC_GROUPS]: { operation: 'describe', resource: 'group' },
  [Api.LIST_GROUPS]: { operation: 'describe', resource: 'cluster' },
  [Api.DELETE_GROUPS]: { operation: 'delete', resource: 'group' },
  [Api.OFFSET_DELETE]: { operation: 'delete', resource: 'group' },
  [Api.GROUP_HEARTBEAT]: { operation: 'read', resource: 'group' },
  [Api.GROUP_DESCRIBE]: { operation: 'describe', resource: 'group' },
  [Api.SESSION_EXTEND]: { operation: 'read', resource: 'group' },
  [Api.DESCRIBE_USERS]: { operation: 'describe', resource: 'cluster' },
  [Api.ALTER_USERS]: { operation: 'alter', resource: 'cluster' },
  [Api.DESCRIBE_CLUSTER]: { operation: 'describe', resource: 'cluster' },
  [Api.WRITE_TXN_MARKERS]: { operation: 'replicate', resource: 'cluster' },
  [Api.REPLICA_PROGRESS]: { operation: 'replicate', resource: 'cluster' },
  [Api.REPLICA_FETCH]: { operation: 'replicate', resource: 'cluster' },
  [Api.REGISTER_PRODUCERS]: { operation: 'replicate', resource: 'cluster' },
  [Api.SUSPECT_BROKER]: { operation: 'replicate', resource: 'cluster' },
  [Api.PROBE_BROKER]: { operation: 'replicate', resource: 'cluster' },
  [Api.PARTITION_EMPTIED]: { operation: 'replicate', resource: 'cluster' },
  // Kafka's alone; the others of its keys are those of the native requests.
  [KafkaKey.OFFSET_FOR_LEADER_EPOCH]: { operation: 'describe', resource: 'topic' },
  [KafkaKey.ADD_OFFSETS_TO_TXN]: { operation: 'write', resource: 'transactional-id' },
  [KafkaKey.DESCRIBE_ACLS]: { operation: 'describe', resource: 'cluster' },
  [KafkaKey.CREATE_ACLS]: { operation: 'alter', resource: 'cluster' },
  [KafkaKey.DELETE_ACLS]: { operation: 'alter', resource: 'cluster' },
  [KafkaKey.DESCRIBE_CONFIGS]: { operation: 'describe', resource: 'topic' },
  [KafkaKey.ALTER_CONFIGS]: { operation: 'alter', resource: 'topic' },
  [KafkaKey.DESCRIBE_LOG_DIRS]: { operation: 'describe', resource: 'cluster' },
  [KafkaKey.ELECT_LEADERS]: { operation: 'alter', resource: 'cluster' },
  [KafkaKey.DESCRIBE_CLIENT_QUOTAS]: { operation: 'describe', resource: 'cluster' },
  [KafkaKey.ALTER_CLIENT_QUOTAS]: { operation: 'alter', resource: 'cluster' },
  [KafkaKey.DESCRIBE_PRODUCERS]: { operation: 'read', resource: 'topic' },
  [KafkaKey.DESCRIBE_TRANSACTIONS]: { operation: 'describe', resource: 'transactional-id' },
  [KafkaKey.LIST_TRANSACTIONS]: { operation: 'describe', resource: 'transactional-id' },
  [KafkaKey.DESCRIBE_TOPIC_PARTITIONS]: { operation: 'describe', resource: 'topic' },
}

/** Whether `principal` may do `operation` on `resource`. Nobody may without being somebody; what brokers do among themselves only they may. */
export function authorise(principal: Principal | undefined, operation: Operation, _resource: Resource): boolean {
  if (principal === undefined) return false
  return operation !== 'replicate' || principal.isBroker === true
}

/** What a caller is told who may not use `resource`. */
export function refusalOf(resource: Resource): ErrorCode {
  if (resource.kind === 'transactional-id') return 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED'
  if (resource.kind === 'cluster') return 'CLUSTER_AUTHORIZATION_FAILED'
  return resource.kind === 'group' ? 'GROUP_AUTHORIZATION_FAILED' : 'TOPIC_AUTHORIZATION_FAILED'
}
