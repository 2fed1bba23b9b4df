/**
 * Churn: bursts of misfortunes in one group: members join, leave, die, stand still for shorter or longer than their session, and block
 * their event loops, several at a time and in the middle of the rebalances of those before. After each burst every partition must find a
 * live owner; after some the group is brought to rest and judged.
 *
 * All that happens is drawn from the seed; when exactly it meets the members is the machine's.
 */
import type { SeededPrng } from '../../../src/base/prng.ts'
import { sleep } from '../until.ts'
import { machineMs } from './member-journal.ts'
import type { MemberProcess } from './member-process.ts'
import { type MemberEvent, OwnerWatch } from './owner-watch.ts'
import type { Delays, StallProbe } from './stall-probe.ts'
import { TestedGroup, type TestedGroupOptions } from './tested-group.ts'

export interface ChurnOptions extends TestedGroupOptions {
  readonly probe: StallProbe
}

export type Misfortune = 'join' | 'leave' | 'kill' | 'stop' | 'block'

const FIRST_MEMBERS = 3
const MEMBERS_MAX = 6
const BURST_MAX = 10
const BETWEEN_MS_MAX = 300
/** Of the session timeout. */
const STOP_SHARE_MAX = 1.8
/** Now and then longer than members may take for a record. */
const BLOCK_MS_MAX = 4_500
const BURSTS_PER_WINDOW = 8
/** As often as they stand here. */
const MISFORTUNES: readonly Misfortune[] = [
  ...(['join', 'join', 'join', 'leave', 'kill', 'kill'] as const),
  ...(['stop', 'stop', 'stop', 'block', 'block'] as const),
]
/** However short a run is, it has met each. */
const FIRST_BURST: readonly Misfortune[] = ['kill', 'join', 'stop', 'leave', 'join', 'block']

export class Churn {
  readonly group: TestedGroup
  readonly watch: OwnerWatch
  readonly counts: Record<Misfortune, number> = { join: 0, leave: 0, kill: 0, stop: 0, block: 0 }
  readonly #options: ChurnOptions
  readonly #prng: SeededPrng
  #events: MemberEvent[] = []
  #stops: Promise<void>[] = []

  constructor(options: ChurnOptions) {
    this.#options = options
    this.#prng = options.prng
    this.group = new TestedGroup(options)
    const delaysWithin = (fromMs: number, toMs: number): Delays => options.probe.within(fromMs, toMs)
    this.watch = new OwnerWatch({ ...options, delaysWithin })
  }

  get events(): number {
    return Object.values(this.counts).reduce((sum, count) => sum + count, 0)
  }

  /** Bursts while `mayGoOn`; the last window is judged too. */
  async run(mayGoOn: () => boolean): Promise<void> {
    const { group } = this
    await group.open()
    for (let count = 0; count < FIRST_MEMBERS; count++) group.join()
    await group.whole()
    for (let bursts = 1; bursts === 1 || mayGoOn(); bursts++) {
      await this.#burst(bursts === 1 ? FIRST_BURST : this.#drawBurst())
      await group.whole()
      if (bursts % BURSTS_PER_WINDOW === 0) await this.#endWindow()
      await sleep(this.#prng.below(BETWEEN_MS_MAX))
    }
    await this.#endWindow()
  }

  #drawBurst(): Misfortune[] {
    const size = 1 + this.#prng.below(BURST_MAX)
    return Array.from({ length: size }, () => MISFORTUNES[this.#prng.below(MISFORTUNES.length)]!)
  }

  async #burst(misfortunes: readonly Misfortune[]): Promise<void> {
    for (const drawn of misfortunes) {
      this.#happen(drawn)
      await sleep(this.#prng.below(BETWEEN_MS_MAX))
      this.group.collect()
    }
    await Promise.all(this.#stops)
    this.#stops = []
    if (this.group.running.length === 0) this.#do('join', undefined)
  }

  #happen(drawn: Misfortune): void {
    const { running } = this.group
    const what = running.length === 0 ? 'join' : drawn
    if (what === 'join' && running.length >= MEMBERS_MAX) this.#do('kill', this.#one(running))
    else this.#do(what, what === 'join' ? undefined : this.#one(running))
  }

  #one(members: readonly MemberProcess[]): MemberProcess {
    return members[this.#prng.below(members.length)]!
  }

  #do(what: Misfortune, member: MemberProcess | undefined): void {
    this.counts[what]++
    if (member === undefined) {
      this.group.join()
      return
    }
    if (what === 'kill') {
      this.#note('killed', member)
      this.group.kill(member)
    } else if (what === 'leave') {
      this.#note('leaving', member)
      member.leave()
    } else if (what === 'block') member.block(1 + this.#prng.below(BLOCK_MS_MAX))
    else this.#stops.push(this.#stop(member, this.#prng.below(STOP_SHARE_MAX * this.#options.sessionTimeoutMs)))
  }

  async #stop(member: MemberProcess, ms: number): Promise<void> {
    this.#note('stopped', member)
    member.stop()
    await sleep(ms)
    member.resume()
    this.#note('resumed', member)
  }

  #note(what: MemberEvent['what'], member: MemberProcess): void {
    this.#events.push({ kind: 'event', what, member: member.plan.member, atMs: machineMs() })
  }

  async #endWindow(): Promise<void> {
    const entries = await this.group.endWindow()
    const events = this.#events
    this.#events = []
    this.watch.take([...entries.filter((entry) => entry.kind !== 'observed'), ...events])
  }
}
