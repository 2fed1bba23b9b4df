/**
 * LatestWords: what a shard must know as it is now, told again while the shard has no room; an older word is dropped when a newer one comes.
 *
 * Thread      main
 * Invariants  LW1 after the last tell() about a subject its word is sent until the shard has taken it, has failed, or close()
 *             LW2 no word about a subject is sent again once a newer one was told: control messages stay in order, so the newest wins
 * Limits      one retry per subject, RETRY_MS apart
 * Failure     another error than OVERLOADED: the shard has ended or knows no such subject; onFault, and no more
 */
import { isMillraceError } from '../../model/errors.ts'
import type { Timers } from '../timers.ts'

const RETRY_MS = 200

export interface LatestWordsOptions {
  readonly timers: Timers
  readonly onFault: (error: unknown) => void
}

export class LatestWords<Subject> {
  readonly #options: LatestWordsOptions
  /** The newest word of each subject that is not told yet. */
  readonly #untold = new Map<Subject, () => Promise<unknown>>()
  #isClosed = false

  constructor(options: LatestWordsOptions) {
    this.#options = options
  }

  /** `send` is called at once, and again while it rejects with OVERLOADED. */
  tell(subject: Subject, send: () => Promise<unknown>): void {
    this.#untold.set(subject, send)
    this.#send(subject, send)
  }

  close(): void {
    this.#isClosed = true
    this.#untold.clear()
  }

  #send(subject: Subject, send: () => Promise<unknown>): void {
    const isLatest = (): boolean => this.#untold.get(subject) === send
    send().then(
      () => void (isLatest() && this.#untold.delete(subject)),
      (error: unknown) => {
        if (!isLatest()) return
        if (isMillraceError(error) && error.code === 'OVERLOADED' && !this.#isClosed) {
          this.#options.timers.after(RETRY_MS, () => {
            if (isLatest()) this.#send(subject, send)
          })
          return
        }
        this.#untold.delete(subject)
        this.#options.onFault(error)
      },
    )
  }
}
