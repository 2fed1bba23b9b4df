/**
 * FakeBroker: a small broker in memory that speaks `millrace.v1` over real sockets, for faults that a real one shows only by
 * luck: replies that are lost, late or refused, connections that break before or after the work is done, moved leaders.
 *
 * It keeps the rules a client depends on: Kafka's acceptance of producer sequences (with a memory of five batches), log start
 * and high watermark, leader epochs, long polling, credit; groups: fake-coordinator.ts; transactions: fake-transactions.ts; several
 * brokers with what they share: fake-cluster.ts. Not here: durability, limits, authorisation.
 */
import type { AddressInfo } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import { type ErrorCode, errorNumberOf, isMillraceError, MillraceError } from '../../src/model/errors.ts'
import type { TopicId } from '../../src/model/ids.ts'
import * as wire from '../../src/protocol/index.ts'
import { sequenceAfter } from '../../src/record/batch-layout.ts'
import { BatchView } from '../../src/record/batch-view.ts'
import { FakeCoordinator } from './fake-coordinator.ts'
import { FakeTransactions, noTransactions, type PartitionTransactions } from './fake-transactions.ts'

/** What to do with a request instead of answering it. */
export type Fault =
  | { readonly kind: 'none' }
  | { readonly kind: 'delay'; readonly delayMs: number }
  /** Answer this error (produce, fetch, list-offsets: in every part), after that promise; the work is not done. */
  | {
      readonly kind: 'error'
      readonly code: ErrorCode
      readonly after?: Promise<unknown>
      /** That a fetch's parts tell; default none. */
      readonly leaderEpoch?: number
      /** Of a fetch: where it says that it ends. */
      readonly highWatermark?: number
    }
  /** Do the work now, answer after that promise. */
  | { readonly kind: 'late-reply'; readonly after: Promise<unknown> }
  /** Do the work, say nothing. */
  | { readonly kind: 'drop-reply' }
  /** Do the work or not, then break the connection. */
  | { readonly kind: 'break'; readonly work: 'done' | 'not-done' }

export interface SeenRequest {
  readonly api: number
  readonly name: string
  /** Counts the requests of this api, from 0. */
  readonly index: number
  readonly produce?: wire.ProduceRequest
}

export interface FakeBrokerOptions {
  readonly topics?: Readonly<Record<string, number>>
  readonly creditBytes?: number
  readonly batchBytesMax?: number
  /** Of every topic. */
  readonly config?: Readonly<Record<string, string>>
  readonly faults?: (request: SeenRequest) => Fault
  readonly token?: string
  /** Default 1. */
  readonly nodeId?: number
  /** Requests that it does not know, as an older broker. */
  readonly lacks?: readonly number[]
  readonly membership?: FakeMembership
  /** Default 'fake'. */
  readonly clusterId?: string
}

/** Who leads what, as one broker knows it. */
export interface FakeView {
  readonly brokers: readonly wire.MetadataBroker[]
  leaderOf(topic: string, partition: number): { readonly nodeId: number; readonly leaderEpoch: number }
  coordinatorOf(kind: wire.CoordinatorKind, id: string): number
}

/** What the brokers of a cluster have in common: logs, groups, transactions, and the truth about who leads. */
export interface FakeMembership {
  readonly topics: Map<string, FakeTopic>
  readonly groups: FakeCoordinator
  readonly transactions: FakeTransactions
  readonly truth: FakeView
  newTopicNumber(): number
}

interface StoredBatch {
  readonly baseOffset: number
  readonly nextOffset: number
  readonly bytes: Uint8Array
}

interface ProducerState {
  epoch: number
  /** First and last sequence and base offset of the newest batches. */
  batches: { readonly first: number; readonly last: number; readonly baseOffset: number }[]
}

