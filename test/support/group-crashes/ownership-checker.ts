/**
 * OwnershipChecker: judges what the members of one group did, from their journals and from what the coordinator said of its
 * committed offsets. An ownership is a partition with one member from its assignment to its end:
 *
 *   revoked   in order: it was given up, or its member left
 *   lost      its member was fenced and heard of it; what it had begun it may still end
 *   died      its member was killed
 *
 *   rule                  at-least-once                                       at-most-once
 *   start                 at a committed offset that is not below any told of before
 *   skipped               everything below the start has been handled         -
 *   order                 order 'partition': offsets rise by one from the start; 'key': each key's rise
 *   first-order           of each key the next one is handled first           no earlier one after a later one
 *   early-commit          what is committed has been handled, all below too   -
 *   late-commit           -                                                   what is handled had been committed
 *   handover              after 'revoked' begins where that ended             the same
 *   repeated              only what, or by whom, was lost or died             never
 *   unhandled             never                                               only in an ownership lost or died
 *   not-owned             nothing is handled before 'assigned', nor after 'revoked'
 *   committed-fell        never, as the coordinator tells it and as members are told
 *   + all that HistoryChecker finds between what was sent and what was handled
 *
 * Stale     a member that was stopped may say that it is assigned what others have had since: it was fenced meanwhile and hears of it
 *           next. So 'start' and 'handover' hold of ownerships that are proven: they have committed.
 *           And who ended as lost or died, or whose last commit was refused, may have repeated what others handled: it did not know. One that has not ended by the end of
 *           the window may still hear that it was fenced: 'repeated' waits until it has ended, or both have committed since.
 * Windows   events come in windows; between two of them all was handled and committed, so that only a few numbers stay. A handler that
 *           was blocked meanwhile may still end in the next one: a record of a window before is no business of HistoryChecker
 * Limits    memory grows with the records of a window
 */
import { HistoryChecker } from '../../../src/tools/check-history.ts'
import type { PollOperation, SendOperation } from '../../../src/tools/history.ts'
import { type JournalEntry, type MemberNote, memberOf, OWNERSHIPS_PER_MEMBER } from './member-journal.ts'

export interface CheckerOptions {
  readonly partitions: number
  readonly semantics: 'at-least-once' | 'at-most-once'
  readonly order: 'partition' | 'key'
}

/** Committed offsets, by partition, as somebody outside the group was told them. */
export interface Observation {
  readonly kind: 'observed'
  readonly askedAtMs: number
  readonly atMs: number
  readonly offsets: ReadonlyMap<number, number>
}

export interface CheckerWindow {
  readonly sends: readonly SendOperation[]
  readonly entries: readonly (JournalEntry | Observation)[]
  /** Offsets after the last record, by partition. */
  readonly ends: readonly number[]
  readonly wasKilled: (member: number) => boolean
}

export interface CheckerCounts {
  handled: number
  repeated: number
  unhandled: number
  /** Ownerships by how they ended. */
  revoked: number
  lost: number
  died: number
}

/** Offsets that have been handled, from a start on. */
class Handled {
  /** All from the start to here. */
  next: number
  readonly #ahead = new Set<number>()

  constructor(start: number) {
    this.next = start
  }

  has(offset: number): boolean {
    return offset < this.next || this.#ahead.has(offset)
  }

