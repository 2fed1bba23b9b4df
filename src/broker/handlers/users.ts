/**
 * The requests about users: describe-users (50), alter-users (51). Any broker takes them: what decides is the store's compare-and-set.
 * Versions: 1.
 */
import { errorNumberOf } from '../../model/errors.ts'
import { REQUEST_USERS_MAX } from '../../model/limits.ts'
import {
  ALL_MECHANISMS,
  type AlterUsersReply,
  type AlterUsersRequest,
  alterUsers,
  type DescribedUserRow,
  type DescribeUsersReply,
  type DescribeUsersRequest,
  describeUsers,
} from '../../protocol/index.ts'
import { CLUSTER } from '../authorise.ts'
import type { DescribedUser } from '../sasl/users.ts'
import type { ColdHandler } from './handler.ts'

const ofCluster = () => [CLUSTER] as const

/** describe-users (50). */
const describeUsersHandler: ColdHandler<DescribeUsersRequest, DescribeUsersReply> = {
  kind: 'cold',
  codec: describeUsers,
  resources: ofCluster,
  async answer({ users }, { names, cursor }) {
    if (names !== null && names.length > 0) return { users: (await users.describe(names)).map(rowOf), nextCursor: null }
    const page = names === null ? await users.page(cursor, REQUEST_USERS_MAX) : { users: [], isLast: true }
    return { users: page.users.map(rowOf), nextCursor: page.isLast ? null : page.users.at(-1)!.name }
  },
}

function rowOf({ name, errorCode, errorText, credentials }: DescribedUser): DescribedUserRow {
  return { name, errorNumber: errorNumberOf(errorCode), errorText, credentials }
}

/** alter-users (51). */
const alterUsersHandler: ColdHandler<AlterUsersRequest, AlterUsersReply> = {
  kind: 'cold',
  codec: alterUsers,
  resources: ofCluster,
  async answer({ users }, { deletions, upsertions }) {
    const removals = deletions.map(({ name, mechanism }) => ({
      name,
      mechanism: mechanism === ALL_MECHANISMS ? ('all' as const) : mechanism,
    }))
    const results = await users.alter(removals, upsertions)
    return {
      users: results.map(({ name, errorCode, errorText }) => ({
        ...{ name, errorNumber: errorNumberOf(errorCode), errorText },
      })),
    }
  },
}

export const USER_HANDLERS = [describeUsersHandler, alterUsersHandler]
