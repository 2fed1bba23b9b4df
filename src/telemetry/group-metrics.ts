/** What /metrics?detail=groups adds: a series a group and topic, so it is only there for who asks. */
import { Gauge, Registry } from 'prom-client'

export interface GroupGauges {
  readonly group: string
  readonly members: number
  readonly topics: readonly { readonly topic: string; readonly lagRecords: number; readonly lagSeconds: number }[]
}

/** Prometheus text. */
export async function groupMetrics(groups: readonly GroupGauges[]): Promise<string> {
  const registry = new Registry()
  const registers = [registry]
  const labelNames = ['group', 'topic'] as const
  const members = new Gauge({
    name: 'millrace_group_members',
    help: 'members of the group',
    labelNames: ['group'],
    registers,
  })
  const records = new Gauge({
    name: 'millrace_group_lag_records',
    help: 'records that the group has not committed, over all partitions of the topic',
    labelNames,
    registers,
  })
  const seconds = new Gauge({
    name: 'millrace_group_lag_seconds',
    help: 'age of the oldest record that the group has not committed; 0 when there is none',
    labelNames,
    registers,
  })
  for (const { group, members: count, topics } of groups) {
    members.set({ group }, count)
    for (const { topic, lagRecords, lagSeconds } of topics) {
      records.set({ group, topic }, lagRecords)
      seconds.set({ group, topic }, lagSeconds)
    }
  }
  return registry.metrics()
}
