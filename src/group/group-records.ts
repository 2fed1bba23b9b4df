/**
 * The records of the offsets topic: what each kind holds, as one table that encodes, decodes and documents them.
 *
 * Format   format.md; GROUP_RECORD_VERSION. A test compares its tables with GROUP_RECORDS below
 * Failure  decodeRecord answers what it cannot read, as record/record-table.ts says
 */
import type { TopicId } from '../model/ids.ts'
import type { PartitionSet } from '../model/partition-set.ts'
import { type EncodedRecord, type RecordLayout, RecordTable } from '../record/record-table.ts'
import type { ClassicMemberMetadata, ClassicMetadata } from './classic-metadata.ts'
import type { CommittedOffset } from './committed-offset.ts'
import type { CurrentAssignment, GroupKind, MemberMetadata } from './group-state.ts'

export const GROUP_RECORD_VERSION = 1

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
  classic: {
    number: 6,
    key: [['groupId', 'text']],
    value: [
      ['protocolType', 'text'],
      ['leaderId', 'text?'],
    ],
  },
  classicMember: {
    number: 7,
    key: [
      ['groupId', 'text'],
      ['memberId', 'text'],
    ],
    value: [
      ['instanceId', 'text?'],
      ['clientId', 'text'],
      ['clientHost', 'text'],
      ['sessionTimeoutMs', 'i32'],
      ['rebalanceTimeoutMs', 'i32'],
      ['subscription', 'bytes'],
      ['assignment', 'bytes'],
    ],
  },
} as const satisfies Record<string, RecordLayout>

/** Of an offset's record, key and value, besides its group id and metadata. */
export const OFFSET_RECORD_BYTES = 2 + 2 + 16 + 4 + (2 + 8 + 4 + 2 + 8)

/** Of a classic member's record, key and value, besides its ids, texts and bytes. */
export const CLASSIC_MEMBER_RECORD_BYTES = 2 + 2 + 2 + (2 + 2 + 2 + 2 + 4 + 4 + 4 + 4)

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
  | { readonly type: 'classic'; readonly groupId: string; readonly value: ClassicMetadata | null }
  | ({ readonly type: 'classicMember'; readonly value: ClassicMemberMetadata | null } & OfMember)

/** What may be written in a transaction: offsets alone, and no tombstones. */
export type PendingRecord = Extract<GroupRecord, { type: 'offset' }> & { readonly value: CommittedOffset }

export function isPendingRecord(record: GroupRecord): record is PendingRecord {
  return record.type === 'offset' && record.value !== null
}

export type DecodedRecord =
  | { readonly kind: 'record'; readonly record: GroupRecord }
  | { readonly kind: 'unknown'; readonly number: number }
  | { readonly kind: 'unreadable'; readonly reason: string }

const TABLE = new RecordTable(GROUP_RECORDS, GROUP_RECORD_VERSION)

export function encodeRecord(record: GroupRecord): EncodedRecord {
  if (record.type !== 'group' || record.value === null) return TABLE.encode(record.type, record, record.value)
  return TABLE.encode('group', record, { ...record.value, kind: GROUP_KINDS.indexOf(record.value.kind) })
}

export function decodeRecord(key: Uint8Array, value: Uint8Array | null): DecodedRecord {
  const decoded = TABLE.decode(key, value)
  if (decoded.kind !== 'record') return decoded
  const { type, value: values } = decoded
  if (type === 'group' && values !== null) {
    const kind = GROUP_KINDS[values.kind as number]
    if (kind === undefined) return { kind: 'unreadable', reason: `a group record of kind ${values.kind}` }
    values.kind = kind
  }
  return { kind: 'record', record: { type, ...decoded.key, value: values } as unknown as GroupRecord }
}