  add(offset: number): void {
    if (offset < this.next) return
    this.#ahead.add(offset)
    while (this.#ahead.delete(this.next)) this.next++
  }
}

interface Ownership {
  readonly id: number
  readonly partition: number
  readonly start: number
  readonly handled: Handled
  end: 'open' | 'revoked' | 'lost' | 'died'
  /** 'revoked' has been met: nothing more may come. */
  isOver: boolean
  hasFailedCommit: boolean
  isProven: boolean
  /** How often it has committed. */
  commits: number
  committed: number
  readonly keys: Map<string, number>
}

interface PartitionFacts {
  /** By anybody. */
  handled: Handled
  /** The largest that anybody was told. */
  committed: number
  /** offset -> who handled it last; of this window */
  readonly handledBy: Map<number, Ownership>
  /** In the order in which they began; the last one of the window before is the first. */
  ownerships: Ownership[]
}

/** Handled again by somebody who has not ended: it may not have heard yet that it was fenced. */
interface Suspicion {
  readonly ownerships: readonly (readonly [ownership: Ownership, commits: number])[]
  readonly partition: number
  readonly text: string
}

type Asked = { readonly kind: 'asked'; readonly atMs: number; readonly observation: Observation }
type Step = JournalEntry | Observation | Asked

const VIOLATIONS_MAX = 50

export class OwnershipChecker {
  readonly #options: CheckerOptions
  readonly #facts: PartitionFacts[]
  /** Those of this window, and those that are open still. */
  #ownerships = new Map<number, Ownership>()
  /** key -> the largest number of it that has been handled */
  readonly #firsts = new Map<string, number>()
  readonly #committedWhenAsked = new Map<Observation, number[]>()
  #suspicions: Suspicion[] = []
  /** Of the window before: its last step. */
  #endedAtMs = Number.NEGATIVE_INFINITY
  readonly violations: string[] = []
  readonly counts: CheckerCounts = { handled: 0, repeated: 0, unhandled: 0, revoked: 0, lost: 0, died: 0 }

