/** Reads a history from a file, as `millrace check` does. */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { type HistoryOperation, parseHistoryLine } from '../../../src/tools/history.ts'

export async function* readHistoryFile(file: string): AsyncGenerator<HistoryOperation> {
  let number = 0
  for await (const line of createInterface({ input: createReadStream(file) })) {
    const operation = parseHistoryLine(line, ++number)
    if (operation !== undefined) yield operation
  }
}
