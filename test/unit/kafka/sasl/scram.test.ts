/** The server's side of SCRAM: the RFC's own exchange to the byte, a client written by itself, and everything that must not get in. */
import assert from 'node:assert/strict'
import { pbkdf2Sync } from 'node:crypto'
import { test } from 'node:test'
import { bytesEqual, utf8Decode, utf8Encode } from '../../../../src/base/bytes.ts'
import { systemPrng } from '../../../../src/base/node/system-prng.ts'
import { SeededPrng } from '../../../../src/base/prng.ts'
import { nodeSaslCrypto } from '../../../../src/broker/sasl/node-sasl-crypto.ts'
import { type SaslCrypto, type SaslPorts, type SaslStep, WRONG_TEXT } from '../../../../src/kafka/sasl/sasl-ports.ts'
import { ScramMachine, scramKeysOf } from '../../../../src/kafka/sasl/scram.ts'
import {
  SCRAM_KEY_BYTES,
  SCRAM_MECHANISMS,
  type ScramCredential,
  type ScramMechanism,
} from '../../../../src/model/users.ts'
import { ScramClient } from '../../../support/scram-client.ts'

const hashOf = (mechanism: ScramMechanism) => (mechanism === 'SCRAM-SHA-256' ? 'sha256' : 'sha512')

function credentialOf(
  mechanism: ScramMechanism,
  password: string,
  salt: Uint8Array = utf8Encode('salt'),
  iterations = 4096,
): ScramCredential {
  const salted = pbkdf2Sync(password, salt, iterations, SCRAM_KEY_BYTES[mechanism], hashOf(mechanism))
  return { salt, iterations, ...scramKeysOf(mechanism, salted, nodeSaslCrypto) }
}

interface User {
  readonly name: string
  readonly credential: ScramCredential
}

/** Who is not one of `users` is made up: with the credential of a password that even happens to be right. */
function ports(users: readonly User[], nonce?: string): SaslPorts<string> {
  const crypto: SaslCrypto = nonce === undefined ? nodeSaslCrypto : { ...nodeSaslCrypto, newNonce: () => nonce }
  return {
    crypto,
    credentialOf: (name, mechanism) => {
      const credential = users.find((user) => user.name === name)?.credential
      return credential === undefined
        ? { credential: credentialOf(mechanism, 'made up'), principal: undefined }
        : { credential, principal: `User:${name}` }
    },
    verifyPassword: async () => ({ kind: 'wrong' }),
  }
}

const textOf = (step: SaslStep<string>): string => (step.kind === 'failed' ? step.text : utf8Decode(step.bytes))

// RFC 7677 §3; and of SHA-512, which no RFC has an example of, the one that other implementations test with.
const VECTORS = [
  {
    mechanism: 'SCRAM-SHA-256',
    serverNonce: '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
    salt: 'W22ZaJ0SNY7soEsUEjb6gQ==',
    proof: 'dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
    signature: '6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
  },
  {
    mechanism: 'SCRAM-SHA-512',
    serverNonce: '02431b08-2f89-4bad-a4e6-80c0564ec865',
    salt: 'Yin2FuHTt/M0kJWb0t9OI32n2VmOGi3m+JfjOvuDF88=',
    proof: 'Hc5yec3NmCD7t+kFRw4/3yD6/F3SQHc7AVYschRja+Bc3sbdjlA0eH1OjJc0DD4ghn1tnXN5/Wr6qm9xmaHt4A==',
    signature: 'BQuhnKHqYDwQWS5jAw4sZed+C9KFUALsbrq81bB0mh+bcUUbbMPNNmBIupnS2AmyyDnG5CTBQtkjJ9kyY4kzmw==',
  },
] as const

for (const { mechanism, serverNonce, salt, proof, signature } of VECTORS)
  test(`${mechanism}: the known exchange to the byte`, () => {
    const credential = credentialOf(mechanism, 'pencil', Buffer.from(salt, 'base64'))
    const machine = new ScramMachine(mechanism, ports([{ name: 'user', credential }], serverNonce))
    const challenge = machine.step(utf8Encode('n,,n=user,r=rOprNGfwEbeRWgbNEkqO'))
    const nonce = `rOprNGfwEbeRWgbNEkqO${serverNonce}`
    assert.deepEqual([challenge.kind, textOf(challenge)], ['challenge', `r=${nonce},s=${salt},i=4096`])
    const done = machine.step(utf8Encode(`c=biws,r=${nonce},p=${proof}`))
    assert.deepEqual([done.kind, textOf(done)], ['done', `v=${signature}`])
    assert.ok(done.kind === 'done' && done.principal === 'User:user')
  })

