/**
 * Users: what may be done to the users of a cluster, checked, and done to their store: for the native protocol's requests (50, 51), Kafka's of
 * the same numbers, and whoever holds a broker in its own process. Any broker takes a change: the store's compare-and-set is enough,
 * nobody need control it.
 *
 * Rules     of a user all that one request asks for is done or nothing; users go their own ways
 * Limits    SCRAM_ITERATIONS_MIN to _MAX rounds, SCRAM_SALT_BYTES_MAX, PASSWORD_BYTES_MAX; names: model/users.ts
 * Failure   a row of results, as Kafka has it (KIP-554): UNACCEPTABLE_CREDENTIAL, UNSUPPORTED_SASL_MECHANISM, DUPLICATE_RESOURCE,
 *           RESOURCE_NOT_FOUND; what the store says else
 * Not here  who may do it (authorise.ts)
 */
import { utf8Encode } from '../../base/bytes.ts'
import { mechanismsOf, type User, type UserStore } from '../../coordination/user-store.ts'
import type { SaslCrypto } from '../../kafka/sasl/sasl-ports.ts'
import { scramKeysOf } from '../../kafka/sasl/scram.ts'
import { type ErrorCode, isMillraceError, MillraceError } from '../../model/errors.ts'
import {
  PASSWORD_BYTES_MAX,
  SCRAM_ITERATIONS_DEFAULT,
  SCRAM_ITERATIONS_MAX,
  SCRAM_ITERATIONS_MIN,
  SCRAM_SALT_BYTES_MAX,
} from '../../model/limits.ts'
import {
  SCRAM_KEY_BYTES,
  SCRAM_MECHANISMS,
  SCRAM_NUMBERS,
  type ScramCredential,
  type ScramMechanism,
  scramMechanismOf,
  userNameFault,
} from '../../model/users.ts'
import type { PasswordHasher } from './password-hasher.ts'

export interface UserDeletion {
  readonly name: string
  /** By its number; 'all' = what there is, and then the user, unless it is upserted by the same request. */
  readonly mechanism: number | 'all'
}

export interface UserUpsertion {
  readonly name: string
  /** By its number. */
  readonly mechanism: number
  readonly iterations: number
  readonly salt: Uint8Array
  /** Hi(password, salt, iterations) of RFC 5802. */
  readonly saltedPassword: Uint8Array
}

/** Of a user that a request names; errorCode NONE: done. */
export interface UserResult {
  readonly name: string
  readonly errorCode: ErrorCode
  readonly errorText: string
}

export interface DescribedUser extends UserResult {
  readonly credentials: readonly { readonly mechanism: number; readonly iterations: number }[]
}

export interface SetPasswordOptions {
  /** Default: all. The user has no others afterwards. */
  readonly mechanisms?: readonly ScramMechanism[]
  readonly iterations?: number
}

export interface UsersOptions {
  readonly store: UserStore
  readonly crypto: SaslCrypto
  readonly hasher: PasswordHasher
  /** 16 bytes that no other user has. */
  readonly newSalt: () => Uint8Array
}

/** What a request asks of one user. */
interface Asked {
  readonly mechanisms: Set<ScramMechanism>
  readonly removed: ScramMechanism[]
  readonly set: Map<ScramMechanism, ScramCredential>
  isWhole: boolean
  fault: MillraceError | undefined
}

export class Users {
  readonly #options: UsersOptions

  constructor(options: UsersOptions) {
    this.#options = options
  }

  /** Null or none = all, by name; a name that is none is RESOURCE_NOT_FOUND, one that comes twice DUPLICATE_RESOURCE. */
  async describe(names: readonly string[] | null): Promise<DescribedUser[]> {
    const { store } = this.#options
    await store.open()
    if (names === null || names.length === 0) return store.all().map(describedAs)
    const described = new Map<string, DescribedUser>()
    for (const name of names) {
      const user = store.get(name)
      const fault = described.has(name) ? namedTwice(name) : user === undefined ? unknownUser(name) : undefined
      described.set(name, fault === undefined ? describedAs(user!) : { ...refused(name, fault), credentials: [] })
    }
    return [...described.values()]
  }

  /** Of all users, by name, some after the name `after`. */
  async page(after: string, count: number): Promise<{ readonly users: DescribedUser[]; readonly isLast: boolean }> {
    const { store } = this.#options
    await store.open()
    const rest = store.all().filter(({ name }) => name > after)
    return { users: rest.slice(0, count).map(describedAs), isLast: rest.length <= count }
  }