export interface FakePartition {
  logStartOffset: number
  highWatermark: number
  leaderEpoch: number
  /** First offset of what is not decided yet: read_committed ends there. Infinity = nothing is open. */
  openOffset: number
  /** Aborted transactions; lastOffset is their marker's. */
  readonly aborted: { readonly producerId: number; readonly firstOffset: number; readonly lastOffset: number }[]
  readonly batches: StoredBatch[]
  readonly producers: Map<number, ProducerState>
  readonly transactions: PartitionTransactions
}

export interface FakeTopic {
  readonly name: string
  readonly topicId: TopicId
  readonly partitions: FakePartition[]
}

interface Session {
  readonly socket: WebSocket
  receivedBytes: number
  grantedBytes: number
  isGreeted: boolean
}

const NO_FAULT: Fault = { kind: 'none' }
const CREDIT_BYTES_DEFAULT = 16 * 1024 * 1024
const EMPTY = new Uint8Array(0)

export class FakeBroker {
  readonly topics: Map<string, FakeTopic>
  readonly counts = new Map<number, number>()
  /** The coordinator of its groups. */
  readonly groups: FakeCoordinator
  readonly transactions: FakeTransactions
  /** What it tells of the cluster; the truth, unless a test makes it fall behind. */
  view: FakeView
  /** It reads nothing and says nothing, as a process that was stopped; connections stay. */
  isPaused = false
  /** What its receipts say; 2 = fsynced. */
  durability = 2
  /** It calls itself by the URL of its view, where that has one. */
  tellsViewUrls = false
  faults: (request: SeenRequest) => Fault
  port = 0
  connections = 0
  readonly #options: FakeBrokerOptions
  readonly #sessions = new Set<Session>()
  readonly #waiters = new Set<() => void>()
  #server: WebSocketServer | undefined
  readonly #newTopicNumber: () => number
  #topicNumber = 0
  #producerId = 1000

  constructor(options: FakeBrokerOptions = {}) {
    this.#options = options
    this.faults = options.faults ?? (() => NO_FAULT)
    const { membership } = options
    this.topics = membership?.topics ?? new Map()
    this.groups = membership?.groups ?? new FakeCoordinator(this.topics)
    this.transactions =
      membership?.transactions ??
      new FakeTransactions({
        find: (topicId, partition) => this.#find(topicId, partition),
        groups: this.groups,
        newProducerId: () => this.#producerId++,
        onChange: () => this.wake(),
      })
    this.view = membership?.truth ?? this.#alone()
    this.#newTopicNumber = membership?.newTopicNumber ?? (() => ++this.#topicNumber)
    for (const [name, partitions] of Object.entries(options.topics ?? {})) this.createTopic(name, partitions)
  }

  static async start(options: FakeBrokerOptions = {}): Promise<FakeBroker> {
    const broker = new FakeBroker(options)
    await broker.listen()
    return broker
  }

  get nodeId(): number {
    return this.#options.nodeId ?? 1
  }

