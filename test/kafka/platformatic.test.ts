/**
 * @platformatic/kafka, unmodified: producers in every codec, groups of both protocols, transactions. It wants a newer Node than the house:
 * both come from the npm registry into .tmp/, and where they cannot be had the test is skipped.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { kafkaBroker } from '../support/kafka-broker.ts'
import { kafkajsOf } from '../support/kafkajs.ts'
import { repositoryRoot } from '../support/repository.ts'
import { runJsonLines } from '../support/run-json-lines.ts'

const NAME = '@platformatic/kafka'
const VERSION = '2.12.1'
/** Its engines field wants >= 22.22. */
const RUNTIME = `node-${process.platform}-${process.arch}`
const RUNTIME_VERSION = '22.22'
const INSTALL_MS_MAX = 180_000

type Found =
  | { readonly kind: 'found'; readonly folder: string; readonly node: string; readonly nodeVersion: string }
  | { readonly kind: 'absent'; readonly reason: string }

function fetchClient(): Found {
  if (process.platform !== 'linux') return { kind: 'absent', reason: `no ${RUNTIME} in the registry` }
  const folder = join(repositoryRoot, '.tmp', 'platformatic-kafka')
  mkdirSync(folder, { recursive: true })
  // A package of its own: npm would otherwise install into the checkout.
  if (!existsSync(join(folder, 'package.json'))) writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
  const node = join(folder, 'node_modules', RUNTIME, 'bin', 'node')
  if (!isInstalled(folder)) {
    const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-package-lock', '--loglevel=error']
    const packages = [`${RUNTIME}@>=${RUNTIME_VERSION} <23`, `${NAME}@${VERSION}`]
    const run = spawnSync('npm', ['install', ...options, ...packages], {
      ...{ cwd: folder, encoding: 'utf8', timeout: INSTALL_MS_MAX },
    })
    if (run.status !== 0 || !isInstalled(folder))
      return { kind: 'absent', reason: `npm install brought no ${NAME}: ${(run.stderr ?? '').slice(0, 200)}` }
  }
  const nodeVersion = spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout?.trim() ?? ''
  return nodeVersion === ''
    ? { kind: 'absent', reason: `${RUNTIME} does not run here` }
    : { kind: 'found', folder, node, nodeVersion }
}

function isInstalled(folder: string): boolean {
  const description = join(folder, 'node_modules', NAME, 'package.json')
  if (!existsSync(description) || !existsSync(join(folder, 'node_modules', RUNTIME, 'bin', 'node'))) return false
  return (JSON.parse(readFileSync(description, 'utf8')) as { version: string }).version === VERSION
}

const found = fetchClient()
const skip = found.kind === 'absent' ? found.reason : false
const broker = kafkaBroker()

test(`${NAME} ${VERSION}`, { skip }, async (t) => {
  if (found.kind === 'absent') return
  t.diagnostic(`reached with Node ${found.nodeVersion}`)
  const entry = join(repositoryRoot, 'dist', 'test', 'support', 'platformatic-session.js')
  const lines = await runJsonLines(found.node, [entry, found.folder, broker.kafka])
  const steps = new Map(lines.map((line) => [line.step, line]))
  const answerOf = (step: string): unknown => {
    const line = steps.get(step)
    assert.equal(line?.error, undefined, step)
    return line?.answer
  }

  await t.test('topics and configurations', () => {
    assert.deepEqual(answerOf('topics'), { counts: [4, 2], listed: ['plt', 'plt-transactions'] })
    assert.ok((answerOf('configs') as { count: number }).count >= 5)
    assert.deepEqual(answerOf('deleted'), { topics: false, groups: false })
  })
  for (const codec of ['none', 'gzip', 'snappy', 'lz4', 'zstd'])
    await t.test(`records in ${codec}`, async () => {
      assert.deepEqual(answerOf(`compression ${codec}`), { isSame: true })
      const codecs = (await broker.batches(`plt-${codec}`)).map((batch) => batch.codec)
      assert.deepEqual([...new Set(codecs)], [codec])
    })
  await t.test('idempotent producer, a group of two, what the native client reads of it', async () => {
    const read = answerOf('idempotent') as { value: string; key: string; partition: number; offset: number }[]
    assert.deepEqual(
      read.map(({ key, value }) => [key, value]),
      Array.from({ length: 20 }, (_, index) => [`k${index}`, `v${index}`]),
    )
    const stored = (await broker.records('plt')).sort((a, b) => Number(a.value!.slice(1)) - Number(b.value!.slice(1)))
    assert.deepEqual(read, stored)
    assert.ok((await broker.batches('plt')).every(({ producerId }) => producerId >= 0))
    assert.deepEqual(answerOf('groups'), { listed: true, state: 'Empty' })
  })
  await t.test('a group by the consumer protocol (KIP-848)', () => {
    assert.deepEqual(answerOf('consumer protocol'), { count: 20, unique: 20 })
  })
  await t.test('transactions, with offsets', async () => {
    assert.deepEqual(answerOf('transactions'), ['committed', 'again'])
    assert.deepEqual(answerOf('offsets in a transaction'), {})
    const values = (await broker.records('plt-transactions')).map(({ value }) => value)
    assert.deepEqual(values, ['committed', 'again', 'the same words again and again 0'])
    const admin = kafkajsOf(broker.kafka).admin()
    await admin.connect()
    const [row] = await admin.fetchOffsets({ groupId: 'plt-handed-on', topics: ['plt-none'] })
    await admin.disconnect()
    assert.equal(row!.partitions[0]!.offset, '1')
  })
  await t.test('refusals', () => {
    assert.match(steps.get('unknown topic')?.error ?? '', /Unknown topic/)
    assert.match(steps.get('too large')?.error ?? '', /larger than the max message size/)
  })
})
