/**
 * Where replicas lie and who leads: alter-replicas (45), list-moves (46), partition-emptied (1008). Thin: the controller decides, wherever
 * it is. Versions: 1.
 *
 * Ordering  alter-replicas: decided -> in this broker's image -> the reply: who asks this broker for its moves next finds them
 */
import type { Controller } from '../../coordination/controller/controller.ts'
import { isMoving, targetOf } from '../../coordination/controller/reassignment.ts'
import { NO_LEADER, type PartitionState } from '../../coordination/keys.ts'
import { MillraceError } from '../../model/errors.ts'
import {
  type AlterReplicasReply,
  type AlterReplicasRequest,
  alterReplicas,
  type ListMovesReply,
  type ListMovesRequest,
  listMoves,
  type PartitionByName,
  type PartitionEmptiedReply,
  type PartitionEmptiedRequest,
  type PartitionMove,
  partitionEmptied,
} from '../../protocol/index.ts'
import { CLUSTER } from '../authorise.ts'
import type { ClusterAgent } from '../cluster/cluster-agent.ts'
import type { PartitionRouter } from '../partition-router.ts'
import { adminOf } from './admin.ts'
import type { ColdHandler } from './handler.ts'
import type { HandlerContext } from './handler-context.ts'

const ofCluster = () => [CLUSTER] as const

/** alter-replicas (45). */
const alterReplicasHandler: ColdHandler<AlterReplicasRequest, AlterReplicasReply> = {
  kind: 'cold',
  codec: alterReplicas,
  resources: ofCluster,
  async answer(gateway, request, { principal }) {
    const { cluster } = gateway
    if (cluster === undefined)
      throw new MillraceError(
        'INVALID_REQUEST',
        'this broker is alone: it leads every partition, and there is no other broker that could have one',
      )
    // What another broker sends on is for the controller, which this one is or is not.
    return principal?.isBroker === true
      ? decideHere(cluster.controller, request)
      : askController(gateway, cluster, request)
  },
}

/** The controller's answer, once this broker knows what came of it. */
export async function askController(
  gateway: Pick<HandlerContext, 'router'>,
  cluster: ClusterAgent,
  request: AlterReplicasRequest,
): Promise<AlterReplicasReply> {
  const reply = await cluster.calls.decide(() => decideHere(cluster.controller, request), alterReplicas, request)
  if (!request.dryRun) await cluster.calls.until(() => isSeen(gateway, cluster, request, reply))
  return reply
}

async function decideHere(controller: Controller, request: AlterReplicasRequest): Promise<AlterReplicasReply> {
  const { kind, nodeId, wishes, partitions, dryRun } = request
  const none: AlterReplicasReply = { moves: [], changed: [], left: [] }
  switch (kind) {
    case 'reassign':
      return planned(await controller.reassign(wishes, dryRun))
    case 'rebalance':
      return planned(await controller.rebalance(dryRun))
    case 'decommission':
      return planned(await controller.decommission(nodeId, dryRun))
    case 'recommission':
      await controller.recommission(nodeId)
      return none
    case 'cancel': {
      const { changed, left } = await controller.cancelReassignment(partitions)
      return { ...none, changed, left: withReason(left, 'it does not move, or cannot go back now') }
    }
    case 'elect-preferred': {
      const { changed, left } = await controller.electPreferred(partitions)
      const reason = 'it is led by its preferred replica already, or that one is not in sync'
      // Of all partitions most are as they should be: nothing was asked of them.
      return { ...none, changed, left: partitions === null ? [] : withReason(left, reason) }
    }
    case 'elect-unclean': {
      const { changed, left } = await controller.electUnclean(partitions)
      return { ...none, changed, left: withReason(left, 'it has a leader, or no replica of it lives') }
    }
  }
}

function planned({ moves, stuck }: Awaited<ReturnType<Controller['reassign']>>): AlterReplicasReply {
  return { moves, changed: [], left: stuck }
}

function withReason(left: readonly PartitionByName[], reason: string): AlterReplicasReply['left'] {
  return left.map(({ topic, partition }) => ({ topic, partition, reason }))
}

/** Whether this broker knows what the controller has written. */
function isSeen(
  { router }: Pick<HandlerContext, 'router'>,
  cluster: ClusterAgent,
  { kind, nodeId }: AlterReplicasRequest,
  { moves, changed }: AlterReplicasReply,
): boolean {
  if (kind === 'decommission' || kind === 'recommission')
    return (cluster.image.nodes.get(nodeId)?.state.isDecommissioned === true) === (kind === 'decommission')
  const stateOf = ({ topic, partition }: PartitionByName) => router.byName(topic)?.record.partitions[partition]
  if (kind === 'cancel')
    return changed.every((one) => {
      const state = stateOf(one)
      return state === undefined || !isMoving(state)
    })
  if (kind === 'elect-preferred' || kind === 'elect-unclean')
    return changed.every((one) => {
      const state = stateOf(one)
      return state === undefined || (kind === 'elect-unclean' ? state.leader !== NO_LEADER : isLedAsPreferred(state))
    })
  return moves.every((move) => {
    const state = stateOf(move)
    return state === undefined || targetOf(state).join() === move.to.join()
  })
}

export function isLedAsPreferred({ leader, replicas }: PartitionState): boolean {
  return leader === replicas[0]
}

/** list-moves (46). */
const listMovesHandler: ColdHandler<ListMovesRequest, ListMovesReply> = {
  kind: 'cold',
  codec: listMoves,
  resources: ofCluster,
  answer: async ({ router }) => ({ moves: movesOf(router) }),
}

/** Moves that go on, as this broker knows them. */
export function movesOf(router: PartitionRouter): PartitionMove[] {
  const moves: PartitionMove[] = []
  for (const { record } of router.topics())
    for (const [partition, state] of record.partitions.entries()) {
      if (!isMoving(state)) continue
      const { replicas, adding, removing, inSyncReplicas, leader } = state
      const inSync = inSyncReplicas.map(({ nodeId }) => nodeId)
      moves.push({ topic: record.state.name, partition, replicas, adding, removing, inSync, leader })
    }
  return moves
}

/** partition-emptied (1008). */
const partitionEmptiedHandler: ColdHandler<PartitionEmptiedRequest, PartitionEmptiedReply> = {
  kind: 'cold',
  codec: partitionEmptied,
  isShort: true,
  resources: ofCluster,
  async answer(gateway, { topicId, partition }, { principal }) {
    return { removed: await adminOf(gateway, principal).partitionEmptied(topicId, partition) }
  },
}

export const MOVE_HANDLERS = [alterReplicasHandler, listMovesHandler, partitionEmptiedHandler]
