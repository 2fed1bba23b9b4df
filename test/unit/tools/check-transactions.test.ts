/** The checker on transactions: every anomaly is found in hand-made histories, near misses are none, broken histories are refused. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ANOMALIES, type Anomaly, type AnomalyKind } from '../../../src/tools/anomaly.ts'
import { type CheckOptions, checkHistory } from '../../../src/tools/check-history.ts'
import { HistoryError } from '../../../src/tools/history.ts'
import { history } from '../../support/history-text.ts'

function anomalies(lines: readonly string[], options?: CheckOptions): readonly Anomaly[] {
  return checkHistory(history(...lines), options).anomalies
}

function kinds(...lines: string[]): AnomalyKind[] {
  return anomalies(lines).map(({ kind }) => kind)
}

function sent(txn: string, ...records: string[]): string[] {
  const unplaced = records.map((record) => record.replace(/@\d+/, ''))
  const stored = records.map((record) => record.replace(/<[^@/]*/, ''))
  return [`1 invoke send#${txn} ${unplaced.join(' ')}`, `1 ok send ${stored.join(' ')}`]
}

function committed(txn: string): string[] {
  return [`1 invoke commit ${txn}`, `1 ok commit ${txn}`]
}

/** A whole transaction of process 1. */
function transaction(txn: string, ...records: string[]): string[] {
  return [`1 ok begin ${txn}`, ...sent(txn, ...records), ...committed(txn)]
}

function groupCommit(offset: number, what = 'commitOffsets', process = 1): string[] {
  return [`${process} invoke ${what} g @${offset}`, `${process} ok ${what} g`]
}

const INPUT = ['7 invoke send in:x', '7 ok send in:x@0']
const INPUT_READ = '8 ok final in:x@0'

