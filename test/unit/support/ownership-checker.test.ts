/** Each rule of the ownership checker and of the owner watch is broken once and found; what the modes allow is not. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  type JournalEntry,
  type MemberNote,
  type NoteKind,
  OWNERSHIPS_PER_MEMBER,
} from '../../support/group-crashes/member-journal.ts'
import { type MemberEvent, OwnerWatch } from '../../support/group-crashes/owner-watch.ts'
import {
  type CheckerOptions,
  type Observation,
  OwnershipChecker,
} from '../../support/group-crashes/ownership-checker.ts'

const TOPIC = 't'
/** Ownerships of two members. */
const [A, B, C] = [OWNERSHIPS_PER_MEMBER + 1, 2 * OWNERSHIPS_PER_MEMBER + 1, 3 * OWNERSHIPS_PER_MEMBER + 1]

/** What happens to one partition, in this order; record n is `k:n` at offset n. */
class Story {
  readonly entries: (JournalEntry | Observation)[] = []
  readonly killed = new Set<number>()
  readonly #options: CheckerOptions
  #atMs = 0

  constructor(options: Partial<CheckerOptions> = {}) {
    this.#options = { partitions: 1, semantics: 'at-least-once', order: 'partition', ...options }
  }

  assigned(ownership: number, offset: number): this {
    const positions = [{ topic: TOPIC, partition: 0, offset }]
    return this.#add({ process: ownership, type: 'ok', line: 0, f: 'assign', positions })
  }

  handled(ownership: number, ...offsets: number[]): this {
    for (const offset of offsets) {
      const records = [{ topic: TOPIC, partition: 0, offset, value: `k:${offset}` }]
      this.#add({ process: ownership, type: 'ok', line: 0, f: 'poll', records, final: false })
    }
    return this
  }

  note(note: NoteKind, ownership: number, offset = -1): this {
    const atMs = ++this.#atMs
    const entry: MemberNote = { note, process: ownership, partition: 0, offset, atMs }
    this.entries.push({ kind: 'note', atMs, note: entry })
    return this
  }

  observed(offset: number): this {
    this.entries.push({
      kind: 'observed',
      askedAtMs: ++this.#atMs,
      atMs: ++this.#atMs,
      offsets: new Map([[0, offset]]),
    })
    return this
  }

  killedMember(ownership: number): this {
    this.killed.add(Math.floor(ownership / OWNERSHIPS_PER_MEMBER))
    return this
  }

