/**
 * Users, from who makes them to who they are then: over the native protocol on three brokers in one process, by the commands, and across a
 * restart of a broker alone. Who authenticates does so as Kafka's clients do.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { utf8Encode } from '../../src/base/bytes.ts'
import type { Gateway } from '../../src/broker/gateway.ts'
import { deleteUserWith, listUsersWith, type SetUserFlags, setUserWith } from '../../src/cli/commands/user.ts'
import { createBroker } from '../../src/index.ts'
import { SASL_MECHANISMS, SCRAM_MECHANISMS, type ScramMechanism } from '../../src/model/users.ts'
import { BrokerCluster } from '../support/broker-cluster.ts'
import { CommandOutput } from '../support/command-output.ts'
import { hasCode } from '../support/expect.ts'
import { ScramClient } from '../support/scram-client.ts'
import { until } from '../support/until.ts'

const WAIT_MS = 10_000
const config = { 'listeners.kafka.sasl': SASL_MECHANISMS }
const cluster = await BrokerCluster.start({ nodes: 3, config })
const folder = mkdtempSync(join(tmpdir(), 'millrace-users-'))
after(async () => {
  await cluster.close()
  rmSync(folder, { recursive: true, force: true })
})

const gatewayOf = (nodeId: number): Gateway => cluster.brokers.get(nodeId)!.gateway
const adminOf = (nodeId: number) => cluster.client({ nodes: [nodeId] }).admin

/** Who somebody is at a broker; undefined: nobody. */
async function scram({ sasl }: Gateway, mechanism: ScramMechanism, user: string, password: string) {
  await sasl.open()
  const client = new ScramClient({ mechanism, user, password })
  const session = sasl.begin(mechanism)!
  const challenge = await session.step(client.first)
  assert.ok(challenge.kind === 'challenge')
  const step = await session.step(client.final(challenge.bytes))
  return step.kind === 'done' && client.isServer(step.bytes) ? step.principal.name : undefined
}

async function plain({ sasl }: Gateway, user: string, password: string) {
  await sasl.open()
  const step = await sasl.begin('PLAIN')!.step(utf8Encode(`\0${user}\0${password}`))
  return step.kind === 'done' ? step.principal.name : undefined
}

test('a user that is made at one broker gets in at every one, by every mechanism; its password did not travel', async () => {
  await adminOf(1).users.upsert({ name: 'alice', password: 'pässword' })
  for (const nodeId of [1, 2, 3]) {
    const gateway = gatewayOf(nodeId)
    await until('alice', WAIT_MS, async () => (await gateway.users.describe(['alice']))[0]?.errorCode === 'NONE')
    for (const mechanism of SCRAM_MECHANISMS)
      assert.equal(await scram(gateway, mechanism, 'alice', 'pässword'), 'User:alice', `${mechanism} at ${nodeId}`)
    assert.equal(await plain(gateway, 'alice', 'pässword'), 'User:alice')
    assert.equal(await plain(gateway, 'alice', 'password'), undefined)
  }
})

test('another password replaces all there was, a deleted user is nobody, whichever broker was asked', async () => {
  const [first, second] = [adminOf(1), adminOf(2)]
  await first.users.upsert({ name: 'bob', password: 'old' })
  await second.users.upsert({ name: 'bob', password: 'new', mechanisms: ['SCRAM-SHA-512'], iterations: 5000 })
  const bob = { name: 'bob', credentials: [{ mechanism: 'SCRAM-SHA-512', iterations: 5000 }] }
  assert.deepEqual((await second.users.list()).at(-1), bob)
  assert.equal(await scram(gatewayOf(2), 'SCRAM-SHA-512', 'bob', 'new'), 'User:bob')
  for (const password of ['old', 'new'])
    assert.equal(await scram(gatewayOf(2), 'SCRAM-SHA-256', 'bob', password), undefined)
  await first.users.delete('bob')
  await assert.rejects(second.users.delete('bob'), hasCode('RESOURCE_NOT_FOUND', /there is no user bob/))
  await until('the end of bob', WAIT_MS, async () => (await plain(gatewayOf(3), 'bob', 'new')) === undefined)
})

test('brokers that change users at the same time: all changes are there', async () => {
  const names = Array.from({ length: 12 }, (_, index) => `many-${String(index).padStart(2, '0')}`)
  const admins = [1, 2, 3].map(adminOf)
  const change = { password: 'x', mechanisms: ['SCRAM-SHA-256'], iterations: 4096 } as const
  await Promise.all(names.flatMap((name) => admins.map((admin) => admin.users.upsert({ ...change, name }))))
  for (const admin of admins)
    await until('all users', WAIT_MS, async () => {
      const known = (await admin.users.list()).filter(({ name }) => name.startsWith('many-'))
      return known.map(({ name }) => name).join() === names.join()
    })
  await Promise.all(names.map((name) => admins[0]!.users.delete(name)))
})

