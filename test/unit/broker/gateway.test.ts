import assert from 'node:assert/strict'
import { test as testOn } from 'node:test'
import { nodeTimers } from '../../../src/base/node/node-timers.ts'
import type { TopicId } from '../../../src/model/ids.ts'
import * as protocol from '../../../src/protocol/index.ts'
import {
  BareClient,
  enginesHere,
  fakeBatch,
  type GatewayFixture,
  startGateway,
  until,
} from '../../support/gateway-fixture.ts'

const NONE = { config: {}, ifNotExists: false, validateOnly: false, replicas: -1 }

async function makeTopic(client: BareClient, name: string, partitions: number): Promise<TopicId> {
  const reply = await client.call(protocol.createTopic, { ...NONE, name, partitions })
  return reply.topicId
}

function produceTo(
  topicId: TopicId,
  batches: readonly (readonly [partition: number, bytes: Uint8Array])[],
  acks: -1 | 0 | 1 = -1,
) {
  const parts = batches.map(([partition, bytes]) => ({ topicId, partition, leaderEpoch: -1, batchBytes: bytes.length }))
  return { request: { acks, timeoutMs: 5_000, parts }, body: batches.map(([, bytes]) => bytes) }
}

function fetchFrom(
  topicId: TopicId,
  partitions: readonly (readonly [partition: number, offset: number])[],
  options = {},
) {
  return {
    waitMs: 2_000,
    minBytes: 1,
    maxBytes: 1 << 20,
    isolation: 0 as const,
    parts: partitions.map(([partition, fetchOffset]) => ({
      topicId,
      partition,
      leaderEpoch: -1,
      fetchOffset,
      maxBytes: 1 << 20,
    })),
    ...options,
  }
}

/** Answers how many requests were refused as OVERLOADED since this call. */
function countOverloads({ gateway }: GatewayFixture): () => number {
  const { metrics } = gateway
  const countError = metrics.countError.bind(metrics)
  let count = 0
  metrics.countError = (code) => {
    if (code === 'OVERLOADED') count++
    countError(code)
  }
  return () => count
}

