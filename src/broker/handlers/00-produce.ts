/** produce (0): of native clients; what it does is ProduceCall's. A frame whose lengths do not add up is the request's fault. Versions: 1. */
import { MillraceError } from '../../model/errors.ts'
import { encodeFrame, type ProduceRequest, produce } from '../../protocol/index.ts'
import type { Resource } from '../authorise.ts'
import type { HotHandler } from './handler.ts'
import { ProduceCall, type ProduceCallPart } from './produce-call.ts'

export const produceHandler: HotHandler<ProduceRequest, never> = {
  kind: 'hot',
  codec: produce as never,
  resources: (request) => request.parts.map((part): Resource => ({ kind: 'topic-id', topicId: part.topicId })),
  start({ gateway, connection, correlationId, request, body, frameBytes }) {
    // Known not to be stored: the client sends it again, to whoever leads then.
    if (gateway.isClosing) throw new MillraceError('LEADER_NOT_AVAILABLE', 'the broker is stopping')
    let bodyBytes = 0
    for (const part of request.parts) bodyBytes += part.batchBytes
    if (bodyBytes !== body.length)
      throw new MillraceError(
        'INVALID_REQUEST',
        `produce: the parts have ${bodyBytes} bytes in all, the frame's body ${body.length}`,
      )
    let at = 0
    const parts = request.parts.map(({ topicId, partition, leaderEpoch, batchBytes }): ProduceCallPart => {
      const batches = body.subarray(at, at + batchBytes)
      at += batchBytes
      return { topicId, partition, leaderEpoch, batches }
    })
    new ProduceCall({
      gateway,
      connection,
      acks: request.acks,
      timeoutMs: request.timeoutMs,
      parts,
      onTaken: () => connection.complete(frameBytes),
      onReplies(replies) {
        const header = produce.encodeReply({ parts: replies })
        connection.send(encodeFrame({ api: produce.api, isReply: true, correlationId }, header))
      },
    }).start()
  },
}
