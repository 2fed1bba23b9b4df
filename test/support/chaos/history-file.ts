/** A history as a file of JSON lines: written by a workload, read as `millrace check` does. */
import { closeSync, createReadStream, openSync, writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { type HistoryOperation, parseHistoryLine } from '../../../src/tools/history.ts'

/** A line is on its way to the disk when `write` returns. */
export class HistoryWriter {
  readonly #file: number

  constructor(path: string) {
    this.#file = openSync(path, 'w')
  }

  write(line: Readonly<Record<string, unknown>>): void {
    writeSync(this.#file, `${JSON.stringify(line)}\n`)
  }

  close(): void {
    closeSync(this.#file)
  }
}

/** Producer and serial number of a value of the workload, which name the record: the rest is filler. */
export function nameOf(value: string): string {
  const [producer = '', serial] = value.split(':', 2)
  return serial === undefined ? producer : `${producer}:${serial}`
}

export async function* readHistoryFile(file: string): AsyncGenerator<HistoryOperation> {
  let number = 0
  for await (const line of createInterface({ input: createReadStream(file) })) {
    const operation = parseHistoryLine(line, ++number)
    if (operation !== undefined) yield operation
  }
}
