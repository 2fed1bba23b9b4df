/** Bit fields of what a client may do (KIP-430): 1 << the operation's code. Everybody who is somebody may do everything so far. */

const Operation = {
  READ: 3,
  WRITE: 4,
  CREATE: 5,
  DELETE: 6,
  ALTER: 7,
  DESCRIBE: 8,
  CLUSTER_ACTION: 9,
  DESCRIBE_CONFIGS: 10,
  ALTER_CONFIGS: 11,
  IDEMPOTENT_WRITE: 12,
} as const

const bits = (...codes: readonly number[]): number => codes.reduce((field, code) => field | (1 << code), 0)

/** The client did not ask. */
export const NOT_ASKED = -2147483648
export const TOPIC_OPERATIONS = bits(
  Operation.READ,
  Operation.WRITE,
  Operation.CREATE,
  Operation.DELETE,
  Operation.ALTER,
  Operation.DESCRIBE,
  Operation.DESCRIBE_CONFIGS,
  Operation.ALTER_CONFIGS,
)
export const GROUP_OPERATIONS = bits(
  Operation.READ,
  Operation.DELETE,
  Operation.DESCRIBE,
  Operation.DESCRIBE_CONFIGS,
  Operation.ALTER_CONFIGS,
)
/** Replication is not theirs. */
export const CLUSTER_OPERATIONS = bits(
  Operation.CREATE,
  Operation.ALTER,
  Operation.DESCRIBE,
  Operation.DESCRIBE_CONFIGS,
  Operation.ALTER_CONFIGS,
  Operation.IDEMPOTENT_WRITE,
)
