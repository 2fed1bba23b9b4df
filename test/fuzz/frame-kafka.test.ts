/**
 * Hostile frames at the Kafka door of a real broker process: requests of every API and version with values of chance, then broken: bits
 * flipped, cut, lengthened, counts and lengths that lie, unknown keys and versions, pipelined, in any segments. The broker lives on,
 * answers whom it answers in order and so that it can be read, serves an honest client all the while, and never meets what it did not
 * expect. Once where everybody is let in, once where nobody is who has not said who they are.
 *
 *   npm run test:fuzz -- --only frame-kafka [--frames 100000] [--seconds 60] [--seed N]
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { test } from 'node:test'
import { joinBytes } from '../../src/base/bytes.ts'
import { SeededPrng } from '../../src/base/prng.ts'
import { type Client, connect } from '../../src/client/index.ts'
import * as apis from '../../src/kafka/apis/index.ts'
import type { KafkaApi } from '../../src/kafka/codec/api.ts'
import { FrameAssembler } from '../../src/kafka/codec/frame-assembler.ts'
import { KafkaKey } from '../../src/kafka/keys.ts'
import { BatchWriter } from '../../src/record/batch-writer.ts'
import { nodeCodecs } from '../../src/record/node-codecs.ts'
import { BareKafkaClient, type KafkaAddress } from '../support/bare-kafka-client.ts'
import { BrokerProcess, freePort, makeDataDir, removeDataDir } from '../support/broker-process.ts'
import { budgetMs, environmentNumber, freshSeed, withinBudget } from '../support/budget.ts'
import { seededBytes, seededValue } from '../support/kafka-values.ts'
import { sleep } from '../support/until.ts'

const APIS = apis.KAFKA_APIS as unknown as readonly KafkaApi[]
const BY_KEY = new Map(APIS.map((api) => [api.key, api]))
const HOT = [KafkaKey.PRODUCE, KafkaKey.PRODUCE, KafkaKey.FETCH, KafkaKey.METADATA, KafkaKey.LIST_OFFSETS]
const BEFORE_AUTHENTICATION: readonly number[] = [
  KafkaKey.API_VERSIONS,
  KafkaKey.SASL_HANDSHAKE,
  KafkaKey.SASL_AUTHENTICATE,
]
const HOSTILE = 'fuzz'
const HONEST = 'honest'
const USER = { name: 'honest', password: 'correct horse' }
/** Of requests that are whole before those that are not: behind what closes a connection nothing is looked at. */
const WHOLE_MAX = 40
const BROKEN_MAX = 4
const ATTACKERS = 8
const WARM_FRAMES = 20_000
const RSS_GROWTH_MIB_MAX = 64
/** A connection that waits for a group or for a timeout is given up. */
const QUIET_MS_MAX = 60
const QUIET_STEP_MS = 2
const ANSWER_MS_MAX = 10_000
const CODECS = nodeCodecs()
const UNEXPECTED = /a Kafka request failed unexpectedly|unhandled|InvariantError/i

/** What was sent, as the broker reads it, and whether it has to be answered. */
interface Sent {
  readonly key: number
  readonly version: number
  readonly correlationId: number
}

class Attacker {
  readonly #prng: SeededPrng
  readonly #address: KafkaAddress
  readonly #isOpen: boolean
  count = 0
  answers = 0

  constructor(prng: SeededPrng, address: KafkaAddress, isOpen: boolean) {
    this.#prng = prng
    this.#address = address
    this.#isOpen = isOpen
  }

