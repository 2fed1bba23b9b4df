/**
 * Some brokers' shards, each with a disk of its own, and between them what gateways would carry: fetches and their answers, synced ends,
 * wishes. One partition, one clock, no threads; who is cut off, or down, carries nothing.
 */
import assert from 'node:assert/strict'
import { SeededPrng } from '../../src/base/prng.ts'
import { MemoryFileSystem } from '../../src/io/memory-file-system.ts'
import { recoverDataDir } from '../../src/log/data-dir-recovery.ts'
import type { LeaderEpoch, PartitionRef } from '../../src/model/ids.ts'
import { hasReplica, type ReplicaIdentity } from '../../src/model/replica.ts'
import type { TopicConfig } from '../../src/model/topic-config.ts'
import {
  ControlOperation,
  type DescribePartitionAnswer,
  type SetReplicasAnswer,
} from '../../src/ring/control-messages.ts'
import type { ProduceFields } from '../../src/ring/message-codec.ts'
import type { ShardOptions } from '../../src/worker/shard-options.ts'
import { DATA_DIR, ManualClock, TOPIC, topicConfig } from './log-fixture.ts'
import {
  type Answer,
  type AppendedAnswer,
  type ControlAnswer,
  type FetchAnswer,
  type ProduceAnswer,
  ShardFixture,
} from './shard-fixture.ts'

const REF = 0 as PartitionRef
const FETCH_WAIT_MS = 500
const ROUNDS_MAX = 5_000

export interface Node {
  readonly nodeId: number
  shard: ShardFixture
  files: MemoryFileSystem
  incarnation: number
  /** That it was told last. */
  leaderEpoch: number
  isUp: boolean
  /** Carries nothing to the others, and takes nothing. */
  isCut: boolean
  /** What is under way of its fetch loop, and of whom. */
  fetch: { readonly requestId: number; readonly from: Node } | undefined
  append: number | undefined
  /** What it asks with next. */
  logEndOffset: number
  lastEpoch: number
  /** Rows of its `synced` that were carried, wishes that were seen. */
  carried: number
  wishes: number
  /** Its last answers with an error, of any kind. */
  faults: string[]
}

export interface ReplicaFixtureOptions {
  readonly nodes?: number
  readonly config?: Partial<TopicConfig>
  readonly shard?: Partial<ShardOptions>
}

export class ReplicaFixture {
  readonly clock = new ManualClock()
  readonly nodes: Node[]
  readonly config: TopicConfig
  readonly #shardOptions: Partial<ShardOptions>
  leader = 0
  leaderEpoch = 0
  version = 0
  inSync: readonly ReplicaIdentity[] = []
  /** Wishes are written to the store and told at once. */
  writesWishes = true
  /** Wishes that were written, and made the set larger. */
  grown = 0
  /** Batches of the leader that were carried to followers. */
  carriedBytes = 0
  /** What a follower is given may be changed on the way. */
  onCarry: (bytes: Uint8Array) => Uint8Array = (bytes) => bytes

  constructor(options: ReplicaFixtureOptions = {}) {
    this.config = topicConfig(options.config)
    this.#shardOptions = options.shard ?? {}
    this.nodes = Array.from({ length: options.nodes ?? 3 }, (_, index) => this.#newNode(index + 1))
    this.inSync = this.nodes.map(identityOf)
    for (const node of this.nodes) this.#open(node, null)
  }

  #newNode(nodeId: number): Node {
    const files = new MemoryFileSystem()
    const incarnation = 1
    return {
      ...{
        nodeId,
        files,
        incarnation,
        shard: this.#newShard(files, incarnation),
        isUp: true,
        isCut: false,
        leaderEpoch: -1,
      },
      ...{ fetch: undefined, append: undefined, logEndOffset: 0, lastEpoch: -1, carried: 0, wishes: 0, faults: [] },
    }
  }

