/**
 * History: what clients did and saw, one operation a JSON line, in the order in which it happened. Written by the
 * simulator, the crash suites and users' own tests; judged by check-history.
 *
 * Every operation is two lines of one process: `invoke`, then `ok` (it happened), `fail` (it did not happen) or `info`
 * (nobody knows: timeout, crash). One that is never closed counts as `info`. A process sends and reads in the order of its
 * lines; it may have several sends open, whose answers come in that order.
 *
 *   {"process":1,"type":"invoke","f":"send","records":[{"topic":"t","partition":0,"value":"v1"}]}
 *   {"process":1,"type":"ok","f":"send","records":[{"topic":"t","partition":0,"offset":7,"value":"v1"}]}
 *   {"process":2,"type":"ok","f":"assign","positions":[{"topic":"t","partition":0,"offset":0}]}
 *   {"process":2,"type":"ok","f":"poll","records":[{"topic":"t","partition":0,"offset":7,"value":"v1"}],"final":true}
 *
 * Rules       values are unique over a history: they name the record. `assign` sets a reader's positions (also a seek).
 *             `final` marks the polls that read everything to the end after all faults were healed.
 * Failure     parseHistory throws HistoryError naming the line
 */

export interface HistoryRecord {
  readonly topic: string
  readonly partition: number
  /** Absent before it is known. */
  readonly offset?: number
  readonly value: string
}

export interface HistoryPosition {
  readonly topic: string
  readonly partition: number
  readonly offset: number
}

interface OperationBase {
  readonly process: number
  readonly type: 'invoke' | 'ok' | 'fail' | 'info'
  /** Where in the history, 1 = first line. */
  readonly line: number
}

export interface SendOperation extends OperationBase {
  readonly f: 'send'
  readonly records: readonly HistoryRecord[]
}

export interface PollOperation extends OperationBase {
  readonly f: 'poll'
  readonly records: readonly HistoryRecord[]
  readonly final: boolean
}

export interface AssignOperation extends OperationBase {
  readonly f: 'assign'
  readonly positions: readonly HistoryPosition[]
}

export type HistoryOperation = SendOperation | PollOperation | AssignOperation

export class HistoryError extends Error {
  override readonly name = 'HistoryError'
}

const TYPES = ['invoke', 'ok', 'fail', 'info']

/** One line of a history. Empty lines answer undefined. */
export function parseHistoryLine(text: string, line: number): HistoryOperation | undefined {
  if (text.trim() === '') return undefined
  let raw: unknown
  try {
    raw = JSON.parse(text)
  } catch {
    throw new HistoryError(`line ${line}: not JSON`)
  }
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw))
    throw new HistoryError(`line ${line}: not a JSON object`)
  const fields = raw as Record<string, unknown>
  const { process, type, f } = fields
  if (!Number.isSafeInteger(process)) throw new HistoryError(`line ${line}: 'process' is not an integer`)
  if (typeof type !== 'string' || !TYPES.includes(type))
    throw new HistoryError(`line ${line}: 'type' is not one of ${TYPES.join(', ')}`)
  const base = { process: process as number, type: type as OperationBase['type'], line }
  if (f === 'send') return { ...base, f, records: parseRecords(fields.records, line, 'offset may be missing') }
  if (f === 'poll') {
    const needsOffset = type === 'ok' ? 'offset needed' : 'offset may be missing'
    return { ...base, f, records: parseRecords(fields.records ?? [], line, needsOffset), final: fields.final === true }
  }
  if (f === 'assign') return { ...base, f, positions: parsePositions(fields.positions, line) }
  throw new HistoryError(`line ${line}: 'f' is not one of send, poll, assign`)
}

/** A whole history. */
export function parseHistory(text: string): HistoryOperation[] {
  return text
    .split('\n')
    .map((line, index) => parseHistoryLine(line, index + 1))
    .filter((operation) => operation !== undefined)
}

function parseRecords(raw: unknown, line: number, offsets: 'offset needed' | 'offset may be missing'): HistoryRecord[] {
  if (!Array.isArray(raw)) throw new HistoryError(`line ${line}: 'records' is not an array`)
  return raw.map((entry: unknown, index) => {
    const where = `line ${line}: records[${index}]`
    const place = parsePlace(entry, where)
    const { offset, value } = entry as Record<string, unknown>
    if (typeof value !== 'string') throw new HistoryError(`${where}: 'value' is not a string`)
    if (offset === undefined && offsets === 'offset may be missing') return { ...place, value }
    return { ...place, value, offset: parseOffset(offset, where) }
  })
}

function parsePositions(raw: unknown, line: number): HistoryPosition[] {
  if (!Array.isArray(raw)) throw new HistoryError(`line ${line}: 'positions' is not an array`)
  return raw.map((entry: unknown, index) => {
    const where = `line ${line}: positions[${index}]`
    return { ...parsePlace(entry, where), offset: parseOffset((entry as Record<string, unknown>).offset, where) }
  })
}

function parsePlace(entry: unknown, where: string): { topic: string; partition: number } {
  if (typeof entry !== 'object' || entry === null) throw new HistoryError(`${where}: not an object`)
  const { topic, partition } = entry as Record<string, unknown>
  if (typeof topic !== 'string') throw new HistoryError(`${where}: 'topic' is not a string`)
  if (!Number.isSafeInteger(partition) || (partition as number) < 0)
    throw new HistoryError(`${where}: 'partition' is not a number from 0`)
  return { topic, partition: partition as number }
}

function parseOffset(raw: unknown, where: string): number {
  if (!Number.isSafeInteger(raw) || (raw as number) < 0)
    throw new HistoryError(`${where}: 'offset' is not a number from 0`)
  return raw as number
}
