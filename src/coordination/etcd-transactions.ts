/**
 * EtcdTransactions: transactions whose outcome is known although replies get lost.
 *
 * Each transaction runs in a lane: a key of this client under REQUESTS_PREFIX. It writes its own id there, on the condition that the
 * lane's key is as this client last knew it. After a lost reply the lane is read back by a transaction that
 * changes the key under the same condition: either the id is there, and all of it was applied, or the condition of the lost one can never
 * hold again, wherever it still travels, and trying again is safe.
 *
 * Owns        the lanes, and the lease that removes their keys when this client is gone
 * Invariants  ET1 one transaction at a time in a lane
 *             ET2 a transaction is sent again only when the one before it is known not to be applied, for ever
 *             ET3 a lane whose last outcome is not known is used again: its next transaction has the same condition, so of the two
 *             one at most is applied, and once that is the next one, the lost one never will be
 * Limits      LANES_MAX at once, QUEUED_MAX waiting. At most requestTimeoutMs to send and as much again to read back
 * Failure     BROKER_NOT_AVAILABLE: not applied; StoreOutcomeUnknownError: it could not be read back; OVERLOADED: the queue is full
 */
import type { IKeyValue, IRequestOp, ITxnRequest, ITxnResponse } from 'etcd3'
import { utf8Decode } from '../base/bytes.ts'
import { Fifo } from '../base/fifo.ts'
import { MillraceError } from '../model/errors.ts'
import type { EtcdMembers } from './etcd-members.ts'
import { compareOf, keyBytes, operationOf, REQUESTS_PREFIX, revisionOf } from './etcd-messages.ts'
import {
  type StoreCondition,
  type StoreOperation,
  StoreOutcomeUnknownError,
  type StoreResult,
} from './metadata-store.ts'

const LANES_MAX = 8
const QUEUED_MAX = 10_000
/** The keys of a client that is gone stay so long; a lease is replaced when half of it is over. */
const LANE_LEASE_SECONDS = 3_600
const REVOKE_MS_MAX = 1_000

interface Lane {
  readonly key: Buffer
  /** Of the key, as of the last answer; 0 = there is none. */
  modRevision: number
}

/** What the lane's key says after a lost reply. */
type Settled = { readonly kind: 'applied'; readonly revision: number } | { readonly kind: 'not-applied' }

export class EtcdTransactions {
  readonly #members: EtcdMembers
  readonly #clientId: string
  readonly #lanes: Lane[] = []
  readonly #waiting = new Fifo<(lane: Lane) => void>()
  #laneCount = 0
  #nextRequest = 1
  #lease: { readonly leaseId: string; readonly renewAtMs: number } | undefined
  #granting: Promise<string> | undefined

  constructor(members: EtcdMembers, clientId: string) {
    this.#members = members
    this.#clientId = clientId
  }

  async transact(conditions: readonly StoreCondition[], operations: readonly StoreOperation[]): Promise<StoreResult> {
    const compare = conditions.flatMap(compareOf)
    // Changes nothing, so it may be repeated.
    if (operations.length === 0) return this.#check({ compare })
    const deadlineMs = this.#members.nowMs() + this.#members.requestTimeoutMs
    const lane = await this.#takeLane()
    try {
      // It waited too long for a lane: the ones before it found nobody.
      if (this.#members.nowMs() > deadlineMs) throw this.#members.unreachable()
      return await this.#runIn(lane, { compare, success: operations.map(operationOf) }, deadlineMs)
    } finally {
      this.#giveLane(lane)
    }
  }

  /** Removes the lanes' keys, when etcd can be reached. */
  async close(): Promise<void> {
    const lease = this.#lease
    this.#lease = undefined
    if (lease === undefined) return
    const deadlineMs = this.#members.nowMs() + REVOKE_MS_MAX
    await this.#members.attempt((client, timeoutMs) => client.revokeLease(lease.leaseId, timeoutMs), deadlineMs)
  }

  async #check(request: ITxnRequest): Promise<StoreResult> {
    const answer = await this.#members.run((client, timeoutMs) => client.transact(request, timeoutMs))
    return { applied: answer.succeeded, revision: revisionOf(answer.header.revision) }
  }

