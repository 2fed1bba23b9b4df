/**
 * TransactionCoordinator: the requests of one transactional id, each asked until its outcome is known, of the broker that coordinates the
 * id by then; offsets of a group of the one that coordinates the group, which tells the other.
 *
 * Ordering  one request at a time: a change of the transaction while another is being made would be answered CONCURRENT_TRANSACTIONS
 * Again     every request may be asked again: partitions that were added are added, an end of the same epoch and outcome is answered as
 *           before, offsets are the same offsets; init-producer-id fences its own lost answer
 * Limits    requestTimeoutMs an attempt, the caller's deadline over all
 * Failure   at the deadline REQUEST_TIMED_OUT with the last error as its cause; what no further attempt can mend at once
 */
import { errorCodeOf, MillraceError } from '../../model/errors.ts'
import type { Codec, ProducerIdentity, TransactionPartition } from '../../protocol/index.ts'
import {
  addPartitionsToTxn,
  CoordinatorKind,
  endTxn,
  errorOf,
  initProducerId,
  txnOffsetCommit,
} from '../../protocol/index.ts'
import { abortable, sleep } from '../abort.ts'
import { asMillraceError } from '../as-millrace-error.ts'
import { type BackoffOptions, backoffMs } from '../backoff.ts'
import type { ClientRuntime } from '../client-runtime.ts'
import type { CoordinatedId, Coordinators } from '../coordinators.ts'
import { throwPartitionErrors } from '../group/group-coordinator.ts'
import { Turns } from '../turns.ts'
import type { OffsetsToCommit } from './transaction-offsets.ts'

export interface CoordinatorParts {
  readonly runtime: ClientRuntime
  readonly coordinators: Coordinators
  readonly backoff: BackoffOptions
  readonly requestTimeoutMs: number
}

export interface AskOptions {
  /** On the monotonic clock, over all attempts. */
  readonly deadlineMs: number
  readonly signal?: AbortSignal | undefined
}

interface Ask extends AskOptions {
  /** Whose coordinator is asked; left out: the transactional id's. */
  readonly of?: CoordinatedId
}

/** Whether an attempt ended without an answer: what was asked may have happened. */
export interface Doubt {
  isInDoubt: boolean
}

/** The transaction before is being ended: its markers are written within moments. */
const CONCURRENT_BACKOFF: BackoffOptions = { delayMsMin: 5, delayMsMax: 100 }
const ATTEMPT_MS_MIN = 1_000

export class TransactionCoordinator {
  readonly transactionalId: string
  readonly #parts: CoordinatorParts
  readonly #of: CoordinatedId
  readonly #turns = new Turns()

  constructor(transactionalId: string, parts: CoordinatorParts) {
    this.transactionalId = transactionalId
    this.#parts = parts
    this.#of = { kind: CoordinatorKind.TRANSACTION, id: transactionalId }
  }

  /** A new epoch of the transactional id: whoever had it before is fenced, and what it had open is aborted. */
  init(transactionTimeoutMs: number, options: AskOptions): Promise<ProducerIdentity> {
    const request = { transactionalId: this.transactionalId, transactionTimeoutMs }
    return this.#ask(initProducerId, request, options)
  }