  /** One connection's worth of frames. */
  async attack(): Promise<void> {
    const socket = connectTcp(this.#address)
    socket.on('error', () => {})
    await once(socket, 'connect')
    const sent: Sent[] = []
    const watch = { isClosed: false, answers: 0, isOpaque: false, fault: undefined as Error | undefined }
    const frames = new FrameAssembler(64 * 1024 * 1024)
    socket.on('close', () => {
      watch.isClosed = true
    })
    socket.on('data', (chunk: Buffer) => {
      try {
        frames.push(chunk)
        for (let next = frames.next(); next.kind !== 'none'; next = frames.next()) {
          assert.equal(next.kind, 'frame')
          if (next.kind === 'frame' && !watch.isOpaque) this.#check(next.payload, sent)
          watch.answers++
        }
      } catch (error) {
        watch.fault = error as Error
      }
    })
    const prng = this.#prng
    const whole = prng.below(WHOLE_MAX)
    for (let left = whole + prng.below(BROKEN_MAX); left > 0 && !watch.isClosed; left--) {
      const bytes = left > BROKEN_MAX ? this.#valid() : this.#broken()
      const header = headerOf(bytes)
      // From here on the stream means something else to the broker than to us: only that there are frames is looked at.
      if (header === undefined || header.key === KafkaKey.SASL_HANDSHAKE) watch.isOpaque = true
      else sent.push(header)
      this.count++
      await this.#write(socket, bytes)
      if (prng.below(8) === 0) await new Promise((resolve) => setImmediate(resolve))
      assert.equal(watch.fault, undefined, watch.fault?.stack ?? '')
    }
    let seen = -1
    const isAnswered = (): boolean => !watch.isOpaque && sent.every(({ key }) => key === KafkaKey.PRODUCE)
    for (let quietMs = 0; !watch.isClosed && !isAnswered() && quietMs < QUIET_MS_MAX; quietMs += QUIET_STEP_MS) {
      if (seen !== watch.answers) quietMs = 0
      seen = watch.answers
      await sleep(QUIET_STEP_MS)
    }
    this.answers += watch.answers
    socket.destroy()
    assert.equal(watch.fault, undefined, watch.fault?.stack ?? '')
  }

  /** Answers come in the order of requests; only a produce may have none. */
  #check(payload: Uint8Array, sent: Sent[]): void {
    const correlationId = new DataView(payload.buffer, payload.byteOffset, payload.byteLength).getInt32(0)
    const index = sent.findIndex((each) => each.correlationId === correlationId)
    assert.ok(index >= 0, `an answer to ${correlationId}, which was not asked, or was answered`)
    const passed = sent.splice(0, index + 1)
    const { key, version } = passed.pop()!
    const withoutAnswer = passed.filter((each) => each.key !== KafkaKey.PRODUCE)
    assert.deepEqual(withoutAnswer, [], `passed over by an answer to api ${key}`)
    if (!this.#isOpen) assert.ok(BEFORE_AUTHENTICATION.includes(key), `api ${key} was answered before authentication`)
    const api = BY_KEY.get(key)
    assert.ok(api !== undefined, `api ${key} was answered`)
    const isRefused = key === KafkaKey.API_VERSIONS && !api.serves(version)
    const decoded = api.decodeResponse(isRefused ? 0 : version, payload)
    assert.equal(decoded.correlationId, correlationId)
  }

  /** In one segment or several, as TCP may cut it. */
  async #write(socket: Socket, bytes: Uint8Array): Promise<void> {
    const prng = this.#prng
    let from = 0
    if (prng.below(4) === 0)
      for (let cuts = 1 + prng.below(4); cuts > 0 && from < bytes.length; cuts--) {
        const to = from + prng.below(bytes.length - from + 1)
        socket.write(bytes.subarray(from, to))
        from = to
        // The broker reads a piece by itself.
        if (prng.below(2) === 0) await new Promise((resolve) => setImmediate(resolve))
      }
    socket.write(bytes.subarray(from))
  }

