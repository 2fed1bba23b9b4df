/** GroupContext: what the decisions of one coordinator share: state, topics, assignors, limits, timers, and the ports. */
import type { Clock } from '../base/clock.ts'
import type { AssignorTable } from './assignors/assignor.ts'
import type { ClassicTimers } from './classic-timers.ts'
import type { GroupConfig } from './group-config.ts'
import type { GroupHints } from './group-hints.ts'
import type { GroupState } from './group-state.ts'
import type { GroupTimers } from './group-timers.ts'
import type { TopicDirectory } from './topic-directory.ts'
import type { CompilePattern } from './topic-pattern.ts'

/** Of all classic groups of the coordinator. */
export interface ClassicCounts {
  members: number
  /** Ids that were given and not joined with. */
  pending: number
  /** Joins and syncs that wait. */
  parked: number
  /** What members say of themselves. */
  bytes: number
}

export interface GroupContext {
  readonly state: GroupState
  readonly directory: TopicDirectory
  readonly assignors: AssignorTable
  readonly config: GroupConfig
  readonly timers: GroupTimers
  readonly hints: GroupHints
  readonly classicTimers: ClassicTimers
  readonly classicCounts: ClassicCounts
  readonly compilePattern: CompilePattern
  /** Wall time for what is stored; timers are given the monotonic time. */
  readonly wallClock: Pick<Clock, 'nowMs'>
  /** An id that nobody has and nobody can guess. */
  readonly newMemberId: () => string
  /** Bytes of the largest batch: a decision is at most one. */
  readonly batchBytesMax: () => number
  /** Bytes of the largest reply. */
  readonly replyBytesMax: number
}
