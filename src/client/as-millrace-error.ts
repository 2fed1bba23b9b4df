/** Whatever was thrown, as the one kind of error that the client hands out. */
import { isMillraceError, MillraceError } from '../model/errors.ts'

export function asMillraceError(error: unknown): MillraceError {
  if (isMillraceError(error)) return error
  const text = error instanceof Error ? error.message : String(error)
  return new MillraceError('UNKNOWN_SERVER_ERROR', `the client failed: ${text}`, { cause: error })
}
