/**
 * What must hold before a leader appends, as two lists of named steps: once for the request, then for each batch.
 *
 *   step                 objection
 *   checkAcks            INVALID_REQUIRED_ACKS
 *   checkLeads           NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR (offline)
 *   checkKnownEpoch      FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH
 *   checkLease           NOT_LEADER_OR_FOLLOWER (acks none and leader, where there are other replicas and the broker's lease may be over)
 *   checkInSync          NOT_ENOUGH_REPLICAS (acks=all)
 *   checkSpace           DISK_FULL
 *   checkWholeBatch      CORRUPT_MESSAGE, MESSAGE_TOO_LARGE, INVALID_RECORD … (record/batch-validator)
 *   checkTransactional   INVALID_REQUIRED_ACKS (of a transaction, and not acks=all)
 *   checkTimestamp       INVALID_TIMESTAMP (CreateTime, further ahead of the clock than message.timestamp.after.max.ms)
 *   checkKeys            INVALID_RECORD (a compacted topic's records have keys)
 *   checkProducer        OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE …, or a duplicate: answered as it was the
 *                        first time
 *
 * What Kafka's clients know of them is in README.md. Pure: nothing is changed; whoever calls stamps, stages and writes what passed. Happy path: no allocation.
 */
import type { Clock } from '../base/clock.ts'
import { isCompacted } from '../log/compaction.ts'
import type { ProducerDecision } from '../log/producer-state.ts'
import type { LeaderEpoch, Offset } from '../model/ids.ts'
import { type Refusal, refuse } from '../model/refusal.ts'
import { checkBatch } from '../record/batch-validator.ts'
import type { BatchView } from '../record/batch-view.ts'
import { ACKS_ALL, ACKS_LEADER, ACKS_NONE } from './acks.ts'
import { inSyncCount, minInSync } from './high-watermark.ts'
import type { KeyCheck } from './key-check.ts'
import { checkKnownEpoch, checkLeads } from './partition-fetch.ts'
import type { PartitionState } from './partition-state.ts'
import { isReplicated } from './replica-set.ts'

/** The batch was appended before: nothing to do but answer. */
export interface Duplicate {
  readonly kind: 'duplicate'
  readonly baseOffset: Offset
  readonly nextOffset: Offset
  readonly timestampMs: number
}

/** One produce request on one partition, as it lies in memory. One object, filled anew for each. */
export interface ProduceAttempt {
  state: PartitionState
  acks: number
  leaderEpoch: LeaderEpoch
  /** Set while the disk has less than its reserve free. */
  isSpaceLow: boolean
  /** Set while the broker's lease may be over: another may lead, and only what all in-sync replicas have is safe (I13). */
  isSuspended: boolean
  /** All of the ring's data area; the batch under test is [at, end of its request). */
  bytes: Uint8Array
  at: number
  end: number
  batch: BatchView
  /** Asked for topics that bound what a client's clock may say. */
  readonly wallClock: Pick<Clock, 'nowMs'>
  /** Opens batches, where that is needed: of a compacted topic. */
  keys: KeyCheck
  /** Decides by what is appended and staged (log/producer-state). */
  producers: { decide(batch: BatchView): ProducerDecision }
}

export type RequestStep = (attempt: ProduceAttempt) => Refusal | undefined
export type BatchStep = (attempt: ProduceAttempt) => Refusal | Duplicate | undefined

export const requestSteps: readonly RequestStep[] = [
  checkAcks,
  (attempt) => checkLeads(attempt.state),
  (attempt) => checkKnownEpoch(attempt.state, attempt),
  checkLease,
  checkInSync,
  checkSpace,
  checkNotEmpty,
]

/** Steps that look at a batch alone: run over all batches of a request before any is staged. */
export const batchSteps: readonly BatchStep[] = [checkWholeBatch, checkTransactional, checkTimestamp, checkKeys]

/** Steps that depend on what was staged before: run right before a batch is staged. */
export const orderSteps: readonly BatchStep[] = [checkProducer]

export function checkRequest(attempt: ProduceAttempt): Refusal | undefined {
  for (const step of requestSteps) {
    const refusal = step(attempt)
    if (refusal !== undefined) return refusal
  }
  return undefined
}