for (const { engine, skip } of await enginesHere()) {
  const test = (title: string, work: () => Promise<void>) => testOn(`${engine}: ${title}`, { skip }, work)
  const withGateway = async (
    options: Omit<Parameters<typeof startGateway>[0], 'engine'>,
    work: (fixture: GatewayFixture) => Promise<void>,
  ) => {
    const fixture = await startGateway({ engine, ...options })
    try {
      await work(fixture)
    } finally {
      await fixture.close()
    }
  }
  const pagesInUse = (fixture: GatewayFixture) =>
    fixture.shards.reduce((sum, shard) => sum + shard.pages.pagesInUse(), 0)

  test('what is produced is fetched, over all shards, and every page comes back', () =>
    withGateway({ shards: 3 }, async (fixture) => {
      const client = await BareClient.hello(fixture.url)
      const topicId = await makeTopic(client, 'orders', 6)
      const batches = Array.from(
        { length: 6 },
        (_, partition) => [partition, fakeBatch(1_000 + partition, 3, partition)] as const,
      )
      const { request, body } = produceTo(topicId, batches)
      const receipt = await client.call(protocol.produce, request, body)
      assert.deepEqual(
        receipt.parts.map((part) => [part.errorNumber, part.baseOffset, part.durability]),
        batches.map(() => [0, 0, 2]),
      )
      const all = batches.map(([partition]) => [partition, 0] as const)
      const frame = await client.callFrame(protocol.fetch, fetchFrom(topicId, all, { minBytes: 6_000 }))
      const reply = protocol.unwrapReply(protocol.fetch.decodeReply(frame.header))
      assert.deepEqual(
        reply.parts.map((part) => [part.index, part.batchBytes, part.highWatermark]),
        [
          [0, 1_000, 3],
          [1, 1_001, 3],
          [2, 1_002, 3],
          [3, 1_003, 3],
          [4, 1_004, 3],
          [5, 1_005, 3],
        ],
      )
      assert.deepEqual(Buffer.from(frame.body), Buffer.concat(batches.map(([, bytes]) => bytes)))
      await until(() => pagesInUse(fixture) === 0, 'all pages are free')
      client.close()
    }))

  test('appends of one connection to one partition keep their order, through a ring that is full', () =>
    withGateway({ shards: 1 }, async (fixture) => {
      const client = await BareClient.hello(fixture.url)
      const topicId = await makeTopic(client, 'orders', 1)
      const shard = fixture.shards[0]!
      shard.isPaused = true
      const ids: number[] = []
      for (let index = 0; index < 40; index++) {
        const { request, body } = produceTo(topicId, [[0, fakeBatch(100_000, 1, index)]])
        ids.push(client.sendFrame(protocol.produce.api, protocol.produce.encodeRequest(request), body))
      }
      const link = fixture.gateway.links[0]!
      await until(() => link.stagedTotal >= 20, 'requests are staged')
      const grantedWhileFull = client.grantedBytes
      shard.isPaused = false
      const offsets: number[] = []
      for (const id of ids) {
        const reply = protocol.unwrapReply(protocol.produce.decodeReply((await client.reply(id)).header))
        offsets.push(reply.parts[0]!.baseOffset)
      }
      assert.deepEqual(
        offsets,
        ids.map((_, index) => index),
      )
      assert.equal(link.stagedBytes, 0)
      assert.ok(client.grantedBytes >= grantedWhileFull)
      assert.equal(shard.partitions.get(0)!.batches.length, 40)
      assert.deepEqual(
        shard.partitions.get(0)!.batches.map((batch) => batch.bytes[70]),
        ids.map((_, index) => index),
      )
      client.close()
    }))

  test('a produce that its shard does not answer is timed out by the monotonic clock', async () => {
    const sweeps: (() => void)[] = []
    const timers = {
      ...nodeTimers,
      every: (periodMs: number, task: () => void) => {
        sweeps.push(task)
        return nodeTimers.every(periodMs, task)
      },
    }
    await withGateway({ shards: 1, timers }, async (fixture) => {
      const client = await BareClient.hello(fixture.url)
      const topicId = await makeTopic(client, 'late', 1)
      fixture.shards[0]!.isPaused = true
      const { request, body } = produceTo(topicId, [[0, fakeBatch(100)]])
      const id = client.sendFrame(protocol.produce.api, protocol.produce.encodeRequest(request), body)
      await until(() => fixture.gateway.deadlines.size === 1, 'the deadline is kept')
      // The wall clock is past every deadline that the monotonic one gave.
      for (const sweep of sweeps) sweep()
      assert.equal(fixture.gateway.deadlines.size, 1, 'it has 10 s')
      fixture.shards[0]!.isPaused = false
      const reply = protocol.unwrapReply(protocol.produce.decodeReply((await client.reply(id)).header))
      assert.equal(reply.parts[0]!.errorNumber, 0)
      client.close()
    })
  })

  test('large replies to small requests do not pile up for a client that does not read', () =>
    withGateway({ shards: 1, settings: { 'limits.connectionSendBytes': '64KiB' } }, async (fixture) => {
      const client = await BareClient.hello(fixture.url)
      await makeTopic(client, 'wide', 10_000)
      const overloads = countOverloads(fixture)
      const replyBytes = (await client.callFrame(protocol.metadata, { topics: null })).header.length
      client.socket.pause()
      const ids = Array.from({ length: 900 }, () =>
        client.sendFrame(protocol.metadata.api, protocol.metadata.encodeRequest({ topics: null })),
      )
      const last = client.sendFrame(protocol.describeCluster.api, protocol.describeCluster.encodeRequest({}))
      // As many replies as the kernel takes for a client that reads nothing are sent; then they pile up, and the rest is refused.
      await until(() => overloads() > 0, 'requests are refused', 30_000)
      // What was under way when the client fell behind, 16 at once, and no more.
      const waiting = fixture.gateway.pool.pendingSendBytes
      assert.ok(waiting < 18 * replyBytes + (64 << 10), `${waiting} bytes wait, of replies of ${replyBytes}`)
      client.socket.resume()
      let refused = 0
      for (const id of ids) {
        const reply = protocol.metadata.decodeReply((await client.reply(id)).header)
        if (!reply.ok && reply.errorNumber === 1001) refused++
      }
      await client.reply(last)
      assert.ok(refused > 0 && refused < ids.length, `${refused} of ${ids.length} refused`)
      assert.equal(client.closed, undefined)
    }))

  test('a broker that stops answers the produces it has, and takes no more', () =>
    withGateway({ shards: 1 }, async (fixture) => {
      const client = await BareClient.hello(fixture.url)
      const topicId = await makeTopic(client, 'orders', 1)
      const { request, body } = produceTo(topicId, [[0, fakeBatch(100)]])
      fixture.shards[0]!.isPaused = true
      const before = client.callFrame(protocol.produce, request, body)
      await until(() => fixture.gateway.links[0]!.openSlots > 0, 'the shard has it')
      const drained = fixture.gateway.drain(5_000)
      await assert.rejects(client.call(protocol.produce, request, body), { code: 'LEADER_NOT_AVAILABLE' })
      fixture.shards[0]!.isPaused = false
      const reply = protocol.unwrapReply(protocol.produce.decodeReply((await before).header))
      assert.equal(reply.parts[0]!.errorNumber, 0)
      await drained
      assert.equal(fixture.shards[0]!.partitions.get(0)!.batches.length, 1)
    }))

  test('credit comes back for acks=none too, and a client that exceeds it is closed', () =>
    withGateway({ shards: 1, settings: { 'limits.frameBytes': '1MiB' } }, async (fixture) => {
      const client = await BareClient.hello(fixture.url)
      assert.ok(client.grantedBytes > 1 << 20, 'more than the largest frame')
      const topicId = await makeTopic(client, 'orders', 1)
      let sent = 0
      for (let round = 0; round < 20; round++) {
        const { request, body } = produceTo(topicId, [[0, fakeBatch(300_000)]], 0)
        const frame = protocol.encodeFrame(
          { api: 0, isReply: false, correlationId: 0 },
          protocol.produce.encodeRequest(request),
          body,
        )
        await until(() => sent + frame.length + 1_000 <= client.grantedBytes, 'credit comes')
        client.socket.send(frame)
        sent += frame.length
      }
      await until(() => fixture.shards[0]!.partitions.get(0)!.batches.length === 20, 'all are appended')
      assert.equal(client.closed, undefined)
      fixture.shards[0]!.isPaused = true
      for (let round = 0; round < 30; round++) {
        const { request, body } = produceTo(topicId, [[0, fakeBatch(700_000)]], 0)
        client.sendFrame(0, protocol.produce.encodeRequest(request), body)
      }
      await client.isClosed
      assert.equal(client.closed!.code, 1008)
      assert.match(client.closed!.reason, /CREDIT_EXCEEDED/)
      fixture.shards[0]!.isPaused = false
      await until(() => fixture.gateway.pool.pendingReceiveBytes === 0, 'the account is even')
    }))

  test('a fetch that waits is woken by the first shard that has enough, the others finish', () =>
    withGateway({ shards: 2 }, async (fixture) => {
      const client = await BareClient.hello(fixture.url)
      const topicId = await makeTopic(client, 'orders', 2)
      const waiting = client.callFrame(
        protocol.fetch,
        fetchFrom(
          topicId,
          [
            [0, 0],
            [1, 0],
          ],
          { waitMs: 30_000 },
        ),
      )
      await until(() => fixture.shards.every((shard) => shard.waiting.length === 1), 'both shards wait')
      const { request, body } = produceTo(topicId, [[1, fakeBatch(500)]])
      await client.call(protocol.produce, request, body)
      const reply = protocol.unwrapReply(protocol.fetch.decodeReply((await waiting).header))
      assert.deepEqual(
        reply.parts.filter((part) => part.batchBytes > 0).map((part) => [part.index, part.batchBytes]),
        [[1, 500]],
      )
      assert.ok(fixture.shards.some((shard) => shard.seen.includes('finish')))
      client.close()
    }))

  test('a connection that goes away cancels its fetches and gives all pages back', () =>
    withGateway({ shards: 2 }, async (fixture) => {
      const client = await BareClient.hello(fixture.url)
      const topicId = await makeTopic(client, 'orders', 2)
      client.sendFrame(
        1,
        protocol.fetch.encodeRequest(
          fetchFrom(
            topicId,
            [
              [0, 0],
              [1, 0],
            ],
            { waitMs: 60_000 },
          ),
        ),
      )
      await until(() => fixture.shards.every((shard) => shard.waiting.length === 1), 'both shards wait')
      client.socket.terminate()
      await until(() => fixture.shards.every((shard) => shard.waiting.length === 0), 'the fetches are cancelled')
      await until(() => fixture.gateway.links.every((link) => link.openSlots === 0), 'no slot is open')
      assert.equal(pagesInUse(fixture), 0)
      assert.equal(fixture.gateway.connectionCount, 0)
    }))

  test('a reader that stalls holds no pages, and gets everything when it reads again', () =>
    withGateway(
      { shards: 1, settings: { 'limits.connectionSendBytes': '64KiB' }, pageCount: 1024 },
      async (fixture) => {
        const client = await BareClient.hello(fixture.url)
        const topicId = await makeTopic(client, 'orders', 1)
        const batch = fakeBatch(700_000)
        const { request, body } = produceTo(topicId, [[0, batch]])
        await client.call(protocol.produce, request, body)
        client.socket.pause()
        const ids = Array.from({ length: 40 }, () =>
          client.sendFrame(1, protocol.fetch.encodeRequest(fetchFrom(topicId, [[0, 0]]))),
        )
        await until(() => [...fixture.gateway.pool.all].every((connection) => !connection.hasRoom), 'it is stalled')
        await new Promise((resolve) => setTimeout(resolve, 50))
        const connection = [...fixture.gateway.pool.all][0]!
        assert.ok(connection.bufferedBytes < 8 * (1 << 20), `${connection.bufferedBytes} bytes are buffered`)
        if (engine === 'uws') await until(() => pagesInUse(fixture) === 0, 'no page is held')
        client.socket.resume()
        for (const id of ids) {
          const frame = await client.reply(id)
          assert.deepEqual(Buffer.compare(Buffer.from(frame.body), batch), 0)
        }
        await until(() => pagesInUse(fixture) === 0, 'all pages are free')
        client.close()
      },
    ))

  test('a shard that fails takes its partitions offline, the others serve; a second storage failure takes all', () =>
    withGateway({ shards: 3 }, async (fixture) => {
      const client = await BareClient.hello(fixture.url)
      const topicId = await makeTopic(client, 'orders', 3)
      fixture.shards[1]!.isPaused = true
      const { request, body } = produceTo(topicId, [[1, fakeBatch(100)]])
      const pending = client.call(protocol.produce, request, body)
      await until(() => fixture.gateway.links[1]!.openSlots > 0, 'it waits')
      fixture.shards[1]!.notice({ kind: 'shard-failed', reason: 'EIO on fdatasync', storage: true })
      const failed = await pending
      assert.equal(failed.parts[0]!.errorNumber, 56)
      assert.match(failed.parts[0]!.errorText, /EIO on fdatasync/)
      const both = produceTo(topicId, [
        [0, fakeBatch(100)],
        [1, fakeBatch(100)],
      ])
      const mixed = await client.call(protocol.produce, both.request, both.body)
      assert.deepEqual(
        mixed.parts.map((part) => part.errorNumber),
        [0, 56],
      )
      const meta = await client.call(protocol.metadata, { topics: ['orders'] })
      assert.deepEqual(
        meta.topics[0]!.partitions.map((partition) => partition.leaderNodeId),
        [1, -1, 1],
      )
      const ready = await fetch(`${fixture.httpUrl}/readyz`)
      assert.equal(ready.status, 503)
      assert.match(JSON.stringify(await ready.json()), /shard 1 is failed: EIO/)
      fixture.shards[2]!.notice({ kind: 'shard-failed', reason: 'EIO again', storage: true })
      await until(() => fixture.gateway.router.offlineCount() === 3, 'all are offline')
      client.close()
    }))

  test('the coordinator of a group or a transactional id is the leader of its partition, made when it is asked for', () =>
    withGateway({ shards: 3, settings: { 'groups.offsetsPartitions': 3 } }, async (fixture) => {
      const { gateway } = fixture
      const client = await BareClient.hello(fixture.url)
      const ask = (kind: protocol.CoordinatorKind, ids: readonly string[]) =>
        client.call(protocol.findCoordinator, { kind, ids })
      const here = { errorNumber: 0, errorText: '', nodeId: 1, url: fixture.url }
      assert.equal(gateway.router.byName('__consumer_offsets'), undefined)
      assert.deepEqual(await ask(0, ['a', 'b']), { coordinators: [here, here] })
      assert.deepEqual(await ask(1, ['a']), { coordinators: [here] })
      assert.equal(gateway.router.byName('__consumer_offsets')?.partitions.length, 3)
      assert.ok(gateway.router.byName('__transaction_state'))
      const lost = await gateway.groups.partitionOf('a')
      fixture.shards[lost.shard]!.notice({ kind: 'partition-offline', partitionRef: lost.ref, reason: 'EIO' })
      await until(() => lost.state === 'offline', 'it is offline')
      const [a, b] = (await ask(0, ['a', 'b'])).coordinators
      assert.deepEqual([a!.errorNumber, a!.nodeId, a!.url], [15, -1, ''], 'COORDINATOR_NOT_AVAILABLE')
      assert.match(a!.errorText, /EIO/)
      assert.deepEqual(b, here)
      const meta = await client.call(protocol.metadata, { topics: ['__consumer_offsets'] })
      assert.deepEqual(meta.brokers, [{ nodeId: 1, url: fixture.url, rack: null }])
      for (const { replicas, inSync } of meta.topics[0]!.partitions) assert.deepEqual([replicas, inSync], [[1], [1]])
      client.close()
    }))

  test('topics are created, altered, grown, trimmed, listed and deleted', () =>
    withGateway({ shards: 2 }, async (fixture) => {
      const client = await BareClient.hello(fixture.url)
      const topicId = await makeTopic(client, 'orders', 2)
      const again = { ...NONE, name: 'orders', partitions: 9 }
      await assert.rejects(client.call(protocol.createTopic, again), { code: 'TOPIC_ALREADY_EXISTS' })
      const same = await client.call(protocol.createTopic, { ...again, ifNotExists: true })
      assert.deepEqual(same, { topicId, partitions: 2, created: false })
      const bad = { ...NONE, name: 'x', partitions: 1, config: { 'retention.mss': '1' } }
      await assert.rejects(client.call(protocol.createTopic, bad), {
        code: 'INVALID_CONFIG',
        message: /'retention\.mss'; did you mean 'retention\.ms'/,
      })
      await assert.rejects(client.call(protocol.createTopic, { ...NONE, name: '../x', partitions: 1 }), {
        code: 'INVALID_TOPIC_EXCEPTION',
      })
      await client.call(protocol.addPartitions, { name: 'orders', totalPartitions: 5, drain: false })
      await assert.rejects(client.call(protocol.addPartitions, { name: 'orders', totalPartitions: 5, drain: false }), {
        code: 'INVALID_PARTITIONS',
      })
      const altered = await client.call(protocol.alterTopicConfig, {
        name: 'orders',
        set: { 'retention.ms': '1000' },
        remove: [],
      })
      assert.deepEqual(altered, { config: { 'retention.ms': '1000' } })
      const { request, body } = produceTo(topicId, [[4, fakeBatch(100, 5)]])
      await client.call(protocol.produce, request, body)
      const listed = await client.call(protocol.listOffsets, {
        isolation: 0,
        parts: [
          { topicId, partition: 4, leaderEpoch: -1, timestampMs: -1 },
          { topicId, partition: 99, leaderEpoch: -1, timestampMs: -1 },
        ],
      })
      assert.deepEqual(
        listed.parts.map((part) => [part.errorNumber, part.offset]),
        [
          [0, 5],
          [3, -1],
        ],
      )
      assert.deepEqual(await client.call(protocol.trim, { topicId, partition: 4, beforeOffset: -1 }), {
        logStartOffset: 5,
      })
      await client.call(protocol.deleteTopic, { name: 'orders' })
      const gone = await client.call(protocol.produce, request, body)
      assert.equal(gone.parts[0]!.errorNumber, 100)
      const meta = await client.call(protocol.metadata, { topics: ['orders', 'orders', 'orders'] })
      assert.deepEqual(
        meta.topics.map((topic) => topic.errorNumber),
        [3],
        'a name repeated is answered once',
      )
      await makeTopic(client, 'orders', 3)
      assert.equal(fixture.gateway.router.partitionCount, 3)
      const ids = await Promise.all(
        Array.from({ length: 5 }, () =>
          client.call(protocol.initProducerId, { transactionalId: null, transactionTimeoutMs: 0 }),
        ),
      )
      assert.equal(new Set(ids.map((id) => id.producerId)).size, 5)
      client.close()
    }))

  test('bad frames are answered or end the connection, as the protocol says', () =>
    withGateway({ shards: 1, settings: { 'limits.frameBytes': '1MiB' } }, async (fixture) => {
      const client = await BareClient.hello(fixture.url)
      const unknown = protocol.produce.decodeReply(
        (await client.reply(client.sendFrame(999, new Uint8Array(0)))).header,
      )
      assert.deepEqual([unknown.ok, !unknown.ok && unknown.errorNumber], [false, 1002])
      const malformed = await client.reply(client.sendFrame(0, Uint8Array.of(0xdd, 255, 255, 255, 255)))
      assert.equal((protocol.produce.decodeReply(malformed.header) as { errorNumber: number }).errorNumber, 42)
      const short = client.sendFrame(
        0,
        protocol.produce.encodeRequest(produceTo('0'.repeat(32) as TopicId, [[0, fakeBatch(100)]]).request),
      )
      const shortReply = protocol.produce.decodeReply((await client.reply(short)).header)
      assert.match((shortReply as { errorText: string }).errorText, /the frame's body 0/)
      const versioned = protocol.encodeFrame({ api: 3, isReply: false, correlationId: 4_000 }, new Uint8Array(0))
      versioned[0] = 9
      client.socket.send(versioned)
      const wrong = protocol.produce.decodeReply((await client.reply(4_000)).header)
      assert.equal((wrong as { errorNumber: number }).errorNumber, 35)
      await assert.rejects(client.call(protocol.hello, { clientName: '', clientVersion: '', token: null }), {
        code: 'ILLEGAL_SASL_STATE',
      })
      assert.equal(client.closed, undefined)
      const closes: [data: Uint8Array | string, code: number][] = [
        [new Uint8Array(5), 1002],
        ['text', 1003],
        [protocol.encodeFrame({ api: 3, isReply: true, correlationId: 1 }, new Uint8Array(0)), 1002],
      ]
      for (const [data, code] of closes) {
        const victim = await BareClient.hello(fixture.url)
        victim.socket.send(data)
        await victim.isClosed
        assert.equal(victim.closed!.code, code)
      }
      const larger = await BareClient.hello(fixture.url)
      larger.socket.send(new Uint8Array((1 << 20) + 1))
      await larger.isClosed
      assert.deepEqual([larger.closed!.code, /FRAME_TOO_LARGE/.test(larger.closed!.reason)], [1009, true])
      const early = await BareClient.connect(fixture.url)
      const id = early.sendFrame(3, protocol.metadata.encodeRequest({ topics: null }))
      assert.equal(
        (protocol.metadata.decodeReply((await early.reply(id)).header) as { errorNumber: number }).errorNumber,
        34,
      )
      await early.isClosed
      assert.equal(early.closed!.code, 1008)
      const large = await BareClient.connect(fixture.url)
      large.socket.send(new Uint8Array(65 * 1024))
      await large.isClosed
      assert.equal(large.closed!.code, 1009)
      client.close()
    }))

  test('tokens and Origins', () =>
    withGateway(
      {
        shards: 1,
        settings: { 'auth.tokens': 'a-long-enough-token,another-long-token', 'auth.origins': 'https://ok.example' },
      },
      async (fixture) => {
        const bad = await BareClient.connect(fixture.url)
        await assert.rejects(bad.call(protocol.hello, { clientName: '', clientVersion: '', token: 'wrong' }), {
          code: 'SASL_AUTHENTICATION_FAILED',
        })
        await bad.isClosed
        assert.equal(bad.closed!.code, 1008)
        const inHello = await BareClient.hello(fixture.url, 'another-long-token')
        inHello.close()
        const inUpgrade = await BareClient.connect(fixture.url, { authorization: 'Bearer a-long-enough-token' })
        await inUpgrade.call(protocol.hello, { clientName: '', clientVersion: '', token: null })
        inUpgrade.close()
        await assert.rejects(BareClient.connect(fixture.url, { authorization: 'Bearer wrong' }), /401/)
        await assert.rejects(BareClient.connect(fixture.url, { origin: 'https://evil.example' }), /403/)
        const listed = await BareClient.connect(fixture.url, { origin: 'https://ok.example' })
        listed.close()
        const status = async (path: string, headers: Record<string, string> = {}) =>
          (await fetch(fixture.httpUrl + path, { headers })).status
        assert.equal(await status('/livez'), 200)
        assert.equal(await status('/api/v1/cluster'), 401)
        assert.equal(await status('/metrics'), 401)
        assert.equal(await status('/api/v1/cluster', { authorization: 'Bearer a-long-enough-token' }), 200)
        assert.equal(await status('/livez', { origin: 'https://evil.example' }), 403)
      },
    ))

  test('topics over HTTP', () =>
    withGateway({ shards: 2 }, async (fixture) => {
      const post = (body: unknown, type = 'application/json') =>
        fetch(`${fixture.httpUrl}/api/v1/topics`, {
          method: 'POST',
          headers: { 'content-type': type },
          body: typeof body === 'string' ? body : JSON.stringify(body),
        })
      const created = await post({ name: 'web', partitions: 3 })
      assert.equal(created.status, 201)
      assert.equal((await post({ name: 'web' })).status, 409)
      assert.equal((await post({ name: 7 })).status, 400)
      assert.equal((await post('{')).status, 400)
      assert.equal((await post({ name: 'web2' }, 'text/plain')).status, 400)
      assert.equal((await post('x'.repeat(100_000))).status, 413)
      const topic = (await (await fetch(`${fixture.httpUrl}/api/v1/topics/web`)).json()) as { partitionList: unknown[] }
      assert.equal(topic.partitionList.length, 3)
      const list = (await (await fetch(`${fixture.httpUrl}/api/v1/topics`)).json()) as { topics: { name: string }[] }
      assert.deepEqual(
        list.topics.map(({ name }) => name),
        ['web'],
      )
      const metrics = await (await fetch(`${fixture.httpUrl}/metrics`)).text()
      assert.match(metrics, /millrace_shard_partitions\{shard="0"\} 2/)
      assert.match(metrics, /millrace_shard_sync_seconds_total\{shard="1"\} 1\n/)
      const cluster = (await (await fetch(`${fixture.httpUrl}/api/v1/cluster`)).json()) as { partitions: number }
      assert.equal(cluster.partitions, 3)
      assert.equal((await fetch(`${fixture.httpUrl}/api/v1/topics/web`, { method: 'DELETE' })).status, 204)
      assert.equal((await fetch(`${fixture.httpUrl}/api/v1/topics/web`)).status, 404)
      assert.equal((await fetch(`${fixture.httpUrl}/nowhere`)).status, 404)
      assert.equal((await fetch(`${fixture.httpUrl}/readyz`)).status, 200)
      await fixture.gateway.store.close()
      const unready = await fetch(`${fixture.httpUrl}/readyz`)
      assert.equal(unready.status, 503)
      assert.match(await unready.text(), /metadata store: /)
    }))
}
