/** divergence and truncation against what they are for: whatever leaders there were, a follower ends at the longest common prefix. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { LeaderEpochEntry } from '../../../src/log/recovered-partition.ts'
import { compareHistory } from '../../../src/replication/divergence.ts'
import { endOfEpochAtMost } from '../../../src/replication/epoch-ends.ts'
import { decideTruncation } from '../../../src/replication/truncation.ts'

/** A log: the epoch of each record. Records of one epoch were written by one leader: same epoch and offset, same record. */
type Log = number[]

function entriesOf(log: Log, from = 0): LeaderEpochEntry[] {
  const entries: LeaderEpochEntry[] = []
  for (let offset = from; offset < log.length; offset++)
    if (entries.at(-1)?.[0] !== log[offset]) entries.push([log[offset]!, offset])
  return entries
}

function leaderOf(log: Log, logStartOffset = 0) {
  return { entries: entriesOf(log, logStartOffset), logEndOffset: log.length, logStartOffset }
}

function commonPrefix(left: Log, right: Log): number {
  let end = 0
  while (end < left.length && end < right.length && left[end] === right[end]) end++
  return end
}

/** Asks and cuts until the histories agree; the offset at which the log ends then. */
function follow(follower: Log, leader: Log, options: { highWatermark?: number; logStartOffset?: number } = {}): number {
  const { highWatermark = 0, logStartOffset = 0 } = options
  const log = [...follower]
  for (let round = 0; round <= follower.length + 1; round++) {
    const answer = compareHistory(leaderOf(leader, logStartOffset), {
      fetchOffset: log.length,
      lastEpoch: log.at(-1) ?? -1,
    })
    if (answer.kind === 'agrees') return log.length
    if (answer.kind === 'below-start') return logStartOffset
    const own = { entries: entriesOf(log), logEndOffset: log.length, logStartOffset: 0, highWatermark }
    const cut = decideTruncation(own, { ...answer, logStartOffset })
    if (cut.kind === 'restart') return cut.offset
    assert.equal(cut.kind, 'cut', 'text' in cut ? cut.text : '')
    if (cut.kind !== 'cut') break
    assert.ok(cut.offset < log.length, 'each answer makes the log shorter')
    log.length = cut.offset
  }
  return assert.fail('it never agrees')
}

type Step =
  | { readonly kind: 'append'; readonly records: number }
  | { readonly kind: 'replicate'; readonly to: number; readonly records: number }
  | { readonly kind: 'elect'; readonly leader: number }

const history = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('append' as const), records: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ kind: fc.constant('replicate' as const), to: fc.nat(2), records: fc.integer({ min: 1, max: 6 }) }),
    fc.record({ kind: fc.constant('elect' as const), leader: fc.nat(2) }),
  ),
  { maxLength: 60 },
)

/** Three replicas, any of them elected at any time: also those that lack what others have. */
function play(steps: readonly Step[]): { logs: Log[]; leader: number } {
  const logs: Log[] = [[], [], []]
  let leader = 0
  let epoch = 1
  for (const step of steps) {
    const from = logs[leader]!
    if (step.kind === 'append') for (let count = 0; count < step.records; count++) from.push(epoch)
    else if (step.kind === 'elect') {
      leader = step.leader
      epoch++
    } else if (step.to !== leader) {
      const to = logs[step.to]!
      to.length = follow(to, from)
      to.push(...from.slice(to.length, to.length + step.records))
    }
  }
  return { logs, leader }
}

