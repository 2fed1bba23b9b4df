/**
 * Hostile frames at a listening gateway, per engine, before and after hello: every frame gets a reply or a close, nothing
 * crashes or hangs, memory stays bounded, and an honest client is served all the while.
 *
 * MILLRACE_FUZZ_COUNT frames per engine and phase (default: what MILLRACE_BUDGET_MS, 4 s, allows), MILLRACE_SEED replays a run.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { WebSocket } from 'ws'
import { systemClock } from '../../src/base/node/system-clock.ts'
import { systemPrng } from '../../src/base/node/system-prng.ts'
import { SeededPrng } from '../../src/base/prng.ts'
import type { TopicId } from '../../src/model/ids.ts'
import * as protocol from '../../src/protocol/index.ts'
import { pack } from '../../src/protocol/msgpack.ts'
import { BareClient, enginesHere, fakeBatch, startGateway, until } from '../support/gateway-fixture.ts'

const seed = Number(process.env.MILLRACE_SEED ?? systemPrng().uint32())
const countMax = Number(process.env.MILLRACE_FUZZ_COUNT ?? 100_000)
const budgetMs =
  process.env.MILLRACE_FUZZ_COUNT === undefined ? Number(process.env.MILLRACE_BUDGET_MS ?? 4_000) / 4 : Infinity
const RSS_GROWTH_MAX = 64 * 1024 * 1024
/** Frames that one connection may send before the next is opened. */
const PER_CONNECTION = 200

const APIS = [...Object.values(protocol.Api), 999, 65_535]

/** A header that some codec would take, or nearly. */
function header(prng: SeededPrng, topicId: string): Uint8Array {
  const value = (depth: number): unknown => {
    switch (prng.below(depth > 4 ? 8 : 11)) {
      case 0:
        return prng.below(3) - 1
      case 1:
        return prng.uint32()
      case 2:
        return topicId
      case 3:
        return 'x'.repeat(prng.below(300))
      case 4:
        return null
      case 5:
        return prng.below(2) === 0
      case 6:
        return prng.unit() * 2 ** prng.below(70)
      case 7:
        return 'fuzz'
      case 8:
        return { key: value(depth + 1), __proto__: 'x' }
      default:
        return Array.from({ length: prng.below(6) }, () => value(depth + 1))
    }
  }
  const valid = [
    () => [prng.below(3) - 1, 100, [[topicId, prng.below(4), -1, prng.below(500)]]],
    () => [
      prng.below(50),
      prng.below(100),
      1 + prng.below(1 << 20),
      prng.below(2),
      [[topicId, prng.below(4), -1, prng.below(9), 1 << 16]],
    ],
    () => [prng.below(2), [[topicId, prng.below(4), -1, prng.below(6) - 3]]],
    () => [['fuzz', '..']],
    () => [prng.below(2), Array.from({ length: 1 + prng.below(3) }, (_, index) => `id-${index}`)],
    () => [`topic-${prng.below(20)}`, prng.below(3), -1, {}, true, prng.below(2) === 0],
    () => [topicId, prng.below(3), prng.below(5) - 1],
    // describe-users and alter-users
    () => [prng.below(2) === 0 ? null : ['u', `u${prng.below(3)}`], `u${prng.below(3)}`],
    () => {
      const name = ['u', 'token', '', 'a\0'][prng.below(4)]
      const salted = [new Uint8Array(prng.below(20)), new Uint8Array([32, 64, 5][prng.below(3)]!)]
      return [[[name, prng.below(4)]], [[name, prng.below(4), [4096, 0, 1e9][prng.below(3)], ...salted]]]
    },
    // offset-commit, offset-fetch and group-heartbeat
    () => ['group', `member-${prng.below(3)}`, prng.below(4) - 1, null, [[topicId, '', [[prng.below(4), 5, -1, '']]]]],
    () => ['group', '', -1, prng.below(2) === 0, prng.below(2) === 0 ? null : [[topicId, 'fuzz', [prng.below(4)]]]],
    () => {
      const who = ['group', `member-${prng.below(3)}`, prng.below(5) - 2, null, null, -1, -1]
      return [...who, ['fuzz'], ['', 'f.*', '('][prng.below(3)], null, [[topicId, '', [prng.below(4)]]]]
    },
  ]
  return pack(prng.below(2) === 0 ? value(0) : valid[prng.below(valid.length)]!())
}

