/** Who a Kafka client is: users made by `millrace user`, PLAIN and SCRAM by kcat and kafkajs; tokens as PLAIN passwords. */
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { Kafka, logLevel, type SASLOptions } from 'kafkajs'
import { type KafkaBroker, kafkaBroker } from '../support/kafka-broker.ts'
import { findKcat, runKcat } from '../support/kcat.ts'
import { millrace } from '../support/run-millrace.ts'

const kcat = findKcat()
const skip = kcat.kind === 'absent' ? kcat.reason : false
const program = kcat.kind === 'found' ? kcat.program : ''
const PASSWORD = 'correct horse battery staple'
const TOKEN = '0123456789abcdef0123456789abcdef'
const MECHANISMS = ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'] as const
type Mechanism = (typeof MECHANISMS)[number]

function kcatArgs(broker: KafkaBroker, mechanism: Mechanism, username: string, password: string): string[] {
  const sasl = { 'sasl.mechanism': mechanism, 'sasl.username': username, 'sasl.password': password }
  const all = Object.entries({ 'security.protocol': 'SASL_PLAINTEXT', ...sasl })
  return ['-b', broker.kafka, ...all.flatMap(([name, value]) => ['-X', `${name}=${value}`])]
}

function kafkajs(broker: KafkaBroker, sasl?: { mechanism: Mechanism; username: string; password: string }): Kafka {
  const options = sasl && ({ ...sasl, mechanism: sasl.mechanism.toLowerCase() } as SASLOptions)
  return new Kafka({
    ...{ brokers: [broker.kafka], clientId: 'sasl-test', logLevel: logLevel.NOTHING },
    ...{ retry: { retries: 0 }, ...(options && { sasl: options }) },
  })
}

async function roundTrip(kafka: Kafka, topic: string): Promise<void> {
  const producer = kafka.producer()
  await producer.connect()
  await producer.send({ topic, messages: [{ value: 'by kafkajs' }] })
  await producer.disconnect()
}

/** kafkajs connects without a request where it has nothing to say of itself: it is to ask for something. */
async function refusedKafkajs(kafka: Kafka): Promise<Error> {
  const admin = kafka.admin()
  const error = await admin
    .connect()
    .then(() => admin.listTopics())
    .then(
      () => undefined,
      (error: Error) => error,
    )
  await admin.disconnect()
  assert.ok(error, 'it was let in')
  return error
}

describe('users', () => {
  const broker = kafkaBroker({ settings: { 'listeners.kafka.sasl': MECHANISMS.join(',') } })
  before(async () => {
    const made = await millrace(['user', 'set', 'alice'], { url: broker.url, input: `${PASSWORD}\n` })
    assert.equal(made.code, 0, made.stderr)
  })

  for (const mechanism of MECHANISMS) {
    test(`kcat, ${mechanism}: in with the password, refused with another one and as nobody`, { skip }, async () => {
      const topic = `sasl-kcat-${mechanism}`
      const right = kcatArgs(broker, mechanism, 'alice', PASSWORD)
      const produced = await runKcat(program, [...right, '-P', '-t', topic], 'by kcat\n')
      assert.equal(produced.code, 0, produced.stderr)
      const consumed = await runKcat(program, [...right, '-C', '-e', '-q', '-t', topic])
      assert.deepEqual([consumed.code, consumed.stdout], [0, 'by kcat\n'], consumed.stderr)
      for (const [user, password] of [
        ['alice', 'wrong'],
        ['bob', PASSWORD],
      ] as const) {
        const refused = await runKcat(
          program,
          [...kcatArgs(broker, mechanism, user, password), '-P', '-t', topic],
          'no\n',
        )
        assert.notEqual(refused.code, 0)
        assert.match(refused.stderr, /SASL authentication error/)
        assert.match(refused.stderr, /Authentication failed|wrong/i)
      }
    })

    test(`kafkajs, ${mechanism}: the same`, async () => {
      await roundTrip(
        kafkajs(broker, { mechanism, username: 'alice', password: PASSWORD }),
        `sasl-kafkajs-${mechanism}`,
      )
      for (const [username, password] of [
        ['alice', 'wrong'],
        ['bob', PASSWORD],
      ] as const) {
        const error = await refusedKafkajs(kafkajs(broker, { mechanism, username, password }))
        assert.equal(error.name, 'KafkaJSSASLAuthenticationError', `${error}`)
      }
    })
  }

  test('who does not say who it is gets nothing', { skip }, async () => {
    const { code } = await runKcat(program, ['-b', broker.kafka, '-L', '-m', '2'])
    assert.notEqual(code, 0)
    await refusedKafkajs(kafkajs(broker))
  })
})

describe('tokens', () => {
  const broker = kafkaBroker({ settings: { 'auth.tokens': TOKEN } })

  test('kcat: user token, password the token; another password is refused', { skip }, async () => {
    const right = kcatArgs(broker, 'PLAIN', 'token', TOKEN)
    const produced = await runKcat(program, [...right, '-P', '-t', 'tokens-kcat'], 'by kcat\n')
    assert.equal(produced.code, 0, produced.stderr)
    const wrong = kcatArgs(broker, 'PLAIN', 'token', `${TOKEN.slice(1)}x`)
    const refused = await runKcat(program, [...wrong, '-P', '-t', 'tokens-kcat'], 'no\n')
    assert.notEqual(refused.code, 0)
    assert.match(refused.stderr, /SASL authentication error/)
  })

  test('kafkajs: the same', async () => {
    await roundTrip(kafkajs(broker, { mechanism: 'PLAIN', username: 'token', password: TOKEN }), 'tokens-kafkajs')
    const error = await refusedKafkajs(kafkajs(broker, { mechanism: 'PLAIN', username: 'token', password: 'wrong' }))
    assert.equal(error.name, 'KafkaJSSASLAuthenticationError', `${error}`)
  })
})
