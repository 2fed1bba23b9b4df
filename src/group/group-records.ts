/**
 * The records of the offsets topic: what each kind holds, as one table that encodes, decodes and documents them.
 *
 * Format   format.md; GROUP_RECORD_VERSION. A test compares its tables with GROUP_RECORDS below
 * Failure  decodeRecord: 'unknown' for a kind of a later version (to be stepped over), 'unreadable' for bytes that are not
 *          what the table says or a later version of a known kind: the coordinator must not serve
 */
import type { TopicId } from '../model/ids.ts'
import type { CommittedOffset } from './committed-offset.ts'
import type { CurrentAssignment, GroupKind, MemberMetadata } from './group-state.ts'
import type { PartitionSet } from './partition-set.ts'
import { FieldReader, type FieldType, FieldWriter } from './record-fields.ts'

export const GROUP_RECORD_VERSION = 1

type FieldRow = readonly [name: string, type: FieldType]

interface RecordLayout {
  /** First two bytes of the key. */
  readonly number: number
  readonly key: readonly FieldRow[]
  readonly value: readonly FieldRow[]
}

export const GROUP_RECORDS = {
  offset: {
    number: 1,
    key: [
      ['groupId', 'text'],
      ['topicId', 'topicId'],
      ['partition', 'i32'],
    ],
    value: [
      ['offset', 'i64'],
      ['leaderEpoch', 'i32'],
      ['metadata', 'text'],
      ['commitTimestampMs', 'i64'],
    ],
  },
  group: {
    number: 2,
    key: [['groupId', 'text']],
    value: [
      ['kind', 'u8'],
      ['groupEpoch', 'i32'],
      ['assignmentEpoch', 'i32'],
      ['assignor', 'text'],
      ['emptySinceMs', 'i64'],
    ],
  },
  member: {
    number: 3,
    key: [
      ['groupId', 'text'],
      ['memberId', 'text'],
    ],
    value: [
      ['instanceId', 'text?'],
      ['rackId', 'text?'],
      ['clientId', 'text'],
      ['clientHost', 'text'],
      ['sessionTimeoutMs', 'i32'],
      ['rebalanceTimeoutMs', 'i32'],
      ['subscribedTopics', 'text[]'],
      ['subscribedPattern', 'text?'],
      ['serverAssignor', 'text?'],
    ],
  },
  target: {
    number: 4,
    key: [
      ['groupId', 'text'],
      ['memberId', 'text'],
    ],
    value: [['target', 'partitions']],
  },
  current: {
    number: 5,
    key: [
      ['groupId', 'text'],
      ['memberId', 'text'],
    ],
    value: [
      ['memberEpoch', 'i32'],
      ['previousMemberEpoch', 'i32'],
      ['assigned', 'partitions'],
      ['revoking', 'partitions'],
    ],
  },
} as const satisfies Record<string, RecordLayout>

/** The byte of a group's kind. */
export const GROUP_KINDS: readonly GroupKind[] = ['simple', 'consumer', 'classic']

export interface GroupMetadata {
  readonly kind: GroupKind
  readonly groupEpoch: number
  readonly assignmentEpoch: number
  readonly assignor: string
  readonly emptySinceMs: number
}

interface OfMember {
  readonly groupId: string
  readonly memberId: string
}

/** A null value is a tombstone: it is gone. */
export type GroupRecord =
  | {
      readonly type: 'offset'
      readonly groupId: string
      readonly topicId: TopicId
      readonly partition: number
      readonly value: CommittedOffset | null
    }
  | { readonly type: 'group'; readonly groupId: string; readonly value: GroupMetadata | null }
  | ({ readonly type: 'member'; readonly value: MemberMetadata | null } & OfMember)
  | ({ readonly type: 'target'; readonly value: { readonly target: PartitionSet } | null } & OfMember)
  | ({ readonly type: 'current'; readonly value: CurrentAssignment | null } & OfMember)

/** What may be written in a transaction: offsets alone, and no tombstones. */
export type PendingRecord = Extract<GroupRecord, { type: 'offset' }> & { readonly value: CommittedOffset }

export function isPendingRecord(record: GroupRecord): record is PendingRecord {
  return record.type === 'offset' && record.value !== null
}

/** One record for the compacted topic. */
export interface EncodedRecord {
  readonly key: Uint8Array
  readonly value: Uint8Array | null
}

export type DecodedRecord =
  | { readonly kind: 'record'; readonly record: GroupRecord }
  | { readonly kind: 'unknown'; readonly number: number }
  | { readonly kind: 'unreadable'; readonly reason: string }

const writer = new FieldWriter()

export function encodeRecord(record: GroupRecord): EncodedRecord {
  const layout: RecordLayout = GROUP_RECORDS[record.type]
  writer.begin(layout.number)
  writeFields(layout.key, record as unknown as FieldValues)
  const key = writer.end()
  if (record.value === null) return { key, value: null }
  writer.begin(GROUP_RECORD_VERSION)
  const fields =
    record.type === 'group' ? { ...record.value, kind: GROUP_KINDS.indexOf(record.value.kind) } : record.value
  writeFields(layout.value, fields as unknown as FieldValues)
  return { key, value: writer.end() }
}

export function decodeRecord(key: Uint8Array, value: Uint8Array | null): DecodedRecord {
  const keyReader = new FieldReader(key)
  const number = keyReader.u16()
  const type = TYPE_BY_NUMBER.get(number)
  if (type === undefined)
    return keyReader.fault === undefined ? { kind: 'unknown', number } : unreadable('key', keyReader)
  const layout: RecordLayout = GROUP_RECORDS[type]
  const fields = readFields(layout.key, keyReader)
  if (keyReader.fault !== undefined || !keyReader.isAtEnd) return unreadable(`key of a ${type} record`, keyReader)
  if (value === null) return { kind: 'record', record: { type, ...fields, value: null } as unknown as GroupRecord }
  const reader = new FieldReader(value)
  const version = reader.u16()
  if (version !== GROUP_RECORD_VERSION) {
    const reason = `${type} record of version ${version}, this broker reads ${GROUP_RECORD_VERSION}`
    return { kind: 'unreadable', reason }
  }
  const values = readFields(layout.value, reader)
  if (type === 'group') values.kind = GROUP_KINDS[values.kind as number]
  if (reader.fault !== undefined || !reader.isAtEnd || (type === 'group' && values.kind === undefined))
    return unreadable(`value of a ${type} record`, reader)
  return { kind: 'record', record: { type, ...fields, value: values } as unknown as GroupRecord }
}

type FieldValues = Record<string, unknown>

const TYPE_BY_NUMBER = new Map<number, GroupRecord['type']>(
  Object.entries(GROUP_RECORDS).map(([type, layout]) => [layout.number, type as GroupRecord['type']]),
)

function writeFields(rows: readonly FieldRow[], values: FieldValues): void {
  for (const [name, type] of rows) writer.write(type, values[name])
}

function readFields(rows: readonly FieldRow[], reader: FieldReader): FieldValues {
  const values: FieldValues = {}
  for (const [name, type] of rows) values[name] = reader.read(type)
  return values
}

function unreadable(what: string, reader: FieldReader): DecodedRecord {
  return { kind: 'unreadable', reason: `${what}: ${reader.fault ?? 'bytes too many'}` }
}
