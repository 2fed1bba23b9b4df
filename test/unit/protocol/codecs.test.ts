import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeededPrng } from '../../../src/base/prng.ts'
import { isMillraceError } from '../../../src/model/errors.ts'
import type { TopicId } from '../../../src/model/ids.ts'
import { PRODUCER_EPOCH_MAX } from '../../../src/model/limits.ts'
import * as protocol from '../../../src/protocol/index.ts'
import { pack, unpackUntrusted } from '../../../src/protocol/msgpack.ts'

const topicId = '0123456789abcdef0123456789abcdef' as TopicId
const MAX = Number.MAX_SAFE_INTEGER

// One request and one reply of every codec, with the extremes of its ranges.
const cases: readonly [protocol.Codec<never, never>, request: unknown, reply: unknown][] = [
  [
    protocol.produce,
    { acks: -1, timeoutMs: 300_000, parts: [{ topicId, partition: 3, leaderEpoch: -1, batchBytes: 61 }] },
    {
      parts: [
        {
          errorNumber: 0,
          errorText: '',
          baseOffset: MAX,
          logAppendTimeMs: -1,
          logStartOffset: 0,
          durability: 2,
          leaderEpoch: 2_147_483_647,
        },
      ],
    },
  ],
  [
    protocol.fetch,
    {
      waitMs: 500,
      minBytes: 1,
      maxBytes: 1_048_576,
      isolation: 1,
      anyReplica: true,
      parts: [{ topicId, partition: 0, leaderEpoch: 7, fetchOffset: MAX, maxBytes: 65_536 }],
    },
    {
      parts: [
        {
          index: 9_999,
          errorNumber: 1,
          errorText: 'why',
          highWatermark: 5,
          lastStableOffset: 4,
          logStartOffset: 0,
          leaderEpoch: 7,
          batchBytes: 4_294_967_295,
          aborted: [{ producerId: 9, firstOffset: 4 }],
        },
      ],
    },
  ],
  [
    protocol.listOffsets,
    { isolation: 0, parts: [{ topicId, partition: 0, leaderEpoch: -1, timestampMs: -3 }] },
    { parts: [{ errorNumber: 0, errorText: '', offset: -1, timestampMs: 1_700_000_000_000, leaderEpoch: 0 }] },
  ],
  [
    protocol.metadata,
    { topics: ['orders', ''] },
    {
      clusterId: 'c',
      brokers: [
        { nodeId: 1, url: 'ws://127.0.0.1:7171', rack: 'a' },
        { nodeId: MAX, url: '', rack: null },
      ],
      controllerId: 1,
      topics: [
        {
          errorNumber: 0,
          errorText: '',
          name: 'orders',
          topicId,
          config: { 'retention.ms': '1' },
          partitions: [
            { leaderNodeId: 1, leaderEpoch: 4, offline: null, replicas: [1, MAX], inSync: [MAX] },
            { leaderNodeId: -1, leaderEpoch: 4, offline: 'EIO', replicas: [], inSync: [] },
          ],
          drainFrom: 1,
          revision: MAX,
        },
        {
          errorNumber: 3,
          errorText: 'none',
          name: '',
          topicId: '',
          config: {},
          partitions: [],
          drainFrom: -1,
          revision: -1,
        },
      ],
    },
  ],
  [protocol.metadata, { topics: null }, { clusterId: '', brokers: [], controllerId: -1, topics: [] }],
  [
    protocol.hello,
    { clientName: 'n', clientVersion: 'v', token: null },
    {
      serverVersion: '0',
      clusterId: 'c',
      nodeId: 1,
      incarnation: 2,
      creditBytes: 1,
      frameBytesMax: 1,
      batchBytesMax: 1,
      apis: [{ api: 1000, versionMin: 1, versionMax: 1 }],
    },
  ],
  [
    protocol.createTopic,
    { name: 'a', partitions: -1, replicas: -1, config: { a: 'b' }, ifNotExists: true, validateOnly: false },
    { topicId, partitions: 6, created: true },
  ],
  [protocol.deleteTopic, { name: 'a' }, {}],
  [protocol.trim, { topicId, partition: 0, beforeOffset: -1 }, { logStartOffset: 12 }],
  [protocol.initProducerId, { transactionalId: null, transactionTimeoutMs: 0 }, { producerId: 1000, producerEpoch: 0 }],
  [
    protocol.initProducerId,
    { transactionalId: 't', transactionTimeoutMs: 60_000 },
    { producerId: 1, producerEpoch: 32766 },
  ],
  [
    protocol.addPartitionsToTxn,
    { transactionalId: 't', producerId: 7, producerEpoch: 3, partitions: [{ topicId, partition: 2 }] },
    {
      partitions: [
        { errorNumber: 0, errorText: '' },
        { errorNumber: 55, errorText: 'not tried' },
      ],
    },
  ],
  [
    protocol.endTxn,
    { transactionalId: 't', producerId: 7, producerEpoch: 3, isCommit: true },
    { producerId: 7, producerEpoch: 4 },
  ],
  [
    protocol.writeTxnMarkers,
    {
      markers: [
        {
          producerId: MAX,
          producerEpoch: PRODUCER_EPOCH_MAX,
          topicId,
          partition: 3,
          coordinatorEpoch: 2_147_483_647,
          isCommit: true,
          isClassic: false,
        },
      ],
    },
    { errorNumbers: [0, 6] },
  ],
  [
    protocol.replicaFetch,
    {
      nodeId: 2,
      incarnation: 5,
      waitMs: 500,
      minBytes: 1,
      maxBytes: 10_485_760,
      parts: [{ topicId, partition: 0, leaderEpoch: 7, fetchOffset: MAX, lastEpoch: -1, maxBytes: 1_048_576 }],
    },
    {
      parts: [
        {
          index: 0,
          errorNumber: 0,
          errorText: '',
          leaderEpoch: 7,
          highWatermark: 5,
          logStartOffset: 0,
          divergingEpoch: 6,
          divergingEndOffset: MAX,
          batchBytes: 4_294_967_295,
        },
      ],
    },
  ],
  [
    protocol.registerProducers,
    { producerId: 7, producerEpoch: 3, partitions: [{ topicId, partition: 1 }] },
    { errorNumbers: [0] },
  ],
  [protocol.suspectBroker, { nodeId: 3, incarnation: 9 }, {}],
  [protocol.probeBroker, { nodeId: 3 }, { finding: 'refused' }],
  [
    protocol.txnOffsetCommit,
    {
      ...{ groupId: 'g', transactionalId: 't', producerId: 7, producerEpoch: 3 },
      ...{ memberId: 'm', memberEpoch: 2, instanceId: null },
      topics: [{ topicId, topic: '', partitions: [{ partition: 1, offset: 5, leaderEpoch: -1, metadata: 'x' }] }],
    },
    { topics: [{ topicId, topic: 'orders', partitions: [{ partition: 1, errorNumber: 0, errorText: '' }] }] },
  ],
  [protocol.addPartitions, { name: 'a', totalPartitions: 12, drain: true }, {}],
  [
    protocol.alterReplicas,
    {
      ...{ kind: 'reassign', nodeId: -1, partitions: null, dryRun: true },
      wishes: [{ topic: 'a', partition: 9_999, replicas: [0, MAX] }],
    },
    {
      moves: [{ topicId, topic: 'a', partition: 0, from: [1, 2], to: [2, MAX] }],
      changed: [],
      left: [{ topic: 'b', partition: 1, reason: 'no broker is left' }],
    },
  ],
  [
    protocol.alterReplicas,
    { kind: 'elect-preferred', nodeId: MAX, wishes: [], partitions: [{ topic: 'a', partition: 3 }], dryRun: false },
    { moves: [], changed: [{ topic: 'a', partition: 3 }], left: [] },
  ],
  [
    protocol.listMoves,
    {},
    {
      moves: [
        {
          ...{ topic: 'a', partition: 2, replicas: [3, 1, 2], adding: [3], removing: [2] },
          ...{ inSync: [1, 2], leader: -1 },
        },
      ],
    },
  ],
  [protocol.partitionEmptied, { topicId, partition: 9_999 }, { removed: 3 }],
  [protocol.alterTopicConfig, { name: 'a', set: { x: '1' }, remove: ['y'] }, { config: { x: '1' } }],
  [protocol.describeCluster, {}, { cluster: { clusterId: 'c', brokers: [] } }],
  [
    protocol.describeUsers,
    { names: ['alice', 'x'.repeat(249)], cursor: '' },
    {
      users: [
        { name: 'alice', errorNumber: 0, errorText: '', credentials: [{ mechanism: 1, iterations: 8_192 }] },
        { name: 'é', errorNumber: 91, errorText: 'there is none', credentials: [] },
      ],
      nextCursor: 'é',
    },
  ],
  [protocol.describeUsers, { names: null, cursor: 'm' }, { users: [], nextCursor: null }],
  [
    protocol.alterUsers,
    {
      deletions: [{ name: 'bob', mechanism: protocol.ALL_MECHANISMS }],
      upsertions: [
        {
          ...{ name: 'alice', mechanism: 2, iterations: 16_384 },
          ...{ salt: Uint8Array.of(0, 255), saltedPassword: new Uint8Array(64).fill(7) },
        },
      ],
    },
    { users: [{ name: 'bob', errorNumber: 0, errorText: '' }] },
  ],
  [
    protocol.offsetCommit,
    {
      groupId: 'g',
      memberId: 'm',
      memberEpoch: 7,
      instanceId: null,
      topics: [
        { topicId, topic: '', partitions: [{ partition: 3, offset: MAX, leaderEpoch: -1, metadata: 'where' }] },
        { topicId: '', topic: 'orders', partitions: [] },
      ],
    },
    { topics: [{ topicId, topic: 'orders', partitions: [{ partition: 3, errorNumber: 12, errorText: 'long' }] }] },
  ],
  [
    protocol.offsetFetch,
    {
      groupId: 'g',
      memberId: '',
      memberEpoch: -1,
      requireStable: true,
      topics: [{ topicId, topic: '', partitions: [0, 9_999] }],
      cursor: '0/1',
    },
    {
      nextCursor: '0/2',
      topics: [
        {
          topicId,
          topic: 'orders',
          partitions: [
            {
              partition: 0,
              errorNumber: 0,
              errorText: '',
              offset: -1,
              leaderEpoch: -1,
              metadata: '',
              commitTimestampMs: -1,
            },
          ],
        },
      ],
    },
  ],
  [
    protocol.offsetFetch,
    { groupId: 'g', memberId: 'm', memberEpoch: 1, requireStable: false, topics: null, cursor: null },
    { topics: [], nextCursor: null },
  ],
  [
    protocol.findCoordinator,
    { kind: protocol.CoordinatorKind.TRANSACTION, ids: ['t', ''] },
    {
      coordinators: [
        { errorNumber: 0, errorText: '', nodeId: 0, url: 'ws://127.0.0.1:7171' },
        { errorNumber: 15, errorText: 'no leader now', nodeId: -1, url: '' },
      ],
    },
  ],
  [
    protocol.listGroups,
    { states: ['Stable'], kinds: [], cursor: '' },
    {
      groups: [{ groupId: 'g', kind: 'classic', state: 'Stable', memberCount: 5_000, protocolType: 'connect' }],
      nextCursor: '3/g',
    },
  ],
  [
    protocol.joinGroup,
    {
      ...{ groupId: 'g', memberId: '', instanceId: 'i', sessionTimeoutMs: 6_000, rebalanceTimeoutMs: -1 },
      ...{ protocolType: 'consumer', protocols: [{ name: 'range', metadata: new Uint8Array([0, 255]) }] },
      ...{ requiresKnownMemberId: true, canSkipAssignment: false, reason: 'why' },
    },
    {
      ...{ errorNumber: 79, errorText: 'again', generationId: -1, protocolType: null, protocolName: null },
      ...{ leaderId: 'l', skipAssignment: true, memberId: 'm' },
      members: [{ memberId: 'm', instanceId: null, metadata: new Uint8Array(0) }],
    },
  ],
  [protocol.classicHeartbeat, { groupId: 'g', generationId: -1, memberId: 'm', instanceId: null }, {}],
  [
    protocol.leaveGroup,
    { groupId: 'g', members: [{ memberId: '', instanceId: 'i', reason: null }] },
    { members: [{ memberId: 'm', instanceId: null, errorNumber: 25, errorText: 'none' }] },
  ],
  [
    protocol.syncGroup,
    {
      ...{ groupId: 'g', generationId: 2_147_483_647, memberId: 'm', instanceId: null, protocolType: 'consumer' },
      ...{ protocolName: null, assignments: [{ memberId: 'm', assignment: new Uint8Array([1]) }] },
    },
    { protocolType: 'consumer', protocolName: 'range', assignment: new Uint8Array([1]) },
  ],
  [
    protocol.describeClassicGroups,
    { groupIds: ['g'] },
    {
      groups: [
        {
          ...{ groupId: 'g', errorNumber: 0, errorText: '', state: 'Stable', protocolType: 'consumer' },
          protocolData: 'range',
          members: [
            {
              ...{ memberId: 'm', instanceId: null, clientId: 'c', clientHost: '/1.2.3.4' },
              ...{ metadata: new Uint8Array([1]), assignment: new Uint8Array(0) },
            },
          ],
        },
      ],
    },
  ],
  [protocol.deleteGroups, { groupIds: ['g', ''] }, { groups: [{ groupId: 'g', errorNumber: 68, errorText: 'has' }] }],
  [
    protocol.offsetDelete,
    { groupId: 'g', topics: [{ topicId: '', topic: 'orders', partitions: [1] }] },
    { topics: [{ topicId, topic: 'orders', partitions: [{ partition: 1, errorNumber: 86, errorText: '' }] }] },
  ],
  [
    protocol.groupHeartbeat,
    {
      groupId: 'g',
      memberId: '',
      memberEpoch: -2,
      instanceId: 'i',
      rackId: 'r',
      rebalanceTimeoutMs: -1,
      sessionTimeoutMs: 2_147_483_647,
      subscribedTopics: ['orders'],
      subscribedPattern: '',
      serverAssignor: 'range',
      ownedPartitions: [{ topicId, topic: '', partitions: [1, 2] }],
    },
    {
      memberId: 'm',
      memberEpoch: -2,
      heartbeatIntervalMs: 5_000,
      assignment: [{ topicId, topic: 'orders', partitions: [0] }],
    },
  ],
  [
    protocol.groupHeartbeat,
    {
      groupId: 'g',
      memberId: 'm',
      memberEpoch: 4,
      instanceId: null,
      rackId: null,
      rebalanceTimeoutMs: -1,
      sessionTimeoutMs: -1,
      subscribedTopics: null,
      subscribedPattern: null,
      serverAssignor: null,
      ownedPartitions: null,
    },
    { memberId: 'm', memberEpoch: 4, heartbeatIntervalMs: 5_000, assignment: null },
  ],
  [
    protocol.groupDescribe,
    { groupIds: ['g'], cursor: 'm' },
    {
      nextCursor: null,
      groups: [
        {
          errorNumber: 0,
          errorText: '',
          groupId: 'g',
          kind: 'consumer',
          state: 'Reconciling',
          groupEpoch: 9,
          assignmentEpoch: 9,
          assignor: 'cooperative-sticky',
          members: [
            {
              memberId: 'm',
              instanceId: null,
              rackId: 'r',
              memberEpoch: 8,
              clientId: 'c',
              clientHost: '127.0.0.1',
              subscribedTopics: ['orders'],
              subscribedPattern: 'o.*',
              sessionTimeoutMs: 45_000,
              rebalanceTimeoutMs: 300_000,
              assignment: [{ topicId, topic: 'orders', partitions: [0] }],
              targetAssignment: [{ topicId, topic: '', partitions: [0, 1] }],
            },
          ],
        },
      ],
    },
  ],
  [protocol.sessionExtend, { groupId: 'g', memberIds: ['m', 'n'] }, { unknownMemberIds: ['n'] }],
] as never

