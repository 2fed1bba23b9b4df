/**
 * `millrace check HISTORY [--max N] [--ww]`: what is wrong with a history of operations (docs/history.md). Counts by kind and
 * the first anomalies go to stdout, with --json the whole verdict; exit code 1 when the history is not valid.
 */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { ANOMALIES, type Anomaly, type AnomalyKind } from '../../tools/anomaly.ts'
import { HistoryChecker, type HistoryVerdict } from '../../tools/check-history.ts'
import { HistoryError, parseHistoryLine } from '../../tools/history.ts'
import { integerOf } from '../arguments.ts'
import { UsageError } from '../errors.ts'
import { checkedFile } from '../files.ts'
import { table } from '../table.ts'
import type { GlobalOptions, Terminal } from '../terminal.ts'
import { counted } from '../words.ts'

const SHOWN_MAX = '20'

export async function check(
  terminal: Terminal,
  flags: GlobalOptions & { readonly max?: string; readonly ww?: boolean },
  path: string,
): Promise<void> {
  const shownMax = integerOf('--max', flags.max ?? SHOWN_MAX, 0)
  const checker = new HistoryChecker({ isWriteOrderCounted: flags.ww === true })
  let line = 0
  checkedFile('history', path)
  const input = createReadStream(path)
  const { signal } = terminal
  // The signal closes the interface, which ends the loop.
  for await (const text of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY, signal }))
    addLine(checker, { path, text, line: ++line })
  input.destroy()
  signal.throwIfAborted()
  const verdict = checker.verdict()
  if (terminal.isJson) terminal.writeJson(verdict)
  else writeVerdict(terminal, verdict, shownMax)
  if (!verdict.valid) throw new Error(`the history has ${counted(fatalCount(verdict), 'anomaly', 'anomalies')}`)
  terminal.say(verdict.anomalies.length === 0 ? 'valid' : 'valid as far as it goes')
}

function addLine(checker: HistoryChecker, { path, text, line }: { path: string; text: string; line: number }): void {
  try {
    const operation = parseHistoryLine(text, line)
    if (operation !== undefined) checker.add(operation)
  } catch (error) {
    if (!(error instanceof HistoryError)) throw error
    throw new UsageError(`${path}: ${error.message}; a history is JSON lines, as docs/history.md describes them`)
  }
}

function fatalCount({ anomalies }: HistoryVerdict): number {
  return anomalies.filter(({ fatal }) => fatal).length
}

function writeVerdict(terminal: Terminal, verdict: HistoryVerdict, shownMax: number): void {
  const { sends, acknowledged, failed, unknown, polled, transactions, anomalies } = verdict
  const { committed, aborted, unknown: inDoubt, open } = transactions
  terminal.say(
    `${counted(sends, 'record')} sent (${acknowledged} acknowledged, ${failed} failed, ${unknown} in doubt), ${polled} read`,
  )
  const begun = committed + aborted + inDoubt + open
  if (begun > 0)
    terminal.say(
      `${counted(begun, 'transaction')} (${committed} committed, ${aborted} aborted, ${inDoubt} in doubt, ${open} open)`,
    )
  if (anomalies.length === 0) return
  const counts = Object.entries(verdict.counts) as [AnomalyKind, number][]
  for (const row of table(
    ['count', 'anomaly', 'meaning'],
    counts.map(([kind, count]) => [count, kind, ANOMALIES[kind]]),
  ))
    terminal.writeLine(row)
  for (const anomaly of anomalies.slice(0, shownMax)) terminal.writeLine(textOf(anomaly))
  if (anomalies.length > shownMax) terminal.say(`and ${anomalies.length - shownMax} more: --max shows them`)
}

function textOf({ kind, line, topic, partition, offset, text }: Anomaly): string {
  const at = offset < 0 ? '' : `@${offset}`
  return `line ${line}: ${kind} ${topic}-${partition}${at}: ${text}`
}
