/** Topics as values: a name, and how its keys and values are written and read. */
import { MillraceError } from '../model/errors.ts'
import { isTopicName } from '../model/ids.ts'
import type { Bytes, Serde } from './serde.ts'
import { bytes } from './serde.ts'

export interface Serdes<KeyIn, Key, ValueIn, Value> {
  readonly key: Serde<KeyIn, Key>
  readonly value: Serde<ValueIn, Value>
}

/** A topic whose keys and values have types: `KeyIn` and `ValueIn` are sent, `Key` and `Value` received. */
export interface TypedTopic<KeyIn, Key, ValueIn, Value> {
  readonly name: string
  readonly serdes: Serdes<KeyIn, Key, ValueIn, Value>
}

/** A topic of bytes by its name. */
export interface PlainTopic {
  readonly name: string
  readonly serdes?: undefined
}

/** Any typed topic: nothing may be sent to it, unknown comes from it. */
export type AnyTypedTopic = TypedTopic<never, unknown, never, unknown>

/** A topic's name, or what topic() made of it. */
export type TopicLike = string | PlainTopic | AnyTypedTopic

export interface TopicOptions<KeyIn, Key, ValueIn, Value> {
  /** Default: bytes(). */
  readonly key?: Serde<KeyIn, Key>
  readonly value?: Serde<ValueIn, Value>
}

/** A topic as a value, to be named and typed in one place. Throws INVALID_TOPIC_EXCEPTION. */
export function topic(name: string): PlainTopic
export function topic<KeyIn = Bytes, Key = Uint8Array, ValueIn = Bytes, Value = Uint8Array>(
  name: string,
  options: TopicOptions<KeyIn, Key, ValueIn, Value>,
): TypedTopic<KeyIn, Key, ValueIn, Value>
export function topic(
  name: string,
  options?: TopicOptions<never, unknown, never, unknown>,
): PlainTopic | AnyTypedTopic {
  if (!isTopicName(name)) throw new MillraceError('INVALID_TOPIC_EXCEPTION', `'${name}' is not a topic name`)
  if (options === undefined) return { name }
  const { key = bytes(), value = bytes() } = options
  for (const [part, serde] of Object.entries({ key, value }))
    if (typeof serde?.encode !== 'function' || typeof serde.decode !== 'function')
      throw new MillraceError(
        'INVALID_ARGUMENT',
        `topic '${name}': ${part} must be json(), string(), bytes(), or an object with encode() and decode()`,
      )
  return { name, serdes: { key, value } }
}

export function topicName(topic: TopicLike): string {
  return typeof topic === 'string' ? topic : topic.name
}

export function serdesOf(topic: TopicLike): AnyTypedTopic['serdes'] | undefined {
  return typeof topic === 'string' ? undefined : topic.serdes
}