test('every request and reply comes back as it was', () => {
  for (const [codec, request, reply] of cases) {
    assert.deepEqual(codec.decodeRequest(codec.encodeRequest(request as never)), request, codec.name)
    assert.deepEqual(codec.decodeReply(codec.encodeReply(reply as never)), { ok: true, value: reply }, codec.name)
  }
  assert.deepEqual(protocol.credit.decode(protocol.credit.encode({ grantedBytes: MAX })), { grantedBytes: MAX })
  assert.deepEqual(protocol.groupChanged.decode(protocol.groupChanged.encode({ memberId: 'm' })), { memberId: 'm' })
  const oneWay = [protocol.credit.api, protocol.groupChanged.api, protocol.replicaProgress.api]
  const covered = new Set<number>([...cases.map(([codec]) => codec.api), ...oneWay])
  assert.deepEqual([...covered].sort(), Object.values(protocol.Api).sort(), 'every api has a case')
})

test('an error reply of any api is an error with its text', () => {
  for (const [codec] of cases) {
    const result = codec.decodeReply(protocol.encodeErrorReply(3, 'no such topic'))
    assert.throws(() => protocol.unwrapReply(result), { code: 'UNKNOWN_TOPIC_OR_PARTITION', message: 'no such topic' })
  }
  assert.match(protocol.errorOf(4711, 'x').message, /error 4711: x/)
})

