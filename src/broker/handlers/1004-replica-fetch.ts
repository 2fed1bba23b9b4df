/**
 * replica-fetch (1004): of a broker that follows; up to the log end, and what it asks for says what it has. What it does is FetchCall's.
 *
 * Versions  1
 * Rule      a follower's next request ends the wait of the one before: it has more partitions to ask for
 */
import { type ReplicaFetchRequest, replicaFetch } from '../../protocol/index.ts'
import { CLUSTER } from '../authorise.ts'
import type { Connection } from '../connection.ts'
import { FetchCall, type FetchPlan } from './fetch-call.ts'
import { fetchFrame } from './fetch-frame.ts'
import type { HotHandler } from './handler.ts'

const READ_UNCOMMITTED = 0

/** The last one of each connection; the connection's end forgets it. */
const lastCalls = new WeakMap<Connection, FetchCall>()

export const replicaFetchHandler: HotHandler<ReplicaFetchRequest, never> = {
  kind: 'hot',
  codec: replicaFetch as never,
  resources: () => [CLUSTER],
  start({ gateway, connection, correlationId, request, frameBytes }) {
    connection.complete(frameBytes)
    const { nodeId, incarnation, waitMs, minBytes, maxBytes, parts } = request
    const plan: FetchPlan = {
      ...{ name: replicaFetch.name, waitMs, minBytes, maxBytes, parts },
      ...{ isolation: READ_UNCOMMITTED, replica: { nodeId, incarnation }, anyReplica: false },
      encode: (rows) =>
        fetchFrame(replicaFetch.api, correlationId, rows, (some) => replicaFetch.encodeReply({ parts: some })),
    }
    lastCalls.get(connection)?.finish()
    const call = new FetchCall({ gateway, connection, plan })
    lastCalls.set(connection, call)
    call.begin()
  },
}
