/** Who gets in at the Kafka door: users with passwords, holders of tokens, and nobody else; and that existence does not show. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EMPTY_BYTES, utf8Decode, utf8Encode } from '../../../../src/base/bytes.ts'
import { type Principal, TOKEN_HOLDER } from '../../../../src/broker/authorise.ts'
import { PasswordHasher } from '../../../../src/broker/sasl/password-hasher.ts'
import { type SaslStep, WRONG_TEXT } from '../../../../src/kafka/sasl/sasl-ports.ts'
import { SCRAM_MECHANISMS, type ScramMechanism } from '../../../../src/model/users.ts'
import { type SaslFixtureOptions, saslFixture } from '../../../support/sasl-fixture.ts'
import { ScramClient } from '../../../support/scram-client.ts'

type Fixture = ReturnType<typeof saslFixture>

async function withAlice(options: SaslFixtureOptions = {}): Promise<Fixture> {
  const fixture = saslFixture(options)
  await fixture.sasl.open()
  await fixture.users.setPassword('alice', 'pässword', { iterations: 4096 })
  return fixture
}

function plain({ sasl }: Fixture, user: string, password: string): Promise<SaslStep<Principal>> {
  return sasl.begin('PLAIN')!.step(utf8Encode(`\0${user}\0${password}`))
}

async function scram({ sasl }: Fixture, mechanism: ScramMechanism, user: string, password: string) {
  const client = new ScramClient({ mechanism, user, password })
  const session = sasl.begin(mechanism)!
  const challenge = await session.step(client.first)
  assert.ok(challenge.kind === 'challenge', JSON.stringify(challenge))
  const step = await session.step(client.final(challenge.bytes))
  if (step.kind === 'done') assert.ok(client.isServer(step.bytes))
  return step
}

const WRONG = { kind: 'failed', text: WRONG_TEXT }

test('a user is one by each mechanism, and their principal is of no kind that the broker knows otherwise', async () => {
  const fixture = await withAlice()
  const alice = { name: 'User:alice' }
  assert.deepEqual(await plain(fixture, 'alice', 'pässword'), { kind: 'done', bytes: EMPTY_BYTES, principal: alice })
  for (const mechanism of SCRAM_MECHANISMS) {
    const step = await scram(fixture, mechanism, 'alice', 'pässword')
    assert.deepEqual(step.kind === 'done' && step.principal, alice)
  }
  await fixture.users.setPassword('broker', 'x', { iterations: 4096 })
  const step = await plain(fixture, 'broker', 'x')
  assert.deepEqual(step.kind === 'done' && step.principal, { name: 'User:broker' })
})

test('wrong passwords, unknown users, users without the mechanism: one answer', async () => {
  const fixture = await withAlice()
  await fixture.users.setPassword('bob', 'secret', { mechanisms: ['SCRAM-SHA-512'], iterations: 4096 })
  for (const [user, password] of [
    ['alice', 'password'],
    ['alice', 'secret'],
    ['Alice', 'pässword'],
    ['nobody', 'pässword'],
  ] as const) {
    assert.deepEqual(await plain(fixture, user, password), WRONG)
    for (const mechanism of SCRAM_MECHANISMS) assert.deepEqual(await scram(fixture, mechanism, user, password), WRONG)
  }
  assert.deepEqual(await scram(fixture, 'SCRAM-SHA-256', 'bob', 'secret'), WRONG)
  assert.equal((await scram(fixture, 'SCRAM-SHA-512', 'bob', 'secret')).kind, 'done')
  assert.equal((await plain(fixture, 'bob', 'secret')).kind, 'done', 'PLAIN takes the mechanism that there is')
})

test('a changed password is in force at once, a deleted user out', async () => {
  const fixture = await withAlice()
  await fixture.users.setPassword('alice', 'new', { iterations: 4096 })
  assert.deepEqual(await plain(fixture, 'alice', 'pässword'), WRONG)
  assert.equal((await plain(fixture, 'alice', 'new')).kind, 'done')
  await fixture.users.delete('alice')
  assert.deepEqual(await plain(fixture, 'alice', 'new'), WRONG)
  assert.deepEqual(await scram(fixture, 'SCRAM-SHA-256', 'alice', 'new'), WRONG)
})

test('an unknown user has a salt, the same each time and on every broker, another for another name and mechanism', async () => {
  const fixture = await withAlice()
  const another = saslFixture({ store: fixture.metadata })
  await another.sasl.open()
  const saltOf = async ({ sasl }: Fixture, user: string, mechanism: ScramMechanism) => {
    const step = await sasl.begin(mechanism)!.step(new ScramClient({ mechanism, user, password: '' }).first)
    assert.ok(step.kind === 'challenge')
    const [, salt, iterations] = /,s=([^,]+),i=(\d+)$/.exec(utf8Decode(step.bytes))!
    assert.equal(iterations, user === 'alice' ? '4096' : '8192')
    assert.equal(Buffer.from(salt!, 'base64').length, 16)
    return salt
  }
  const salt = await saltOf(fixture, 'nobody', 'SCRAM-SHA-256')
  assert.equal(await saltOf(fixture, 'nobody', 'SCRAM-SHA-256'), salt)
  assert.equal(await saltOf(another, 'nobody', 'SCRAM-SHA-256'), salt)
  assert.notEqual(await saltOf(fixture, 'nobody', 'SCRAM-SHA-512'), salt)
  assert.notEqual(await saltOf(fixture, 'nobody2', 'SCRAM-SHA-256'), salt)
  assert.notEqual(await saltOf(await withAlice(), 'nobody', 'SCRAM-SHA-256'), salt, 'another cluster')
  assert.notEqual(await saltOf(fixture, 'alice', 'SCRAM-SHA-256'), salt)
})

test('a password of an unknown user is hashed too', async () => {
  const hashed: string[] = []
  const real = new PasswordHasher()
  const hasher = new PasswordHasher(async (toHash) => {
    hashed.push(`${toHash.password} ${toHash.iterations}`)
    return (await real.hash(toHash))!
  })
  const fixture = await withAlice({ hasher })
  hashed.length = 0
  await plain(fixture, 'nobody', 'x')
  await plain(fixture, 'alice', 'y')
  assert.deepEqual(hashed, ['x 8192', 'y 4096'])
})

test('too many passwords at once: who cannot be looked at is told to try again', async () => {
  const never = new PasswordHasher(() => new Promise(() => {}))
  const fixture = saslFixture({ hasher: never })
  await fixture.sasl.open()
  for (let index = 0; index < 258; index++) void plain(fixture, 'nobody', 'x')
  const step = await plain(fixture, 'nobody', 'x')
  assert.match(step.kind === 'failed' ? step.text : step.kind, /try again/)
})

test('with tokens PLAIN takes one as the password of the user `token`, and the secret of the cluster is none', async () => {
  const token = 'sixteen-characters'
  const fixture = await withAlice({ mechanisms: ['PLAIN'], tokens: ['another-one-of-them', token], clusterSecret: 's' })
  const step = await plain(fixture, 'token', token)
  assert.deepEqual(step.kind === 'done' && step.principal, TOKEN_HOLDER)
  for (const wrong of ['s', 'x', `${token} `]) assert.deepEqual(await plain(fixture, 'token', wrong), WRONG)
  assert.deepEqual(await plain(fixture, 'alice', token), WRONG)
  assert.equal((await plain(fixture, 'alice', 'pässword')).kind, 'done', 'users are users beside it')

  const none = await withAlice({ mechanisms: ['PLAIN'], clusterSecret: 's' })
  for (const wrong of ['s', 'x', '']) assert.equal((await plain(none, 'token', wrong)).kind, 'failed')
})

test('what is in force is what was configured', () => {
  const { sasl } = saslFixture({ mechanisms: ['SCRAM-SHA-512'] })
  assert.deepEqual([sasl.isRequired, sasl.mechanisms], [true, ['SCRAM-SHA-512']])
  for (const other of ['PLAIN', 'SCRAM-SHA-256', 'GSSAPI', '', 'constructor'])
    assert.equal(sasl.begin(other), undefined, other)
  assert.equal(saslFixture({ mechanisms: [] }).sasl.isRequired, false)
})

test('before the users are here nobody can begin', async () => {
  const { sasl } = saslFixture()
  await assert.rejects(sasl.begin('SCRAM-SHA-256')!.step(utf8Encode('n,,n=a,r=x')), /before the users were here/)
})