  #alone(): FakeView {
    return {
      brokers: [{ nodeId: this.nodeId, url: '', rack: null }],
      leaderOf: (topic, partition) => ({
        nodeId: this.nodeId,
        leaderEpoch: this.partition(topic, partition).leaderEpoch,
      }),
      coordinatorOf: () => this.nodeId,
    }
  }

  /** Whether it leads, in truth: a fake broker does not believe what is not so any more. */
  #leads(topic: string, partition: number): boolean {
    const truth = this.#options.membership?.truth
    return truth === undefined || truth.leaderOf(topic, partition).nodeId === this.nodeId
  }

  #coordinates(kind: wire.CoordinatorKind, id: string): boolean {
    const truth = this.#options.membership?.truth
    return truth === undefined || truth.coordinatorOf(kind, id) === this.nodeId
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}`
  }

  /** Listens; after stop() on the same port again, with everything it stored. */
  async listen(): Promise<void> {
    const server = new WebSocketServer({ host: '127.0.0.1', port: this.port, perMessageDeflate: false })
    this.#server = server
    server.on('connection', (socket) => this.#accept(socket))
    await new Promise<void>((resolve, reject) => {
      server.once('listening', resolve)
      server.once('error', reject)
    })
    this.port = (server.address() as AddressInfo).port
  }

  /** Breaks all connections and stops listening; what is stored stays. */
  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    const isClosed = server === undefined ? undefined : new Promise<void>((resolve) => server.close(() => resolve()))
    this.breakConnections()
    for (const wake of [...this.#waiters]) wake()
    await isClosed
  }

  breakConnections(): void {
    for (const session of this.#sessions) session.socket.terminate()
  }

  createTopic(name: string, partitions: number): FakeTopic {
    const topicId = this.#newTopicNumber().toString(16).padStart(32, '0') as TopicId
    const topic: FakeTopic = { name, topicId, partitions: [] }
    for (let index = 0; index < partitions; index++)
      topic.partitions.push({
        ...{ logStartOffset: 0, highWatermark: 0, leaderEpoch: 1, openOffset: Number.POSITIVE_INFINITY },
        ...{ aborted: [], batches: [], producers: new Map(), transactions: noTransactions() },
      })
    this.topics.set(name, topic)
    return topic
  }

  partition(name: string, partition: number): FakePartition {
    return this.topics.get(name)!.partitions[partition]!
  }

  /** Stores a batch as it is, of a transaction or a marker: `openOffset` and `aborted` are the test's to keep. */
  store(name: string, partition: number, bytes: Uint8Array): number {
    const kept = this.partition(name, partition)
    const baseOffset = this.#put(kept, new BatchView().reset(bytes, 0), bytes)
    this.wake()
    return baseOffset
  }

  /** Fetches that wait look again. */
  wake(): void {
    for (const wake of [...this.#waiters]) wake()
  }

  #accept(socket: WebSocket): void {
    // Its handshake was under way when the broker stopped.
    if (this.#server === undefined) {
      socket.terminate()
      return
    }
    const session: Session = { socket, receivedBytes: 0, grantedBytes: 0, isGreeted: false }
    this.connections++
    this.#sessions.add(session)
    socket.binaryType = 'nodebuffer'
    socket.on('close', () => this.#sessions.delete(session))
    socket.on('error', () => {})
    socket.on('message', (data: Buffer) => {
      this.#receive(session, new Uint8Array(data)).catch((error: unknown) => {
        socket.close(1011, String(error).slice(0, 100))
      })
    })
  }

  async #receive(session: Session, bytes: Uint8Array): Promise<void> {
    if (this.isPaused) return
    const decoded = wire.decodeFrame(bytes)
    if (decoded.kind !== 'frame') {
      session.socket.close(1002, 'not a frame')
      return
    }
    const { frame } = decoded
    if (!this.#spendCredit(session, frame, bytes.length)) return
    const seen = this.#see(frame)
    const fault = this.faults(seen)
    if (fault.kind === 'delay') await new Promise((resolve) => setTimeout(resolve, fault.delayMs))
    if (fault.kind === 'error' && fault.after !== undefined) await fault.after
    if (fault.kind === 'break' && fault.work === 'not-done') {
      session.socket.terminate()
      return
    }
    const reply = fault.kind === 'error' ? this.#refuse(frame, fault) : await this.#perform(session, frame)
    this.#grant(session)
    if (fault.kind === 'late-reply') await fault.after
    if (fault.kind === 'break') session.socket.terminate()
    else if (fault.kind !== 'drop-reply' && reply !== undefined) this.#send(session, frame, reply.header, reply.body)
  }

  #see(frame: wire.Frame): SeenRequest {
    const index = this.counts.get(frame.api) ?? 0
    this.counts.set(frame.api, index + 1)
    const name = Object.entries(wire.Api).find(([, api]) => api === frame.api)?.[0] ?? 'UNKNOWN'
    const base = { api: frame.api, name, index }
    return frame.api === wire.Api.PRODUCE ? { ...base, produce: wire.produce.decodeRequest(frame.header) } : base
  }

  #spendCredit(session: Session, frame: wire.Frame, bytes: number): boolean {
    if (frame.api === wire.Api.HELLO) return true
    session.receivedBytes += bytes
    if (session.isGreeted && session.receivedBytes <= session.grantedBytes) return true
    session.socket.close(1008, session.isGreeted ? 'CREDIT_EXCEEDED' : 'no hello')
    return false
  }

  /** The broker is done with the bytes: as many more may come. */
  #grant(session: Session): void {
    const granted = session.receivedBytes + (this.#options.creditBytes ?? CREDIT_BYTES_DEFAULT)
    if (granted <= session.grantedBytes || !session.isGreeted) return
    session.grantedBytes = granted
    const prologue = { api: wire.Api.CREDIT, isReply: false, correlationId: 0 }
    session.socket.send(wire.encodeFrame(prologue, wire.credit.encode({ grantedBytes: granted })))
  }

  #send(session: Session, frame: wire.Frame, header: Uint8Array, body: Uint8Array): void {
    const prologue = { api: frame.api, isReply: true, correlationId: frame.correlationId }
    if (this.isPaused) return
    if (session.socket.readyState === session.socket.OPEN)
      session.socket.send(wire.encodeFrame(prologue, header, [body]))
  }

  #refuse(
    frame: wire.Frame,
    { code, leaderEpoch = -1, highWatermark: told }: { code: ErrorCode; leaderEpoch?: number; highWatermark?: number },
  ): { header: Uint8Array; body: Uint8Array } {
    const errorNumber = errorNumberOf(code)
    const fault = { errorNumber, errorText: `the fake broker says ${code}` }
    const none = { baseOffset: -1, logAppendTimeMs: -1, logStartOffset: -1, durability: 0, leaderEpoch: -1 }
    if (frame.api === wire.Api.PRODUCE) {
      const { parts } = wire.produce.decodeRequest(frame.header)
      return { header: wire.produce.encodeReply({ parts: parts.map(() => ({ ...fault, ...none })) }), body: EMPTY }
    }
    if (frame.api === wire.Api.FETCH) {
      const { parts } = wire.fetch.decodeRequest(frame.header)
      // With watermarks, as a shard tells them beside an error: a client must not go by them.
      const answers = parts.map(({ topicId, partition }, index) => {
        const { highWatermark: real = -1, logStartOffset = -1 } = this.#find(topicId, partition) ?? {}
        const highWatermark = told ?? real
        const marks = { highWatermark, lastStableOffset: highWatermark, logStartOffset, leaderEpoch, batchBytes: 0 }
        return { index, ...fault, ...marks, aborted: [] }
      })
      return { header: wire.fetch.encodeReply({ parts: answers }), body: EMPTY }
    }
    return { header: wire.encodeErrorReply(errorNumber, fault.errorText), body: EMPTY }
  }

  async #perform(session: Session, frame: wire.Frame): Promise<{ header: Uint8Array; body: Uint8Array } | undefined> {
    try {
      if (this.#options.lacks?.includes(frame.api)) throw new MillraceError('UNKNOWN_API')
      this.#checkCoordinates(frame)
      if (frame.api === wire.Api.FETCH) return await this.#fetch(wire.fetch.decodeRequest(frame.header))
      const header = this.#answer(session, frame)
      return header === undefined ? undefined : { header, body: EMPTY }
    } catch (error) {
      if (!isMillraceError(error)) throw error
      return { header: wire.encodeErrorReply(errorNumberOf(error.code), error.message), body: EMPTY }
    }
  }

  #answer(session: Session, frame: wire.Frame): Uint8Array | undefined {
    const { header, body } = frame
    switch (frame.api) {
      case wire.Api.HELLO:
        return this.#hello(session, wire.hello.decodeRequest(header))
      case wire.Api.METADATA:
        return this.#metadata(wire.metadata.decodeRequest(header))
      case wire.Api.PRODUCE:
        return this.#produce(wire.produce.decodeRequest(header), body)
      case wire.Api.FIND_COORDINATOR:
        return this.#findCoordinator(wire.findCoordinator.decodeRequest(header))
      case wire.Api.LIST_GROUPS:
        return this.#listGroups(frame)
      case wire.Api.LIST_OFFSETS:
        return this.#listOffsets(wire.listOffsets.decodeRequest(header))
      case wire.Api.CREATE_TOPIC: {
        const request = wire.createTopic.decodeRequest(header)
        if (this.topics.has(request.name)) return wire.encodeErrorReply(errorNumberOf('TOPIC_ALREADY_EXISTS'), '')
        const topic = this.createTopic(request.name, request.partitions < 0 ? 6 : request.partitions)
        const { topicId, partitions } = topic
        return wire.createTopic.encodeReply({ topicId, partitions: partitions.length, created: true })
      }
      case wire.Api.DELETE_TOPIC:
        this.topics.delete(wire.deleteTopic.decodeRequest(header).name)
        return wire.deleteTopic.encodeReply({})
      default:
        return (
          this.transactions.answer(frame) ??
          this.groups.answer(frame) ??
          wire.encodeErrorReply(errorNumberOf('UNKNOWN_API'), `api ${frame.api}`)
        )
    }
  }

  #hello(session: Session, request: wire.HelloRequest): Uint8Array {
    if (this.#options.token !== undefined && request.token !== this.#options.token)
      return wire.encodeErrorReply(errorNumberOf('SASL_AUTHENTICATION_FAILED'), 'wrong token')
    session.isGreeted = true
    session.grantedBytes = this.#options.creditBytes ?? CREDIT_BYTES_DEFAULT
    return wire.hello.encodeReply({
      serverVersion: 'fake',
      clusterId: this.#options.clusterId ?? 'fake',
      nodeId: this.nodeId,
      incarnation: 1,
      creditBytes: session.grantedBytes,
      frameBytesMax: 8 * 1024 * 1024,
      batchBytesMax: this.#options.batchBytesMax ?? 1024 * 1024,
      apis: wire.SERVED_APIS.filter(({ api }) => !this.#options.lacks?.includes(api)),
    })
  }

  #metadata(request: wire.MetadataRequest): Uint8Array {
    const names = request.topics ?? [...this.topics.keys()]
    return wire.metadata.encodeReply({
      clusterId: 'fake',
      brokers: this.#brokers(),
      controllerId: this.nodeId,
      topics: names.map((name) => {
        const topic = this.topics.get(name)
        const errorNumber = topic === undefined ? errorNumberOf('UNKNOWN_TOPIC_OR_PARTITION') : 0
        const partitions = (topic?.partitions ?? []).map((_, partition) => {
          const { nodeId: leaderNodeId, leaderEpoch } = this.view.leaderOf(name, partition)
          const replicas = this.view.brokers.map(({ nodeId }) => nodeId)
          return { leaderNodeId, leaderEpoch, offline: null, replicas, inSync: replicas }
        })
        return {
          errorNumber,
          drainFrom: -1,
          revision: -1,
          errorText: '',
          name,
          topicId: topic?.topicId ?? '',
          config: this.#options.config ?? {},
          partitions,
        }
      }),
    })
  }

  #brokers(): readonly wire.MetadataBroker[] {
    return this.view.brokers.map((each) =>
      each.nodeId === this.nodeId && !this.tellsViewUrls ? { ...each, url: this.url } : each,
    )
  }

  #findCoordinator({ kind, ids }: wire.FindCoordinatorRequest): Uint8Array {
    const coordinators = ids.map((id) => {
      const nodeId = this.view.coordinatorOf(kind, id)
      const url = this.#brokers().find((each) => each.nodeId === nodeId)?.url
      if (url !== undefined) return { errorNumber: 0, errorText: '', nodeId, url }
      return { errorNumber: errorNumberOf('COORDINATOR_NOT_AVAILABLE'), errorText: '', nodeId: -1, url: '' }
    })
    return wire.findCoordinator.encodeReply({ coordinators })
  }

  /** Throws NOT_COORDINATOR for what another broker coordinates. */
  #checkCoordinates(frame: wire.Frame): void {
    if (this.#options.membership === undefined) return
    const of = coordinatedBy(frame)
    if (of !== undefined && !this.#coordinates(of.kind, of.id)) throw new MillraceError('NOT_COORDINATOR')
  }

  #listGroups(frame: wire.Frame): Uint8Array {
    const all = wire.unwrapReply(wire.listGroups.decodeReply(this.groups.answer(frame)!))
    const groups = all.groups.filter(({ groupId }) => this.#coordinates(wire.CoordinatorKind.GROUP, groupId))
    return wire.listGroups.encodeReply({ ...all, groups })
  }

  #find(topicId: string, partition: number): FakePartition | undefined {
    return this.#topicOf(topicId)?.partitions[partition]
  }

  #topicOf(topicId: string): FakeTopic | undefined {
    for (const topic of this.topics.values()) if (topic.topicId === topicId) return topic
    return undefined
  }

  /** Why it does not serve a part of a request; undefined = it does. */
  #refusalOf(part: { topicId: string; partition: number; leaderEpoch: number }): ErrorCode | undefined {
    const topic = this.#topicOf(part.topicId)
    const partition = topic?.partitions[part.partition]
    if (topic === undefined || partition === undefined) return 'UNKNOWN_TOPIC_ID'
    if (!this.#leads(topic.name, part.partition)) return 'NOT_LEADER_OR_FOLLOWER'
    if (part.leaderEpoch < 0 || part.leaderEpoch === partition.leaderEpoch) return undefined
    return part.leaderEpoch < partition.leaderEpoch ? 'FENCED_LEADER_EPOCH' : 'UNKNOWN_LEADER_EPOCH'
  }

  #produce(request: wire.ProduceRequest, body: Uint8Array): Uint8Array | undefined {
    let at = 0
    const parts = request.parts.map((part) => {
      const bytes = body.slice(at, at + part.batchBytes)
      at += part.batchBytes
      const partition = this.#find(part.topicId, part.partition)
      const answer = this.#refusalOf(part) ?? this.#append(partition!, bytes)
      const code: ErrorCode = typeof answer === 'string' ? answer : 'NONE'
      const baseOffset = typeof answer === 'string' ? -1 : answer
      const errorNumber = errorNumberOf(code)
      const leaderEpoch = partition?.leaderEpoch ?? -1
      return {
        errorNumber,
        errorText: '',
        baseOffset,
        logAppendTimeMs: -1,
        logStartOffset: 0,
        durability: this.durability,
        leaderEpoch,
      }
    })
    this.wake()
    return request.acks === 0 ? undefined : wire.produce.encodeReply({ parts })
  }

  /** Kafka's rules for a batch of an idempotent producer; answers the base offset or an error. */
  #append(partition: FakePartition, bytes: Uint8Array): number | ErrorCode {
    const view = new BatchView().reset(bytes, 0)
    if (view.sizeInBytes !== bytes.length || view.computeCrc() !== view.crc) return 'CORRUPT_MESSAGE'
    const { producerId, producerEpoch, baseSequence, lastSequence } = view
    let state: ProducerState | undefined
    if (producerId >= 0) {
      state = partition.producers.get(producerId)
      const known = state?.epoch === producerEpoch
      const duplicate =
        known && state!.batches.find((each) => each.first === baseSequence && each.last === lastSequence)
      if (duplicate) return duplicate.baseOffset
      if (state !== undefined && producerEpoch < state.epoch) return 'INVALID_PRODUCER_EPOCH'
      if (state !== undefined && producerEpoch > state.epoch && baseSequence !== 0)
        return 'OUT_OF_ORDER_SEQUENCE_NUMBER'
      const before = state?.batches.at(-1)
      if (known && baseSequence !== (before === undefined ? 0 : sequenceAfter(before.last, 1)))
        return 'OUT_OF_ORDER_SEQUENCE_NUMBER'
      const refusal = this.transactions.refusal(partition, view)
      if (refusal !== undefined) return refusal
      if (state === undefined || !known) {
        state = { epoch: producerEpoch, batches: [] }
        partition.producers.set(producerId, state)
      }
    }
    const baseOffset = this.#put(partition, view, bytes)
    if (view.isTransactional) this.transactions.appended(partition, view)
    state?.batches.push({ first: baseSequence, last: lastSequence, baseOffset })
    if (state !== undefined && state.batches.length > 5) state.batches.shift()
    return baseOffset
  }

  #put(partition: FakePartition, view: BatchView, bytes: Uint8Array): number {
    const baseOffset = partition.highWatermark
    view.stamp(baseOffset, partition.leaderEpoch)
    partition.highWatermark = view.nextOffset
    partition.batches.push({ baseOffset, nextOffset: view.nextOffset, bytes })
    return baseOffset
  }

  async #fetch(request: wire.FetchRequest): Promise<{ header: Uint8Array; body: Uint8Array }> {
    const deadline = Date.now() + request.waitMs
    for (;;) {
      const answer = this.#fetchNow(request)
      const leftMs = deadline - Date.now()
      if (answer.ready || leftMs <= 0 || this.#server === undefined)
        return { header: wire.fetch.encodeReply({ parts: answer.parts }), body: Buffer.concat(answer.bodies) }
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#waiters.delete(wake)
          clearTimeout(timer)
          resolve()
        }
        const timer = setTimeout(wake, leftMs)
        this.#waiters.add(wake)
      })
    }
  }

  #fetchNow(request: wire.FetchRequest): { parts: wire.FetchReplyPart[]; bodies: Uint8Array[]; ready: boolean } {
    const parts: wire.FetchReplyPart[] = []
    const bodies: Uint8Array[] = []
    let bytes = 0
    let failed = false
    request.parts.forEach((part, index) => {
      const partition = this.#find(part.topicId, part.partition)
      const isCommitted = request.isolation === wire.READ_COMMITTED
      const refusal = request.anyReplica === true ? undefined : this.#refusalOf(part)
      const { code, batches } =
        refusal === undefined
          ? readable(partition, part, { isFirst: bytes === 0, isCommitted })
          : { code: refusal, batches: [] }
      let batchBytes = 0
      let endOffset = part.fetchOffset
      for (const batch of batches) {
        if (bytes + batch.bytes.length > request.maxBytes && bytes > 0) break
        endOffset = batch.nextOffset
        bodies.push(batch.bytes)
        bytes += batch.bytes.length
        batchBytes += batch.bytes.length
      }
      if (code !== 'NONE') failed = true
      if (code === 'NONE' && batchBytes === 0) return
      const highWatermark = partition?.highWatermark ?? -1
      const told = partition?.aborted.filter(
        ({ firstOffset, lastOffset }) => isCommitted && lastOffset >= part.fetchOffset && firstOffset < endOffset,
      )
      parts.push({
        index,
        errorNumber: errorNumberOf(code),
        errorText: '',
        highWatermark,
        lastStableOffset: Math.min(highWatermark, partition?.openOffset ?? -1),
        logStartOffset: partition?.logStartOffset ?? -1,
        leaderEpoch: partition?.leaderEpoch ?? -1,
        batchBytes,
        aborted: told ?? [],
      })
    })
    return { parts, bodies, ready: failed || bytes >= Math.max(1, request.minBytes) }
  }

  #listOffsets(request: wire.ListOffsetsRequest): Uint8Array {
    const parts = request.parts.map((part) => {
      const partition = this.#find(part.topicId, part.partition)
      const { timestampMs } = part
      const errorNumber = errorNumberOf(this.#refusalOf(part) ?? 'NONE')
      let offset = -1
      const latest = request.isolation === wire.READ_COMMITTED ? partition?.openOffset : undefined
      if (partition !== undefined && timestampMs === wire.LATEST)
        offset = Math.min(partition.highWatermark, latest ?? Number.POSITIVE_INFINITY)
      else if (partition !== undefined && timestampMs === wire.EARLIEST) offset = partition.logStartOffset
      else
        offset =
          partition?.batches.find((each) => new BatchView().reset(each.bytes).maxTimestamp >= timestampMs)
            ?.baseOffset ?? -1
      return { errorNumber, errorText: '', offset, timestampMs: -1, leaderEpoch: 1 }
    })
    return wire.listOffsets.encodeReply({ parts })
  }
}

/** Whose coordinator a request is for; undefined = anybody answers it. */
function coordinatedBy({ api, header }: wire.Frame): { kind: wire.CoordinatorKind; id: string } | undefined {
  const { GROUP, TRANSACTION } = wire.CoordinatorKind
  switch (api) {
    case wire.Api.GROUP_HEARTBEAT:
    case wire.Api.OFFSET_COMMIT:
    case wire.Api.OFFSET_FETCH:
    case wire.Api.OFFSET_DELETE:
    case wire.Api.SESSION_EXTEND:
      return { kind: GROUP, id: wire.peekGroupId(header)! }
    case wire.Api.GROUP_DESCRIBE:
      return { kind: GROUP, id: wire.groupDescribe.decodeRequest(header).groupIds[0]! }
    case wire.Api.DELETE_GROUPS:
      return { kind: GROUP, id: wire.deleteGroups.decodeRequest(header).groupIds[0]! }
    case wire.Api.INIT_PRODUCER_ID: {
      const { transactionalId } = wire.initProducerId.decodeRequest(header)
      return transactionalId === null ? undefined : { kind: TRANSACTION, id: transactionalId }
    }
    case wire.Api.ADD_PARTITIONS_TO_TXN:
      return { kind: TRANSACTION, id: wire.addPartitionsToTxn.decodeRequest(header).transactionalId }
    case wire.Api.END_TXN:
      return { kind: TRANSACTION, id: wire.endTxn.decodeRequest(header).transactionalId }
    case wire.Api.TXN_OFFSET_COMMIT:
      // The group's: as the broker does, which tells the transaction's coordinator.
      return { kind: GROUP, id: wire.txnOffsetCommit.decodeRequest(header).groupId }
    default:
      return undefined
  }
}

function readable(
  partition: FakePartition | undefined,
  part: wire.FetchRequestPart,
  { isFirst, isCommitted }: { readonly isFirst: boolean; readonly isCommitted: boolean },
): { code: ErrorCode; batches: StoredBatch[] } {
  if (partition === undefined) return { code: 'UNKNOWN_TOPIC_ID', batches: [] }
  const { fetchOffset } = part
  if (fetchOffset < partition.logStartOffset || fetchOffset > partition.highWatermark)
    return { code: 'OFFSET_OUT_OF_RANGE', batches: [] }
  const batches: StoredBatch[] = []
  let bytes = 0
  for (const batch of partition.batches) {
    if (batch.nextOffset <= fetchOffset) continue
    if (isCommitted && batch.nextOffset > partition.openOffset) break
    if (bytes + batch.bytes.length > part.maxBytes && !(isFirst && bytes === 0)) break
    batches.push(batch)
    bytes += batch.bytes.length
  }
  return { code: 'NONE', batches }
}

/** Runs `body` with a broker that is stopped afterwards. */
export async function withFakeBroker(
  options: FakeBrokerOptions,
  body: (broker: FakeBroker) => Promise<void>,
): Promise<void> {
  const broker = await FakeBroker.start(options)
  try {
    await body(broker)
  } finally {
    await broker.stop()
  }
}
