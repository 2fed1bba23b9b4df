/** What the three durability prototypes share: a folder, percentiles, and how a figure is written. */
import { mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { join } from 'node:path'

/** Runs `body` in a new folder under --dir (default: the system's), which is removed afterwards. */
export async function inBenchFolder(body: (folder: string) => void | Promise<void>): Promise<void> {
  const at = process.argv.indexOf('--dir')
  const parent = at > 0 ? process.argv[at + 1]! : tmpdir()
  const folder = mkdtempSync(join(parent, 'millrace-durability-'))
  const type = statfsSync(folder).type
  console.log(
    `node ${process.version}, ${availableParallelism()} × ${cpus()[0]?.model ?? 'unknown cpu'}, file system 0x${type.toString(16)}`,
  )
  try {
    await body(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** A quick run for CI: does it work at all. */
export const isSmoke = process.argv.includes('--smoke')

export function percentile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((left, right) => left - right)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

/** Median with min–max of the rounds. */
export function overRounds(values: readonly number[], digits = 2): string {
  const show = (value: number): string => value.toFixed(digits)
  return `${show(percentile(values, 0.5))} (${show(Math.min(...values))}–${show(Math.max(...values))})`
}

export function printTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = head.map((cell, column) => Math.max(cell.length, ...rows.map((row) => row[column]!.length)))
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`
  console.log(line(head))
  console.log(`|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`)
  for (const row of rows) console.log(line(row))
}