test('a field that is missing or of another type is named', () => {
  for (const [codec, request] of cases) {
    const values = unpackUntrusted(codec.encodeRequest(request as never)) as unknown[]
    for (let index = 0; index < values.length; index++) {
      const broken = values.slice()
      broken[index] = { not: ['this'] }
      assert.throws(() => codec.decodeRequest(pack(broken)), { code: 'INVALID_REQUEST' }, `${codec.name}[${index}]`)
    }
    assert.throws(() => codec.decodeRequest(pack({ no: 'array' })), { code: /^INVALID_REQUEST$/ as never })
  }
})

test('faults say where, what was expected and what came', () => {
  const bad = pack([
    1,
    0,
    [
      [topicId, 0, -1, 61],
      [topicId, -5, -1, 61],
    ],
  ])
  assert.throws(() => protocol.produce.decodeRequest(bad), {
    message: 'produce.parts[1].partition: expected an integer from 0 to 2147483647, not -5',
  })
  assert.throws(() => protocol.produce.decodeRequest(pack([5, 0, []])), { code: 'INVALID_REQUIRED_ACKS' })
  assert.throws(() => protocol.trim.decodeRequest(pack(['x', 0, 0])), {
    message: "trim.topicId: expected a topic id of 32 hex digits, not 'x'",
  })
  assert.throws(() => protocol.fetch.decodeRequest(pack([0, 0])), {
    message: /fetch\.maxBytes: expected .* not nothing \(the field is missing\)/,
  })
  assert.throws(() => protocol.trim.decodeRequest(pack([topicId, 0, 2 ** 53])), { code: 'INVALID_REQUEST' })
})

