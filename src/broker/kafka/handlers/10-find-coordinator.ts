/** FindCoordinator (10): v0–5: the broker that leads the partition which a group or a transactional id belongs to. */

import { findCoordinator } from '../../../kafka/apis/10-find-coordinator.ts'
import { MillraceError } from '../../../model/errors.ts'
import type { Resource } from '../../authorise.ts'
import { coldHandler, type KafkaCall, type RequestOf } from '../kafka-handler.ts'

type Request = RequestOf<typeof findCoordinator>

const GROUP = 0
const TRANSACTION = 1
const SEVERAL_KEYS_SINCE = 4

export const findCoordinatorHandler = coldHandler(findCoordinator, async (call) => {
  const { request, version } = call
  if (version >= SEVERAL_KEYS_SINCE) {
    const coordinators = await Promise.all([...new Set(request.coordinatorKeys)].map((key) => find(call, key)))
    return { errorCode: 0, nodeId: -1, host: '', port: -1, coordinators }
  }
  return { ...(await find(call, request.key)), coordinators: [] }
})

async function find(call: KafkaCall<Request>, key: string) {
  try {
    const { gateway, request } = call
    const resource = resourceOf(request.keyType, key)
    call.demand(resource)
    const service = resource.kind === 'group' ? gateway.groups : gateway.transactions
    const partition = await service.partitionOf(key)
    const leader = gateway.leaderOf(partition)
    const broker = call.brokers().find(({ nodeId }) => nodeId === leader?.nodeId)
    if (broker === undefined)
      throw new MillraceError(
        'COORDINATOR_NOT_AVAILABLE',
        `partition ${partition.partition} of ${partition.topicName} has no leader with a Kafka listener now`,
      )
    const { nodeId, host, port } = broker
    return { key, nodeId, host, port, errorCode: 0, errorMessage: null }
  } catch (error) {
    return { key, nodeId: -1, host: '', port: -1, ...call.fault(error) }
  }
}

function resourceOf(keyType: number, key: string): Resource {
  if (keyType === GROUP) return { kind: 'group', groupId: key }
  if (keyType === TRANSACTION) return { kind: 'transactional-id', transactionalId: key }
  throw new MillraceError('INVALID_REQUEST', `coordinators of type ${keyType}; 0 = of a group, 1 = of a transaction`)
}
