/**
 * Move plans as people and files have them: a table, or JSON lines that `--plan` reads back: {"topic", "partition", "from", "to"} a move,
 * {"topic", "partition", "reason"} a partition that should move and cannot.
 *
 * Failure  a line that is no wish: UsageError with its number
 */
import type { MovePlan, ReassignmentWish } from '../client/index.ts'
import { UsageError } from './errors.ts'
import { table } from './table.ts'
import type { Terminal } from './terminal.ts'

/** What of a terminal a plan needs. */
export type PlanOutput = Pick<Terminal, 'isJson' | 'writeJson' | 'writeLine' | 'say'>

export function printPlan(output: PlanOutput, { moves, left }: MovePlan): void {
  if (output.isJson) {
    for (const { topic, partition, from, to } of moves) output.writeJson({ topic, partition, from, to })
    for (const { topic, partition, reason } of left) output.writeJson({ topic, partition, reason })
    return
  }
  const rows = moves.map(({ topic, partition, from, to }) => [topic, partition, from.join(','), to.join(',')])
  if (rows.length > 0) for (const line of table(['TOPIC', 'PARTITION', 'FROM', 'TO'], rows)) output.writeLine(line)
  for (const { topic, partition, reason } of left) output.say(`${topic}/${partition} stays: ${reason}`)
}

/** The wishes of a plan's lines; those that only say why a partition stays are passed over. */
export function wishesOf(text: string): ReassignmentWish[] {
  return text.split('\n').flatMap((line, index) => {
    if (line.trim() === '') return []
    const wish = wishOf(line)
    if (wish === undefined)
      throw new UsageError(
        `--plan: line ${index + 1} is no move: expected {"topic": "…", "partition": 0, "to": [1, 2]}, as a dry run with --json prints`,
      )
    return wish === 'stays' ? [] : wish
  })
}

function wishOf(line: string): ReassignmentWish | 'stays' | undefined {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const { topic, partition, to, replicas = to, reason } = value as Readonly<Record<string, unknown>>
  if (typeof topic !== 'string' || !isNodeId(partition)) return undefined
  if (replicas === undefined) return typeof reason === 'string' ? 'stays' : undefined
  if (!Array.isArray(replicas) || replicas.length === 0 || !replicas.every(isNodeId)) return undefined
  return { topic, partition, replicas }
}

function isNodeId(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

/** For each partition the same brokers, beginning with the next one: so each of them leads its share. */
export function rotated(replicas: readonly number[], partition: number): number[] {
  const first = partition % replicas.length
  return [...replicas.slice(first), ...replicas.slice(0, first)]
}
