/** One seed of the replica simulation: misfortunes and produces in any order, then an end at which all replicas must be equal. */
import assert from 'node:assert/strict'
import { utf8Decode, utf8Encode } from '../../../src/base/bytes.ts'
import type { SeededPrng } from '../../../src/base/prng.ts'
import { hasReplica } from '../../../src/model/replica.ts'
import { BatchReader } from '../../../src/record/batch-reader.ts'
import { BatchView } from '../../../src/record/batch-view.ts'
import { BatchWriter } from '../../../src/record/batch-writer.ts'
import { ControlOperation } from '../../../src/ring/control-messages.ts'
import { EventRun } from '../event-simulation/event-run.ts'
import { type Node, ReplicaFixture } from '../replica-fixture.ts'
import type { SeedOutcome } from '../seed-loop.ts'
import type { FetchAnswer, ProduceAnswer } from '../shard-fixture.ts'

const STEPS = 600
const PRODUCER = 9
/** Rounds of time and traffic in which everything must have come to rest at the end. */
const END_ROUNDS = 30

export const REPLICA_EVENTS = [
  ...([
    'acknowledged',
    'refused',
    'sent again',
    'duplicate',
    'read',
    'elected',
    'cut off',
    'healed',
    'killed',
  ] as const),
  ...([
    'power cut',
    'started',
    'shrunk',
    'grown',
    'truncated',
    'trimmed',
    'begun anew',
    'checkpoint',
    'acks leader',
  ] as const),
] as const

export function runReplicaSeed(seed: number): SeedOutcome {
  return new ReplicaRun(seed).run()
}

/** The producer's batch under way: sent until it is acknowledged, always the same bytes. */
interface Sending {
  readonly id: string
  readonly sequence: number
  readonly node: Node
  readonly incarnation: number
  readonly requestId: number
}

class ReplicaRun {
  readonly #run: EventRun
  readonly #prng: SeededPrng
  readonly #cluster: ReplicaFixture
  /** Offset -> id, of what was acknowledged with acks=all, and of what was read. */
  readonly #acknowledged = new Map<number, string>()
  readonly #read = new Map<number, string>()
  #sequence = 0
  #sending: Sending | undefined
  #others = 0
  #trimmedTo = 0

  constructor(seed: number) {
    this.#run = new EventRun(seed)
    this.#prng = this.#run.prng
    const fsync = this.#prng.below(4) === 0 ? 'interval' : 'group'
    const segmentBytes = this.#prng.below(2) === 0 ? 1_000 : 1 << 20
    this.#cluster = new ReplicaFixture({
      config: { fsync, segmentBytes, retentionMs: -1, minInsyncReplicas: 1 + this.#prng.below(2) },
      shard: { journalThresholdPartitions: this.#prng.below(2), checkpointMs: 3_000 },
    })
  }