test('a client of its own gets in, names with commas and equals signs too, and knows the server by its signature', () => {
  for (const mechanism of SCRAM_MECHANISMS)
    for (const name of ['alice', 'CN=broker,O=Müller', '=2C', 'アリス']) {
      const users = [{ name, credential: credentialOf(mechanism, 'pässword') }]
      const machine = new ScramMachine(mechanism, ports(users))
      const client = new ScramClient({ mechanism, user: name, password: 'pässword' })
      const challenge = machine.step(client.first)
      assert.ok(challenge.kind === 'challenge', textOf(challenge))
      const done = machine.step(client.final(challenge.bytes))
      assert.ok(done.kind === 'done', textOf(done))
      assert.equal(done.principal, `User:${name}`)
      assert.ok(client.isServer(done.bytes), 'the signature is that of the password')
    }
})

test('a nonce is another one in every exchange, and begins with what the client gave', () => {
  const nonces = [1, 2, 3].map(() => {
    const step = new ScramMachine('SCRAM-SHA-256', ports([])).step(utf8Encode('n,,n=a,r=mine'))
    return /^r=([^,]+),/.exec(textOf(step))![1]!
  })
  assert.equal(new Set(nonces).size, 3)
  for (const nonce of nonces) assert.match(nonce, /^mine[!-+\--~]{20,}$/)
})

/** The last step of an exchange of `client` with the server that knows alice. */
function exchange(
  client: ScramClient,
  lies: Parameters<ScramClient['final']>[1] = {},
  mechanism: ScramMechanism = 'SCRAM-SHA-256',
): SaslStep<string> {
  const users = [{ name: 'alice', credential: credentialOf(mechanism, 'right') }]
  const machine = new ScramMachine(mechanism, ports(users))
  const challenge = machine.step(client.first)
  return challenge.kind === 'challenge' ? machine.step(client.final(challenge.bytes, lies)) : challenge
}

test('wrong password, unknown user, and a user whose made-up password is right: one text', () => {
  for (const mechanism of SCRAM_MECHANISMS)
    for (const [user, password] of [
      ['alice', 'wrong'],
      ['alice', ''],
      ['bob', 'right'],
      ['bob', 'made up'],
    ] as const)
      assert.deepEqual(exchange(new ScramClient({ mechanism, user, password }), {}, mechanism), {
        kind: 'failed',
        text: WRONG_TEXT,
      })
  assert.doesNotMatch(WRONG_TEXT, /unknown|no such|exist/)
})

test('what the first message asks for: no channel binding, no other user, extensions passed over', () => {
  const alice = { user: 'alice', password: 'right' }
  for (const gs2Header of ['n,,', 'y,,', 'n,a=alice,'])
    assert.equal(exchange(new ScramClient({ ...alice, gs2Header })).kind, 'done', gs2Header)
  assert.equal(exchange(new ScramClient({ ...alice, extensions: ',tokenauth=false,x=y' })).kind, 'done')
  const refused: readonly (readonly [string, RegExp])[] = [
    ['n,a=bob,', /nobody may act as another user/],
    ['n,a=,', /authzid \(a=\) is not well formed/],
    ['p=tls-unique,,', /channel binding is not offered/],
    ['', /does not begin with n,,/],
    ['n,', /does not begin with n,,/],
  ]
  for (const [gs2Header, text] of refused)
    assert.match(textOf(exchange(new ScramClient({ ...alice, gs2Header }))), text, gs2Header)
})

test('a client that repeats its own nonce before the whole of it, as librdkafka before 2.6.1 does, is let in', () => {
  const users = [{ name: 'alice', credential: credentialOf('SCRAM-SHA-256', 'right') }]
  const answerOf = (repeated: string, password: string): SaslStep<string> => {
    const machine = new ScramMachine('SCRAM-SHA-256', ports(users))
    const client = new ScramClient({ user: 'alice', password, nonce: 'mine' })
    const challenge = machine.step(client.first)
    assert.ok(challenge.kind === 'challenge')
    const [, nonce = ''] = /^r=([^,]*)/.exec(textOf(challenge)) ?? []
    return machine.step(client.final(challenge.bytes, { nonce: repeated + nonce }))
  }
  assert.equal(answerOf('mine', 'right').kind, 'done')
  assert.deepEqual(answerOf('mine', 'wrong'), { kind: 'failed', text: WRONG_TEXT })
  for (const other of ['yours', 'minemine', 'min', 'x'])
    assert.match(textOf(answerOf(other, 'right')), /the nonce is not the one of this/)
})

test('the last message belongs to this exchange: its nonce and its channel binding', () => {
  const alice = () => new ScramClient({ user: 'alice', password: 'right' })
  assert.match(textOf(exchange(alice(), { nonce: 'fyko+d2lbbFgONRv9qkxdawL' })), /the nonce is not the one of this/)
  assert.match(textOf(exchange(alice(), { nonce: '' })), /the nonce is not the one of this/)
  assert.match(textOf(exchange(alice(), { binding: 'y,,' })), /channel binding \(c=\) is not what the first/)
  assert.match(textOf(exchange(alice(), { binding: '' })), /channel binding \(c=\) is not what the first/)

  // What was right once, in another exchange.
  const credential = credentialOf('SCRAM-SHA-256', 'right')
  const known = ports([{ name: 'alice', credential }])
  const client = alice()
  const first = new ScramMachine('SCRAM-SHA-256', known)
  const challenge = first.step(client.first)
  assert.ok(challenge.kind === 'challenge')
  const final = client.final(challenge.bytes)
  assert.equal(first.step(final).kind, 'done')
  const second = new ScramMachine('SCRAM-SHA-256', known)
  second.step(client.first)
  assert.equal(second.step(final).kind, 'failed')
})

