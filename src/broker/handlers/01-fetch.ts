/** fetch (1): of consumers; what it does is FetchCall's. Versions: 1. */
import { type FetchRequest, fetch } from '../../protocol/index.ts'
import type { Resource } from '../authorise.ts'
import { FetchCall, type FetchPlan } from './fetch-call.ts'
import { fetchFrame } from './fetch-frame.ts'
import type { HotHandler } from './handler.ts'

export const fetchHandler: HotHandler<FetchRequest, never> = {
  kind: 'hot',
  codec: fetch as never,
  resources: (request) => request.parts.map((part): Resource => ({ kind: 'topic-id', topicId: part.topicId })),
  start({ gateway, connection, correlationId, request, frameBytes }) {
    // Only the header was needed.
    connection.complete(frameBytes)
    const { waitMs, minBytes, maxBytes, isolation, parts, anyReplica = false } = request
    const plan: FetchPlan = {
      name: fetch.name,
      waitMs,
      minBytes,
      maxBytes,
      isolation,
      parts,
      replica: undefined,
      anyReplica,
      encode: (rows) => fetchFrame(fetch.api, correlationId, rows, (parts) => fetch.encodeReply({ parts })),
    }
    new FetchCall({ gateway, connection, plan }).begin()
  },
}
