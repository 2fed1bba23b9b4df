/**
 * probe-broker (1007): from the controller: what do you find at the address of this broker?
 *
 * Versions  1
 * Reply     'refused': nothing listens at its port. 'alive': it answered. 'unknown': neither, in the time there was
 * Access    brokers only
 */
import { MillraceError } from '../model/errors.ts'
import { OFFSET_MAX } from '../model/limits.ts'
import { Api, makeCodec } from './api.ts'

export const PROBE_FINDINGS = ['unknown', 'alive', 'refused'] as const
export type ProbeFinding = (typeof PROBE_FINDINGS)[number]

export interface ProbeBrokerRequest {
  readonly nodeId: number
}

export interface ProbeBrokerReply {
  readonly finding: ProbeFinding
}

export const probeBroker = makeCodec<ProbeBrokerRequest, ProbeBrokerReply>({
  api: Api.PROBE_BROKER,
  name: 'probe-broker',
  writeRequest: (request) => [request.nodeId],
  readRequest: (fields) => ({ nodeId: fields.integer('nodeId', 0, OFFSET_MAX) }),
  writeReply: (reply) => [PROBE_FINDINGS.indexOf(reply.finding)],
  readReply: (fields) => {
    const finding = PROBE_FINDINGS[fields.integer('finding', 0, PROBE_FINDINGS.length - 1)]
    if (finding === undefined) throw new MillraceError('INVALID_REQUEST', 'probe-broker reply.finding: unknown')
    return { finding }
  },
})
