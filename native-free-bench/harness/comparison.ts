/**
 * Comparison of two documents that `npm run bench -- … --out FILE` wrote: each figure's ratio, turned so that more than 1 is
 * better, and whether the runs' ranges overlap: where they do, the difference may be noise.
 */
import type { Figure } from './report.ts'

export interface BenchDocument {
  readonly machine: Readonly<Record<string, unknown>>
  readonly isSmoke: boolean
  readonly figures: readonly Figure[]
}

export interface ComparedFigure {
  readonly name: string
  readonly unit: string
  readonly baseline: number
  readonly run: number
  /** Of the medians; above 1 is better. */
  readonly ratio: number
  readonly isNoise: boolean
}

export interface Comparison {
  readonly figures: readonly ComparedFigure[]
  /** In the run alone, in the baseline alone. */
  readonly added: readonly string[]
  readonly missing: readonly string[]
  /** Fields of the machine that differ: ratios then say little. */
  readonly machines: readonly string[]
}

/** What makes two machines comparable. */
const MACHINE_FIELDS = ['node', 'cpu', 'cores', 'memoryGib', 'fileSystem'] as const

/** Throws where the text is not such a document. */
export function parseDocument(name: string, text: string): BenchDocument {
  let value: Partial<BenchDocument>
  try {
    value = JSON.parse(text) as Partial<BenchDocument>
  } catch (error) {
    throw new Error(`${name} is not JSON: ${(error as Error).message}`)
  }
  if (typeof value !== 'object' || value === null || !Array.isArray(value.figures) || value.machine === undefined)
    throw new Error(`${name} has no machine and figures: npm run bench -- … --out FILE writes such a file`)
  return value as BenchDocument
}

export function compare(baseline: BenchDocument, run: BenchDocument): Comparison {
  const before = byName(baseline)
  const after = byName(run)
  const figures: ComparedFigure[] = []
  for (const [name, figure] of after) {
    const old = before.get(name)
    if (old !== undefined) figures.push(compareFigure(name, old, figure))
  }
  return {
    figures,
    added: [...after.keys()].filter((name) => !before.has(name)),
    missing: [...before.keys()].filter((name) => !after.has(name)),
    machines: MACHINE_FIELDS.filter((field) => baseline.machine[field] !== run.machine[field]),
  }
}

function byName(document: BenchDocument): Map<string, Figure> {
  return new Map(document.figures.map((figure) => [`${figure.bench} ${figure.figure}`, figure]))
}

function compareFigure(name: string, old: Figure, now: Figure): ComparedFigure {
  const [more, less] = now.better === 'higher' ? [now.median, old.median] : [old.median, now.median]
  const ratio = more === less ? 1 : more / less
  const isNoise = now.min <= old.max && old.min <= now.max
  return { name, unit: now.unit, baseline: old.median, run: now.median, ratio, isNoise }
}

/** What got worse than `below` beyond the noise. */
export function worseThan(comparison: Comparison, below: number): readonly ComparedFigure[] {
  return comparison.figures.filter(({ ratio, isNoise }) => !isNoise && ratio < below)
}
