/**
 * `millrace cluster reassign | rebalance | decommission | moves | elect`: where replicas lie and who leads. Each command's second half
 * takes a client, so that it runs against any.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Client,
  MillraceError,
  type MovePlan,
  type PartitionByName,
  type ReassignmentWish,
} from '../../client/index.ts'
import { integerOf } from '../arguments.ts'
import { withClient } from '../connect.ts'
import { UsageError } from '../errors.ts'
import { checkedFile } from '../files.ts'
import { type PlanOutput, printPlan, rotated, wishesOf } from '../move-plan.ts'
import { Progress } from '../progress.ts'
import { table } from '../table.ts'
import type { GlobalOptions, Terminal } from '../terminal.ts'
import { counted } from '../words.ts'

/** What of a terminal these commands need. */
export type MoveOutput = PlanOutput & Pick<Terminal, 'signal' | 'progressStream'>

export interface MoveFlags extends GlobalOptions {
  readonly dryRun?: boolean
  readonly wait?: boolean
}

export interface ReassignFlags extends MoveFlags {
  readonly topic?: string
  readonly partition?: string
  readonly replicas?: string
  readonly plan?: string
  readonly cancel?: boolean
}

export interface DecommissionFlags extends MoveFlags {
  readonly undo?: boolean
}

export interface ElectFlags extends GlobalOptions {
  readonly topic?: string
  readonly partition?: string
}

const LOOK_MS = 500

export function reassign(terminal: Terminal, flags: ReassignFlags): Promise<void> {
  checkReassign(flags)
  return withClient(terminal, (client) => reassignWith(terminal, client, flags))
}

export function rebalance(terminal: Terminal, flags: MoveFlags): Promise<void> {
  return withClient(terminal, (client) => rebalanceWith(terminal, client, flags))
}

export function decommission(terminal: Terminal, flags: DecommissionFlags, node: string): Promise<void> {
  const nodeId = integerOf('NODE', node, 0)
  return withClient(terminal, (client) => decommissionWith(terminal, client, flags, nodeId))
}

export function moves(terminal: Terminal): Promise<void> {
  return withClient(terminal, (client) => movesWith(terminal, client))
}

export function elect(terminal: Terminal, flags: ElectFlags): Promise<void> {
  if (flags.partition !== undefined && flags.topic === undefined)
    throw new UsageError('cluster elect: --partition needs --topic')
  return withClient(terminal, (client) => electWith(terminal, client, flags))
}

/** What the flags cannot mean together. */
function checkReassign({ topic, partition, replicas, plan, cancel, dryRun, wait }: ReassignFlags): void {
  const usage = (text: string) => new UsageError(`cluster reassign: ${text}`)
  if (partition !== undefined && topic === undefined) throw usage('--partition needs --topic')
  if (cancel === true) {
    if (replicas !== undefined || plan !== undefined || dryRun === true || wait === true)
      throw usage('--cancel takes --topic and --partition, and nothing else')
    return
  }
  if (plan !== undefined && replicas !== undefined) throw usage('give --plan or --replicas, not both')
  if (plan === undefined && (topic === undefined || replicas === undefined))
    throw usage(
      'give --topic and --replicas, or --plan, or --cancel; millrace cluster rebalance makes a plan of its own',
    )
}

export async function reassignWith(output: MoveOutput, client: Client, flags: ReassignFlags): Promise<void> {
  const { signal } = output
  const { cluster } = client.admin
  if (flags.cancel === true) {
    const outcome = await cluster.cancelMoves(await partitionsMeant(client, flags, signal), { signal })
    tellChanged(output, outcome, 'cancelled', 'moves taken back')
    return
  }
  const wishes = await wishesMeant(client, flags, signal)
  const plan = await cluster.reassign(wishes, { dryRun: flags.dryRun === true, signal })
  await carriedOut(output, client, plan, flags)
}

export async function rebalanceWith(output: MoveOutput, client: Client, flags: MoveFlags): Promise<void> {
  const plan = await client.admin.cluster.rebalance({ dryRun: flags.dryRun === true, signal: output.signal })
  await carriedOut(output, client, plan, flags)
}

export async function decommissionWith(
  output: MoveOutput,
  client: Client,
  flags: DecommissionFlags,
  nodeId: number,
): Promise<void> {
  const { signal } = output
  const { cluster } = client.admin
  if (flags.undo === true) {
    if (flags.dryRun !== true) await cluster.recommission(nodeId, { signal })
    if (output.isJson) output.writeJson({ nodeId, decommissioned: false })
    else output.say(`broker ${nodeId} takes replicas again; millrace cluster rebalance gives it its share`)
    return
  }
  const plan = await cluster.decommission(nodeId, { dryRun: flags.dryRun === true, signal })
  printPlan(output, plan)
  if (flags.dryRun === true) {
    tellDryRun(output, plan)
    return
  }
  if (plan.left.length > 0 && flags.wait === true)
    throw new MillraceError(
      'INVALID_REPLICA_ASSIGNMENT',
      `${counted(plan.left.length, 'partition')} cannot leave broker ${nodeId}: add a broker, or give them fewer replicas`,
    )
  if (flags.wait === true) await emptied(output, client, nodeId)
  else output.say(`broker ${nodeId} is being emptied; millrace cluster moves shows what moves now`)
}

