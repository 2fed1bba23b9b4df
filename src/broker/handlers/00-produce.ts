/**
 * produce: each part goes to its shard as one ring message, copied once, from the socket's buffer into the ring.
 *
 * Versions  1
 * Thread    main; the body is only valid during start(), so everything is in a ring or in the staging area when it returns
 * Ordering  parts enter a shard's ring in the order of frames and parts: appends of one connection to one partition keep it
 * Refusal   POLICY_VIOLATION: the partition drains. Clients ask for metadata, whose drainFrom says which partitions take records
 * Limits    what is wrong with one part is that part's error; a frame whose lengths do not add up is the request's
 * Timeout   the shard answers within timeoutMs; for the case that it does not, the sweep of the gateway does (SLACK_MS later)
 */
import { errorNumberOf, MillraceError } from '../../model/errors.ts'
import { isInternalTopic } from '../../model/internal-topics.ts'
import {
  encodeFrame,
  type ProduceReplyPart,
  type ProduceRequest,
  type ProduceRequestPart,
  produce,
} from '../../protocol/index.ts'
import type { ProduceReplyFields } from '../../ring/message-codec.ts'
import type { Resource } from '../authorise.ts'
import { leadRefusal } from '../partition-router.ts'
import type { ProduceWaiter } from '../shard-link.ts'
import type { Call, HotHandler } from './handler.ts'

export const PRODUCE_SLACK_MS = 5_000

export const produceHandler: HotHandler<ProduceRequest, never> = {
  kind: 'hot',
  codec: produce as never,
  resources: (request) => request.parts.map((part): Resource => ({ kind: 'topic-id', topicId: part.topicId })),
  start(call) {
    // Known not to be stored: the client sends it again, to whoever leads then.
    if (call.gateway.isClosing) throw new MillraceError('LEADER_NOT_AVAILABLE', 'the broker is stopping')
    let bodyBytes = 0
    for (const part of call.request.parts) bodyBytes += part.batchBytes
    if (bodyBytes !== call.body.length)
      throw new MillraceError(
        'INVALID_REQUEST',
        `produce: the parts have ${bodyBytes} bytes in all, the frame's body ${call.body.length}`,
      )
    new ProduceCall(call).start()
  },
}

class ProduceCall implements ProduceWaiter {
  readonly #call: Call<ProduceRequest>
  readonly #wantsReply: boolean
  readonly #replies: (ProduceReplyPart | undefined)[]
  readonly #startedMs: number
  /** Parts without an answer, and parts whose bytes no ring has taken. */
  #unanswered: number
  #untaken: number
  #isOver = false

  constructor(call: Call<ProduceRequest>) {
    this.#call = call
    this.#wantsReply = call.request.acks !== 0
    this.#replies = new Array(call.request.parts.length).fill(undefined)
    this.#unanswered = call.request.parts.length
    this.#untaken = call.request.parts.length
    this.#startedMs = call.gateway.clock.monotonicMs()
  }

  start(): void {
    const { gateway, connection, request, body } = this.#call
    if (this.#wantsReply) {
      connection.openRequests++
      gateway.deadlines.add(this.#startedMs + request.timeoutMs + PRODUCE_SLACK_MS, this)
    }
    let at = 0
    for (let index = 0; index < request.parts.length; index++) {
      const part = request.parts[index]!
      this.#sendPart(index, part, body.subarray(at, at + part.batchBytes))
      at += part.batchBytes
    }
    if (request.parts.length === 0) this.#finishIfDone()
    if (request.parts.length === 0) connection.complete(this.#call.frameBytes)
  }

  #sendPart(index: number, part: ProduceRequestPart, batches: Uint8Array): void {
    const { gateway, request } = this.#call
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
        acks: request.acks,
        timeoutMs: request.timeoutMs,
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

  #refuse(index: number, code: Parameters<typeof errorNumberOf>[0], text: string): void {
    if (!this.#wantsReply) this.#call.gateway.onRefusedWithoutReply(code)
    this.#onTaken()
    if (this.#wantsReply) this.#answer(index, failedPart(errorNumberOf(code), text))
  }

  #onTaken(): void {
    this.#untaken--
    if (this.#untaken === 0) this.#call.connection.complete(this.#call.frameBytes)
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
    const { gateway, connection, correlationId } = this.#call
    gateway.deadlines.remove(this)
    connection.openRequests--
    gateway.metrics.observeRequest('produce', gateway.clock.monotonicMs() - this.#startedMs)
    const header = produce.encodeReply({ parts: this.#replies as ProduceReplyPart[] })
    connection.send(encodeFrame({ api: produce.api, isReply: true, correlationId }, header))
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