test('headers with any byte changed are read as something or refused, by requests and replies alike', () => {
  const prng = new SeededPrng(8)
  for (const [codec, request, reply] of cases) {
    for (const header of [codec.encodeRequest(request as never), codec.encodeReply(reply as never)]) {
      for (let round = 0; round < 200; round++) {
        const changed = header.slice(0, prng.below(8) === 0 ? prng.below(header.length + 1) : header.length)
        if (changed.length > 0) changed[prng.below(changed.length)] = prng.below(256)
        for (const decode of [codec.decodeRequest, codec.decodeReply]) {
          try {
            decode(changed)
          } catch (error) {
            assert.ok(isMillraceError(error), `${codec.name}: ${error}`)
          }
        }
      }
    }
  }
})

test('progress of replicas: one-way, round trip, bounds', () => {
  const message = { nodeId: 2, incarnation: 5, rows: [{ topicId, partition: 3, leaderEpoch: 7, syncedEndOffset: MAX }] }
  assert.deepEqual(protocol.replicaProgress.decode(protocol.replicaProgress.encode(message)), message)
  const low = { ...message, rows: [{ ...message.rows[0]!, syncedEndOffset: -1 }] }
  assert.throws(() => protocol.replicaProgress.decode(protocol.replicaProgress.encode(low)), {
    message: /replica-progress\.rows\[0\]\.syncedEndOffset: expected/,
  })
})

