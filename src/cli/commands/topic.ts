/** `millrace topic …`. */
import {
  type Client,
  isMillraceError,
  MillraceError,
  type PartitionDescription,
  type PartitionOffset,
  type Position,
  type TopicDescription,
} from '../../client/index.ts'
import { integerOf, pairsOf, partitionsOf, positionOf } from '../arguments.ts'
import { withClient } from '../connect.ts'
import { UsageError } from '../errors.ts'
import { table } from '../table.ts'
import type { GlobalOptions, Terminal } from '../terminal.ts'
import { counted } from '../words.ts'

interface CreateFlags extends GlobalOptions {
  readonly partitions?: string
  readonly replicas?: string
  readonly config?: string[]
  readonly ifNotExists?: boolean
}

export async function createTopic(terminal: Terminal, flags: CreateFlags, name: string): Promise<void> {
  const options = {
    config: pairsOf('--config', flags.config),
    ifNotExists: flags.ifNotExists === true,
    signal: terminal.signal,
    ...(flags.partitions === undefined ? {} : { partitions: integerOf('--partitions', flags.partitions, 1) }),
    ...(flags.replicas === undefined ? {} : { replicas: integerOf('--replicas', flags.replicas, 1) }),
  }
  await withClient(terminal, async (client) => {
    const topic = await client.admin.topics.create(name, options).catch((error: unknown) => {
      if (!isMillraceError(error) || error.code !== 'TOPIC_ALREADY_EXISTS') throw error
      const hint = '--if-not-exists makes that no error, millrace topic alter changes it'
      throw new MillraceError(error.code, `there is a topic '${name}' already; ${hint}`, { cause: error })
    })
    if (terminal.isJson) terminal.writeJson(topic)
    else if (topic.created) terminal.say(`created ${name} with ${counted(topic.partitions, 'partition')}`)
    else terminal.say(`${name} exists already, with ${counted(topic.partitions, 'partition')}`)
  })
}

export async function listTopics(terminal: Terminal): Promise<void> {
  await withClient(terminal, async (client) => {
    const topics = await client.admin.topics.list({ signal: terminal.signal })
    if (terminal.isJson) for (const topic of topics) terminal.writeJson(topic)
    else if (topics.length === 0) terminal.say('there are no topics; millrace topic create NAME makes one')
    else
      for (const line of table(
        ['NAME', 'PARTITIONS'],
        topics.map((topic) => [topic.name, topic.partitions]),
      ))
        terminal.writeLine(line)
  })
}

export async function describeTopic(terminal: Terminal, _flags: GlobalOptions, name: string): Promise<void> {
  await withClient(terminal, async (client) => {
    const topic = await client.admin.topics.describe(name, { signal: terminal.signal })
    if (terminal.isJson) terminal.writeJson(topic)
    else printDescription(terminal, topic)
  })
}

function printDescription(terminal: Terminal, topic: TopicDescription): void {
  terminal.writeLine(`name        ${topic.name}`)
  terminal.writeLine(`id          ${topic.topicId}`)
  const config = Object.entries(topic.config).map(([key, value]) => `${key}=${value}`)
  terminal.writeLine(`config      ${config.length === 0 ? 'as the broker' : config.join(' ')}`)
  const rows = topic.partitions.map((each) => [
    each.partition,
    each.leaderNodeId < 0 ? '-' : each.leaderNodeId,
    each.leaderEpoch,
    each.replicas.join(',') || '-',
    each.inSync.join(',') || '-',
    each.logStartOffset ?? '-',
    each.lastStableOffset ?? '-',
    each.highWatermark ?? '-',
    stateOf(each, topic.drainFrom),
  ])
  const heads = ['PARTITION', 'LEADER', 'EPOCH', 'REPLICAS', 'IN-SYNC', 'START', 'STABLE', 'END', 'STATE']
  for (const line of table(heads, rows)) terminal.writeLine(line)
}

function stateOf({ partition, leaderNodeId, offline }: PartitionDescription, drainFrom: number): string {
  if (offline !== null) return `offline: ${offline}`
  if (leaderNodeId < 0) return 'no leader'
  return drainFrom >= 0 && partition >= drainFrom ? 'drains' : 'online'
}

