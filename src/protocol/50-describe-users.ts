/**
 * describe-users (50): the users of the cluster, with the mechanisms that each has credentials of. Nothing of the credentials is told.
 *
 * Versions  1
 * Request   names: null = all, by name, in pages; cursor: of those, '' = the first page, else nextCursor of the page before
 * Reply     one entry per user, of named ones in the request's order: RESOURCE_NOT_FOUND, DUPLICATE_RESOURCE. Mechanisms: 1 SCRAM-SHA-256,
 *           2 SCRAM-SHA-512 (Kafka's numbers); another number is of one that the broker has and this end does not know
 *           nextCursor: null = there is no more
 * Limits    REQUEST_USERS_MAX names, and entries of a page
 */
import { REQUEST_USERS_MAX, USER_NAME_BYTES_MAX } from '../model/limits.ts'
import { Api, makeCodec } from './api.ts'
import { INT32_MAX } from './fields.ts'
import { readError } from './group-fields.ts'
import { type PageReply, readCursor } from './pages.ts'

/** More of one user than there are. */
const MECHANISMS_MAX = 16

export interface DescribeUsersRequest {
  readonly names: readonly string[] | null
  readonly cursor: string
}

export interface DescribedUserRow {
  readonly name: string
  readonly errorNumber: number
  readonly errorText: string
  readonly credentials: readonly { readonly mechanism: number; readonly iterations: number }[]
}

export interface DescribeUsersReply extends PageReply {
  readonly users: readonly DescribedUserRow[]
}

export const describeUsers = makeCodec<DescribeUsersRequest, DescribeUsersReply>({
  api: Api.DESCRIBE_USERS,
  name: 'describe-users',
  writeRequest: ({ names, cursor }) => [names, cursor],
  readRequest: (fields) => ({
    names: fields.textsOrNull('names', REQUEST_USERS_MAX, USER_NAME_BYTES_MAX),
    cursor: readCursor(fields, 'cursor') ?? '',
  }),
  writeReply: ({ users, nextCursor }) => [
    users.map(({ name, errorNumber, errorText, credentials }) => [
      ...[name, errorNumber, errorText],
      credentials.map(({ mechanism, iterations }) => [mechanism, iterations]),
    ]),
    nextCursor,
  ],
  readReply: (fields) => ({
    users: fields.list('users', REQUEST_USERS_MAX, (user) => ({
      name: user.text('name', USER_NAME_BYTES_MAX),
      ...readError(user),
      credentials: user.list('credentials', MECHANISMS_MAX, (credential) => ({
        mechanism: credential.integer('mechanism', 0, INT32_MAX),
        iterations: credential.integer('iterations', 0, INT32_MAX),
      })),
    })),
    nextCursor: readCursor(fields, 'nextCursor'),
  }),
})
