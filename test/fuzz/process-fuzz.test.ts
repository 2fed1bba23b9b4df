/**
 * Hostile bytes at a real broker process with real shards: raw TCP, broken upgrades and WebSocket frames, frames before and after
 * hello, and batches that are wrong inside under a checksum that is right. The broker lives on, serves an honest client all the
 * while, its memory stays bounded, and whatever it took it can start on again.
 *
 * frame-gateway.test.ts has the same for the gateway alone, on both engines, with far more frames.
 *
 *   npm run test:fuzz -- --only process-fuzz [--seconds 60] [--seed N]
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { test } from 'node:test'
import { WebSocket } from 'ws'
import { crc32c } from '../../src/base/crc32c.ts'
import { SeededPrng } from '../../src/base/prng.ts'
import { type Client, connect } from '../../src/client/index.ts'
import type { TopicId } from '../../src/model/ids.ts'
import * as protocol from '../../src/protocol/index.ts'
import { CRC_AT, CRC_FROM } from '../../src/record/batch-layout.ts'
import { BatchWriter } from '../../src/record/batch-writer.ts'
import { nodeCodecs } from '../../src/record/node-codecs.ts'
import { BrokerProcess, makeDataDir, removeDataDir } from '../support/broker-process.ts'
import { budgetMs, environmentNumber, freshSeed, withinBudget } from '../support/budget.ts'
import { sleep } from '../support/until.ts'

const HOSTILE = 'hostile'
const HONEST = 'honest'
const PARTITIONS = 3
const PER_CONNECTION = 100
const WARM_FRAMES = 20_000
const RSS_GROWTH_MIB_MAX = 64
const ANSWER_MS_MAX = 10_000
const CODECS = nodeCodecs()

const UPGRADE =
  'GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: millrace.v1\r\n\r\n'

class Attacker {
  readonly #prng: SeededPrng
  readonly #url: string
  readonly #topicId: TopicId
  count = 0

  constructor(prng: SeededPrng, url: string, topicId: TopicId) {
    this.#prng = prng
    this.#url = url
    this.#topicId = topicId
  }

  /** One connection, of a kind that chance has. */
  async attack(): Promise<void> {
    const kind = this.#prng.below(10)
    if (kind < 2) await this.#rawTcp()
    else await this.#webSocket(kind > 2)
  }

  #bytes(lengthMax: number): Uint8Array {
    return new Uint8Array(this.#prng.below(lengthMax + 1)).map(() => this.#prng.below(256))
  }

  /** Flips some bytes of a copy, or cuts it, or lengthens it. */
  #mutated(bytes: Uint8Array): Uint8Array {
    const prng = this.#prng
    const copy = new Uint8Array(bytes)
    for (let flips = prng.below(6); flips > 0 && copy.length > 0; flips--)
      copy[prng.below(copy.length)] = prng.below(256)
    if (prng.below(6) === 0) return copy.subarray(0, prng.below(copy.length + 1))
    if (prng.below(6) === 0) return Buffer.concat([copy, this.#bytes(300)])
    return copy
  }

  /** What no WebSocket library would send: noise, broken HTTP, noise for frames. */
  async #rawTcp(): Promise<void> {
    const prng = this.#prng
    const { hostname, port } = new URL(this.#url)
    const socket = connectTcp({ host: hostname, port: Number(port) })
    socket.on('error', () => {})
    await once(socket, 'connect')
    const upgrade = Buffer.from(UPGRADE)
    const first = [
      () => this.#bytes(2_000),
      () => this.#mutated(upgrade),
      () => Buffer.from(`GET /${'a'.repeat(prng.below(20_000))} HTTP/1.1\r\n`),
      () => Buffer.from(`POST /api/v1/topics HTTP/1.1\r\nContent-Length: ${prng.uint32()}\r\n\r\n{"name":`),
      () => upgrade,
    ][prng.below(5)]!()
    socket.write(first)
    this.count++
    if (prng.below(2) === 0) await sleep(1)
    for (let frames = prng.below(5); frames > 0; frames--, this.count++) socket.write(this.#bytes(500))
    await sleep(1)
    socket.destroy()
  }

  async #webSocket(isGreeted: boolean): Promise<void> {
    const socket = new WebSocket(this.#url, protocol.SUBPROTOCOL, { perMessageDeflate: false })
    let isClosed = false
    let replies = 0
    socket.on('error', () => {})
    socket.on('close', () => {
      isClosed = true
    })
    await once(socket, 'open')
    socket.on('message', () => replies++)
    if (isGreeted) {
      const greeting = protocol.hello.encodeRequest({ clientName: 'fuzz', clientVersion: '', token: null })
      socket.send(protocol.encodeFrame({ api: protocol.Api.HELLO, isReply: false, correlationId: 1 }, greeting))
    }
    for (let frames = 0; frames < PER_CONNECTION && !isClosed; frames++) {
      socket.send(this.#frame())
      this.count++
      if (frames % 10 === 9) await new Promise((resolve) => setImmediate(resolve))
    }
    // An honest question at the end: a connection that is still open answers.
    if (isGreeted && !isClosed) {
      const before = replies
      const question = protocol.metadata.encodeRequest({ topics: [HONEST] })
      socket.send(protocol.encodeFrame({ api: protocol.Api.METADATA, isReply: false, correlationId: 2 }, question))
      const untilMs = performance.now() + ANSWER_MS_MAX
      while (!isClosed && replies === before) {
        assert.ok(performance.now() < untilMs, 'an open connection answers')
        await sleep(1)
      }
    }
    socket.terminate()
  }

  #frame(): Uint8Array {
    const prng = this.#prng
    const topicId = this.#topicId
    const partition = prng.below(PARTITIONS + 1)
    const place = { topicId, partition, leaderEpoch: -1 }
    const encode = (api: number, header: Uint8Array, body: Uint8Array[] = []): Uint8Array =>
      protocol.encodeFrame({ api, isReply: false, correlationId: prng.uint32() }, header, body)
    switch (prng.below(6)) {
      case 0: {
        const limits = { waitMs: prng.below(3), minBytes: prng.below(2), maxBytes: 1 + prng.below(1 << 16) }
        const parts = [{ ...place, fetchOffset: prng.below(1_000), maxBytes: 1 + prng.below(1 << 16) }]
        return this.#maybe(encode(protocol.Api.FETCH, protocol.fetch.encodeRequest({ ...limits, isolation: 0, parts })))
      }
      case 1: {
        const parts = [{ ...place, timestampMs: prng.below(5) - 3 }]
        return this.#maybe(
          encode(protocol.Api.LIST_OFFSETS, protocol.listOffsets.encodeRequest({ isolation: 0, parts })),
        )
      }
      case 2:
        return this.#maybe(encode(prng.below(70), this.#bytes(60)))
      default: {
        const batch = this.#batch()
        const batchBytes = prng.below(20) === 0 ? prng.below(1 << 20) : batch.length
        const request = { acks: prng.below(3) - 1, timeoutMs: 1_000, parts: [{ ...place, batchBytes }] }
        const frame = encode(protocol.Api.PRODUCE, protocol.produce.encodeRequest(request as never), [batch])
        return prng.below(4) === 0 ? this.#mutated(frame) : frame
      }
    }
  }

  #maybe(frame: Uint8Array): Uint8Array {
    return this.#prng.below(2) === 0 ? frame : this.#mutated(frame)
  }

  /** A batch that is right, or wrong with the right checksum, or simply wrong. */
  #batch(): Uint8Array {
    const prng = this.#prng
    const writer = new BatchWriter({ batchBytesMax: 64 * 1024, codecs: CODECS })
    writer.reset()
    for (let records = 1 + prng.below(5); records > 0; records--)
      writer.append(prng.below(2) === 0 ? null : this.#bytes(20), this.#bytes(200), null, 1_700_000_000_000)
    const fields = { producerId: -1, producerEpoch: -1, baseSequence: -1, codec: prng.below(5) }
    const batch = new Uint8Array(writer.finish(fields))
    const kind = prng.below(4)
    if (kind === 0) return batch
    const wrong = kind === 1 ? this.#mutated(batch) : new Uint8Array(batch)
    if (kind === 1 || wrong.length <= CRC_FROM) return wrong
    for (let flips = 1 + prng.below(3); flips > 0; flips--)
      wrong[CRC_FROM + prng.below(wrong.length - CRC_FROM)] = prng.below(256)
    new DataView(wrong.buffer).setUint32(CRC_AT, crc32c(wrong.subarray(CRC_FROM)))
    return wrong
  }
}

