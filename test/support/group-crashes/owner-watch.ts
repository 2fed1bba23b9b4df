/**
 * OwnerWatch: how long partitions were without a live owner, from the times in the members' journals and of what was done to them.
 *
 * A gap begins when the last live owner of a partition is gone, and ends when a live member says that it is assigned. What counts of it
 * begins at the last change of the membership within it (a member starts, has left, is fenced, killed, stopped, goes on, begins or
 * ends to block), and not before there was a live member at all. Rule: that is at most the session timeout + 2 s.
 *
 * A machine that stands still stops members and broker, too: those times (StallProbe) are taken off. A gap that is too long even so
 * while the machine was late for EXCUSED_SHARE of it is excused and counted, up to EXCUSED_MS_MAX beyond the limit: there no slowness is
 * an excuse.
 */
import { type JournalEntry, memberOf } from './member-journal.ts'
import type { Delays } from './stall-probe.ts'

export interface MemberEvent {
  readonly kind: 'event'
  readonly what: 'killed' | 'stopped' | 'resumed' | 'leaving'
  readonly member: number
  readonly atMs: number
}

export interface OwnerWatchOptions {
  readonly partitions: number
  readonly sessionTimeoutMs: number
  readonly delaysWithin: (fromMs: number, toMs: number) => Delays
}

const SLACK_MS = 2_000
const EXCUSED_SHARE = 0.05
const EXCUSED_MS_MAX = 10_000
const CHANGES: readonly string[] = ['started', 'closed', 'fenced', 'blocked', 'unblocked']

export class OwnerWatch {
  readonly #options: OwnerWatchOptions
  /** partition -> ownerships that no end has been heard of */
  readonly #owners: Set<number>[]
  readonly #unownedSinceMs: number[]
  readonly #live = new Set<number>()
  #changedAtMs = Number.NEGATIVE_INFINITY
  #aliveSinceMs = Number.POSITIVE_INFINITY
  gaps = 0
  excused = 0
  gapMsMax = 0
  readonly violations: string[] = []

  constructor(options: OwnerWatchOptions) {
    this.#options = options
    this.#owners = Array.from({ length: options.partitions }, () => new Set<number>())
    this.#unownedSinceMs = this.#owners.map(() => Number.NEGATIVE_INFINITY)
  }

  /** A window of events, in any order. */
  take(entries: readonly (JournalEntry | MemberEvent)[]): void {
    for (const entry of [...entries].sort((left, right) => left.atMs - right.atMs)) this.#take(entry)
  }

  #take(entry: JournalEntry | MemberEvent): void {
    const { atMs } = entry
    if (entry.kind === 'event') this.#event(entry)
    else if (entry.kind === 'history') {
      const { operation } = entry
      if (operation.f !== 'assign') return
      for (const { partition } of operation.positions) this.#owners[partition]!.add(operation.process)
    } else {
      const { note, process: ownership, partition } = entry.note
      if (note === 'revoked' || note === 'lost') this.#owners[partition]!.delete(ownership)
      else if (note === 'started') this.#goesOn(memberOf(ownership), atMs)
      else if (!CHANGES.includes(note)) return
    }
    this.#look(atMs)
    if (entry.kind === 'event' || (entry.kind === 'note' && CHANGES.includes(entry.note.note))) this.#changedAtMs = atMs
  }

  #event({ what, member, atMs }: MemberEvent): void {
    if (what === 'resumed') this.#goesOn(member, atMs)
    else this.#live.delete(member)
    if (what === 'killed')
      for (const owners of this.#owners)
        for (const ownership of owners) if (memberOf(ownership) === member) owners.delete(ownership)
  }

  /** A member may take partitions from here on. */
  #goesOn(member: number, atMs: number): void {
    if (this.#live.size === 0) this.#aliveSinceMs = atMs
    this.#live.add(member)
  }

  #look(atMs: number): void {
    for (const [partition, owners] of this.#owners.entries()) {
      const isOwned = [...owners].some((ownership) => this.#live.has(memberOf(ownership)))
      const sinceMs = this.#unownedSinceMs[partition]!
      if (!isOwned && sinceMs === Number.POSITIVE_INFINITY) this.#unownedSinceMs[partition] = atMs
      if (!isOwned || sinceMs === Number.POSITIVE_INFINITY) continue
      this.#unownedSinceMs[partition] = Number.POSITIVE_INFINITY
      this.#judge(partition, Math.max(sinceMs, this.#changedAtMs, this.#aliveSinceMs), atMs)
    }
  }

  #judge(partition: number, fromMs: number, toMs: number): void {
    this.gaps++
    const gapMs = toMs - fromMs
    const { stoodMs, lateMs } = this.#options.delaysWithin(fromMs, toMs)
    const netMs = gapMs - stoodMs
    const limitMs = this.#options.sessionTimeoutMs + SLACK_MS
    this.gapMsMax = Math.max(this.gapMsMax, gapMs)
    if (netMs <= limitMs) return
    if (lateMs >= EXCUSED_SHARE * gapMs && netMs <= limitMs + EXCUSED_MS_MAX) this.excused++
    else
      this.violations.push(
        `partition ${partition} had no live owner for ${gapMs.toFixed(0)} ms; ${limitMs} are allowed, ` +
          `and the machine stood still for ${stoodMs.toFixed(0)}, was late for ${lateMs.toFixed(0)}`,
      )
  }
}