/** kind -> what shows it, and what its text must name */
const FOUND: readonly (readonly [AnomalyKind, string, readonly string[], RegExp])[] = [
  [
    'aborted-read',
    'an abort that answered',
    ['1 ok begin t1', ...sent('t1', 'a@0'), '1 invoke abort t1', '1 ok abort t1', '2 ok poll a@0'],
    /'a' of transaction 't1', which was not committed: line 5/,
  ],
  [
    'aborted-read',
    'a commit that failed, told after the read',
    ['1 ok begin t1', ...sent('t1', 'a@0'), '1 invoke commit t1', '2 ok poll a@0', '1 fail commit t1'],
    /'a' of transaction 't1', which was not committed: line 6/,
  ],
  [
    'aborted-read',
    'an abort in doubt, never a commit',
    ['1 ok begin t1', ...sent('t1', 'a@0'), '1 invoke abort t1', '1 info abort t1', '2 ok poll a@0'],
    /line 4/,
  ],
  [
    'precommitted-read',
    'before the commit is asked for',
    ['1 ok begin t1', ...sent('t1', 'a@0'), '2 ok poll a@0', ...committed('t1')],
    /'a' of transaction 't1', whose commit was asked for in line 5/,
  ],
  [
    'precommitted-read',
    'a zombie that nobody commits',
    ['1 ok begin t1', ...sent('t1', 'a@0'), '2 ok final a@0'],
    /nobody asked to commit; it began in line 1/,
  ],
  [
    'precommitted-read',
    'of its own records',
    ['1 ok begin t1', ...sent('t1', 'a@0'), '1 ok poll#t1 a@0', ...committed('t1')],
    /line 5/,
  ],
  [
    'lost-write',
    'of a committed transaction, nothing of it seen',
    [...transaction('t1', 'a@0'), ...transaction('t2', 'b@2'), '2 ok final b@2'],
    /'a' of committed transaction 't1'/,
  ],
  [
    'lost-write',
    'its offset never told',
    [
      '1 ok begin t1',
      '1 invoke send#t1 a',
      '1 ok send a',
      ...committed('t1'),
      ...transaction('t2', 'b@2'),
      '2 ok final b@2',
    ],
    /'a' of committed transaction 't1'/,
  ],
  [
    'lost-write',
    'seen by a reader of everything, not by one of what is committed',
    [...transaction('t1', 'a@0'), ...transaction('t2', 'b@2'), '3 ok final! a@0 b@2', '2 ok final b@2'],
    /'a' of committed transaction 't1'/,
  ],
  [
    'unseen',
    'half of a commit in doubt is read, no reader got to the rest',
    ['1 ok begin t1', ...sent('t1', 'a@0 b@0/1'), '1 invoke commit t1', '2 ok poll a@0'],
    /'b' was acknowledged; no reader got as far/,
  ],
  ['unseen', 'committed, read by nobody', transaction('t1', 'a@0'), /no reader got as far/],
  [
    'poll-skip',
    'a committed record, read by another',
    [...transaction('t1', 'a@0 b@1 c@2'), '3 ok poll a@0 b@1 c@2', '2 ok poll a@0', '2 ok poll c@2'],
    /went from 1 to 2 over 'b'/,
  ],
  [
    'int-poll-skip',
    'an aborted record, by a reader of everything',
    [
      '1 ok begin t1',
      ...sent('t1', 'a@0'),
      '1 invoke abort t1',
      '1 ok abort t1',
      ...transaction('t2', 'b@2 c@3'),
      '2 ok assign @0',
      '3 ok poll! a@0 c@3',
      '2 ok poll b@2 c@3',
    ],
    /went from 1 to 3 over 'b'/,
  ],
  [
    'torn-transaction',
    'a final reader got half',
    [...transaction('t1', 'a@0 b@0/1'), ...transaction('t2', 'c@2/1'), '2 ok final a@0 c@2/1'],
    /transaction 't1': 'a' \(t-0@0\) was read in line 11, 'b' \(t-1@0\) is missing \(a final reader did not get it\)/,
  ],
  [
    'torn-transaction',
    'a reader passed the other half, more than one record',
    [...transaction('t1', 'a@0 b@1 c@2'), ...transaction('t2', 'd@4'), '2 ok poll a@0', '2 ok poll d@4'],
    /'b' \(t-0@1\) is missing \(a reader passed it in line 12\), and 1 more/,
  ],
  [
    'torn-transaction',
    'its commit in doubt',
    [
      '1 ok begin t1',
      ...sent('t1', 'a@0 b@0/1'),
      '1 invoke commit t1',
      '1 info commit t1',
      ...transaction('t2', 'c@2/1'),
      '2 ok final a@0 c@2/1',
    ],
    /transaction 't1': 'a'/,
  ],
  [
    'torn-transaction',
    'its send in doubt, stored as a reader of everything saw',
    [
      '1 ok begin t1',
      ...sent('t1', 'a@0'),
      '1 invoke send#t1 b',
      '1 info send b',
      ...committed('t1'),
      '3 ok poll! a@0 b@1',
      '2 ok final a@0',
    ],
    /'b' \(t-0@1\) is missing/,
  ],
  [
    'write-read-cycle',
    'by what results are made of',
    [
      '1 ok begin t1',
      '3 ok begin t2',
      ...sent('t1', 'a<b@0'),
      ...sent('t2', 'b<a@0/1'),
      ...committed('t1'),
      ...committed('t2'),
      '2 ok final a@0 b@0/1',
    ],
    /'t\d' read '[ab]' \(t-[01]@0\) of 't\d'; 't\d' read/,
  ],
  [
    'duplicate-result',
    'two transactions',
    [
      ...INPUT,
      ...transaction('t1', 'out:y<x@0'),
      ...transaction('t2', 'out:z<x@2'),
      INPUT_READ,
      '2 ok final out:y@0 out:z@2',
    ],
    /'z' of transaction 't2' is a result of 'x', as is 'y' of transaction 't1'/,
  ],
  [
    'duplicate-result',
    'one in doubt, and read',
    [
      ...INPUT,
      ...transaction('t1', 'out:y<x@0'),
      '1 ok begin t2',
      ...sent('t2', 'out:z<x@2'),
      '1 invoke commit t2',
      INPUT_READ,
      '2 ok final out:y@0 out:z@2',
    ],
    /result of 'x'/,
  ],
  [
    'missing-result',
    'none at all',
    [...INPUT, INPUT_READ, '9 ok drained in out'],
    /'x' has no committed result in 'out'/,
  ],
  [
    'missing-result',
    'one that was aborted',
    [
      ...INPUT,
      INPUT_READ,
      '1 ok begin t1',
      ...sent('t1', 'out:y<x@0'),
      '1 invoke abort t1',
      '1 ok abort t1',
      '9 ok drained in out',
    ],
    /'x' has no/,
  ],
  [
    'missing-result',
    'one in doubt that a final reader did not get',
    [
      ...INPUT,
      INPUT_READ,
      ...transaction('t0', 'out:w@0'),
      '1 ok begin t1',
      ...sent('t1', 'out:y<x@2'),
      '1 invoke commit t1',
      '1 info commit t1',
      '2 ok final out:w@0',
      '9 ok drained in out',
    ],
    /'x' has no/,
  ],
  [
    'nonmonotonic-commit',
    'outside transactions',
    [...groupCommit(5), ...groupCommit(4)],
    /'g' committed 4 after 5 in line 2/,
  ],
  [
    'nonmonotonic-commit',
    'in a transaction',
    [
      ...groupCommit(5),
      '1 ok begin t1',
      '1 invoke commitOffsets#t1 g @3',
      '1 ok commitOffsets#t1 g',
      ...committed('t1'),
    ],
    /'g' committed 3 after 5 in line 2/,
  ],
  [
    'nonmonotonic-commit',
    'after a transaction',
    [
      '1 ok begin t1',
      '1 invoke commitOffsets#t1 g @6',
      '1 ok commitOffsets#t1 g',
      ...committed('t1'),
      ...groupCommit(5),
    ],
    /'g' committed 5 after 6 in line 5/,
  ],
  [
    'nonmonotonic-commit',
    'after a seek',
    [...groupCommit(9), ...groupCommit(4, 'seek'), ...groupCommit(3)],
    /3 after 4 in line 4/,
  ],
]

