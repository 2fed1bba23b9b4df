/** Refusal: a decision's "no": the error's name, and what was wrong. */
import type { ErrorCode } from './errors.ts'

export interface Refusal {
  readonly kind: 'refused'
  readonly error: ErrorCode
  /** Empty when the error's own text says it all. */
  readonly text: string
}

export function refuse(error: ErrorCode, text = ''): Refusal {
  return { kind: 'refused', error, text }
}

export function isRefusal(answer: object): answer is Refusal {
  return 'kind' in answer && answer.kind === 'refused'
}
