/**
 * suspect-broker (1006): to the controller: this broker's connections to another one have ended and its port refuses.
 *
 * Versions  1
 * Rule      a suspicion costs nobody its lease: the controller looks for itself, and has another broker look
 * Failure   NOT_CONTROLLER
 * Access    brokers only
 */
import { OFFSET_MAX } from '../model/limits.ts'
import { Api, makeCodec } from './api.ts'

export interface SuspectBrokerRequest {
  readonly nodeId: number
  readonly incarnation: number
}

export type SuspectBrokerReply = Readonly<Record<never, never>>

export const suspectBroker = makeCodec<SuspectBrokerRequest, SuspectBrokerReply>({
  api: Api.SUSPECT_BROKER,
  name: 'suspect-broker',
  writeRequest: (request) => [request.nodeId, request.incarnation],
  readRequest: (fields) => ({
    nodeId: fields.integer('nodeId', 0, OFFSET_MAX),
    incarnation: fields.integer('incarnation', 0, OFFSET_MAX),
  }),
  writeReply: () => [],
  readReply: () => ({}),
})
