/**
 * The requests of consumer groups (8, 9, 16, 42, 47, 68, 69, 1001): to the coordinator of each group, answers put together in the
 * request's order. Versions: 1.
 */
import { errorNumberOf, isMillraceError } from '../../model/errors.ts'
import * as protocol from '../../protocol/index.ts'
import { CLUSTER } from '../authorise.ts'
import type { Connection } from '../connection.ts'
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

/** A request about several groups: each is asked of its own coordinator, and has its own error. */
function ofGroups<Row extends GroupRow>(
  codec: protocol.Codec<{ readonly groupIds: readonly string[] }, { readonly groups: readonly Row[] }>,
  failed: (row: GroupRow) => Row,
): ColdHandler<{ readonly groupIds: readonly string[] }, { readonly groups: readonly Row[] }> {
  const one = async (gateway: HandlerContext, groupId: string, connection: Connection): Promise<Row> => {
    try {
      const reply = await gateway.groups.ask(groupId, codec, { groupIds: [groupId] }, connection.caller)
      return reply.groups[0]!
    } catch (error) {
      if (!isMillraceError(error)) throw error
      return failed({ groupId, errorNumber: errorNumberOf(error.code), errorText: error.message })
    }
  }
  return {
    kind: 'cold',
    codec,
    resources: ({ groupIds }) => groupIds.map((groupId) => ({ kind: 'group', groupId })),
    async answer(gateway, { groupIds }, connection) {
      return { groups: await Promise.all(groupIds.map((groupId) => one(gateway, groupId, connection))) }
    },
  }
}

const listGroupsHandler: ColdHandler<protocol.ListGroupsRequest, protocol.ListGroupsReply> = {
  kind: 'cold',
  codec: protocol.listGroups,
  resources: () => [CLUSTER],
  async answer(gateway, request, { caller }) {
    const replies = await gateway.groups.askAll(protocol.listGroups, request, caller)
    return { groups: replies.flatMap(({ groups }) => groups) }
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
  ofGroups(protocol.deleteGroups, (row) => row),
  ofOneGroup(protocol.offsetDelete),
  ofOneGroup(protocol.groupHeartbeat, true),
  ofGroups(protocol.groupDescribe, describeFailed),
  ofOneGroup(protocol.sessionExtend, true),
] as unknown as readonly AnyHandler[]
