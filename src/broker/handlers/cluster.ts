/** What brokers ask each other: thin, the effects are the agent's and the services'. Versions: 1. Only brokers get here (authorise.ts). */
import { MillraceError } from '../../model/errors.ts'
import {
  Api,
  type Codec,
  type ProbeBrokerReply,
  type ProbeBrokerRequest,
  probeBroker,
  type RegisterProducersReply,
  type RegisterProducersRequest,
  type ReplicaProgressMessage,
  registerProducers,
  replicaProgress,
  type SuspectBrokerReply,
  type SuspectBrokerRequest,
  suspectBroker,
  type WriteTxnMarkersReply,
  type WriteTxnMarkersRequest,
  writeTxnMarkers,
} from '../../protocol/index.ts'
import { CLUSTER } from '../authorise.ts'
import type { ColdHandler, HotHandler } from './handler.ts'
import type { HandlerContext } from './handler-context.ts'

const ofCluster = () => [CLUSTER] as const

/** replica-progress (1003): one-way. */
const replicaProgressHandler: HotHandler<ReplicaProgressMessage, never> = {
  kind: 'hot',
  codec: {
    ...{ api: Api.REPLICA_PROGRESS, name: replicaProgress.name, decodeRequest: replicaProgress.decode },
  } as unknown as Codec<ReplicaProgressMessage, never>,
  resources: ofCluster,
  start({ gateway, connection, request, frameBytes }) {
    connection.complete(frameBytes)
    gateway.cluster?.onProgress(request)
  },
}

/** suspect-broker (1006). */
const suspectBrokerHandler: ColdHandler<SuspectBrokerRequest, SuspectBrokerReply> = {
  kind: 'cold',
  codec: suspectBroker,
  isShort: true,
  resources: ofCluster,
  async answer(gateway, { nodeId, incarnation }) {
    await clusterOf(gateway).controller.suspect(nodeId, incarnation)
    return {}
  },
}

/** probe-broker (1007). */
const probeBrokerHandler: ColdHandler<ProbeBrokerRequest, ProbeBrokerReply> = {
  kind: 'cold',
  codec: probeBroker,
  isShort: true,
  resources: ofCluster,
  answer: async (gateway, { nodeId }) => ({ finding: await clusterOf(gateway).peers.probe(nodeId) }),
}

/** register-producers (1005). */
const registerProducersHandler: ColdHandler<RegisterProducersRequest, RegisterProducersReply> = {
  kind: 'cold',
  codec: registerProducers,
  isShort: true,
  resources: ofCluster,
  answer: async (gateway, request) => ({ errorNumbers: await gateway.transactions.registerHere(request) }),
}

/** write-txn-markers (27). */
const writeTxnMarkersHandler: ColdHandler<WriteTxnMarkersRequest, WriteTxnMarkersReply> = {
  kind: 'cold',
  codec: writeTxnMarkers,
  isShort: true,
  resources: ofCluster,
  answer: async (gateway, { markers }) => ({ errorNumbers: await gateway.transactions.writeHere(markers) }),
}

export const CLUSTER_HANDLERS = [
  replicaProgressHandler,
  suspectBrokerHandler,
  probeBrokerHandler,
  registerProducersHandler,
  writeTxnMarkersHandler,
]

function clusterOf(gateway: HandlerContext): NonNullable<HandlerContext['cluster']> {
  if (gateway.cluster === undefined) throw new MillraceError('INVALID_REQUEST', 'this broker is alone')
  return gateway.cluster
}
