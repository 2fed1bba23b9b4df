/**
 * History: what clients did and saw, one operation a JSON line, in the order in which it happened. Written by the
 * simulator, the crash suites and users' own tests; judged by check-history. For users: docs/history.md.
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
 * A transaction has an id of its own, `txn`. It is begun; sends, polls and group commits that name it belong to it; it ends
 * with `commit` or `abort`. `info` of a commit means that it was committed whole or not at all.
 *
 *   {"process":3,"type":"ok","f":"begin","txn":"t1"}
 *   {"process":3,"type":"ok","f":"poll","txn":"t1","records":[{"topic":"in","partition":0,"offset":4,"value":"x"}]}
 *   {"process":3,"type":"invoke","f":"send","txn":"t1","records":[{"topic":"out","partition":1,"value":"y","from":"x"}]}
 *   {"process":3,"type":"ok","f":"send","records":[{"topic":"out","partition":1,"offset":9,"value":"y"}]}
 *   {"process":3,"type":"invoke","f":"commitOffsets","txn":"t1","group":"g","positions":[{"topic":"in","partition":0,"offset":5}]}
 *   {"process":3,"type":"ok","f":"commitOffsets","txn":"t1","group":"g"}
 *   {"process":3,"type":"invoke","f":"commit","txn":"t1"}
 *   {"process":3,"type":"ok","f":"commit","txn":"t1"}
 *   {"process":9,"type":"ok","f":"drained","input":"in","output":"out"}
 *
 *   f              fields
 *   send           records: topic, partition, value; offset in the answer, where it is known; from: the value that the record is
 *                  the one result of, in its topic. txn (of the invoke; an answer may leave it out)
 *   poll           records with offsets. final. isolation: read_committed (default) or read_uncommitted. txn: it read for this one
 *   assign         positions: topic, partition, offset
 *   begin, commit, abort   txn. `begin` may be its answer alone; `fail` of a commit: nothing of it was committed
 *   commitOffsets  group, positions (the next offsets to read; an answer may leave them out). txn: they hold with its commit.
 *                  seek: true where going back is meant
 *   drained        input, output: everything sent to topic `input` before this line has been worked into topic `output`
 *
 * Rules       values are unique over a history: they name the record. (The result of a second attempt has another value and
 *             the same `from`.) Transaction ids are unique too: a transactional producer's next transaction has another.
 *             `assign` sets a reader's positions (also a seek).
 *             `final` marks the polls that read everything to the end after all faults were healed and all transactions decided.
 *             Fields not named here are the writer's own and are not looked at
 * Failure     parseHistory throws HistoryError naming the line
 */
import { nearest } from '../base/nearest.ts'

export interface HistoryRecord {
  readonly topic: string
  readonly partition: number
  /** Absent before it is known. */
  readonly offset?: number
  readonly value: string
  /** Value of the record that this one is the result of. */
  readonly from?: string
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

export type Isolation = 'read_committed' | 'read_uncommitted'

export interface SendOperation extends OperationBase {
  readonly f: 'send'
  readonly records: readonly HistoryRecord[]
  readonly txn?: string
}

export interface PollOperation extends OperationBase {
  readonly f: 'poll'
  readonly records: readonly HistoryRecord[]
  readonly final: boolean
  /** read_committed if absent. */
  readonly isolation?: Isolation
  readonly txn?: string
}

export interface AssignOperation extends OperationBase {
  readonly f: 'assign'
  readonly positions: readonly HistoryPosition[]
}

export interface TransactionOperation extends OperationBase {
  readonly f: 'begin' | 'commit' | 'abort'
  readonly txn: string
}

export interface CommitOffsetsOperation extends OperationBase {
  readonly f: 'commitOffsets'
  readonly group: string
  /** Of the invoke; empty in an answer that leaves them out. */
  readonly positions: readonly HistoryPosition[]
  readonly seek: boolean
  readonly txn?: string
}

export interface DrainedOperation extends OperationBase {
  readonly f: 'drained'
  readonly input: string
  readonly output: string
}

export type HistoryOperation =
  | SendOperation
  | PollOperation
  | AssignOperation
  | TransactionOperation
  | CommitOffsetsOperation
  | DrainedOperation

export class HistoryError extends Error {
  override readonly name = 'HistoryError'

  constructor(line: number, fault: string) {
    super(`line ${line}: ${fault}`)
  }
}

const TYPES = ['invoke', 'ok', 'fail', 'info'] as const
const ISOLATIONS = ['read_committed', 'read_uncommitted'] as const

type Fields = Readonly<Record<string, unknown>>

/** f -> what its fields mean */
const OPERATIONS: Readonly<Record<HistoryOperation['f'], (base: OperationBase, fields: Fields) => HistoryOperation>> = {
  send: (base, fields) => ({
    ...{ ...base, f: 'send', ...parseTxn(fields, base.line) },
    records: parseRecords(fields.records, base.line, 'offset may be missing'),
  }),
  poll: parsePoll,
  assign: (base, fields) => ({ ...base, f: 'assign', positions: parsePositions(fields.positions, base.line) }),
  begin: (base, fields) => ({ ...base, f: 'begin', txn: parseName(fields, 'txn', base.line) }),
  commit: (base, fields) => ({ ...base, f: 'commit', txn: parseName(fields, 'txn', base.line) }),
  abort: (base, fields) => ({ ...base, f: 'abort', txn: parseName(fields, 'txn', base.line) }),
  commitOffsets: (base, fields) => ({
    ...{ ...base, f: 'commitOffsets', ...parseTxn(fields, base.line) },
    group: parseName(fields, 'group', base.line),
    positions: parsePositions(fields.positions ?? (base.type === 'invoke' ? undefined : []), base.line),
    seek: parseFlag(fields, 'seek', base.line),
  }),
  drained: parseDrained,
}

/** One line of a history. Empty lines answer undefined. */
export function parseHistoryLine(text: string, line: number): HistoryOperation | undefined {
  if (text.trim() === '') return undefined
  let raw: unknown
  try {
    raw = JSON.parse(text)
  } catch {
    throw new HistoryError(line, 'not JSON')
  }
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) throw new HistoryError(line, 'not a JSON object')
  const fields = raw as Fields
  const { process, f } = fields
  if (!Number.isSafeInteger(process)) throw new HistoryError(line, `'process' is not an integer`)
  const type = parseWord(fields.type, { field: 'type', known: TYPES, line })
  const known = Object.keys(OPERATIONS) as HistoryOperation['f'][]
  return OPERATIONS[parseWord(f, { field: 'f', known, line })]({ process: process as number, type, line }, fields)
}

