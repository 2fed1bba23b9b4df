/** The exit codes of `millrace` and which error leads to which: scripts rely on them. */
import { type ErrorCode, isMillraceError } from '../model/errors.ts'
import { UsageError } from './errors.ts'

export const ExitCode = {
  OK: 0,
  FAILURE: 1,
  USAGE: 2,
  NOT_FOUND: 3,
  UNAUTHORISED: 4,
  UNAVAILABLE: 5,
  INTERRUPTED: 130,
} as const
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]

const BY_CODE: Partial<Record<ErrorCode, ExitCode>> = {
  INVALID_ARGUMENT: ExitCode.USAGE,
  INVALID_CONFIG: ExitCode.USAGE,
  INVALID_TOPIC_EXCEPTION: ExitCode.USAGE,
  INVALID_PARTITIONS: ExitCode.USAGE,
  INVALID_REPLICATION_FACTOR: ExitCode.USAGE,
  UNACCEPTABLE_CREDENTIAL: ExitCode.USAGE,
  UNKNOWN_TOPIC_OR_PARTITION: ExitCode.NOT_FOUND,
  UNKNOWN_TOPIC_ID: ExitCode.NOT_FOUND,
  GROUP_ID_NOT_FOUND: ExitCode.NOT_FOUND,
  RESOURCE_NOT_FOUND: ExitCode.NOT_FOUND,
  SASL_AUTHENTICATION_FAILED: ExitCode.UNAUTHORISED,
  TOPIC_AUTHORIZATION_FAILED: ExitCode.UNAUTHORISED,
  GROUP_AUTHORIZATION_FAILED: ExitCode.UNAUTHORISED,
  CLUSTER_AUTHORIZATION_FAILED: ExitCode.UNAUTHORISED,
  CONNECTION_FAILED: ExitCode.UNAVAILABLE,
  NETWORK_EXCEPTION: ExitCode.UNAVAILABLE,
  BROKER_NOT_AVAILABLE: ExitCode.UNAVAILABLE,
  LEADER_NOT_AVAILABLE: ExitCode.UNAVAILABLE,
  NOT_ENOUGH_REPLICAS: ExitCode.UNAVAILABLE,
  KAFKA_STORAGE_ERROR: ExitCode.UNAVAILABLE,
  REQUEST_TIMED_OUT: ExitCode.UNAVAILABLE,
  DELIVERY_TIMED_OUT: ExitCode.UNAVAILABLE,
  OVERLOADED: ExitCode.UNAVAILABLE,
  DISK_FULL: ExitCode.UNAVAILABLE,
}

export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof UsageError) return ExitCode.USAGE
  if (isMillraceError(error)) return BY_CODE[error.code] ?? ExitCode.FAILURE
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return ExitCode.NOT_FOUND
  return ExitCode.FAILURE
}