test('fields that come later are ignored', () => {
  const values = unpackUntrusted(protocol.trim.encodeRequest({ topicId, partition: 1, beforeOffset: 2 })) as unknown[]
  assert.deepEqual(protocol.trim.decodeRequest(pack([...values, 'new'])), { topicId, partition: 1, beforeOffset: 2 })
})

test('metadata of a broker before clusters: no rack, and the leader is the only replica', () => {
  const old = pack([
    ...[0, '', 'c', [[7, 'ws://here']], 7],
    [
      [
        ...[0, '', 'orders', topicId, {}],
        [
          [7, 3, null],
          [-1, 3, 'EIO'],
        ],
      ],
    ],
  ])
  const reply = protocol.unwrapReply(protocol.metadata.decodeReply(old))
  assert.deepEqual(reply.brokers, [{ nodeId: 7, url: 'ws://here', rack: null }])
  assert.deepEqual(reply.topics[0]!.partitions, [
    { leaderNodeId: 7, leaderEpoch: 3, offline: null, replicas: [7], inSync: [7] },
    { leaderNodeId: -1, leaderEpoch: 3, offline: 'EIO', replicas: [], inSync: [] },
  ])
})

test('what later fields mean where a peer of before does not send them', () => {
  const old = pack(['orders', 12])
  assert.deepEqual(protocol.addPartitions.decodeRequest(old), { name: 'orders', totalPartitions: 12, drain: false })
  const reply = pack([0, '', 'c', [], 1, [[0, '', 'orders', topicId, {}, []]]])
  const [topic] = protocol.unwrapReply(protocol.metadata.decodeReply(reply)).topics
  assert.deepEqual([topic!.drainFrom, topic!.revision], [-1, -1])
})

