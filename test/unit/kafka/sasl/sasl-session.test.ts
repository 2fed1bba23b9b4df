/** PLAIN, and an exchange as the connection sees it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EMPTY_BYTES, utf8Encode } from '../../../../src/base/bytes.ts'
import { nodeSaslCrypto } from '../../../../src/broker/sasl/node-sasl-crypto.ts'
import {
  type PasswordVerdict,
  type SaslPorts,
  type SaslStep,
  WRONG_TEXT,
} from '../../../../src/kafka/sasl/sasl-ports.ts'
import { SaslSession } from '../../../../src/kafka/sasl/sasl-session.ts'
import { PASSWORD_BYTES_MAX, SASL_MESSAGE_BYTES_MAX } from '../../../../src/model/limits.ts'

const plain = (...parts: string[]): Uint8Array => utf8Encode(parts.join('\0'))

function portsOf(verify: (user: string, password: string) => Promise<PasswordVerdict<string>>): SaslPorts<string> {
  const credential = { salt: utf8Encode('salt'), iterations: 4096, storedKey: EMPTY_BYTES, serverKey: EMPTY_BYTES }
  return {
    crypto: nodeSaslCrypto,
    credentialOf: () => ({ credential, principal: undefined }),
    verifyPassword: verify,
  }
}

const asked: [user: string, password: string][] = []
const knowsAlice = portsOf(async (user, password) => {
  asked.push([user, password])
  return user === 'alice' && password === 'pässword' ? { kind: 'right', principal: 'User:alice' } : { kind: 'wrong' }
})

const textOf = (step: SaslStep<string>): string => (step.kind === 'failed' ? step.text : step.kind)

test('PLAIN: the right password is answered with nothing, and the user is who they say', async () => {
  for (const message of [plain('', 'alice', 'pässword'), plain('alice', 'alice', 'pässword')])
    assert.deepEqual(await new SaslSession('PLAIN', knowsAlice).step(message), {
      kind: 'done',
      bytes: EMPTY_BYTES,
      principal: 'User:alice',
    })
})

test('PLAIN: wrong is wrong, and what is no message is not asked about', async () => {
  const step = async (message: Uint8Array) => textOf(await new SaslSession('PLAIN', knowsAlice).step(message))
  assert.equal(await step(plain('', 'alice', 'wrong')), WRONG_TEXT)
  assert.equal(await step(plain('', 'bob', 'pässword')), WRONG_TEXT)
  asked.length = 0
  const refused: readonly (readonly [Uint8Array, RegExp])[] = [
    [EMPTY_BYTES, /expected authzid NUL user NUL password/],
    [plain('alice', 'pässword'), /expected authzid NUL user NUL password/],
    [plain('', 'alice', 'pässword', ''), /expected authzid NUL user NUL password/],
    [plain('', 'alice', ''), /is empty/],
    [plain('', '', 'pässword'), /is empty/],
    [plain('bob', 'alice', 'pässword'), /nobody may act as another user/],
    [plain('alice ', 'alice', 'pässword'), /nobody may act as another user/],
    [Uint8Array.of(0, 0x61, 0, 0xff), /in UTF-8/],
  ]
  for (const [message, text] of refused) assert.match(await step(message), text)
  assert.equal(await step(plain('', 'alice', 'x'.repeat(PASSWORD_BYTES_MAX + 1))), WRONG_TEXT)
  assert.deepEqual(asked, [])
  await step(plain('', 'alice', 'x'.repeat(PASSWORD_BYTES_MAX)))
  assert.equal(asked.length, 1)
})

test('PLAIN: who cannot be looked at now may try again', async () => {
  const busy = new SaslSession(
    'PLAIN',
    portsOf(async () => ({ kind: 'busy' })),
  )
  assert.match(textOf(await busy.step(plain('', 'alice', 'x'))), /try again/)
})

test('what is over stays over: after done, after failed', async () => {
  for (const password of ['pässword', 'wrong']) {
    const session = new SaslSession('PLAIN', knowsAlice)
    await session.step(plain('', 'alice', password))
    asked.length = 0
    assert.match(textOf(await session.step(plain('', 'alice', 'pässword'))), /is over/)
    assert.deepEqual(asked, [])
  }
})

test('one message at a time: two at once are none', async () => {
  let answer = (_: PasswordVerdict<string>): void => {}
  const session = new SaslSession(
    'PLAIN',
    portsOf(() => new Promise((resolve) => void (answer = resolve))),
  )
  const first = session.step(plain('', 'alice', 'x'))
  assert.match(textOf(await session.step(plain('', 'alice', 'x'))), /before the one before it was answered/)
  answer({ kind: 'right', principal: 'User:alice' })
  assert.equal((await first).kind, 'failed')
})

test('messages have a bound, and SCRAM goes through the same session', async () => {
  for (const mechanism of ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'] as const) {
    const large = new SaslSession(mechanism, knowsAlice)
    assert.match(textOf(await large.step(new Uint8Array(SASL_MESSAGE_BYTES_MAX + 1))), /at most 16384 bytes/)
  }
  const session = new SaslSession('SCRAM-SHA-512', knowsAlice)
  assert.equal(session.mechanism, 'SCRAM-SHA-512')
  assert.equal((await session.step(utf8Encode('n,,n=bob,r=x'))).kind, 'challenge')
  assert.match(textOf(await session.step(EMPTY_BYTES)), /no proof/)
  assert.match(textOf(await session.step(EMPTY_BYTES)), /is over/)
})
