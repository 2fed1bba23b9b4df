/**
 * Error codes as Kafka's clients of an API's version know them: the table of model/errors.ts is newer than some clients.
 *
 * Source   KIP-588 (PRODUCER_FENCED), KIP-207 (OFFSET_NOT_AVAILABLE), KIP-890 (TRANSACTION_ABORTABLE); clients of an old version take a
 *          code that it did not have for an unknown one, which is never tried again
 */
import { type ErrorCode, errorCodeOf, errorNumberOf } from '../model/errors.ts'
import { KafkaKey } from './keys.ts'

interface OldCode {
  readonly code: ErrorCode
  readonly key: number
  /** Versions below it get `instead`. */
  readonly since: number
  readonly instead: ErrorCode
}

const OLD_CODES: readonly OldCode[] = [
  { code: 'PRODUCER_FENCED', key: KafkaKey.INIT_PRODUCER_ID, since: 4, instead: 'INVALID_PRODUCER_EPOCH' },
  { code: 'PRODUCER_FENCED', key: KafkaKey.ADD_PARTITIONS_TO_TXN, since: 2, instead: 'INVALID_PRODUCER_EPOCH' },
  { code: 'PRODUCER_FENCED', key: KafkaKey.ADD_OFFSETS_TO_TXN, since: 2, instead: 'INVALID_PRODUCER_EPOCH' },
  { code: 'PRODUCER_FENCED', key: KafkaKey.END_TXN, since: 2, instead: 'INVALID_PRODUCER_EPOCH' },
  { code: 'PRODUCER_FENCED', key: KafkaKey.TXN_OFFSET_COMMIT, since: Infinity, instead: 'INVALID_PRODUCER_EPOCH' },
  { code: 'PRODUCER_FENCED', key: KafkaKey.PRODUCE, since: Infinity, instead: 'INVALID_PRODUCER_EPOCH' },
  { code: 'KAFKA_STORAGE_ERROR', key: KafkaKey.FETCH, since: 6, instead: 'NOT_LEADER_OR_FOLLOWER' },
  { code: 'KAFKA_STORAGE_ERROR', key: KafkaKey.PRODUCE, since: 4, instead: 'NOT_LEADER_OR_FOLLOWER' },
  { code: 'OFFSET_NOT_AVAILABLE', key: KafkaKey.LIST_OFFSETS, since: 5, instead: 'LEADER_NOT_AVAILABLE' },
  { code: 'GROUP_ID_NOT_FOUND', key: KafkaKey.OFFSET_COMMIT, since: 9, instead: 'ILLEGAL_GENERATION' },
  { code: 'GROUP_ID_NOT_FOUND', key: KafkaKey.TXN_OFFSET_COMMIT, since: Infinity, instead: 'ILLEGAL_GENERATION' },
  { code: 'STALE_MEMBER_EPOCH', key: KafkaKey.OFFSET_COMMIT, since: 9, instead: 'ILLEGAL_GENERATION' },
  { code: 'STALE_MEMBER_EPOCH', key: KafkaKey.TXN_OFFSET_COMMIT, since: Infinity, instead: 'ILLEGAL_GENERATION' },
  // Old Java consumers do not try again after it.
  { code: 'COORDINATOR_NOT_AVAILABLE', key: KafkaKey.OFFSET_FETCH, since: Infinity, instead: 'NOT_COORDINATOR' },
  { code: 'UNKNOWN_TOPIC_ID', key: KafkaKey.FETCH, since: 13, instead: 'UNKNOWN_TOPIC_OR_PARTITION' },
  {
    code: 'UNKNOWN_TOPIC_ID',
    key: KafkaKey.ADD_PARTITIONS_TO_TXN,
    since: Infinity,
    instead: 'UNKNOWN_TOPIC_OR_PARTITION',
  },
  { code: 'UNKNOWN_TOPIC_ID', key: KafkaKey.PRODUCE, since: Infinity, instead: 'UNKNOWN_TOPIC_OR_PARTITION' },
]

