/** Errors of the command line itself. */

/** The command was not understood: exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** A command that the interface names and this version does not have. */
export function notAvailable(what: string, instead?: string): UsageError {
  const hint = instead === undefined ? '' : `; ${instead}`
  return new UsageError(`this version of millrace has no ${what}${hint}`)
}
