/**
 * GroupHints: whom to tell that their group has something for them, so that they send a heartbeat at once and need not send many.
 *
 * A hint is never needed for what is right: who does not get one hears of the change at its next heartbeat. So it is told at most
 * once between two heartbeats of a member, and is lost with its connection.
 *
 * Delay    what changes a group often comes in bursts: its members join together. It is told delayMs after the first change, longer in
 *          larger groups: a thousand members who each tell all others would be a million heartbeats
 * Limits   one timer a group, COORDINATOR_GROUPS_MAX groups; MEMBERS_PER_DELAY_MS members a millisecond and group
 */
import { DeadlineHeap } from '../base/deadline-heap.ts'
import { COORDINATOR_GROUPS_MAX } from '../model/limits.ts'
import { type Group, type HintTimer, isReconciled, type Member, NO_CONNECTION } from './group-state.ts'

const DELAY_MS_MIN = 10
const MEMBERS_PER_DELAY_MS = 10

/** A member to be told, over the connection of its last heartbeat. */
export interface Hint {
  readonly connectionId: number
  readonly memberId: string
}

export class GroupHints {
  readonly #heap = new DeadlineHeap<HintTimer>(COORDINATOR_GROUPS_MAX)

  get nextDeadlineMs(): number {
    return this.#heap.nextDeadlineMs
  }

  /** There is a new target, or a partition has become free. */
  stir(group: Group, nowMs: number): void {
    if (group.hintTimer !== undefined || group.members.size === 0) return
    const deadlineMs = nowMs + DELAY_MS_MIN + group.members.size / MEMBERS_PER_DELAY_MS
    const timer: HintTimer = { group, deadlineMs, heapIndex: -1 }
    // Full: its members hear of it at their next heartbeats.
    if (this.#heap.offer(timer)) group.hintTimer = timer
  }

  /** Whom to tell now, of one group; undefined when nothing is due. */
  take(nowMs: number): Hint[] | undefined {
    const timer = this.#heap.takeExpired(nowMs)
    if (timer === undefined) return undefined
    const { group } = timer
    group.hintTimer = undefined
    const hints: Hint[] = []
    for (const member of group.members.values()) {
      if (member.connectionId === NO_CONNECTION || member.isHinted || !hasNews(group, member)) continue
      member.isHinted = true
      hints.push({ connectionId: member.connectionId, memberId: member.memberId })
    }
    return hints
  }
}

/** A heartbeat would not find everything as it was. */
function hasNews(group: Group, member: Member): boolean {
  if (isReconciled(group, member)) return false
  return member.current.memberEpoch !== group.assignmentEpoch || member.releasesSeen !== group.releases
}
