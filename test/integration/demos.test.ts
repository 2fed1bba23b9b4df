/** The programs of demo/ do what their README says: each runs against a real broker, and its output is looked at. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { repositoryRoot } from '../support/repository.ts'
import { withTestBroker } from '../support/test-broker.ts'

const RUN_MS_MAX = 180_000
const FOLDER = join(repositoryRoot, 'dist', 'demo')

interface Demo {
  readonly program: string
  readonly says: readonly RegExp[]
}

const DEMOS: readonly Demo[] = [
  {
    program: 'produce-consume',
    says: [/stored in partition \d at offset 0, fsynced/, /\d\/0 \{"id":1,"item":"tea"\}/],
  },
  { program: 'fast-path', says: [/^1000000 records$/m] },
  {
    program: 'typed-topic',
    says: [
      /^u1 ordered 1 of tea$/m,
      /^u2 ordered 3 of milk$/m,
      /^refused: the value of a record for typed-orders-\d+: does not match its schema: pieces: /m,
      /^unreadable: typed-orders-\d+\/\d at offset \d: the value cannot be decoded: /m,
    ],
  },
  {
    program: 'groups',
    says: [/^the drivers delivered 3000 parcels/m, /^the office counted 3000$/m, /^left to deliver: 0$/m],
  },
  {
    program: 'retry',
    says: [
      /^attempt 1 failed: busy \(1\)$/m,
      /^given up after 3 attempts$/m,
      /^99 payments made$/m,
      /^dead letter of payments: RangeError, an amount of -1$/m,
    ],
  },
  { program: 'at-most-once', says: [/^the printer jams/m, /^1000 orders: 0 labels twice, \d+ missing$/m] },
  { program: 'at-least-once', says: [/^1000 orders: 1 labels twice, 0 missing$/m] },
  { program: 'exactly-once', says: [/^1000 orders: 0 labels twice, 0 missing$/m] },
  { program: 'streams', says: [/^s0: 1250 readings, [\d.]+ °C$/m, /^10000 readings$/m] },
]
/** With a broker of its own, with a cluster (cluster-command.test.ts), or no program. */
const OTHERS = ['main', 'local-broker', 'in-process', 'labels', 'cluster', 'flights']

/** Runs a demo to its end; answers its stdout. */
function run(program: string, server: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(FOLDER, `${program}.js`)], {
      env: { ...process.env, MILLRACE_SERVER: server },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: RUN_MS_MAX,
    })
    let [output, talk] = ['', '']
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString()
    })
    child.stderr.on('data', (chunk: Buffer) => {
      talk += chunk.toString()
    })
    child.once('error', reject)
    child.once('close', (code, signal) => {
      if (code === 0) resolve(output)
      else reject(new Error(`${program} ended with ${code ?? signal}:\n${output}\n${talk}`))
    })
  })
}

test('every demo is known here', () => {
  const programs = readdirSync(FOLDER)
    .filter((name) => name.endsWith('.js'))
    .map((name) => name.slice(0, -3))
  assert.deepEqual(programs.sort(), [...DEMOS.map(({ program }) => program), ...OTHERS].sort())
})

test('the demos run', (t) =>
  withTestBroker({}, async (broker) => {
    for (const { program, says } of DEMOS)
      await t.test(program, async () => {
        const output = await run(program, broker.url)
        for (const line of says) assert.match(output, line)
      })
  }))

test('npm run demo: two data sets through a broker of its own', async () => {
  const output = await run('main', '')
  assert.match(output, /flights-by-airport: 20,000 records/)
  assert.match(output, /all records are there, once each, in order/)
})