  async #runIn(lane: Lane, request: ITxnRequest, deadlineMs: number): Promise<StoreResult> {
    let isLeaseDoubted = false
    for (let tries = 1; ; tries++) {
      const requestId = `${this.#clientId}/${this.#nextRequest++}`
      const leaseId = await this.#laneLease(deadlineMs)
      const sent = inLane(lane, requestId, leaseId, request)
      const attempt = await this.#members.attempt((client, timeoutMs) => client.transact(sent, timeoutMs), deadlineMs)
      if (attempt.kind === 'answered') {
        const result = resultOf(lane, requestId, attempt.value)
        if (result !== undefined) return result
      } else if (attempt.fault.kind === 'lease-gone' && !isLeaseDoubted) {
        // Perhaps the lanes' own lease: etcd does not say which.
        isLeaseDoubted = true
        this.#lease = undefined
        continue
      } else if (attempt.fault.kind === 'lost') {
        const settled = await this.#settle(lane, requestId, attempt.fault.reason)
        if (settled.kind === 'applied') return { applied: true, revision: settled.revision }
      } else if (attempt.fault.kind !== 'unsent') {
        throw this.#members.errorOf(attempt.fault)
      }
      if (!(await this.#members.backOff(tries, deadlineMs))) throw this.#members.unreachable()
    }
  }

  /** Reads the lane back, and ends what may still be under way to it. */
  async #settle(lane: Lane, requestId: string, reason: string): Promise<Settled> {
    const deadlineMs = this.#members.nowMs() + this.#members.requestTimeoutMs
    try {
      for (let tries = 1; ; tries++) {
        const leaseId = await this.#laneLease(deadlineMs)
        const fence = inLane(lane, `given up: ${requestId}`, leaseId, {})
        const attempt = await this.#members.attempt(
          (client, timeoutMs) => client.transact(fence, timeoutMs),
          deadlineMs,
        )
        if (attempt.kind === 'answered') return settledOf(lane, requestId, attempt.value)
        if (attempt.fault.kind === 'lease-gone') this.#lease = undefined
        else if (attempt.fault.kind === 'refused') throw this.#members.errorOf(attempt.fault)
        if (!(await this.#members.backOff(tries, deadlineMs))) throw this.#members.unreachable()
      }
    } catch (cause) {
      const why = cause instanceof MillraceError ? cause.message : String(cause)
      throw new StoreOutcomeUnknownError(`its reply was lost (${reason}), and it could not be read back: ${why}`, {
        cause,
      })
    }
  }

  async #takeLane(): Promise<Lane> {
    const lane = this.#lanes.pop()
    if (lane !== undefined) return lane
    if (this.#laneCount < LANES_MAX) {
      this.#laneCount++
      return { key: keyBytes(`${REQUESTS_PREFIX}${this.#clientId}/${this.#laneCount}`), modRevision: 0 }
    }
    if (this.#waiting.size >= QUEUED_MAX)
      throw new MillraceError('OVERLOADED', `${QUEUED_MAX} transactions wait for the metadata store`)
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  #giveLane(lane: Lane): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#lanes.push(lane)
    else next(lane)
  }

  async #laneLease(deadlineMs: number): Promise<string> {
    const lease = this.#lease
    if (lease !== undefined && this.#members.nowMs() < lease.renewAtMs) return lease.leaseId
    this.#granting ??= this.#grantLaneLease(deadlineMs).finally(() => {
      this.#granting = undefined
    })
    return this.#granting
  }

  async #grantLaneLease(deadlineMs: number): Promise<string> {
    const sentMs = this.#members.nowMs()
    const timeLeftMs = Math.max(1, deadlineMs - sentMs)
    const { ID: leaseId } = await this.#members.run(
      (client, timeoutMs) => client.grantLease(LANE_LEASE_SECONDS, timeoutMs),
      timeLeftMs,
    )
    this.#lease = { leaseId, renewAtMs: sentMs + (LANE_LEASE_SECONDS * 1_000) / 2 }
    return leaseId
  }
}

/** The transaction with the lane's condition and id in it; when it does not apply it answers the lane's key. */
function inLane(lane: Lane, value: string, leaseId: string, request: ITxnRequest): ITxnRequest {
  const mark: IRequestOp = { request_put: { key: lane.key, value: keyBytes(value), lease: leaseId } }
  return {
    compare: [
      { key: lane.key, target: 'Mod', result: 'Equal', mod_revision: lane.modRevision },
      ...(request.compare ?? []),
    ],
    success: [mark, ...(request.success ?? [])],
    failure: [{ request_range: { key: lane.key } }],
  }
}

/** Undefined: the lane was not as it was known, which says nothing of the transaction's own conditions. */
function resultOf(lane: Lane, requestId: string, answer: ITxnResponse): StoreResult | undefined {
  const revision = revisionOf(answer.header.revision)
  if (answer.succeeded) {
    lane.modRevision = revision
    return { applied: true, revision }
  }
  const mark = markOf(answer)
  const modRevision = mark === undefined ? 0 : revisionOf(mark.mod_revision)
  const isAsKnown = modRevision === lane.modRevision
  lane.modRevision = modRevision
  if (isAsKnown) return { applied: false, revision }
  // Delivered twice on its way: the first time counts.
  return mark !== undefined && utf8Decode(mark.value) === requestId
    ? { applied: true, revision: modRevision }
    : undefined
}

function settledOf(lane: Lane, requestId: string, answer: ITxnResponse): Settled {
  if (answer.succeeded) {
    lane.modRevision = revisionOf(answer.header.revision)
    return { kind: 'not-applied' }
  }
  const mark = markOf(answer)
  // The key went with its lease, an hour old, or somebody removed it: what it said is lost.
  lane.modRevision = mark === undefined ? 0 : revisionOf(mark.mod_revision)
  if (mark === undefined) throw new MillraceError('UNKNOWN_SERVER_ERROR', "the client's request key is gone")
  const value = utf8Decode(mark.value)
  return value === requestId ? { kind: 'applied', revision: lane.modRevision } : { kind: 'not-applied' }
}

function markOf(answer: ITxnResponse): IKeyValue | undefined {
  return answer.responses[0]?.response_range?.kvs[0]
}
