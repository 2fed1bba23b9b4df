/**
 * Who may commit offsets of a classic group: members of the current generation, and while there are none anybody.
 *
 * | request                        | group               | answer                                                                       |
 * | ------------------------------ | ------------------- | ---------------------------------------------------------------------------- |
 * | no generation                  | Empty               | taken                                                                        |
 * | neither member nor generation  | has members         | UNKNOWN_MEMBER_ID; in a transaction taken: old producers say no more of them |
 * | another generation             | any                 | ILLEGAL_GENERATION                                                           |
 * | the current one                | CompletingRebalance | REBALANCE_IN_PROGRESS: who owns what is being decided; in a transaction taken |
 * | the current one                | Stable, or Preparing| taken: until the join phase ends nobody else has what it commits             |
 */
import { findMember } from './classic-members.ts'
import { checkGeneration } from './classic-sync.ts'
import type { GroupContext } from './group-context.ts'
import type { Group } from './group-state.ts'
import { type GroupRefusal, isRefusal, type OffsetCommitRequest, refuse } from './requests.ts'

/** A commit of a member is a sign of life. */
export function checkClassicCommit(
  context: GroupContext,
  group: Group,
  request: OffsetCommitRequest,
  { isTransactional, nowMs }: { readonly isTransactional: boolean; readonly nowMs: number },
): GroupRefusal | undefined {
  const { groupId, memberId, memberEpoch: generationId, instanceId } = request
  const classic = group.classic!
  if (generationId < 0 && classic.state === 'Empty') return undefined
  if (generationId < 0 && memberId === '' && instanceId === null)
    return isTransactional
      ? undefined
      : refuse('UNKNOWN_MEMBER_ID', `group '${groupId}' has members: only they may commit while it does`)
  const member = findMember(group, request)
  if (isRefusal(member)) return member
  const fault = checkGeneration(groupId, classic, generationId)
  if (fault !== undefined) return fault
  if (classic.state === 'CompletingRebalance' && !isTransactional)
    return refuse('REBALANCE_IN_PROGRESS', `group '${groupId}' is about to assign: ask for the assignment first`)
  context.classicTimers.touchSession(group, member, nowMs)
  return undefined
}