for (const [kind, how, lines, text] of FOUND) {
  test(`finds ${kind}: ${how}; and nothing else`, () => {
    const found = anomalies(lines)
    assert.deepEqual([...new Set(found.map((anomaly) => anomaly.kind))], [kind])
    assert.match(found[0]!.text, text)
  })
}

test('every kind that a transaction can show is found above', () => {
  const shown = new Set(FOUND.map(([kind]) => kind))
  const first = Object.keys(ANOMALIES).indexOf('aborted-read')
  assert.ok(first > 0)
  for (const kind of Object.keys(ANOMALIES).slice(first)) assert.ok(shown.has(kind as AnomalyKind), kind)
})

const CLEAN: Readonly<Record<string, readonly string[]>> = {
  'a reader of everything sees what is open, and aborted': [
    ...[
      '1 ok begin t1',
      ...sent('t1', 'a@0'),
      '2 ok poll! a@0',
      '1 invoke abort t1',
      '1 ok abort t1',
      '3 ok final! a@0',
    ],
  ],
  'a reader of what is committed passes aborted records and markers': [
    ...['1 ok begin t1', ...sent('t1', 'a@0'), '1 invoke abort t1', '1 ok abort t1', ...transaction('t2', 'b@2')],
    ...['3 ok final! a@0 b@2', '2 ok assign @0', '2 ok final b@2'],
  ],
  'a record is read while its commit has no answer yet': [
    ...['1 ok begin t1', ...sent('t1', 'a@0'), '1 invoke commit t1', '2 ok final a@0', '1 ok commit t1'],
  ],
  'a commit in doubt, all of it read': [
    ...['1 ok begin t1', ...sent('t1', 'a@0 b@0/1'), '1 invoke commit t1', '1 info commit t1', '2 ok final a@0 b@0/1'],
  ],
  'a commit in doubt, nothing of it read': [
    ...['1 ok begin t1', ...sent('t1', 'a@0 b@0/1'), '1 invoke commit t1', '3 ok final! a@0 b@0/1', '2 ok final'],
  ],
  'a commit in doubt that is asked for again': [
    ...[
      '1 ok begin t1',
      ...sent('t1', 'a@0'),
      '1 invoke commit t1',
      '1 info commit t1',
      ...committed('t1'),
      '2 ok final a@0',
    ],
  ],
  'a commit in doubt, then refused: the first one may have been done': [
    ...[
      '1 ok begin t1',
      ...sent('t1', 'a@0'),
      '1 invoke commit t1',
      '1 info commit t1',
      '1 invoke commit t1',
      '1 fail commit t1',
    ],
    '2 ok final a@0',
  ],
  'a commit that failed, then the abort': [
    ...[
      '1 ok begin t1',
      ...sent('t1', 'a@0'),
      '1 invoke commit t1',
      '1 fail commit t1',
      '1 invoke abort t1',
      '1 ok abort t1',
    ],
    '2 ok final',
  ],
  'an abort that failed, then the commit': [
    ...[
      '1 ok begin t1',
      ...sent('t1', 'a@0'),
      '1 invoke abort t1',
      '1 fail abort t1',
      ...committed('t1'),
      '2 ok final a@0',
    ],
  ],
  'sends that failed, or were in doubt and not stored, in a committed transaction': [
    ...[
      '1 ok begin t1',
      ...sent('t1', 'a@0'),
      '1 invoke send#t1 b',
      '1 info send b',
      '1 invoke send#t1 c',
      '1 fail send c',
    ],
    ...[...committed('t1'), '2 ok final a@0'],
  ],
  "a fenced zombie's records are aborted, its commit is refused": [
    ...[
      '1 ok begin t1',
      ...sent('t1', 'a@0'),
      '4 ok begin t2',
      '4 invoke send#t2 b',
      '4 ok send b@2',
      '4 invoke commit t2',
    ],
    ...[
      '4 ok commit t2',
      '1 invoke send#t1 c',
      '1 fail send c',
      '1 invoke commit t1',
      '1 fail commit t1',
      '2 ok final b@2',
    ],
  ],
  'a zombie that is never heard of again': [
    ...['1 ok begin t1', ...sent('t1', 'a@0'), ...['3 ok final! a@0'], ...transaction('t2', 'b@2'), '2 ok final b@2'],
  ],
  'a chain of reads is no circle': [
    ...[...transaction('t1', 'a@0'), '1 ok begin t2', '1 ok poll#t2 a@0', ...sent('t2', 'b<a@2'), ...committed('t2')],
    ...['1 ok begin t3', '1 ok poll#t3 b@2', ...sent('t3', 'c<b@4'), ...committed('t3'), '2 ok final a@0 b@2 c@4'],
  ],
  'a circle through a transaction that reads everything, or was aborted': [
    ...[
      '1 ok begin t1',
      '3 ok begin t2',
      ...sent('t1', 'a@0'),
      ...sent('t2', 'b@0/1'),
      '1 ok poll!#t1 b@0/1',
      '3 ok poll!#t2 a@0',
    ],
    ...[...committed('t1'), ...committed('t2'), '1 ok begin t3', '3 ok begin t4', ...sent('t3', 'c<d@2')],
    ...[...sent('t4', 'd<c@2/1'), ...committed('t3'), '1 invoke abort t4', '1 ok abort t4', '2 ok final a@0 c@2 b@0/1'],
  ],
  'a second attempt, the first one aborted or in doubt and not read': [
    ...[...INPUT, INPUT_READ, '1 ok begin t1', ...sent('t1', 'out:y<x@0'), '1 invoke abort t1', '1 ok abort t1'],
    ...[
      '1 ok begin t2',
      ...sent('t2', 'out:y2<x@2'),
      '1 invoke commit t2',
      '1 info commit t2',
      ...transaction('t3', 'out:y3<x@4'),
    ],
    ...['2 ok final out:y3@4', '9 ok drained in out'],
  ],
  'results in two topics': [
    ...[...INPUT, INPUT_READ, ...transaction('t1', 'out:y<x@0', 'log:z<x@0'), '2 ok final out:y@0 log:z@0'],
    ...['9 ok drained in out', '9 ok drained in log'],
  ],
  'not drained; an input that came later; an input that was aborted': [
    ...[...INPUT, INPUT_READ],
    ...['9 ok drained other out', '7 invoke send other:w', '7 ok send other:w@0', '2 ok poll other:w@0'],
    ...['1 ok begin t1', ...sent('t1', 'other2:v@0'), '1 invoke abort t1', '1 ok abort t1', '9 ok drained other2 out'],
  ],
  'a result in doubt, and no reader got as far': [
    ...[...INPUT, INPUT_READ, '1 ok begin t1', ...sent('t1', 'out:y<x@0'), '1 invoke commit t1', '9 ok drained in out'],
  ],
  'commits of offsets: the same again, overlapping, failed, in doubt, aborted, by seek': [
    ...[
      ...groupCommit(5),
      ...groupCommit(5),
      '1 invoke commitOffsets g @9',
      '2 invoke commitOffsets g @8',
      '1 ok commitOffsets g',
    ],
    ...[
      '2 ok commitOffsets g',
      '1 invoke commitOffsets g @2',
      '1 fail commitOffsets g',
      '1 invoke commitOffsets g @20',
    ],
    ...[
      '1 info commitOffsets g',
      ...groupCommit(10),
      '1 ok begin t1',
      '1 invoke commitOffsets#t1 g @50',
      '1 ok commitOffsets#t1 g',
    ],
    ...['1 invoke abort t1', '1 ok abort t1', ...groupCommit(11), ...groupCommit(1, 'seek'), ...groupCommit(2)],
  ],
  'a commit that overlaps a seek back counts for nothing after it': [
    ...['1 invoke commitOffsets g @9', ...groupCommit(1, 'seek', 2), '1 ok commitOffsets g', ...groupCommit(2)],
    ...['2 invoke seek g @0', ...groupCommit(1), '2 info seek g'],
  ],
  'offsets of transactions whose commit failed, or is in doubt, count for nothing': [
    ...[
      '1 ok begin t1',
      '1 invoke commitOffsets#t1 g @50',
      '1 ok commitOffsets#t1 g',
      '1 invoke commit t1',
      '1 fail commit t1',
    ],
    ...[
      '1 ok begin t2',
      '1 invoke commitOffsets#t2 g @60',
      '1 ok commitOffsets#t2 g',
      '1 invoke commit t2',
      '1 info commit t2',
    ],
    ...groupCommit(3),
  ],
  'of other groups and partitions offsets are apart': [
    ...[
      '1 invoke commitOffsets g @9 @3/1',
      '1 ok commitOffsets g',
      '1 invoke commitOffsets h @4',
      '1 ok commitOffsets h',
    ],
    ...['1 invoke commitOffsets g @4/1', '1 ok commitOffsets g'],
  ],
}

