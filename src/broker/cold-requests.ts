/**
 * ColdRequests: the requests of one connection that are answered by a promise, some at a time: what is done for one that waits, and
 * whether its reply has room, is looked at when it begins.
 *
 * Thread      main
 * Ordering    they begin in the order they came, and may end in another
 * Limits      AT_ONCE under way; those that wait are within the connection's CONNECTION_REQUESTS_MAX
 */

const AT_ONCE = 16

export class ColdRequests {
  #underWay = 0
  #waiting: (() => Promise<void>)[] = []

  /** Runs `work` now or when those before it leave room. It must not reject. */
  run(work: () => Promise<void>): void {
    if (this.#underWay >= AT_ONCE) this.#waiting.push(work)
    else this.#begin(work)
  }

  /** Forgets what has not begun. */
  clear(): void {
    this.#waiting = []
  }

  #begin(work: () => Promise<void>): void {
    this.#underWay++
    void work().then(() => {
      this.#underWay--
      const next = this.#waiting.shift()
      if (next !== undefined) this.#begin(next)
    })
  }
}