export function checkWith(steps: readonly BatchStep[], attempt: ProduceAttempt): Refusal | Duplicate | undefined {
  for (const step of steps) {
    const objection = step(attempt)
    if (objection !== undefined) return objection
  }
  return undefined
}

function checkAcks(attempt: ProduceAttempt): Refusal | undefined {
  const { acks } = attempt
  if (acks === ACKS_ALL || acks === ACKS_LEADER || acks === ACKS_NONE) return undefined
  return refuse('INVALID_REQUIRED_ACKS', `acks ${acks} is none of 0, 1, -1`)
}

function checkLease({ acks, state, isSuspended }: ProduceAttempt): Refusal | undefined {
  if (!isSuspended || acks === ACKS_ALL || !isReplicated(state.replicas)) return undefined
  return refuse('NOT_LEADER_OR_FOLLOWER', "the broker's lease may be over: only acks -1 (all) is taken")
}

function checkInSync(attempt: ProduceAttempt): Refusal | undefined {
  const { state, acks } = attempt
  if (acks !== ACKS_ALL || inSyncCount(state) >= minInSync(state)) return undefined
  return refuse('NOT_ENOUGH_REPLICAS', `${inSyncCount(state)} in sync, min.insync.replicas is ${minInSync(state)}`)
}

function checkSpace(attempt: ProduceAttempt): Refusal | undefined {
  return attempt.isSpaceLow ? refuse('DISK_FULL') : undefined
}

function checkNotEmpty(attempt: ProduceAttempt): Refusal | undefined {
  return attempt.at < attempt.end ? undefined : refuse('INVALID_RECORD', 'the request has no record batch')
}

const limits = { batchBytesMax: 0, origin: 'client' as const }

function checkWholeBatch(attempt: ProduceAttempt): Refusal | undefined {
  limits.batchBytesMax = attempt.state.config.maxMessageBytes
  const fault = checkBatch(attempt.bytes, attempt.at, attempt.end, limits)
  return fault === undefined ? undefined : refuse(fault.code, fault.text)
}

/** Its end is decided by whoever has seen all of it acknowledged: what may still be lost cannot be committed. */
function checkTransactional(attempt: ProduceAttempt): Refusal | undefined {
  if (attempt.acks === ACKS_ALL || !attempt.batch.reset(attempt.bytes, attempt.at).isTransactional) return undefined
  return refuse('INVALID_REQUIRED_ACKS', `batches of a transaction need acks -1 (all), not ${attempt.acks}`)
}

/** Such a record would keep its segment until that time. By the batch's header: records are not opened. */
function checkTimestamp({ state, wallClock, batch, bytes, at }: ProduceAttempt): Refusal | undefined {
  const { timestampType, timestampAfterMaxMs } = state.config
  if (timestampAfterMaxMs === Number.MAX_SAFE_INTEGER || timestampType !== 'CreateTime') return undefined
  const aheadMs = batch.reset(bytes, at).maxTimestamp - wallClock.nowMs()
  if (aheadMs <= timestampAfterMaxMs) return undefined
  const text = `the batch is ${aheadMs} ms ahead of the broker's clock, message.timestamp.after.max.ms is ${timestampAfterMaxMs}`
  return refuse('INVALID_TIMESTAMP', text)
}

/** What the partition knows of the batch's producer, its transaction included. */
export function checkProducer(attempt: ProduceAttempt): Refusal | Duplicate | undefined {
  const decision = attempt.producers.decide(attempt.batch)
  if (decision.kind === 'append') return undefined
  if (decision.kind === 'reject') return refuse(decision.code, decision.text)
  return {
    kind: 'duplicate',
    baseOffset: decision.baseOffset as Offset,
    nextOffset: (decision.lastOffset + 1) as Offset,
    timestampMs: decision.timestampMs,
  }
}

function checkKeys(attempt: ProduceAttempt): Refusal | undefined {
  return isCompacted(attempt.state.config)
    ? attempt.keys.check(attempt.batch.reset(attempt.bytes, attempt.at))
    : undefined
}