for (const [what, lines] of Object.entries(CLEAN)) {
  test(`no anomaly: ${what}`, () => assert.deepEqual(anomalies(lines), []))
}

test('a circle with writes in it is legal in the model of Kafka, and told when asked for', () => {
  const lines = [
    ...['1 ok begin t1', '3 ok begin t2', ...sent('t1', 'a@0'), ...sent('t2', 'b@1', 'c@0/1'), ...committed('t2')],
    ...['1 ok poll#t1 c@0/1', ...committed('t1'), '2 ok final a@0 b@1 c@0/1'],
  ]
  assert.deepEqual(kinds(...lines), [])
  const [cycle, ...others] = anomalies(lines, { isWriteOrderCounted: true })
  assert.deepEqual([cycle?.kind, others], ['write-read-cycle', []])
  assert.equal(cycle?.text, "'t1' read 'c' (t-1@0) of 't2'; 't2' wrote 'b' (t-0@1) behind 'a' (t-0@0) of 't1'")
  const writes = [
    '1 ok begin t1',
    '3 ok begin t2',
    ...sent('t1', 'a@0'),
    ...sent('t2', 'b@1', 'c@0/1'),
    ...sent('t1', 'd@1/1'),
  ]
  const legal = [...writes, ...committed('t1'), ...committed('t2'), '2 ok final a@0 b@1 c@0/1 d@1/1']
  assert.deepEqual(anomalies(legal, { isWriteOrderCounted: true }), [])
})

