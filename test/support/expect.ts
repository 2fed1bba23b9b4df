/** Small expectations that several suites share. */
import assert from 'node:assert/strict'
import { type ErrorCode, isMillraceError } from '../../src/model/errors.ts'

/** For assert.throws and assert.rejects: a MillraceError of this code, with this text. */
export function hasCode(code: ErrorCode, text?: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(isMillraceError(error), `expected ${code}, got ${String(error)}`)
    assert.equal(error.code, code, error.message)
    if (text !== undefined) assert.match(error.message, text)
    return true
  }
}

/** Waits until `condition` holds, at most `waitMs`. */
export async function until(condition: () => boolean, waitMs = 5_000): Promise<void> {
  const deadlineMs = performance.now() + waitMs
  while (!condition()) {
    assert.ok(performance.now() < deadlineMs, `not true within ${waitMs} ms: ${condition}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
