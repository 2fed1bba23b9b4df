/**
 * OneBrokerRun: one seed: a broker, its clients and its misfortunes, in virtual time.
 *
 *   make topics -> clients and faults together -> heal -> everything open must end -> final read -> history, log and invariants
 *
 * Determinism   all chance is the seed's; `traceHash` of two runs of one seed is the same
 * Limits        RUN_MS_MAX of virtual time, STEPS_MAX events
 */
import { Client } from '../../../src/client/client.ts'
import type { ClientRuntime } from '../../../src/client/client-runtime.ts'
import { StorageError } from '../../../src/io/file-system.ts'
import type { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { openDataDir } from '../../../src/log/data-dir.ts'
import { recoverDataDir } from '../../../src/log/data-dir-recovery.ts'
import { isMillraceError } from '../../../src/model/errors.ts'
import { partitionFolder, type TopicId } from '../../../src/model/ids.ts'
import { NO_CODECS } from '../../../src/record/compression.ts'
import type { ShardGauges } from '../../../src/telemetry/metrics.ts'
import { checkHistory } from '../../../src/tools/check-history.ts'
import type { HistoryOperation } from '../../../src/tools/history.ts'
import type { SeedOutcome } from '../seed-loop.ts'
import { BatchLedger, compareRecovered, type LogContent, readLog } from './batch-ledger.ts'
import { Reach } from './reach.ts'
import { between, drawPlan, type FaultKind, type PlannedTopic, pick, type SeedPlan } from './seed-plan.ts'
import { BROKER_URL, DATA_DIR, type RecoveredDataDir, SimulatedBroker } from './simulated-broker.ts'
import { type DeathKind, SimulatedCrash, SimulatedMachine } from './simulated-machine.ts'
import { SimulatedNetwork } from './simulated-network.ts'
import { VirtualTime } from './virtual-time.ts'
import { churnOnce, consume, produce, readAll, sleep, trimNow, type WorkloadContext } from './workload.ts'

const RUN_MS_MAX = 1_200_000
const STEPS_MAX = 500_000
/** Many times what rings, network and device take together: longer means that a thread slept over its work. */
const CALM_SEND_MS_MAX = 50
const NEW_TOPIC_ATTEMPTS_MAX = 20
const LOG_LINES_MAX = 400

export async function runSeed(seed: number): Promise<SeedOutcome> {
  const run = new OneBrokerRun(seed)
  return run.toEnd()
}

class OneBrokerRun {
  readonly #seed: number
  readonly #time: VirtualTime
  readonly #network: SimulatedNetwork
  readonly #machine: SimulatedMachine
  readonly #plan: SeedPlan
  readonly #reach = new Reach()
  readonly #ledger = new BatchLedger()
  readonly #history: HistoryOperation[] = []
  readonly #log: string[] = []
  readonly #leaderEpochs = new Map<string, number>()
  readonly #trimmed = new Map<string, number>()
  readonly #topicIds = new Map<string, TopicId>()
  readonly #context: WorkloadContext
  #broker: SimulatedBroker | undefined
  #shards: number
  #isHealed = false
  #isOver = false
  #isFinished = false
  #diesInRecovery = false
  #deviceMsMax: number
  #phase = 'start'
  #failure: unknown
  #restarts = 0

  constructor(seed: number) {
    this.#seed = seed
    this.#time = new VirtualTime(seed)
    this.#network = new SimulatedNetwork(this.#time)
    this.#machine = new SimulatedMachine(this.#time)
    this.#plan = drawPlan(this.#time.prng)
    this.#shards = this.#plan.shards
    this.#deviceMsMax = this.#plan.deviceMsMax
    this.#machine.onDeath = (kind) => {
      this.#reach.add(this.#broker?.gateway === undefined ? 'death within recovery' : 'death within an operation')
      this.#say(`died (${kind}) within a disk operation`)
      this.#broker?.vanish()
    }
    const mayLosePower = this.#plan.faults.some((kind) => kind === 'power' || kind === 'mid-operation')
    this.#context = {
      ...{ time: this.#time, ledger: this.#ledger, reach: this.#reach, history: this.#history },
      connect: () => this.#connect(),
      onBug: (error) => this.#fail(error),
      isKept: (topic) => topic.fsync === 'group' || !mayLosePower,
      acksThatHold: ['leader', 'all'],
      isOver: () => this.#isOver,
      isHealed: () => this.#isHealed,
      sendMsMax: this.#plan.isCalm ? CALM_SEND_MS_MAX : Number.POSITIVE_INFINITY,
    }
  }

  async toEnd(): Promise<SeedOutcome> {
    const time = this.#time
    try {
      this.#scenario().then(
        () => {
          this.#isFinished = true
        },
        (error: unknown) => this.#fail(error),
      )
      const done = () => this.#isFinished || this.#failure !== undefined
      if (!(await time.runUntil(done, RUN_MS_MAX, STEPS_MAX))) this.#fail(new Error(`stuck in phase '${this.#phase}'`))
    } catch (error) {
      this.#fail(error)
    }
    this.#broker?.vanish()
    const failure = this.#failure === undefined ? undefined : textOf(this.#failure)
    return {
      ...{ seed: this.#seed, traceHash: time.traceHash, events: time.steps, virtualMs: time.monotonicMs() },
      ...{ reach: this.#reach.counts, failure, log: this.#log, plan: this.#plan },
    }
  }

  #fail(error: unknown): void {
    if (this.#isFinished) return
    this.#failure ??= error ?? new Error('undefined was thrown')
    this.#time.stop()
  }

  #say(text: string): void {
    if (this.#log.length >= LOG_LINES_MAX) this.#log.shift()
    this.#log.push(`${this.#time.monotonicMs().toFixed(2)} ${text}`)
  }

  readonly #isPowerSafe = (topic: PlannedTopic): boolean => topic.fsync === 'group' || !this.#context.isKept(topic)

  // --- phases

  async #scenario(): Promise<void> {
    const plan = this.#plan
    void this.#supervise()
    await this.#makeTopics()
    this.#phase = 'workload'
    const work: Promise<void>[] = []
    for (let count = 0; count < plan.producers; count++) {
      const topic = pick(this.#time.prng, plan.topics)
      work.push(produce(this.#context, { process: 100 + count, topic, records: plan.recordsPerProducer }))
    }
    const readers: Promise<void>[] = []
    for (let count = 0; count < plan.consumers; count++)
      readers.push(consume(this.#context, 200 + count, pick(this.#time.prng, plan.topics)))
    const administration = this.#administrate()
    await Promise.all(Array.from({ length: plan.faultLanes }, () => this.#misfortunes()))
    await this.#heal()
    this.#phase = 'liveness: producers'
    await Promise.all(work)
    this.#phase = 'liveness: administration'
    await administration
    this.#phase = 'liveness: a new topic'
    await this.#makeNewTopic()
    this.#isOver = true
    this.#phase = 'liveness: consumers'
    await Promise.all(readers)
    this.#phase = 'final read'
    for (const [index, topic] of plan.topics.entries()) await readAll(this.#context, 300 + index, topic)
    await this.#checkTrims()
    this.#phase = 'stop'
    if (this.#time.prng.below(2) === 0) await this.#broker!.stop()
    // Where power cuts are not among the misfortunes, unsynced records of interval topics are counted on: then none at the end either.
    else this.#broker!.die(plan.topics.every(this.#isPowerSafe) ? pick(this.#time.prng, ['kill', 'power']) : 'kill')
    this.#phase = 'judgement'
    this.#judge()
  }

  async #makeTopics(): Promise<void> {
    const client = await this.#connect()
    for (const { name, partitions, config } of this.#plan.topics) {
      const created = await client.admin.topics.create(name, { partitions, config, ifNotExists: true })
      this.#topicIds.set(name, created.topicId as TopicId)
    }
    await client.close()
  }

  /** After everything healed a topic can be made and written to, without a restart. */
  async #makeNewTopic(): Promise<void> {
    const client = await this.#connect()
    for (let attempt = 0; ; attempt++) {
      try {
        await client.admin.topics.create('after-all', { partitions: 2, ifNotExists: true })
        break
      } catch (error) {
        if (attempt === NEW_TOPIC_ATTEMPTS_MAX) throw error
        await sleep(this.#time, 100)
      }
    }
    const producer = client.producer('after-all')
    await producer.send({ value: 'still here' })
    await client.close()
  }

  async #administrate(): Promise<void> {
    const { prng } = this.#time
    const trimmed = this.#plan.topics.filter((topic) => topic.isTrimmed)
    while (!this.#isHealed && (trimmed.length > 0 || this.#plan.hasChurn)) {
      await sleep(this.#time, between(prng, 50, 800))
      if (trimmed.length > 0 && prng.below(2) === 0) await trimNow(this.#context, pick(prng, trimmed), this.#trimmed)
      else if (this.#plan.hasChurn) await churnOnce(this.#context)
    }
  }

  async #heal(): Promise<void> {
    this.#isHealed = true
    Object.assign(this.#network.faults, { delayMsMin: 0.05, delayMsMax: 0.5, cutChance: 0 })
    this.#deviceMsMax = this.#plan.deviceMsMax
    this.#diesInRecovery = false
    this.#machine.files.heal()
    this.#say('healed')
    await sleep(this.#time, 1)
  }

  // --- the broker's life

  /** Starts the broker whenever there is none, and restarts one whose shard has failed. */
  async #supervise(): Promise<void> {
    const { prng } = this.#time
    while (!this.#isFinished && this.#failure === undefined && this.#phase !== 'judgement' && this.#phase !== 'stop') {
      const broker = this.#broker
      if (broker === undefined || !broker.isAlive) {
        if (broker !== undefined) await sleep(this.#time, between(prng, 1, 300))
        await this.#startBroker()
      } else if (broker.failedShard !== undefined) {
        this.#say(`shard failed: ${broker.failedShard}`)
        this.#reach.add('shard failed')
        await sleep(this.#time, between(prng, 1, 500))
        if (broker.isAlive) broker.die('kill')
      } else await sleep(this.#time, 5)
    }
  }

  async #startBroker(): Promise<void> {
    const { prng } = this.#time
    const shards = this.#restarts > 0 && prng.below(3) === 0 ? pick(prng, [1, 2, 3]) : this.#shards
    if (shards !== this.#shards) this.#reach.add('shard count changed')
    this.#shards = shards
    this.#restarts++
    const broker = new SimulatedBroker({
      ...{ time: this.#time, engine: this.#network.engine(), machine: this.#machine, shards, sizes: this.#plan.sizes },
      deviceMs: () => between(prng, 0.02, this.#deviceMsMax),
      onRecovered: (recovery) => this.#onRecovered(recovery),
      onBug: (error) => this.#fail(error),
      onStats: (_shard, gauges) => this.#onStats(gauges),
      onLog: (level, text) => this.#say(`${level} ${text}`),
    })
    this.#broker = broker
    if (this.#diesInRecovery && prng.below(2) === 0)
      this.#machine.dieAtOperation(prng.below(80), pick(prng, ['kill', 'power']))
    this.#say(`start ${this.#restarts} with ${shards} shards`)
    let isSettled = false
    broker.start().then(
      () => {
        isSettled = true
        this.#checkEpochs(broker)
      },
      (error: unknown) => {
        isSettled = true
        this.#onStartFailed(broker, error)
      },
    )
    // One that dies meanwhile never ends its start.
    while (!isSettled && broker.isAlive) await sleep(this.#time, 1)
  }

  /** No start leads under an epoch that an earlier start had. */
  #checkEpochs(broker: SimulatedBroker): void {
    for (const { name } of this.#plan.topics)
      for (const { partition, leaderEpoch } of broker.gateway?.router.byName(name)?.partitions ?? []) {
        const key = `${name}/${partition}`
        const last = this.#leaderEpochs.get(key) ?? -1
        if (leaderEpoch <= last)
          this.#fail(new Error(`${key}: epoch ${leaderEpoch} after epoch ${last} of an earlier start`))
        this.#leaderEpochs.set(key, leaderEpoch)
      }
  }

  #onStartFailed(broker: SimulatedBroker, error: unknown): void {
    if (!broker.isAlive || error instanceof SimulatedCrash) return
    if (!isStorageTrouble(error)) {
      this.#fail(error)
      return
    }
    this.#reach.add('start failed')
    this.#say(`start failed: ${String(error)}`)
    broker.die('kill')
  }

  #onRecovered(recovery: RecoveredDataDir): void {
    const reach = this.#reach
    reach.add('journal entries replayed', recovery.journals.entries)
    for (const { folder, cutBytes, setAside, notes } of recovery.results) {
      for (const text of notes) this.#say(`recovery of ${folder}: ${text}`)
      reach.add('log recovered')
      if (cutBytes > 0) reach.add('torn tail cut')
      if (setAside !== null) reach.add('suffix set aside')
    }
    this.#checkLogs(this.#machine.disk, recovery)
  }

  #onStats(gauges: Partial<ShardGauges>): void {
    const reach = this.#reach
    // Counts of a shard's life so far: what matters is that there are any.
    if ((gauges.duplicateBatches ?? 0) > 0) reach.add('dedup hit')
    if ((gauges.waitingFetches ?? 0) > 0) reach.add('long poll')
    if ((gauges.requestRingStalls ?? 0) > 0) reach.add('request ring full')
    if (gauges.pagesInUse !== undefined && gauges.pagesInUse === gauges.pages) reach.add('pages all in use')
  }

  #connect(): Promise<Client> {
    const time = this.#time
    const runtime: ClientRuntime = {
      ...{ clock: time, prng: time.prng, transport: this.#network.transport(), codecs: NO_CODECS },
      startTimer: (delayMs, task) => {
        const timer = time.after(delayMs, 'client', task)
        return { cancel: () => time.cancel(timer) }
      },
    }
    return Client.connect(runtime, BROKER_URL, { connectWaitMs: 600_000, requestTimeoutMs: 5_000 })
  }

  // --- misfortunes

  async #misfortunes(): Promise<void> {
    const { prng } = this.#time
    for (let count = 0; count < this.#plan.faultEvents; count++) {
      await sleep(this.#time, between(prng, 5, pick(prng, [50, 300, 1500])))
      const kind = pick(prng, this.#plan.faults)
      this.#say(`misfortune: ${kind}`)
      this.#time.trace(kind)
      await this.#strike(kind)
    }
    await sleep(this.#time, between(prng, 5, 400))
  }

  async #strike(kind: FaultKind): Promise<void> {
    const { prng } = this.#time
    const { faults } = this.#network
    const broker = this.#broker!
    switch (kind) {
      case 'cut':
        this.#network.cutAll()
        return this.#reach.add('connections cut')
      case 'flaky-network': {
        const before = this.#network.cuts
        faults.cutChance = between(prng, 0.01, 0.1)
        await sleep(this.#time, between(prng, 50, 800))
        faults.cutChance = 0
        return this.#reach.add('message cut', this.#network.cuts - before)
      }
      case 'slow-network':
        faults.delayMsMax = between(prng, 20, 400)
        this.#reach.add('slow network')
        await sleep(this.#time, between(prng, 50, 800))
        faults.delayMsMax = 0.5
        return
      case 'kill':
      case 'power':
        return this.#killNow(kind)
      case 'mid-operation':
        this.#machine.dieAtOperation(prng.below(300), pick<DeathKind>(prng, ['kill', 'power']))
        this.#diesInRecovery = prng.below(2) === 0
        return
      case 'slow-disk':
        this.#deviceMsMax = between(prng, 5, 150)
        this.#reach.add('slow disk')
        await sleep(this.#time, between(prng, 50, 1000))
        this.#deviceMsMax = this.#plan.deviceMsMax
        return
      case 'clock-jump':
        this.#time.wallOffsetMs += Math.floor(between(prng, -5_000_000, 5_000_000))
        return this.#reach.add('clock jump')
      case 'restart':
        return this.#restart(broker)
      case 'shadow':
        return this.#checkShadow()
      default:
        return this.#breakDisk(kind)
    }
  }

  async #breakDisk(kind: 'disk-full' | 'sync-failure' | 'short-write'): Promise<void> {
    const { prng } = this.#time
    const { files } = this.#machine
    const path = pick(prng, ['.log', '/state/', `${DATA_DIR}/`])
    if (kind === 'disk-full') {
      files.limitSpace(prng.below(pick(prng, [1, 5_000, 100_000])))
      this.#reach.add('disk full')
      await sleep(this.#time, between(prng, 100, 1500))
      files.heal()
    } else if (kind === 'sync-failure') {
      if (path === `${DATA_DIR}/`) return
      files.inject({ on: ['fdatasync', 'fsync'], path, skip: prng.below(10), effect: { kind: 'fail', code: 'EIO' } })
      await sleep(this.#time, between(prng, 50, 800))
      if (files.faultCount > 0) this.#reach.add('fsync failure')
    } else {
      const thenFail = pick(prng, [undefined, 'ENOSPC', 'EIO'] as const)
      const bytes = prng.below(1500)
      files.inject({
        ...{ on: 'write', path: pick(prng, ['.log', '/state/']), skip: prng.below(20) },
        effect: { kind: 'short-write', bytes, ...(thenFail === undefined ? {} : { thenFail }) },
      })
      await sleep(this.#time, between(prng, 50, 800))
      if (files.faultCount > 0) this.#reach.add('short write')
    }
  }

  #killNow(kind: DeathKind): void {
    this.#reach.add(kind === 'kill' ? 'kill' : 'power cut')
    this.#broker!.die(kind)
  }

  async #restart(broker: SimulatedBroker): Promise<void> {
    if (!broker.isAlive || broker.gateway?.notReady.size !== 0 || broker.failedShard !== undefined) return
    let isStopped = false
    broker.stop().then(
      () => {
        isStopped = true
        this.#reach.add('clean restart')
      },
      (error: unknown) => {
        if (broker.isAlive && !isStorageTrouble(error)) this.#fail(error)
        if (broker.isAlive) broker.die('kill')
      },
    )
    // A broker that dies meanwhile never ends its stop.
    while (!isStopped && broker.isAlive) await sleep(this.#time, 5)
  }

  // --- judgement

  /** What a power cut right now would leave of everything acknowledged or read so far. */
  #checkShadow(): void {
    this.#reach.add('shadow recovery')
    const disk = this.#machine.disk.crash(this.#time.prng, { kind: 'power', survival: 'none' })
    if (disk.stat(`${DATA_DIR}/data-dir.json`).kind === 'absent') return
    const probe = { pid: 999_999, bootId: 'shadow', startOf: () => undefined }
    const dataDir = openDataDir(disk, { path: DATA_DIR, nodeId: 1, newClusterId: 'shadow', probe })
    const { incarnation } = dataDir.identity
    const recovery = recoverDataDir(disk, { dataDir: DATA_DIR, incarnation, previousRun: dataDir.previousRun })
    const byFolder = new Map(recovery.results.map((result) => [result.folder, result.recovered]))
    this.#forEachPartition((topic, partition, folder) => {
      if (topic.fsync !== 'group') return
      const recovered = byFolder.get(folder)
      if (recovered?.damaged != null) throw new Error(`shadow recovery: ${folder} is damaged: ${recovered.damaged}`)
      const content = readLog(disk, `${DATA_DIR}/${folder}`)
      this.#ledger.compare(topic.name, partition, content, recovered)
    })
  }

  #forEachPartition(visit: (topic: PlannedTopic, partition: number, folder: string) => void): void {
    for (const topic of this.#plan.topics) {
      const topicId = this.#topicIds.get(topic.name)
      if (topicId === undefined) continue
      for (let partition = 0; partition < topic.partitions; partition++)
        visit(topic, partition, partitionFolder(topicId, partition))
    }
  }

  /** A log starts where somebody asked it to, at most. Acknowledged records before the start need not be read. */
  async #checkTrims(): Promise<void> {
    const client = await this.#connect()
    for (const topic of this.#plan.topics) {
      for (const { partition, offset } of await client.admin.topics.offsets(topic.name, 'start')) {
        const asked = this.#trimmed.get(`${topic.name}/${partition}`) ?? 0
        if (offset > asked)
          throw new Error(`${topic.name}-${partition} starts at ${offset}, no trim asked for more than ${asked}`)
        this.#forgive(topic.name, partition, offset)
      }
    }
    await client.close()
  }

  #forgive(topic: string, partition: number, logStartOffset: number): void {
    for (const [index, operation] of this.#history.entries()) {
      if (operation.f !== 'send' || operation.type !== 'ok') continue
      const record = operation.records[0]!
      if (record.topic !== topic || record.partition !== partition || record.offset! >= logStartOffset) continue
      const { offset: _, ...unplaced } = record
      this.#history[index] = { ...operation, type: 'info', records: [unplaced] }
    }
  }

  #judge(): void {
    const verdict = checkHistory(this.#history)
    const anomalies = verdict.anomalies.map(
      ({ kind, topic, partition, offset, text, line }) =>
        `${kind} ${topic}-${partition} @${offset} line ${line}: ${text}`,
    )
    if (anomalies.length > 0) throw new Error(`the history is not valid:\n${anomalies.slice(0, 20).join('\n')}`)
    const { disk } = this.#machine
    const dataDir = openDataDir(disk, { path: DATA_DIR, nodeId: 1, newClusterId: '', probe: this.#machine.probe })
    const { incarnation } = dataDir.identity
    const recovery = recoverDataDir(disk, { dataDir: DATA_DIR, incarnation, previousRun: dataDir.previousRun })
    this.#checkLogs(disk, recovery)
    this.#forEachPartition((_topic, _partition, folder) => {
      const { segments } = readLog(disk, `${DATA_DIR}/${folder}`)
      if (segments > 1) this.#reach.add('segment roll', segments - 1)
    })
  }

  /** The logs just recovered: sound, with all that was acknowledged or read, and as recovery says. */
  #checkLogs(disk: MemoryFileSystem, recovery: RecoveredDataDir): void {
    const byFolder = new Map(recovery.results.map((result) => [result.folder, result.recovered]))
    this.#forEachPartition((topic, partition, folder) => {
      const recovered = byFolder.get(folder)
      if (recovered?.damaged != null) throw new Error(`${folder} is damaged: ${recovered.damaged}`)
      const content: LogContent = readLog(disk, `${DATA_DIR}/${folder}`)
      if (recovered != null) compareRecovered(disk, `${DATA_DIR}/${folder}`, content, recovered)
      if (this.#context.isKept(topic)) this.#ledger.compare(topic.name, partition, content, recovered)
    })
  }
}

function isStorageTrouble(error: unknown): boolean {
  if (error instanceof StorageError) return true
  return isMillraceError(error) && (error.cause instanceof StorageError || error.code === 'BROKER_NOT_AVAILABLE')
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? String(error)) : String(error)
}