test('of a knot of circles the shortest is told, once', () => {
  const ring = ['t0', 't1', 't2', 't3', 't4']
  const lines = ring.map((txn) => `1 ok begin ${txn}`)
  for (const [index, txn] of ring.entries()) lines.push(...sent(txn, `v${index}<v${(index + 1) % 5}@${index}`))
  lines.push(...sent('t1', 'x:w<v4@5'), ...sent('t4', 'x:u<v1@6'))
  lines.push(...ring.flatMap(committed), '2 ok final v0@0 v1@1 v2@2 v3@3 v4@4 x:w@5 x:u@6')
  const found = anomalies(lines)
  assert.equal(found.length, 1)
  assert.match(
    found[0]!.text,
    /^'t[14]' read 'v[14]' \(t-0@[14]\) of 't[14]'; 't[14]' read 'v[14]' \(t-0@[14]\) of 't[14]'$/,
  )
})

test('the verdict counts kinds and transactions', () => {
  const { counts, transactions } = checkHistory(
    history(
      ...[...transaction('t1', 'a@0'), '1 ok begin t2', ...sent('t2', 'b@2'), '1 invoke abort t2', '1 ok abort t2'],
      ...['1 ok begin t3', '1 ok begin t4', '1 invoke commit t4', '2 ok poll b@2'],
    ),
  )
  assert.deepEqual(transactions, { committed: 1, aborted: 1, unknown: 1, open: 1 })
  assert.deepEqual(counts, { 'aborted-read': 1, unseen: 1 })
})