  #newShard(files: MemoryFileSystem, incarnation: number): ShardFixture {
    return new ShardFixture({ files, clock: this.clock, shard: { ...this.#shardOptions, incarnation } })
  }

  #open(node: Node, recovered: unknown): void {
    const { leaderEpoch, config } = this
    const replicas = { ...this.#roleOf(node), role: 'follower' as const }
    const answer = node.shard.control(ControlOperation.OPEN_PARTITIONS, {
      partitions: [
        {
          partitionRef: REF,
          topicId: TOPIC,
          partition: 0,
          leaderEpoch: leaderEpoch as LeaderEpoch,
          config,
          recovered,
          replicas,
        },
      ],
    })
    assert.deepEqual(answer.body, { failed: [] })
  }

  node(nodeId: number): Node {
    return this.nodes[nodeId - 1]!
  }

  shard(nodeId = this.leader): ShardFixture {
    return this.node(nodeId).shard
  }

  // The store and the controller

  /** A leader change: everyone who can be reached is told. */
  elect(nodeId: number, inSync: readonly number[] = this.inSync.map((member) => member.nodeId)): void {
    this.leader = nodeId
    this.leaderEpoch++
    this.inSync = inSync.map((id) => identityOf(this.node(id)))
    this.tell()
  }

  setInSync(nodeIds: readonly number[]): void {
    this.inSync = nodeIds.map((id) => identityOf(this.node(id)))
    this.tell()
  }

  /** The state's next version, to everyone who can be reached. */
  tell(): void {
    this.version++
    for (const node of this.nodes) if (node.isUp && !node.isCut) this.tellOne(node)
  }

  tellOne(node: Node, pending: readonly ReplicaIdentity[] | null = null): void {
    const body = { ...this.#roleOf(node), partitionRef: REF, pending }
    const answer = node.shard.control(ControlOperation.SET_REPLICAS, body)
    assert.equal(answer.error, 'NONE', String(answer.body))
    const ends = answer.body as SetReplicasAnswer
    if (node.leaderEpoch === this.leaderEpoch) return
    node.leaderEpoch = this.leaderEpoch
    node.logEndOffset = ends.logEndOffset
    node.lastEpoch = ends.lastEpoch
    node.fetch = undefined
    node.append = undefined
  }

  #roleOf(node: Node) {
    return {
      role: node.nodeId === this.leader ? ('leader' as const) : ('follower' as const),
      ...{ leaderEpoch: this.leaderEpoch, ...identityOf(node), replicas: this.nodes.map(({ nodeId }) => nodeId) },
      ...{ inSync: this.inSync, pending: null, version: this.version },
    }
  }

  // Faults

  cut(nodeId: number): void {
    const node = this.node(nodeId)
    node.isCut = true
    node.fetch = undefined
  }

  /** It is told what it has missed. */
  heal(nodeId: number): void {
    const node = this.node(nodeId)
    node.isCut = false
    this.tellOne(node)
  }

  crash(nodeId: number, kind: 'power' | 'kill' = 'power', seed = 1): void {
    const node = this.node(nodeId)
    node.files = node.files.crash(new SeededPrng(seed), { kind })
    node.isUp = false
    node.fetch = undefined
    node.append = undefined
  }

  /** Recovers and opens as a follower; told its role unless it stays cut off. */
  start(nodeId: number, previousRun: 'process-died' | 'machine-died' = 'machine-died'): void {
    const node = this.node(nodeId)
    node.incarnation++
    const { results } = recoverDataDir(node.files, { dataDir: DATA_DIR, incarnation: node.incarnation, previousRun })
    const recovered = results.map((result) => result.recovered).find((one) => one !== null) ?? null
    assert.equal(recovered?.damaged ?? null, null)
    node.shard = this.#newShard(node.files, node.incarnation)
    Object.assign(node, { isUp: true, carried: 0, wishes: 0, leaderEpoch: -1 })
    this.#open(node, recovered)
    if (!node.isCut) this.tellOne(node)
  }

  /** What its gateway does with a replica that went offline: closed, its folder out of the way, opened as new. Answers the folder. */
  setAside(nodeId: number): string {
    const node = this.node(nodeId)
    assert.equal(this.control(ControlOperation.CLOSE_PARTITION, { partitionRef: REF }, nodeId).error, 'NONE')
    const folder = node.files.list(DATA_DIR).find((name) => name.startsWith(TOPIC))
    assert.ok(folder !== undefined, 'it has no folder')
    node.files.rename(`${DATA_DIR}/${folder}`, `${DATA_DIR}/aside-${folder}`)
    node.files.syncFolder(DATA_DIR)
    node.shard.notices.length = 0
    Object.assign(node, { wishes: 0, leaderEpoch: -1, fetch: undefined, append: undefined })
    this.#open(node, 'set-aside')
    this.tellOne(node)
    return `aside-${folder}`
  }

  // Traffic

  /** Steps everything until nothing moves but long polls. */
  pump(): void {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      let moved = 0
      // All of them first: what the last one answers may be for the first to carry.
      for (const node of this.nodes) if (node.isUp) node.shard.settle()
      for (const node of this.nodes) moved += this.carry(node)
      if (moved === 0) return
    }
    assert.fail('it does not come to rest')
  }

  pass(ms: number): void {
    this.clock.ms += ms
    this.pump()
  }

  sendProduce(batches: Uint8Array, fields: Partial<ProduceFields> = {}): number {
    return this.shard().sendProduce(batches, fields)
  }

  produce(batches: Uint8Array, fields: Partial<ProduceFields> = {}): ProduceAnswer {
    const requestId = this.sendProduce(batches, fields)
    this.pump()
    const answer = this.shard().peek(requestId)
    assert.equal(answer?.kind, 'produce', 'the produce is not answered')
    return answer as ProduceAnswer
  }

  /** The answer to a request that was sent to a node's shard. */
  answer(requestId: number, nodeId = this.leader): Answer {
    this.pump()
    const answer = this.shard(nodeId).peek(requestId)
    assert.ok(answer !== undefined, 'the request is not answered')
    return answer
  }

  control(operation: ControlOperation, body: unknown, nodeId = this.leader): ControlAnswer {
    return this.answer(this.shard(nodeId).sendControl(operation, body), nodeId) as ControlAnswer
  }

  describe(nodeId = this.leader): DescribePartitionAnswer {
    const { error, body } = this.shard(nodeId).control(ControlOperation.DESCRIBE_PARTITION, { partitionRef: REF })
    assert.equal(error, 'NONE')
    return body as DescribePartitionAnswer
  }

  /** All bytes of a node's log, as its files have them; from the batch that holds `from` on. */
  logOf(nodeId: number, startsWith: string = TOPIC): Uint8Array {
    const { files } = this.node(nodeId)
    const folder = files.list(DATA_DIR).find((name) => name.startsWith(startsWith))
    if (folder === undefined) return new Uint8Array(0)
    const names = files.list(`${DATA_DIR}/${folder}`).filter((name) => name.endsWith('.log'))
    const parts = names.sort().map((name) => {
      const fd = files.open(`${DATA_DIR}/${folder}/${name}`, 'read')
      const bytes = new Uint8Array(files.sizeOf(fd))
      files.read(fd, bytes, 0)
      files.close(fd)
      return bytes
    })
    return new Uint8Array(Buffer.concat(parts))
  }

  /** Every log that can be reached has the leader's bytes. */
  assertEqualLogs(nodeIds: readonly number[] = this.nodes.map(({ nodeId }) => nodeId)): void {
    const leaders = this.logOf(this.leader)
    for (const nodeId of nodeIds) assert.ok(Buffer.from(leaders).equals(this.logOf(nodeId)), `node ${nodeId} differs`)
  }

  /** What a node's gateway would do now, once: answers how much moved. Steps no shard. */
  carry(node: Node): number {
    return node.isUp ? this.#follow(node) + this.#carrySynced(node) + this.#wish(node) : 0
  }

  /** One step of a follower's loop: answers whether it moved. */
  #follow(node: Node): number {
    if (node.nodeId === this.leader || node.isCut || isOffline(node)) return 0
    if (node.append !== undefined) return this.#onAppended(node, node.append)
    if (node.fetch !== undefined) return this.#onFetched(node, node.fetch)
    const from = this.node(this.leader)
    if (from === undefined || !from.isUp || from.isCut || this.leaderEpoch === 0) return 0
    const requestId = from.shard.sendFetch(
      [{ ref: REF, offset: node.logEndOffset, lastEpoch: node.lastEpoch, leaderEpoch: this.leaderEpoch }],
      { waitMs: FETCH_WAIT_MS, minBytes: 1, replicaNodeId: node.nodeId, replicaIncarnation: node.incarnation },
    )
    node.fetch = { requestId, from }
    return 1
  }

