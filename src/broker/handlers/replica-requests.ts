/**
 * What Kafka's clients ask about leaders and replicas, partition by partition: elections and reassignments, each with an outcome of its own.
 * The native requests (45, 46) have an outcome of the whole; the controller decides for both.
 *
 * Thread   main
 * Failure  of a partition: its row's code. Rejects with MillraceError where no controller decided
 */
import { isMoving } from '../../coordination/controller/reassignment.ts'
import { NO_LEADER, type PartitionState } from '../../coordination/keys.ts'
import { type ErrorCode, isMillraceError } from '../../model/errors.ts'
import type { AlterReplicasReply, AlterReplicasRequest, PartitionByName, ReplicaWish } from '../../protocol/index.ts'
import type { ClusterAgent } from '../cluster/cluster-agent.ts'
import type { HandlerContext } from './handler-context.ts'
import { askController, isLedAsPreferred } from './moves.ts'

export type ReplicaRequestContext = Pick<HandlerContext, 'router' | 'cluster'>

/** preferred: by the first of its replicas. unclean: a partition without a leader, by any replica that lives, though records may be lost. */
export type ElectionKind = 'preferred' | 'unclean'

export interface PartitionOutcome extends PartitionByName {
  /** NONE: it is done, and this broker knows. */
  readonly code: ErrorCode
  readonly text: string
}

/**
 * ELECTION_NOT_NEEDED, PREFERRED_LEADER_NOT_AVAILABLE, ELIGIBLE_LEADERS_NOT_AVAILABLE, UNKNOWN_TOPIC_OR_PARTITION; null = all partitions, of
 * which those that need no election have no row.
 */
export async function electLeaders(
  gateway: ReplicaRequestContext,
  partitions: readonly PartitionByName[] | null,
  kind: ElectionKind,
): Promise<PartitionOutcome[]> {
  const asked = partitions ?? everyPartition(gateway)
  const codes = asked.map((one) => codeBefore(gateway, one, kind))
  const meant = asked.filter((_, index) => codes[index] === undefined)
  const request = { kind: kind === 'preferred' ? 'elect-preferred' : 'elect-unclean', partitions: meant } as const
  const changed = meant.length === 0 ? [] : (await ask(gateway.cluster!, gateway, request)).changed
  const isDone = new Set(changed.map(keyOf))
  const missing = kind === 'preferred' ? 'PREFERRED_LEADER_NOT_AVAILABLE' : 'ELIGIBLE_LEADERS_NOT_AVAILABLE'
  const rows = asked.map((one, index) => outcomeOf(one, codes[index] ?? (isDone.has(keyOf(one)) ? 'NONE' : missing)))
  return partitions === null ? rows.filter(({ code }) => code !== 'ELECTION_NOT_NEEDED') : rows
}

/** Why the controller need not be asked; undefined = it must be. Alone, this broker leads all there is. */
function codeBefore(gateway: ReplicaRequestContext, one: PartitionByName, kind: ElectionKind): ErrorCode | undefined {
  const state = stateOf(gateway, one)
  if (state === undefined) return 'UNKNOWN_TOPIC_OR_PARTITION'
  const isNeeded = kind === 'preferred' ? !isLedAsPreferred(state) : state.leader === NO_LEADER
  return isNeeded && gateway.cluster !== undefined ? undefined : 'ELECTION_NOT_NEEDED'
}

export interface ReassignmentRequest extends PartitionByName {
  /** Node ids, the preferred leader first; null = a move that goes on is taken back. */
  readonly replicas: readonly number[] | null
}

/**
 * Moves begun, and moves taken back. INVALID_REPLICA_ASSIGNMENT, NO_REASSIGNMENT_IN_PROGRESS, UNKNOWN_TOPIC_OR_PARTITION,
 * REASSIGNMENT_IN_PROGRESS (the leader is one that would go at once), INVALID_UPDATE_VERSION: changed meanwhile, ask again.
 */
