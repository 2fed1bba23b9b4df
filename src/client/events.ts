/**
 * EventHub: what a client, a producer or a consumer tells beside its answers. Events are for logs and gauges: nothing waits for
 * a listener, and what must not be missed is an answer or an error.
 *
 * Order     listeners run at once, in the order in which they came, inside the client's own work: they must be short
 * Limits    LISTENERS_MAX listeners an event
 * Failure   a listener that throws, or whose promise rejects, is told to `onListenerError`; it breaks nothing
 */
import { nearest } from '../base/nearest.ts'
import { MillraceError } from '../model/errors.ts'
import { whenAborted } from './abort.ts'
import { promiseOf } from './promise-of.ts'

export const LISTENERS_MAX = 100

export interface ListenerError {
  /** The event whose listener failed. */
  readonly event: string
  readonly error: unknown
}

export interface ListenOptions {
  /** Stops the listening. */
  readonly signal?: AbortSignal
}

interface Listener {
  readonly run: (event: never) => unknown
}

export class EventHub<Events extends object> {
  readonly #listeners = new Map<string, readonly Listener[]>()
  readonly #onListenerError: (failure: ListenerError) => void

  constructor(names: Record<keyof Events & string, true>, onListenerError: (failure: ListenerError) => void) {
    for (const name of Object.keys(names)) this.#listeners.set(name, [])
    this.#onListenerError = onListenerError
  }

  /** Runs `listener` at every `name` from now on; the answer stops that. Throws INVALID_ARGUMENT for a name that is no event. */
  on<Name extends keyof Events & string>(
    name: Name,
    listener: (event: Events[Name]) => unknown,
    options: ListenOptions = {},
  ): () => void {
    const before = this.#listeners.get(name)
    if (before === undefined) throw unknownEvent(name, [...this.#listeners.keys()])
    if (before.length >= LISTENERS_MAX)
      throw new MillraceError(
        'INVALID_ARGUMENT',
        `on('${name}'): ${LISTENERS_MAX} listeners are there; is one added per record?`,
      )
    if (options.signal?.aborted) return () => {}
    const entry: Listener = { run: listener }
    // Lists are replaced, never changed: one that is being walked stays whole.
    this.#listeners.set(name, [...before, entry])
    const forget = (): void => {
      const now = this.#listeners.get(name)!
      this.#listeners.set(
        name,
        now.filter((each) => each !== entry),
      )
    }
    const leave = whenAborted(options.signal, forget)
    return () => {
      leave()
      forget()
    }
  }

  /** Whether anybody listens: an event that costs something to make need not be made else. */
  has(name: keyof Events & string): boolean {
    return this.#listeners.get(name)!.length > 0
  }

  emit<Name extends keyof Events & string>(name: Name, event: Events[Name]): void {
    for (const { run } of this.#listeners.get(name)!) {
      try {
        const pending = promiseOf((run as (event: Events[Name]) => unknown)(event))
        pending?.catch((error: unknown) => this.#onListenerError({ event: name, error }))
      } catch (error) {
        this.#onListenerError({ event: name, error })
      }
    }
  }
}

function unknownEvent(name: string, known: readonly string[]): MillraceError {
  const near = nearest(String(name), known)
  const hint = near === undefined ? '' : `; did you mean '${near}'?`
  return new MillraceError('INVALID_ARGUMENT', `there is no event '${name}', only ${known.join(', ')}${hint}`)
}
