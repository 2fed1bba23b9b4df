/**
 * ClassicTimers: sessions, ids that nobody joined with, and phases of the classic groups of one coordinator, earliest first. Given the
 * monotonic time.
 *
 * Session  as in group-timers.ts a heartbeat moves a number only. While an established member's join or sync waits its session does not
 *          end: the timer is let go when it comes up, and the answer starts it anew. A new member's runs on
 * Phase    at most one a group: the initial wait, the join phase, or the wait for those who have not asked for their assignment
 * Limits   a timer per member and id given (COORDINATOR_MEMBERS_MAX), one per group (COORDINATOR_GROUPS_MAX)
 */
import { assert } from '../base/assert.ts'
import { DeadlineHeap } from '../base/deadline-heap.ts'
import { COORDINATOR_GROUPS_MAX, COORDINATOR_MEMBERS_MAX } from '../model/limits.ts'
import {
  type ClassicMember,
  type ClassicSessionTimer,
  type ClassicTimer,
  NO_TOKEN,
  type PendingTimer,
  type PhaseTimer,
} from './classic-state.ts'
import type { Group } from './group-state.ts'

export class ClassicTimers {
  readonly #heap = new DeadlineHeap<ClassicTimer>(COORDINATOR_MEMBERS_MAX + COORDINATOR_GROUPS_MAX)

  get nextDeadlineMs(): number {
    return this.#heap.nextDeadlineMs
  }

  get size(): number {
    return this.#heap.size
  }

  /** The member was heard of, or answered. */
  touchSession({ groupId }: Group, member: ClassicMember, nowMs: number): void {
    this.#moveSession(groupId, member, nowMs + member.sessionTimeoutMs)
  }

  /** A new member has no id to send heartbeats with until it is answered. */
  startNewMember({ groupId }: Group, member: ClassicMember, deadlineMs: number): void {
    this.#moveSession(groupId, member, deadlineMs)
  }

  #moveSession(groupId: string, member: ClassicMember, deadlineMs: number): void {
    member.sessionDeadlineMs = deadlineMs
    const timer = member.sessionTimer
    if (timer !== undefined && timer.deadlineMs <= deadlineMs) return
    if (timer !== undefined) this.#heap.remove(timer)
    member.sessionTimer = this.#startSession(groupId, member, deadlineMs)
  }

  stopSession(member: ClassicMember): void {
    if (member.sessionTimer !== undefined) this.#heap.remove(member.sessionTimer)
    member.sessionTimer = undefined
  }

  startPending({ groupId }: Group, memberId: string, deadlineMs: number): PendingTimer {
    const timer: PendingTimer = { kind: 'pending', groupId, memberId, deadlineMs, heapIndex: -1 }
    this.#offer(timer)
    return timer
  }

  stopPending(timer: PendingTimer): void {
    this.#heap.remove(timer)
  }

  startPhase(group: Group, kind: PhaseTimer['kind'], deadlineMs: number): void {
    this.stopPhase(group)
    const timer: PhaseTimer = { kind, groupId: group.groupId, deadlineMs, heapIndex: -1 }
    this.#offer(timer)
    group.classic!.phase = timer
  }

  stopPhase({ classic }: Group): void {
    if (classic?.phase !== undefined) this.#heap.remove(classic.phase)
    if (classic !== undefined) classic.phase = undefined
  }

  /** Takes out a timer whose time is over; undefined when there is none. */
  takeExpired(nowMs: number): ClassicTimer | undefined {
    for (;;) {
      const timer = this.#heap.takeExpired(nowMs)
      if (timer === undefined) return undefined
      if (timer.kind !== 'session') return timer
      const { groupId, member } = timer
      member.sessionTimer = undefined
      if (isWaiting(member)) continue
      if (member.sessionDeadlineMs <= nowMs) return timer
      member.sessionTimer = this.#startSession(groupId, member, member.sessionDeadlineMs)
    }
  }

  #startSession(groupId: string, member: ClassicMember, deadlineMs: number): ClassicSessionTimer {
    const timer: ClassicSessionTimer = { kind: 'session', groupId, member, deadlineMs, heapIndex: -1 }
    this.#offer(timer)
    return timer
  }

  #offer(timer: ClassicTimer): void {
    assert(this.#heap.offer(timer), 'more timers than classic groups and members may have')
  }
}

/** Its client can send nothing while it waits for us. */
function isWaiting({ isNew, joinToken, syncToken }: ClassicMember): boolean {
  return !isNew && (joinToken !== NO_TOKEN || syncToken !== NO_TOKEN)
}