export async function movesWith(output: PlanOutput & Pick<Terminal, 'signal'>, client: Client): Promise<void> {
  const list = await client.admin.cluster.moves({ signal: output.signal })
  if (output.isJson) for (const move of list) output.writeJson(move)
  else if (list.length === 0) output.say('nothing moves')
  if (output.isJson || list.length === 0) return
  const heads = ['TOPIC', 'PARTITION', 'LEADER', 'TO', 'ADDING', 'REMOVING', 'CAUGHT-UP']
  const rows = list.map(({ topic, partition, replicas, adding, removing, inSync, leader }) => [
    ...[topic, partition, leader < 0 ? '-' : leader],
    ...[listed(replicas.filter((nodeId) => !removing.includes(nodeId))), listed(adding), listed(removing)],
    `${adding.filter((nodeId) => inSync.includes(nodeId)).length} of ${adding.length}`,
  ])
  for (const line of table(heads, rows)) output.writeLine(line)
}

export async function electWith(
  output: PlanOutput & Pick<Terminal, 'signal'>,
  client: Client,
  flags: ElectFlags,
): Promise<void> {
  const { signal } = output
  const outcome = await client.admin.cluster.electPreferred(await partitionsMeant(client, flags, signal), { signal })
  tellChanged(output, outcome, 'elected', 'leaderships given back to preferred replicas')
}

/** The partitions that --topic and --partition name; undefined = all there are. */
async function partitionsMeant(
  client: Client,
  { topic, partition }: ElectFlags,
  signal: AbortSignal,
): Promise<PartitionByName[] | undefined> {
  if (topic === undefined) return undefined
  if (partition !== undefined) return [{ topic, partition: integerOf('--partition', partition, 0) }]
  const { partitions } = await client.admin.topics.describe(topic, { signal })
  return partitions.map(({ partition: number }) => ({ topic, partition: number }))
}

async function wishesMeant(client: Client, flags: ReassignFlags, signal: AbortSignal): Promise<ReassignmentWish[]> {
  const { topic, partition, replicas, plan } = flags
  if (plan !== undefined) {
    checkedFile('--plan', plan)
    const wishes = wishesOf(readFileSync(plan, 'utf8'))
    const isMeant = (wish: ReassignmentWish) =>
      (topic === undefined || wish.topic === topic) &&
      (partition === undefined || wish.partition === integerOf('--partition', partition, 0))
    return wishes.filter(isMeant)
  }
  const nodes = replicas!.split(',').map((text) => integerOf('--replicas', text.trim(), 0))
  const meant = (await partitionsMeant(client, flags, signal))!
  if (partition !== undefined) return meant.map((one) => ({ ...one, replicas: nodes }))
  return meant.map((one) => ({ ...one, replicas: rotated(nodes, one.partition) }))
}

/** Prints the plan; waits for the moves that have begun, if that is asked for. */
async function carriedOut(output: MoveOutput, client: Client, plan: MovePlan, flags: MoveFlags): Promise<void> {
  printPlan(output, plan)
  const count = plan.moves.length
  if (count === 0) output.say('nothing has to move')
  else if (flags.dryRun === true) tellDryRun(output, plan)
  else if (flags.wait !== true)
    output.say(`${counted(count, 'move')} begun; millrace cluster moves shows how far they are`)
  else await moved(output, client, plan.moves)
}

function tellDryRun(output: MoveOutput, { moves: { length } }: MovePlan): void {
  output.say(
    length === 0 ? 'nothing has to move' : `${counted(length, 'move')} planned; nothing is changed (--dry-run)`,
  )
}

/** Until none of these partitions moves any more. */
async function moved(output: MoveOutput, client: Client, plan: readonly PartitionByName[]): Promise<void> {
  const meant = new Set(plan.map(nameOf))
  await waitFor(output, plan.length, async () => {
    const now = await client.admin.cluster.moves({ signal: output.signal })
    return now.filter((move) => meant.has(nameOf(move))).length
  })
  output.say(`${counted(plan.length, 'move')} done`)
}

/** Until no replica of a broker is left: none moves, and none would have to. */
async function emptied(output: MoveOutput, client: Client, nodeId: number): Promise<void> {
  const { signal } = output
  const { cluster } = client.admin
  const left = async () => {
    const [now, plan] = await Promise.all([
      cluster.moves({ signal }),
      cluster.decommission(nodeId, { dryRun: true, signal }),
    ])
    return now.filter(({ removing }) => removing.includes(nodeId)).length + plan.moves.length + plan.left.length
  }
  await waitFor(output, await left(), left)
  output.say(`broker ${nodeId} has no replicas any more: it can be stopped for good`)
}

/** Looks again and again until nothing is left, twice in a row: between a plan and the look after it a move may be in neither. */
async function waitFor(output: MoveOutput, total: number, left: () => Promise<number>): Promise<void> {
  const progress = await Progress.start(output.progressStream, { what: 'moving', total, units: 'partitions' })
  try {
    let shown = 0
    for (let done = 0; done < 2; ) {
      const count = await left()
      done = count === 0 ? done + 1 : 0
      progress.add(Math.max(0, total - count) - shown)
      shown = Math.max(0, total - count)
      if (done < 2) await sleep(LOOK_MS, undefined, { signal: output.signal })
    }
  } finally {
    progress.end()
  }
}

function tellChanged(
  output: PlanOutput,
  { changed, left }: Awaited<ReturnType<Client['admin']['cluster']['cancelMoves']>>,
  word: string,
  what: string,
): void {
  if (output.isJson) {
    for (const { topic, partition } of changed) output.writeJson({ topic, partition, [word]: true })
    for (const { topic, partition, reason } of left) output.writeJson({ topic, partition, [word]: false, reason })
    return
  }
  for (const one of changed) output.writeLine(nameOf(one))
  for (const one of left) output.say(`${nameOf(one)} is left as it is: ${one.reason}`)
  output.say(`${changed.length} ${what}`)
}

function nameOf({ topic, partition }: PartitionByName): string {
  return `${topic}/${partition}`
}

function listed(nodes: readonly number[]): string {
  return nodes.length === 0 ? '-' : nodes.join(',')
}
