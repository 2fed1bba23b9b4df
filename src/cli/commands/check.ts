/** `millrace check HISTORY`: lost, doubled, reordered or uncommitted reads in a history of operations. */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { HistoryChecker } from '../../tools/check-history.ts'
import { HistoryError, type HistoryOperation, parseHistoryLine } from '../../tools/history.ts'
import { UsageError } from '../errors.ts'
import { checkedFile } from '../files.ts'
import type { GlobalOptions, Terminal } from '../terminal.ts'

export async function check(terminal: Terminal, _flags: GlobalOptions, path: string): Promise<void> {
  const checker = new HistoryChecker()
  let line = 0
  checkedFile('history', path)
  const input = createReadStream(path)
  const { signal } = terminal
  // The signal closes the interface, which ends the loop.
  for await (const text of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY, signal })) {
    line++
    const operation = operationAt(path, text, line)
    if (operation !== undefined) checker.add(operation)
  }
  input.destroy()
  signal.throwIfAborted()
  const verdict = checker.verdict()
  terminal.writeJson(verdict)
  if (!verdict.valid) throw new Error(`the history has ${verdict.anomalies.length} anomalies`)
}

function operationAt(path: string, text: string, line: number): HistoryOperation | undefined {
  try {
    return parseHistoryLine(text, line)
  } catch (error) {
    if (!(error instanceof HistoryError)) throw error
    throw new UsageError(`${path}: ${error.message}; a history is JSON lines, as src/tools/history.ts describes them`)
  }
}
