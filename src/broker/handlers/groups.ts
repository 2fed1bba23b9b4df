/**
 * The requests of consumer groups (8, 9, 16, 42, 47, 68, 69, 1001): to the coordinator of each group, answers put together in the
 * request's order. Versions: 1.
 */
import { errorNumberOf, isMillraceError, MillraceError } from '../../model/errors.ts'
import * as protocol from '../../protocol/index.ts'
import { CLUSTER, type Resource } from '../authorise.ts'
import type { Caller } from '../caller.ts'
import type { AnyHandler, ColdHandler } from './handler.ts'
import type { HandlerContext } from './handler-context.ts'

/** A request about one group as the gateway sees it: for whom, and what the coordinator will read. */
interface Forwarded {
  readonly groupId: string
  readonly header: Uint8Array
}

/** A request about one group: its header goes to the shard as it came, and so does the reply's to the client. */
function ofOneGroup<Request extends { readonly groupId: string }, Reply>(
  codec: protocol.Codec<Request, Reply>,
  isShort = false,
): ColdHandler<Forwarded, Uint8Array> {
  const forwarding: protocol.Codec<Forwarded, Uint8Array> = {
    ...{ api: codec.api, name: codec.name, encodeRequest: ({ header }) => header, encodeReply: (header) => header },
    decodeRequest: (header) => ({
      groupId: protocol.peekGroupId(header) ?? codec.decodeRequest(header).groupId,
      header,
    }),
    decodeReply: () => {
      throw new Error('the gateway does not read what coordinators answer')
    },
  }
  return {
    kind: 'cold',
    codec: forwarding,
    isShort,
    resources: ({ groupId }) => [{ kind: 'group', groupId }],
    relay: (gateway, { groupId, header }, { caller }, reply) =>
      gateway.groups.relay(groupId, codec.api, header, caller, reply),
    keep: ({ groupId, header }) => ({ groupId, header: header.slice() }),
    answer: (gateway, { groupId, header }, { caller }) => gateway.groups.forward(groupId, codec.api, header, caller),
  }
}

interface GroupRow {
  readonly groupId: string
  readonly errorNumber: number
  readonly errorText: string
}

/** Of several groups each is asked of its own coordinator, and has its own error. */
async function rowsOf<Row extends GroupRow>(
  gateway: HandlerContext,
  codec: protocol.Codec<{ readonly groupIds: readonly string[] }, { readonly groups: readonly Row[] }>,
  groupIds: readonly string[],
  failed: (row: GroupRow) => Row,
  caller: Caller,
): Promise<Row[]> {
  const one = async (groupId: string): Promise<Row> => {
    try {
      return (await gateway.groups.ask(groupId, codec, { groupIds: [groupId] }, caller)).groups[0]!
    } catch (error) {
      if (!isMillraceError(error)) throw error
      return failed({ groupId, errorNumber: errorNumberOf(error.code), errorText: error.message })
    }
  }
  return Promise.all(groupIds.map(one))
}

const resourcesOf = ({ groupIds }: { readonly groupIds: readonly string[] }): Resource[] =>
  groupIds.map((groupId) => ({ kind: 'group', groupId }))

const deleteGroupsHandler: ColdHandler<protocol.DeleteGroupsRequest, protocol.DeleteGroupsReply> = {
  kind: 'cold',
  codec: protocol.deleteGroups,
  resources: resourcesOf,
  async answer(gateway, { groupIds }, { caller }) {
    return { groups: await rowsOf(gateway, protocol.deleteGroups, groupIds, (row) => row, caller) }
  },
}

const describeGroupsHandler: ColdHandler<protocol.GroupDescribeRequest, protocol.GroupDescribeReply> = {
  kind: 'cold',
  codec: protocol.groupDescribe,
  resources: resourcesOf,
  async answer(gateway, { groupIds, cursor = null }, { caller }) {
    const [groupId] = groupIds
    if (cursor === null)
      return {
        groups: await rowsOf(gateway, protocol.groupDescribe, groupIds, describeFailed, caller),
        nextCursor: null,
      }
    if (groupId !== undefined && groupIds.length === 1)
      return gateway.groups.ask(groupId, protocol.groupDescribe, { groupIds, cursor }, caller)
    const text = `pages are of one group: ask for these ${groupIds.length} one by one, or without a cursor`
    throw new MillraceError('INVALID_REQUEST', text)
  },
}

const listGroupsHandler: ColdHandler<protocol.ListGroupsRequest, protocol.ListGroupsReply> = {
  kind: 'cold',
  codec: protocol.listGroups,
  resources: () => [CLUSTER],
  async answer(gateway, request, { caller }) {
    const { cursor = null } = request
    if (cursor !== null) return gateway.groups.listPage(request, cursor, caller)
    const replies = await gateway.groups.askAll(protocol.listGroups, request, caller)
    return { groups: replies.flatMap(({ groups }) => groups), nextCursor: null }
  },
}

const describeFailed = (row: GroupRow): protocol.DescribedGroup => ({
  ...row,
  ...{ kind: '', state: '', groupEpoch: -1, assignmentEpoch: -1, assignor: '', members: [] },
})

export const GROUP_HANDLERS = [
  ofOneGroup(protocol.offsetCommit, true),
  ofOneGroup(protocol.offsetFetch),
  listGroupsHandler,
  deleteGroupsHandler,
  ofOneGroup(protocol.offsetDelete),
  ofOneGroup(protocol.groupHeartbeat, true),
  describeGroupsHandler,
  ofOneGroup(protocol.sessionExtend, true),
] as unknown as readonly AnyHandler[]
