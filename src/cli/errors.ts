/** Errors of the command line itself. */
import { MillraceError } from '../model/errors.ts'

/** The command was not understood: exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** A command that the interface names and this version does not have: exit code 1. */
export function notAvailable(what: string, instead?: string): MillraceError {
  const hint = instead === undefined ? '' : `; ${instead}`
  return new MillraceError('NOT_AVAILABLE_YET', `this version of millrace has no ${what}${hint}`)
}
