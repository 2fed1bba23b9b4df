/**
 * find-coordinator (10): which broker coordinates each of some groups, or of some transactional ids. Any broker answers.
 *
 * Versions  1
 * Request   ids of one kind, 1 to COORDINATOR_IDS_MAX of them
 * Reply     a row for each id, in the request's order; one that has no coordinator now has its error in its own row, nodeId -1 and url ''
 */
import { MillraceError } from '../model/errors.ts'
import { OFFSET_MAX } from '../model/limits.ts'
import { Api, makeCodec } from './api.ts'
import { readError } from './group-fields.ts'
import { TRANSACTIONAL_ID_LENGTH_MAX } from './producer-fields.ts'

export const COORDINATOR_IDS_MAX = 100

export const CoordinatorKind = { GROUP: 0, TRANSACTION: 1 } as const
export type CoordinatorKind = (typeof CoordinatorKind)[keyof typeof CoordinatorKind]

export interface FindCoordinatorRequest {
  readonly kind: CoordinatorKind
  readonly ids: readonly string[]
}

export interface CoordinatorRow {
  readonly errorNumber: number
  readonly errorText: string
  /** -1 = none now. */
  readonly nodeId: number
  readonly url: string
}

export interface FindCoordinatorReply {
  readonly coordinators: readonly CoordinatorRow[]
}

export const findCoordinator = makeCodec<FindCoordinatorRequest, FindCoordinatorReply>({
  api: Api.FIND_COORDINATOR,
  name: 'find-coordinator',
  writeRequest: (request) => [request.kind, request.ids],
  readRequest: (fields) => {
    const kind = fields.integer('kind', 0, 1) as CoordinatorKind
    // Both kinds of ids may be longer than valid ones, so that a bad one is answered by its coordinator's own error.
    const ids = fields.texts('ids', COORDINATOR_IDS_MAX, TRANSACTIONAL_ID_LENGTH_MAX)
    if (ids.length === 0)
      throw new MillraceError('INVALID_REQUEST', 'find-coordinator.ids: expected at least 1 id, not 0')
    return { kind, ids }
  },
  writeReply: (reply) => [reply.coordinators.map((row) => [row.errorNumber, row.errorText, row.nodeId, row.url])],
  readReply: (fields) => ({
    coordinators: fields.list('coordinators', COORDINATOR_IDS_MAX, (row) => ({
      ...readError(row),
      nodeId: row.integer('nodeId', -1, OFFSET_MAX),
      url: row.text('url'),
    })),
  }),
})