test('alter-replicas knows seven kinds, and takes no partition that cannot be', () => {
  const all = { nodeId: -1, wishes: [], partitions: null, dryRun: false } as const
  assert.deepEqual(protocol.alterReplicas.decodeRequest(pack([5, -1, [], null, false])), {
    kind: 'elect-preferred',
    ...all,
  })
  assert.equal(protocol.alterReplicas.decodeRequest(pack([6, -1, [], null, false])).kind, 'elect-unclean')
  for (const [fields, field] of [
    [[7, -1, [], null, false], /kind/],
    [[0, -1, [['a', 10_000, [1]]], null, false], /wishes\[0\]\.partition/],
    [[0, -1, [['a', 0, [-1]]], null, false], /replicas/],
    [[4, -1, [], [['a', -1]], false], /partitions\[0\]/],
  ] as const)
    assert.throws(() => protocol.alterReplicas.decodeRequest(pack(fields)), field)
})

test('what only gateway and shards say to each other no client is offered', () => {
  const served = new Set(protocol.SERVED_APIS.map(({ api }) => api))
  assert.deepEqual(
    [11, 12, 13, 14, 15].map((api) => served.has(api)),
    [false, false, false, false, false],
  )
  assert.equal(served.size + protocol.SHARD_APIS.size, Object.keys(protocol.Api).length)
})

test('find-coordinator asks for 1 to 100 ids', () => {
  const ofSize = (size: number) => pack([0, Array.from({ length: size }, String)])
  assert.equal(protocol.findCoordinator.decodeRequest(ofSize(100)).ids.length, 100)
  for (const size of [0, 101])
    assert.throws(() => protocol.findCoordinator.decodeRequest(ofSize(size)), { code: 'INVALID_REQUEST' })
  assert.throws(() => protocol.findCoordinator.decodeRequest(pack([2, ['g']])), /kind/)
})

test('requests of transactions come with no epoch that is given to nobody', () => {
  const identity = { transactionalId: 't', producerId: 7, producerEpoch: protocol.GIVEN_EPOCH_MAX }
  const offsets = { ...identity, groupId: 'g', memberId: '', memberEpoch: -1, instanceId: null, topics: [] }
  for (const [codec, request] of [
    [protocol.addPartitionsToTxn, { ...identity, partitions: [] }],
    [protocol.addPartitionsToTxn, { ...identity, partitions: [], isOffsetCommit: true }],
    [protocol.endTxn, { ...identity, isCommit: true }],
    [protocol.txnOffsetCommit, offsets],
  ] as readonly [protocol.Codec<typeof identity, unknown>, typeof identity][]) {
    assert.deepEqual(codec.decodeRequest(codec.encodeRequest(request)), request)
    const guessed = { ...request, producerEpoch: PRODUCER_EPOCH_MAX }
    assert.throws(() => codec.decodeRequest(codec.encodeRequest(guessed)), /producerEpoch/, codec.name)
  }
})
