/** format.md of src/group: its tables are the codec's; records come back as they were; bad bytes are told, not thrown. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { hexOf } from '../../../src/base/bytes.ts'
import {
  decodeRecord,
  encodeRecord,
  GROUP_RECORD_VERSION,
  GROUP_RECORDS,
  type GroupRecord,
} from '../../../src/group/group-records.ts'
import { topicIdOf } from '../../support/group-fixture.ts'

// Tests run from dist/; the document stays in src/.
const text = readFileSync(new URL('../../../../src/group/format.md', import.meta.url), 'utf8')

test('the tables of format.md are the layouts of the codec', () => {
  const sections = text.split(/^## /m)
  for (const [type, layout] of Object.entries(GROUP_RECORDS)) {
    const section = sections.find((part) => part.split('\n')[0]!.endsWith(` ${type} (${layout.number})`))
    assert.ok(section !== undefined, `format.md has no section '${type} (${layout.number})'`)
    const rows = section
      .split('\n')
      .filter((line) => /^\| (key|value) /.test(line))
      .map((line) => line.split('|').map((cell) => cell.trim()))
      .map(([, part, field, fieldType]) => [part, field, fieldType])
    const expected = [
      ...layout.key.map(([field, fieldType]) => ['key', field, fieldType]),
      ...layout.value.map(([field, fieldType]) => ['value', field, fieldType]),
    ]
    assert.deepEqual(rows, expected, type)
  }
  assert.match(text, new RegExp(`u16 \`version\`, ${GROUP_RECORD_VERSION} `))
})

const partitionSet = fc
  .uniqueArray(fc.tuple(fc.nat(9), fc.uniqueArray(fc.nat(1000), { minLength: 1, maxLength: 20 })), {
    selector: ([topic]) => topic,
    maxLength: 5,
  })
  .map((lists) => new Map(lists.map(([topic, list]) => [topicIdOf(topic), list.sort((a, b) => a - b)])))
const name = fc.string({ unit: 'grapheme', maxLength: 40 })
const int32 = fc.integer({ min: -2, max: 0x7fff_ffff })
const int64 = fc.maxSafeNat()
const orNull = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: null })

const record: fc.Arbitrary<GroupRecord> = fc.oneof(
  fc.record({
    type: fc.constant('offset' as const),
    groupId: name,
    topicId: fc.nat(99).map(topicIdOf),
    partition: fc.nat(99_999),
    value: orNull(fc.record({ offset: int64, leaderEpoch: int32, metadata: name, commitTimestampMs: int64 })),
  }),
  fc.record({
    type: fc.constant('group' as const),
    groupId: name,
    value: orNull(
      fc.record({
        kind: fc.constantFrom('simple' as const, 'consumer' as const, 'classic' as const),
        groupEpoch: int32,
        assignmentEpoch: int32,
        assignor: name,
        emptySinceMs: fc.oneof(int64, fc.constant(-1)),
      }),
    ),
  }),
  fc.record({
    type: fc.constant('member' as const),
    groupId: name,
    memberId: name,
    value: orNull(
      fc.record({
        instanceId: orNull(name),
        rackId: orNull(name),
        clientId: name,
        clientHost: name,
        sessionTimeoutMs: int32,
        rebalanceTimeoutMs: int32,
        subscribedTopics: fc.array(name),
        subscribedPattern: orNull(name),
        serverAssignor: orNull(name),
      }),
    ),
  }),
  fc.record({
    type: fc.constant('target' as const),
    groupId: name,
    memberId: name,
    value: orNull(fc.record({ target: partitionSet })),
  }),
  fc.record({
    type: fc.constant('current' as const),
    groupId: name,
    memberId: name,
    value: orNull(
      fc.record({ memberEpoch: int32, previousMemberEpoch: int32, assigned: partitionSet, revoking: partitionSet }),
    ),
  }),
  fc.record({
    type: fc.constant('classic' as const),
    groupId: name,
    value: orNull(fc.record({ protocolType: name, leaderId: orNull(name) })),
  }),
  fc.record({
    type: fc.constant('classicMember' as const),
    groupId: name,
    memberId: name,
    value: orNull(
      fc.record({
        ...{ instanceId: orNull(name), clientId: name, clientHost: name },
        ...{ sessionTimeoutMs: int32, rebalanceTimeoutMs: int32 },
        ...{ subscription: fc.uint8Array({ maxLength: 300 }), assignment: fc.uint8Array({ maxLength: 300 }) },
      }),
    ),
  }),
)

test('every record comes back as it was', () => {
  fc.assert(
    fc.property(record, (original) => {
      const { key, value } = encodeRecord(original)
      // Records of fast-check have no prototype.
      assert.deepEqual(decodeRecord(key, value), { kind: 'record', record: structuredClone(original) })
    }),
  )
})

test('bytes cut short or changed are told as unreadable or read as something, never thrown', () => {
  fc.assert(
    fc.property(record, fc.nat(), fc.nat(255), (original, place, byte) => {
      const { key, value } = encodeRecord(original)
      for (const bytes of value === null ? [key] : [key, value]) {
        const cut = bytes.subarray(0, place % bytes.length)
        const asKey = bytes === key
        assert.notEqual(decodeRecord(asKey ? cut : key, asKey ? value : cut).kind, 'record')
        const changed = bytes.slice()
        changed[place % bytes.length] = byte
        decodeRecord(asKey ? changed : key, asKey ? value : changed)
      }
    }),
  )
})

test('kinds of later versions are stepped over, later versions of a kind stop the reader', () => {
  const { key, value } = encodeRecord({ type: 'target', groupId: 'g', memberId: 'm', value: { target: new Map() } })
  const later = key.slice()
  later[1] = 200
  assert.deepEqual(decodeRecord(later, value), { kind: 'unknown', number: 200 })
  const newer = value!.slice()
  newer[1] = 2
  assert.deepEqual(decodeRecord(key, newer), {
    kind: 'unreadable',
    reason: 'target record of version 2, this broker reads 1',
  })
  const longer = new Uint8Array(value!.length + 1)
  longer.set(value!)
  assert.deepEqual(decodeRecord(key, longer), {
    kind: 'unreadable',
    reason: 'value of a target record: bytes too many',
  })
})

// Bytes on disk: they may not change with the code.
const GOLDEN: readonly [GroupRecord, key: string, value: string][] = [
  [
    {
      type: 'offset',
      groupId: 'g',
      topicId: topicIdOf(10),
      partition: 3,
      value: { offset: 2 ** 40, leaderEpoch: -1, metadata: 'é', commitTimestampMs: 258 },
    },
    '0001 0001 67 0000000000000000000000000000000a 00000003',
    '0001 0000010000000000 ffffffff 0002 c3a9 0000000000000102',
  ],
  [
    {
      type: 'group',
      groupId: 'g',
      value: { kind: 'consumer', groupEpoch: 5, assignmentEpoch: 4, assignor: 'range', emptySinceMs: -1 },
    },
    '0002 0001 67',
    '0001 01 00000005 00000004 0005 72616e6765 ffffffffffffffff',
  ],
  [
    {
      type: 'member',
      groupId: 'g',
      memberId: 'm',
      value: {
        instanceId: 'i',
        rackId: null,
        clientId: 'c',
        clientHost: 'h',
        sessionTimeoutMs: 1000,
        rebalanceTimeoutMs: 2000,
        subscribedTopics: ['a', 'b'],
        subscribedPattern: null,
        serverAssignor: null,
      },
    },
    '0003 0001 67 0001 6d',
    '0001 0001 69 ffff 0001 63 0001 68 000003e8 000007d0 0002 0001 61 0001 62 ffff ffff',
  ],
  [
    { type: 'target', groupId: 'g', memberId: 'm', value: { target: new Map([[topicIdOf(1), [0, 2]]]) } },
    '0004 0001 67 0001 6d',
    '0001 00000001 00000000000000000000000000000001 00000002 00000000 00000002',
  ],
  [
    {
      type: 'current',
      groupId: 'g',
      memberId: 'm',
      value: {
        memberEpoch: -2,
        previousMemberEpoch: 7,
        assigned: new Map(),
        revoking: new Map([[topicIdOf(1), [9]]]),
      },
    },
    '0005 0001 67 0001 6d',
    '0001 fffffffe 00000007 00000000 00000001 00000000000000000000000000000001 00000001 00000009',
  ],
]

test('golden bytes of each kind', () => {
  for (const [original, key, value] of GOLDEN) {
    const encoded = encodeRecord(original)
    assert.equal(hexOf(encoded.key), key.replaceAll(' ', ''), original.type)
    assert.equal(hexOf(encoded.value!), value.replaceAll(' ', ''), original.type)
    assert.deepEqual(decodeRecord(encoded.key, encoded.value), { kind: 'record', record: original })
  }
})
