import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { base64Of, bytesOfBase64 } from '../../../src/base/base64.ts'

test('base64 there and back, as Node has it', () => {
  for (let length = 0; length < 70; length++) {
    const bytes = new Uint8Array(randomBytes(length))
    assert.equal(base64Of(bytes), Buffer.from(bytes).toString('base64'))
    assert.deepEqual(bytesOfBase64(base64Of(bytes)), bytes)
  }
})

test('what is not base64 is none', () => {
  for (const text of ['A', 'AA', 'AAA', 'AA=', 'A===', 'AA==A', ' AAAA', 'AAAA\n', 'AA-_', '=AAA', 'é', 'AB==', 'AAB='])
    assert.equal(bytesOfBase64(text), undefined, text)
})
