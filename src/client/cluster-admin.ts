/**
 * ClusterAdmin: where replicas lie and who leads, shown and changed. Any broker takes these calls; the controller decides. A broker alone
 * refuses what changes something with INVALID_REQUEST.
 *
 * Failure  what a call changes is not asked for again once it has left without an answer (NETWORK_EXCEPTION, REQUEST_TIMED_OUT): look at moves() first
 */
import { MillraceError } from '../model/errors.ts'
import {
  type AlterReplicasReply,
  type AlterReplicasRequest,
  alterReplicas,
  type LeftPartition,
  listMoves,
  type PartitionByName,
  type PartitionMove,
  type PlannedMove,
} from '../protocol/index.ts'
import { checkedInteger } from './client-options.ts'
import type { Requests } from './requests.ts'

/** What is going to move, and what should and cannot. */
export interface MovePlan {
  readonly moves: readonly PlannedMove[]
  readonly left: readonly LeftPartition[]
}

/** Partitions that a call changed, and those that it left as they are, with the reason. */
export interface ChangedPartitions {
  readonly changed: readonly PartitionByName[]
  readonly left: readonly LeftPartition[]
}

/** Where a partition's replicas should be, the preferred leader first. A move of a plan is a wish too. */
export type ReassignmentWish = PartitionByName &
  ({ readonly replicas: readonly number[] } | { readonly to: readonly number[] })

export interface ClusterCallOptions {
  readonly signal?: AbortSignal
}

export interface MoveOptions extends ClusterCallOptions {
  /** Only show the plan. */
  readonly dryRun?: boolean
}

const NODE_ID_MAX = Number.MAX_SAFE_INTEGER
const PARTITION_MAX = 2 ** 31 - 1

export class ClusterAdmin {
  readonly #requests: Requests

  constructor(requests: Requests) {
    this.#requests = requests
  }

  /** The partitions that are being moved now. */
  async moves(options: ClusterCallOptions = {}): Promise<readonly PartitionMove[]> {
    return (await this.#requests.ask(listMoves, {}, options)).moves
  }

  /** Moves partitions to the replicas that are wished for; resolves when the moves have begun. All begin, or none. */
  async reassign(wishes: readonly ReassignmentWish[], options: MoveOptions = {}): Promise<MovePlan> {
    return this.#alter({ kind: 'reassign', wishes: wishes.map(checkedWish) }, options)
  }

  /** As few moves as make the replicas and leaders of the cluster even; resolves when they have begun. */
  async rebalance(options: MoveOptions = {}): Promise<MovePlan> {
    return this.#alter({ kind: 'rebalance' }, options)
  }

  /** The broker gets nothing new, and its replicas move to others, some at a time. Answers all that has to move. */
  async decommission(nodeId: number, options: MoveOptions = {}): Promise<MovePlan> {
    return this.#alter({ kind: 'decommission', nodeId: checkedInteger('nodeId', nodeId, 0, NODE_ID_MAX) }, options)
  }

  /** The broker takes replicas again. Those that left do not come back by themselves: see rebalance(). */
  async recommission(nodeId: number, options: ClusterCallOptions = {}): Promise<void> {
    await this.#alter({ kind: 'recommission', nodeId: checkedInteger('nodeId', nodeId, 0, NODE_ID_MAX) }, options)
  }

  /** Takes moves back, those of `partitions` or all: replicas stay where they were. */
  async cancelMoves(
    partitions?: readonly PartitionByName[],
    options: ClusterCallOptions = {},
  ): Promise<ChangedPartitions> {
    return this.#alter({ kind: 'cancel', partitions: partitions?.map(checkedPartition) ?? null }, options)
  }

  /** Gives leadership back to the preferred replicas, of `partitions` or of all. */
  async electPreferred(
    partitions?: readonly PartitionByName[],
    options: ClusterCallOptions = {},
  ): Promise<ChangedPartitions> {
    return this.#alter({ kind: 'elect-preferred', partitions: partitions?.map(checkedPartition) ?? null }, options)
  }

  #alter(
    request: Pick<AlterReplicasRequest, 'kind'> & Partial<AlterReplicasRequest>,
    { dryRun = false, signal }: MoveOptions,
  ): Promise<AlterReplicasReply> {
    const whole = { nodeId: -1, wishes: [], partitions: null, dryRun, ...request }
    return this.#requests.ask(alterReplicas, whole, { changes: !dryRun, signal })
  }
}

function checkedPartition({ topic, partition }: PartitionByName): PartitionByName {
  if (typeof topic !== 'string') throw new MillraceError('INVALID_ARGUMENT', 'topic: expected the name of a topic')
  return { topic, partition: checkedInteger('partition', partition, 0, PARTITION_MAX) }
}

function checkedWish(wish: ReassignmentWish): AlterReplicasRequest['wishes'][number] {
  const replicas = 'to' in wish ? wish.to : wish.replicas
  if (!Array.isArray(replicas)) throw new MillraceError('INVALID_ARGUMENT', 'replicas: expected a list of node ids')
  for (const nodeId of replicas) checkedInteger('replicas', nodeId, 0, NODE_ID_MAX)
  return { ...checkedPartition(wish), replicas }
}