  /** Throws the error of the partition that cannot be added; then none was. */
  async add(
    producer: ProducerIdentity,
    partitions: readonly TransactionPartition[],
    options: AskOptions,
  ): Promise<void> {
    const request = { transactionalId: this.transactionalId, ...producer, partitions }
    await this.#ask(addPartitionsToTxn, request, options, (reply) => {
      // The others say OPERATION_NOT_ATTEMPTED for the one that has failed.
      const faults = reply.partitions.filter(({ errorNumber }) => errorNumber !== 0)
      const fault = faults.find(({ errorNumber }) => errorCodeOf(errorNumber) !== 'OPERATION_NOT_ATTEMPTED')
      if (faults.length > 0) throw errorOf((fault ?? faults[0]!).errorNumber, (fault ?? faults[0]!).errorText)
      if (reply.partitions.length !== partitions.length)
        throw new MillraceError('UNKNOWN_SERVER_ERROR', 'the reply of add-partitions-to-txn lacks partitions')
    })
  }

  /** Commits a group's offsets as part of the transaction. The member's epoch is read anew for each attempt. */
  async commitOffsets(producer: ProducerIdentity, offsets: OffsetsToCommit, options: AskOptions): Promise<void> {
    const { transactionalId } = this
    const request = () => ({ ...offsets.request(), transactionalId, ...producer })
    const of: CoordinatedId = { kind: CoordinatorKind.GROUP, id: offsets.groupId }
    await this.#ask(txnOffsetCommit, request, { ...options, of }, (reply) => throwPartitionErrors(reply.topics))
  }

  /** Decides the transaction; answers the identity of the next one. `doubt` tells of attempts without an answer. */
  end(producer: ProducerIdentity, isCommit: boolean, options: AskOptions, doubt?: Doubt): Promise<ProducerIdentity> {
    const request = { transactionalId: this.transactionalId, ...producer, isCommit }
    return this.#ask(endTxn, request, options, undefined, doubt)
  }

  #ask<Request extends object, Value>(
    codec: Codec<Request, Value>,
    request: Request | (() => Request),
    options: Ask,
    check?: (value: Value) => void,
    doubt?: Doubt,
  ): Promise<Value> {
    return this.#turns.take(() => this.#attempts(codec, request, options, check, doubt))
  }

  async #attempts<Request extends object, Value>(
    codec: Codec<Request, Value>,
    request: Request | (() => Request),
    options: Ask,
    check: ((value: Value) => void) | undefined,
    doubt: Doubt | undefined,
  ): Promise<Value> {
    const { runtime, backoff } = this.#parts
    const { deadlineMs, signal, of = this.#of } = options
    for (let failures = 1; ; failures++) {
      try {
        const value = await this.#once(codec, typeof request === 'function' ? request() : request, options)
        check?.(value)
        return value
      } catch (cause) {
        const error = asMillraceError(cause)
        this.#parts.coordinators.failed(of, error)
        const isUnanswered = error.code === 'NETWORK_EXCEPTION' || error.code === 'REQUEST_TIMED_OUT'
        if (doubt !== undefined && (isUnanswered || error.code === 'ABORTED')) doubt.isInDoubt = true
        if (!mayMend(error)) throw error
        const steps = error.code === 'CONCURRENT_TRANSACTIONS' ? CONCURRENT_BACKOFF : backoff
        const delayMs = backoffMs(runtime.prng, failures, steps)
        if (runtime.clock.monotonicMs() + delayMs >= deadlineMs) throw this.#timedOut(codec.name, error)
        await sleep(runtime, delayMs, signal)
      }
    }
  }

  async #once<Request, Value>(codec: Codec<Request, Value>, request: Request, options: Ask): Promise<Value> {
    const { coordinators, requestTimeoutMs, runtime } = this.#parts
    const { deadlineMs, signal, of = this.#of } = options
    const connection = await coordinators.connection(of, { deadlineMs, signal })
    // What leaves with no time left to be answered would be in doubt for nothing.
    const leftMs = Math.max(ATTEMPT_MS_MIN, deadlineMs - runtime.clock.monotonicMs())
    const timeoutMs = Math.min(requestTimeoutMs, leftMs)
    return (await abortable(connection.call(codec, request, { timeoutMs }), signal)).value
  }

  #timedOut(name: string, cause: MillraceError): MillraceError {
    return new MillraceError(
      'REQUEST_TIMED_OUT',
      `${name} of transactional id '${this.transactionalId}': no outcome in time (${cause.message})`,
      { cause },
    )
  }
}

/** A topic that is gone does not come back within a transaction. */
function mayMend(error: MillraceError): boolean {
  return error.retriable && error.code !== 'UNKNOWN_TOPIC_OR_PARTITION' && error.code !== 'UNKNOWN_TOPIC_ID'
}
