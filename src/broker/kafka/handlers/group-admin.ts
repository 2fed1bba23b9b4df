/**
 * DescribeGroups (15, v0–6), ListGroups (16, v0–5), DeleteGroups (42, v0–2): of groups of any kind. A group whose members speak the newer
 * protocol is described here, too: its state, its assignor and its members, but nothing of what they read, which ConsumerGroupDescribe
 * tells. In Kafka it is one that there is not.
 */
import { describeGroups } from '../../../kafka/apis/15-describe-groups.ts'
import { listGroups } from '../../../kafka/apis/16-list-groups.ts'
import { deleteGroups } from '../../../kafka/apis/42-delete-groups.ts'
import { errorNumberOf } from '../../../model/errors.ts'
import * as protocol from '../../../protocol/index.ts'
import { coldHandler, type KafkaCall } from '../kafka-handler.ts'
import { GROUP_OPERATIONS, NOT_ASKED } from './authorised-operations.ts'
import { askGroup } from './classic-groups.ts'

const NOT_FOUND_SINCE = 6
const NOT_FOUND = errorNumberOf('GROUP_ID_NOT_FOUND')
/** Kinds of groups that Kafka's clients know, and ours: offsets without members are a classic group there. */
const KINDS_OF: Readonly<Record<string, readonly string[]>> = { classic: ['classic', 'simple'], consumer: ['consumer'] }

export const describeGroupsHandler = coldHandler(describeGroups, async (call) => ({
  groups: await Promise.all(
    [...new Set(call.request.groups)].map(async (groupId) => ({
      ...(await describe(call, groupId)),
      authorizedOperations: call.request.includeAuthorizedOperations ? GROUP_OPERATIONS : NOT_ASKED,
    })),
  ),
}))

async function describe(call: KafkaCall<unknown>, groupId: string) {
  const nothing = { groupId, groupState: 'Dead', protocolType: '', protocolData: '', members: [] }
  try {
    const request = { groupIds: [groupId] }
    const [group] = (await askGroup(call, groupId, protocol.describeClassicGroups, request)).groups
    if (group === undefined || group.errorNumber === NOT_FOUND) {
      const isError = call.version >= NOT_FOUND_SINCE
      return { ...nothing, errorCode: isError ? NOT_FOUND : 0, errorMessage: isError ? (group?.errorText ?? '') : null }
    }
    if (group.errorNumber !== 0)
      return { ...nothing, groupState: '', errorCode: call.codeOf(group.errorNumber), errorMessage: group.errorText }
    return {
      ...{ errorCode: 0, errorMessage: null, groupId, groupState: group.state },
      ...{ protocolType: group.protocolType, protocolData: group.protocolData },
      members: group.members.map(({ memberId, instanceId, clientId, clientHost, metadata, assignment }) => ({
        ...{ memberId, groupInstanceId: instanceId, clientId, clientHost: `/${clientHost}` },
        ...{ memberMetadata: metadata, memberAssignment: assignment },
      })),
    }
  } catch (error) {
    return { ...nothing, groupState: '', ...call.fault(error) }
  }
}

export const listGroupsHandler = coldHandler(listGroups, async (call) => {
  const { gateway, connection, request } = call
  try {
    const kinds = request.typesFilter.flatMap((type) => KINDS_OF[type.toLowerCase()] ?? ['unknown'])
    const groups: protocol.ListedGroup[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page: protocol.ListGroupsReply = await gateway.groups.listPage(
        { states: request.statesFilter, kinds },
        cursor,
        connection.caller,
      )
      for (const group of page.groups)
        if (call.refusal({ kind: 'group', groupId: group.groupId }) === undefined) groups.push(group)
      cursor = page.nextCursor ?? null
    }
    const rows = groups.map(({ groupId, kind, state, protocolType }) => ({
      ...{ groupId, protocolType, groupState: state, groupType: kind === 'consumer' ? 'consumer' : 'classic' },
    }))
    return { errorCode: 0, groups: rows }
  } catch (error) {
    return { ...call.fault(error), groups: [] }
  }
})

export const deleteGroupsHandler = coldHandler(deleteGroups, async (call) => ({
  results: await Promise.all(
    [...new Set(call.request.groupsNames)].map(async (groupId) => {
      try {
        const { groups } = await askGroup(call, groupId, protocol.deleteGroups, { groupIds: [groupId] })
        return { groupId, errorCode: call.codeOf(groups[0]?.errorNumber ?? 0) }
      } catch (error) {
        return { groupId, errorCode: call.fault(error).errorCode }
      }
    }),
  ),
}))