export async function reassignPartitions(
  gateway: ReplicaRequestContext,
  requests: readonly ReassignmentRequest[],
): Promise<PartitionOutcome[]> {
  const outcomes = requests.map((one) => outcomeBefore(gateway, one))
  const meant = (index: number): boolean => outcomes[index] === undefined
  const wishes = requests.flatMap(({ topic, partition, replicas }, index): ReplicaWish[] =>
    replicas !== null && meant(index) ? [{ topic, partition, replicas }] : [],
  )
  // All at once: a topic whose partitions all get another number of replicas has that number from then on.
  const isBegun = wishes.length > 0 && (await begin(gateway, wishes)) === undefined
  const rows: PartitionOutcome[] = []
  for (const [index, one] of requests.entries()) {
    const { topic, partition, replicas } = one
    if (meant(index) && replicas === null) outcomes[index] = await takeBack(gateway, one)
    // One of them cannot be: which, they are asked one by one. Those that have begun by now begin no other move.
    else if (meant(index) && !isBegun)
      outcomes[index] = await begin(gateway, [{ topic, partition, replicas: replicas! }])
    rows.push(outcomeOf(one, ...(outcomes[index] ?? DONE)))
  }
  return rows
}

type Outcome = readonly [ErrorCode, string]

const DONE: Outcome = ['NONE', '']

/** Why the controller need not be asked; undefined = it must be. */
function outcomeBefore(gateway: ReplicaRequestContext, one: ReassignmentRequest): Outcome | undefined {
  const state = stateOf(gateway, one)
  const { replicas } = one
  if (state === undefined) return ['UNKNOWN_TOPIC_OR_PARTITION', '']
  if (replicas === null && !isMoving(state)) return ['NO_REASSIGNMENT_IN_PROGRESS', '']
  if (gateway.cluster !== undefined) return undefined
  if (replicas?.join() === state.replicas.join()) return DONE
  return ['INVALID_REPLICA_ASSIGNMENT', 'this broker is alone: there is no other that could have a replica']
}

/** Undefined = all have begun. */
async function begin(gateway: ReplicaRequestContext, wishes: readonly ReplicaWish[]): Promise<Outcome | undefined> {
  try {
    await ask(gateway.cluster!, gateway, { kind: 'reassign', wishes })
    return undefined
  } catch (error) {
    return faultOf(error)
  }
}

async function takeBack(
  gateway: ReplicaRequestContext,
  { topic, partition }: PartitionByName,
): Promise<Outcome | undefined> {
  try {
    const { left } = await ask(gateway.cluster!, gateway, { kind: 'cancel', partitions: [{ topic, partition }] })
    return left.length === 0 ? undefined : ['INVALID_UPDATE_VERSION', left[0]!.reason]
  } catch (error) {
    return faultOf(error)
  }
}

function faultOf(error: unknown): Outcome {
  if (!isMillraceError(error)) throw error
  return [error.code, error.message]
}

function ask(
  cluster: ClusterAgent,
  gateway: ReplicaRequestContext,
  request: Pick<AlterReplicasRequest, 'kind'> & Partial<AlterReplicasRequest>,
): Promise<AlterReplicasReply> {
  return askController(gateway, cluster, { nodeId: -1, wishes: [], partitions: null, dryRun: false, ...request })
}

function everyPartition({ router }: ReplicaRequestContext): PartitionByName[] {
  return [...router.topics()].flatMap(({ record, partitions }) =>
    partitions.map(({ partition }) => ({ topic: record.state.name, partition })),
  )
}

function stateOf({ router }: ReplicaRequestContext, { topic, partition }: PartitionByName): PartitionState | undefined {
  return router.byName(topic)?.record.partitions[partition]
}

function keyOf({ topic, partition }: PartitionByName): string {
  return `${partition} ${topic}`
}

function outcomeOf({ topic, partition }: PartitionByName, code: ErrorCode, text = ''): PartitionOutcome {
  return { topic, partition, code, text }
}
