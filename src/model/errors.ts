/**
 * The one table of errors: Kafka's names and numbers (Kafka protocol guide, "Error Codes"), for the native protocol,
 * the Kafka listener and the client alike; rows from 1000 on are Millrace's own and are never sent to a Kafka client.
 *
 * retriable  the same request may succeed later      refresh  the client should ask for metadata first
 */

export interface ErrorRow {
  readonly number: number
  readonly retriable: boolean
  readonly refresh: boolean
  readonly text: string
}

function row(number: number, flags: '' | 'R' | 'RM', text: string): ErrorRow {
  return { number, retriable: flags !== '', refresh: flags === 'RM', text }
}

export const ERRORS = {
  UNKNOWN_SERVER_ERROR: row(-1, '', 'the broker met an unexpected error'),
  NONE: row(0, '', 'no error'),
  OFFSET_OUT_OF_RANGE: row(1, '', 'the offset is not within [log start, high watermark] of the partition'),
  CORRUPT_MESSAGE: row(2, 'R', 'the record batch fails its checksum or is not well formed'),
  UNKNOWN_TOPIC_OR_PARTITION: row(3, 'RM', 'this broker does not know the topic or partition'),
  INVALID_FETCH_SIZE: row(4, '', 'the fetch size is out of range'),
  LEADER_NOT_AVAILABLE: row(5, 'RM', 'the partition has no leader now'),
  NOT_LEADER_OR_FOLLOWER: row(6, 'RM', 'this broker is not the leader of the partition'),
  REQUEST_TIMED_OUT: row(7, 'R', 'the request did not finish within its timeout'),
  BROKER_NOT_AVAILABLE: row(8, '', 'the broker is not available'),
  REPLICA_NOT_AVAILABLE: row(9, 'RM', 'the replica is not available'),
  MESSAGE_TOO_LARGE: row(10, '', 'the record batch is larger than max.message.bytes of the topic'),
  STALE_CONTROLLER_EPOCH: row(11, '', 'the controller epoch is old'),
  OFFSET_METADATA_TOO_LARGE: row(12, '', 'the metadata of the committed offset is too large'),
  NETWORK_EXCEPTION: row(13, 'RM', 'the connection broke before the reply came'),
  COORDINATOR_LOAD_IN_PROGRESS: row(14, 'R', 'the coordinator is loading its state'),
  COORDINATOR_NOT_AVAILABLE: row(15, 'R', 'the coordinator is not available'),
  NOT_COORDINATOR: row(16, 'R', 'this broker is not the coordinator'),
  INVALID_TOPIC_EXCEPTION: row(17, '', 'the topic name is not valid: [a-zA-Z0-9._-]{1,249}, not . or ..'),
  RECORD_LIST_TOO_LARGE: row(18, '', 'the request has more record bytes than a segment holds'),
  NOT_ENOUGH_REPLICAS: row(19, 'R', 'fewer replicas are in sync than min.insync.replicas'),
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: row(20, 'R', 'appended, but fewer replicas are in sync than min.insync.replicas'),
  INVALID_REQUIRED_ACKS: row(21, '', 'acks must be none (0), leader (1) or all (-1)'),
  ILLEGAL_GENERATION: row(22, '', 'the group generation is not the current one'),
  INCONSISTENT_GROUP_PROTOCOL: row(23, '', "the member's protocols do not fit the group's"),
  INVALID_GROUP_ID: row(24, '', 'the group id is not valid'),
  UNKNOWN_MEMBER_ID: row(25, '', 'the group does not know this member'),
  INVALID_SESSION_TIMEOUT: row(26, '', 'the session timeout is out of range'),
  REBALANCE_IN_PROGRESS: row(27, '', 'the group is rebalancing'),
  INVALID_COMMIT_OFFSET_SIZE: row(28, '', 'the commit is too large'),
  TOPIC_AUTHORIZATION_FAILED: row(29, '', 'not authorised for the topic'),
  GROUP_AUTHORIZATION_FAILED: row(30, '', 'not authorised for the group'),
  CLUSTER_AUTHORIZATION_FAILED: row(31, '', 'not authorised for the cluster'),
  INVALID_TIMESTAMP: row(32, '', 'the timestamp is out of range'),
  UNSUPPORTED_SASL_MECHANISM: row(33, '', 'the authentication mechanism is not supported'),
  ILLEGAL_SASL_STATE: row(34, '', 'this request is not allowed before authentication'),
  UNSUPPORTED_VERSION: row(35, '', 'this version of the request is not served'),
  TOPIC_ALREADY_EXISTS: row(36, '', 'a topic of this name exists'),
  INVALID_PARTITIONS: row(37, '', 'the number of partitions is out of range'),
  INVALID_REPLICATION_FACTOR: row(38, '', 'the replication factor is out of range'),
  INVALID_REPLICA_ASSIGNMENT: row(39, '', 'the replica assignment is not valid'),
  INVALID_CONFIG: row(40, '', 'the configuration is not valid'),
  NOT_CONTROLLER: row(41, 'R', 'this broker is not the controller'),
  INVALID_REQUEST: row(42, '', 'the request is not well formed'),
  UNSUPPORTED_FOR_MESSAGE_FORMAT: row(43, '', 'the record format does not allow this'),
  POLICY_VIOLATION: row(44, '', 'a policy forbids this'),
  OUT_OF_ORDER_SEQUENCE_NUMBER: row(45, '', "the batch's sequence does not follow the producer's last one"),
  DUPLICATE_SEQUENCE_NUMBER: row(46, '', 'the batch was appended before'),
  INVALID_PRODUCER_EPOCH: row(47, '', "the producer's epoch is old"),
  INVALID_TXN_STATE: row(48, '', 'the transaction is not in a state that allows this'),
  INVALID_PRODUCER_ID_MAPPING: row(49, '', 'the producer id does not belong to the transactional id'),
  INVALID_TRANSACTION_TIMEOUT: row(50, '', 'the transaction timeout is out of range'),
  CONCURRENT_TRANSACTIONS: row(51, 'R', 'another change of the transaction is in progress'),
  TRANSACTION_COORDINATOR_FENCED: row(52, '', 'the transaction coordinator was fenced'),
  TRANSACTIONAL_ID_AUTHORIZATION_FAILED: row(53, '', 'not authorised for the transactional id'),
  SECURITY_DISABLED: row(54, '', 'security is not enabled'),
  OPERATION_NOT_ATTEMPTED: row(55, '', 'not attempted: another part of the request failed'),
  KAFKA_STORAGE_ERROR: row(56, 'RM', 'the partition is offline after a storage error'),
  LOG_DIR_NOT_FOUND: row(57, '', 'the log dir is not known'),
  SASL_AUTHENTICATION_FAILED: row(58, '', 'authentication failed'),
  UNKNOWN_PRODUCER_ID: row(59, '', 'the broker does not know the producer id'),
  REASSIGNMENT_IN_PROGRESS: row(60, '', 'a reassignment is in progress'),
  NON_EMPTY_GROUP: row(68, '', 'the group has members'),
  GROUP_ID_NOT_FOUND: row(69, '', 'the group does not exist'),
  FETCH_SESSION_ID_NOT_FOUND: row(70, 'R', 'the fetch session does not exist'),
  INVALID_FETCH_SESSION_EPOCH: row(71, 'R', 'the fetch session epoch is not the expected one'),
  LISTENER_NOT_FOUND: row(72, 'RM', 'the leader has no listener for this protocol'),
  FENCED_LEADER_EPOCH: row(74, 'RM', 'the leader epoch of the request is old'),
  UNKNOWN_LEADER_EPOCH: row(75, 'R', 'the leader epoch of the request is newer than the one known here'),
  UNSUPPORTED_COMPRESSION_TYPE: row(76, '', 'the compression codec is not supported here'),
  STALE_BROKER_EPOCH: row(77, '', 'the broker epoch is old'),
  OFFSET_NOT_AVAILABLE: row(78, 'R', 'the offset is not known yet'),
  MEMBER_ID_REQUIRED: row(79, '', 'join again with the member id of this reply'),
  PREFERRED_LEADER_NOT_AVAILABLE: row(80, 'RM', 'the preferred leader is not available'),
  GROUP_MAX_SIZE_REACHED: row(81, '', 'the group is full'),
  FENCED_INSTANCE_ID: row(82, '', 'another member took over the instance id'),
  ELIGIBLE_LEADERS_NOT_AVAILABLE: row(83, 'RM', 'no replica that may lead is available'),
  ELECTION_NOT_NEEDED: row(84, 'RM', 'the partition has the leader that it should have'),
  NO_REASSIGNMENT_IN_PROGRESS: row(85, '', 'the partition is not being reassigned'),
  GROUP_SUBSCRIBED_TO_TOPIC: row(86, '', 'the group is subscribed to the topic'),
  INVALID_RECORD: row(87, '', 'a record of the batch is not valid'),
  UNSTABLE_OFFSET_COMMIT: row(88, 'R', 'offsets of an open transaction are pending'),
  THROTTLING_QUOTA_EXCEEDED: row(89, 'R', 'the quota is exceeded'),
  PRODUCER_FENCED: row(90, '', 'a newer producer of the same id took over'),
  RESOURCE_NOT_FOUND: row(91, '', 'the resource does not exist'),
  DUPLICATE_RESOURCE: row(92, '', 'the resource exists'),
  UNACCEPTABLE_CREDENTIAL: row(93, '', "the user's credential is not acceptable"),
  INVALID_UPDATE_VERSION: row(95, '', 'the update is based on an old version'),
  UNKNOWN_TOPIC_ID: row(100, 'RM', 'this broker does not know the topic id'),
  INCONSISTENT_TOPIC_ID: row(103, 'RM', 'the topic id does not belong to the topic'),
  DUPLICATE_BROKER_REGISTRATION: row(101, '', 'a broker with this node id lives'),
  INCONSISTENT_CLUSTER_ID: row(104, '', 'the cluster id is another one'),
  TRANSACTIONAL_ID_NOT_FOUND: row(105, '', 'the transactional id is not known'),
  FENCED_MEMBER_EPOCH: row(110, '', "the member's epoch is old"),
  UNRELEASED_INSTANCE_ID: row(111, '', 'the instance id is still in use'),
  UNSUPPORTED_ASSIGNOR: row(112, '', 'the assignor is not known'),
  STALE_MEMBER_EPOCH: row(113, '', "the member's epoch is not the current one"),
  UNSUPPORTED_ENDPOINT_TYPE: row(115, '', 'this type of endpoint is not served'),
  INVALID_REGULAR_EXPRESSION: row(128, '', 'the pattern is not valid'),
  // Millrace's own, never sent to Kafka clients
  DISK_FULL: row(1000, 'R', 'the disk is nearly full: produce is refused, reads go on'),
  OVERLOADED: row(1001, 'R', 'the broker has no room for the request now'),
  UNKNOWN_API: row(1002, '', 'this broker does not serve the request'),
  FRAME_TOO_LARGE: row(1003, '', 'the frame is larger than allowed'),
  CREDIT_EXCEEDED: row(1004, '', 'the client sent more bytes than it was granted'),
  ABORTED: row(1005, '', 'the caller gave the operation up'),
  CLOSED: row(1006, '', 'it is closed'),
  BUFFER_FULL: row(1007, 'R', 'the buffer of the producer is full'),
  DELIVERY_TIMED_OUT: row(
    1008,
    '',
    'the record was not acknowledged within the delivery timeout; it may or may not be stored',
  ),
  CONNECTION_FAILED: row(1009, 'R', 'no broker could be reached'),
  NOT_AVAILABLE_YET: row(1010, '', 'this version does not have it'),
  INVALID_ARGUMENT: row(1011, '', 'the argument is not valid'),
} as const satisfies Record<string, ErrorRow>

