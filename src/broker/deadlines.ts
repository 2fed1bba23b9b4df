/** Deadlines: requests that must be answered by a time. Swept once a second: coarse, for what hardly ever happens. */

export interface Expirable {
  onDeadline(): void
}

export class Deadlines {
  readonly #deadlines = new Map<Expirable, number>()

  add(deadlineMs: number, item: Expirable): void {
    this.#deadlines.set(item, deadlineMs)
  }

  remove(item: Expirable): void {
    this.#deadlines.delete(item)
  }

  get size(): number {
    return this.#deadlines.size
  }

  sweep(nowMs: number): void {
    for (const [item, deadlineMs] of this.#deadlines) {
      if (deadlineMs > nowMs) continue
      this.#deadlines.delete(item)
      item.onDeadline()
    }
  }
}