test('more users than a page has: all are listed, in their order', async () => {
  const { users } = gatewayOf(1)
  const names = Array.from({ length: 1_100 }, (_, index) => `u${String(index).padStart(5, '0')}`)
  const upsertion = { mechanism: 1, iterations: 4096, salt: Uint8Array.of(1), saltedPassword: new Uint8Array(32) }
  await users.alter(
    [],
    names.map((name) => ({ ...upsertion, name })),
  )
  const listed = (await adminOf(1).users.list()).map(({ name }) => name)
  assert.deepEqual(listed, ['alice', ...names])
  await users.alter(
    names.map((name) => ({ name, mechanism: 'all' })),
    [],
  )
})

test('what is no name, password or mechanism does not leave the client', async () => {
  const { users } = adminOf(1)
  const refused: readonly (readonly [object, RegExp])[] = [
    [{ name: '', password: 'x' }, /name: a user name is empty/],
    [{ name: 'token', password: 'x' }, /name: the user name 'token' stands for the tokens/],
    [{ name: 'x', password: '' }, /password: 1 to 1024 bytes/],
    [{ name: 'x', password: 'a\0' }, /password: 1 to 1024 bytes without NUL/],
    [{ name: 'x', password: 'é'.repeat(513) }, /password: 1 to 1024 bytes/],
    [{ name: 'x', password: 7 }, /password: expected a text, not a number/],
    [{ name: 'x', password: 'x', mechanisms: [] }, /mechanisms: some of SCRAM-SHA-256, SCRAM-SHA-512, each once/],
    [{ name: 'x', password: 'x', mechanisms: ['PLAIN'] }, /mechanisms: some of/],
    [{ name: 'x', password: 'x', mechanisms: ['SCRAM-SHA-256', 'SCRAM-SHA-256'] }, /each once/],
    [{ name: 'x', password: 'x', iterations: 4095 }, /iterations/],
    [{ name: 'x', password: 'x', iterations: 1e6 }, /iterations/],
  ]
  for (const [wish, text] of refused)
    await assert.rejects(users.upsert(wish as never), hasCode('INVALID_ARGUMENT', text), JSON.stringify(wish))
  await assert.rejects(users.delete('a\nb'), hasCode('INVALID_ARGUMENT', /control characters/))
  await assert.rejects(users.upsert({ name: 'x', password: 'x' }, { signal: AbortSignal.abort() }), hasCode('ABORTED'))
})

test('the commands: set, list, delete, as a person and as a program sees them', async () => {
  const client = cluster.client({ nodes: [1] })
  const output = new CommandOutput()
  const set = (on: CommandOutput, flags: SetUserFlags, password = 'x') =>
    setUserWith(on, client, flags, { name: 'carol', password })
  await set(output, {})
  await set(output, { mechanism: ['SCRAM-SHA-512', 'SCRAM-SHA-512'], iterations: '16384' }, 'x,y')
  assert.deepEqual(output.said, [
    'carol has a password, for SCRAM-SHA-256 and SCRAM-SHA-512',
    'carol has a password, for SCRAM-SHA-512',
    'kafkajs writes , and = of a password otherwise than they are with SCRAM: its clients will not get in',
  ])
  await listUsersWith(output, client)
  assert.deepEqual(output.printed, [
    'USER   MECHANISMS',
    'alice  SCRAM-SHA-256 (8192 iterations), SCRAM-SHA-512 (8192 iterations)',
    'carol  SCRAM-SHA-512 (16384 iterations)',
  ])
  const json = new CommandOutput(true)
  await set(json, { iterations: '4096', mechanism: ['SCRAM-SHA-256'] })
  await listUsersWith(json, client)
  await deleteUserWith(json, client, 'carol')
  const carol = { name: 'carol', credentials: [{ mechanism: 'SCRAM-SHA-256', iterations: 4096 }] }
  assert.deepEqual(
    json.printed.map((line) => JSON.parse(line) as object),
    [carol, (await client.admin.users.list())[0], carol, { name: 'carol', deleted: true }],
  )
  const none = "there is no user 'carol'; millrace user list shows those there are"
  await assert.rejects(deleteUserWith(output, client, 'carol'), hasCode('RESOURCE_NOT_FOUND', new RegExp(`^${none}$`)))
})

test('a broker alone keeps its users across a restart', async () => {
  const options = { storage: { dir: join(folder, 'alone') }, shards: 1, config } as const
  const first = await createBroker(options)
  const mq = first.client()
  assert.deepEqual(await mq.admin.users.list(), [])
  await mq.admin.users.upsert({ name: 'dave', password: 'kept', iterations: 4096 })
  await first.close()
  const second = await createBroker(options)
  assert.deepEqual(
    (await second.client().admin.users.list()).map(({ name, credentials }) => [name, credentials.length]),
    [['dave', 2]],
  )
  await second.client().admin.users.delete('dave')
  await second.close()
})
