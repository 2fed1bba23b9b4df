/** `millrace group`: lists, describes, moves and deletes consumer groups. */
import type { GroupDescription, GroupOffset } from '../../client/index.ts'
import { isMillraceError, MillraceError } from '../../model/errors.ts'
import { positionOf } from '../arguments.ts'
import { withClient } from '../connect.ts'
import { table } from '../table.ts'
import type { GlobalOptions, Terminal } from '../terminal.ts'
import { counted } from '../words.ts'

export async function listGroups(terminal: Terminal): Promise<void> {
  await withClient(terminal, async (client) => {
    const groups = await client.admin.groups.list({ signal: terminal.signal })
    if (terminal.isJson) for (const group of groups) terminal.writeJson(group)
    else if (groups.length === 0) terminal.say('there are no groups; millrace consume TOPIC -g NAME makes one')
    else {
      const rows = groups.map(({ groupId, state, kind, memberCount }) => [groupId, state, kind, memberCount])
      for (const line of table(['GROUP', 'STATE', 'KIND', 'MEMBERS'], rows)) terminal.writeLine(line)
    }
  })
}

export async function describeGroup(terminal: Terminal, _flags: GlobalOptions, groupId: string): Promise<void> {
  await withClient(terminal, async (client) => {
    const group = await client.admin.groups.describe(groupId, { signal: terminal.signal }).catch(withAdvice)
    if (terminal.isJson) terminal.writeJson(group)
    else printGroup(terminal, group)
  })
}

function printGroup(terminal: Terminal, group: GroupDescription): void {
  const { groupId, state, kind, groupEpoch, assignor, members, offsets } = group
  terminal.writeLine(`group       ${groupId}`)
  terminal.writeLine(`state       ${state} (${kind}${assignor === '' ? '' : `, ${assignor}`}, epoch ${groupEpoch})`)
  terminal.writeLine(`lag         ${counted(sumOf(offsets), 'record')}${ageText(offsets)}`)
  if (members.length > 0) {
    const rows = members.map((member) => [
      member.memberId,
      member.instanceId ?? '-',
      `${member.clientId} ${member.clientHost}`.trim(),
      member.assignment.map(({ topic, partition }) => `${topic}/${partition}`).join(' ') || '-',
    ])
    terminal.writeLine('')
    for (const line of table(['MEMBER', 'INSTANCE', 'CLIENT', 'PARTITIONS'], rows)) terminal.writeLine(line)
  }
  if (offsets.length === 0) return
  const rows = offsets.map((each) => [
    each.topic,
    each.partition,
    each.offset,
    each.highWatermark ?? '-',
    each.lag ?? '-',
    each.lagMs === undefined ? '-' : secondsText(each.lagMs),
  ])
  terminal.writeLine('')
  for (const line of table(['TOPIC', 'PARTITION', 'COMMITTED', 'END', 'LAG', 'BEHIND'], rows)) terminal.writeLine(line)
}

function sumOf(offsets: readonly GroupOffset[]): number {
  return offsets.reduce((sum, { lag }) => sum + (lag ?? 0), 0)
}

/** The oldest record that is not committed. */
function ageText(offsets: readonly GroupOffset[]): string {
  const oldestMs = Math.max(0, ...offsets.map(({ lagMs }) => lagMs ?? 0))
  return oldestMs === 0 ? '' : `, the oldest is ${secondsText(oldestMs)} old`
}

function secondsText(milliseconds: number): string {
  return milliseconds === 0 ? '0 s' : `${(milliseconds / 1000).toFixed(milliseconds < 10_000 ? 1 : 0)} s`
}

interface SeekFlags extends GlobalOptions {
  readonly to: string
  readonly topic?: string
  readonly dryRun?: boolean
}

export async function seekGroup(terminal: Terminal, flags: SeekFlags, groupId: string): Promise<void> {
  const position = positionOf('--to', flags.to)
  await withClient(terminal, async (client) => {
    const moved = await client.admin.groups.seek(groupId, position, {
      ...{ dryRun: flags.dryRun === true, signal: terminal.signal },
      ...(flags.topic === undefined ? {} : { topics: flags.topic }),
    })
    if (terminal.isJson) for (const each of moved) terminal.writeJson(each)
    else {
      const rows = moved.map((each) => [each.topic, each.partition, each.fromOffset ?? '-', each.toOffset])
      for (const line of table(['TOPIC', 'PARTITION', 'FROM', 'TO'], rows)) terminal.writeLine(line)
    }
    if (flags.dryRun === true) terminal.hint('nothing was changed; without --dry-run it is')
  })
}

export async function deleteGroup(terminal: Terminal, _flags: GlobalOptions, groupId: string): Promise<void> {
  await withClient(terminal, async (client) => {
    await client.admin.groups.delete(groupId, { signal: terminal.signal }).catch(withAdvice)
    if (terminal.isJson) terminal.writeJson({ groupId, deleted: true })
    else terminal.say(`deleted ${groupId}, its committed offsets too`)
  })
}

function withAdvice(error: unknown): never {
  if (isMillraceError(error) && error.code === 'GROUP_ID_NOT_FOUND')
    throw new MillraceError(error.code, `${error.message}; millrace group list shows those there are`, { cause: error })
  if (isMillraceError(error) && error.code === 'NON_EMPTY_GROUP')
    throw new MillraceError(error.code, `${error.message}; stop its members first`, { cause: error })
  throw error
}