  #broken(): Uint8Array {
    const prng = this.#prng
    const kind = prng.below(12)
    if (kind < 9) return this.#mutated(this.#valid())
    if (kind === 9) return this.#lying(this.#valid())
    return kind === 10 ? seededBytes(prng, 60) : this.#unknown()
  }

  #valid(): Uint8Array {
    const prng = this.#prng
    const allowed = this.#isOpen || prng.below(20) === 0 ? undefined : BEFORE_AUTHENTICATION
    const hot = prng.below(3) === 0 ? HOT : undefined
    const keys = allowed ?? hot ?? APIS.map(({ key }) => key)
    const api = BY_KEY.get(keys[prng.below(keys.length)]!)!
    const version = api.versionMin + prng.below(api.versionMax - api.versionMin + 1)
    const header = { correlationId: prng.uint32() | 0, clientId: ['me', '', null, 'é'][prng.below(4)]! }
    const value = seededValue(api.request, api.encodingOf(version), prng) as Record<string, unknown>
    if (api.key === KafkaKey.PRODUCE) this.#fill(value)
    if (api.key === KafkaKey.SASL_HANDSHAKE) value.mechanism = ['SCRAM-SHA-256', 'PLAIN', ''][prng.below(3)]
    if (api.key === KafkaKey.SASL_AUTHENTICATE && prng.below(2) === 0)
      value.authBytes = Buffer.from(`n,,n=${USER.name},r=${prng.uint32()}`)
    if (api.key === KafkaKey.API_VERSIONS) value.clientSoftwareName = value.clientSoftwareVersion = 'x'
    return joinBytes(api.encodeRequest(version, header, value))
  }

  /** Batches that are right, most of them, for partitions that are there. */
  #fill(value: Record<string, unknown>): void {
    const prng = this.#prng
    value.acks = prng.below(30) === 0 ? 0 : [-1, 1, 1, 5][prng.below(4)]
    value.timeoutMs = 1_000
    if (prng.below(4) > 0) value.transactionalId = null
    for (const topic of value.topicData as { name: string; partitionData: Record<string, unknown>[] }[]) {
      if (prng.below(4) > 0) topic.name = HOSTILE
      for (const partition of topic.partitionData) {
        if (prng.below(4) > 0) partition.index = prng.below(3)
        if (prng.below(8) === 0) continue
        const batch = this.#batch()
        partition.records = { bytes: batch.length, fragments: [batch] }
      }
    }
  }

  #batch(): Uint8Array {
    const prng = this.#prng
    const writer = new BatchWriter({ batchBytesMax: 1024 * 1024, codecs: CODECS })
    writer.reset()
    for (let records = 1 + prng.below(3); records > 0; records--)
      writer.append(prng.below(2) === 0 ? null : seededBytes(prng, 20), this.#value(), null, Date.now())
    const one = new Uint8Array(
      writer.finish({ producerId: -1, producerEpoch: -1, baseSequence: -1, codec: prng.below(5) }),
    )
    const kind = prng.below(12)
    if (kind === 0) return joinBytes([one, one])
    if (kind > 2) return one
    for (let flips = 1 + prng.below(4); flips > 0; flips--) one[prng.below(one.length)] = prng.below(256)
    return kind === 1 ? one : one.subarray(0, prng.below(one.length))
  }

  /** Small, and now and then larger than what a socket gives at once. */
  #value(): Uint8Array {
    const prng = this.#prng
    return prng.below(40) === 0 ? new Uint8Array(prng.below(150_000)).fill(prng.below(256)) : seededBytes(prng, 100)
  }

  /** The right length around what is wrong. */
  #mutated(valid: Uint8Array): Uint8Array {
    const prng = this.#prng
    const body = valid.slice(4)
    // The key and the version are left alone most of the time, or most of it would be refused by its header.
    const from = prng.below(6) === 0 ? 0 : 4
    const at = from + prng.below(body.length - from)
    const before = body.subarray(0, at)
    switch (prng.below(7)) {
      case 0:
        for (let flips = 1 + prng.below(3); flips > 0; flips--)
          body[from + prng.below(body.length - from)]! ^= 1 << prng.below(8)
        return framed(body)
      case 1:
        for (let bytes = 1 + prng.below(5); bytes > 0; bytes--)
          body[from + prng.below(body.length - from)] = prng.below(256)
        return framed(body)
      case 2:
        return framed(before)
      case 3:
        return framed(joinBytes([body, seededBytes(prng, 50)]))
      case 4: {
        // A count, a length, or a size of a tag: huge or below 0, wherever it may lie.
        const lies = ['ffffffff0f', '7fffffff', '80000000', 'ffff', '00', '8080808010', 'feffffff0f', '0000ffff']
        const lie = Buffer.from(lies[prng.below(lies.length)]!, 'hex')
        return framed(joinBytes([before, lie, body.subarray(at + lie.length)]))
      }
      case 5:
        return framed(joinBytes([before, seededBytes(prng, 30), body.subarray(at)]))
      default: {
        const tags = ['0100', '01000100', 'ffffffff0f', '02630000', '0105020102']
        const tag = Buffer.from(tags[prng.below(tags.length)]!, 'hex')
        return framed(joinBytes([body.subarray(0, body.length - 1), tag]))
      }
    }
  }

  /** A length that is not that of the frame. */
  #lying(valid: Uint8Array): Uint8Array {
    const copy = valid.slice()
    const lengths = [-1, 0, 1, 7, 8, valid.length, 2 ** 31 - 1, 64 * 1024 * 1024 + 1, 1 << 20]
    new DataView(copy.buffer).setInt32(0, lengths[this.#prng.below(lengths.length)]!)
    return copy
  }

  #unknown(): Uint8Array {
    const prng = this.#prng
    const body = joinBytes([new Uint8Array(8), seededBytes(prng, 40)])
    const view = new DataView(body.buffer)
    view.setInt16(0, [4, 5, 6, 7, 27, 34, 71, 99, -1, 32_767, KafkaKey.PRODUCE, KafkaKey.API_VERSIONS][prng.below(12)]!)
    view.setInt16(2, [0, 1, 99, -1, 32_767, -32_768][prng.below(6)]!)
    view.setInt32(4, prng.uint32() | 0)
    return framed(body)
  }
}