  #add(operation: Extract<JournalEntry, { kind: 'history' }>['operation']): this {
    this.entries.push({ kind: 'history', atMs: ++this.#atMs, operation })
    return this
  }

  judge(end: number): OwnershipChecker {
    const checker = new OwnershipChecker(this.#options)
    const sends = Array.from({ length: end }, (_, offset) => ({
      ...{ process: 0, type: 'ok' as const, f: 'send' as const, line: offset + 1 },
      records: [{ topic: TOPIC, partition: 0, offset, value: `k:${offset}` }],
    }))
    checker.endWindow({ sends, entries: this.entries, ends: [end], wasKilled: (member) => this.killed.has(member) })
    return checker
  }

  /** Names of the rules that were broken. */
  broken(end: number): string[] {
    return [...new Set(this.judge(end).violations.map((text) => text.split(':')[0]!))].sort()
  }
}

const atMostOnce = { semantics: 'at-most-once' } as const

describe('at-least-once', () => {
  test('an answer of the coordinator that was asked for before the window is no commit that fell', () => {
    const checker = new Story().assigned(A, 0).handled(A, 0, 1, 2).note('committed', A, 3).judge(3)
    const late = new Story().observed(1)
    checker.endWindow({ sends: [], entries: late.entries, ends: [3], wasKilled: () => false })
    assert.deepEqual(checker.violations, [])
    const story = new Story().assigned(A, 0).handled(A, 0, 1, 2).note('committed', A, 3)
    assert.deepEqual(story.observed(1).broken(3), ['committed-fell'])
  })

  test('what a member that has not ended handles again is judged when it is known how it ends', () => {
    const repeating = (): Story =>
      new Story()
        .assigned(A, 0)
        .handled(A, 0)
        .note('committed', A, 1)
        .assigned(B, 1)
        .handled(B, 1)
        .note('committed', B, 2)
    const story = repeating().handled(A, 1)
    const checker = story.judge(2)
    assert.deepEqual(checker.violations, [], 'it may be fenced and not know it')
    const next = (end: Story) =>
      checker.endWindow({ sends: [], entries: end.entries, ends: [2], wasKilled: () => false })
    next(new Story())
    assert.deepEqual(checker.violations, [], 'nor in the next window')
    next(new Story().note('lost', A))
    assert.deepEqual(checker.violations, [])
    const refused = repeating().handled(A, 1).note('commitFailed', A, 2).note('revoked', A).note('committed', B, 2)
    assert.deepEqual(refused.broken(2), [], 'it gave up in order what it had no more')

    assert.deepEqual(
      repeating().handled(A, 1).note('committed', A, 2).note('committed', B, 2).broken(2),
      ['repeated'],
      'two owners commit',
    )
    assert.deepEqual(
      repeating().handled(A, 1).note('revoked', A).note('committed', B, 2).broken(2),
      ['repeated'],
      'it was never fenced',
    )
  })

  test('a takeover after a crash repeats what was not committed', () => {
    const story = new Story().assigned(A, 0).handled(A, 0, 1, 2).note('committed', A, 1).killedMember(A)
    const checker = story.observed(1).assigned(B, 1).handled(B, 1, 2, 3).note('committed', B, 4).judge(4)
    assert.deepEqual(checker.violations, [])
    const { handled, repeated, unhandled, died } = checker.counts
    assert.deepEqual({ handled, repeated, unhandled, died }, { handled: 6, repeated: 2, unhandled: 0, died: 1 })
  })

  test('a member that was fenced may end what it had begun', () => {
    const story = new Story().assigned(A, 0).handled(A, 0).note('committed', A, 1).assigned(B, 1).handled(B, 1)
    assert.deepEqual(
      story.handled(A, 1).note('lost', A).handled(A, 2).handled(B, 2).note('committed', B, 3).broken(3),
      [],
    )
  })

  test('a member that was stopped may be assigned what others have had since, and hear that it is fenced', () => {
    const story = new Story().assigned(A, 0).handled(A, 0, 1).note('committed', A, 2).note('revoked', A)
    assert.deepEqual(story.assigned(B, 0).note('lost', B).assigned(C, 2).handled(C, 2).broken(3), [])
  })

  test('a handler that was blocked while others took over ends after the window', () => {
    const story = new Story().assigned(A, 0).handled(A, 0).note('committed', A, 1)
    const checker = story.assigned(B, 1).handled(B, 1).note('committed', B, 2).judge(2)
    const { entries } = new Story().note('fenced', A).handled(A, 1).note('lost', A)
    checker.endWindow({ sends: [], entries, ends: [2], wasKilled: () => false })
    assert.deepEqual([checker.violations, checker.counts.repeated], [[], 1])
  })

  test('a start behind what was handled', () => {
    const story = new Story().assigned(A, 0).handled(A, 0).killedMember(A)
    assert.deepEqual(story.assigned(B, 2).handled(B, 2).broken(3), [
      'first-order',
      'lost-write',
      'skipped',
      'unhandled',
    ])
  })

  test('a start before what was committed', () => {
    const story = new Story().assigned(A, 0).handled(A, 0, 1).note('committed', A, 2).killedMember(A)
    assert.deepEqual(story.assigned(B, 1).handled(B, 1, 2).note('committed', B, 3).broken(3), ['start'])
  })

  test('what was given up in order is handled again', () => {
    const story = new Story().assigned(A, 0).handled(A, 0, 1).note('committed', A, 1).note('revoked', A)
    assert.deepEqual(story.assigned(B, 1).handled(B, 1, 2).note('committed', B, 3).broken(3), ['handover', 'repeated'])
  })

  test('handled after it was given up', () => {
    const story = new Story().assigned(A, 0).handled(A, 0).note('committed', A, 1).note('revoked', A).handled(A, 1)
    assert.deepEqual(story.assigned(B, 1).handled(B, 1).broken(2), ['not-owned'])
  })

  test('committed before it was handled, told to a member or to somebody else', () => {
    assert.deepEqual(new Story().assigned(A, 0).note('committed', A, 1).handled(A, 0).broken(1), ['early-commit'])
    assert.deepEqual(new Story().assigned(A, 0).observed(1).handled(A, 0).broken(1), ['early-commit'])
  })

  test('a committed offset falls', () => {
    const story = new Story().assigned(A, 0).handled(A, 0, 1)
    assert.deepEqual(story.note('committed', A, 2).observed(1).broken(2), ['committed-fell'])
    assert.deepEqual(story.note('committed', A, 1).broken(2), ['committed-fell'])
  })

  test('within an ownership offsets go back, or jump', () => {
    assert.ok(new Story().assigned(A, 0).handled(A, 0, 1, 0).broken(2).includes('order'))
    assert.ok(new Story().assigned(A, 0).handled(A, 0, 2, 1).broken(3).includes('order'))
  })

  test('of a key the later record is handled first', () => {
    const story = new Story({ order: 'key' }).assigned(A, 0).handled(A, 1, 0)
    assert.deepEqual(story.broken(2), ['first-order', 'order'])
  })

  test('never handled', () => {
    assert.ok(new Story().assigned(A, 0).handled(A, 0).broken(2).includes('unhandled'))
  })
})

describe('at-most-once', () => {
  test('a crash loses what was committed and not handled', () => {
    const story = new Story(atMostOnce).assigned(A, 0).note('committed', A, 3).handled(A, 0).killedMember(A)
    const checker = story.assigned(B, 3).note('committed', B, 4).handled(B, 3).judge(4)
    assert.deepEqual(checker.violations, [])
    assert.equal(checker.counts.unhandled, 2)
  })

  test('lost without a crash', () => {
    const story = new Story(atMostOnce).assigned(A, 0).note('committed', A, 2).handled(A, 0).note('revoked', A)
    assert.deepEqual(story.assigned(B, 2).note('committed', B, 3).handled(B, 2).broken(3), ['handover', 'unhandled'])
  })

  test('handled twice, after a crash, too', () => {
    const story = new Story(atMostOnce).assigned(A, 0).note('committed', A, 1).handled(A, 0).killedMember(A)
    assert.ok(story.assigned(B, 0).note('committed', B, 1).handled(B, 0).broken(1).includes('repeated'))
  })

  test('handled before it is committed', () => {
    assert.deepEqual(new Story(atMostOnce).assigned(A, 0).handled(A, 0).note('committed', A, 1).broken(1), [
      'late-commit',
    ])
  })
})

describe('partitions without an owner', () => {
  const SESSION_MS = 1_000
  const NO_DELAYS = { stoodMs: 0, lateMs: 0 }

  function watched(takeoverMs: number, delays = NO_DELAYS): OwnerWatch {
    const watch = new OwnerWatch({ partitions: 1, sessionTimeoutMs: SESSION_MS, delaysWithin: () => delays })
    const note = (what: NoteKind, process: number, atMs: number): JournalEntry => ({
      ...{ kind: 'note', atMs },
      note: { note: what, process, partition: -1, offset: -1, atMs },
    })
    const assign = (process: number, atMs: number): JournalEntry => ({
      ...{ kind: 'history', atMs },
      operation: {
        ...{ process, type: 'ok', line: 0, f: 'assign' },
        positions: [{ topic: TOPIC, partition: 0, offset: 0 }],
      },
    })
    const killed: MemberEvent = { kind: 'event', what: 'killed', member: 1, atMs: 1_000 }
    const owners = [note('started', A, 0), note('started', B, 0), assign(A, 100), killed, assign(B, 1_000 + takeoverMs)]
    watch.take(owners)
    return watch
  }

  test('a takeover within the session and two seconds', () => {
    const watch = watched(2_900)
    assert.deepEqual([watch.violations, watch.gaps, watch.excused, watch.gapMsMax], [[], 2, 0, 2_900])
  })

  test('one that takes longer', () => {
    assert.equal(watched(3_100).violations.length, 1)
  })

  test('what the machine stood still is taken off; one that was late excuses, but not everything', () => {
    const stood = watched(3_500, { stoodMs: 600, lateMs: 600 })
    assert.deepEqual([stood.violations, stood.excused], [[], 0])
    const late = watched(3_500, { stoodMs: 0, lateMs: 400 })
    assert.deepEqual([late.violations, late.excused], [[], 1])
    assert.equal(watched(3_500, { stoodMs: 0, lateMs: 100 }).violations.length, 1)
    assert.equal(watched(14_000, { stoodMs: 0, lateMs: 13_000 }).violations.length, 1)
  })
})