test('messages that are none name what is wrong, and not who', () => {
  const firsts: readonly (readonly [string | Uint8Array, RegExp])[] = [
    ['', /does not begin/],
    ['n,,', /no user name/],
    ['n,,n=alice', /no user name/],
    ['n,,n=,r=x', /no user name/],
    ['n,,n=a=b,r=x', /user name \(n=\), or one that is not well formed/],
    ['n,,n=a=2c,r=x', /user name \(n=\), or one that is not well formed/],
    ['n,,n=alice,r=', /no nonce/],
    ['n,,n=alice,r=a b', /no nonce/],
    [`n,,n=alice,r=${'x'.repeat(1025)}`, /no nonce/],
    ['n,,m=x,n=alice,r=x', /is mandatory/],
    [Uint8Array.of(0x6e, 0x2c, 0x2c, 0xff), /not UTF-8/],
  ]
  for (const [message, text] of firsts) {
    const bytes = typeof message === 'string' ? utf8Encode(message) : message
    const step = new ScramMachine('SCRAM-SHA-256', ports([])).step(bytes)
    assert.equal(step.kind, 'failed')
    assert.match(textOf(step), text, String(message))
    assert.match(textOf(step), /^SCRAM-SHA-256: /)
  }
  const finals: readonly (readonly [string | Uint8Array, RegExp])[] = [
    ['', /no proof/],
    ['c=biws,r=x', /no proof/],
    ['c=biws,r=x,p=', /no proof/],
    ['c=biws,r=x,p=!', /not base64/],
    ['c=biws,r=x,p=AAA', /not base64/],
    [',p=AAAA', /no channel binding/],
    ['c=!,r=x,p=AAAA', /no channel binding/],
    ['r=x,c=biws,p=AAAA', /no channel binding/],
    ['c=biws,r=x,p=AAAA', /the nonce/],
    [Uint8Array.of(0xff), /not UTF-8/],
  ]
  for (const [message, text] of finals) {
    const machine = new ScramMachine('SCRAM-SHA-256', ports([]))
    assert.equal(machine.step(utf8Encode('n,,n=alice,r=x')).kind, 'challenge')
    const step = machine.step(typeof message === 'string' ? utf8Encode(message) : message)
    assert.equal(step.kind, 'failed')
    assert.match(textOf(step), text, String(message))
  }
})

test('a proof of another length is wrong, whatever it begins with', () => {
  const credential = credentialOf('SCRAM-SHA-256', 'right')
  for (const length of [0, 1, 31, 33, 64]) {
    const machine = new ScramMachine('SCRAM-SHA-256', ports([{ name: 'alice', credential }], 'n'))
    machine.step(utf8Encode('n,,n=alice,r=x'))
    const step = machine.step(utf8Encode(`c=biws,r=xn,p=${Buffer.alloc(length).toString('base64')}`))
    assert.equal(step.kind, 'failed', String(length))
  }
})

test('messages with any byte changed, left out or put in: never in, never a throw', () => {
  const seed = systemPrng().uint32()
  const prng = new SeededPrng(seed)
  const known = ports([{ name: 'alice', credential: credentialOf('SCRAM-SHA-256', 'right') }])
  const broken = (bytes: Uint8Array): Uint8Array => {
    const at = prng.below(bytes.length)
    const rest = bytes.subarray(at + prng.below(2))
    const put = prng.below(3) === 0 ? [] : [prng.below(4) === 0 ? 0x2c : prng.below(256)]
    return Uint8Array.from([...bytes.subarray(0, at), ...put, ...rest])
  }
  for (let round = 0; round < 1_000; round++) {
    const client = new ScramClient({ user: 'alice', password: prng.below(2) === 0 ? 'right' : 'wrong' })
    const machine = new ScramMachine('SCRAM-SHA-256', known)
    const isFirstWhole = prng.below(2) === 0
    const first = isFirstWhole ? client.first : broken(client.first)
    const challenge = machine.step(first)
    if (challenge.kind !== 'challenge') continue
    const whole = client.final(challenge.bytes)
    const sent = isFirstWhole ? broken(whole) : whole
    const step = machine.step(sent)
    // A change that changes nothing may be among them.
    const isSame = bytesEqual(first, client.first) && bytesEqual(sent, whole)
    if (step.kind === 'done' && !isSame) assert.fail(`seed ${seed}, round ${round}: ${utf8Decode(sent)}`)
  }
})
