/**
 * alter-users (51): makes, changes and removes users. A password does not travel: whoever sets one derives the salted password (RFC 5802,
 * Hi) and sends that with its salt; the broker keeps what it derives from it in turn.
 *
 * Versions  1
 * Request   deletions of a mechanism of a user (0 = of all it has, and with them the user, unless it has an upsertion), then upsertions.
 *           Mechanisms: 1 SCRAM-SHA-256, 2 SCRAM-SHA-512 (Kafka's numbers)
 * Reply     one entry per user that is named, in the order of the first mention, deletions first: UNACCEPTABLE_CREDENTIAL (name,
 *           iterations, lengths), UNSUPPORTED_SASL_MECHANISM, DUPLICATE_RESOURCE, RESOURCE_NOT_FOUND, POLICY_VIOLATION (too many users)
 * Rules     of one user all is done or nothing; users go their own ways
 * Limits    REQUEST_USERS_MAX deletions, as many upsertions
 */
import { REQUEST_USERS_MAX, SCRAM_SALT_BYTES_MAX, USER_NAME_BYTES_MAX } from '../model/limits.ts'
import { Api, makeCodec } from './api.ts'
import { INT32_MAX } from './fields.ts'
import { readError } from './group-fields.ts'

/** Of a deletion: every mechanism there is. */
export const ALL_MECHANISMS = 0
/** Longer than any hash there is a mechanism for. */
const SALTED_PASSWORD_BYTES_MAX = 256

export interface UserDeletionRow {
  readonly name: string
  /** ALL_MECHANISMS, or one. */
  readonly mechanism: number
}

export interface UserUpsertionRow {
  readonly name: string
  readonly mechanism: number
  readonly iterations: number
  readonly salt: Uint8Array
  readonly saltedPassword: Uint8Array
}

export interface AlterUsersRequest {
  readonly deletions: readonly UserDeletionRow[]
  readonly upsertions: readonly UserUpsertionRow[]
}

export interface AlteredUserRow {
  readonly name: string
  readonly errorNumber: number
  readonly errorText: string
}

export interface AlterUsersReply {
  readonly users: readonly AlteredUserRow[]
}

export const alterUsers = makeCodec<AlterUsersRequest, AlterUsersReply>({
  api: Api.ALTER_USERS,
  name: 'alter-users',
  writeRequest: ({ deletions, upsertions }) => [
    deletions.map(({ name, mechanism }) => [name, mechanism]),
    upsertions.map(({ name, mechanism, iterations, salt, saltedPassword }) => [
      ...[name, mechanism, iterations, salt, saltedPassword],
    ]),
  ],
  readRequest: (fields) => ({
    deletions: fields.list('deletions', REQUEST_USERS_MAX, (deletion) => ({
      name: deletion.text('name', USER_NAME_BYTES_MAX),
      mechanism: deletion.integer('mechanism', 0, INT32_MAX),
    })),
    upsertions: fields.list('upsertions', REQUEST_USERS_MAX, (upsertion) => ({
      name: upsertion.text('name', USER_NAME_BYTES_MAX),
      mechanism: upsertion.integer('mechanism', 0, INT32_MAX),
      iterations: upsertion.integer('iterations', 0, INT32_MAX),
      salt: upsertion.bytes('salt', SCRAM_SALT_BYTES_MAX),
      saltedPassword: upsertion.bytes('saltedPassword', SALTED_PASSWORD_BYTES_MAX),
    })),
  }),
  writeReply: ({ users }) => [users.map(({ name, errorNumber, errorText }) => [name, errorNumber, errorText])],
  readReply: (fields) => ({
    users: fields.list('users', 2 * REQUEST_USERS_MAX, (user) => ({
      name: user.text('name', USER_NAME_BYTES_MAX),
      ...readError(user),
    })),
  }),
})
