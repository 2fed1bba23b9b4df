/**
 * ShardLink: the gateway's end of one shard: puts requests into its rings, gives its replies to whoever waits for them.
 *
 * Owns        the request slots (requestId -> who waits), three lanes: requests, what replication has to say (the same ring, but its reserved
 *             quarter is open to it), and reads that do not queue behind them
 * Thread      main
 * Invariants  SL1 a slot is open from its request until its one final reply, or until the shard has failed
 *             SL2 after fail() no ring of the shard is read again
 * Ordering    claim -> fill -> (turn ends, or WAKE_BYTES are queued) publish -> ring the shard's signal, once for many
 * Limits      what a ring has no room for is staged, within bounds, or refused: 'full' (request-lane.ts). Of synced ends the newest of
 *             each follower of a partition waits, for they are not told again soon
 * Failure     the shard's end: every open slot gets a KAFKA_STORAGE_ERROR with the reason
 * Not here    what is in a request (handlers/), when to drain (gateway.ts)
 */
import { InvariantError } from '../base/assert.ts'
import { type ErrorCode, errorCodeOf, errorNumberOf, MillraceError } from '../model/errors.ts'
import type { ShardIndex } from '../model/ids.ts'
import type { ReplicaIdentity } from '../model/replica.ts'
import {
  controlBodyBytesMax,
  encodeControlBody,
  readControlReply,
  readNotice,
  writeControl,
} from '../ring/control-codec.ts'
import type { ControlOperation, Notice } from '../ring/control-messages.ts'
import {
  controlErrorNumber,
  controlRequestId,
  type GroupFields,
  groupBodyBytes,
  groupReplyHeader,
  writeGroupRequest,
} from '../ring/group-codec.ts'
import {
  claimFetch,
  claimProduce,
  FetchFields,
  FetchPartitionFields,
  fetchBytes,
  ProduceFields,
  ProduceReplyFields,
  readProduceReply,
  setFetchPartition,
} from '../ring/message-codec.ts'
import { FETCH_END_BYTES, FETCH_REPLY_REQUEST_ID_AT, MessageType, PRODUCE_BATCHES_AT } from '../ring/messages.ts'
import {
  claimReplicaAppend,
  ReplicaAppendedFields,
  ReplicaAppendFields,
  type ReplicaProgressRow,
  type ReplicaSyncedRow,
  readReplicaAppended,
  readReplicaSynced,
  replicaAppendBytesMax,
  replicaProgressBytes,
  replicaProgressRowsMax,
  writeReplicaProgress,
} from '../ring/replica-codec.ts'
import type { RingReader } from '../ring/ring-reader.ts'
import type { GatewaySide } from '../ring/shard-channel.ts'
import { RequestLane } from './request-lane.ts'

/** Queued bytes that are worth waking the shard for before the turn ends. */
const WAKE_BYTES = 64 * 1024
const REQUEST_ID_MAX = 0xffff_ffff
/** Control messages that wait for room in the ring: many times what one change of the largest topic needs. */
const STAGED_CONTROLS_MAX = 100_000
const STAGED_CONTROL_BYTES_MAX = 64 * 1024 * 1024

export interface ProduceWaiter {
  /** `fields` is reused: read it, do not keep it. */
  onProduced(tag: number, fields: ProduceReplyFields): void
}

export interface FetchWaiter {
  /** The FETCH_REPLY that `reader` stands on; its page references are the waiter's to release. */
  onFetched(link: ShardLink, tag: number, reader: RingReader): void
  onFetchFailed(link: ShardLink, tag: number, code: ErrorCode, text: string): void
}

export interface ReplicaAppendWaiter {
  /** `fields` is reused: read it, do not keep it. */
  onReplicaAppended(tag: number, fields: Readonly<ReplicaAppendedFields>): void
}

/** What a leader answered for one partition that this broker follows. */
export interface ReplicaAppend {
  readonly partitionRef: number
  readonly leaderEpoch: number
  /** -1 = none. */
  readonly divergingEpoch: number
  readonly divergingEndOffset: number
  readonly highWatermark: number
  readonly logStartOffset: number
}

export interface GroupWaiter {
  /** `header` lies in the ring: copy it before this returns. */
  onGroupReply(header: Uint8Array): void
  onGroupFailed(error: MillraceError): void
}

