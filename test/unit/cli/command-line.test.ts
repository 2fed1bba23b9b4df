/** `millrace` as a process: what it prints, where, and its exit codes. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { BatchWriter } from '../../../src/record/batch-writer.ts'
import { withFakeBroker } from '../../support/fake-broker.ts'
import { MILLRACE, millrace } from '../../support/run-millrace.ts'

test('what goes in comes out, byte for byte, with stdout empty while producing', () =>
  withFakeBroker({ topics: { t: 1 } }, async ({ url }) => {
    const input = 'one\ntwo\n\n\u{1f600} four\nlast without an end'
    assert.deepEqual(await millrace(['produce', 't'], { url, input }), { code: 0, stdout: '', stderr: '' })
    const read = await millrace(['consume', 't', '-o', 'start', '-e'], { url })
    assert.deepEqual(read, { code: 0, stdout: `${input}\n`, stderr: '' })
  }))

test('keys, headers, partitions, formats and receipts', () =>
  withFakeBroker({ topics: { t: 2 } }, async ({ url }) => {
    const flags = ['-K', ':', '-H', 'source:test', '-p', '1', '--json']
    const sent = await millrace(['produce', 't', ...flags], { url, input: 'a:1\nb:2:3\nplain' })
    const receipts = sent.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    assert.deepEqual(
      receipts.map(({ partition, offset }) => [partition, offset]),
      [
        [1, 0],
        [1, 1],
        [1, 2],
      ],
    )
    const format = ['-f', '%t/%p/%o %k=%v %h%%\\n']
    const read = await millrace(['consume', 't', '-o', 'start', '-e', ...format], { url })
    assert.equal(read.stdout, 't/1/0 a=1 source:test%\nt/1/1 b=2:3 source:test%\nt/1/2 =plain source:test%\n')
  }))

test('JSON lines go out and in again unchanged, bytes that are no text as base64', () =>
  withFakeBroker({ topics: { a: 1, b: 1 } }, async ({ url }) => {
    const line = '{"key":"k","value":{"base64":"/wA="},"headers":[{"key":"h","value":null}],"timestampMs":7}'
    const sent = await millrace(['produce', 'a', '--input', 'json'], {
      url,
      input: `${line}\n{"key":"gone","value":null}`,
    })
    assert.equal(sent.code, 0, sent.stderr)
    const first = await millrace(['consume', 'a', '-o', 'start', '-e', '--json'], { url })
    const [record, tombstone] = first.stdout.trim().split('\n')
    assert.deepEqual(JSON.parse(record!), { topic: 'a', partition: 0, offset: 0, ...JSON.parse(line) })
    assert.equal((JSON.parse(tombstone!) as { value: unknown }).value, null)
    await millrace(['produce', 'b', '--input', 'json'], { url, input: first.stdout })
    const second = await millrace(['consume', 'b', '-o', 'start', '-e', '--json'], { url })
    assert.equal(second.stdout, first.stdout.replaceAll('"topic":"a"', '"topic":"b"'))
    const wrong = await millrace(['produce', 'a', '--input', 'json'], { url, input: '{}\nnonsense' })
    assert.equal(wrong.code, 2)
    assert.match(wrong.stderr, /line 2/)
    const third = await millrace(['consume', 'a', '-o', '+2', '-e', '--json'], { url })
    assert.equal(third.stdout.split('\n').length, 2, 'the line before the wrong one is sent')
  }))

test('positions: end, the last n, n after the start, a number', () =>
  withFakeBroker({ topics: { t: 1 } }, async ({ url }) => {
    await millrace(['produce', 't'], { url, input: '0\n1\n2\n3\n4' })
    const read = async (...flags: string[]): Promise<string> =>
      (await millrace(['consume', 't', '-e', '-o', ...flags], { url })).stdout.trim().replaceAll('\n', ' ')
    assert.equal(await read('-2'), '3 4')
    assert.equal(await read('+3'), '3 4')
    assert.equal(await read('1', '-n', '2'), '1 2')
    assert.equal(await read('end'), '')
    assert.equal(await read('@0'), '0 1 2 3 4')
  }))

test('exit codes and the nearest names', () =>
  withFakeBroker({ topics: { orders: 1 } }, async ({ url }) => {
    const cases: [string[], number, RegExp][] = [
      [['consume', 'ordes', '-e'], 3, /'ordes'.*did you mean 'orders'/],
      [['topic', 'describe', 'absent-topic'], 3, /millrace topic list/],
      [['topic', 'lst'], 2, /did you mean 'list'/],
      [['consume', 'orders', '-o', 'nowhere'], 2, /-o: expected start, end/],
      [['consume', 'orders', '-f', '%x'], 2, /%x/],
      [['produce', 'orders', '-p', 'one'], 2, /-p: expected an integer/],
      [['produce', 'orders', '-p', '7'], 2, /partitions 0 to 0/],
      [['produce', 'orders', '--acks', 'some'], 2, /none, leader, all/],
      [['topic', 'create', 'x', '--partitions', '0'], 2, /--partitions/],
      [['group', 'seek', 'g', '--to', 'nowhere'], 2, /--to: expected start, end/],
      [['consume', 'orders', '-g', 'g', '-p', '1'], 2, /-p does not go with -g/],
      [['bench', 'produce', '--size', '4', '--json'], 2, /--size: expected an integer from 16/],
      [['bench', 'consume', '--api', 'send'], 2, /--api: expected batches or iterate, not 'send'/],
      [['topic', 'list', '-s', 'ws://127.0.0.1:1'], 5, /no broker answers.*millrace start/],
      [['topic', 'list', '-s', 'http://127.0.0.1'], 2, /not the URL of a broker/],
      [['dump', '/nonexistent/segment.log'], 3, /nonexistent/],
      [['config', 'show', '--set', 'storage.fsnc=group'], 2, /storage\.fsync/],
    ]
    for (const [args, code, text] of cases) {
      const outcome = await millrace(args, { url, input: 'x\n' })
      assert.equal(outcome.code, code, `millrace ${args.join(' ')}: ${outcome.stderr}`)
      assert.match(outcome.stderr, text, args.join(' '))
      assert.equal(outcome.stdout, '')
      assert.doesNotMatch(outcome.stderr, /\n\s+at /, 'no stack without -v')
    }
  }))

test('a wrong token is exit code 4', () =>
  withFakeBroker({ token: 'secret' }, async ({ url }) => {
    assert.equal((await millrace(['topic', 'list', '--token', 'wrong'], { url })).code, 4)
    assert.equal((await millrace(['topic', 'list', '--token', 'secret'], { url })).code, 0)
  }))

test('SIGINT ends a waiting consumer with 130', () =>
  withFakeBroker({ topics: { t: 1 } }, async ({ url }) => {
    await millrace(['produce', 't'], { url, input: 'hello\n' })
    const outcome = await millrace(['consume', 't', '-o', 'start'], { url, interruptAt: /hello/ })
    assert.deepEqual(outcome, { code: 130, stdout: 'hello\n', stderr: '' })
  }))

test('receipts come while the input is open; an interrupt is 130', () =>
  withFakeBroker({ topics: { t: 1 } }, async ({ url }) => {
    const options = { url, interruptAt: /"offset":1/, firstInput: 'one\ntwo\n' }
    const outcome = await millrace(['produce', 't', '--json'], options)
    assert.equal(outcome.code, 130, outcome.stderr)
    assert.equal(outcome.stdout.trim().split('\n').length, 2)
  }))

test('a record that is given up ends produce at once, though its input stays open', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    broker.faults = ({ name }) => (name === 'PRODUCE' ? { kind: 'error', code: 'INVALID_RECORD' } : { kind: 'none' })
    const { url } = broker
    for (const flags of [[], ['--json']]) {
      const outcome = await millrace(['produce', 't', ...flags], { url, firstInput: 'one\ntwo\n' })
      assert.equal(outcome.code, 1, outcome.stderr)
      assert.match(outcome.stderr, /^error: t\/0: the fake broker says INVALID_RECORD/)
    }
  }))

test('a line as long as a batch may be is one record', () =>
  withFakeBroker({ topics: { t: 1 } }, async ({ url }) => {
    const input = 'x'.repeat(900_000)
    assert.deepEqual(await millrace(['produce', 't'], { url, input }), { code: 0, stdout: '', stderr: '' })
  }))

test('a reader that has had enough is no failure', () =>
  withFakeBroker({ topics: { t: 1 } }, async ({ url }) => {
    await millrace(['produce', 't'], { url, input: 'x'.repeat(100).concat('\n').repeat(20_000) })
    const folder = mkdtempSync(join(tmpdir(), 'millrace-cli-'))
    const script = join(folder, 'pipe.sh')
    writeFileSync(
      script,
      `"${process.execPath}" "${MILLRACE}" consume t -o start | head -n 1\necho "\${PIPESTATUS[0]}"\n`,
    )
    const output = await new Promise<string>((resolve) => {
      const child = spawn('bash', [script], { env: { ...process.env, MILLRACE_SERVER: url } })
      let text = ''
      child.stdout.on('data', (chunk: Buffer) => {
        text += chunk.toString()
      })
      child.stderr.on('data', (chunk: Buffer) => {
        text += chunk.toString()
      })
      child.once('close', () => resolve(text))
    })
    rmSync(folder, { recursive: true })
    assert.equal(output, `${'x'.repeat(100)}\n0\n`)
  }))

test('an interrupt ends dump within its walk, though nobody reads what it writes', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-cli-'))
  const segment = join(folder, '00000000000000000000.log')
  const writer = new BatchWriter()
  while (writer.append(null, 'x'.repeat(10), null, 1)) {}
  writeFileSync(segment, writer.finish())
  const child = spawn(process.execPath, [MILLRACE, 'dump', segment], { stdio: ['ignore', 'pipe', 'inherit'] })
  child.stdout.once('data', () => {
    child.stdout.pause()
    child.kill('SIGINT')
  })
  const signal = await new Promise((resolve) => child.once('exit', (_code, name) => resolve(name)))
  rmSync(folder, { recursive: true })
  assert.equal(signal, 'SIGINT')
})

test('help names every verb of the interface', async () => {
  const { code, stdout } = await millrace(['--help'])
  assert.equal(code, 0)
  for (const verb of [
    'start',
    'produce',
    'consume',
    'topic',
    'group',
    'cluster',
    'bench',
    'config',
    'verify',
    'check',
    'dump',
    'doctor',
  ])
    assert.match(stdout, new RegExp(`^  ${verb}\\b`, 'm'))
})
