/** Network: messages between the simulation's parties: mostly quick, sometimes late, twice or never. */
import type { Prng } from '../../../src/base/prng.ts'
import type { EventQueue } from '../event-simulation/event-queue.ts'

const QUICK_MS = 6
const LATE_MS = 4_000

export class Network {
  lossPercent = 0
  /** Messages that are late or come twice. */
  oddPercent = 0
  onOdd: (what: 'late' | 'twice' | 'lost') => void = () => {}
  readonly #queue: EventQueue
  readonly #prng: Prng

  constructor(queue: EventQueue, prng: Prng) {
    this.#queue = queue
    this.#prng = prng
  }

  send(deliver: () => void): void {
    if (this.#prng.below(100) < this.lossPercent) {
      this.onOdd('lost')
      return
    }
    if (this.#prng.below(100) < this.oddPercent) {
      this.onOdd('twice')
      this.#queue.after(this.#prng.below(LATE_MS), deliver)
    }
    const isLate = this.#prng.below(100) < this.oddPercent
    if (isLate) this.onOdd('late')
    this.#queue.after(this.#prng.below(isLate ? LATE_MS : QUICK_MS), deliver)
  }
}