export type ErrorCode = keyof typeof ERRORS

const BY_NUMBER = new Map<number, ErrorCode>(
  (Object.entries(ERRORS) as [ErrorCode, ErrorRow][]).map(([code, entry]) => [entry.number, code]),
)

/** Code of a number of the table; UNKNOWN_SERVER_ERROR for a number that is not in it. */
export function errorCodeOf(number: number): ErrorCode {
  return BY_NUMBER.get(number) ?? 'UNKNOWN_SERVER_ERROR'
}

export function errorNumberOf(code: ErrorCode): number {
  return ERRORS[code].number
}

/** An operational fault that a caller may handle: `code` is a row of the table. */
export class MillraceError extends Error {
  override readonly name = 'MillraceError'
  readonly code: ErrorCode
  readonly retriable: boolean

  /** `detail` names what was wrong; the row's text stands in when there is none. */
  constructor(code: ErrorCode, detail?: string, options?: { cause?: unknown }) {
    super(detail === undefined || detail === '' ? ERRORS[code].text : detail, options)
    this.code = code
    this.retriable = ERRORS[code].retriable
  }
}

/** True for a MillraceError of this or another copy of the module. */
export function isMillraceError(error: unknown): error is MillraceError {
  return error instanceof Error && error.name === 'MillraceError' && 'code' in error && 'retriable' in error
}
