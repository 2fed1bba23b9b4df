/**
 * Report: what a bench found, for people as text, for programs as JSON lines (`--json`), and for a later comparison appended
 * to a file (`--figures FILE`).
 *
 *   result  of one run of records: its fixed fields, checked
 *   figure  one number worth comparing, over the runs: median, min, max
 *   note    a sentence
 */
import { appendFileSync } from 'node:fs'
import type { BenchResult } from '../../src/cli/bench/bench-result.ts'
import { checkResult } from './check-result.ts'
import type { BenchOptions } from './options.ts'
import { type Spread, spreadOf, spreadText } from './statistics.ts'

export interface Figure extends Spread {
  readonly bench: string
  readonly figure: string
  readonly unit: string
  readonly better: 'higher' | 'lower'
  readonly values: readonly number[]
}

export interface FigureOptions {
  readonly unit: string
  readonly better: 'higher' | 'lower'
  readonly digits?: number
}

const NAME_CHARS = 58

export class Report {
  readonly #bench: string
  readonly #isJson: boolean
  readonly #file: string
  readonly #write: (line: string) => void

  constructor(bench: string, options: BenchOptions, write: (line: string) => void = console.log) {
    this.#bench = bench
    this.#isJson = options.json
    this.#file = options.text('figures', '')
    this.#write = write
  }

  /** Throws when it is not what a working bench reports. */
  result(name: string, result: BenchResult): void {
    checkResult(result)
    if (this.#isJson) this.#write(JSON.stringify({ bench: this.#bench, result: name, ...result }))
  }

  /** `values` has one number a run. */
  figure(name: string, values: readonly number[], { unit, better, digits = 1 }: FigureOptions): void {
    if (values.length === 0) throw new Error(`${name}: no run gave a value`)
    const wrong = values.find((value) => !Number.isFinite(value))
    if (wrong !== undefined) throw new Error(`${name}: ${wrong} is no figure`)
    const spread = spreadOf(values)
    const figure: Figure = { bench: this.#bench, figure: name, unit, better, ...spread, values }
    if (this.#file !== '') appendFileSync(this.#file, `${JSON.stringify(figure)}\n`)
    if (this.#isJson) this.#write(JSON.stringify(figure))
    else this.#write(`  ${name.padEnd(NAME_CHARS)} ${spreadText(spread, digits)} ${unit}`)
  }

  note(text: string): void {
    if (this.#isJson) this.#write(JSON.stringify({ bench: this.#bench, note: text }))
    else this.#write(text)
  }
}
