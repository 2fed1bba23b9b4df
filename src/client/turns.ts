/**
 * Turns: asynchronous works one after the other, in the order in which they were asked for, as the calls of an async generator are.
 *
 * Limits    as many wait as the caller has calls under way, which holds a promise of each
 * Failure   a work that fails is its caller's; the next one runs all the same
 */
export class Turns {
  #last: Promise<unknown> | undefined

  /** No work is under way or waits. */
  get isFree(): boolean {
    return this.#last === undefined
  }

  /** Runs `work` when all that were asked for before have ended; at once when there are none. */
  take<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last === undefined ? work() : this.#last.then(work, work)
    this.#last = turn
    const end = (): void => {
      if (this.#last === turn) this.#last = undefined
    }
    turn.then(end, end)
    return turn
  }
}