export interface SubFetchPart {
  readonly partitionRef: number
  readonly leaderEpoch: number
  readonly fetchOffset: number
  readonly maxBytes: number
  /** Of the last batch that the replica has, or that the consumer took; -1 = it has none, or does not tell. */
  readonly lastEpoch: number
}

export interface SubFetch {
  readonly waitMs: number
  readonly minBytes: number
  readonly maxBytes: number
  readonly isolation: number
  readonly parts: readonly SubFetchPart[]
  /** Who follows; undefined = a consumer. */
  readonly replica: ReplicaIdentity | undefined
  /** Of a consumer: a follower may answer. */
  readonly anyReplica: boolean
  /**
   * Of a consumer: the reply has a line for each partition, also for those that have nothing new, in the order of `parts`. Where they are
   * so many that their lines alone would fill half a frame of the reply ring, those that find no room are left out all the same.
   */
  readonly allPartitions?: boolean
}

type Slot =
  | { readonly kind: 'produce'; readonly waiter: ProduceWaiter; readonly tag: number }
  | { readonly kind: 'fetch'; readonly waiter: FetchWaiter; readonly tag: number }
  | { readonly kind: 'replica'; readonly waiter: ReplicaAppendWaiter; readonly tag: number }
  | { readonly kind: 'group'; readonly waiter: GroupWaiter }
  | {
      readonly kind: 'control'
      readonly resolve: (body: unknown) => void
      readonly reject: (error: MillraceError) => void
    }

export interface ShardLinkOptions {
  readonly shard: ShardIndex
  readonly side: GatewaySide
  readonly stagedBytesMax: number
  /** Something was put in the ring: call flush() before the turn ends. */
  readonly onDirty: () => void
  /** Something was put in the ring that may wait: call flush() within a few milliseconds. */
  readonly onPatient: (link: ShardLink) => void
  readonly onNotice: (link: ShardLink, notice: Notice) => void
  /** So far the device has logs that follow. */
  readonly onReplicaSynced?: (link: ShardLink, rows: readonly ReplicaSyncedRow[]) => void
}

/** 'sent': in the ring. 'staged': waits for room, onTaken follows. 'full': refused. 'failed': the shard has ended. */
export type LinkAnswer = 'sent' | 'staged' | 'full' | 'failed'

export class ShardLink {
  readonly shard: ShardIndex
  readonly side: GatewaySide
  state: 'starting' | 'serving' | 'failed' | 'stopped' = 'starting'
  reason: string | null = null

  readonly #options: ShardLinkOptions
  readonly #slots = new Map<number, Slot>()
  readonly #requests: RequestLane
  readonly #replication: RequestLane
  readonly #reads: RequestLane
  #stagedControls: { readonly bytes: number; readonly write: () => boolean }[] = []
  #stagedControlBytes = 0
  /** By partition and follower: the reads' lane had no room. */
  readonly #waitingProgress = new Map<string, ReplicaProgressRow>()
  #nextRequestId = 1
  #queuedBytes = 0
  /** Of what may wait for company: it leaves with the next that may not. */
  #patientBytes = 0

  // Filled and read within one call each.
  readonly #produce = new ProduceFields()
  readonly #produceReply = new ProduceReplyFields()
  readonly #fetch = new FetchFields()
  readonly #fetchPart = new FetchPartitionFields()
  readonly #replicaAppend = new ReplicaAppendFields()
  readonly #replicaAppended = new ReplicaAppendedFields()

  constructor(options: ShardLinkOptions) {
    this.#options = options
    this.shard = options.shard
    this.side = options.side
    const { requests, reads } = options.side
    const onQueued = (bytes: number) => this.#onQueued(bytes)
    const onFull = () => this.flush()
    const { stagedBytesMax } = options
    this.#requests = new RequestLane({ ring: requests, stagedBytesMax, onQueued, onFull })
    this.#replication = new RequestLane({ ring: requests, stagedBytesMax, onQueued, onFull })
    this.#reads = new RequestLane({ ring: reads, stagedBytesMax: reads.capacityBytes * 2, onQueued, onFull })
  }

  get stagedBytes(): number {
    return this.#requests.stagedBytes + this.#replication.stagedBytes + this.#reads.stagedBytes
  }

  get stagedTotal(): number {
    return this.#requests.stagedTotal + this.#replication.stagedTotal + this.#reads.stagedTotal
  }

  /** The ring is full: what comes now is copied once more, so whoever can wait should. */
  get isCrowded(): boolean {
    return this.#requests.stagedBytes > 0
  }

  get openSlots(): number {
    return this.#slots.size
  }