  constructor(options: CheckerOptions) {
    this.#options = options
    this.#facts = Array.from({ length: options.partitions }, () => ({
      ...{ handled: new Handled(0), committed: 0 },
      ...{ handledBy: new Map<number, Ownership>(), ownerships: [] },
    }))
  }

  get #isAtLeastOnce(): boolean {
    return this.#options.semantics === 'at-least-once'
  }

  /** To be called when all that was sent is behind the group. */
  endWindow(window: CheckerWindow): void {
    const asked = window.entries
      .filter((entry) => entry.kind === 'observed')
      // Asked in the window before: what had been told by then is not known any more.
      .filter(({ askedAtMs }) => askedAtMs > this.#endedAtMs)
      .map((observation): Asked => ({ kind: 'asked', atMs: observation.askedAtMs, observation }))
    const steps: Step[] = [...window.entries, ...asked].sort((left, right) => left.atMs - right.atMs)
    this.#endedAtMs = steps.at(-1)?.atMs ?? this.#endedAtMs
    this.#noteEnds(steps, window)
    const begins = this.#facts.map(({ handled }) => handled.next)
    for (const step of steps) this.#take(step)
    this.#decideSuspicions()
    this.#checkUnhandled(window.ends)
    this.#checkHistory(window, begins)
    for (const facts of this.#facts) {
      facts.handledBy.clear()
      facts.ownerships = facts.ownerships.slice(-1)
    }
    for (const [id, { end }] of this.#ownerships) if (end !== 'open') this.#ownerships.delete(id)
  }

  /** How each ownership ended: it is known later than the next one began. */
  #noteEnds(steps: readonly Step[], { wasKilled }: CheckerWindow): void {
    for (const step of steps) {
      if (step.kind === 'history' && step.operation.f === 'assign') this.#begin(step.operation.process, step.operation)
      if (step.kind !== 'note') continue
      const { note, process: id, partition } = step.note
      const ownership = this.#ownerships.get(id)
      if (ownership === undefined || ownership.partition !== partition) continue
      if (note === 'commitFailed') ownership.hasFailedCommit = true
      if (note === 'committed') ownership.isProven = true
      if (note !== 'revoked' && note !== 'lost') continue
      ownership.end = note
      this.counts[note]++
    }
    for (const ownership of this.#ownerships.values()) {
      if (ownership.end !== 'open' || !wasKilled(memberOf(ownership.id))) continue
      ownership.end = 'died'
      this.counts.died++
    }
  }

  #begin(id: number, { positions }: { positions: readonly { partition: number; offset: number }[] }): void {
    for (const { partition, offset: start } of positions)
      this.#ownerships.set(id, {
        ...{ id, partition, start, handled: new Handled(start), end: 'open' as const, isOver: false },
        ...{ hasFailedCommit: false, isProven: false, commits: 0, committed: start, keys: new Map<string, number>() },
      })
  }

  #take(step: Step): void {
    if (step.kind === 'asked') {
      const told = this.#facts.map(({ committed }) => committed)
      this.#committedWhenAsked.set(step.observation, told)
    } else if (step.kind === 'observed') this.#observed(step)
    else if (step.kind === 'note') this.#noted(step.note)
    else if (step.operation.f === 'assign') this.#assigned(this.#ownerships.get(step.operation.process)!)
    else if (step.operation.f === 'poll') this.#handled(step.operation)
  }

  #observed(observation: Observation): void {
    const told = this.#committedWhenAsked.get(observation)
    this.#committedWhenAsked.delete(observation)
    for (const [partition, offset] of observation.offsets) {
      if (told !== undefined && offset < told[partition]!)
        this.#report('committed-fell', partition, `the coordinator says ${offset}, it had said ${told[partition]}`)
      this.#committed(partition, offset)
    }
  }

  #committed(partition: number, offset: number): void {
    const facts = this.#facts[partition]!
    if (this.#isAtLeastOnce && offset > facts.handled.next)
      this.#report('early-commit', partition, `${offset} is committed, handled is all below ${facts.handled.next}`)
    facts.committed = Math.max(facts.committed, offset)
  }

  #noted({ note, process: id, partition, offset }: MemberNote): void {
    const ownership = this.#ownerships.get(id)
    if (note === 'committed') {
      if (ownership !== undefined && ownership.partition === partition) {
        if (offset < ownership.committed)
          this.#report(
            'committed-fell',
            partition,
            `${name(ownership)} committed ${offset} after ${ownership.committed}`,
          )
        ownership.committed = offset
        ownership.commits++
      }
      this.#committed(partition, offset)
    } else if (note === 'revoked' && ownership !== undefined) ownership.isOver = true
  }

  #assigned(ownership: Ownership): void {
    const { partition, start } = ownership
    const facts = this.#facts[partition]!
    const who = name(ownership)
    if (ownership.isProven && start < facts.committed)
      this.#report('start', partition, `${who} begins at ${start}, ${facts.committed} had been committed`)
    if (this.#isAtLeastOnce && start > facts.handled.next)
      this.#report('skipped', partition, `${who} begins at ${start}, handled is all below ${facts.handled.next}`)
    const before = facts.ownerships.at(-1)
    const isHandover = before?.end === 'revoked' && before.isProven && !before.hasFailedCommit && ownership.isProven
    if (isHandover && start !== before.handled.next)
      this.#report(
        'handover',
        partition,
        `${who} begins at ${start}, ${name(before)} gave it up at ${before.handled.next}`,
      )
    facts.ownerships.push(ownership)
  }

  #handled({ process: id, records }: PollOperation): void {
    const ownership = this.#ownerships.get(id)
    for (const { partition, offset, value } of records) {
      this.counts.handled++
      if (ownership === undefined || ownership.isOver || ownership.partition !== partition)
        this.#report('not-owned', partition, `${offset} is handled by ${ownership ? name(ownership) : 'nobody'}`)
      else this.#handledBy(ownership, offset!, value)
    }
  }

  #handledBy(ownership: Ownership, offset: number, value: string): void {
    const { partition } = ownership
    const facts = this.#facts[partition]!
    const [key = '', serialText = ''] = value.split(':')
    const serial = Number(serialText)
    this.#checkOrder(ownership, offset, key, serial)
    if (!this.#isAtLeastOnce && offset >= ownership.committed)
      this.#report(
        'late-commit',
        partition,
        `${name(ownership)} handled ${offset}, ${ownership.committed} was committed`,
      )
    ownership.handled.add(offset)
    const before = facts.handledBy.get(offset)
    if (before !== undefined || offset < facts.handled.next) this.#repeated(ownership, offset, before)
    else this.#first(partition, key, serial)
    facts.handledBy.set(offset, ownership)
    facts.handled.add(offset)
  }

  #checkOrder(ownership: Ownership, offset: number, key: string, serial: number): void {
    const { partition, handled, keys } = ownership
    if (this.#options.order === 'partition' && offset !== handled.next)
      this.#report('order', partition, `${name(ownership)} handled ${offset} where ${handled.next} is next`)
    const last = keys.get(key)
    if (last !== undefined && serial <= last)
      this.#report('order', partition, `${name(ownership)} handled ${key}:${serial} after ${key}:${last}`)
    keys.set(key, serial)
  }

  #repeated(ownership: Ownership, offset: number, before: Ownership | undefined): void {
    this.counts.repeated++
    const by = before === undefined ? 'an earlier window' : `${name(before)} (${before.end})`
    // With order 'key' later records may be handled before an earlier one is: what was given up with it is not committed.
    const mayRepeat =
      wasFenced(ownership) ||
      (before !== undefined && (hasCrashed(before) || before.hasFailedCommit || offset >= before.handled.next))
    if (this.#isAtLeastOnce && mayRepeat) return
    const { partition } = ownership
    const text = `${name(ownership)} handled ${offset}, as had ${by}`
    const open = [ownership, ...(before === undefined ? [] : [before])].filter(({ end }) => end === 'open')
    if (!this.#isAtLeastOnce || open.length === 0) this.#report('repeated', partition, text)
    else this.#suspicions.push({ ownerships: open.map((each) => [each, each.commits]), partition, text })
  }

  /** Later windows tell how those ended that were open. */
  #decideSuspicions(): void {
    this.#suspicions = this.#suspicions.filter(({ ownerships, partition, text }) => {
      if (ownerships.some(([ownership]) => wasFenced(ownership))) return false
      const hasTwoOwners = ownerships.every(([{ end, commits }, before]) => end !== 'open' || commits > before)
      if (hasTwoOwners) this.#report('repeated', partition, text)
      return !hasTwoOwners
    })
  }

  #first(partition: number, key: string, serial: number): void {
    const last = this.#firsts.get(key) ?? -1
    const isNext = this.#isAtLeastOnce ? serial === last + 1 : serial > last
    if (!isNext) this.#report('first-order', partition, `${key}:${serial} is handled for the first time after ${last}`)
    this.#firsts.set(key, Math.max(last, serial))
  }

  #checkUnhandled(ends: readonly number[]): void {
    for (const [partition, facts] of this.#facts.entries()) {
      for (let offset = facts.handled.next; offset < ends[partition]!; offset++) {
        if (facts.handled.has(offset)) continue
        this.counts.unhandled++
        const ownership = facts.ownerships.findLast(
          (each) => each.start <= offset && (each.isProven || hasCrashed(each)),
        )
        const mayLose = ownership !== undefined && hasCrashed(ownership)
        if (this.#isAtLeastOnce || !mayLose)
          this.#report('unhandled', partition, `${offset}, of ${ownership ? name(ownership) : 'nobody'}`)
      }
      facts.handled = new Handled(ends[partition]!)
    }
  }

  #checkHistory({ sends, entries }: CheckerWindow, begins: readonly number[]): void {
    const checker = new HistoryChecker()
    // Of journals of many files: the order is what counts, lines are numbers of this history.
    let line = 0
    for (const operation of sends) checker.add({ ...operation, line: ++line })
    let readers = 0
    for (const entry of entries) {
      if (entry.kind !== 'history') continue
      const { operation } = entry
      if (operation.f === 'poll') {
        // With order 'key' an ownership reads several lanes: each record is a reader of its own, and order is judged above.
        const process = this.#options.order === 'key' ? --readers : operation.process
        const records = operation.records.filter(({ partition, offset }) => offset! >= begins[partition]!)
        if (records.length > 0) checker.add({ ...operation, records, process, final: true, line: ++line })
      } else if (this.#options.order !== 'key') checker.add({ ...operation, line: ++line })
    }
    for (const { kind, partition, offset, text } of checker.verdict().anomalies) {
      const isLoss = kind === 'lost-write' || kind === 'unseen' // judged above
      if (this.#isAtLeastOnce || !isLoss) this.#report(kind, partition, `at ${offset}: ${text}`)
    }
  }

  #report(rule: string, partition: number, text: string): void {
    if (this.violations.length < VIOLATIONS_MAX) this.violations.push(`${rule}: partition ${partition}: ${text}`)
  }
}

/**
 * Or gave up in order what it had no more: it was stopped between the word that a partition goes and giving it up, and lost it meanwhile.
 * Its last commit was refused then.
 */
function wasFenced(ownership: Ownership): boolean {
  return hasCrashed(ownership) || ownership.hasFailedCommit
}

function hasCrashed({ end }: Ownership): boolean {
  return end === 'lost' || end === 'died'
}

function name({ id }: Ownership): string {
  return `member ${memberOf(id)} (ownership ${id % OWNERSHIPS_PER_MEMBER})`
}
