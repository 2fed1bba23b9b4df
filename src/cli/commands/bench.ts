/** `millrace bench produce | consume | latency | shards`: measures a running broker from here, with a topic of its own. */

import type { Client } from '../../client/index.ts'
import { type BenchFlags, type BenchKind, benchPlanOf, unusedFlags } from '../bench/bench-plan.ts'
import type { BenchReport } from '../bench/bench-target.ts'
import { runBench } from '../bench/run-bench.ts'
import { withClient } from '../connect.ts'
import type { GlobalOptions, Terminal } from '../terminal.ts'

export async function bench(terminal: Terminal, flags: BenchFlags & GlobalOptions, kind: BenchKind): Promise<void> {
  const plan = benchPlanOf(kind, flags)
  for (const flag of unusedFlags(kind, flags)) terminal.say(`${flag}: bench ${kind} has no use for it`)
  const { server: url, token, signal } = terminal
  await withClient(terminal, async (client) => {
    if (plan.profile !== undefined) await tellOtherProfile(terminal, plan.profile, client)
    await runBench({ client, url, token, signal }, plan, (report) => {
      if (terminal.isJson) terminal.writeJson(report)
      else for (const line of linesOf(report)) terminal.writeLine(line)
    })
  })
}

/** A profile has two ends; this one tunes its own. */
async function tellOtherProfile(terminal: Terminal, asked: string, client: Client) {
  const theirs = (await client.admin.describeCluster({ signal: terminal.signal })).brokers[0]?.profile
  if (theirs === undefined || theirs === asked) return
  terminal.say(`the broker runs with profile ${theirs}: --profile ${asked} tunes only the clients measured here`)
}

const NOT_SHOWN = ['records', 'bytes', 'seconds', 'recordsPerSec', 'mibPerSec', 'p50Ms', 'p99Ms', 'p999Ms', 'maxMs']

function linesOf(report: BenchReport): string[] {
  const { records, seconds, recordsPerSec, mibPerSec, p50Ms, p99Ms, p999Ms, maxMs } = report
  const count = (value: number): string => Math.round(value).toLocaleString('en')
  const ms = (value: number): string => value.toFixed(3)
  const details = Object.entries(report)
    .filter(([name]) => !NOT_SHOWN.includes(name))
    .map(([name, value]) => `${name} ${detailOf(value)}`)
  return [
    `${count(records)} records in ${seconds.toFixed(2)} s: ${count(recordsPerSec)} records/s, ${mibPerSec.toFixed(1)} MiB/s`,
    `  ms: p50 ${ms(p50Ms)}, p99 ${ms(p99Ms)}, p99.9 ${ms(p999Ms)}, max ${ms(maxMs)}`,
    `  ${details.join(', ')}`,
  ]
}

function detailOf(value: unknown): string {
  if (Array.isArray(value)) return value.map(detailOf).join('/')
  return typeof value === 'number' && !Number.isInteger(value) ? value.toFixed(3) : String(value)
}
