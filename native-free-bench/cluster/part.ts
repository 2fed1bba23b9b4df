/** What a part of macro/cluster is given, and values that it gathers run by run. */
import type { BenchOptions } from '../harness/options.ts'
import type { Report } from '../harness/report.ts'
import { Values } from '../harness/values.ts'
import type { BenchCluster, Profile } from './bench-cluster.ts'
import { MachineLoad } from './machine-load.ts'

export interface PartContext {
  readonly cluster: BenchCluster
  readonly report: Report
  readonly options: BenchOptions
}

export interface Part {
  readonly name: string
  /** Of the brokers. */
  readonly profile: Profile
  run(context: PartContext): Promise<void>
}

export const RECORD_BYTES = 1024
export const MIB = 2 ** 20

/** `runs` times, one after the other; then what was gathered, and how busy the machine was. */
export async function repeat(
  { cluster, report }: PartContext,
  runs: number,
  body: (values: Values, run: number) => Promise<void>,
): Promise<void> {
  const values = new Values()
  const load = new MachineLoad({ ownCpu: () => sumOf(cluster.cpu()) })
  for (let run = 0; run < runs; run++) await load.during(() => body(values, run))
  values.tell(report)
  report.note(load.text())
}

export function sumOf(byNode: ReadonlyMap<number, number>): number {
  return [...byNode.values()].reduce((sum, value) => sum + value, 0)
}
