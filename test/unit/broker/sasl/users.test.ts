/** What may be done to users: the checks, their rows of results, and that of one user all is done or nothing. */
import assert from 'node:assert/strict'
import { pbkdf2Sync } from 'node:crypto'
import { test } from 'node:test'
import { PasswordHasher } from '../../../../src/broker/sasl/password-hasher.ts'
import type { UserUpsertion } from '../../../../src/broker/sasl/users.ts'
import type { ErrorCode } from '../../../../src/model/errors.ts'
import { hasCode } from '../../../support/expect.ts'
import { saslFixture } from '../../../support/sasl-fixture.ts'

const SHA_256 = 1
const SHA_512 = 2

function upsertion(name: string, change: Partial<UserUpsertion> = {}): UserUpsertion {
  const mechanism = change.mechanism ?? SHA_256
  const bytes = mechanism === SHA_512 ? 64 : 32
  const salt = Uint8Array.of(1, 2, 3)
  const saltedPassword = pbkdf2Sync('pencil', salt, 4096, bytes, bytes === 64 ? 'sha512' : 'sha256')
  return { ...{ name, mechanism, iterations: 4096, salt, saltedPassword }, ...change }
}

const codesOf = (results: readonly { readonly name: string; readonly errorCode: ErrorCode }[]) =>
  results.map(({ name, errorCode }) => [name, errorCode])

test("users as Kafka's administration makes them: described, changed, deleted", async () => {
  const { users } = saslFixture()
  assert.deepEqual(await users.describe(null), [])
  const made = await users.alter([], [upsertion('bob'), upsertion('alice', { mechanism: SHA_512 }), upsertion('alice')])
  assert.deepEqual(codesOf(made), [
    ['bob', 'NONE'],
    ['alice', 'NONE'],
  ])
  const alice = {
    ...{ name: 'alice', errorCode: 'NONE', errorText: '' },
    credentials: [
      { mechanism: SHA_256, iterations: 4096 },
      { mechanism: SHA_512, iterations: 4096 },
    ],
  }
  const bob = { name: 'bob', errorCode: 'NONE', errorText: '', credentials: [{ mechanism: 1, iterations: 4096 }] }
  assert.deepEqual(await users.describe(null), [alice, bob])
  assert.deepEqual(await users.describe([]), [alice, bob])
  assert.deepEqual(await users.describe(['bob']), [bob])
  assert.deepEqual(codesOf(await users.describe(['carol', 'bob', 'alice', 'bob'])), [
    ['carol', 'RESOURCE_NOT_FOUND'],
    ['bob', 'DUPLICATE_RESOURCE'],
    ['alice', 'NONE'],
  ])
  const changed = await users.alter(
    [
      { name: 'alice', mechanism: SHA_512 },
      { name: 'bob', mechanism: SHA_256 },
    ],
    [upsertion('alice', { iterations: 5000 })],
  )
  assert.deepEqual(codesOf(changed), [
    ['alice', 'NONE'],
    ['bob', 'NONE'],
  ])
  assert.deepEqual(await users.describe(null), [{ ...alice, credentials: [{ mechanism: 1, iterations: 5000 }] }])
})

test('pages: by name, some at a time, whoever comes or goes in between', async () => {
  const { users } = saslFixture()
  for (const name of ['c', 'a', 'd', 'b']) await users.setPassword(name, 'x', { iterations: 4096 })
  const page = async (after: string, count: number) => {
    const { users: some, isLast } = await users.page(after, count)
    return [some.map(({ name }) => name).join(''), isLast]
  }
  assert.deepEqual(await page('', 2), ['ab', false])
  await users.delete('b')
  assert.deepEqual(await page('b', 2), ['cd', true])
  assert.deepEqual(await page('', 3), ['acd', true])
  assert.deepEqual(await page('d', 2), ['', true])
})