/** A whole history. */
export function parseHistory(text: string): HistoryOperation[] {
  return text
    .split('\n')
    .map((line, index) => parseHistoryLine(line, index + 1))
    .filter((operation) => operation !== undefined)
}

function parseWord<Word extends string>(
  raw: unknown,
  { field, known, line }: { field: string; known: readonly Word[]; line: number },
): Word {
  const word = known.find((each) => each === raw)
  if (word !== undefined) return word
  const near = typeof raw === 'string' ? nearest(raw, known) : undefined
  const hint = near === undefined ? '' : `; did you mean '${near}'?`
  throw new HistoryError(line, `'${field}' is not one of ${known.join(', ')}${hint}`)
}

function parseName(fields: Fields, field: string, line: number): string {
  const name = fields[field]
  if (typeof name !== 'string' || name === '') throw new HistoryError(line, `'${field}' is not a name`)
  return name
}

function parseTxn(fields: Fields, line: number): { readonly txn?: string } {
  return fields.txn === undefined ? {} : { txn: parseName(fields, 'txn', line) }
}

function parseFlag(fields: Fields, field: string, line: number): boolean {
  const flag = fields[field] ?? false
  if (typeof flag !== 'boolean') throw new HistoryError(line, `'${field}' is neither true nor false`)
  return flag
}

function parsePoll(base: OperationBase, fields: Fields): PollOperation {
  const { line, type } = base
  const records = parseRecords(fields.records ?? [], line, type === 'ok' ? 'offset needed' : 'offset may be missing')
  const poll = {
    ...base,
    f: 'poll',
    records,
    final: parseFlag(fields, 'final', line),
    ...parseTxn(fields, line),
  } as const
  if (fields.isolation === undefined) return poll
  return { ...poll, isolation: parseWord(fields.isolation, { field: 'isolation', known: ISOLATIONS, line }) }
}

function parseDrained(base: OperationBase, fields: Fields): DrainedOperation {
  const { line, type } = base
  if (type !== 'ok') throw new HistoryError(line, `'drained' is a fact: its 'type' is ok, not ${type}`)
  return { ...base, f: 'drained', input: parseName(fields, 'input', line), output: parseName(fields, 'output', line) }
}

function parseRecords(raw: unknown, line: number, offsets: 'offset needed' | 'offset may be missing'): HistoryRecord[] {
  if (!Array.isArray(raw)) throw new HistoryError(line, `'records' is not an array`)
  return raw.map((entry: unknown, index) => {
    const at = { line, list: 'records', index }
    const { topic, partition } = parsePlace(entry, at)
    const { offset: rawOffset, value, from } = entry as Fields
    if (typeof value !== 'string') throw faultOf(at, `'value' is not a string`)
    if (from !== undefined && typeof from !== 'string') throw faultOf(at, `'from' is not a string`)
    const isOffsetMissing = rawOffset === undefined && offsets === 'offset may be missing'
    if (isOffsetMissing) return from === undefined ? { topic, partition, value } : { topic, partition, value, from }
    const offset = parseOffset(rawOffset, at)
    return from === undefined ? { topic, partition, value, offset } : { topic, partition, value, offset, from }
  })
}

function parsePositions(raw: unknown, line: number): HistoryPosition[] {
  if (!Array.isArray(raw)) throw new HistoryError(line, `'positions' is not an array`)
  return raw.map((entry: unknown, index) => {
    const at = { line, list: 'positions', index }
    return { ...parsePlace(entry, at), offset: parseOffset((entry as Fields).offset, at) }
  })
}

interface At {
  readonly line: number
  readonly list: string
  readonly index: number
}

function faultOf({ line, list, index }: At, fault: string): HistoryError {
  return new HistoryError(line, `${list}[${index}]: ${fault}`)
}

function parsePlace(entry: unknown, at: At): { topic: string; partition: number } {
  if (typeof entry !== 'object' || entry === null) throw faultOf(at, 'not an object')
  const { topic, partition } = entry as Fields
  if (typeof topic !== 'string') throw faultOf(at, `'topic' is not a string`)
  if (!Number.isSafeInteger(partition) || (partition as number) < 0)
    throw faultOf(at, `'partition' is not a number from 0`)
  return { topic, partition: partition as number }
}

function parseOffset(raw: unknown, at: At): number {
  if (!Number.isSafeInteger(raw) || (raw as number) < 0) throw faultOf(at, `'offset' is not a number from 0`)
  return raw as number
}
