/** Which error is which exit code: scripts tell by them whether to try again. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { UsageError } from '../../../src/cli/errors.ts'
import { exitCodeOf } from '../../../src/cli/exit-codes.ts'
import { ERRORS, type ErrorCode, MillraceError } from '../../../src/model/errors.ts'

test('what another attempt may mend is 5, whatever the reason', () => {
  const codes: ErrorCode[] = ['CONNECTION_FAILED', 'DELIVERY_TIMED_OUT', 'REQUEST_TIMED_OUT', 'OVERLOADED', 'DISK_FULL']
  for (const code of codes) assert.equal(exitCodeOf(new MillraceError(code)), 5, code)
})

test('the caller is told apart from the broker', () => {
  assert.equal(exitCodeOf(new UsageError('no')), 2)
  assert.equal(exitCodeOf(new MillraceError('INVALID_ARGUMENT')), 2)
  assert.equal(exitCodeOf(new MillraceError('SASL_AUTHENTICATION_FAILED')), 4)
  for (const code of Object.keys(ERRORS) as ErrorCode[])
    if (code.startsWith('UNKNOWN_TOPIC')) assert.equal(exitCodeOf(new MillraceError(code)), 3, code)
  assert.equal(exitCodeOf(new Error('anything else')), 1)
})
