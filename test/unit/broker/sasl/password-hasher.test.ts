/** A flood of passwords: so many at once, so many behind them, and the rest is told so. */
import assert from 'node:assert/strict'
import { pbkdf2Sync } from 'node:crypto'
import { test } from 'node:test'
import { PasswordHasher, type PasswordToHash } from '../../../../src/broker/sasl/password-hasher.ts'

const toHash = (password: string): PasswordToHash => ({
  ...{ password, mechanism: 'SCRAM-SHA-256', salt: Uint8Array.of(1, 2), iterations: 4096 },
})

test('a password is hashed as PBKDF2 has it, by each mechanism', async () => {
  const hasher = new PasswordHasher()
  for (const [mechanism, hash, bytes] of [
    ['SCRAM-SHA-256', 'sha256', 32],
    ['SCRAM-SHA-512', 'sha512', 64],
  ] as const)
    assert.deepEqual(
      await hasher.hash({ ...toHash('pässword'), mechanism }),
      pbkdf2Sync('pässword', Uint8Array.of(1, 2), 4096, bytes, hash),
    )
})

test('two at once, 256 behind them in their order, and no more', async () => {
  const begun: { password: string; end: () => void }[] = []
  const hasher = new PasswordHasher(
    ({ password }) =>
      new Promise((resolve) => begun.push({ password, end: () => resolve(new TextEncoder().encode(password)) })),
  )
  const settle = () => new Promise((resolve) => setImmediate(resolve))
  const hashed = Array.from({ length: 258 }, (_, index) => hasher.hash(toHash(`p${index}`)))
  assert.equal(await hasher.hash(toHash('one too many')), undefined)
  assert.deepEqual(
    begun.map(({ password }) => password),
    ['p0', 'p1'],
  )
  begun[1]!.end()
  await settle()
  const late = hasher.hash(toHash('late'))
  assert.equal(await hasher.hash(toHash('one too many')), undefined, 'the place that came free is taken')
  for (let index = 0; index < 259; index++) {
    if (index !== 1) begun[index]!.end()
    await settle()
    assert.ok(begun.length <= Math.max(index, 1) + 3, 'never more than two')
  }
  const texts = (await Promise.all([...hashed, late])).map((bytes) => new TextDecoder().decode(bytes))
  assert.deepEqual(texts, [...Array.from({ length: 258 }, (_, index) => `p${index}`), 'late'])
  assert.deepEqual(
    begun.map(({ password }) => password),
    texts,
  )
})

test('one that fails leaves its place to the next', async () => {
  let calls = 0
  const hasher = new PasswordHasher(async () => {
    if (calls++ % 2 === 0) throw new Error('no memory')
    return Uint8Array.of(1)
  })
  const outcomes = await Promise.allSettled(Array.from({ length: 10 }, () => hasher.hash(toHash('x'))))
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    Array.from({ length: 10 }, (_, index) => (index % 2 === 0 ? 'rejected' : 'fulfilled')),
  )
})
