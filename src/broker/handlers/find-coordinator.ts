/**
 * find-coordinator: the leader of the partition that an id belongs to. Makes the internal topic where there is none yet, as the first
 * request to a coordinator does. Versions: 1.
 */
import { errorNumberOf, isMillraceError, MillraceError } from '../../model/errors.ts'
import {
  CoordinatorKind,
  type CoordinatorRow,
  type FindCoordinatorReply,
  type FindCoordinatorRequest,
  findCoordinator,
} from '../../protocol/index.ts'
import type { Resource } from '../authorise.ts'
import type { ColdHandler } from './handler.ts'
import type { HandlerContext } from './handler-context.ts'

export const findCoordinatorHandler: ColdHandler<FindCoordinatorRequest, FindCoordinatorReply> = {
  kind: 'cold',
  codec: findCoordinator,
  resources: ({ kind, ids }) => ids.map((id) => resourceOf(kind, id)),
  async answer(gateway, { kind, ids }) {
    return { coordinators: await Promise.all(ids.map((id) => find(gateway, kind, id))) }
  },
}

function resourceOf(kind: CoordinatorKind, id: string): Resource {
  return kind === CoordinatorKind.GROUP
    ? { kind: 'group', groupId: id }
    : { kind: 'transactional-id', transactionalId: id }
}

async function find(gateway: HandlerContext, kind: CoordinatorKind, id: string): Promise<CoordinatorRow> {
  try {
    const service = kind === CoordinatorKind.GROUP ? gateway.groups : gateway.transactions
    const partition = await service.partitionOf(id)
    const leader = gateway.leaderOf(partition)
    if (leader === undefined) {
      const { topicName, partition: number, reason } = partition
      const text = `partition ${number} of ${topicName} has no leader now${reason === null ? '' : `: ${reason}`}`
      throw new MillraceError('COORDINATOR_NOT_AVAILABLE', text)
    }
    return { errorNumber: 0, errorText: '', ...leader }
  } catch (error) {
    if (!isMillraceError(error)) throw error
    return { errorNumber: errorNumberOf(error.code), errorText: error.message, nodeId: -1, url: '' }
  }
}