export async function deleteTopic(terminal: Terminal, _flags: GlobalOptions, name: string): Promise<void> {
  await withClient(terminal, async (client) => {
    await client.admin.topics.delete(name, { signal: terminal.signal })
    if (terminal.isJson) terminal.writeJson({ name, deleted: true })
    else terminal.say(`deleted ${name}`)
  })
}

interface AlterFlags extends GlobalOptions {
  readonly partitions?: string
  readonly drain?: boolean
  readonly config?: string[]
}

export async function alterTopic(terminal: Terminal, flags: AlterFlags, name: string): Promise<void> {
  const pairs = Object.entries(pairsOf('--config', flags.config))
  const partitions = flags.partitions === undefined ? undefined : integerOf('--partitions', flags.partitions, 1)
  if (flags.drain === true && partitions === undefined)
    throw new UsageError('topic alter: --drain needs --partitions, the number that stays')
  if (pairs.length === 0 && partitions === undefined)
    throw new UsageError('topic alter: nothing to change; give --partitions or --config')
  const changes =
    pairs.length === 0
      ? {}
      : { set: Object.fromEntries(pairs.filter(isSet)), remove: pairs.filter(isRemoval).map(([key]) => key) }
  await withClient(terminal, async (client) => {
    const drain = flags.drain === true
    const options = { ...changes, signal: terminal.signal, ...(partitions === undefined ? {} : { partitions, drain }) }
    const config = await client.admin.topics.alter(name, options)
    const drains = drain && (await client.admin.topics.describe(name, { signal: terminal.signal })).drainFrom >= 0
    const count = partitions === undefined ? {} : { partitions, ...(drain ? { drains } : {}) }
    if (terminal.isJson) terminal.writeJson({ name, config, ...count })
    else for (const line of changesOf(partitions, pairs)) terminal.say(`${name}: ${line}`)
    if (drains)
      terminal.say(`partitions from ${partitions} on take no new records; they go when retention has emptied them`)
    else if (drain) terminal.say('all partitions take records')
    if (partitions !== undefined)
      terminal.say('keys hash to other partitions from now on: order per key holds before and after, not across')
  })
}

function changesOf(partitions: number | undefined, pairs: readonly [string, string][]): string[] {
  return [
    ...(partitions === undefined ? [] : [counted(partitions, 'partition')]),
    ...pairs.map(([key, value]) => (value === '' ? `${key} as the broker has it` : `${key}=${value}`)),
  ]
}

const isSet = ([, value]: [string, string]): boolean => value !== ''
const isRemoval = ([, value]: [string, string]): boolean => value === ''

interface TrimFlags extends GlobalOptions {
  readonly before: string
  readonly partitions?: string
}

export async function trimTopic(terminal: Terminal, flags: TrimFlags, name: string): Promise<void> {
  const before = positionOf('--before', flags.before)
  const partitions = flags.partitions === undefined ? undefined : partitionsOf('-p', flags.partitions)
  await withClient(terminal, async (client) => {
    const trimmed = trimTo(client, name, { before, partitions, signal: terminal.signal })
    const starts = await trimmed.catch((error: unknown) => {
      if (!isMillraceError(error) || error.code !== 'OFFSET_OUT_OF_RANGE') throw error
      const hint = `millrace topic describe ${name} shows what each partition holds, -p names some`
      throw new MillraceError(error.code, `${name}: ${error.message}; ${hint}`, { cause: error })
    })
    for (const { partition, offset } of starts) {
      if (terminal.isJson) terminal.writeJson({ topic: name, partition, logStartOffset: offset })
      else terminal.say(`${name}/${partition} begins at ${offset}`)
    }
  })
}

interface TrimWish {
  readonly before: Position
  readonly partitions: readonly number[] | undefined
  readonly signal: AbortSignal
}

/** The end and an offset are the same request for all partitions; other positions are another offset in each. */
async function trimTo(client: Client, name: string, wish: TrimWish): Promise<PartitionOffset[]> {
  const { before, partitions, signal } = wish
  const { topics } = client.admin
  const some = { signal, ...(partitions === undefined ? {} : { partitions }) }
  if (before === 'end') return topics.trim(name, some)
  if (before !== 'start' && 'offset' in before) return topics.trim(name, { ...some, before: before.offset })
  const starts: PartitionOffset[] = []
  for (const { partition, offset } of await topics.offsets(name, before, { signal }))
    if (partitions === undefined || partitions.includes(partition))
      starts.push(...(await topics.trim(name, { before: offset, partitions: [partition], signal })))
  return starts
}
