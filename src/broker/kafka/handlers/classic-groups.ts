/**
 * JoinGroup (11, v0–9), Heartbeat (12, v0–4), LeaveGroup (13, v0–5), SyncGroup (14, v0–5): classic groups: on to the group's coordinator,
 * which has the whole of the protocol (src/group). Join and sync are answered when the group is ready: until then the connection's
 * later requests wait, as in Kafka.
 */
import { EMPTY_BYTES } from '../../../base/bytes.ts'
import { joinGroup } from '../../../kafka/apis/11-join-group.ts'
import { heartbeat } from '../../../kafka/apis/12-heartbeat.ts'
import { leaveGroup } from '../../../kafka/apis/13-leave-group.ts'
import { syncGroup } from '../../../kafka/apis/14-sync-group.ts'
import * as protocol from '../../../protocol/index.ts'
import { coldHandler, type KafkaCall } from '../kafka-handler.ts'

const KNOWN_MEMBER_ID_SINCE = 4
const SKIP_ASSIGNMENT_SINCE = 9
const SEVERAL_MEMBERS_SINCE = 3

/** Asks the coordinator of the call's group; throws what it refuses. */
export async function askGroup<Request, Reply>(
  call: KafkaCall<unknown>,
  groupId: string,
  codec: protocol.Codec<Request, Reply>,
  request: Request,
): Promise<Reply> {
  call.demand({ kind: 'group', groupId })
  return call.gateway.groups.ask(groupId, codec, request, call.connection.caller)
}

export const joinGroupHandler = coldHandler(joinGroup, async (call) => {
  const { request, version } = call
  const { groupId, memberId, groupInstanceId: instanceId, protocolType, protocols, reason } = request
  try {
    const reply = await askGroup(call, groupId, protocol.joinGroup, {
      ...{ groupId, memberId, instanceId, protocolType, protocols, reason },
      sessionTimeoutMs: request.sessionTimeoutMs,
      rebalanceTimeoutMs: version === 0 ? request.sessionTimeoutMs : request.rebalanceTimeoutMs,
      requiresKnownMemberId: version >= KNOWN_MEMBER_ID_SINCE,
      canSkipAssignment: version >= SKIP_ASSIGNMENT_SINCE,
    })
    return {
      errorCode: call.codeOf(reply.errorNumber),
      generationId: reply.generationId,
      protocolType: reply.protocolType,
      protocolName: reply.protocolName,
      leader: reply.leaderId,
      skipAssignment: reply.skipAssignment,
      memberId: reply.memberId,
      members: reply.members.map((member) => ({
        ...{ memberId: member.memberId, groupInstanceId: member.instanceId, metadata: member.metadata },
      })),
    }
  } catch (error) {
    return {
      ...call.fault(error),
      ...{ generationId: -1, protocolType: null, protocolName: null, leader: '', skipAssignment: false, memberId },
      members: [],
    }
  }
})

export const syncGroupHandler = coldHandler(syncGroup, async (call) => {
  const { groupId, generationId, memberId, groupInstanceId: instanceId, protocolType, protocolName } = call.request
  const { assignments } = call.request
  try {
    const reply = await askGroup(call, groupId, protocol.syncGroup, {
      ...{ groupId, generationId, memberId, instanceId, protocolType, protocolName, assignments },
    })
    return { errorCode: 0, ...reply }
  } catch (error) {
    return { ...call.fault(error), protocolType: null, protocolName: null, assignment: EMPTY_BYTES }
  }
})

export const heartbeatHandler = coldHandler(heartbeat, async (call) => {
  const { groupId, generationId, memberId, groupInstanceId: instanceId } = call.request
  try {
    await askGroup(call, groupId, protocol.classicHeartbeat, { groupId, generationId, memberId, instanceId })
    return { errorCode: 0 }
  } catch (error) {
    return call.fault(error)
  }
})

export const leaveGroupHandler = coldHandler(leaveGroup, async (call) => {
  const { request, version } = call
  const { groupId } = request
  const leaving =
    version >= SEVERAL_MEMBERS_SINCE
      ? request.members.map(({ memberId, groupInstanceId, reason }) => ({
          memberId,
          instanceId: groupInstanceId,
          reason,
        }))
      : [{ memberId: request.memberId, instanceId: null, reason: null }]
  try {
    const { members } = await askGroup(call, groupId, protocol.leaveGroup, { groupId, members: leaving })
    if (version < SEVERAL_MEMBERS_SINCE) return { errorCode: call.codeOf(members[0]?.errorNumber ?? 0), members: [] }
    const rows = members.map(({ memberId, instanceId, errorNumber }) => ({
      ...{ memberId, groupInstanceId: instanceId, errorCode: call.codeOf(errorNumber) },
    }))
    return { errorCode: 0, members: rows }
  } catch (error) {
    return { ...call.fault(error), members: [] }
  }
})