test('what is not acceptable names why, and nothing of that user is done; others are', async () => {
  const { users } = saslFixture()
  const refused: readonly (readonly [Partial<UserUpsertion>, ErrorCode, RegExp])[] = [
    [{ name: '' }, 'UNACCEPTABLE_CREDENTIAL', /is empty/],
    [{ name: 'token' }, 'UNACCEPTABLE_CREDENTIAL', /stands for the tokens/],
    [{ name: 'a\0' }, 'UNACCEPTABLE_CREDENTIAL', /control characters/],
    [{ iterations: 4095 }, 'UNACCEPTABLE_CREDENTIAL', /iterations: 4096 to 16384, not 4095/],
    [{ iterations: 16_385 }, 'UNACCEPTABLE_CREDENTIAL', /iterations: 4096 to 16384, not 16385/],
    [{ iterations: 0 }, 'UNACCEPTABLE_CREDENTIAL', /iterations/],
    [{ salt: new Uint8Array(0) }, 'UNACCEPTABLE_CREDENTIAL', /a salt has 1 to 256 bytes/],
    [{ salt: new Uint8Array(257) }, 'UNACCEPTABLE_CREDENTIAL', /a salt has 1 to 256 bytes/],
    [{ saltedPassword: new Uint8Array(31) }, 'UNACCEPTABLE_CREDENTIAL', /SCRAM-SHA-256 has 32 bytes, not 31/],
    [
      { mechanism: SHA_512, saltedPassword: new Uint8Array(32) },
      'UNACCEPTABLE_CREDENTIAL',
      /SCRAM-SHA-512 has 64 bytes, not 32/,
    ],
    [{ mechanism: 0 }, 'UNSUPPORTED_SASL_MECHANISM', /mechanism 0 is not known: there are 1 \(SCRAM-SHA-256\) and 2/],
    [{ mechanism: 3 }, 'UNSUPPORTED_SASL_MECHANISM', /mechanism 3 is not known/],
  ]
  for (const [change, code, text] of refused) {
    const results = await users.alter([], [upsertion('x', change), upsertion('bystander')])
    assert.deepEqual(codesOf(results)[1], ['bystander', 'NONE'])
    assert.equal(results[0]!.errorCode, code)
    assert.match(results[0]!.errorText, text)
  }
  assert.deepEqual(codesOf(await users.describe(null)), [['bystander', 'NONE']])
})

test('twice the same of one user is refused, and one fault of a user is all of its faults', async () => {
  const { users } = saslFixture()
  const one = (mechanism: number | 'all') => ({ name: 'bystander', mechanism })
  await users.alter([], [upsertion('bystander')])
  const twice = [
    users.alter([], [upsertion('x'), upsertion('x', { iterations: 5000 })]),
    users.alter([{ name: 'x', mechanism: SHA_256 }], [upsertion('x')]),
    users.alter([one(SHA_256), one(SHA_256)], []),
    users.alter([one('all'), one('all')], []),
    users.alter([one(SHA_256), one('all')], []),
  ]
  for (const [result] of await Promise.all(twice)) assert.equal(result!.errorCode, 'DUPLICATE_RESOURCE')
  const half = await users.alter([], [upsertion('x'), upsertion('x', { mechanism: SHA_512, iterations: 1 })])
  assert.deepEqual(codesOf(half), [['x', 'UNACCEPTABLE_CREDENTIAL']])
  const both = await users.alter([one(SHA_512)], [upsertion('bystander', { iterations: 5000 })])
  assert.deepEqual(codesOf(both), [['bystander', 'RESOURCE_NOT_FOUND']])
  assert.deepEqual(await users.describe(null), [
    { name: 'bystander', errorCode: 'NONE', errorText: '', credentials: [{ mechanism: 1, iterations: 4096 }] },
  ])
  assert.deepEqual(codesOf(await users.alter([{ name: 'x', mechanism: 'all' }], [])), [['x', 'RESOURCE_NOT_FOUND']])
})

test('a password set here: all mechanisms unless told otherwise, and no others stay', async () => {
  const { users } = saslFixture()
  await users.setPassword('alice', 'x')
  assert.deepEqual(
    (await users.describe(['alice']))[0]!.credentials,
    [SHA_256, SHA_512].map((mechanism) => ({ mechanism, iterations: 8192 })),
  )
  await users.setPassword('alice', 'y', { mechanisms: ['SCRAM-SHA-512'], iterations: 4096 })
  assert.deepEqual((await users.describe(['alice']))[0]!.credentials, [{ mechanism: 2, iterations: 4096 }])
  for (const password of ['', 'a\0b', 'x'.repeat(1025)])
    await assert.rejects(users.setPassword('alice', password), hasCode('UNACCEPTABLE_CREDENTIAL', /1 to 1024 bytes/))
  await assert.rejects(users.setPassword('alice', 'x', { iterations: 16_385 }), hasCode('UNACCEPTABLE_CREDENTIAL'))
  await assert.rejects(users.setPassword('token', 'x'), hasCode('UNACCEPTABLE_CREDENTIAL', /tokens/))
  await users.delete('alice')
  await assert.rejects(users.delete('alice'), hasCode('RESOURCE_NOT_FOUND', /there is no user alice/))
  const full = saslFixture({ hasher: new PasswordHasher(() => new Promise(() => {})) })
  for (let index = 0; index < 258; index++) void full.users.setPassword('x', 'x')
  await assert.rejects(full.users.setPassword('x', 'x'), hasCode('OVERLOADED'))
})