/** Millrace's own rows have no number that Kafka's clients know. */
const FOREIGN: Partial<Record<ErrorCode, ErrorCode>> = {
  DISK_FULL: 'KAFKA_STORAGE_ERROR',
  OVERLOADED: 'REQUEST_TIMED_OUT',
  UNKNOWN_API: 'UNSUPPORTED_VERSION',
  FRAME_TOO_LARGE: 'INVALID_REQUEST',
  CREDIT_EXCEEDED: 'INVALID_REQUEST',
  NOT_AVAILABLE_YET: 'INVALID_REQUEST',
  INVALID_ARGUMENT: 'INVALID_REQUEST',
  CLOSED: 'NETWORK_EXCEPTION',
  CONNECTION_FAILED: 'NETWORK_EXCEPTION',
  // What only clients of Millrace tell their callers.
  ABORTED: 'UNKNOWN_SERVER_ERROR',
  BUFFER_FULL: 'UNKNOWN_SERVER_ERROR',
  DELIVERY_TIMED_OUT: 'UNKNOWN_SERVER_ERROR',
  // Coordinators are found by the group's id: the same, for whoever asks.
  BROKER_NOT_AVAILABLE: 'REQUEST_TIMED_OUT',
}

/** A coordinator that has no room is one to ask again: members know no other way to go on. */
const COORDINATOR_KEYS: ReadonlySet<number> = new Set([
  ...[KafkaKey.JOIN_GROUP, KafkaKey.SYNC_GROUP, KafkaKey.HEARTBEAT, KafkaKey.LEAVE_GROUP, KafkaKey.OFFSET_COMMIT],
  ...[KafkaKey.CONSUMER_GROUP_HEARTBEAT, KafkaKey.INIT_PRODUCER_ID, KafkaKey.ADD_PARTITIONS_TO_TXN],
  ...[KafkaKey.ADD_OFFSETS_TO_TXN, KafkaKey.END_TXN, KafkaKey.TXN_OFFSET_COMMIT],
])
/**
 * What a coordinator says of its partition, or of the brokers it asks: it passes, as Kafka's coordinators have it. Clients expect no such code of one
 * and would give up, the Java producer for good (TransactionManager: "Unexpected error in TxnOffsetCommitResponse").
 */
const OF_ITS_PARTITION: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  ...(['OVERLOADED', 'KAFKA_STORAGE_ERROR', 'DISK_FULL', 'NOT_LEADER_OR_FOLLOWER', 'LEADER_NOT_AVAILABLE'] as const),
  ...(['NOT_ENOUGH_REPLICAS', 'NOT_ENOUGH_REPLICAS_AFTER_APPEND'] as const),
  ...(['NETWORK_EXCEPTION', 'CONNECTION_FAILED', 'CLOSED'] as const),
])
/** What can never fit: not to be asked again. */
const TOO_LARGE: Readonly<Record<number, ErrorCode>> = {
  [KafkaKey.JOIN_GROUP]: 'GROUP_MAX_SIZE_REACHED',
  [KafkaKey.OFFSET_COMMIT]: 'INVALID_COMMIT_OFFSET_SIZE',
  [KafkaKey.TXN_OFFSET_COMMIT]: 'INVALID_COMMIT_OFFSET_SIZE',
}

/** The number that a client of this version of the API is told. */
export function kafkaErrorNumber(code: ErrorCode, key: number, version: number): number {
  const known = COORDINATOR_KEYS.has(key) ? ofCoordinator(code, key) : (FOREIGN[code] ?? code)
  const old = OLD_CODES.find((each) => each.code === known && each.key === key && version < each.since)
  return errorNumberOf(old?.instead ?? known)
}

function ofCoordinator(code: ErrorCode, key: number): ErrorCode {
  if (OF_ITS_PARTITION.has(code)) return 'COORDINATOR_NOT_AVAILABLE'
  // The group's partition was added a moment ago, where its leader was: it has moved.
  if (code === 'INVALID_TXN_STATE' && key === KafkaKey.TXN_OFFSET_COMMIT) return 'COORDINATOR_NOT_AVAILABLE'
  if (code === 'MESSAGE_TOO_LARGE') return TOO_LARGE[key] ?? 'UNKNOWN_SERVER_ERROR'
  return FOREIGN[code] ?? code
}

/** The same, from a number of the table. */
export function kafkaErrorOf(number: number, key: number, version: number): number {
  return number === 0 ? 0 : kafkaErrorNumber(errorCodeOf(number), key, version)
}