function framed(body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(4 + body.length)
  new DataView(frame.buffer).setInt32(0, body.length)
  frame.set(body, 4)
  return frame
}

/** What the broker reads; undefined: a frame that lies about its length, or has no header. */
function headerOf(frame: Uint8Array): Sent | undefined {
  if (frame.length < 12) return undefined
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength)
  if (view.getInt32(0) !== frame.length - 4) return undefined
  return { key: view.getInt16(4), version: view.getInt16(6), correlationId: view.getInt32(8) }
}

/** A fresh connection asks for versions and metadata, stores a record and reads it back. */
async function checkHonest(address: KafkaAddress, isOpen: boolean): Promise<void> {
  const client = await BareKafkaClient.connect(address)
  const timer = setTimeout(() => client.close(), ANSWER_MS_MAX)
  try {
    const software = { clientSoftwareName: 'honest', clientSoftwareVersion: '1' }
    const versions = await client.call(apis.apiVersions, 3, software)
    assert.equal(versions.errorCode, 0)
    if (!isOpen) await client.authenticate('SCRAM-SHA-256', USER.name, USER.password)
    const metadata = await client.call(apis.metadata, 12, {
      topics: [{ topicId: '', name: HONEST }],
      includeClusterAuthorizedOperations: false,
      includeTopicAuthorizedOperations: false,
    })
    const [topic] = metadata.topics
    assert.equal(topic!.errorCode, 0)
    const writer = new BatchWriter({ batchBytesMax: 4_096, codecs: CODECS })
    writer.reset()
    const text = `${Math.random()}`
    writer.append(null, Buffer.from(text), null, Date.now())
    const batch = writer.finish({ producerId: -1, producerEpoch: -1, baseSequence: -1, codec: 0 })
    const records = { bytes: batch.length, fragments: [batch] }
    const produced = await client.call(apis.produce, 9, {
      ...{ transactionalId: null, acks: -1, timeoutMs: ANSWER_MS_MAX },
      topicData: [{ name: HONEST, partitionData: [{ index: 0, records }] }],
    })
    const [stored] = produced.responses[0]!.partitionResponses
    assert.equal(stored!.errorCode, 0, stored!.errorMessage ?? '')
    const part = { partition: 0, fetchOffset: stored!.baseOffset, partitionMaxBytes: 1 << 20 }
    const fetched = await client.call(apis.fetch, 13, {
      ...{ maxWaitMs: 1_000, minBytes: 1, isolationLevel: 0, sessionId: 0, rackId: '' },
      topics: [{ topic: '', topicId: topic!.topicId, partitions: [{ ...part, replicaDirectoryId: '' }] }],
      forgottenTopicsData: [],
    })
    const [read] = fetched.responses[0]!.partitions
    assert.equal(read!.errorCode, 0)
    assert.ok(Buffer.from(read!.records!).includes(text), 'what was stored is read')
  } finally {
    clearTimeout(timer)
    client.close()
  }
}

