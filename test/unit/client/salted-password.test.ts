/** What of a password leaves the client: PBKDF2 with a salt of its own, as Node's own make has it. */
import assert from 'node:assert/strict'
import { pbkdf2Sync } from 'node:crypto'
import { test } from 'node:test'
import { saltPassword } from '../../../src/client/salted-password.ts'
import { hasCode } from '../../support/expect.ts'

test('the salted password is PBKDF2 of the password, its salt another one each time', async () => {
  for (const [mechanism, hash, bytes] of [
    ['SCRAM-SHA-256', 'sha256', 32],
    ['SCRAM-SHA-512', 'sha512', 64],
  ] as const) {
    const salted = await saltPassword('pässword', mechanism, 4096)
    assert.equal(salted.iterations, 4096)
    assert.equal(salted.salt.length, 16)
    assert.deepEqual(Buffer.from(salted.saltedPassword), pbkdf2Sync('pässword', salted.salt, 4096, bytes, hash))
    const again = await saltPassword('pässword', mechanism, 4096)
    assert.notDeepEqual(again.salt, salted.salt)
    assert.notDeepEqual(again.saltedPassword, salted.saltedPassword)
  }
})

test('a page without WebCrypto is told where it would have it', async () => {
  const { crypto } = globalThis
  Object.defineProperty(globalThis, 'crypto', { value: {}, configurable: true })
  try {
    await assert.rejects(
      saltPassword('x', 'SCRAM-SHA-256', 4096),
      hasCode('NOT_AVAILABLE_YET', /https or on localhost/),
    )
  } finally {
    Object.defineProperty(globalThis, 'crypto', { value: crypto, configurable: true })
  }
})
