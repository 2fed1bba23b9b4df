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

/** `promise`, or ABORTED when the signal fires first; `promise` itself goes on. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  if (signal.aborted) {
    promise.catch(() => {})
    return Promise.reject(abortError(signal))
  }
  return new Promise<T>((resolve, reject) => {
    const onAbort = (): void => reject(abortError(signal))
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
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
      for (const signal of signals) signal?.removeEventListener('abort', onAbort)
    }
    const onAbort = (event: Event): void => {
      timer.cancel()
      leave()
      reject(abortError(event.target as AbortSignal))
    }
    const timer = runtime.startTimer(delayMs, () => {
      leave()
      resolve()
    })
    for (const signal of signals) signal?.addEventListener('abort', onAbort, { once: true })
  })
}