const REFUSED: readonly (readonly [readonly string[], string])[] = [
  [['1 invoke send#t1 a'], "line 1: no transaction 't1' was begun"],
  [
    ['1 ok begin order-1', '1 invoke commit order1'],
    "line 2: no transaction 'order1' was begun; did you mean 'order-1'?",
  ],
  [['1 ok begin t1', '1 ok begin t1'], "line 2: transaction 't1' was begun in line 1: ids are unique"],
  [
    ['1 invoke begin t1', '1 ok begin t1', '1 invoke begin t1'],
    "line 3: transaction 't1' was begun in line 1: ids are unique",
  ],
  [['1 ok begin t1', '1 ok commit t1'], "line 2: 'commit' of transaction 't1' is answered and was not asked for"],
  [
    ['1 ok begin t1', '1 invoke commit t1', '1 ok abort t1'],
    "line 3: 'abort' of transaction 't1' is answered and was not asked for",
  ],
  [
    ['1 ok begin t1', '1 invoke commit t1', '1 invoke send#t1 a'],
    "line 3: 'send' in transaction 't1', which has its commit open since line 2",
  ],
  [
    ['1 ok begin t1', '1 invoke commit t1', '1 ok commit t1', '1 ok poll#t1'],
    "line 4: 'poll' in transaction 't1', which was committed in line 3",
  ],
  [
    ['1 ok begin t1', '1 invoke commit t1', '1 info commit t1', '1 invoke commitOffsets#t1 g @1'],
    "line 4: 'commitOffsets' in transaction 't1', which has been in doubt since line 3",
  ],
  [
    ['1 ok begin t1', '1 invoke abort t1', '1 ok abort t1', '1 invoke commit t1'],
    "line 4: 'commit' of transaction 't1', which was aborted in line 3",
  ],
  [
    ['1 ok begin t1', '1 ok send#t1 a@0'],
    "line 2: 'send' of 'a' in transaction 't1' is answered and was not asked for",
  ],
  [
    ['1 ok begin t1', '1 ok begin t2', '1 invoke send#t1 a', '1 ok send#t2 a@0'],
    "line 4: 'a' was not sent in transaction 't2' in line 3",
  ],
  [
    ['1 invoke send a', '1 ok begin t1', '1 invoke send#t1 a'],
    "line 3: 'a' was sent in line 1: values name records, and are unique",
  ],
  [['1 ok commitOffsets g'], "line 1: 'commitOffsets' of group 'g' is answered and was not asked for"],
  [
    ['1 invoke commitOffsets g @1', '1 invoke commitOffsets g @2'],
    "line 2: 'commitOffsets' of group 'g' is open since line 1",
  ],
]

test('lines that cannot follow each other are named', () => {
  for (const [lines, message] of REFUSED)
    assert.throws(
      () => kinds(...lines),
      (error: Error) => {
        assert.ok(error instanceof HistoryError, error.stack)
        assert.equal(error.message, message)
        return true
      },
    )
})
