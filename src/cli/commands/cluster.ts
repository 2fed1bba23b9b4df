/** `millrace cluster info | brokers | shards | health`. */

import { type Client, type ClusterDescription, MillraceError } from '../../client/index.ts'
import { withClient } from '../connect.ts'
import { table } from '../table.ts'
import type { Terminal } from '../terminal.ts'
import { counted } from '../words.ts'

export type ClusterView = 'info' | 'brokers' | 'shards' | 'health'

/** What of a terminal a view needs. */
export type ViewOutput = Pick<Terminal, 'isJson' | 'writeJson' | 'writeLine' | 'signal'>

export function describeCluster(terminal: Terminal, view: ClusterView): Promise<void> {
  return withClient(terminal, (client) => showCluster(terminal, client, view))
}

export async function showCluster(output: ViewOutput, client: Client, view: ClusterView): Promise<void> {
  const cluster = await client.admin.describeCluster({ signal: output.signal })
  if (view === 'info') showInfo(output, cluster)
  else if (view === 'brokers') showBrokers(output, cluster)
  else if (view === 'shards')
    print(output, { ...SHARD_COLUMNS, PARTITIONS: 'partitions', ...STATE_COLUMNS }, shardsOf(cluster))
  else showHealth(output, cluster)
}

const INFO_WIDTH = 18

function showInfo(output: ViewOutput, { brokers, ...totals }: ClusterDescription): void {
  const rows = { ...totals, brokers: brokers.length }
  if (output.isJson) {
    output.writeJson(rows)
    return
  }
  const width = Math.max(INFO_WIDTH, ...Object.keys(rows).map(({ length }) => length))
  for (const [key, value] of Object.entries(rows))
    output.writeLine(`${key.padEnd(width)} ${key === 'controllerId' && value === -1 ? '-' : value}`)
}

function showBrokers(output: ViewOutput, { brokers, controllerId }: ClusterDescription): void {
  const rows = brokers.map((broker) => ({
    ...broker,
    shards: broker.shards.length,
    state: stateOf(broker, controllerId),
  }))
  print(output, BROKER_COLUMNS, rows)
}

function stateOf({ nodeId, isSilent, isStopping, isDecommissioned }: BrokerRow, controllerId: number): string {
  const faults = [
    ...(isSilent === true ? ['silent'] : []),
    ...(isStopping === true ? ['stopping'] : []),
    ...(isDecommissioned === true ? ['decommissioned'] : []),
  ]
  return [...(faults.length === 0 ? ['serving'] : faults), ...(nodeId === controllerId ? ['controller'] : [])].join(
    ', ',
  )
}

function showHealth(output: ViewOutput, cluster: ClusterDescription): void {
  const sick = shardsOf(cluster).filter(({ state, offlinePartitions }) => state !== 'serving' || offlinePartitions > 0)
  const reasons = reasonsOf(cluster, sick.length)
  const healthy = reasons.length === 0
  if (output.isJson) output.writeJson({ healthy, reasons, shards: sick })
  else if (healthy) output.writeLine('healthy')
  else {
    for (const reason of reasons) output.writeLine(reason)
    if (sick.length > 0) print(output, { ...SHARD_COLUMNS, ...STATE_COLUMNS }, sick)
  }
  if (healthy) return
  const all = shardsOf(cluster).length
  const text =
    sick.length > 0
      ? `${sick.length} of ${all} shards do not serve all their partitions`
      : 'the cluster is not healthy; millrace topic describe NAME shows leaders and in-sync replicas of a topic'
  throw new MillraceError(sick.length > 0 ? 'KAFKA_STORAGE_ERROR' : 'LEADER_NOT_AVAILABLE', text)
}

function reasonsOf(cluster: ClusterDescription, sickShards: number): string[] {
  const { brokers, controllerId, offlinePartitions } = cluster
  const { leaderlessPartitions = 0, underReplicatedPartitions = 0 } = cluster
  const silent = brokers.filter(({ isSilent }) => isSilent === true).map(({ nodeId }) => nodeId)
  const serving = shardsOf(cluster).length - sickShards
  return [
    ...(controllerId < 0 ? ['no broker controls the cluster'] : []),
    ...silent.map((nodeId) => `broker ${nodeId} does not answer`),
    ...(leaderlessPartitions > 0 ? [`${counted(leaderlessPartitions, 'partition')} without a leader`] : []),
    ...(offlinePartitions > 0 ? [`${counted(offlinePartitions, 'replica')} offline`] : []),
    ...(underReplicatedPartitions > 0
      ? [`${counted(underReplicatedPartitions, 'partition')} with fewer replicas in sync than there are`]
      : []),
    ...(sickShards > 0 ? [`${sickShards} of ${serving + sickShards} shards do not serve all their partitions`] : []),
  ]
}

type BrokerRow = ClusterDescription['brokers'][number]
type ShardRow = { readonly nodeId: number } & BrokerRow['shards'][number]

function shardsOf({ brokers }: ClusterDescription): ShardRow[] {
  return brokers.flatMap(({ nodeId, shards }) => shards.map((shard) => ({ nodeId, ...shard })))
}

/** Heading -> field. */
type Columns = Readonly<Record<string, string>>

const BROKER_COLUMNS: Columns = {
  ...{ NODE: 'nodeId', URL: 'url', RACK: 'rack', VERSION: 'version', INCARNATION: 'incarnation', SHARDS: 'shards' },
  ...{ LEADS: 'leads', REPLICAS: 'replicas', STATE: 'state' },
}
const SHARD_COLUMNS: Columns = { NODE: 'nodeId', SHARD: 'shard' }
const STATE_COLUMNS: Columns = { STATE: 'state', OFFLINE: 'offlinePartitions', REASON: 'reason' }

function print(output: ViewOutput, columns: Columns, rows: readonly object[]): void {
  if (output.isJson) {
    for (const row of rows) output.writeJson(row)
    return
  }
  const fields = Object.values(columns)
  const cells = rows.map((row) => fields.map((field) => cellOf((row as Record<string, unknown>)[field])))
  for (const line of table(Object.keys(columns), cells)) output.writeLine(line)
}

function cellOf(value: unknown): string | number {
  return typeof value === 'number' ? value : value === null || value === undefined ? '-' : String(value)
}
