/**
 * What a fetch may read: the checks as named steps, and the end it may read to.
 *
 *   fetchOffset           answer
 *   < log start           OFFSET_OUT_OF_RANGE
 *   [log start, end)      batches
 *   [end, log end]        nothing yet: it waits          end = high watermark, or last stable offset with read_committed
 *   > log end             OFFSET_OUT_OF_RANGE, but NOT_LEADER_OR_FOLLOWER of a leader that may have a successor (worker/fetch-draft.ts)
 *
 * A consumer that asked any replica is served by a follower too, up to the high watermark that it knows (KIP-392): what is below was safe,
 * and no follower is cut there. What the follower does not have yet is out of its range, and no word on the leader's.
 *
 * A replica reads up to the log end: what is safe is decided by what it has. Where its history parts from the leader's is
 * replication/divergence.ts's to say.
 */
import type { LeaderEpoch, Offset } from '../model/ids.ts'
import { type Refusal, refuse } from '../model/refusal.ts'
import { lastStableOffset } from './high-watermark.ts'
import type { PartitionState } from './partition-state.ts'

export const ISOLATION_READ_UNCOMMITTED = 0
export const ISOLATION_READ_COMMITTED = 1
/** What a replica's fetch has in the place of an isolation. */
export const READ_AS_REPLICA = 2

export interface FetchWish {
  readonly leaderEpoch: LeaderEpoch
  readonly fetchOffset: Offset
}

export const fetchSteps = [checkLeads, checkKnownEpoch, checkInRange] as const
/** Of a consumer that asked any replica. */
export const anyReplicaFetchSteps = [checkOnline, checkKnownEpoch, checkInRange] as const

/** Runs the steps in order; the first objection, or undefined. */
export function checkFetch(
  state: PartitionState,
  wish: FetchWish,
  { anyReplica = false }: { readonly anyReplica?: boolean } = {},
): Refusal | undefined {
  for (const step of anyReplica ? anyReplicaFetchSteps : fetchSteps) {
    const refusal = step(state, wish)
    if (refusal !== undefined) return refusal
  }
  return undefined
}

/** First offset that a fetch of this isolation may not see. */
export function readableEnd(state: PartitionState, isolation: number): Offset {
  if (isolation === READ_AS_REPLICA) return state.logEndOffset
  return isolation === ISOLATION_READ_COMMITTED ? lastStableOffset(state) : state.highWatermark
}

/** Of the offset of the latest record: a leader knows it once its high watermark has reached its epoch's start (KIP-207). */
export function checkLatestKnown(state: PartitionState): Refusal | undefined {
  const start = state.replicas?.epochStartOffset ?? 0
  if (state.highWatermark >= start) return undefined
  return refuse(
    'OFFSET_NOT_AVAILABLE',
    `the leader's epoch began at ${start}, its high watermark is ${state.highWatermark}`,
  )
}

/** This replica leads and is online. */
export function checkLeads(state: PartitionState): Refusal | undefined {
  return state.role === 'follower' ? refuse('NOT_LEADER_OR_FOLLOWER') : checkOnline(state)
}

function checkOnline(state: PartitionState): Refusal | undefined {
  if (state.role !== 'offline') return undefined
  return refuse('KAFKA_STORAGE_ERROR', `the partition is offline: ${state.offlineReason ?? 'no reason given'}`)
}

/** The requester's leader epoch, where it names one, is the current one (KIP-320). */
export function checkKnownEpoch(
  state: PartitionState,
  wish: { readonly leaderEpoch: LeaderEpoch },
): Refusal | undefined {
  if (wish.leaderEpoch === -1 || wish.leaderEpoch === state.leaderEpoch) return undefined
  return wish.leaderEpoch < state.leaderEpoch
    ? refuse('FENCED_LEADER_EPOCH', `leader epoch ${wish.leaderEpoch} is old, ${state.leaderEpoch} is current`)
    : refuse('UNKNOWN_LEADER_EPOCH', `leader epoch ${wish.leaderEpoch} is newer than ${state.leaderEpoch}`)
}

function checkInRange(state: PartitionState, wish: FetchWish): Refusal | undefined {
  if (wish.fetchOffset >= state.logStartOffset && wish.fetchOffset <= state.logEndOffset) return undefined
  return refuse(
    'OFFSET_OUT_OF_RANGE',
    `offset ${wish.fetchOffset} is not within [${state.logStartOffset}, ${state.highWatermark}]`,
  )
}
