/**
 * DescribeConfigs (32, v1–4), IncrementalAlterConfigs (44, v0–1), AlterConfigs (33, v0–2): of topics, and to read of brokers. What a broker is
 * configured to stands in its file: it is not changed from here.
 */
import { describeConfigs } from '../../../kafka/apis/32-describe-configs.ts'
import { alterConfigs } from '../../../kafka/apis/33-alter-configs.ts'
import { incrementalAlterConfigs } from '../../../kafka/apis/44-incremental-alter-configs.ts'
import { isFixedConfig, isListConfig, ownConfigOf } from '../../../kafka/topic-configs.ts'
import { MillraceError } from '../../../model/errors.ts'
import { parseTopicConfig } from '../../../model/topic-config.ts'
import { CLUSTER } from '../../authorise.ts'
import type { RoutedTopic } from '../../partition-router.ts'
import type { TopicConfigChange } from '../../topic-admin.ts'
import { coldHandler, type KafkaCall } from '../kafka-handler.ts'
import { brokerConfigs } from './broker-configs.ts'
import { describedConfigs } from './topic-config-rows.ts'

const TOPIC = 2
const BROKER = 4
const Operation = { SET: 0, DELETE: 1, APPEND: 2, SUBTRACT: 3 } as const

/** What alters a resource. */
interface Alteration {
  readonly name: string
  readonly configOperation: number
  readonly value: string | null
}

export const describeConfigsHandler = coldHandler(describeConfigs, (call) => {
  const { resources, includeSynonyms } = call.request
  // Once each: a resource repeated is a short request for a response of any size.
  const once = new Map(resources.map((resource) => [`${resource.resourceType} ${resource.resourceName}`, resource]))
  const results = [...once.values()].map(({ resourceType, resourceName, configurationKeys }) => {
    try {
      const rows = rowsOf(call, resourceType, resourceName, configurationKeys)
      const configs = includeSynonyms ? rows : rows.map((row) => ({ ...row, synonyms: [] }))
      return { errorCode: 0, errorMessage: null, resourceType, resourceName, configs }
    } catch (error) {
      return { ...call.fault(error), resourceType, resourceName, configs: [] }
    }
  })
  return { results }
})

function rowsOf(call: KafkaCall<unknown>, type: number, name: string, keys: readonly string[] | null) {
  const { gateway } = call
  if (type === TOPIC) return describedConfigs(gateway, call.topic(name), keys)
  if (type !== BROKER) throw new MillraceError('INVALID_REQUEST', `resources of type ${type}; 2 = topic, 4 = broker`)
  call.demand(CLUSTER)
  // The default of all brokers: nothing is set there.
  if (name === '') return []
  if (name !== String(gateway.identity.nodeId))
    throw new MillraceError(
      'INVALID_REQUEST',
      `broker ${name} is asked here: this is broker ${gateway.identity.nodeId}`,
    )
  return brokerConfigs(gateway, keys)
}

export const incrementalAlterConfigsHandler = coldHandler(incrementalAlterConfigs, async (call) => {
  const { resources, validateOnly } = call.request
  const responses = resources.map(({ resourceType, resourceName, configs }) =>
    alter(call, { resourceType, resourceName, validateOnly }, (topic) => incrementOf(topic, configs)),
  )
  return { responses: await Promise.all(responses) }
})

export const alterConfigsHandler = coldHandler(alterConfigs, async (call) => {
  const { resources, validateOnly } = call.request
  const responses = resources.map(({ resourceType, resourceName, configs }) =>
    alter(call, { resourceType, resourceName, validateOnly }, (topic) => replacementOf(topic, configs)),
  )
  return { responses: await Promise.all(responses) }
})

async function alter(
  call: KafkaCall<unknown>,
  resource: { readonly resourceType: number; readonly resourceName: string; readonly validateOnly: boolean },
  changeOf: (topic: RoutedTopic) => TopicConfigChange,
) {
  const { resourceType, resourceName, validateOnly } = resource
  try {
    if (resourceType === BROKER)
      throw new MillraceError('INVALID_REQUEST', "a broker's configuration stands in its file: it is not changed here")
    if (resourceType !== TOPIC)
      throw new MillraceError('INVALID_REQUEST', `resources of type ${resourceType}; 2 = topic`)
    const topic = call.topic(resourceName)
    const change = changeOf(topic)
    const next: Record<string, string> = { ...topic.record.state.config, ...change.set }
    for (const key of change.remove) if (!Object.hasOwn(change.set, key)) delete next[key]
    parseTopicConfig(next, call.gateway.config.topics.config)
    if (!validateOnly) await call.gateway.topicService.alterConfig(resourceName, change)
    return { errorCode: 0, errorMessage: null, resourceType, resourceName }
  } catch (error) {
    return { ...call.fault(error), resourceType, resourceName }
  }
}

function incrementOf(topic: RoutedTopic, alterations: readonly Alteration[]): TopicConfigChange {
  const set: Record<string, string> = {}
  const remove: string[] = []
  const seen = new Set<string>()
  for (const { name, configOperation, value } of alterations) {
    if (seen.has(name)) throw new MillraceError('INVALID_REQUEST', `${name} is named twice`)
    seen.add(name)
    if (configOperation === Operation.DELETE) remove.push(name)
    else if (value === null) throw new MillraceError('INVALID_CONFIG', `${name}: there is no value`)
    else if (configOperation === Operation.SET) set[name] = value
    else set[name] = listAfter(topic, name, configOperation, value)
  }
  // What has one value has it already.
  return { set: ownConfigOf(set), remove: remove.filter((key) => !isFixedConfig(key)) }
}

/** A list with some added or taken out; ours are sorted, so that a list has one text. */
function listAfter(topic: RoutedTopic, name: string, operation: number, value: string): string {
  if (operation !== Operation.APPEND && operation !== Operation.SUBTRACT)
    throw new MillraceError('INVALID_REQUEST', `operation ${operation}; 0 to 3`)
  if (!isListConfig(name))
    throw new MillraceError('INVALID_CONFIG', `${name} is no list: it can only be set or deleted`)
  const now = name === 'cleanup.policy' ? topic.config.cleanupPolicy.split(',') : []
  const given = value.split(',').filter((item) => item !== '')
  const items =
    operation === Operation.APPEND ? [...new Set([...now, ...given])] : now.filter((item) => !given.includes(item))
  return items.sort().join(',')
}

/** All keys that the topic has and the request has not go back to their defaults. */
function replacementOf(
  topic: RoutedTopic,
  configs: readonly { readonly name: string; readonly value: string | null }[],
): TopicConfigChange {
  const wanted: Record<string, string> = {}
  for (const { name, value } of configs) if (value !== null) wanted[name] = value
  const set = ownConfigOf(wanted)
  return { set, remove: Object.keys(topic.record.state.config).filter((key) => !Object.hasOwn(set, key)) }
}
