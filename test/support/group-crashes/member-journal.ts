/**
 * MemberJournal: what a member of a group did, one JSON line each, written before the member goes on.
 *
 * A line is a synchronous write to a file: it is in the page cache when the write returns, so kill -9 of the member a moment later
 * does not lose it. What is handled and where reading begins are lines of a history (src/tools/history.ts) with the time beside it;
 * the rest are notes. A reader of the history is one ownership: a partition from the moment a member gets it until it is without
 * it again. Its number is the member's number and a count.
 *
 *   {"process":3000001,"type":"ok","f":"assign","positions":[{"topic":"t","partition":0,"offset":7}],"atMs":1234.5}
 *   {"process":3000001,"type":"ok","f":"poll","records":[{"topic":"t","partition":0,"offset":7,"value":"k1:42"}],"atMs":1234.6}
 *   {"note":"revoked","process":3000001,"partition":0,"offset":-1,"atMs":1234.9}
 *
 * Times   of the machine's monotonic clock, the same in all of its processes: what one member does because of what another did has
 *         the later time
 */
import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs'
import { type HistoryOperation, parseHistoryLine } from '../../../src/tools/history.ts'

export type NoteKind =
  | 'started' //      it asks to join
  | 'revoked' //      an ownership has ended in order
  | 'lost' //         an ownership was taken away: the member was fenced
  | 'fenced' //       it is no member any more, and joins anew
  | 'committed' //    its offset is durable
  | 'commitFailed' // it was given up
  | 'blocked' //      a handler holds the event loop from here
  | 'unblocked'
  | 'closed' //       it has left

export interface MemberNote {
  readonly note: NoteKind
  /** Of an ownership, or of its member only: its 0th. */
  readonly process: number
  readonly partition: number
  readonly offset: number
  readonly atMs: number
}

export type JournalEntry =
  | { readonly kind: 'history'; readonly atMs: number; readonly operation: HistoryOperation }
  | { readonly kind: 'note'; readonly atMs: number; readonly note: MemberNote }

/** Ownerships a member may have: a number of one names its member, too. */
export const OWNERSHIPS_PER_MEMBER = 1_000_000
const READ_BYTES = 256 * 1024

export function memberOf(ownership: number): number {
  return Math.floor(ownership / OWNERSHIPS_PER_MEMBER)
}

/** The machine's monotonic clock. */
export function machineMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

export class JournalWriter {
  readonly #topic: string
  readonly #member: number
  readonly #file: number

  constructor(path: string, options: { readonly topic: string; readonly member: number }) {
    this.#topic = options.topic
    this.#member = options.member
    this.#file = openSync(path, 'a')
  }

  assigned(ownership: number, partition: number, offset: number): void {
    const positions = [{ topic: this.#topic, partition, offset }]
    this.#write({ process: ownership, type: 'ok', f: 'assign', positions, atMs: machineMs() })
  }

  handled(ownership: number, partition: number, offset: number, value: string): void {
    const records = [{ topic: this.#topic, partition, offset, value }]
    this.#write({ process: ownership, type: 'ok', f: 'poll', records, atMs: machineMs() })
  }

  note(note: NoteKind, ownership?: number, partition = -1, offset = -1): void {
    const process = ownership ?? this.#member * OWNERSHIPS_PER_MEMBER
    this.#write({ note, process, partition, offset, atMs: machineMs() })
  }

  #write(line: object): void {
    writeSync(this.#file, `${JSON.stringify(line)}\n`)
  }
}

/** Reads what has been written since it last looked. */
export class JournalReader {
  readonly #file: number
  readonly #bytes = Buffer.allocUnsafe(READ_BYTES)
  #position = 0
  #rest = ''
  #line = 0

  /** The file is made when it is not there yet. */
  constructor(path: string) {
    this.#file = openSync(path, 'a+')
  }

  *readNew(): Generator<JournalEntry> {
    while (this.#position < fstatSync(this.#file).size) {
      const length = readSync(this.#file, this.#bytes, 0, READ_BYTES, this.#position)
      this.#position += length
      const lines = (this.#rest + this.#bytes.toString('latin1', 0, length)).split('\n')
      this.#rest = lines.pop() as string // a line in the making
      for (const line of lines) yield parseEntry(line, ++this.#line)
    }
  }

  close(): void {
    closeSync(this.#file)
  }
}

function parseEntry(text: string, line: number): JournalEntry {
  const { note, atMs } = JSON.parse(text) as { note?: NoteKind; atMs: number }
  if (note !== undefined) return { kind: 'note', atMs, note: JSON.parse(text) as MemberNote }
  return { kind: 'history', atMs, operation: parseHistoryLine(text, line)! }
}
