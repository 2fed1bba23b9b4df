/** createBroker(): what it is beside the client's contract: durable where it should be, safe where it opens up, gone when it is closed. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { systemProcessProbe } from '../../src/base/node/process-probe.ts'
import { connect } from '../../src/client/index.ts'
import { resolveConfig } from '../../src/config/index.ts'
import { createBroker } from '../../src/index.ts'
import { NodeFileSystem } from '../../src/io/node-file-system.ts'
import { startBroker } from '../../src/main.ts'
import { verifyLog } from '../../src/tools/verify-log.ts'
import { hasCode } from '../support/expect.ts'
import { repositoryRoot } from '../support/repository.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-in-process-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const decoder = new TextDecoder()
const GUARDED = { 'auth.tokens': 'sixteen-characters-at-least' } as const

test('a directory outlives its broker: closed clean, read by the next one and by `millrace start`', async () => {
  const dir = join(folder, 'kept')
  for (const [round, workers] of [false, true, false].entries()) {
    const broker = await createBroker({ storage: { dir }, shards: 1 + (round % 2), workers })
    const mq = broker.client()
    await mq.admin.topics.create('t', { partitions: 3, ifNotExists: true })
    await mq
      .producer('t')
      .sendMany(Array.from({ length: 30 }, (_, index) => ({ value: `${round}/${index}`, partition: index % 3 })))
    let count = 0
    for await (const record of mq.consume('t', { from: 'start', to: 'end' })) {
      assert.match(decoder.decode(record.value!), /^\d\/\d+$/)
      count++
    }
    assert.equal(count, 30 * (round + 1))
    await assert.rejects(createBroker({ storage: { dir } }), /in use by process \d+/)
    await broker.close()
    assert.ok(existsSync(join(dir, 'clean')) && !existsSync(join(dir, 'lock')))
  }
  const summary = verifyLog({
    ...{ files: new NodeFileSystem(), dataDir: dir, probe: systemProcessProbe(), repair: false },
    write: (line) => assert.match(line, /"type":"summary"/),
  })
  assert.deepEqual([summary.partitions, summary.damages, summary.findings], [3, 0, 0])
  const flags = Object.entries({ listen: '127.0.0.1:0', dataDir: dir, shards: '2', 'log.level': 'silent' })
  const config = resolveConfig({ flags: flags.map(([path, value]) => ({ path, value, source: 'test' })) })
  await using started = await startBroker({ config })
  await using mq = await connect(started.url)
  const ends = await mq.admin.topics.offsets('t', 'end')
  assert.equal(
    ends.reduce((sum, { offset }) => sum + offset, 0),
    90,
  )
})

test('what could not be delivered is told by close(), after all is closed', async () => {
  const broker = await createBroker({ storage: { dir: join(folder, 'failing') } })
  const mq = broker.client()
  const producer = mq.producer('missing')
  const sent = producer.send({ value: 'x' })
  await assert.rejects(sent, hasCode('UNKNOWN_TOPIC_OR_PARTITION'))
  await broker.close()
  await broker.close()
  assert.ok(existsSync(join(folder, 'failing', 'clean')))
  assert.throws(() => broker.client(), hasCode('CLOSED'))
  await assert.rejects(broker.listen(), hasCode('CLOSED'))
  await assert.rejects(mq.admin.topics.list(), hasCode('CLOSED'))
})

test('listen() opens a door on a free port: WebSocket and HTTP, beside the clients in memory', async () => {
  for (const workers of [false, true]) {
    await using broker = await createBroker({
      ...{ storage: { dir: join(folder, `door-${workers}`) }, workers },
      config: { 'listeners.ws.engine': 'ws' },
    })
    const local = broker.client()
    await local.admin.topics.create('t', { partitions: 1 })
    const url = await broker.listen()
    assert.match(url, /^ws:\/\/127\.0\.0\.1:\d+$/)
    await assert.rejects(broker.listen(), hasCode('INVALID_ARGUMENT', /listens already/))
    await using remote = await connect(url)
    const waiting = local.consume('t', { from: 'start' })[Symbol.asyncIterator]().next()
    await remote.producer('t').send({ value: 'through the door' })
    assert.equal(decoder.decode((await waiting).value.value), 'through the door')
    const http = url.replace('ws:', 'http:')
    assert.equal((await fetch(`${http}/readyz`)).status, 200)
    assert.match(await (await fetch(`${http}/metrics`)).text(), /millrace_connections \d/)
  }
})

test('a door that others can reach needs tokens; the clients in memory need none', async () => {
  await using open = await createBroker({ storage: 'memory' })
  await assert.rejects(open.listen({ listen: '0.0.0.0:0' }), hasCode('INVALID_CONFIG', /auth\.tokens/))
  await assert.rejects(open.listen({ listen: 'nonsense' }), hasCode('INVALID_CONFIG', /HOST:PORT/))
  assert.match(await open.listen(), /^ws:/)
  await using guarded = await createBroker({
    storage: 'memory',
    config: { ...GUARDED, 'listeners.ws.engine': 'ws' },
  })
  const url = (await guarded.listen({ listen: '0.0.0.0:0' })).replace('0.0.0.0', '127.0.0.1')
  await assert.rejects(connect(url), hasCode('SASL_AUTHENTICATION_FAILED'))
  await using remote = await connect(url, { token: GUARDED['auth.tokens'] })
  await guarded.client().admin.topics.create('t')
  assert.equal((await remote.admin.topics.list()).length, 1)
  const stranger = guarded.client({ token: 'not-the-token-of-this-broker' })
  await assert.rejects(stranger.admin.topics.list(), hasCode('SASL_AUTHENTICATION_FAILED'))
})

test('memory has an end: produce is refused as on a full disk, reads go on, deletes make room', async () => {
  const MIB = 1024 * 1024
  await using broker = await createBroker({ storage: 'memory', memoryBytesMax: 24 * MIB })
  const mq = broker.client()
  await mq.admin.topics.create('t', { partitions: 1 })
  const producer = mq.producer('t', { deliveryTimeoutMs: 300 })
  const value = new Uint8Array(100_000)
  let stored = 0
  await assert.rejects(
    async () => {
      for (; stored < 1_000; stored++) await producer.send({ value })
    },
    hasCode('DELIVERY_TIMED_OUT', /the disk is nearly full/),
  )
  assert.ok(stored > 100, `${stored} records of 100 kB in 24 MiB`)
  let count = 0
  for await (const record of mq.consume('t', { from: 'start', to: 'end' })) {
    assert.equal(record.value!.length, value.length)
    count++
  }
  assert.equal(count, stored)
  await mq.admin.topics.delete('t')
  await mq.admin.topics.create('again', { partitions: 1 })
  assert.equal((await mq.producer('again').send({ value })).offset, 0)
})

test('connect() takes a broker in this process, too', async () => {
  await using broker = await createBroker({ storage: 'memory' })
  const mq = await connect(broker)
  await mq.admin.topics.create('local', { partitions: 1 })
  assert.equal((await mq.producer('local').send({ value: 'x' })).offset, 0)
  await mq.close()
  await broker.close()
  await assert.rejects(async () => connect(broker), hasCode('CLOSED'))
})

test('what waits for a broker in this process is given up by its signal', async () => {
  const given = AbortSignal.abort(new Error('enough'))
  await assert.rejects(createBroker({ storage: 'memory', signal: given }), hasCode('ABORTED'))
  const controller = new AbortController()
  const starting = createBroker({ storage: 'memory', signal: controller.signal })
  controller.abort()
  await assert.rejects(starting, hasCode('ABORTED'))
  const broker = await createBroker({ storage: 'memory', config: { 'topics.autoCreate': false } })
  const mq = broker.client({ requestTimeoutMs: 60_000 })
  await mq.admin.topics.create('t', { partitions: 1 })
  const lingering = mq.producer('t', { lingerMs: 60_000, partitioner: 'random' })
  await lingering.ready()
  lingering.enqueue({ value: 'x' })
  // Clients that have nothing to wait for are closed in order, also by one who is in a hurry.
  await lingering.drain()
  await broker.close({ signal: given })
  assert.ok(mq.isClosed)
})

test('options are checked, and the error says what to do', async () => {
  const create = (options: unknown) => createBroker(options as Parameters<typeof createBroker>[0])
  await assert.rejects(create({ storage: 'disk' }), hasCode('INVALID_ARGUMENT', /'memory' or \{ dir: 'PATH' \}/))
  await assert.rejects(create({ storage: 'memory', shards: 0 }), hasCode('INVALID_ARGUMENT', /shards/))
  await assert.rejects(create({ storage: 'memory', workers: true }), hasCode('INVALID_ARGUMENT', /\{ dir \}/))
  const both = { storage: { dir: '/nowhere' }, memoryBytesMax: 2 ** 30 }
  await assert.rejects(create(both), hasCode('INVALID_ARGUMENT', /memoryBytesMax bounds storage 'memory'/))
  await assert.rejects(create({ storage: 'memory', memoryBytesMax: 1 }), hasCode('INVALID_ARGUMENT', /memoryBytesMax/))
})

/** Runs a module in a process of its own; what it loaded, printed, and how it ended. */
async function runScript(script: string) {
  const hook =
    "import{writeSync}from'node:fs';export async function load(u,c,n){writeSync(2,'LOAD '+u+'\\n');return n(u,c)}"
  const register = `import{register}from'node:module';register('data:text/javascript,'+encodeURIComponent(${JSON.stringify(hook)}))`
  const child = spawn(process.execPath, [
    ...['--import', `data:text/javascript,${encodeURIComponent(register)}`],
    ...['--input-type=module', '-e', script],
  ])
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (chunk) => {
    stdout += chunk
  })
  child.stderr.on('data', (chunk) => {
    stderr += chunk
  })
  const code = await new Promise((resolve) => child.once('close', resolve))
  const loaded = stderr.split('\n').filter((line) => line.startsWith('LOAD '))
  return { code, stdout: stdout.trim(), loaded, talk: stderr.replaceAll(/^LOAD .*\n/gm, '') }
}

