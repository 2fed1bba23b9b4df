/**
 * ProduceCall: batches for some partitions, whoever sends them; each part is one ring message to its shard, copied once, from the
 * socket's buffer into the ring.
 *
 * Thread    main; batches are only valid during start(), so everything is in a ring or in the staging area when it returns
 * Ordering  parts enter a shard's ring in the order of calls and parts: appends of one connection to one partition keep it
 * Refusal   POLICY_VIOLATION: the partition drains. Clients ask for metadata, whose drainFrom says which partitions take records
 * Limits    what is wrong with one part is that part's error
 * Timeout   the shard answers within timeoutMs; for the case that it does not, the sweep of the gateway does (SLACK_MS later)
 */
import { type ErrorCode, errorNumberOf } from '../../model/errors.ts'
import { isInternalTopic } from '../../model/internal-topics.ts'
import type { ProduceReplyPart } from '../../protocol/index.ts'
import type { ProduceReplyFields } from '../../ring/message-codec.ts'
import type { Acks } from '../../ring/messages.ts'
import type { Connection } from '../connection.ts'
import { leadRefusal } from '../partition-router.ts'
import type { ProduceWaiter } from '../shard-link.ts'
import type { HandlerContext } from './handler-context.ts'

const PRODUCE_SLACK_MS = 5_000

export interface ProduceCallPart {
  readonly topicId: string
  readonly partition: number
  /** -1 = not checked. */
  readonly leaderEpoch: number
  readonly batches: Uint8Array
  /** What the door found wrong with it: it goes no further. */
  readonly refusal?: { readonly code: ErrorCode; readonly text: string }
}

export interface ProduceCallOptions {
  readonly gateway: HandlerContext
  readonly connection: Pick<Connection, 'openRequests'>
  readonly acks: Acks
  readonly timeoutMs: number
  readonly parts: readonly ProduceCallPart[]
  /** Every part's bytes are in a ring, or refused: called once, perhaps within start(). */
  readonly onTaken: () => void
  /** With acks 0: a part was refused before it reached its shard. */
  readonly onRefused?: (code: ErrorCode, text: string) => void
  /** An answer for each part, in order. Never with acks 0. */
  readonly onReplies: (parts: readonly ProduceReplyPart[]) => void
}

export class ProduceCall implements ProduceWaiter {
  readonly #call: ProduceCallOptions
  readonly #wantsReply: boolean
  readonly #replies: (ProduceReplyPart | undefined)[]
  readonly #startedMs: number
  /** Parts without an answer, and parts whose bytes no ring has taken. */
  #unanswered: number
  #untaken: number
  #isOver = false

  constructor(call: ProduceCallOptions) {
    this.#call = call
    this.#wantsReply = call.acks !== 0
    this.#replies = new Array(call.parts.length).fill(undefined)
    this.#unanswered = call.parts.length
    this.#untaken = call.parts.length
    this.#startedMs = call.gateway.clock.monotonicMs()
  }

  start(): void {
    const { gateway, connection, timeoutMs, parts } = this.#call
    if (this.#wantsReply) {
      connection.openRequests++
      gateway.deadlines.add(this.#startedMs + timeoutMs + PRODUCE_SLACK_MS, this)
    }
    for (let index = 0; index < parts.length; index++) this.#sendPart(index, parts[index]!)
    if (parts.length === 0) this.#finishIfDone()
    if (parts.length === 0) this.#call.onTaken()
  }

  #sendPart(index: number, part: ProduceCallPart): void {
    const { gateway, acks, timeoutMs } = this.#call
    const { batches } = part
    if (part.refusal !== undefined) {
      this.#refuse(index, part.refusal.code, part.refusal.text)
      return
    }
    const topic = gateway.router.byId(part.topicId)
    const partition = topic?.partitions[part.partition]
    if (partition === undefined) {
      this.#refuse(index, topic === undefined ? 'UNKNOWN_TOPIC_ID' : 'UNKNOWN_TOPIC_OR_PARTITION', '')
      return
    }
    if (isInternalTopic(partition.topicName)) {
      this.#refuse(index, 'INVALID_TOPIC_EXCEPTION', `${partition.topicName} belongs to the broker`)
      return
    }
    const { drainFrom } = topic!.record.state
    if (drainFrom !== undefined && part.partition >= drainFrom) {
      const text = `the partition drains and takes no new records: partitions 0 to ${drainFrom - 1} do`
      this.#refuse(index, 'POLICY_VIOLATION', text)
      return
    }
    const refusal = leadRefusal(partition)
    if (refusal !== undefined) {
      this.#refuse(index, refusal.code, refusal.text)
      return
    }
    const link = gateway.links[partition.shard]!
    if (batches.length > link.batchBytesMax) {
      this.#refuse(index, 'MESSAGE_TOO_LARGE', `${batches.length} bytes; a part carries at most ${link.batchBytesMax}`)
      return
    }
    const answer = link.produce(
      {
        partitionRef: partition.ref,
        leaderEpoch: part.leaderEpoch,
        acks,
        timeoutMs,
        batches,
      },
      this.#wantsReply ? this : undefined,
      index,
      () => this.#onTaken(),
    )
    if (answer === 'full') this.#refuse(index, 'OVERLOADED', `shard ${partition.shard} has no room`)
    else if (answer === 'failed') this.#refuse(index, 'KAFKA_STORAGE_ERROR', link.reason ?? '')
  }

  onProduced(tag: number, fields: ProduceReplyFields): void {
    this.#answer(tag, {
      errorNumber: fields.errorNumber,
      errorText: fields.text,
      baseOffset: fields.baseOffset,
      logAppendTimeMs: fields.logAppendTimeMs,
      logStartOffset: fields.logStartOffset,
      durability: fields.durability,
      leaderEpoch: fields.leaderEpoch,
    })
  }

  /** The deadline: the parts that have no answer get REQUEST_TIMED_OUT; what the shard says later is dropped. */
  onDeadline(): void {
    for (let index = 0; index < this.#replies.length && !this.#isOver; index++)
      if (this.#replies[index] === undefined)
        this.#answer(index, failedPart(errorNumberOf('REQUEST_TIMED_OUT'), 'the shard did not answer in time'))
  }

  #refuse(index: number, code: ErrorCode, text: string): void {
    if (!this.#wantsReply) {
      this.#call.gateway.onRefusedWithoutReply(code)
      this.#call.onRefused?.(code, text)
    }
    this.#onTaken()
    if (this.#wantsReply) this.#answer(index, failedPart(errorNumberOf(code), text))
  }

  #onTaken(): void {
    this.#untaken--
    if (this.#untaken === 0) this.#call.onTaken()
  }

  #answer(index: number, part: ProduceReplyPart): void {
    if (this.#isOver || this.#replies[index] !== undefined) return
    this.#replies[index] = part
    this.#unanswered--
    this.#finishIfDone()
  }

  #finishIfDone(): void {
    if (this.#unanswered > 0 || this.#isOver || !this.#wantsReply) return
    this.#isOver = true
    const { gateway, connection } = this.#call
    gateway.deadlines.remove(this)
    connection.openRequests--
    gateway.metrics.observeRequest('produce', gateway.clock.monotonicMs() - this.#startedMs)
    this.#call.onReplies(this.#replies as ProduceReplyPart[])
  }
}

function failedPart(errorNumber: number, errorText: string): ProduceReplyPart {
  return {
    errorNumber,
    errorText,
    baseOffset: -1,
    logAppendTimeMs: -1,
    logStartOffset: -1,
    durability: 0,
    leaderEpoch: -1,
  }
}