  run(): SeedOutcome {
    return this.#run.toEnd(() => {
      this.#elect()
      for (let step = 0; step < STEPS; step++) {
        this.#step()
        this.#run.trace(this.#cluster.clock.ms + this.#cluster.leaderEpoch)
      }
      this.#end()
    })
  }

  #step(): void {
    const dice = this.#prng.below(100)
    if (dice < 70) this.#traffic()
    else if (dice < 82) this.#produce()
    else if (dice < 85) this.#produceToLeaderAlone()
    else if (dice < 88) this.#readSomewhere()
    else if (dice < 90) this.#passTime()
    else if (dice < 91) this.#trim()
    else if (dice < 92) this.#checkpoint()
    else this.#misfortune()
    this.#look()
  }

  /** A few steps of any of the threads, or of what is between them. */
  #traffic(): void {
    for (let count = 1 + this.#prng.below(12); count > 0; count--) {
      const node = this.#cluster.nodes[this.#prng.below(3)]!
      if (!node.isUp) continue
      const what = this.#prng.below(4)
      if (what === 0) node.shard.disk.doWork()
      else if (what === 1) node.shard.shard.doWork()
      else if (what === 2) node.shard.drain()
      else this.#cluster.carry(node)
    }
  }

  #passTime(): void {
    this.#cluster.clock.ms += this.#prng.below(4_000)
  }

  // The producer

  #produce(): void {
    const leader = this.#leader()
    if (leader === undefined) return
    if (this.#sending === undefined) this.#send(`p${this.#sequence}`, this.#sequence, leader)
    else if (this.#sending.node !== leader || this.#sending.incarnation !== leader.incarnation) {
      this.#run.count('sent again')
      this.#send(this.#sending.id, this.#sending.sequence, leader)
    }
  }

  #send(id: string, sequence: number, node: Node): void {
    const batch = batchOf(id, sequence)
    const { incarnation } = node
    this.#sending = { id, sequence, node, incarnation, requestId: node.shard.sendProduce(batch) }
  }

  /** The answer, if it has come. */
  #look(): void {
    const sending = this.#sending
    if (sending === undefined || !sending.node.isUp || sending.node.incarnation !== sending.incarnation) return
    sending.node.shard.drain()
    const answer = sending.node.shard.peek(sending.requestId) as ProduceAnswer | undefined
    if (answer === undefined) return
    if (answer.error !== 'NONE') {
      this.#run.count('refused')
      // Nobody knows whether it is there: it is sent again, at whoever leads.
      const leader = this.#leader()
      if (leader !== undefined) this.#send(sending.id, sending.sequence, leader)
      else this.#sending = { ...sending, incarnation: -1 }
      return
    }
    this.#run.count('acknowledged')
    const known = this.#acknowledged.get(answer.baseOffset)
    assert.equal(known ?? sending.id, sending.id, `offset ${answer.baseOffset} was acknowledged twice`)
    this.#acknowledged.set(answer.baseOffset, sending.id)
    this.#sequence++
    this.#sending = undefined
  }

  /** Of nobody's interest but for what it does to logs: acknowledged by its leader alone, and lost as may be. */
  #produceToLeaderAlone(): void {
    for (const node of this.#cluster.nodes)
      if (node.isUp && this.#prng.below(2) === 0) {
        this.#run.count('acks leader')
        node.shard.sendProduce(plainBatch(`x${this.#others++}`), { acks: 1 })
      }
  }

  #readSomewhere(): void {
    const node = this.#cluster.nodes[this.#prng.below(3)]!
    if (!node.isUp) return
    const requestId = node.shard.sendFetch([{ offset: this.#trimmedTo }])
    const answer = node.shard.answer(requestId) as FetchAnswer
    const line = answer.partitions[0]
    if (line === undefined || line.error !== 'NONE') return
    this.#run.count('read')
    for (const [offset, id] of recordsOf(line.bytes)) {
      assert.equal(this.#read.get(offset) ?? id, id, `what was read at offset ${offset} has changed`)
      this.#read.set(offset, id)
    }
  }

  // What happens to them

  #misfortune(): void {
    const node = this.#cluster.nodes[this.#prng.below(3)]!
    const dice = this.#prng.below(10)
    if (!node.isUp) this.#start(node)
    else if (node.isCut) this.#heal(node)
    else if (dice < 3) this.#cutOff(node)
    else if (dice < 6) this.#crash(node)
    else if (dice < 8) this.#elect()
  }

  #cutOff(node: Node): void {
    this.#run.note('cut off', String(node.nodeId))
    this.#cluster.cut(node.nodeId)
    this.#gone(node)
  }

  #crash(node: Node): void {
    // With fsync: interval nothing is promised of a power cut.
    const kind = this.#cluster.config.fsync === 'group' && this.#prng.below(2) === 0 ? 'power' : 'kill'
    this.#run.note(kind === 'power' ? 'power cut' : 'killed', String(node.nodeId))
    this.#cluster.crash(node.nodeId, kind, this.#prng.below(1_000_000))
    this.#gone(node)
  }

  /** The controller has seen its lease end: it takes it out of the set, and elects another. */
  #gone(node: Node): void {
    const { inSync } = this.#cluster
    const rest = inSync.filter(({ nodeId }) => nodeId !== node.nodeId)
    if (rest.length > 0 && rest.length < inSync.length) {
      this.#run.count('shrunk')
      this.#cluster.inSync = rest
    }
    if (this.#cluster.leader === node.nodeId) this.#elect()
    else this.#cluster.tell()
  }

  #heal(node: Node): void {
    this.#run.note('healed', String(node.nodeId))
    const incarnation = this.#cluster.node(node.nodeId).incarnation
    node.isCut = false
    assert.equal(node.incarnation, incarnation)
    this.#cluster.heal(node.nodeId)
    if (this.#leader() === undefined) this.#elect()
  }

  #start(node: Node): void {
    this.#run.note('started', String(node.nodeId))
    const { inSync } = this.#cluster
    node.isCut = false
    this.#cluster.start(node.nodeId)
    // All that was acknowledged is synced there: the last one that was in sync is so still.
    if (inSync.length === 1 && inSync[0]!.nodeId === node.nodeId) {
      this.#cluster.inSync = [{ nodeId: node.nodeId, incarnation: node.incarnation }]
      this.#elect()
    } else if (this.#leader() === undefined) this.#elect()
  }

  #elect(): void {
    const { inSync, nodes } = this.#cluster
    const able = nodes.filter(
      ({ nodeId, incarnation, isUp, isCut }) => isUp && !isCut && hasReplica(inSync, { nodeId, incarnation }),
    )
    const chosen = able[this.#prng.below(Math.max(1, able.length))]
    if (chosen === undefined) {
      this.#cluster.leader = 0
      return
    }
    this.#run.note('elected', String(chosen.nodeId))
    const before = this.#cluster.inSync
    this.#cluster.leader = chosen.nodeId
    this.#cluster.leaderEpoch++
    this.#cluster.inSync = before
    this.#cluster.tell()
    this.#checkAcknowledged(chosen)
  }

  #leader(): Node | undefined {
    const { leader } = this.#cluster
    if (leader === 0) return undefined
    const node = this.#cluster.node(leader)
    return node.isUp && !node.isCut ? node : undefined
  }

  #trim(): void {
    const leader = this.#leader()
    if (leader === undefined) return
    const { highWatermark, logStartOffset } = this.#cluster.describe()
    if (highWatermark <= logStartOffset) return
    const beforeOffset = logStartOffset + 1 + this.#prng.below(highWatermark - logStartOffset)
    const { error } = leader.shard.control(ControlOperation.TRIM, { partitionRef: 0, beforeOffset })
    if (error !== 'NONE') return
    this.#run.count('trimmed')
    this.#trimmedTo = Math.max(this.#trimmedTo, beforeOffset)
  }

  #checkpoint(): void {
    const node = this.#cluster.nodes[this.#prng.below(3)]!
    if (!node.isUp) return
    this.#run.count('checkpoint')
    node.shard.sendControl(ControlOperation.CHECKPOINT, {})
  }

  // What must hold

  #checkAcknowledged(node: Node): void {
    const records = new Map(recordsOf(this.#cluster.logOf(node.nodeId)))
    for (const [offset, id] of this.#acknowledged)
      if (offset >= this.#trimmedTo)
        assert.equal(records.get(offset), id, `node ${node.nodeId} lacks what was acknowledged at offset ${offset}`)
    for (const [offset, id] of this.#read)
      if (offset >= this.#trimmedTo)
        assert.equal(records.get(offset), id, `node ${node.nodeId} lacks what was read at offset ${offset}`)
  }

  #end(): void {
    for (const node of this.#cluster.nodes) {
      if (!node.isUp) this.#start(node)
      else if (node.isCut) this.#heal(node)
    }
    if (this.#leader() === undefined) this.#elect()
    assert.ok(this.#leader() !== undefined, 'everybody is back, and nobody can lead')
    for (let round = 0; round < END_ROUNDS && !this.#isAtRest(); round++) {
      this.#cluster.pass(1_000)
      this.#produce()
      this.#look()
    }
    const names = this.#cluster.nodes.flatMap(({ faults }) => faults)
    assert.ok(!names.some((name) => /below its high watermark/.test(name)), names.join('\n'))
    const { inSync, highWatermark, logEndOffset } = this.#cluster.describe()
    const told = JSON.stringify(
      this.#cluster.nodes.map(({ nodeId }) => this.#cluster.describe(nodeId)),
      null,
      1,
    )
    assert.deepEqual([...inSync].sort(), [1, 2, 3], told)
    assert.equal(highWatermark, logEndOffset, told)
    this.#compare()
    this.#checkAcknowledged(this.#leader()!)
    this.#count()
  }

  #isAtRest(): boolean {
    const { inSync, highWatermark, logEndOffset } = this.#cluster.describe()
    return inSync.length === 3 && highWatermark === logEndOffset && this.#sending === undefined
  }

  /** The same records, from where all of them begin; and each of the producer's batches once. */
  #compare(): void {
    const starts = this.#cluster.nodes.map(({ nodeId }) => this.#cluster.describe(nodeId).logStartOffset)
    const from = Math.max(...starts)
    const logs = this.#cluster.nodes.map(({ nodeId }) => batchBytesFrom(this.#cluster.logOf(nodeId), from))
    for (const log of logs) assert.ok(Buffer.from(log).equals(logs[0]!), 'the logs are not equal')
    const ids = recordsOf(this.#cluster.logOf(this.#cluster.leader)).map(([, id]) => id)
    const own = ids.filter((id) => id.startsWith('p'))
    assert.equal(new Set(own).size, own.length, 'a batch is there twice')
  }

  #count(): void {
    for (const { shard } of this.#cluster.nodes)
      for (const notice of shard.notices) {
        if (notice.kind !== 'log') continue
        assert.notEqual(notice.level, 'error', notice.text)
        const ended = /the log ended at (\d+), was cut and ends at (\d+)/.exec(notice.text)
        if (ended !== null) this.#run.count(Number(ended[2]) > Number(ended[1]) ? 'begun anew' : 'truncated')
      }
    for (const { shard } of this.#cluster.nodes)
      if (shard.shard.stats().duplicateBatches > 0) this.#run.count('duplicate')
    if (this.#cluster.grown > 0) this.#run.count('grown')
  }
}

function plainBatch(id: string): Uint8Array {
  const writer = new BatchWriter({ initialBytes: 256 })
  writer.append(null, utf8Encode(id), null, 1_000)
  return writer.finish().slice()
}

function batchOf(id: string, baseSequence: number): Uint8Array {
  const writer = new BatchWriter({ initialBytes: 256 })
  writer.append(null, utf8Encode(id), null, 1_000)
  return writer.finish({ producerId: PRODUCER, producerEpoch: 0, baseSequence }).slice()
}

/** [offset, id] of each record in whole batches. */
function recordsOf(bytes: Uint8Array): [number, string][] {
  const records: [number, string][] = []
  const view = new BatchView()
  const reader = new BatchReader({})
  for (let at = 0; at < bytes.length; at = view.end) {
    view.reset(bytes, at)
    reader.reset(bytes.subarray(at, view.end))
    while (reader.next()) records.push([reader.offset, utf8Decode(reader.value ?? new Uint8Array(0))])
  }
  return records
}

/** The batches that begin at or past `from`. */
function batchBytesFrom(bytes: Uint8Array, from: number): Uint8Array {
  const view = new BatchView()
  let at = 0
  while (at < bytes.length && view.reset(bytes, at).nextOffset <= from) at = view.end
  return bytes.subarray(at)
}
