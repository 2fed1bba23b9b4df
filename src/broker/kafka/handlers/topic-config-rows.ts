/** A topic's configuration as rows of Kafka's responses: every key, where its value comes from, and what it would be without. */
import { configText, configTypeOf, FIXED_TOPIC_CONFIGS, TOPIC_CONFIG_NAMES } from '../../../kafka/topic-configs.ts'
import { TOPIC_CONFIG_DEFAULTS, TOPIC_CONFIG_KEYS } from '../../../model/topic-config.ts'
import type { RoutedTopic } from '../../partition-router.ts'
import type { KafkaContext } from '../kafka-handler.ts'

/** Kafka's ConfigSource numbers. */
export const ConfigSource = { DYNAMIC_TOPIC: 1, STATIC_BROKER: 4, DEFAULT: 5 } as const

export interface ConfigRow {
  readonly name: string
  readonly value: string
  readonly readOnly: boolean
  readonly configSource: number
  readonly isSensitive: boolean
  readonly synonyms: readonly { readonly name: string; readonly value: string; readonly source: number }[]
  readonly configType: number
  readonly documentation: null
}

/** `keys` null or empty = all. */
export function describedConfigs(
  gateway: KafkaContext,
  topic: RoutedTopic,
  keys: readonly string[] | null,
): ConfigRow[] {
  const wanted = keys === null || keys.length === 0 ? TOPIC_CONFIG_NAMES : keys
  return wanted.flatMap((name) => (TOPIC_CONFIG_NAMES.includes(name) ? [rowOf(gateway, topic, name)] : []))
}

function rowOf(gateway: KafkaContext, topic: RoutedTopic, name: string): ConfigRow {
  const synonyms = synonymsOf(gateway, topic, name)
  const { value, source } = synonyms[0]!
  return {
    ...{ name, value, readOnly: Object.hasOwn(FIXED_TOPIC_CONFIGS, name), configSource: source, isSensitive: false },
    ...{ synonyms, configType: configTypeOf(name, value), documentation: null },
  }
}

/** The value in force first, then what would be in force without it. */
function synonymsOf({ config }: KafkaContext, topic: RoutedTopic, name: string): ConfigRow['synonyms'] {
  const key = TOPIC_CONFIG_KEYS[name]
  if (key === undefined) return [{ name, value: FIXED_TOPIC_CONFIGS[name] ?? '', source: ConfigSource.DEFAULT }]
  const { field } = key
  const byDefault = { name, value: configText(TOPIC_CONFIG_DEFAULTS[field]), source: ConfigSource.DEFAULT }
  const ofBroker = { name, value: configText(config.topics.config[field]), source: ConfigSource.STATIC_BROKER }
  const rows = ofBroker.value === byDefault.value ? [byDefault] : [ofBroker, byDefault]
  if (!Object.hasOwn(topic.record.state.config, name)) return rows
  return [{ name, value: configText(topic.config[field]), source: ConfigSource.DYNAMIC_TOPIC }, ...rows]
}
