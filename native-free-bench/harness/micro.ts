/**
 * Micro benches on tinybench: what one operation of one part costs. A task does so many operations in one call, because most take
 * less than the clock; the median call of each run counts.
 */
import { Bench } from 'tinybench'
import type { BenchOptions } from './options.ts'
import type { Report } from './report.ts'
import { spreadOf } from './statistics.ts'

export interface MicroTask {
  readonly name: string
  /** What `run` does in one call. */
  readonly operations: number
  /** Bytes that one operation deals with; 0 = nothing that is counted in bytes. */
  readonly bytes: number
  readonly run: () => void
}

const FULL_MS = 500
const SMOKE_MS = 20

export async function runMicro(report: Report, options: BenchOptions, tasks: readonly MicroTask[]): Promise<void> {
  const runs = options.number('runs', 5, 1)
  const time = options.number('milliseconds', FULL_MS, SMOKE_MS)
  const costs = new Map<MicroTask, number[]>(tasks.map((task) => [task, []]))
  for (let run = 0; run < runs; run++) for (const task of tasks) costs.get(task)!.push(await costOf(task, time))
  for (const [task, ns] of costs) {
    report.figure(task.name, ns, { unit: 'ns/op', better: 'lower' })
    const { median } = spreadOf(ns)
    const mib = task.bytes === 0 ? '' : `, ${((task.bytes / median) * (1e9 / 2 ** 20)).toFixed(0)} MiB/s`
    report.note(`    ${Math.round(1e9 / median).toLocaleString('en')} ops/s${mib}`)
  }
}

/** Nanoseconds of one operation. */
async function costOf(task: MicroTask, time: number): Promise<number> {
  const bench = new Bench({ time, warmupTime: time / 5, throws: true })
  bench.add(task.name, task.run)
  const [done] = await bench.run()
  const result = done?.result
  if (result?.state !== 'completed') throw new Error(`${task.name}: ${result?.state ?? 'did not run'}`)
  return (result.latency.p50 * 1e6) / task.operations
}
