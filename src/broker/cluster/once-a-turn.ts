/** OnceATurn: work that looks at everything, asked for once for each of many things: done once, in the next turn. */
import type { Timers } from '../timers.ts'

export class OnceATurn {
  readonly #timers: Pick<Timers, 'soon'>
  readonly #work: () => void
  #isDue = false

  constructor(timers: Pick<Timers, 'soon'>, work: () => void) {
    this.#timers = timers
    this.#work = work
  }

  ask(): void {
    if (this.#isDue) return
    this.#isDue = true
    this.#timers.soon(() => {
      this.#isDue = false
      this.#work()
    })
  }
}