/** Stores a record and reads it back. */
async function checkHonest(client: Client, number: number): Promise<void> {
  const { partition, offset } = await client
    .producer(HONEST, { deliveryTimeoutMs: ANSWER_MS_MAX })
    .send({ value: `${number}` })
  for await (const record of client.consume(HONEST, { from: { offset }, to: 'end', partitions: [partition] })) {
    assert.equal(Buffer.from(record.value!).toString(), `${number}`)
    return
  }
  assert.fail(`what was stored at ${partition}@${offset} cannot be read`)
}

test('hostile bytes at a broker process', { timeout: 24 * 3_600_000 }, async () => {
  const seed = freshSeed()
  const asked = process.env.MILLRACE_FUZZ_COUNT === undefined ? undefined : environmentNumber('MILLRACE_FUZZ_COUNT', 0)
  const limitMs = budgetMs(10_000)
  const startedMs = performance.now()
  const dataDir = makeDataDir()
  const broker = await BrokerProcess.start({
    dataDir,
    args: [
      '--shards',
      '2',
      '--set',
      'log.level=error',
      '--set',
      'pages.poolBytes=8MiB',
      '--set',
      'rings.requestBytes=4MiB',
    ],
  })
  const client = await connect(broker.url)
  const repeat = `npm run test:fuzz -- --only process-fuzz --seed ${seed}`
  try {
    await client.admin.topics.create(HONEST, { partitions: 2 })
    const { topicId } = await client.admin.topics.create(HOSTILE, { partitions: PARTITIONS })
    const attacker = new Attacker(new SeededPrng(seed), broker.url, topicId as TopicId)
    let beforeMib = Number.NaN
    let connections = 0
    while (withinBudget({ startedMs, done: attacker.count, asked, budgetMs: limitMs })) {
      await attacker.attack()
      // Rings and pages are in memory once they went round, heaps once they had their first collections.
      if (Number.isNaN(beforeMib) && attacker.count >= WARM_FRAMES) beforeMib = broker.rssMib()
      if (++connections % 5 === 0) await checkHonest(client, connections)
      assert.equal(broker.hasEnded, false, `the broker ended: ${broker.talk}`)
    }
    const growthMib = Number.isNaN(beforeMib) ? 0 : broker.rssMib() - beforeMib
    assert.ok(growthMib <= RSS_GROWTH_MIB_MAX, `RSS grew by ${growthMib} MiB`)
    assert.deepEqual(await broker.readiness(), { ready: true, reasons: [] })
    // What was taken of it must be readable, and not be in the way of a start.
    const hostile = await client.admin.topics.describe(HOSTILE)
    await broker.kill()
    await broker.start()
    const after = await client.admin.topics.describe(HOSTILE)
    for (const [index, { highWatermark, offline }] of after.partitions.entries()) {
      assert.equal(offline, null)
      assert.ok(highWatermark! >= hostile.partitions[index]!.highWatermark!)
    }
    await checkHonest(client, -1)
    console.log(
      `process fuzz: reached ${attacker.count} frames over ${connections} connections, RSS +${growthMib.toFixed(0)} MiB, ` +
        `${after.partitions.reduce((sum, each) => sum + each.highWatermark!, 0)} records taken; seed ${seed}`,
    )
  } catch (error) {
    console.log(`repeat: ${repeat}\nthe broker said:\n${broker.talk.slice(-4_000)}`)
    throw error
  } finally {
    await broker.kill()
    await client.close({ signal: AbortSignal.timeout(2_000) }).catch(() => {})
    removeDataDir(dataDir)
  }
})
