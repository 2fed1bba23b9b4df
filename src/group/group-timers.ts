/**
 * GroupTimers: sessions and rebalances of the members of one coordinator, earliest first. Given the monotonic time.
 *
 * Session    a heartbeat moves sessionDeadlineMs only; the heap's item stays where it is and is put back when it comes up too
 *            early: a heartbeat costs no work in the heap
 * Rebalance  runs while the member has something to give up; nothing but giving it up stops it. Each partition has its time from when
 *            it was taken away: what is taken meanwhile does not move the timer, else a rebalance every now and then would keep
 *            a member that hangs, and giving up the first does not lengthen the time of the rest
 * Limits     two timers per member, COORDINATOR_MEMBERS_MAX members
 */
import { assert } from '../base/assert.ts'
import { DeadlineHeap } from '../base/deadline-heap.ts'
import { COORDINATOR_MEMBERS_MAX } from '../model/limits.ts'
import { intersectSets, subtractSets } from '../model/partition-set.ts'
import { type Group, type Member, type MemberTimer, NO_REVOCATIONS } from './group-state.ts'

export class GroupTimers {
  readonly #heap = new DeadlineHeap<MemberTimer>(2 * COORDINATOR_MEMBERS_MAX)

  get nextDeadlineMs(): number {
    return this.#heap.nextDeadlineMs
  }

  get size(): number {
    return this.#heap.size
  }

  /** The member was heard of. */
  touchSession(group: Group, member: Member, nowMs: number): void {
    const deadlineMs = nowMs + member.metadata.sessionTimeoutMs
    member.sessionDeadlineMs = deadlineMs
    const timer = member.sessionTimer
    if (timer !== undefined && timer.deadlineMs <= deadlineMs) return
    // None yet, or the session timeout became shorter.
    if (timer !== undefined) this.#heap.remove(timer)
    member.sessionTimer = this.#start('session', group, member, deadlineMs)
  }

  /** What the member has to give up has changed, and is not nothing. */
  startRebalance(group: Group, member: Member, nowMs: number): void {
    const { revoking } = member.current
    const left = member.revocations.filter(({ partitions }) => intersectSets(partitions, revoking).size > 0)
    const taken = left.reduce((rest, { partitions }) => subtractSets(rest, partitions), revoking)
    if (taken.size > 0) left.push({ partitions: taken, deadlineMs: nowMs + member.metadata.rebalanceTimeoutMs })
    const deadlineMs = left.reduce((first, each) => Math.min(first, each.deadlineMs), Number.POSITIVE_INFINITY)
    const running = member.rebalanceTimer
    if (running?.deadlineMs !== deadlineMs) {
      if (running !== undefined) this.#heap.remove(running)
      member.rebalanceTimer = this.#start('rebalance', group, member, deadlineMs)
    }
    member.revocations = left
  }

  stopRebalance(member: Member): void {
    if (member.rebalanceTimer !== undefined) this.#heap.remove(member.rebalanceTimer)
    member.rebalanceTimer = undefined
    member.revocations = NO_REVOCATIONS
  }

  /** The member is gone. */
  stop(member: Member): void {
    this.stopRebalance(member)
    if (member.sessionTimer !== undefined) this.#heap.remove(member.sessionTimer)
    member.sessionTimer = undefined
  }

  /** Takes out a timer whose time is over; undefined when there is none. */
  takeExpired(nowMs: number): MemberTimer | undefined {
    for (;;) {
      const timer = this.#heap.takeExpired(nowMs)
      if (timer === undefined) return undefined
      const { member } = timer
      if (timer.kind === 'rebalance') {
        member.rebalanceTimer = undefined
        return timer
      }
      member.sessionTimer = undefined
      if (member.sessionDeadlineMs <= nowMs) return timer
      member.sessionTimer = this.#start('session', timer.group, member, member.sessionDeadlineMs)
    }
  }

  #start(kind: MemberTimer['kind'], group: Group, member: Member, deadlineMs: number): MemberTimer {
    const timer: MemberTimer = { kind, group, member, deadlineMs, heapIndex: -1 }
    assert(this.#heap.offer(timer), 'more timers than members may have')
    return timer
  }
}

/** Why the member's time is over, or undefined. */
export function expiryOf(member: Member, nowMs: number): MemberTimer['kind'] | undefined {
  if (member.sessionDeadlineMs <= nowMs) return 'session'
  if (member.rebalanceTimer !== undefined && member.rebalanceTimer.deadlineMs <= nowMs) return 'rebalance'
  return undefined
}
