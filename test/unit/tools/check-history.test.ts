/** The checker, checked: every anomaly is found in hand-made histories, no false alarm on random clean ones. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeededPrng } from '../../../src/base/prng.ts'
import type { AnomalyKind } from '../../../src/tools/anomaly.ts'
import { checkHistory } from '../../../src/tools/check-history.ts'
import { HistoryError, parseHistory } from '../../../src/tools/history.ts'
import { history } from '../../support/history-text.ts'

function kinds(...lines: string[]): AnomalyKind[] {
  return checkHistory(history(...lines)).anomalies.map((anomaly) => anomaly.kind)
}

const SENT = [
  '1 invoke send a',
  '1 ok send a@0',
  '1 invoke send b',
  '1 ok send b@1',
  '1 invoke send c',
  '1 ok send c@2',
]

const CASES = {
  'lost-write': [...SENT, '2 ok assign @0', '2 ok final a@0 b@1', '2 ok final'],
  unseen: [...SENT, '2 ok poll a@0 b@1'],
  duplicate: [...SENT, '2 ok final a@0 b@1 c@2 a@3'],
  'inconsistent-offsets': [...SENT, '1 invoke send d', '1 info send d', '2 ok final a@0 b@1 c@2', '3 ok poll d@1'],
  phantom: [...SENT, '2 ok final a@0 b@1 c@2 ghost@3'],
  'failed-visible': [...SENT, '1 invoke send d', '2 ok final a@0 b@1 c@2 d@3', '1 fail send d'],
  'nonmonotonic-poll': [...SENT, '2 ok poll a@0 b@1', '2 ok poll b@1', '3 ok final a@0 b@1 c@2'],
  'int-nonmonotonic-poll': [...SENT, '2 ok poll a@0 b@1 a@0', '3 ok final a@0 b@1 c@2'],
  'poll-skip': [...SENT, '2 ok poll a@0', '2 ok poll c@2', '3 ok final a@0 b@1 c@2'],
  'int-poll-skip': [...SENT, '2 ok poll a@0 c@2', '3 ok final a@0 b@1 c@2'],
  'nonmonotonic-send': ['1 invoke send a', '1 ok send a@1', '1 invoke send b', '1 ok send b@0', '2 ok final b@0 a@1'],
  'int-nonmonotonic-send': ['1 invoke send a b', '1 ok send a@1 b@0', '2 ok final b@0 a@1'],
} satisfies Partial<Record<AnomalyKind, string[]>>

for (const [kind, lines] of Object.entries(CASES)) {
  test(`finds ${kind}, and nothing else`, () => assert.deepEqual([...new Set(kinds(...lines))], [kind]))
}

test('overlapping sends may be answered in another order, but not stored in another', () => {
  const began = ['1 invoke send a', '1 invoke send b']
  assert.deepEqual(kinds(...began, '1 ok send b@1', '1 ok send a@0', '2 ok final a@0 b@1'), [])
  assert.deepEqual(kinds(...began, '1 ok send b@0', '1 ok send a@1', '2 ok final b@0 a@1'), ['nonmonotonic-send'])
})

test('a skip shown only by later evidence is found', () => {
  assert.deepEqual(
    kinds('2 ok assign @0', '2 ok poll c@2', '1 invoke send a b c', '1 ok send a@0 b@1 c@2', '3 ok final a@0 b@1 c@2'),
    ['poll-skip'],
  )
})

test('a seek back, an unknown outcome and a gap that nothing is known of are no anomalies', () => {
  assert.deepEqual(
    kinds(
      ...SENT,
      '2 ok poll a@0 b@1',
      '2 ok assign @0',
      '2 ok poll a@0 b@1 c@2',
      '2 ok final',
      '1 invoke send d',
      '1 info send d',
    ),
    [],
  )
  assert.deepEqual(
    kinds('1 invoke send a', '1 ok send a@0', '1 invoke send b', '1 ok send b@5', '2 ok final a@0 b@5'),
    [],
  )
})

test('only what is wrong makes a history invalid', () => {
  assert.equal(checkHistory(history(...CASES.unseen)).valid, true)
  assert.equal(checkHistory(history(...CASES['lost-write'])).valid, false)
})

test('bad lines are named', () => {
  for (const [text, what] of [
    ['{', /line 1: not JSON/],
    ['[]', /line 1: not a JSON object/],
    ['{"process":"x"}', /line 1: 'process'/],
    ['\n{"process":1,"type":"maybe"}', /line 2: 'type'/],
    ['{"process":1,"type":"ok","f":"sing"}', /line 1: 'f'/],
    ['{"process":1,"type":"ok","f":"drained","input":"in"}', /line 1: 'output' is not a name/],
    ['{"process":1,"type":"info","f":"drained","input":"in","output":"out"}', /line 1: 'drained' is a fact/],
    ['{"process":1,"type":"ok","f":"begn"}', /line 1: 'f' is not one of .*; did you mean 'begin'\?/],
    ['{"process":1,"type":"ok","f":"commit"}', /line 1: 'txn' is not a name/],
    ['{"process":1,"type":"invoke","f":"send","txn":7,"records":[]}', /line 1: 'txn' is not a name/],
    [
      '{"process":1,"type":"ok","f":"poll","isolation":"read_comitted"}',
      /line 1: 'isolation' is not one of read_committed, read_uncommitted; did you mean 'read_committed'\?/,
    ],
    ['{"process":1,"type":"ok","f":"poll","final":"yes"}', /line 1: 'final' is neither true nor false/],
    ['{"process":1,"type":"invoke","f":"commitOffsets","positions":[]}', /line 1: 'group' is not a name/],
    ['{"process":1,"type":"invoke","f":"commitOffsets","group":"g"}', /line 1: 'positions' is not an array/],
    ['{"process":1,"type":"ok","f":"commitOffsets","group":"g","seek":1}', /line 1: 'seek' is neither true nor false/],
    [
      '{"process":1,"type":"invoke","f":"send","records":[{"topic":"t","partition":0,"value":"v","from":3}]}',
      /line 1: records\[0\]: 'from' is not a string/,
    ],
    [
      '{"process":1,"type":"ok","f":"poll","records":[{"topic":"t","partition":0,"value":"v"}]}',
      /records\[0\]: 'offset'/,
    ],
    [
      '{"process":1,"type":"ok","f":"assign","positions":[{"topic":"t","partition":-1,"offset":0}]}',
      /positions\[0\]: 'partition'/,
    ],
  ] as const) {
    assert.throws(
      () => parseHistory(text),
      (error: Error) => error instanceof HistoryError && what.test(error.message),
    )
  }
})

/** A history of a log that works: producers with unknown outcomes, readers that seek, a final read. */
function cleanHistory(prng: SeededPrng): { lines: string[]; logs: string[][] } {
  const lines: string[] = []
  const logs: string[][] = [[], []]
  const positions = new Map<string, number>()
  let serial = 0
  const poll = (process: number, partition: number, kind: string, most: number) => {
    const key = `${process} ${partition}`
    const from = positions.get(key) ?? 0
    const log = logs[partition] as string[]
    const upTo = Math.min(log.length, from + most)
    lines.push(
      [
        process,
        'ok',
        kind,
        ...log.slice(from, upTo).map((value, index) => `${value}@${from + index}/${partition}`),
      ].join(' '),
    )
    positions.set(key, upTo)
  }
  for (let step = 0; step < 40; step++) {
    const process = prng.below(3)
    const partition = prng.below(2)
    const log = logs[partition] as string[]
    if (prng.below(2) === 0) {
      const values = Array.from({ length: 1 + prng.below(3) }, () => `v${serial++}`)
      lines.push([process, 'invoke', 'send', ...values.map((value) => `${value}/${partition}`)].join(' '))
      const fate = prng.below(10)
      if (fate > 0) log.push(...values)
      if (fate === 0) lines.push([process, 'fail', 'send', ...values.map((value) => `${value}/${partition}`)].join(' '))
      else if (fate === 1)
        lines.push([process, 'info', 'send', ...values.map((value) => `${value}/${partition}`)].join(' '))
      else
        lines.push(
          [
            process,
            'ok',
            'send',
            ...values.map((value, index) => `${value}@${log.length - values.length + index}/${partition}`),
          ].join(' '),
        )
    } else if (prng.below(6) === 0) {
      const to = prng.below(log.length + 1)
      lines.push(`${process + 10} ok assign @${to}/${partition}`)
      for (const key of positions.keys()) if (key.startsWith(`${process + 10} `)) positions.delete(key)
      positions.set(`${process + 10} ${partition}`, to)
      // What is not assigned is not read: the other partition starts where the reader next looks at it.
      positions.set(`${process + 10} ${1 - partition}`, 0)
    } else poll(process + 10, partition, 'poll', 1 + prng.below(4))
  }
  for (const partition of [0, 1]) poll(99, partition, 'final', Number.MAX_SAFE_INTEGER)
  return { lines, logs }
}

test('no false alarm on 1,000 clean histories; a record taken from the final read is always missed', () => {
  for (let seed = 1; seed <= 1000; seed++) {
    const prng = new SeededPrng(seed)
    const { lines } = cleanHistory(prng)
    assert.deepEqual(kinds(...lines), [], `seed ${seed}`)
    const last = lines.at(-1) as string
    const polled = last.split(' ').slice(3)
    const acknowledged = polled.filter((value) =>
      lines.some((line) => line.includes(` ok send`) && line.split(' ').includes(value)),
    )
    const others = lines.slice(0, -1).filter((line) => !/ ok (poll|assign|final)/.test(line) || line.startsWith('99 '))
    if (acknowledged.length === 0) continue
    const taken = acknowledged[prng.below(acknowledged.length)] as string
    const found = kinds(
      ...others,
      last
        .split(' ')
        .filter((value) => value !== taken)
        .join(' '),
      '99 ok final',
    )
    assert.ok(found.includes('lost-write'), `seed ${seed}: ${taken} was taken, found ${found.join()}`)
  }
})
