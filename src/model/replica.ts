/** Who is meant by a replica: one start of one broker. Whoever comes again under another incarnation may have lost what it had. */
export interface ReplicaIdentity {
  readonly nodeId: number
  readonly incarnation: number
}

export function isSameReplica(left: ReplicaIdentity, right: ReplicaIdentity): boolean {
  return left.nodeId === right.nodeId && left.incarnation === right.incarnation
}

export function hasReplica(set: readonly ReplicaIdentity[], replica: ReplicaIdentity): boolean {
  return set.some((member) => isSameReplica(member, replica))
}

/** True when both have the same members, in any order. */
export function isSameSet(left: readonly ReplicaIdentity[], right: readonly ReplicaIdentity[]): boolean {
  return left.length === right.length && left.every((member) => hasReplica(right, member))
}

/** What a replica is in its partition, by the state in the metadata store. */
export interface ReplicaRole {
  readonly role: 'leader' | 'follower'
  readonly leaderEpoch: number
  /** Of this broker. */
  readonly nodeId: number
  readonly incarnation: number
  /** Node ids of all replicas, this one included. */
  readonly replicas: readonly number[]
  /** How many of those a move is only bringing; left out = none. */
  readonly addingCount?: number
  /** As the store has it. */
  readonly inSync: readonly ReplicaIdentity[]
  /**
   * A set whose compare-and-set is under way: it counts for the high watermark beside the stored one. It is told, and the answer awaited,
   * before the compare-and-set is sent.
   */
  readonly pending: readonly ReplicaIdentity[] | null
  /** The revision of the state in the store; it only grows. */
  readonly version: number
}