const ROOT = JSON.stringify(`file://${repositoryRoot}/dist/src/index.js`)
const FIRST_RECORD = `
  const { createBroker } = await import(${ROOT})
  const broker = await createBroker({ storage: 'memory' })
  const mq = broker.client()
  await mq.admin.topics.create('t', { partitions: 1 })
  await mq.producer('t').send({ value: 'first' })
  for await (const record of mq.consume('t', { from: 'start', to: 'end' })) console.log(new TextDecoder().decode(record.value))`

test('a process loads only what it uses, and ends by itself after close()', async () => {
  const root = await runScript(`await import(${ROOT})`)
  assert.equal(root.code, 0, root.talk)
  assert.ok(root.loaded.length < 10, `importing the root loads ${root.loaded.length} modules`)
  const { code, stdout, talk, loaded } = await runScript(`${FIRST_RECORD}; await broker.close()`)
  assert.deepEqual([code, stdout, talk], [0, 'first', ''])
  const unwanted = /node_modules\/(uWebSockets|ws|piscina|prom-client|pino|zod|yaml|commander)\b|data-dir-recovery/
  assert.deepEqual(
    loaded.filter((line) => unwanted.test(line)),
    [],
  )
})

test('a broker in memory that nobody waits for keeps no process alive', async () => {
  const { code, stdout, talk } = await runScript(FIRST_RECORD)
  assert.deepEqual([code, stdout, talk], [0, 'first', ''])
})
