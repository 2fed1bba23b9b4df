/**
 * TransactionTurns: the one place for a transaction of a producer, and who waits for it: first come, first served.
 *
 * Kinds    a transaction keeps the place until its caller ends it; 'brief' is given back by itself, so that begin() may wait for it
 * Limits   as many wait as callers do, each with a promise and, if it likes, a signal that takes it out
 */
import type { MillraceError } from '../../model/errors.ts'
import { abortError, throwIfAborted, whenAborted } from '../abort.ts'

/** What the place is taken for. */
export type TurnKind = 'transaction' | 'brief'

interface Waiting {
  readonly kind: TurnKind
  readonly resolve: () => void
  readonly reject: (error: MillraceError) => void
}

export class TransactionTurns {
  readonly #waiting: Waiting[] = []
  readonly #onRelease: (() => void)[] = []
  #holder: TurnKind | undefined

  /** undefined = the place is free. */
  get holder(): TurnKind | undefined {
    return this.#holder
  }

  /** Takes the place when it is free and those before have had it. Rejects with ABORTED. */
  async take(kind: TurnKind, signal: AbortSignal | undefined): Promise<void> {
    throwIfAborted(signal)
    if (this.#holder !== undefined) await this.#wait(kind, signal)
    else this.#holder = kind
  }

  #wait(kind: TurnKind, signal: AbortSignal | undefined): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const leave = whenAborted(signal, () => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
        reject(abortError(signal!))
      })
      const waiting: Waiting = {
        kind,
        resolve: () => {
          leave()
          resolve()
        },
        reject: (error) => {
          leave()
          reject(error)
        },
      }
      this.#waiting.push(waiting)
    })
  }

  /** Gives the place to whoever has waited longest. */
  release(): void {
    const next = this.#waiting.shift()
    this.#holder = next?.kind
    next?.resolve()
    for (const listener of this.#onRelease.splice(0)) listener()
  }

  /** Whoever waits is refused. */
  refuse(error: MillraceError): void {
    for (const waiting of this.#waiting.splice(0)) waiting.reject(error)
  }

  /** When whoever has the place gives it back; somebody else may have it then. */
  released(): Promise<void> {
    return new Promise<void>((resolve) => this.#onRelease.push(resolve))
  }

  /** When nobody has the place, nor waits for it. */
  async free(): Promise<void> {
    while (this.#holder !== undefined) await this.released()
  }
}
