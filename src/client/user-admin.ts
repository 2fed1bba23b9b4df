/**
 * UserAdmin: users of the Kafka door, made, listed and deleted. A password is hashed here and does not travel; what travels is worth as
 * much to whoever reads it on the way, so over networks that others share a broker stands behind TLS. Any broker takes these calls.
 *
 * Failure  every call takes an AbortSignal and throws MillraceError. An upsert whose answer is lost is sent again: twice is the same as once
 */
import { kindOf, utf8Encode } from '../base/bytes.ts'
import { MillraceError } from '../model/errors.ts'
import {
  PASSWORD_BYTES_MAX,
  SCRAM_ITERATIONS_DEFAULT,
  SCRAM_ITERATIONS_MAX,
  SCRAM_ITERATIONS_MIN,
} from '../model/limits.ts'
import {
  SCRAM_MECHANISMS,
  SCRAM_NUMBERS,
  type ScramMechanism,
  scramMechanismOf,
  userNameFault,
} from '../model/users.ts'
import {
  ALL_MECHANISMS,
  type AlterUsersReply,
  type AlterUsersRequest,
  allPages,
  alterUsers,
  describeUsers,
  errorOf,
} from '../protocol/index.ts'
import { abortable } from './abort.ts'
import { checkedInteger } from './client-options.ts'
import type { Requests } from './requests.ts'
import { saltPassword } from './salted-password.ts'

export type { ScramMechanism }

export interface UserWish {
  /** 1 to 249 bytes of UTF-8 without control characters; `token` is none. */
  readonly name: string
  /** 1 to 1024 bytes of UTF-8 without NUL. */
  readonly password: string
  /** Default: all. The user has no others afterwards. */
  readonly mechanisms?: readonly ScramMechanism[]
  /** Rounds of PBKDF2, 4096 to 16384. Default: 8192. */
  readonly iterations?: number
}

export interface UserDescription {
  readonly name: string
  /** Those that this client does not know are left out. */
  readonly credentials: readonly { readonly mechanism: ScramMechanism; readonly iterations: number }[]
}

export interface UserCallOptions {
  readonly signal?: AbortSignal
}

export class UserAdmin {
  readonly #requests: Requests

  constructor(requests: Requests) {
    this.#requests = requests
  }

  /** By name. */
  async list(options: UserCallOptions = {}): Promise<UserDescription[]> {
    const pages = await allPages((cursor) => this.#requests.ask(describeUsers, { names: null, cursor }, options))
    return pages.flatMap(({ users }) =>
      users.map(({ name, credentials }) => ({
        name,
        credentials: credentials.flatMap(({ mechanism: number, iterations }) => {
          const mechanism = scramMechanismOf(number)
          return mechanism === undefined ? [] : [{ mechanism, iterations }]
        }),
      })),
    )
  }

  /** Makes a user, or gives one that there is another password. Who is connected stays so. */
  async upsert(wish: UserWish, options: UserCallOptions = {}): Promise<void> {
    const { name, password, mechanisms, iterations } = checkedWish(wish)
    const hashing = mechanisms.map(async (mechanism) => ({
      ...{ name, mechanism: SCRAM_NUMBERS[mechanism] },
      ...(await saltPassword(password, mechanism, iterations)),
    }))
    const upsertions = await abortable(Promise.all(hashing), options.signal)
    await this.#alter({ deletions: [{ name, mechanism: ALL_MECHANISMS }], upsertions }, options)
  }

  /** Throws RESOURCE_NOT_FOUND where there is no such user. */
  async delete(name: string, options: UserCallOptions = {}): Promise<void> {
    const deletions = [{ name: checkedName(name), mechanism: ALL_MECHANISMS }]
    await this.#alter({ deletions, upsertions: [] }, { ...options, changes: true })
  }

  async #alter(request: AlterUsersRequest, options: Parameters<Requests['ask']>[2]): Promise<void> {
    const { users }: AlterUsersReply = await this.#requests.ask(alterUsers, request, options)
    for (const { errorNumber, errorText } of users) if (errorNumber !== 0) throw errorOf(errorNumber, errorText)
  }
}

function checkedName(name: string): string {
  const fault = userNameFault(name)
  if (fault !== undefined) throw new MillraceError('INVALID_ARGUMENT', `name: ${fault}`)
  return name
}

function checkedWish(wish: UserWish): Required<UserWish> {
  const { password, mechanisms = SCRAM_MECHANISMS, iterations = SCRAM_ITERATIONS_DEFAULT } = wish
  const name = checkedName(wish.name)
  if (typeof password !== 'string')
    throw new MillraceError('INVALID_ARGUMENT', `password: expected a text, not ${kindOf(password)}`)
  const bytes = utf8Encode(password).length
  if (bytes === 0 || bytes > PASSWORD_BYTES_MAX || password.includes('\0'))
    throw new MillraceError('INVALID_ARGUMENT', `password: 1 to ${PASSWORD_BYTES_MAX} bytes without NUL`)
  const isSome = Array.isArray(mechanisms) && mechanisms.length > 0 && new Set(mechanisms).size === mechanisms.length
  if (!isSome || !mechanisms.every((one) => SCRAM_MECHANISMS.includes(one)))
    throw new MillraceError('INVALID_ARGUMENT', `mechanisms: some of ${SCRAM_MECHANISMS.join(', ')}, each once`)
  checkedInteger('iterations', iterations, SCRAM_ITERATIONS_MIN, SCRAM_ITERATIONS_MAX)
  return { name, password, mechanisms, iterations }
}
