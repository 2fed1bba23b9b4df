/**
 * HttpGroups: consumer groups over HTTP; HttpApi routes here when a path begins with /api/v1/groups.
 *
 * | method | path                  | answer |
 * | GET    | /api/v1/groups        | ids, kinds, states, members |
 * | GET    | /api/v1/groups/NAME   | a group with members, committed offsets and lag |
 * | DELETE | /api/v1/groups/NAME   | forgets a group without members |
 * | GET    | /metrics?detail=groups | and members and lag of every group, in Prometheus' text |
 */
import { errorCodeOf, isMillraceError, MillraceError } from '../model/errors.ts'
import * as protocol from '../protocol/index.ts'
import type { GroupGauges } from '../telemetry/group-metrics.ts'
import { callerOf } from './caller.ts'
import { type GroupLagContext, groupLag, type PartitionLag } from './group-lag.ts'

const CALLER = callerOf('http', '', 0)

export async function listGroups(gateway: GroupLagContext): Promise<protocol.ListGroupsReply['groups']> {
  const filter = { states: [], kinds: [] }
  const pages = await protocol.allPages((cursor) => gateway.groups.listPage(filter, cursor, CALLER))
  return pages.flatMap(({ groups }) => groups).sort((left, right) => (left.groupId < right.groupId ? -1 : 1))
}

/** Rejects with MillraceError GROUP_ID_NOT_FOUND and what else a coordinator says. */
export async function describeGroup(gateway: GroupLagContext, groupId: string) {
  const pages = await protocol.allPages((cursor) =>
    gateway.groups.ask(groupId, protocol.groupDescribe, { groupIds: [groupId], cursor }, CALLER),
  )
  const { errorNumber, errorText, ...group } = protocol.joinDescribed(pages)!
  throwIf(errorNumber, errorText)
  return { ...group, offsets: await groupLag(gateway, groupId, CALLER) }
}

export async function deleteGroup(gateway: GroupLagContext, groupId: string): Promise<void> {
  const request = { groupIds: [groupId] }
  const reply = await gateway.groups.ask(groupId, protocol.deleteGroups, request, CALLER)
  throwIf(reply.groups[0]!.errorNumber, reply.groups[0]!.errorText)
}

export async function groupMetricsText(gateway: GroupLagContext): Promise<string> {
  const gauges: GroupGauges[] = []
  // One after the other: a scrape is not worth a burst of questions to every shard.
  for (const { groupId, memberCount } of await listGroups(gateway)) {
    const partitions = await groupLag(gateway, groupId, CALLER).catch(noneOfIt)
    if (partitions !== undefined) gauges.push({ group: groupId, members: memberCount, topics: byTopic(partitions) })
  }
  // Only who asks for metrics loads what makes them.
  const { groupMetrics } = await import('../telemetry/group-metrics.ts')
  return groupMetrics(gauges)
}

/** A group that cannot be asked now is left out: the others are worth a page of metrics. */
function noneOfIt(error: unknown): undefined {
  if (!isMillraceError(error)) throw error
}

function byTopic(partitions: readonly PartitionLag[]): GroupGauges['topics'] {
  const topics = new Map<string, { topic: string; lagRecords: number; lagSeconds: number }>()
  for (const { topic, lag, lagSeconds } of partitions) {
    const sum = topics.get(topic) ?? { topic, lagRecords: 0, lagSeconds: 0 }
    sum.lagRecords += lag ?? 0
    sum.lagSeconds = Math.max(sum.lagSeconds, lagSeconds ?? 0)
    topics.set(topic, sum)
  }
  return [...topics.values()]
}

function throwIf(errorNumber: number, text: string): void {
  if (errorNumber !== 0) throw new MillraceError(errorCodeOf(errorNumber), text)
}
