/** Classic groups through a whole broker: asked as the Kafka listener asks, seen and managed by a native client. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { systemPrng } from '../../src/base/node/system-prng.ts'
import { callerOf } from '../../src/broker/caller.ts'
import { Client } from '../../src/client/client.ts'
import { inProcessConfig } from '../../src/in-process/in-process-config.ts'
import { InThreadBroker } from '../../src/in-process/in-thread-broker.ts'
import { MemoryDisk } from '../../src/in-process/local-storage.ts'
import { SILENT } from '../../src/in-process/silent-logger.ts'
import { systemTime } from '../../src/in-process/time-source.ts'
import { createBroker } from '../../src/index.ts'
import {
  classicHeartbeat,
  groupHeartbeat,
  hello,
  type JoinGroupReply,
  joinGroup,
  leaveGroup,
  offsetCommit,
  SHARD_APIS,
  syncGroup,
} from '../../src/protocol/index.ts'
import { nodeCodecs } from '../../src/record/node-codecs.ts'
import { assignmentOf, subscriptionOf } from '../support/classic-fixture.ts'
import { hasCode } from '../support/expect.ts'
import { BareClient } from '../support/gateway-fixture.ts'

const CALLER = callerOf('kafka-client', '/127.0.0.1', 0)

test('members assign and commit; a native client sees the group, keeps out of it, moves and deletes it once it is empty', async () => {
  const disk = new MemoryDisk({ nowMs: () => systemTime.nowMs(), memoryBytesMax: undefined })
  const broker = new InThreadBroker({
    config: await inProcessConfig({ 'groups.initialRebalanceDelay': '50ms' }),
    ...{ shards: 2, time: systemTime, prng: systemPrng(), logger: SILENT },
    newId: () => randomBytes(16).toString('hex'),
    storage: async () => disk.storage(),
  })
  await broker.start()
  const startTimer = (delayMs: number, task: () => void) => systemTime.startTimer(delayMs, task)
  const runtime = { clock: systemTime, prng: systemPrng(), codecs: nodeCodecs(), startTimer }
  const mq = Client.create({ ...runtime, transport: broker.engine.transport }, ['ws://in-process'], {})
  const { groups } = broker.gateway
  // Nothing of a broker in the process keeps that alive while it waits.
  const alive = setInterval(() => {}, 1_000)
  try {
    await mq.admin.topics.create('orders', { partitions: 2 })
    const protocols = [{ name: 'range', metadata: new Uint8Array(subscriptionOf('orders')) }]
    const member = {
      ...{
        groupId: 'g',
        memberId: '',
        instanceId: null,
        sessionTimeoutMs: 6_000,
        rebalanceTimeoutMs: 6_000,
        protocols,
      },
      ...{ protocolType: 'consumer', requiresKnownMemberId: false, canSkipAssignment: false, reason: null },
    }
    const joins = await Promise.all([member, member].map((each) => groups.ask('g', joinGroup, each, CALLER)))
    const [leader, follower] = joins.sort(({ memberId, leaderId }) => (memberId === leaderId ? -1 : 1))
    const assignments = [leader!, follower!].map(({ memberId }, index) => ({
      ...{ memberId, assignment: assignmentOf({ orders: [index] }) },
    }))
    const syncs = [follower!, leader!].map(({ memberId, generationId, leaderId }: JoinGroupReply) => {
      const nothing = { instanceId: null, protocolType: null, protocolName: null }
      const request = { groupId: 'g', memberId, generationId, assignments: memberId === leaderId ? assignments : [] }
      return groups.ask('g', syncGroup, { ...request, ...nothing }, CALLER)
    })
    const [second] = await Promise.all(syncs)
    assert.deepEqual(second!.assignment, assignments[1]!.assignment)
    const { memberId, generationId } = leader!
    await groups.ask('g', classicHeartbeat, { groupId: 'g', memberId, generationId, instanceId: null }, CALLER)
    const partitions = [{ partition: 0, offset: 0, leaderEpoch: -1, metadata: '' }]
    const topics = [{ topicId: '' as const, topic: 'orders', partitions }]
    const commit = { groupId: 'g', memberId, memberEpoch: generationId, instanceId: null, topics }
    const committed = await groups.ask('g', offsetCommit, commit, CALLER)
    assert.equal(committed.topics[0]!.partitions[0]!.errorNumber, 0)

    assert.deepEqual(await mq.admin.groups.list(), [
      { groupId: 'g', kind: 'classic', state: 'Stable', memberCount: 2, protocolType: 'consumer' },
    ])
    const described = await mq.admin.groups.describe('g')
    assert.deepEqual([described.kind, described.state, described.assignor], ['classic', 'Stable', 'range'])
    for (const [index, { memberId: ofMember }] of [leader!, follower!].entries()) {
      const shown = described.members.find((each) => each.memberId === ofMember)
      assert.deepEqual([shown?.clientId, shown?.assignment], ['kafka-client', [{ topic: 'orders', partition: index }]])
    }
    await assert.rejects(mq.admin.groups.delete('g'), hasCode('NON_EMPTY_GROUP'))
    const native = {
      ...{ groupId: 'g', memberId: '', memberEpoch: 0, instanceId: null, rackId: null, rebalanceTimeoutMs: -1 },
      ...{ sessionTimeoutMs: -1, subscribedTopics: ['orders'], subscribedPattern: '', serverAssignor: null },
      ownedPartitions: [],
    }
    await assert.rejects(groups.ask('g', groupHeartbeat, native, CALLER), hasCode('INCONSISTENT_GROUP_PROTOCOL'))

    const members = joins.map((each) => ({ memberId: each.memberId, instanceId: null, reason: 'done' }))
    await groups.ask('g', leaveGroup, { groupId: 'g', members }, CALLER)
    assert.equal((await mq.admin.groups.describe('g')).state, 'Empty')
    assert.equal((await mq.admin.groups.seek('g', 'start', { topics: ['orders'] })).length, 2)
    await mq.admin.groups.delete('g')
    assert.deepEqual(await mq.admin.groups.list(), [])
  } finally {
    clearInterval(alive)
    await mq.close({ signal: AbortSignal.timeout(2_000) })
    await broker.stop()
    broker.loop.close()
  }
})

test('no native client is offered what the Kafka listener asks, or served it', async () => {
  const broker = await createBroker({ storage: 'memory' })
  try {
    const client = await BareClient.connect(String(await broker.listen()))
    const { apis } = await client.call(hello, { clientName: 'bare', clientVersion: '0', token: null })
    assert.deepEqual(
      apis.filter(({ api }) => SHARD_APIS.has(api)),
      [],
    )
    const request = { groupId: 'g', generationId: 1, memberId: 'm', instanceId: null }
    await assert.rejects(client.call(classicHeartbeat, request), hasCode('UNKNOWN_API'))
    client.socket.close()
  } finally {
    await broker.close()
  }
})