function hostileFrame(prng: SeededPrng, topicId: string): Uint8Array | string {
  const kind = prng.below(20)
  // These end the connection: seldom, or nothing after them is ever looked at.
  if (prng.below(300) === 0) return 'text'
  if (prng.below(300) === 0) return new Uint8Array(prng.below(40)).map(() => prng.below(256))
  const api = APIS[prng.below(APIS.length)]!
  const body = kind < 6 ? [fakeBatch(61 + prng.below(400), prng.below(5) + 1)] : []
  const isReply = prng.below(500) === 0
  const frame = protocol.encodeFrame({ api, isReply, correlationId: prng.uint32() }, header(prng, topicId), body)
  if (kind < 12) return frame
  for (let changes = prng.below(6); changes > 0; changes--) frame[prng.below(frame.length)] = prng.below(256)
  return kind < 18 ? frame : frame.subarray(0, prng.below(frame.length))
}

for (const { engine, skip } of await enginesHere())
  for (const phase of ['before hello', 'after hello'] as const)
    test(`${engine}: hostile frames ${phase}`, { timeout: 600_000, skip }, async (context) => {
      const prng = new SeededPrng(seed)
      const fixture = await startGateway({
        engine,
        shards: 2,
        settings: { 'limits.frameBytes': '1MiB' },
        pageCount: 2048,
      })
      const crashes: unknown[] = []
      const onCrash = (error: unknown) => crashes.push(error)
      process.on('uncaughtException', onCrash)
      process.on('unhandledRejection', onCrash)
      let count = 0
      try {
        const honest = await BareClient.hello(fixture.url)
        const none = { config: {}, ifNotExists: true, validateOnly: false, replicas: -1 }
        const { topicId } = await honest.call(protocol.createTopic, { ...none, name: 'fuzz', partitions: 4 })
        const startedMs = systemClock.monotonicMs()
        const rssBefore = process.memoryUsage().rss
        while (count < countMax && systemClock.monotonicMs() - startedMs < budgetMs) {
          count += await attack(fixture.url, phase === 'after hello', prng, topicId)
          assert.deepEqual(crashes, [], `MILLRACE_SEED=${seed}`)
          const meta = await honest.call(protocol.metadata, { topics: ['fuzz'] })
          assert.equal(meta.topics[0]!.name, 'fuzz')
          // What the attacker appended stays in the fake shard's memory: not the gateway's growth.
          for (const shard of fixture.shards)
            for (const partition of shard.partitions.values()) partition.batches.length = 0
        }
        await until(() => fixture.gateway.connectionCount === 1, 'all attackers are gone')
        await until(() => fixture.gateway.pool.pendingReceiveBytes < 1_000, 'the account is even')
        const growth = process.memoryUsage().rss - rssBefore
        assert.ok(
          growth < RSS_GROWTH_MAX * 2,
          `RSS grew by ${growth} bytes over ${count} frames, MILLRACE_SEED=${seed}`,
        )
        context.diagnostic(`${count} frames, RSS growth ${growth >> 20} MiB, MILLRACE_SEED=${seed}`)
        honest.close()
      } finally {
        process.off('uncaughtException', onCrash)
        process.off('unhandledRejection', onCrash)
        await fixture.close()
      }
    })

/** One connection's worth of hostile frames; answers how many were sent. */
async function attack(url: string, afterHello: boolean, prng: SeededPrng, topicId: TopicId): Promise<number> {
  const socket = new WebSocket(url, ['millrace.v1'], { perMessageDeflate: false })
  socket.on('error', () => {})
  socket.on('message', (data: Buffer) => assert.equal(protocol.decodeFrame(data).kind, 'frame'))
  await once(socket, 'open')
  if (afterHello) {
    const request = protocol.hello.encodeRequest({ clientName: 'fuzz', clientVersion: '', token: null })
    socket.send(protocol.encodeFrame({ api: protocol.Api.HELLO, isReply: false, correlationId: 1 }, request))
  }
  let sent = 0
  for (; sent < PER_CONNECTION && socket.readyState === WebSocket.OPEN; sent++) {
    socket.send(hostileFrame(prng, topicId))
    if (sent % 20 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  const isClosed = once(socket, 'close')
  socket.close()
  await isClosed
  return sent
}
