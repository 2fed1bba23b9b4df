/**
 * Stored states: what of a value must be as it is used, looked at where it is read. What else a release has put there is left as it is, so that
 * releases may run beside each other.
 *
 * Failure     a MillraceError that names the key and what is wrong with it
 */
import { base64Of, bytesOfBase64 } from '../base/base64.ts'
import { MillraceError } from '../model/errors.ts'
import type { TopicId } from '../model/ids.ts'
import {
  SCRAM_ITERATIONS_MAX,
  SCRAM_ITERATIONS_MIN,
  SCRAM_SALT_BYTES_MAX,
  TOPIC_PARTITIONS_MAX,
} from '../model/limits.ts'
import { SCRAM_KEY_BYTES, SCRAM_MECHANISMS, type ScramCredential, type ScramMechanism } from '../model/users.ts'
import {
  type BrokerState,
  type ControllerState,
  type CredentialState,
  decodeState,
  type NodeState,
  type PartitionName,
  type ResignedLead,
  type TopicNameState,
  type TopicState,
  type UserState,
} from './keys.ts'

type Check = (value: unknown) => boolean

const isInteger: Check = (value) => Number.isSafeInteger(value)
const isText: Check = (value) => typeof value === 'string'
const isObject: Check = (value) => typeof value === 'object' && value !== null && !Array.isArray(value)
const isCount: Check = (value) =>
  isInteger(value) && (value as number) >= 0 && (value as number) <= TOPIC_PARTITIONS_MAX
const isListOf =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check)
const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value)

const isPartitionName: Check = (value) => {
  if (!isObject(value)) return false
  const { topicId, partition } = value as Partial<PartitionName>
  return isText(topicId) && isInteger(partition)
}
const isResignedLead: Check = (value) => isPartitionName(value) && isInteger((value as ResignedLead).leaderEpoch)

/** Throws where a field is not what it must be. */
function checked<T extends object>(key: string, state: T, checks: { readonly [Field in keyof T]?: Check }): T {
  for (const [field, check] of Object.entries(checks) as [keyof T & string, Check][])
    if (!check(state[field]))
      throw new MillraceError('UNKNOWN_SERVER_ERROR', `metadata: the value of ${key} is not readable: ${field}`)
  return state
}

/** The node that a key below `prefix` is of. */
export function nodeIdOf(key: string, prefix: string): number {
  const nodeId = Number(key.slice(prefix.length))
  if (key.length > prefix.length && isInteger(nodeId)) return nodeId
  throw new MillraceError('UNKNOWN_SERVER_ERROR', `metadata: ${key} is of no node`)
}

export function decodeNodeState(key: string, value: Uint8Array): NodeState {
  return checked(key, decodeState<NodeState>(key, value), { incarnation: isInteger })
}

/** A registration that says nothing of damage has none: its broker is not left out for that. */
export function decodeBrokerState(key: string, value: Uint8Array): BrokerState {
  const state = decodeState<BrokerState>(key, value)
  const whole: BrokerState = state.damaged === undefined ? { ...state, damaged: [] } : state
  return checked(key, whole, {
    ...{ incarnation: isInteger, url: isText, damaged: isListOf(isPartitionName) },
    ...{ failed: optional(isListOf(isPartitionName)), resigned: optional(isListOf(isResignedLead)) },
  })
}

export function decodeControllerState(key: string, value: Uint8Array): ControllerState {
  return checked(key, decodeState<ControllerState>(key, value), {
    ...{ nodeId: isInteger, incarnation: isInteger, controllerEpoch: isInteger },
  })
}

export function decodeTopicState(key: string, value: Uint8Array): TopicState {
  return checked(key, decodeState<TopicState>(key, value), {
    ...{ name: isText, partitions: isCount, config: isObject, drainFrom: optional(isInteger) },
  })
}

export function decodeTopicNameState(key: string, value: Uint8Array): { readonly topicId: TopicId } & TopicNameState {
  return checked(key, decodeState<TopicNameState>(key, value), { topicId: isText })
}

export function userStateOf(credentials: ReadonlyMap<ScramMechanism, ScramCredential>): UserState {
  const states = [...credentials].map(([mechanism, { salt, iterations, storedKey, serverKey }]) => [
    mechanism,
    { salt: base64Of(salt), iterations, storedKey: base64Of(storedKey), serverKey: base64Of(serverKey) },
  ])
  return { credentials: Object.fromEntries(states) }
}

/** The credentials of a user; mechanisms of another release are passed over. */
export function decodeUserState(key: string, value: Uint8Array): Map<ScramMechanism, ScramCredential> {
  const { credentials } = checked(key, decodeState<UserState>(key, value), { credentials: isObject })
  const known = new Map<ScramMechanism, ScramCredential>()
  for (const mechanism of SCRAM_MECHANISMS) {
    if (!Object.hasOwn(credentials, mechanism)) continue
    const credential = credentialOf(mechanism, credentials[mechanism])
    if (credential === undefined)
      throw new MillraceError('UNKNOWN_SERVER_ERROR', `metadata: the value of ${key} is not readable: ${mechanism}`)
    known.set(mechanism, credential)
  }
  return known
}

function credentialOf(mechanism: ScramMechanism, state: unknown): ScramCredential | undefined {
  if (!isObject(state)) return undefined
  const { salt, iterations, storedKey, serverKey } = state as Partial<CredentialState>
  const [saltBytes, stored, server] = [salt, storedKey, serverKey].map((text) =>
    typeof text === 'string' ? bytesOfBase64(text) : undefined,
  )
  const keyBytes = SCRAM_KEY_BYTES[mechanism]
  if (saltBytes === undefined || saltBytes.length === 0 || saltBytes.length > SCRAM_SALT_BYTES_MAX) return undefined
  if (stored?.length !== keyBytes || server?.length !== keyBytes) return undefined
  const isCounted = isInteger(iterations) && iterations! >= SCRAM_ITERATIONS_MIN && iterations! <= SCRAM_ITERATIONS_MAX
  return isCounted ? { salt: saltBytes, iterations: iterations!, storedKey: stored, serverKey: server } : undefined
}
