/** `millrace cluster info | brokers | shards | health`. */

import { MillraceError } from '../../model/errors.ts'
import { withClient } from '../connect.ts'
import { table } from '../table.ts'
import type { Terminal } from '../terminal.ts'

export type ClusterView = 'info' | 'brokers' | 'shards' | 'health'

export async function describeCluster(terminal: Terminal, view: ClusterView): Promise<void> {
  await withClient(terminal, async (client) => {
    const cluster = await client.admin.describeCluster({ signal: terminal.signal })
    const { brokers, ...totals } = cluster
    const shards = brokers.flatMap((broker) => broker.shards.map((shard) => ({ nodeId: broker.nodeId, ...shard })))
    const sick = shards.filter((shard) => shard.state !== 'serving' || shard.offlinePartitions > 0)
    if (view === 'info') {
      if (terminal.isJson) terminal.writeJson(totals)
      else for (const [key, value] of Object.entries(totals)) terminal.writeLine(`${key.padEnd(18)} ${value}`)
    } else if (view === 'brokers') {
      const rows = brokers.map((broker) => ({ ...broker, shards: broker.shards.length }))
      print(terminal, { NODE: 'nodeId', URL: 'url', INCARNATION: 'incarnation', SHARDS: 'shards' }, rows)
    } else if (view === 'shards') {
      print(terminal, { ...SHARD_COLUMNS, PARTITIONS: 'partitions', ...STATE_COLUMNS }, shards)
    } else {
      if (terminal.isJson) terminal.writeJson({ healthy: sick.length === 0, shards: sick })
      else if (sick.length === 0) terminal.writeLine('healthy')
      if (sick.length > 0) {
        if (!terminal.isJson) print(terminal, { ...SHARD_COLUMNS, ...STATE_COLUMNS }, sick)
        throw new MillraceError(
          'KAFKA_STORAGE_ERROR',
          `${sick.length} of ${shards.length} shards do not serve all their partitions`,
        )
      }
    }
  })
}

/** Heading -> field. */
type Columns = Readonly<Record<string, string>>

const SHARD_COLUMNS: Columns = { NODE: 'nodeId', SHARD: 'shard' }
const STATE_COLUMNS: Columns = { STATE: 'state', OFFLINE: 'offlinePartitions', REASON: 'reason' }

function print(terminal: Terminal, columns: Columns, rows: readonly object[]): void {
  if (terminal.isJson) {
    for (const row of rows) terminal.writeJson(row)
    return
  }
  const fields = Object.values(columns)
  const cells = rows.map((row) => fields.map((field) => cellOf((row as Record<string, unknown>)[field])))
  for (const line of table(Object.keys(columns), cells)) terminal.writeLine(line)
}

function cellOf(value: unknown): string | number {
  return typeof value === 'number' ? value : value === null || value === undefined ? '-' : String(value)
}
