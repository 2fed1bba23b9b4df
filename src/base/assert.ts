/**
 * Assertions: what must be true. A broken invariant throws InvariantError, which nobody catches:
 * the thread that sees it stops and main fences its partitions.
 */

export class InvariantError extends Error {
  override readonly name = 'InvariantError'
}

/**
 * Throws InvariantError with `message` unless `condition` holds.
 * On hot paths pass a constant string, or test the condition first, so that no text is built in vain.
 */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message)
}

/** Marks a branch that no value can reach; the argument's type proves it at compile time. */
export function unreachable(value: never, what: string): never {
  throw new InvariantError(`unreachable ${what}: ${String(value)}`)
}
