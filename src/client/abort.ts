/** Waiting that a caller can give up: every wait of the client goes through here, so every one takes an AbortSignal. */
import { MillraceError } from '../model/errors.ts'
import type { ClientRuntime } from './client-runtime.ts'

/** The error of a given-up operation; `cause` is the signal's reason. */
export function abortError(signal: AbortSignal): MillraceError {
  return new MillraceError('ABORTED', undefined, { cause: signal.reason })
}

export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortError(signal)
}

/** Who waits for a signal: it has one listener of the client's, however many wait. */
const waiting = new WeakMap<AbortSignal, Set<() => void>>()

/** Runs `listener` once, when the signal fires, in the order in which they came; the answer takes it out again. It must not throw. */
export function whenAborted(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal === undefined || signal.aborted) return nothing
  const listeners = waiting.get(signal) ?? listenTo(signal)
  // A function of its own, so that whoever comes twice is told twice.
  const entry = (): void => listener()
  listeners.add(entry)
  return () => {
    if (!listeners.delete(entry) || listeners.size > 0) return
    signal.removeEventListener('abort', onFired)
    waiting.delete(signal)
  }
}

function listenTo(signal: AbortSignal): Set<() => void> {
  const listeners = new Set<() => void>()
  waiting.set(signal, listeners)
  signal.addEventListener('abort', onFired, { once: true })
  return listeners
}

function onFired(event: Event): void {
  const signal = event.target as AbortSignal
  const listeners = waiting.get(signal)
  waiting.delete(signal)
  for (const listener of listeners ?? []) listener()
}

function nothing(): void {}

/** `promise`, or ABORTED when the signal fires first; `promise` itself goes on. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  if (signal.aborted) {
    promise.catch(() => {})
    return Promise.reject(abortError(signal))
  }
  return new Promise<T>((resolve, reject) => {
    const leave = whenAborted(signal, () => reject(abortError(signal)))
    promise.then(resolve, reject).finally(leave)
  })
}

/** Waits `delayMs`, or throws ABORTED when one of the signals fires first. */
export function sleep(
  runtime: ClientRuntime,
  delayMs: number,
  ...signals: readonly (AbortSignal | undefined)[]
): Promise<void> {
  const aborted = signals.find((signal) => signal?.aborted)
  if (aborted !== undefined) return Promise.reject(abortError(aborted))
  return new Promise<void>((resolve, reject) => {
    const leave = (): void => {
      for (const off of offs) off()
    }
    const timer = runtime.startTimer(delayMs, () => {
      leave()
      resolve()
    })
    const offs = signals.map((signal) =>
      whenAborted(signal, () => {
        timer.cancel()
        leave()
        reject(abortError(signal!))
      }),
    )
  })
}