for (const phase of ['everybody is let in', 'before authentication'] as const)
  test(`hostile Kafka frames: ${phase}`, { timeout: 24 * 3_600_000 }, async () => {
    const isOpen = phase === 'everybody is let in'
    const seed = freshSeed()
    const asked =
      process.env.MILLRACE_FUZZ_COUNT === undefined ? undefined : environmentNumber('MILLRACE_FUZZ_COUNT', 0)
    const limitMs = budgetMs(10_000) / 2
    const dataDir = makeDataDir()
    const address = { host: '127.0.0.1', port: await freePort() }
    const settings = {
      ...{ 'log.level': 'error', 'pages.poolBytes': '8MiB', 'rings.requestBytes': '4MiB' },
      ...{ 'groups.initialRebalanceDelay': '0ms', ...(isOpen ? {} : { 'listeners.kafka.sasl': 'SCRAM-SHA-256' }) },
    }
    const sets = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`])
    const args = ['--shards', '2', '--kafka', `${address.host}:${address.port}`, ...sets]
    const broker = await BrokerProcess.start({ dataDir, args })
    const client: Client = await connect(broker.url)
    try {
      for (const [name, partitions] of [
        [HONEST, 1],
        [HOSTILE, 3],
      ] as const)
        await client.admin.topics.create(name, { partitions })
      if (!isOpen) await client.admin.users.upsert(USER)
      const prng = new SeededPrng(seed)
      const attackers = Array.from(
        { length: ATTACKERS },
        () => new Attacker(new SeededPrng(prng.uint32()), address, isOpen),
      )
      const sum = (of: (attacker: Attacker) => number): number => attackers.reduce((all, each) => all + of(each), 0)
      const count = (): number => sum((attacker) => attacker.count)
      let beforeMib = Number.NaN
      let connections = 0
      const memory: number[] = []
      const startedMs = performance.now()
      while (withinBudget({ startedMs, done: count(), asked, budgetMs: limitMs })) {
        await Promise.all(attackers.map((attacker) => attacker.attack()))
        connections += ATTACKERS
        // Rings and pages are in memory once they went round, heaps once they had their first collections.
        if (Number.isNaN(beforeMib) && count() >= WARM_FRAMES) beforeMib = broker.rssMib()
        if (connections % (ATTACKERS * 10) === 0) {
          await checkHonest(address, isOpen)
          memory.push(broker.rssMib())
        }
        assert.equal(broker.hasEnded, false, `the broker ended: ${broker.talk}`)
        assert.doesNotMatch(broker.talk, UNEXPECTED)
      }
      await checkHonest(address, isOpen)
      memory.push(broker.rssMib())
      // Three heaps breathe, by tens of MiB each: what counts is how far they come down in the last quarter.
      const growthMib = Number.isNaN(beforeMib)
        ? 0
        : Math.min(...memory.slice(-Math.ceil(memory.length / 4))) - beforeMib
      assert.ok(growthMib <= RSS_GROWTH_MIB_MAX, `RSS grew by ${growthMib} MiB`)
      assert.deepEqual(await broker.readiness(), { ready: true, reasons: [] })
      assert.doesNotMatch(broker.talk, UNEXPECTED)
      const seconds = (performance.now() - startedMs) / 1_000
      console.log(
        `kafka fuzz, ${phase}: reached ${count()} frames over ${connections} connections in ${seconds.toFixed(0)} s, ` +
          `${sum((attacker) => attacker.answers)} answered, ${broker.talk.split('\n').length - 1} errors logged, RSS +${growthMib.toFixed(0)} MiB; seed ${seed}`,
      )
    } catch (error) {
      console.log(`repeat: npm run test:fuzz -- --only frame-kafka --seed ${seed}`)
      console.log(`the broker said:\n${broker.talk.slice(-4_000)}`)
      throw error
    } finally {
      await broker.kill()
      await client.close({ signal: AbortSignal.timeout(2_000) }).catch(() => {})
      removeDataDir(dataDir)
    }
  })
