/**
 * DelayedFetch: long polls. A fetch that found less than minBytes waits until its partitions together gained enough, its
 * time is over, or the gateway ends it.
 *
 * Owns      the waiting fetches of one shard, found by request, by partition and by deadline
 * Thread    the shard; pure: it is given the time and answers whom to serve
 * Rule      ready when availableBytes at parking + Σ bytes that became readable since >= minBytes. Those are visibleBytes now − at
 *           parking; with read_committed, while a transaction holds the end back, nobody knows how many they are: such a fetch is
 *           ready when the end moves, and parked again if that was not enough; so is one at a follower, which counts no visible bytes. A replica counts bytes up to the log end, and is ready
 *           at once when the high watermark or the log start moves: it follows those too
 * Limits    waitingMax; park() answers false when full and the caller answers at once
 * Ordering  fetches that become ready are served first come, first served
 */
import { assert } from '../base/assert.ts'
import { DeadlineHeap, type Timed } from '../base/deadline-heap.ts'
import type { LeaderEpoch, Offset, PartitionRef } from '../model/ids.ts'
import { READ_AS_REPLICA, readableEnd } from './partition-fetch.ts'
import type { PartitionState } from './partition-state.ts'

/** One partition of a fetch. `state` is undefined when the shard does not know the partition. */
export interface FetchPart {
  readonly partitionRef: PartitionRef
  readonly leaderEpoch: LeaderEpoch
  readonly fetchOffset: Offset
  readonly maxBytes: number
  readonly state: PartitionState | undefined
  /**
   * Of the state, when the fetch was parked: how far it could read, and the bytes up to there; -1 = they are not known. Of a replica's:
   * the high watermark, and the bytes up to the log end.
   */
  readableEndBefore: Offset
  visibleBytesBefore: number
}

export interface WaitingFetch extends Timed {
  readonly requestId: number
  readonly minBytes: number
  readonly maxBytes: number
  readonly isolation: number
  readonly parts: readonly FetchPart[]
  /** What it could have read when it was parked, by its isolation. */
  availableBytes: number
}

export class DelayedFetch<Fetch extends WaitingFetch = WaitingFetch> {
  readonly #deadlines: DeadlineHeap<Fetch>
  readonly #byRequest = new Map<number, Fetch>()
  readonly #byPartition = new Map<PartitionRef, Set<Fetch>>()

  constructor(waitingMax: number) {
    this.#deadlines = new DeadlineHeap(waitingMax)
  }

  get size(): number {
    return this.#deadlines.size
  }

  get nextDeadlineMs(): number {
    return this.#deadlines.nextDeadlineMs
  }

  /** Parks `fetch` until its deadline; false = no room. */
  park(fetch: Fetch): boolean {
    if (!this.#deadlines.offer(fetch)) return false
    assert(!this.#byRequest.has(fetch.requestId), 'a request waits twice')
    this.#byRequest.set(fetch.requestId, fetch)
    for (const part of fetch.parts) {
      if (part.state === undefined) continue
      notePlace(part, part.state, fetch.isolation)
      let waiting = this.#byPartition.get(part.partitionRef)
      if (waiting === undefined) this.#byPartition.set(part.partitionRef, (waiting = new Set()))
      waiting.add(fetch)
    }
    return true
  }

  /** Somebody waits for `partitionRef`. */
  hasAny(partitionRef: PartitionRef): boolean {
    return this.#byPartition.has(partitionRef)
  }

  /** The high watermark of `partitionRef` moved, and with it its last stable offset perhaps: appends those that are ready now to `ready`. */
  takeReady(partitionRef: PartitionRef, ready: Fetch[]): void {
    const waiting = this.#byPartition.get(partitionRef)
    if (waiting === undefined) return
    for (const fetch of waiting) {
      if (gainedBytes(fetch) < fetch.minBytes) continue
      this.#forget(fetch)
      ready.push(fetch)
    }
  }

  /** The partition went away or changed hands: all that wait for it are to be answered. */
  takeAllOf(partitionRef: PartitionRef, ready: Fetch[]): void {
    for (const fetch of this.#byPartition.get(partitionRef) ?? []) {
      this.#forget(fetch)
      ready.push(fetch)
    }
  }

  takeExpired(nowMs: number): Fetch | undefined {
    const fetch = this.#deadlines.takeExpired(nowMs)
    if (fetch !== undefined) this.#forget(fetch)
    return fetch
  }

  /** The gateway wants the answer now, or no longer; undefined when it does not wait (it was answered meanwhile). */
  take(requestId: number): Fetch | undefined {
    const fetch = this.#byRequest.get(requestId)
    if (fetch !== undefined) this.#forget(fetch)
    return fetch
  }

  #forget(fetch: Fetch): void {
    this.#deadlines.remove(fetch)
    this.#byRequest.delete(fetch.requestId)
    for (const part of fetch.parts) {
      const waiting = this.#byPartition.get(part.partitionRef)
      if (waiting === undefined) continue
      waiting.delete(fetch)
      if (waiting.size === 0) this.#byPartition.delete(part.partitionRef)
    }
  }
}

function notePlace(part: FetchPart, state: PartitionState, isolation: number): void {
  if (isolation === READ_AS_REPLICA) {
    part.readableEndBefore = state.highWatermark
    part.visibleBytesBefore = state.appendedBytes
    return
  }
  const end = readableEnd(state, isolation)
  part.readableEndBefore = end
  part.visibleBytesBefore = state.role === 'leader' && end === state.highWatermark ? state.visibleBytes : -1
}

function gainedBytes(fetch: WaitingFetch): number {
  let bytes = fetch.availableBytes
  for (const { state, readableEndBefore, visibleBytesBefore } of fetch.parts) {
    if (state === undefined) continue
    if (fetch.isolation === READ_AS_REPLICA) {
      if (state.highWatermark !== readableEndBefore) return Number.POSITIVE_INFINITY
      bytes += state.appendedBytes - visibleBytesBefore
      continue
    }
    const end = readableEnd(state, fetch.isolation)
    if (visibleBytesBefore >= 0 && end === state.highWatermark) bytes += state.visibleBytes - visibleBytesBefore
    else if (end !== readableEndBefore) return Number.POSITIVE_INFINITY
  }
  return bytes
}