describe('histories', () => {
  test('a follower ends at the longest common prefix with its leader, whoever led before', () => {
    fc.assert(
      fc.property(history, (steps) => {
        const { logs, leader } = play(steps)
        for (const log of logs) assert.equal(follow(log, logs[leader]!), commonPrefix(log, logs[leader]!))
      }),
      { numRuns: 500 },
    )
  })

  test('the leader may have trimmed: who ends at or past its start agrees by what is left, who ends below begins anew', () => {
    fc.assert(
      fc.property(history, fc.nat(40), (steps, trim) => {
        const { logs, leader } = play(steps)
        const from = logs[leader]!
        const logStartOffset = Math.min(trim, from.length)
        for (const log of logs) {
          const at = { fetchOffset: log.length, lastEpoch: log.at(-1) ?? -1 }
          if (log.length < logStartOffset)
            assert.equal(compareHistory(leaderOf(from, logStartOffset), at).kind, 'below-start')
          else assert.equal(follow(log, from, { logStartOffset }), Math.max(commonPrefix(log, from), logStartOffset))
        }
      }),
      { numRuns: 500 },
    )
  })

  test('who ends at the log start of its leader, with what the leader cannot compare, begins anew: it may be of a leader that was deposed', () => {
    // At 2 the leader had a record of epoch 3, which is trimmed; the follower has one of epoch 1 there.
    const leader = leaderOf([1, 1, 3, 3], 3)
    assert.deepEqual(leader.entries, [[3, 3]])
    const answer = compareHistory(leader, { fetchOffset: 3, lastEpoch: 1 })
    assert.deepEqual(answer, { kind: 'diverging', epoch: 1, endOffset: 3 })
    const own = { entries: entriesOf([1, 1, 1]), logEndOffset: 3, logStartOffset: 0, highWatermark: 2 }
    assert.deepEqual(decideTruncation(own, { epoch: 1, endOffset: 3, logStartOffset: 3 }), {
      kind: 'restart',
      offset: 3,
    })
    // Empty by now, or with the leader's own record there, it agrees.
    assert.deepEqual(compareHistory(leader, { fetchOffset: 3, lastEpoch: -1 }), { kind: 'agrees' })
    assert.deepEqual(compareHistory(leader, { fetchOffset: 3, lastEpoch: 3 }), { kind: 'agrees' })
  })

  test('two quick leader changes: the epoch, not only the offset, says where to cut (KIP-279)', () => {
    // Leaders of epochs 1, 2 and 3; the follower has of 1 and 2, the leader of 1 and 3.
    assert.equal(follow([1, 1, 1, 2, 2], [1, 1, 3, 3, 3, 3]), 2)
    assert.equal(follow([1, 2, 2, 2], [1, 1, 3]), 1)
    const answer = compareHistory(leaderOf([1, 1, 3, 3, 3, 3]), { fetchOffset: 5, lastEpoch: 2 })
    assert.deepEqual(answer, { kind: 'diverging', epoch: 1, endOffset: 2 })
    // The follower has nothing of epoch 1: what it has of 0 is asked about next.
    const own = { entries: entriesOf([0, 0, 2, 2]), logEndOffset: 4, logStartOffset: 0, highWatermark: 0 }
    assert.deepEqual(decideTruncation(own, { epoch: 1, endOffset: 9, logStartOffset: 0 }), {
      kind: 'cut',
      offset: 2,
      isDone: false,
    })
  })

  test('a follower past the log end under the present epoch is told where that is', () => {
    assert.deepEqual(compareHistory(leaderOf([1, 1]), { fetchOffset: 3, lastEpoch: 1 }), {
      kind: 'diverging',
      epoch: 1,
      endOffset: 2,
    })
    assert.deepEqual(compareHistory(leaderOf([]), { fetchOffset: 3, lastEpoch: 1 }), {
      kind: 'diverging',
      epoch: 1,
      endOffset: 0,
    })
    assert.equal(compareHistory(leaderOf([]), { fetchOffset: 0, lastEpoch: -1 }).kind, 'agrees')
  })

  test('a cut below the high watermark or the log start is none: the log is set aside, told with both; one by which nothing goes is late', () => {
    const own = { entries: entriesOf([1, 1, 1, 2]), logEndOffset: 4, logStartOffset: 0, highWatermark: 3 }
    const fault = decideTruncation(own, { epoch: 1, endOffset: 2, logStartOffset: 0 })
    assert.equal(fault.kind, 'set-aside')
    assert.match(fault.kind === 'set-aside' ? fault.text : '', /ends at offset 2: .* \[2, 4\) .* high watermark 3/)
    assert.deepEqual(decideTruncation(own, { epoch: 1, endOffset: 3, logStartOffset: 0 }), {
      kind: 'cut',
      offset: 3,
      isDone: true,
    })
    assert.equal(
      decideTruncation({ ...own, highWatermark: 0, logStartOffset: 3 }, { epoch: 1, endOffset: 2, logStartOffset: 0 })
        .kind,
      'set-aside',
    )
    assert.equal(decideTruncation(own, { epoch: 2, endOffset: 9, logStartOffset: 0 }).kind, 'nothing')
  })

  test('the largest epoch that is not above: its end is where the next began, or the log end', () => {
    const log = { entries: entriesOf([2, 2, 5, 5, 5, 7]), logEndOffset: 6 }
    assert.deepEqual(
      [1, 2, 4, 5, 6, 7, 9].map((epoch) => endOfEpochAtMost(log, epoch)),
      [
        undefined,
        { epoch: 2, endOffset: 2 },
        { epoch: 2, endOffset: 2 },
        { epoch: 5, endOffset: 5 },
        { epoch: 5, endOffset: 5 },
        { epoch: 7, endOffset: 6 },
        { epoch: 7, endOffset: 6 },
      ],
    )
  })
})