  #onFetched(node: Node, { requestId, from }: { requestId: number; from: Node }): number {
    if (!from.isUp || from.isCut) {
      node.fetch = undefined
      return 0
    }
    const answer = from.shard.peek(requestId) as FetchAnswer | undefined
    if (answer === undefined) return 0
    node.fetch = undefined
    const line = answer.partitions[0]
    if (line === undefined) return 1
    // Below the leader's log start: only that is told.
    const isBelow = line.error === 'OFFSET_OUT_OF_RANGE'
    if (line.error !== 'NONE' && !isBelow) {
      node.faults.push(line.error)
      return 0
    }
    this.carriedBytes += line.bytes.length
    const fields = {
      ...{ partitionRef: REF, leaderEpoch: this.leaderEpoch, divergingEpoch: line.divergingEpoch },
      ...{ divergingEndOffset: line.divergingEndOffset, highWatermark: line.highWatermark },
      logStartOffset: line.logStartOffset,
    }
    node.append = node.shard.sendReplicaAppend(fields, this.onCarry(line.bytes))
    return 1
  }

  #onAppended(node: Node, requestId: number): number {
    const answer = node.shard.peek(requestId) as AppendedAnswer | undefined
    if (answer === undefined) return 0
    node.append = undefined
    node.logEndOffset = answer.logEndOffset
    node.lastEpoch = answer.lastEpoch
    if (answer.error === 'NONE') return 1
    node.faults.push(`${answer.error} ${answer.text}`)
    // One that will not be better by asking again at once.
    return 0
  }

  #carrySynced(node: Node): number {
    const rows = node.shard.synced.slice(node.carried)
    const leader = this.node(this.leader)
    if (rows.length === 0 || node.isCut || leader === undefined || !leader.isUp || leader.isCut) return 0
    node.carried += rows.length
    leader.shard.sendReplicaProgress(
      rows.map(({ partitionRef, leaderEpoch, syncedEndOffset }) => ({
        ...{ partitionRef, leaderEpoch, nodeId: node.nodeId, incarnation: node.incarnation, syncedEndOffset },
      })),
    )
    return 1
  }

  /** As a gateway does it: the pending set is told and answered before the store has it. */
  #wish(node: Node): number {
    const { notices } = node.shard
    if (node.wishes === notices.length || node.isCut) return 0
    const wishes = notices.slice(node.wishes)
    node.wishes = notices.length
    for (const wish of wishes) {
      if (wish.kind !== 'in-sync-wish' || !this.writesWishes) continue
      if (node.nodeId !== this.leader) continue
      this.tellPending(node, wish.inSync)
      const isCurrent = wish.version === this.version && wish.leaderEpoch === this.leaderEpoch
      if (!isCurrent || !wish.inSync.every((member) => this.#mayBeIn(member))) {
        this.tellPending(node, null)
        continue
      }
      if (wish.inSync.length > this.inSync.length) this.grown++
      this.inSync = wish.inSync
      this.version++
      this.tellPending(node, null)
    }
    return 1
  }

  /** It was in the set before, or it is alive under this incarnation. */
  #mayBeIn(member: ReplicaIdentity): boolean {
    const node = this.node(member.nodeId)
    return hasReplica(this.inSync, member) || (node.isUp && node.incarnation === member.incarnation)
  }

  tellPending(node: Node, pending: readonly ReplicaIdentity[] | null): void {
    const body = { ...this.#roleOf(node), partitionRef: REF, pending }
    assert.equal(node.shard.control(ControlOperation.SET_REPLICAS, body).error, 'NONE')
  }

  wishesOf(nodeId: number): number[][] {
    return this.shard(nodeId).notices.flatMap((notice) =>
      notice.kind === 'in-sync-wish' ? [notice.inSync.map((member) => member.nodeId)] : [],
    )
  }
}

function isOffline({ shard }: Node): boolean {
  return shard.notices.some(({ kind }) => kind === 'partition-offline')
}

function identityOf({ nodeId, incarnation }: Node): ReplicaIdentity {
  return { nodeId, incarnation }
}
