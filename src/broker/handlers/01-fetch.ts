/** fetch (1): of consumers; what it does is FetchCall's. Versions: 1. */
import { type FetchReply, type FetchRequest, fetch } from '../../protocol/index.ts'
import type { Resource } from '../authorise.ts'
import { FetchCall } from './fetch-call.ts'
import type { HotHandler } from './handler.ts'

export const fetchHandler: HotHandler<FetchRequest, never> = {
  kind: 'hot',
  codec: fetch as never,
  resources: (request) => request.parts.map((part): Resource => ({ kind: 'topic-id', topicId: part.topicId })),
  start({ gateway, connection, correlationId, request, frameBytes }) {
    // Only the header was needed.
    connection.complete(frameBytes)
    const { waitMs, minBytes, maxBytes, isolation, parts, anyReplica = false } = request
    const plan = {
      ...{ api: fetch.api, name: fetch.name, waitMs, minBytes, maxBytes, isolation, parts },
      ...{ replica: undefined, anyReplica },
      encode: (rows: FetchReply['parts']) => fetch.encodeReply({ parts: rows }),
    }
    new FetchCall({ gateway, connection, correlationId, plan }).begin()
  },
}
