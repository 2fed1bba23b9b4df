/**
 * TransactionTurns: the one place for a transaction of a producer, and who waits for it: first come, first served.
 *
 * Limits   as many wait as callers do, each with a promise and, if it likes, a signal that takes it out
 */
import type { MillraceError } from '../../model/errors.ts'
import { abortError, throwIfAborted } from '../abort.ts'

interface Waiting {
  readonly resolve: () => void
  readonly reject: (error: MillraceError) => void
}

export class TransactionTurns {
  readonly #waiting: Waiting[] = []
  readonly #onFree: (() => void)[] = []
  #isTaken = false

  get isTaken(): boolean {
    return this.#isTaken
  }

  /** Takes the place when it is free and those before have had it. Rejects with ABORTED. */
  async take(signal: AbortSignal | undefined): Promise<void> {
    throwIfAborted(signal)
    if (this.#isTaken) await this.#wait(signal)
    else this.#isTaken = true
  }

  #wait(signal: AbortSignal | undefined): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
        reject(abortError(signal!))
      }
      const leave = (): void => signal?.removeEventListener('abort', onAbort)
      const waiting: Waiting = {
        resolve: () => {
          leave()
          resolve()
        },
        reject: (error) => {
          leave()
          reject(error)
        },
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#waiting.push(waiting)
    })
  }

  /** Gives the place to whoever has waited longest. */
  release(): void {
    const next = this.#waiting.shift()
    if (next !== undefined) {
      next.resolve()
      return
    }
    this.#isTaken = false
    for (const listener of this.#onFree.splice(0)) listener()
  }

  /** Whoever waits is refused. */
  refuse(error: MillraceError): void {
    for (const waiting of this.#waiting.splice(0)) waiting.reject(error)
  }

  /** When nobody has the place, nor waits for it. */
  free(): Promise<void> {
    if (!this.#isTaken) return Promise.resolve()
    return new Promise<void>((resolve) => this.#onFree.push(resolve))
  }
}
