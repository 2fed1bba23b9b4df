/**
 * Histories in short hand, for tests. One operation a line:
 *
 *   1 invoke send a b/1          records of topic t, partition 0 unless `/1`; `out:y<x@3/1` is topic out, from x, offset 3, partition 1
 *   1 ok send a@0                with offsets
 *   1 invoke send#t1 a           in transaction t1; also poll#t1, final#t1, commitOffsets#t1
 *   2 ok poll a@0 b@1            `final` for a final one; `poll!`, `final!` with read_uncommitted
 *   2 ok assign @0 @7/1
 *   1 ok begin t1                also commit, abort
 *   1 invoke commitOffsets g @5  `seek` instead, where it is meant to go back
 *   9 ok drained in out
 */
import { type HistoryOperation, parseHistory } from '../../src/tools/history.ts'

const RECORD = /^(?:(\w+):)?([^@/<]*)(?:<([^@/]*))?(?:@(\d+))?(?:\/(\d+))?$/

export function history(...lines: readonly string[]): HistoryOperation[] {
  return parseHistory(lines.map(jsonOf).join('\n'))
}

function jsonOf(line: string): string {
  const [process, type, word = '', ...rest] = line.split(' ')
  const [, f = '', isolation, txn] = /^(\w+)(!)?(?:#(.*))?$/.exec(word) as RegExpExecArray
  const base = {
    ...{ process: Number(process), type, f },
    ...(txn === undefined ? {} : { txn }),
    ...(isolation === undefined ? {} : { isolation: 'read_uncommitted' }),
  }
  if (f === 'begin' || f === 'commit' || f === 'abort') return JSON.stringify({ ...base, txn: rest[0] })
  if (f === 'drained') return JSON.stringify({ ...base, input: rest[0], output: rest[1] })
  if (f === 'assign') return JSON.stringify({ ...base, positions: positionsOf(rest) })
  if (f === 'commitOffsets' || f === 'seek') {
    const fields = { ...base, f: 'commitOffsets', group: rest[0], seek: f === 'seek' }
    return JSON.stringify(rest.length === 1 ? fields : { ...fields, positions: positionsOf(rest.slice(1)) })
  }
  const records = rest.map(recordOf)
  if (f === 'final') return JSON.stringify({ ...base, f: 'poll', records, final: true })
  return JSON.stringify({ ...base, records })
}

function recordOf(text: string): Record<string, unknown> {
  const [, topic = 't', value, from, offset, partition] = RECORD.exec(text) as RegExpExecArray
  return {
    ...{ topic, partition: Number(partition ?? 0), value },
    ...(from === undefined ? {} : { from }),
    ...(offset === undefined ? {} : { offset: Number(offset) }),
  }
}

function positionsOf(texts: readonly string[]): Record<string, unknown>[] {
  return texts.map((text) => {
    const { value: _, ...place } = recordOf(text)
    return place
  })
}