  /** One result for each user that is named, in the order of their first mention, deletions first. */
  async alter(deletions: readonly UserDeletion[], upsertions: readonly UserUpsertion[]): Promise<UserResult[]> {
    const asked = new Map<string, Asked>()
    for (const deletion of deletions) attempt(askedOf(asked, deletion.name), (user) => addDeletion(user, deletion))
    for (const upsertion of upsertions)
      attempt(askedOf(asked, upsertion.name), (user) => this.#addUpsertion(user, upsertion))
    return Promise.all([...asked].map(([name, user]) => this.#change(name, user)))
  }

  /** From a password, which is hashed here. Throws what alter() answers; OVERLOADED: too many passwords are being hashed. */
  async setPassword(name: string, password: string, options: SetPasswordOptions = {}): Promise<void> {
    const { mechanisms = SCRAM_MECHANISMS, iterations = SCRAM_ITERATIONS_DEFAULT } = options
    const bytes = utf8Encode(password).length
    if (bytes === 0 || bytes > PASSWORD_BYTES_MAX || password.includes('\0'))
      throw unacceptable(`a password has 1 to ${PASSWORD_BYTES_MAX} bytes and no NUL`)
    const upsertions: UserUpsertion[] = []
    for (const mechanism of mechanisms) {
      // Before it is hashed: a million rounds are refused, not done.
      checkIterations(iterations)
      const salt = this.#options.newSalt()
      const saltedPassword = await this.#options.hasher.hash({ password, mechanism, salt, iterations })
      if (saltedPassword === undefined) throw new MillraceError('OVERLOADED', 'too many passwords are being hashed')
      upsertions.push({ name, mechanism: SCRAM_NUMBERS[mechanism], iterations, salt, saltedPassword })
    }
    this.#throwFault(await this.alter([{ name, mechanism: 'all' }], upsertions))
  }

  /** Throws RESOURCE_NOT_FOUND where there is none. */
  async delete(name: string): Promise<void> {
    this.#throwFault(await this.alter([{ name, mechanism: 'all' }], []))
  }

  #throwFault(results: readonly UserResult[]): void {
    for (const { errorCode, errorText } of results)
      if (errorCode !== 'NONE') throw new MillraceError(errorCode, errorText)
  }

  #addUpsertion(asked: Asked, { name, mechanism: number, iterations, salt, saltedPassword }: UserUpsertion): void {
    const fault = userNameFault(name)
    if (fault !== undefined) throw unacceptable(fault)
    const mechanism = addMechanism(asked, name, number)
    checkIterations(iterations)
    if (salt.length === 0 || salt.length > SCRAM_SALT_BYTES_MAX)
      throw unacceptable(`a salt has 1 to ${SCRAM_SALT_BYTES_MAX} bytes, not ${salt.length}`)
    if (saltedPassword.length !== SCRAM_KEY_BYTES[mechanism])
      throw unacceptable(
        `a salted password of ${mechanism} has ${SCRAM_KEY_BYTES[mechanism]} bytes, not ${saltedPassword.length}`,
      )
    const keys = scramKeysOf(mechanism, saltedPassword, this.#options.crypto)
    // What came may be a view of something larger.
    asked.set.set(mechanism, { salt: Uint8Array.from(salt), iterations, ...keys })
  }

  async #change(name: string, { fault, isWhole, removed, set }: Asked): Promise<UserResult> {
    if (fault !== undefined) return refused(name, fault)
    try {
      await this.#options.store.change({ name, remove: isWhole ? 'all' : removed, set })
      return { name, errorCode: 'NONE', errorText: '' }
    } catch (error) {
      if (!isMillraceError(error)) throw error
      return refused(name, error)
    }
  }
}

function describedAs(user: User): DescribedUser {
  const credentials = mechanismsOf(user).map((mechanism) => ({
    mechanism: SCRAM_NUMBERS[mechanism],
    iterations: user.credentials.get(mechanism)!.iterations,
  }))
  return { name: user.name, errorCode: 'NONE', errorText: '', credentials }
}

function askedOf(all: Map<string, Asked>, name: string): Asked {
  let asked = all.get(name)
  if (asked === undefined) {
    asked = { mechanisms: new Set(), removed: [], set: new Map(), isWhole: false, fault: undefined }
    all.set(name, asked)
  }
  return asked
}

/** The first fault of a user counts. */
function attempt(asked: Asked, add: (asked: Asked) => void): void {
  try {
    add(asked)
  } catch (error) {
    if (!isMillraceError(error)) throw error
    asked.fault ??= error
  }
}

function addDeletion(asked: Asked, { name, mechanism }: UserDeletion): void {
  if (mechanism !== 'all') asked.removed.push(addMechanism(asked, name, mechanism))
  else if (asked.isWhole || asked.removed.length > 0) throw namedTwice(name)
  else asked.isWhole = true
}

function addMechanism(asked: Asked, name: string, number: number): ScramMechanism {
  const mechanism = scramMechanismOf(number)
  if (mechanism === undefined) {
    const known = SCRAM_MECHANISMS.map((one) => `${SCRAM_NUMBERS[one]} (${one})`).join(' and ')
    throw new MillraceError('UNSUPPORTED_SASL_MECHANISM', `mechanism ${number} is not known: there are ${known}`)
  }
  if (asked.mechanisms.has(mechanism)) throw namedTwice(name)
  asked.mechanisms.add(mechanism)
  return mechanism
}

function checkIterations(iterations: number): void {
  if (iterations < SCRAM_ITERATIONS_MIN || iterations > SCRAM_ITERATIONS_MAX || !Number.isInteger(iterations))
    throw unacceptable(`iterations: ${SCRAM_ITERATIONS_MIN} to ${SCRAM_ITERATIONS_MAX}, not ${iterations}`)
}

function unacceptable(text: string): MillraceError {
  return new MillraceError('UNACCEPTABLE_CREDENTIAL', text)
}

function namedTwice(name: string): MillraceError {
  return new MillraceError('DUPLICATE_RESOURCE', `the user ${shortened(name)} is named twice by one request`)
}

function unknownUser(name: string): MillraceError {
  return new MillraceError('RESOURCE_NOT_FOUND', `there is no user ${shortened(name)}`)
}

/** What a request names may be anything. */
function shortened(name: string): string {
  return name.length <= 60 ? name : `${name.slice(0, 60)}…`
}

function refused(name: string, { code, message }: MillraceError): UserResult {
  return { name, errorCode: code, errorText: message }
}
