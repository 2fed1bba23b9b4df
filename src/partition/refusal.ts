/** Refusal: a step's "no", with the error's name and what was wrong. A step that has nothing to object answers undefined. */
import type { ErrorCode } from '../model/errors.ts'

export interface Refusal {
  readonly kind: 'refused'
  readonly error: ErrorCode
  /** Empty when the error's own text says it all. */
  readonly text: string
}

export function refuse(error: ErrorCode, text = ''): Refusal {
  return { kind: 'refused', error, text }
}