  get batchBytesMax(): number {
    return this.side.requests.frameBytesMax - PRODUCE_BATCHES_AT
  }

  /**
   * Sends one partition's batches; they are copied into the ring, or into the staging area, before it returns.
   * `waiter` undefined = acks=none: no slot, no reply.
   */
  produce(
    request: {
      readonly partitionRef: number
      readonly leaderEpoch: number
      readonly acks: number
      readonly timeoutMs: number
      readonly batches: Uint8Array
    },
    waiter: ProduceWaiter | undefined,
    tag: number,
    onTaken: () => void,
  ): LinkAnswer {
    if (this.state === 'failed') return 'failed'
    const requestId = waiter === undefined ? 0 : this.#newRequestId()
    const { partitionRef, leaderEpoch, acks, timeoutMs, batches } = request
    const answer = this.#requests.submit({
      requestId,
      bytes: batches.length,
      write: () => this.#writeProduce({ requestId, partitionRef, leaderEpoch, acks, timeoutMs, batches }),
      keep: () => {
        const kept = batches.slice()
        return () => this.#writeProduce({ requestId, partitionRef, leaderEpoch, acks, timeoutMs, batches: kept })
      },
      onTaken,
    })
    if (waiter !== undefined && (answer === 'sent' || answer === 'staged'))
      this.#slots.set(requestId, { kind: 'produce', waiter, tag })
    return answer
  }

  /** Bytes of batches that one replicaAppend() carries. */
  get replicaAppendBytesMax(): number {
    return replicaAppendBytesMax(this.side.requests)
  }

  /**
   * What a leader answered to a fetch of this broker's, for one partition; `batches` are pieces of whole batches, copied before this
   * returns. `waiter` is told when they are written. In the reserved quarter of the ring: producers do not hold it up.
   */
  replicaAppend(
    append: ReplicaAppend,
    batches: readonly Uint8Array[],
    waiter: ReplicaAppendWaiter,
    tag: number,
  ): 'sent' | 'staged' | 'full' | 'failed' {
    if (this.state === 'failed') return 'failed'
    const requestId = this.#newRequestId()
    let bytes = 0
    for (const piece of batches) bytes += piece.length
    const answer = this.#replication.submit({
      requestId,
      bytes,
      write: () => this.#writeReplicaAppend(requestId, append, batches),
      keep: () => {
        const kept = batches.map((piece) => piece.slice())
        return () => this.#writeReplicaAppend(requestId, append, kept)
      },
      onTaken: () => {},
    })
    if (answer !== 'full') this.#slots.set(requestId, { kind: 'replica', waiter, tag })
    return answer
  }

  /** What followers have told of their synced ends. Where there is no room the newest of each waits for it. False = the shard has ended. */
  replicaProgress(rows: readonly ReplicaProgressRow[]): boolean {
    if (this.state === 'failed') return false
    const left = this.#waitingProgress.size === 0 ? this.#sendProgress(rows) : rows
    for (const row of left) this.#waitingProgress.set(`${row.partitionRef} ${row.nodeId}`, row)
    return true
  }

  /** Answers those that there was no room for. */
  #sendProgress(rows: readonly ReplicaProgressRow[]): readonly ReplicaProgressRow[] {
    const rowsMax = replicaProgressRowsMax(this.side.reads)
    for (let from = 0; from < rows.length; from += rowsMax) {
      const part = rows.slice(from, from + rowsMax)
      const write = () => writeReplicaProgress(this.side.reads, part)
      const bytes = replicaProgressBytes(part.length)
      if (this.#reads.submit({ requestId: 0, bytes, write, keep: () => write, onTaken: () => {} }) === 'full')
        return rows.slice(from)
    }
    return []
  }

  /** Answers the request id, for finish() and cancel(); or why there is none. */
  fetch(request: SubFetch, waiter: FetchWaiter, tag: number): number | 'full' | 'failed' {
    if (this.state === 'failed') return 'failed'
    const requestId = this.#newRequestId()
    const write = () => this.#writeFetch(requestId, request)
    const bytes = fetchBytes(request.parts.length)
    if (bytes > this.side.reads.frameBytesMax) return 'full'
    const answer = this.#reads.submit({ requestId, bytes, write, keep: () => write, onTaken: () => {} })
    if (answer === 'full') return answer
    this.#slots.set(requestId, { kind: 'fetch', waiter, tag })
    return requestId
  }

  /** Asks for the reply now, with what there is. */
  finish(requestId: number): void {
    this.#endFetch(requestId, MessageType.FETCH_FINISH)
  }

  /** Nobody wants the reply any more; its pages come back all the same. */
  cancel(requestId: number): void {
    this.#endFetch(requestId, MessageType.FETCH_CANCEL)
  }

  /** Sends a control message; resolves with the answer's body, rejects with the shard's error. */
  control<T>(operation: ControlOperation, body: unknown): Promise<T> {
    const encoded = encodeControlBody(body)
    const refusal = this.#refusalOf(encoded.length)
    if (refusal !== undefined) return Promise.reject(refusal)
    return new Promise<T>((resolve, reject) => {
      const requestId = this.#newRequestId()
      this.#slots.set(requestId, { kind: 'control', resolve: resolve as (body: unknown) => void, reject })
      const write = () => writeControl(this.side.requests, { requestId, operation, body: encoded })
      this.#stagedControls.push({ bytes: encoded.length, write })
      this.#stagedControlBytes += encoded.length
      this.#writeControls()
      this.#options.onDirty()
    })
  }

  /**
   * Relays a request of groups, in line with the control messages before it. Its bytes are copied before this returns; the waiter is
   * told once, or, where the answer is an error, never. A steady
   * heartbeat waits a little for others to share its wake-up with.
   */
  relay(fields: GroupFields, waiter: GroupWaiter): MillraceError | undefined {
    const bytes = groupBodyBytes(fields)
    const refusal = this.#refusalOf(bytes)
    if (refusal !== undefined) return refusal
    const requestId = this.#newRequestId()
    this.#slots.set(requestId, { kind: 'group', waiter })
    const { requests } = this.side
    if (this.#stagedControls.length === 0 && writeGroupRequest(requests, requestId, fields)) {
      if (fields.isSteady) this.#onPatient(bytes)
      else this.#onQueued(bytes)
      return undefined
    }
    const kept = { ...fields, header: fields.header.slice() }
    this.#stagedControls.push({ bytes, write: () => writeGroupRequest(requests, requestId, kept) })
    this.#stagedControlBytes += bytes
    this.#options.onDirty()
    return undefined
  }

  /** Why a control message of so many bytes cannot be sent. */
  #refusalOf(bytes: number): MillraceError | undefined {
    if (this.state === 'failed') return this.#failure()
    if (this.#stagedControls.length >= STAGED_CONTROLS_MAX || this.#stagedControlBytes >= STAGED_CONTROL_BYTES_MAX)
      return new MillraceError('OVERLOADED', `shard ${this.shard} has no room`)
    const bytesMax = controlBodyBytesMax(this.side.requests)
    if (bytes <= bytesMax) return undefined
    const text = `${bytes} bytes; a request to a shard has at most ${bytesMax} (rings.requestBytes)`
    return new MillraceError('MESSAGE_TOO_LARGE', text)
  }

  /** Something waits for flush() that may not wait for longer than the turn. */
  get isDue(): boolean {
    return this.#queuedBytes > 0
  }

  /** Publishes what was claimed and wakes the shard, once. */
  flush(): void {
    if (this.#queuedBytes + this.#patientBytes === 0 || this.state === 'failed') return
    this.#queuedBytes = 0
    this.#patientBytes = 0
    this.side.reads.publish()
    this.side.requests.publish()
    this.side.shardSignal.ring()
  }

  /** Handles up to `bytesMax` of replies (at least one, if there is one); answers the bytes handled, 0 = none were there. */
  drain(bytesMax: number): number {
    if (this.state === 'failed') return 0
    const { replies } = this.side
    let bytes = 0
    while (bytes < bytesMax && replies.next()) {
      bytes += replies.length + 8
      this.#dispatch(replies)
      // A notice may have told that this shard is gone.
      if ((this.state as string) === 'failed') return bytes
    }
    if (replies.release()) this.side.shardSignal.ring()
    this.#retryStaged()
    return bytes
  }

  /** The shard has ended: nothing of it is looked at any more, everyone who waits gets an answer. */
  fail(reason: string): void {
    if (this.state === 'failed') return
    this.state = 'failed'
    this.reason = reason
    this.#stagedControls = []
    this.#stagedControlBytes = 0
    this.#requests.drop()
    this.#replication.drop()
    this.#reads.drop()
    this.#waitingProgress.clear()
    const slots = [...this.#slots.values()]
    this.#slots.clear()
    const reply = this.#produceReply
    for (const slot of slots) {
      if (slot.kind === 'control') slot.reject(this.#failure())
      else if (slot.kind === 'group') slot.waiter.onGroupFailed(this.#failure())
      else if (slot.kind === 'replica') slot.waiter.onReplicaAppended(slot.tag, this.#failedReplicaAppend())
      else if (slot.kind === 'fetch')
        slot.waiter.onFetchFailed(this, slot.tag, 'KAFKA_STORAGE_ERROR', this.#failure().message)
      else {
        Object.assign(reply, failedProduce(this.#failure().message))
        slot.waiter.onProduced(slot.tag, reply)
      }
    }
  }

  #failure(): MillraceError {
    return new MillraceError('KAFKA_STORAGE_ERROR', `shard ${this.shard} is offline: ${this.reason ?? 'it ended'}`)
  }

  #failedReplicaAppend(): ReplicaAppendedFields {
    const fields = this.#replicaAppended
    fields.errorNumber = errorNumberOf('KAFKA_STORAGE_ERROR')
    fields.lastEpoch = fields.logEndOffset = fields.highWatermark = -1
    fields.text = this.#failure().message
    return fields
  }

  #newRequestId(): number {
    do this.#nextRequestId = this.#nextRequestId >= REQUEST_ID_MAX ? 1 : this.#nextRequestId + 1
    while (this.#slots.has(this.#nextRequestId))
    return this.#nextRequestId
  }

  #onQueued(bytes: number): void {
    if (this.#queuedBytes === 0) this.#options.onDirty()
    this.#queuedBytes += bytes + 1
    if (this.#queuedBytes >= WAKE_BYTES) this.flush()
  }

  #onPatient(bytes: number): void {
    if (this.#patientBytes === 0) this.#options.onPatient(this)
    this.#patientBytes += bytes + 1
    if (this.#patientBytes >= WAKE_BYTES) this.flush()
  }

  #retryStaged(): void {
    this.#writeControls()
    this.#replication.retry()
    this.#requests.retry()
    this.#reads.retry()
    if (this.#waitingProgress.size === 0) return
    const waiting = [...this.#waitingProgress.values()]
    this.#waitingProgress.clear()
    this.replicaProgress(waiting)
  }

  #writeControls(): void {
    let written = 0
    for (const control of this.#stagedControls) {
      if (!control.write()) break
      written++
      this.#stagedControlBytes -= control.bytes
      this.#onQueued(control.bytes)
    }
    if (written > 0) this.#stagedControls = this.#stagedControls.slice(written)
  }

  #writeProduce(request: {
    readonly requestId: number
    readonly partitionRef: number
    readonly leaderEpoch: number
    readonly acks: number
    readonly timeoutMs: number
    readonly batches: Uint8Array
  }): boolean {
    const fields = this.#produce
    fields.requestId = request.requestId
    fields.partitionRef = request.partitionRef
    fields.leaderEpoch = request.leaderEpoch
    fields.acks = request.acks
    fields.timeoutMs = request.timeoutMs
    fields.batchBytes = request.batches.length
    const at = claimProduce(this.side.requests, fields)
    if (at < 0) return false
    this.side.requests.write(at, request.batches)
    return true
  }

  #writeReplicaAppend(requestId: number, append: ReplicaAppend, batches: readonly Uint8Array[]): boolean {
    const fields = this.#replicaAppend
    fields.requestId = requestId
    fields.partitionRef = append.partitionRef
    fields.leaderEpoch = append.leaderEpoch
    fields.divergingEpoch = append.divergingEpoch
    fields.divergingEndOffset = append.divergingEndOffset
    fields.highWatermark = append.highWatermark
    fields.logStartOffset = append.logStartOffset
    fields.batchBytes = 0
    for (const piece of batches) fields.batchBytes += piece.length
    let at = claimReplicaAppend(this.side.requests, fields)
    if (at < 0) return false
    for (const piece of batches) {
      this.side.requests.write(at, piece)
      at += piece.length
    }
    return true
  }

  #writeFetch(requestId: number, request: SubFetch): boolean {
    const fields = this.#fetch
    fields.requestId = requestId
    fields.waitMs = request.waitMs
    fields.minBytes = request.minBytes
    fields.maxBytes = request.maxBytes
    fields.isolation = request.isolation
    fields.partitionCount = request.parts.length
    fields.replicaNodeId = request.replica?.nodeId ?? -1
    fields.replicaIncarnation = request.replica?.incarnation ?? -1
    fields.anyReplica = request.anyReplica
    fields.allPartitions = request.allPartitions ?? false
    const at = claimFetch(this.side.reads, fields)
    if (at < 0) return false
    const part = this.#fetchPart
    for (let index = 0; index < request.parts.length; index++) {
      const from = request.parts[index]!
      part.partitionRef = from.partitionRef
      part.leaderEpoch = from.leaderEpoch
      part.fetchOffset = from.fetchOffset
      part.maxBytes = from.maxBytes
      part.lastEpoch = from.lastEpoch
      setFetchPartition(this.side.reads.view, at, index, part)
    }
    return true
  }

  #endFetch(requestId: number, type: number): void {
    const slot = this.#slots.get(requestId)
    if (slot?.kind !== 'fetch' || this.state === 'failed') return
    if (this.#reads.withdraw(requestId)) {
      // It never reached the shard: answered here.
      this.#slots.delete(requestId)
      slot.waiter.onFetchFailed(this, slot.tag, 'NONE', '')
      return
    }
    const at = this.side.reads.claim(type, FETCH_END_BYTES, 'control')
    // Full even for control: the fetch ends by its own time, which is bounded.
    if (at < 0) return
    this.side.reads.view.setUint32(at, requestId, true)
    this.#onQueued(FETCH_END_BYTES)
  }

  #dispatch(reader: RingReader): void {
    switch (reader.type) {
      case MessageType.PRODUCE_REPLY: {
        const fields = this.#produceReply
        readProduceReply(reader, fields)
        const slot = this.#takeSlot(fields.requestId)
        if (slot?.kind === 'produce') slot.waiter.onProduced(slot.tag, fields)
        else throw new InvariantError(`shard ${this.shard}: a produce reply to request ${fields.requestId}`)
        return
      }
      case MessageType.FETCH_REPLY: {
        const requestId = reader.view.getUint32(reader.at + FETCH_REPLY_REQUEST_ID_AT, true)
        const slot = this.#takeSlot(requestId)
        if (slot?.kind === 'fetch') slot.waiter.onFetched(this, slot.tag, reader)
        else throw new InvariantError(`shard ${this.shard}: a fetch reply to request ${requestId}`)
        return
      }
      case MessageType.CONTROL_REPLY: {
        const slot = this.#takeSlot(controlRequestId(reader))
        if (slot?.kind === 'group' && controlErrorNumber(reader) === 0) {
          slot.waiter.onGroupReply(groupReplyHeader(reader))
          return
        }
        const reply = readControlReply(reader)
        if (slot?.kind !== 'control' && slot?.kind !== 'group')
          throw new InvariantError(`shard ${this.shard}: a control reply to request ${reply.requestId}`)
        if (slot.kind === 'control' && reply.errorNumber === 0) {
          slot.resolve(reply.body)
          return
        }
        const error = new MillraceError(errorCodeOf(reply.errorNumber), String(reply.body ?? ''))
        if (slot.kind === 'group') slot.waiter.onGroupFailed(error)
        else slot.reject(error)
        return
      }
      case MessageType.REPLICA_APPENDED: {
        const fields = this.#replicaAppended
        readReplicaAppended(reader, fields)
        const slot = this.#takeSlot(fields.requestId)
        if (slot?.kind === 'replica') slot.waiter.onReplicaAppended(slot.tag, fields)
        else
          throw new InvariantError(`shard ${this.shard}: a replica's append ended that was request ${fields.requestId}`)
        return
      }
      case MessageType.REPLICA_SYNCED:
        this.#options.onReplicaSynced?.(this, readReplicaSynced(reader))
        return
      case MessageType.NOTICE:
        this.#options.onNotice(this, readNotice(reader))
        return
      default:
        throw new InvariantError(`shard ${this.shard}: a message of type ${reader.type}`)
    }
  }

  #takeSlot(requestId: number): Slot | undefined {
    const slot = this.#slots.get(requestId)
    if (slot !== undefined) this.#slots.delete(requestId)
    return slot
  }
}

function failedProduce(text: string): Partial<ProduceReplyFields> {
  return {
    errorNumber: errorNumberOf('KAFKA_STORAGE_ERROR'),
    durability: 0,
    baseOffset: -1,
    logAppendTimeMs: -1,
    logStartOffset: -1,
    leaderEpoch: -1,
    text,
  }
}
